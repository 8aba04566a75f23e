"""``pipeline run forecast``: how far ahead a trained run sees, beside forecasts that need no model.

Catalog → sessions and runs → curves of R² over the steps ahead into the folder of each run, with pictures.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nwb_latents.pipeline.errors import DataError, MachineError, SettingsError
from nwb_latents.pipeline.stages.report import Report, ignore
from nwb_latents.pipeline.stages.trained_runs import (
    FAILURES,
    Failures,
    choose,
    each_session,
    file_name,
    load_runs,
)
from nwb_latents.pipeline.stores.atomic import write_text
from nwb_latents.pipeline.stores.catalog import read_catalog
from nwb_latents.pipeline.stores.location import store_path
from nwb_latents.pipeline.stores.session import open_session

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from nwb_latents.pipeline.training.inference import TrainedRun
    from nwb_latents.schemas.catalog import RunEntry, SessionEntry
    from nwb_latents.schemas.forecasting import ForecastSettings, SessionForecast
    from nwb_latents.schemas.training import Device


@dataclass
class _Work:
    """What the stage was asked to do, and what came of it."""

    catalog_path: Path
    settings: ForecastSettings
    runs: list[RunEntry]
    sessions: list[SessionEntry]
    report: Report
    trained: dict[str, TrainedRun] = field(default_factory=dict)
    done: list[SessionForecast] = field(default_factory=list)
    failures: Failures = field(init=False)

    def __post_init__(self) -> None:
        self.failures = Failures(self.report)

    def folder(self, run: RunEntry) -> Path:
        return self.catalog_path.parent / run.path / "forecast"


def forecast(
    catalog_path: Path,
    settings: ForecastSettings,
    *,
    runs: Sequence[str] = (),
    sessions: Sequence[str] = ("*",),
    recipe_id: str | None = None,
    device: Device = "auto",
    report: Report | None = None,
) -> list[SessionForecast]:
    """Score the forecasts of runs on the test trials of their sessions, step by step.

    Each run's folder gets ``forecast/SESSION.json`` and ``.png``, and ``forecast/summary.png``.

    Parameters
    ----------
    catalog_path
        Catalog file.
    settings
        Bins seen and forecast, lag, penalties, folds.
    runs
        Names of runs; default: all runs of the recipe that were trained on a chosen session.
    sessions
        Shell patterns for session ids.
    recipe_id
        Recipe of the stores, or its beginning; default: that of `runs`, else that of the matching session
        ingested last.
    device
        Where the models run; auto: a GPU if there is one.
    report
        Called with one event per curve, session and failure.

    Returns
    -------
    forecasts
        In order of session, then run.

    Raises
    ------
    DataError
        If no session matches, or no complete run was trained on one.
    SettingsError
        If the bins do not fit into the trials, or the lag is not a whole number of bins.
    MachineError
        If the device is not there or the disk refuses.
    PartialFailure
        If some sessions or runs failed; it carries the forecasts of the others.

    Examples
    --------
    >>> from pathlib import Path
    >>> from nwb_latents.schemas.forecasting import ForecastSettings
    >>> forecast(Path("nowhere/catalog.yaml"), ForecastSettings())
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.DataError: The catalog holds no sessions. Run `pipeline run ingest ...
    """
    work = _plan(
        catalog_path, settings, runs, sessions=sessions, recipe_id=recipe_id, report=report or ignore
    )
    work.trained = load_runs(catalog_path, work.runs, device=device, failures=work.failures)
    each_session(
        work.sessions, lambda entry: _forecast_session(work, entry), stage="forecast", failures=work.failures
    )
    _summarise(work)
    if work.failures.found:
        summary = f"{len(work.failures.found)} forecasts failed, {len(work.done)} were written."
        raise work.failures.error(summary, work.done)
    return work.done


def _plan(
    catalog_path: Path,
    settings: ForecastSettings,
    runs: Sequence[str],
    *,
    sessions: Sequence[str],
    recipe_id: str | None,
    report: Report,
) -> _Work:
    from nwb_latents.pipeline.signals.task import whole_bins  # noqa: PLC0415

    entries, chosen = choose(read_catalog(catalog_path), runs, sessions, recipe_id)
    if not chosen:
        raise DataError(
            f"Nothing to forecast: no complete run of recipe {entries[0].recipe_id} was trained on these "
            "sessions. Train one with `pipeline run train`."
        )
    known = {session for run in chosen for session in run.sessions}
    entries = [entry for entry in entries if entry.session in known]
    for entry in entries:
        whole_bins(settings.lag_ms, bin_size_s=entry.bin_size_s, name="lag_ms")
        if settings.seen_bins + settings.bins > entry.n_bins:
            raise SettingsError(
                f"{settings.seen_bins} bins seen and {settings.bins} forecast are more than the "
                f"{entry.n_bins} bins of a trial of {entry.session}; use seen_bins + bins of at most "
                f"{entry.n_bins}."
            )
    return _Work(catalog_path, settings, chosen, entries, report)


def _forecast_session(work: _Work, entry: SessionEntry) -> dict[str, object]:
    from nwb_latents.pipeline.evaluation.forecasting.session_forecast import prepare_forecast  # noqa: PLC0415

    mine = [run for run in work.runs if entry.session in run.sessions and run.run in work.trained]
    store = store_path(work.catalog_path, entry.store)
    session = open_session(store).loaded()
    task = prepare_forecast(session, work.settings)
    if task.decoder is None:
        text = f"{entry.session}: too few training trials with a recorded velocity; rates alone are scored"
        work.report({"event": "note", "session": entry.session, "text": text})
    test = session.trials.isel(trial=task.test)
    for run in mine:
        try:
            rates = work.trained[run.run].forecast(
                entry.session, test, seen_bins=work.settings.seen_bins, n_bins=work.settings.bins
            )
            _keep(work, run, task.result(run.run, rates))
        except MachineError:
            raise
        except FAILURES as error:
            event: dict[str, object] = {"event": "run", "run": run.run, "session": entry.session}
            work.failures.add(error, event=event, name=f"{run.run} on {entry.session}")
    return {"n_trials": len(task.test), "n_units": entry.n_units}


def _keep(work: _Work, run: RunEntry, result: SessionForecast) -> None:
    from nwb_latents.pipeline.evaluation.figures.forecasting import draw_forecast  # noqa: PLC0415

    stem = file_name(result.session)
    write_text(work.folder(run) / f"{stem}.json", result.model_dump_json(indent=2) + "\n")
    draw_forecast(work.folder(run) / f"{stem}.png", [result])
    work.done.append(result)
    told = result.model_dump(mode="json", include={"run", "session", "split", "n_trials"})
    for curve in result.curves:
        work.report({"event": "forecast", **told, **curve.model_dump(mode="json")})


def _summarise(work: _Work) -> None:
    from nwb_latents.pipeline.evaluation.figures.forecasting import draw_forecast  # noqa: PLC0415

    for run in work.runs:
        mine = [result for result in work.done if result.run == run.run]
        if len(mine) > 1:
            draw_forecast(work.folder(run) / "summary.png", mine)
