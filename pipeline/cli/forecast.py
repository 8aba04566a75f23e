"""``pipeline run forecast``: R² over the steps ahead, beside forecasts that need no model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, cast

import typer

from nwb_latents.pipeline.cli.console import Output
from nwb_latents.pipeline.cli.options import (
    CATALOG,
    CatalogOption,
    ClusterConfigOption,
    ClusterOption,
    ConfigOption,
    DeviceOption,
    EnsembleOption,
    JsonOption,
    LagOption,
    QuietOption,
    RecipeIdOption,
    RetryFailedOption,
    RunsOption,
    SessionOption,
    SetOption,
    ShardOption,
    UnseenOption,
    VerboseOption,
    WhateverSizeOption,
    device_of,
    given,
    where_of,
)
from nwb_latents.pipeline.cli.picture_options import DpiOption, FormatOption, pictures_of
from nwb_latents.pipeline.errors import PartialFailure
from nwb_latents.schemas.task_words import BINS, ENSEMBLE, SEEN_BINS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nwb_latents.schemas.forecasting import ForecastQuantity
    from nwb_latents.schemas.measurement import Measurement

FIRST = {
    "forecast": "model",
    "ensemble": "ensemble",
    "forecast_decoded": "model, decoded",
    "forecast_leaky": "leaky",
}
LAST = {"rates": "recorded"}
"""Source → head of its column, of what is no baseline; baselines stand between them."""


def forecast(
    run: RunsOption = None,
    session: SessionOption = None,
    recipe_id: RecipeIdOption = None,
    seen_bins: Annotated[
        int | None, typer.Option(SEEN_BINS.option, help=SEEN_BINS.help, metavar="N", min=1)
    ] = None,
    bins: Annotated[int | None, typer.Option(BINS.option, help=BINS.help, metavar="N", min=1)] = None,
    lag_ms: LagOption = None,
    ensemble: EnsembleOption = False,
    leaky: Annotated[
        bool,
        typer.Option(
            "--leaky",
            help="Also measure the forecast as the literature does: shown recorded rates, which hold spikes "
            "after the bins seen.",
        ),
    ] = False,
    device: DeviceOption = "auto",
    unseen_trials: UnseenOption = False,
    cluster: ClusterOption = "serial",
    cluster_config: ClusterConfigOption = None,
    shard: ShardOption = None,
    retry_failed: RetryFailedOption = False,
    picture_format: FormatOption = None,
    dpi: DpiOption = None,
    force: WhateverSizeOption = False,
    config: ConfigOption = None,
    settings: SetOption = None,
    catalog: CatalogOption = CATALOG,
    json_lines: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Score a run's forecasts of velocity and rates step by step, beside forecasts that need no model.

    Velocity is read out of a run's states by a regression fitted on forecasts of training trials. Beside it
    stand baselines such as the mean of the condition and linear regression from the bins seen, fitted on
    training trials too. Bands come from validation trials; test trials are scored. Numbers go into the
    catalog's measurements, pictures to forecast/ in the folder of the run, in a
    folder for each choice of settings.
    """
    from nwb_latents.pipeline.stages.forecast import forecast as stage
    from nwb_latents.pipeline.stores.settings import settings_from
    from nwb_latents.schemas.forecasting import ForecastSettings

    options = given(
        {
            "--seen-bins": ("seen_bins", seen_bins),
            "--bins": ("bins", bins),
            "--lag-ms": ("lag_ms", lag_ms),
            "--ensemble": ("ensemble", list(ENSEMBLE) if ensemble else None),
            "--leaky": ("leaky", leaky or None),
        }
    )
    chosen = settings_from(ForecastSettings, file=config, **options, words=settings or ())
    with Output(json_lines=json_lines, quiet=quiet, verbose=verbose) as out:
        try:
            done = stage(
                catalog,
                chosen,
                runs=tuple(run or ()),
                sessions=tuple(session or ("*",)),
                recipe_id=recipe_id,
                device=device_of(device),
                unseen_trials=unseen_trials,
                where=where_of(cluster, cluster_config, shard, retry_failed=retry_failed),
                force=force,
                pictures=pictures_of(picture_format, dpi),
                report=out,
            )
        except PartialFailure as failure:
            _tables(out, cast("Sequence[Measurement]", failure.results))
            raise
        _tables(out, done)


def _tables(out: Output, measurements: Sequence[Measurement]) -> None:
    for run in dict.fromkeys(each.run for each in measurements if each.run is not None):
        sessions = {each.session for each in measurements if each.run == run}
        mine = [each for each in measurements if each.run in {run, None} and each.session in sessions]
        for quantity in ("velocity", "rates"):
            _tables_of(out, mine, quantity)
        _size_table(out, mine)
    if measurements:
        out.result("Pictures: forecast/ in the folder of the run; numbers: pipeline catalog scores")


def _size_table(out: Output, mine: Sequence[Measurement]) -> None:
    """Show whether forecasts of velocity are of the right size, and what their bands hold."""
    from nwb_latents.pipeline.evaluation.forecasting.curves import COVERAGE, SLOPE, WIDTH

    by_source: dict[str, dict[str, list[Measurement]]] = {}
    for each in mine:
        if each.name in {SLOPE, COVERAGE, WIDTH}:
            by_source.setdefault(each.source, {}).setdefault(each.name, []).append(each)
    first = [source for source in FIRST if source in by_source]
    rows = [
        [(FIRST | LAST).get(source, source.replace("_", " ")), *map(_spread, _values(by_source[source]))]
        for source in [*first, *(source for source in by_source if source not in first)]
    ]
    if rows:
        title = (
            "Forecasts of velocity: slope of the truth on them, and bands from errors in validation trials"
            "\nmean over sessions (least, most); a band of 90 % is to hold .90 of bins and axes"
        )
        out.table(title, ["", "slope", "90 % band holds", "its width (cm/s)"], rows)
    why = [f"{each.session}: {each.reason}" for each in mine if each.name == COVERAGE and each.reason]
    for text in dict.fromkeys(why):
        out.result(text)


def _values(found: dict[str, list[Measurement]]) -> list[list[float]]:
    from nwb_latents.pipeline.evaluation.forecasting.curves import COVERAGE, SLOPE, WIDTH

    return [
        [each.value for each in found.get(name, []) if each.value is not None]
        for name in (SLOPE, COVERAGE, WIDTH)
    ]


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "-"
    mean = f"{sum(values) / len(values):.3g}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.3g}, {max(values):.3g})"


def _tables_of(out: Output, mine: Sequence[Measurement], quantity: ForecastQuantity) -> None:
    from nwb_latents.pipeline.evaluation.forecasting.curves import (
        DEFINITIONS,
        curves_of,
        mean_curves,
        sessions_of,
    )
    from nwb_latents.pipeline.evaluation.forecasting.source_forecast import MODEL

    means, curves, sessions = mean_curves(mine, quantity), curves_of(mine, quantity), sessions_of(mine)
    if not means:
        return
    between = [source for source in means if source not in FIRST | LAST]
    sources = [*(s for s in FIRST if s in means), *between, *(s for s in LAST if s in means)]
    one = next(each for each in mine if each.source == MODEL)
    heads = [(FIRST | LAST).get(source, source.replace("_", " ")) for source in sources]
    many = len(sessions) > 1
    what = f"mean of {len(sessions)} sessions" if many else sessions[0]
    steps = [*(str(k) for k in range(1, (one.bins or 0) + 1)), "all"]
    rows = [[step, *(_r2(means[source][i]) for source in sources)] for i, step in enumerate(steps)]
    about = f"R² of {quantity} ({DEFINITIONS[quantity]})"
    out.table(
        f"{about} by bins ahead, {one.split} trials, run {one.run}, {what}\n{_protocol(mine, quantity)}",
        ["bins", *heads],
        rows,
    )
    if many:
        n_trials = {each.session: each.n_trials for each in mine}
        rows = [
            [
                session,
                str(n_trials[session]),
                *(
                    _r2(curves[session, source].pooled if (session, source) in curves else None)
                    for source in sources
                ),
            ]
            for session in sessions
        ]
        title = f"{about} over all {one.bins} bins\n{_protocol(mine, quantity)}"
        out.table(title, ["session", f"{one.split} trials", *heads], rows)


def _protocol(mine: Sequence[Measurement], quantity: ForecastQuantity) -> str:
    """Return what was fitted on what, and what was forecast."""
    one = next(each for each in mine if each.bins is not None)
    words = [f"{one.bins} bins after {one.seen_bins} seen"]
    if quantity == "velocity":
        heads = FIRST | LAST
        said = {
            heads[each.source]: f"{each.decoder} fitted on {each.fitted_on}"
            for each in mine
            if each.decoder is not None and each.source in heads
        }
        words += [f"{head} by {fit}" for head, fit in said.items()]
        if any(each.details.get("behaviour_head") for each in mine):
            words.append("the model was trained with a velocity head")
        words.append(f"{next((e.lag_ms for e in mine if e.lag_ms is not None), 0.0):g} ms after the activity")
    return "; ".join(words)


def _r2(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}".replace("-", "−")
