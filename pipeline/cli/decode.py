"""``pipeline run decode``: hand velocity from rates and models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nwb_latents.pipeline.cli import completion
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
    listed,
    where_of,
)
from nwb_latents.pipeline.cli.picture_options import DpiOption, FormatOption, pictures_of
from nwb_latents.pipeline.errors import PartialFailure, SettingsError
from nwb_latents.schemas.bounds import MOST_LAGS
from nwb_latents.schemas.task_words import ENSEMBLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nwb_latents.schemas.measurement import Measurement

SOURCES = ("rates", "reconstruction", "forecast", "ensemble", "forecast_decoded")
"""Order of columns; baselines come last."""

DECODED = ("rates", "reconstruction", "forecast_decoded")
"""Sources that are given to a decoder of recorded rates, at any lag."""


def decode(
    run: RunsOption = None,
    session: SessionOption = None,
    recipe_id: RecipeIdOption = None,
    lag_ms: LagOption = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--source",
            help="Comma-separated: rates, reconstruction, forecast; default: all three.",
            metavar="LIST",
        ),
    ] = None,
    decoder: Annotated[
        str | None,
        typer.Option(
            "--decoder",
            autocompletion=completion.registered("DECODERS"),
            help="Comma-separated: ridge, wiener, or another that is installed; default: ridge.",
            metavar="LIST",
        ),
    ] = None,
    lag_scan: Annotated[
        str | None,
        typer.Option(
            "--lag-scan",
            help="Also compare these lags, ms: FIRST:LAST:STEP or a comma-separated list, e.g. 0:200:20.",
            metavar="LAGS",
        ),
    ] = None,
    ensemble: EnsembleOption = False,
    transfer: Annotated[
        bool, typer.Option("--transfer", help="Also carry decoders of latent states from session to session.")
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
    """Decode hand velocity from smoothed rates, a model's reconstruction and its forecast.

    Fit on training trials, scored on test trials. Scores go to the measurements, pictures and the R² of every
    time bin and condition to results/decode/ beside the catalog, in a folder for each choice of settings.
    """
    from nwb_latents.pipeline.stages.decode import decode as stage
    from nwb_latents.pipeline.stages.decode_pictures import pictures_folder
    from nwb_latents.pipeline.stores.settings import settings_from
    from nwb_latents.schemas.decoding import DecodeSettings

    options = given(
        {
            "--lag-ms": ("lag_ms", lag_ms),
            "--source": ("sources", listed(source)),
            "--decoder": ("decoders", listed(decoder)),
            "--lag-scan": ("lag_scan_ms", None if lag_scan is None else lags_of(lag_scan)),
            "--ensemble": ("forecast.ensemble", list(ENSEMBLE) if ensemble else None),
            "--transfer": ("transfer", transfer or None),
        },
        typed={"--lag-scan": lag_scan or ""},
    )
    chosen = settings_from(DecodeSettings, file=config, **options, words=settings or ())
    folder = pictures_folder(chosen, unseen_trials=unseen_trials)
    with Output(json_lines=json_lines, quiet=quiet, verbose=verbose) as out:
        try:
            scores = stage(
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
            show_decoded(out, failure.results, catalog, folder=folder)  # type: ignore[arg-type]
            raise
        show_decoded(out, scores, catalog, folder=folder)


def lags_of(text: str) -> list[float]:
    """Return the lags of ``FIRST:LAST:STEP``, the last included, or of a comma-separated list.

    Raises
    ------
    SettingsError
        If it is neither, or more lags than can be compared.

    Examples
    --------
    >>> lags_of("0:60:20")
    [0.0, 20.0, 40.0, 60.0]
    >>> lags_of("-20,0,100")
    [-20.0, 0.0, 100.0]
    """
    wrong = SettingsError(f"--lag-scan {text}: expected FIRST:LAST:STEP in ms, such as 0:200:20, or a list.")
    try:
        if ":" not in text:
            return [float(word) for word in text.split(",")]
        first, last, step = (float(word) for word in text.split(":"))
        number = int((last - first) / step + 1e-9)
    except (ValueError, ZeroDivisionError, OverflowError) as error:
        raise wrong from error
    if not (step > 0 and number > 0):
        raise wrong
    if number >= MOST_LAGS:
        raise SettingsError(
            f"--lag-scan {text}: these are {number + 1:,} lags, and at most {MOST_LAGS:,} can be compared. "
            "Choose a larger STEP, or a smaller range; all three are in ms."
        )
    return [round(first + step * index, 9) for index in range(number + 1)]


def show_decoded(out: Output, scores: Sequence[Measurement], catalog: Path, *, folder: str) -> None:
    """Show what one decoding measured: velocity, lags, transfer; and where it was drawn."""
    from nwb_latents.pipeline.evaluation.decoding.across_sessions import METRIC
    from nwb_latents.pipeline.evaluation.decoding.lag_scan import TEST_METRIC, TRAINING_METRIC
    from nwb_latents.pipeline.stores.measurement_lines import measurement_folder

    by_name: dict[str, list[Measurement]] = {}
    for score in scores:
        by_name.setdefault(score.name, []).append(score)
    _scores_table(out, by_name.get("velocity_r2", []))
    _lags_table(out, by_name.get(TRAINING_METRIC, []), by_name.get(TEST_METRIC, []))
    _transfer_table(out, by_name.get(METRIC, []), catalog)
    if any(score.run is None for score in scores):
        where = catalog.parent / "results" / "decode" / scores[0].recipe_id / folder
        out.result(f"Measurements: {measurement_folder(catalog)}   Pictures: {where}")


def _scores_table(out: Output, scores: Sequence[Measurement]) -> None:
    if not scores:
        return
    from nwb_latents.pipeline.evaluation.decoding.decoder import described

    place = {source: number for number, source in enumerate(SOURCES)}
    # Stable: decoders stay in the order they were asked for.
    kinds = sorted(dict.fromkeys(map(_kind, scores)), key=lambda kind: place.get(kind[0], len(place)))
    first = scores[0]
    by_row: dict[tuple[str, str], dict[Any, Measurement]] = {}
    runs = list(dict.fromkeys(score.run for score in scores if score.run is not None))
    for score in scores:
        for name in [score.run] if score.run else (runs or ["-"]):
            by_row.setdefault((score.session, str(name)), {})[_kind(score)] = score
    rows = []
    for (session, run), found in sorted(by_row.items()):
        cells = [_r2(found.get(kind)) for kind in kinds]
        tested = next(iter(found.values())).n_trials
        rows.append([session, *([run] if len(runs) > 1 else []), *cells, str(tested)])
    of_run = f", run {runs[0]}" if len(runs) == 1 else ""
    protocol = f"({first.definition}, lag {first.lag_ms or 0.0:g} ms{_chance(scores)})"
    title = f"Velocity R² on test trials{of_run} {protocol}\n{_fitted(scores)}"
    plain = []
    for source, decoder, *_ in kinds:
        by_several = len({kind[1] for kind in kinds if kind[0] == source}) > 1
        tag = described(decoder).tag if by_several else ""
        plain.append(f"{source}{tag}".replace("_", " "))
    heads = [
        head if plain.count(head) == 1 else f"{head}: {_apart(kind)}"
        for head, kind in zip(plain, kinds, strict=True)
    ]
    out.table(title, ["session", *(["run"] if len(runs) > 1 else []), *heads, "test trials"], rows)


def _kind(score: Measurement) -> tuple[str, str, str, float | None, int | None, int | None]:
    """Return what a column is of: two protocols never stand under one head."""
    return (
        score.source, score.decoder or "", score.fitted_on, score.lag_ms, score.seen_bins, score.bins
    )  # fmt: skip


def _apart(kind: tuple[str, str, str, float | None, int | None, int | None]) -> str:
    """Return the protocol of a column, where another one has its source and decoder."""
    _, _, fitted_on, lag_ms, seen_bins, bins = kind
    words = [f"fitted on {fitted_on}", *([f"lag {lag_ms:g} ms"] if lag_ms is not None else [])]
    if bins is not None:
        words.append(f"{bins} bins after {seen_bins} seen")
    return ", ".join(words)


def _fitted(scores: Sequence[Measurement]) -> str:
    """Return what decoders and read-outs were fitted on, and what was forecast."""
    fits: dict[str, list[str]] = {}
    for score in scores:
        if score.fitted_on:
            fits.setdefault(f"{score.decoder}, fitted on {score.fitted_on}", []).append(score.source)
    said = [f"{', '.join(dict.fromkeys(of))}: {fit}" for fit, of in fits.items()]
    if any(score.details.get("behaviour_head") for score in scores):
        said.append("models with a velocity head: " + ", ".join(_with_head(scores)))
    ahead = next((score for score in scores if score.bins is not None), None)
    if ahead is not None:
        said.append(f"forecast: {ahead.bins} bins after {ahead.seen_bins} seen")
    return "; ".join(said)


def _with_head(scores: Sequence[Measurement]) -> list[str]:
    return list(dict.fromkeys(str(each.run) for each in scores if each.details.get("behaviour_head")))


def _chance(scores: Sequence[Measurement]) -> str:
    """Return how the scores stand to those of trials dealt out anew."""
    tested = [score.p_value for score in scores if score.p_value is not None]
    return f"; p at most {max(tested):.3g}" if tested else ""


def _lags_table(out: Output, training: Sequence[Measurement], test: Sequence[Measurement]) -> None:
    """Show the lag chosen on training trials, and the R² of test trials there."""
    curves: dict[tuple[str, str], list[Measurement]] = {}
    for score in training:
        curves.setdefault((score.session, score.decoder or ""), []).append(score)
    rows = []
    for (session, decoder), curve in curves.items():
        best = max(curve, key=lambda score: (score.value or 0.0, -(score.lag_ms or 0.0)))
        there = [s for s in test if (s.session, s.decoder, s.lag_ms) == (session, decoder, best.lag_ms)]
        about = [session, decoder, f"{best.lag_ms or 0.0:g}", _r2(best)]
        for run in list(dict.fromkeys(s.run for s in there if s.run)) or ["-"]:
            found = {s.source: s for s in there if s.run in {None, run}}
            rows.append([*about, run, *(_r2(found.get(source)) for source in DECODED)])
    if rows:
        lags = sorted({score.lag_ms or 0.0 for score in training})
        span = f"{len(lags)} lags from {lags[0]:g} to {lags[-1]:g} ms"
        title = f"Best of {span}, and velocity R² on test trials there\n{_fitted([*training, *test])}"
        columns = ["session", "decoder", "lag (ms)", "training, cross-validated", "run", *DECODED]
        out.table(title, columns, rows)


def _transfer_table(out: Output, scores: Sequence[Measurement], catalog: Path) -> None:
    from nwb_latents.pipeline.evaluation.decoding.across_sessions import RELATIONS, mean_by_relation
    from nwb_latents.pipeline.stores.catalog import read_catalog

    if not scores:
        return
    entries = read_catalog(catalog).sessions.values()
    subjects = {entry.session: entry.subject for entry in entries if entry.recipe_id == scores[0].recipe_id}
    rows = []
    for run, decoder in dict.fromkeys((score.run, score.decoder or "") for score in scores):
        mine = [score for score in scores if (score.run, score.decoder) == (run, decoder)]
        means = mean_by_relation(mine, subjects)
        cells = [f"{means[name][0]:.3f} ({means[name][1]})" if name in means else "-" for name in RELATIONS]
        rows.append([str(run), decoder, *cells])
    title = (
        "Velocity R² from latent states, by where the decoder was fitted (mean, number of scores)\n"
        f"decoders are fitted on the {scores[0].fitted_on} of training trials, and score test trials"
    )
    out.table(title, ["run", "decoder", *RELATIONS], rows)


def _r2(score: Measurement | None) -> str:
    return "-" if score is None else "undefined" if score.value is None else f"{score.value:.3f}"
