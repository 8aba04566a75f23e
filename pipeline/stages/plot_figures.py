"""Figures of what a catalog holds, one function for each kind: from stores, runs and kept measurements.

They are what ``pipeline plot`` writes and what `nwb_latents.plot` returns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.stages.trained_runs import named_runs
from nwb_latents.pipeline.stores.catalog import read_catalog
from nwb_latents.pipeline.stores.location import StoreLocation, store_path
from nwb_latents.pipeline.stores.measurements import are_current, measurement_records, read_measurements
from nwb_latents.pipeline.stores.session import open_session

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from nwb_latents.pipeline.evaluation.figures.few_shot import FewShotPoint
    from nwb_latents.pipeline.stages.align_scores import FewShotRow
    from nwb_latents.pipeline.stages.decode import DecodedSession
    from nwb_latents.pipeline.stages.report import Report
    from nwb_latents.pipeline.stores.session import Session
    from nwb_latents.schemas.catalog import RunEntry, SessionEntry
    from nwb_latents.schemas.measurement import Measurement
    from nwb_latents.schemas.pictures import PlotSettings
    from nwb_latents.schemas.training import Device


def raster(catalog_path: Path, entry: SessionEntry, settings: PlotSettings) -> Any:
    """Draw the spikes of some units in every trial."""
    from nwb_latents.pipeline.evaluation.figures.raster import raster_figure  # noqa: PLC0415

    chosen: Any = {"units": settings.units, "n_units": settings.n_units, "split": settings.split}
    return raster_figure(_opened(catalog_path, entry), **chosen)


def psth(catalog_path: Path, entry: SessionEntry, settings: PlotSettings) -> Any:
    """Draw the mean rates of some units in each condition."""
    from nwb_latents.pipeline.evaluation.figures.psth import psth_figure  # noqa: PLC0415

    chosen: Any = {"units": settings.units, "n_units": settings.n_units, "split": settings.split}
    return psth_figure(_opened(catalog_path, entry), **chosen)


def onsets(catalog_path: Path, entry: SessionEntry) -> Any:
    """Draw how good the movement onsets of a session are."""
    from nwb_latents.pipeline.evaluation.figures.onsets import onsets_figure  # noqa: PLC0415
    from nwb_latents.pipeline.stores.trials import read_events  # noqa: PLC0415

    events = read_events(StoreLocation.parse(store_path(catalog_path, entry.store)))
    return onsets_figure(_opened(catalog_path, entry), events)


def session_quality(catalog_path: Path, entry: SessionEntry) -> Any:
    """Draw the quality of a session on one page."""
    from nwb_latents.pipeline.evaluation.figures.session_quality import session_quality_figure  # noqa: PLC0415

    return session_quality_figure(_opened(catalog_path, entry))


def latents(
    catalog_path: Path,
    entry: SessionEntry,
    run: RunEntry,
    settings: PlotSettings,
    *,
    device: Device = "auto",
) -> Any:
    """Draw the latent states of a run in a session."""
    from nwb_latents.pipeline.evaluation.figures.latents import latents_figure  # noqa: PLC0415
    from nwb_latents.pipeline.training.inference import load_run  # noqa: PLC0415

    session = _opened(catalog_path, entry)
    trained = load_run(catalog_path.parent / run.path, run_key=run.run_key, device=device)
    return latents_figure(session, trained.states(session), run=run.run, split=settings.split)


def training(catalog_path: Path, runs: Sequence[RunEntry]) -> Any:
    """Draw the training curves of runs together."""
    from nwb_latents.pipeline.evaluation.figures.training import TrainingLog, training_figure  # noqa: PLC0415
    from nwb_latents.pipeline.training.run_files import METRICS, read_config, read_metrics  # noqa: PLC0415

    logs = []
    for run in runs:
        folder = catalog_path.parent / run.path
        config = read_config(folder)
        likelihood = str(getattr(config.settings.model, "likelihood", "")) if config is not None else ""
        best = run.metrics.get("best_step")
        logs.append(
            TrainingLog(
                run.run,
                read_metrics(folder / METRICS),
                None if best is None else int(best),
                "squared error per trial" if likelihood == "mse" else "nats per trial",
            )
        )
    return training_figure(logs)


def velocity(decoded: DecodedSession, run: str | None) -> Any:
    """Draw decoded on recorded velocity of some test trials."""
    from nwb_latents.pipeline.evaluation.figures.velocity import velocity_figure  # noqa: PLC0415

    return velocity_figure(decoded.drawn[run or ""][0])


def paths(decoded: DecodedSession, run: str | None) -> Any:
    """Draw hand paths of the test trials, recorded and decoded."""
    from nwb_latents.pipeline.evaluation.figures.paths import paths_figure  # noqa: PLC0415

    return paths_figure(decoded.drawn[run or ""][0])


def decoded_for(
    catalog_path: Path,
    entry: SessionEntry,
    run: str | None,
    settings: PlotSettings,
    *,
    device: Device = "auto",
    report: Report | None = None,
) -> DecodedSession:
    """Decode a session for its pictures, without p-values; nothing is kept."""
    from nwb_latents.pipeline.stages.decode import decoded_session  # noqa: PLC0415
    from nwb_latents.schemas.decoding import DecodeSettings  # noqa: PLC0415

    chosen = DecodeSettings.model_validate(
        {"lag_ms": settings.lag_ms, "decoders": [settings.decoder], "n_permutations": 0}
    )
    about = {"session": entry.session, "run": run, "recipe_id": entry.recipe_id}
    return decoded_session(catalog_path, chosen, **about, device=device, report=report)  # type: ignore[arg-type]


def forecast(catalog_path: Path, run: RunEntry, sessions: Sequence[str] = ()) -> Any:
    """Draw the R² of a run's forecasts over the steps ahead, from what was measured last.

    Raises
    ------
    DataError
        If the forecasts of the run were not measured.
    """
    from nwb_latents.pipeline.evaluation.figures.forecasting import forecast_figure  # noqa: PLC0415
    from nwb_latents.pipeline.evaluation.forecasting.curves import NAMES  # noqa: PLC0415

    found = _current(catalog_path, names=tuple(NAMES.values()), stages=("forecast",), recipe_id=run.recipe_id)
    mine = [one for one in found if one.run == run.run and (not sessions or one.session in sessions)]
    if not mine:
        raise DataError(
            f"No forecasts of run {run.run} were measured{' in these sessions' if sessions else ''}, so "
            f"there is nothing to draw. Measure them first: pipeline run forecast --run {run.run}"
        )
    last = max(mine, key=lambda one: one.time)
    window, lag_ms = (last.seen_bins, last.bins), _lag(mine)
    same = [
        one
        for one in found
        if one.run in {run.run, None}
        and (one.seen_bins, one.bins) == window
        and one.lag_ms in {None, lag_ms}
        and (not sessions or one.session in sessions)
    ]
    widths = {entry.session: entry.bin_size_s for entry in _entries(catalog_path, run.recipe_id)}
    return forecast_figure(same, bin_size_s=widths[last.session])


def few_shot(catalog_path: Path, parent: RunEntry, sessions: Sequence[str], settings: PlotSettings) -> Any:
    """Draw what alignments of a run are worth by the number of trials they were given.

    Raises
    ------
    DataError
        If there is no alignment of the run, or none was scored.
    """
    from nwb_latents.pipeline.evaluation.figures.few_shot import few_shot_figure  # noqa: PLC0415
    from nwb_latents.pipeline.stages.align_scores import few_shot_table  # noqa: PLC0415

    runs = read_catalog(catalog_path).runs.values()
    aligned = [
        run
        for run in runs
        if run.alignment is not None
        and run.alignment.parent == parent.run
        and (not sessions or set(run.sessions) & set(sessions))
    ]
    if not aligned:
        known = sorted({run.alignment.parent for run in runs if run.alignment is not None})
        raise DataError(
            f"Run {parent.run} was aligned to no session; runs that were: {', '.join(known) or 'none'}. "
            f"Align it first: pipeline run align --run {parent.run} --session SESSION --trials 2,8,32"
        )
    found = _current(catalog_path, names=("rates_r2", "velocity_r2"), recipe_id=parent.recipe_id)
    scores = [one for one in found if one.split == "test" and one.lag_ms in {None, settings.lag_ms}]
    rows = few_shot_table(aligned, scores)
    ceilings = {row.session: row.ceiling for row in rows if row.ceiling is not None}
    ceiling = sum(ceilings.values()) / len(ceilings) if ceilings else None
    return few_shot_figure([point for row in rows for point in _points(row)], ceiling=ceiling)


def scores(catalog_path: Path, settings: PlotSettings, recipe_id: str) -> Any:
    """Draw all R² of velocity that `pipeline run decode` measured at a lag, session by session."""
    from nwb_latents.pipeline.evaluation.figures.summary import summary_figure, without_alignments  # noqa: PLC0415

    found = _current(catalog_path, names=("velocity_r2",), stages=("decode",), recipe_id=recipe_id)
    at_lag = [one for one in found if one.lag_ms == settings.lag_ms and one.split == "test"]
    if not at_lag:
        lags = sorted({one.lag_ms for one in found if one.lag_ms is not None})
        known = ", ".join(f"{lag:g}" for lag in lags) or "none"
        raise DataError(
            f"No velocity was scored at lag_ms {settings.lag_ms:g}; lags that were: {known}. Decode first: "
            f"pipeline run decode --lag-ms {settings.lag_ms:g}"
        )
    ahead = [one for one in at_lag if one.bins is not None]
    last = max(ahead, key=lambda one: one.time) if ahead else None
    window = (None, None) if last is None else (last.seen_bins, last.bins)
    mine = [one for one in at_lag if one.bins is None or (one.seen_bins, one.bins) == window]
    runs = read_catalog(catalog_path).runs.values()
    shown, left_out = without_alignments(mine, {run.run for run in runs if run.alignment is not None})
    return summary_figure(shown, left_out=left_out)


def runs_of(catalog_path: Path, names: Sequence[str]) -> list[RunEntry]:
    """Return the runs of these names; none: all there are."""
    catalog = read_catalog(catalog_path)
    return named_runs(catalog, list(names) or list(catalog.runs))


def _opened(catalog_path: Path, entry: SessionEntry) -> Session:
    return open_session(store_path(catalog_path, entry.store)).loaded()


def _entries(catalog_path: Path, recipe_id: str) -> list[SessionEntry]:
    return [one for one in read_catalog(catalog_path).sessions.values() if one.recipe_id == recipe_id]


def _current(catalog_path: Path, **which: Any) -> list[Measurement]:
    """Return measurements of the stores and runs as they are now."""
    table = read_measurements(catalog_path, **which)
    if not len(table):
        return []
    current = are_current(table, read_catalog(catalog_path)).fillna(value=True)
    return measurement_records(table[current])


def _lag(mine: Sequence[Measurement]) -> float | None:
    """Return the lag of the velocities that were measured last; None: there are none."""
    with_lag = [one for one in mine if one.lag_ms is not None]
    return max(with_lag, key=lambda one: one.time).lag_ms if with_lag else None


def _points(row: FewShotRow) -> list[FewShotPoint]:
    from nwb_latents.pipeline.evaluation.figures.few_shot import QUANTITIES, FewShotPoint  # noqa: PLC0415

    found = zip(QUANTITIES, (row.rates, row.reconstruction, row.forecast), strict=True)
    return [
        FewShotPoint(row.session, row.n_trials, row.method, quantity, spread.mean, spread.n, spread.error)
        for quantity, spread in found
        if spread is not None
    ]
