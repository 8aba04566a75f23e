"""Figures of what a catalog holds, one function for each kind: from stores, runs and kept measurements.

They are what ``pipeline plot`` writes and what `nwb_latents.plot` returns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.stages.current_numbers import CurrentNumbers, current_numbers, sorted_out
from nwb_latents.pipeline.stages.trained_runs import FAILURES, named_runs, words_of
from nwb_latents.pipeline.stores.catalog import read_catalog
from nwb_latents.pipeline.stores.location import store_path
from nwb_latents.pipeline.stores.measurements import read_measurements
from nwb_latents.pipeline.stores.session import open_session

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from nwb_latents.pipeline.evaluation.figures.few_shot import FewShotPoint
    from nwb_latents.pipeline.evaluation.figures.training import TrainingLog
    from nwb_latents.pipeline.stages.align_scores import FewShotRow
    from nwb_latents.pipeline.stages.decode import DecodedSession
    from nwb_latents.pipeline.stages.report import Report
    from nwb_latents.pipeline.stores.session import Session
    from nwb_latents.schemas.catalog import RunEntry, SessionEntry
    from nwb_latents.schemas.measurement import Measurement
    from nwb_latents.schemas.pictures import PlotSettings
    from nwb_latents.schemas.training import Device

    Say = Callable[[str], object]


def _unsaid(text: str) -> None:
    """Say nothing besides what stands on the figure."""
    del text


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

    session = _opened(catalog_path, entry)
    return onsets_figure(session, read_events(session.where))


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


def training(
    catalog_path: Path,
    runs: Sequence[RunEntry],
    *,
    say: Say = _unsaid,
    failed: Callable[[RunEntry, Exception], object] | None = None,
) -> Any:
    """Draw the training curves of runs together.

    Parameters
    ----------
    catalog_path
        Catalog file.
    runs
        The runs.
    say
        Told of runs that have no curves, and why.
    failed
        Told of a run that cannot be drawn, and why; None: `say` is. The others are drawn.

    Raises
    ------
    DataError
        If none can be drawn.
    """
    from nwb_latents.pipeline.evaluation.figures.training import training_figure  # noqa: PLC0415

    logs, reasons = [], {}
    for run in runs:
        if run.imported is not None:
            reasons[run.run] = f"it was trained by {run.imported.program}, whose log is not here"
            say(f"Run {run.run} is not drawn: {reasons[run.run]}.")
            continue
        try:
            logs.append(_training_log(catalog_path, run))
        except FAILURES as error:
            reasons[run.run] = words_of(error, run.run)[0].rstrip(".")
            if failed is not None:
                failed(run, error)
            else:
                say(f"Run {run.run} is not drawn: {reasons[run.run]}.")
    if reasons and not logs:
        said = "; ".join(f"{run}: {reason}" for run, reason in reasons.items())
        raise DataError(f"Training curves: no run can be drawn. {said}.")
    return training_figure(logs, not_drawn=list(reasons))


def _training_log(catalog_path: Path, run: RunEntry) -> TrainingLog:
    from nwb_latents.pipeline.evaluation.figures.training import TrainingLog  # noqa: PLC0415
    from nwb_latents.pipeline.training.run_files import CONFIG, METRICS, read_config, read_metrics  # noqa: PLC0415

    folder = catalog_path.parent / run.path
    config = read_config(folder, run_key=run.run_key)
    if config is None:
        raise DataError(f"{folder}: no run here ({CONFIG} is missing). Train it again.")
    rows = read_metrics(folder / METRICS)
    if not rows:
        raise DataError(
            f"{folder}: nothing was written down while it was trained ({METRICS}), so there is nothing to "
            "draw. Train it again."
        )
    likelihood = str(getattr(config.settings.model, "likelihood", ""))
    best = run.metrics.get("best_step")
    return TrainingLog(
        run.run,
        rows,
        None if best is None else int(best),
        "squared error per trial" if likelihood == "mse" else "nats per trial",
    )


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


def forecast(catalog_path: Path, run: RunEntry, sessions: Sequence[str] = (), *, say: Say = _unsaid) -> Any:
    """Draw the R² of a run's forecasts over the steps ahead, from what was measured last.

    Raises
    ------
    DataError
        If the forecasts of the run were not measured, or what was measured is stale.
    """
    from nwb_latents.pipeline.evaluation.figures.forecasting import forecast_figure  # noqa: PLC0415
    from nwb_latents.pipeline.evaluation.forecasting.curves import NAMES  # noqa: PLC0415

    which: Any = {"names": tuple(NAMES.values()), "stages": ("forecast",), "recipe_id": run.recipe_id}

    def of_sessions(one: Measurement) -> bool:
        return not sessions or one.session in sessions

    table, catalog = read_measurements(catalog_path, **which), read_catalog(catalog_path)
    mine = sorted_out(table, catalog, lambda one: one.run == run.run and of_sessions(one))
    if not mine.measurements:
        found = mine.why_none or f"they were not measured{' in these sessions' if sessions else ''}"
        raise DataError(
            f"Forecasts of run {run.run}: {found}, so there is nothing to draw. Measure them "
            f"{'again' if mine.stale else 'first'}: pipeline run forecast --run {run.run}"
        )
    last = max(mine.measurements, key=lambda one: one.time)
    window, lag_ms = (last.seen_bins, last.bins), _lag(mine.measurements)

    def is_alike(one: Measurement) -> bool:
        same = (one.seen_bins, one.bins) == window and one.lag_ms in {None, lag_ms}
        return same and one.run in {run.run, None} and of_sessions(one)

    same = sorted_out(table, catalog, is_alike)
    widths = {
        one.session: one.bin_size_s for one in catalog.sessions.values() if one.recipe_id == run.recipe_id
    }
    also = _said(same, say, f"Forecasts of run {run.run}")
    return forecast_figure(same.measurements, bin_size_s=widths[last.session], also=also)


def few_shot(
    catalog_path: Path,
    parent: RunEntry,
    sessions: Sequence[str],
    settings: PlotSettings,
    *,
    say: Say = _unsaid,
) -> Any:
    """Draw what alignments of a run are worth by the number of trials they were given.

    Raises
    ------
    DataError
        If there is no alignment of the run, none was scored, or the scores are stale.
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
    names, of = {run.run for run in aligned}, {session for run in aligned for session in run.sessions}

    def is_wanted(one: Measurement) -> bool:
        is_one = one.run in names or (one.run is None and one.session in of)
        return is_one and one.split == "test" and one.lag_ms in {None, settings.lag_ms}

    which: Any = {"names": ("rates_r2", "velocity_r2"), "recipe_id": parent.recipe_id}
    found = current_numbers(catalog_path, is_wanted, **which)
    rows = few_shot_table(aligned, found.measurements)
    points = [point for row in rows for point in _points(row)]
    if not points and found.stale:
        raise DataError(
            f"Alignments of run {parent.run}: what was measured is stale ({'; '.join(found.stale)}), so "
            f"there is nothing to draw. Run the `pipeline run align --run {parent.run}` that made them again."
        )
    ceilings = {row.session: row.ceiling for row in rows if row.ceiling is not None}
    ceiling = sum(ceilings.values()) / len(ceilings) if ceilings else None
    also = _said(found, say, f"Alignments of run {parent.run}")
    return few_shot_figure(points, ceiling=ceiling, also=also)


def scores(
    catalog_path: Path,
    settings: PlotSettings,
    recipe_id: str,
    *,
    sessions: Sequence[str] = (),
    runs: Sequence[str] = (),
    say: Say = _unsaid,
) -> Any:
    """Draw R² of velocity that `pipeline run decode` measured at a lag, session by session.

    Parameters
    ----------
    catalog_path
        Catalog file.
    settings
        The lag.
    recipe_id
        Recipe of the stores.
    sessions
        Their ids; none: all.
    runs
        Names of runs, drawn beside recorded rates and baselines; none: all, and their ensembles.
    say
        Told what is left out.

    Raises
    ------
    DataError
        If nothing of these was scored at this lag, or what was is stale.
    """
    from nwb_latents.pipeline.evaluation.figures.summary import summary_figure, without_alignments  # noqa: PLC0415

    def is_chosen(one: Measurement) -> bool:
        of_none = one.run is None and one.source != "ensemble"
        is_of_run = not runs or one.run in runs or of_none
        return one.split == "test" and is_of_run and (not sessions or one.session in sessions)

    which: Any = {"names": ("velocity_r2",), "stages": ("decode",), "recipe_id": recipe_id}
    at_lag = current_numbers(
        catalog_path, lambda one: is_chosen(one) and one.lag_ms == settings.lag_ms, **which
    )
    lag = f"lag_ms {settings.lag_ms:g}"
    decode_again = f"pipeline run decode --lag-ms {settings.lag_ms:g}"
    if at_lag.why_none:
        raise DataError(
            f"Velocity at {lag}: {at_lag.why_none}, so there is nothing to draw. Decode again: {decode_again}"
        )
    if not at_lag.measurements:
        every = current_numbers(catalog_path, is_chosen, **which)
        lags = sorted({one.lag_ms for one in every.measurements if one.lag_ms is not None})
        known = ", ".join(f"{each:g}" for each in lags) or "none"
        of = " of these sessions and runs" if sessions or runs else ""
        raise DataError(
            f"No velocity{of} was scored at {lag}; lags that were: {known}. Decode first: {decode_again}"
        )
    ahead = [one for one in at_lag.measurements if one.bins is not None]
    last = max(ahead, key=lambda one: one.time) if ahead else None
    window = (None, None) if last is None else (last.seen_bins, last.bins)
    mine = [one for one in at_lag.measurements if one.bins is None or (one.seen_bins, one.bins) == window]
    aligned = {run.run for run in read_catalog(catalog_path).runs.values() if run.alignment is not None}
    shown, left_out = without_alignments(mine, aligned - set(runs))
    return summary_figure(shown, left_out=left_out, also=_said(at_lag, say, f"Scores at {lag}"))


def runs_of(catalog_path: Path, names: Sequence[str]) -> list[RunEntry]:
    """Return the runs of these names; none: all there are."""
    catalog = read_catalog(catalog_path)
    return named_runs(catalog, list(names) or list(catalog.runs))


def _opened(catalog_path: Path, entry: SessionEntry) -> Session:
    return open_session(store_path(catalog_path, entry.store), entry=entry).loaded()


def _said(found: CurrentNumbers, say: Say, what: str) -> tuple[str, ...]:
    """Say what is left out of a picture of numbers, and return it for the picture itself."""
    for text in found.said:
        say(f"{what}: {text}.")
    return found.said


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
