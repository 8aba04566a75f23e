"""``pipeline run forecast``: R² over the steps ahead, beside forecasts that need no model."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from nwb_latents.pipeline.cli.console import Output
from nwb_latents.pipeline.cli.options import (
    CATALOG,
    CatalogOption,
    ConfigOption,
    DeviceOption,
    JsonOption,
    LagOption,
    QuietOption,
    RecipeIdOption,
    RunsOption,
    SessionOption,
    SetOption,
    VerboseOption,
    device_of,
    given,
)
from nwb_latents.pipeline.errors import PartialFailure
from nwb_latents.schemas.task_words import BINS, SEEN_BINS

SHORT = {
    "model": "model",
    "linear": "linear",
    "condition_mean": "condition",
    "hold_last": "hold last",
    "recorded": "recorded",
}


def forecast(
    run: RunsOption = None,
    session: SessionOption = None,
    recipe_id: RecipeIdOption = None,
    seen_bins: Annotated[
        int | None, typer.Option(SEEN_BINS.option, help=SEEN_BINS.help, metavar="N", min=1)
    ] = None,
    bins: Annotated[int | None, typer.Option(BINS.option, help=BINS.help, metavar="N", min=1)] = None,
    lag_ms: LagOption = None,
    device: DeviceOption = "auto",
    config: ConfigOption = None,
    settings: SetOption = None,
    catalog: CatalogOption = CATALOG,
    json_lines: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Score a run's forecasts of velocity and rates step by step, beside forecasts that need no model.

    Baselines: the last value held, the mean of the condition, linear regression from the bins seen. All of
    them are fitted on training trials and scored on test trials. Curves and pictures go to forecast/ in the
    folder of the run.
    """
    from nwb_latents.pipeline.stages.forecast import forecast as stage
    from nwb_latents.pipeline.stores.settings import settings_from
    from nwb_latents.schemas.forecasting import ForecastSettings

    options = given(
        {"--seen-bins": ("seen_bins", seen_bins), "--bins": ("bins", bins), "--lag-ms": ("lag_ms", lag_ms)}
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
                report=out,
            )
        except PartialFailure as failure:
            _tables(out, failure.results)
            raise
        _tables(out, done)


def _tables(out: Output, forecasts: Any) -> None:
    if not forecasts:
        return
    for run in dict.fromkeys(forecast.run for forecast in forecasts):
        mine = [forecast for forecast in forecasts if forecast.run == run]
        for quantity in ("velocity", "rates"):
            _tables_of(out, mine, quantity)
    out.result("Curves and pictures: forecast/ in the folder of the run")


def _tables_of(out: Output, forecasts: Any, quantity: Any) -> None:
    from nwb_latents.pipeline.evaluation.figures.forecasting import mean_curves

    one = forecasts[0]
    means = mean_curves(forecasts, quantity)
    sources = [source for source in SHORT if source in means]
    if not sources:
        return
    definition = next(curve.definition for curve in one.curves if curve.quantity == quantity)
    heads = [SHORT[source] for source in sources]
    many = len(forecasts) > 1
    what = f"mean of {len(forecasts)} sessions" if many else one.session
    steps = [*(str(k) for k in range(1, one.bins + 1)), "all"]
    rows = [[step, *(_r2(means[source][i]) for source in sources)] for i, step in enumerate(steps)]
    title = f"R² of {quantity} ({definition}) by bins ahead, test trials, run {one.run}, {what}"
    out.table(title, ["bins", *heads], rows)
    if many:
        rows = [
            [f.session, str(f.n_trials), *(_r2(f.pooled(quantity, s)) for s in sources)] for f in forecasts
        ]
        title = f"R² of {quantity} ({definition}) over all {one.bins} bins"
        out.table(title, ["session", "test trials", *heads], rows)


def _r2(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}".replace("-", "−")
