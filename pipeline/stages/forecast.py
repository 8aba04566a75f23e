"""``pipeline run forecast``: how far ahead a trained run sees, beside forecasts that need no model.

Catalog → sessions and runs → R² over the steps ahead as measurements, pictures in the folder of each run.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nwb_latents.pipeline.errors import DataError, MachineError, SettingsError
from nwb_latents.pipeline.stages.forecast_sources import (
    baseline_forecasts,
    ensemble_members,
    ensemble_of,
    foresight,
    runs_that_know,
)
from nwb_latents.pipeline.stages.given_trials import Given, given_to, require_no_more
from nwb_latents.pipeline.stages.lag_words import say_negative
from nwb_latents.pipeline.stages.picture_folder import note_settings, of_sessions, settings_folder
from nwb_latents.pipeline.stages.report import Report, ignore
from nwb_latents.pipeline.stages.session_tasks import SessionStage, Where, do_sessions
from nwb_latents.pipeline.stages.stage_memory import require_stores_fit
from nwb_latents.pipeline.stages.stage_work import StageWork
from nwb_latents.pipeline.stages.trained_runs import FAILURES, choose
from nwb_latents.pipeline.stores.catalog import read_catalog
from nwb_latents.pipeline.stores.location import path_name
from nwb_latents.schemas.events import NoteEvent, RunEvent
from nwb_latents.schemas.forecasting import ForecastSettings
from nwb_latents.schemas.measurement import Measurement

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from nwb_latents.pipeline.evaluation.baselines.baseline import Baseline
    from nwb_latents.pipeline.evaluation.forecasting.session_forecast import ForecastTask
    from nwb_latents.pipeline.evaluation.forecasting.source_forecast import SourceForecast
    from nwb_latents.pipeline.stages.forecast_sources import EnsembleMembers
    from nwb_latents.pipeline.stores.session import Session
    from nwb_latents.pipeline.training.inference import TrainedRun
    from nwb_latents.schemas.catalog import RunEntry, SessionEntry
    from nwb_latents.schemas.pictures import PictureSettings
    from nwb_latents.schemas.training import Device

Work = StageWork[ForecastSettings, Measurement]


def forecast(
    catalog_path: Path,
    settings: ForecastSettings,
    *,
    runs: Sequence[str] = (),
    sessions: Sequence[str] = ("*",),
    recipe_id: str | None = None,
    device: Device = "auto",
    unseen_trials: bool = False,
    force: bool = False,
    where: Where | None = None,
    pictures: PictureSettings | None = None,
    report: Report | None = None,
) -> list[Measurement]:
    """Score the forecasts of runs on the test trials of their sessions, step by step.

    The numbers go into the catalog's measurements; each run's folder gets the pictures
    ``SESSION.png`` and ``summary.png`` in ``forecast/<window>-<digest>/``, a folder for each choice of
    settings, which are kept there in ``settings.yaml``.

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
    unseen_trials
        Where a session's store is another than a run was trained on: score only trials the run was neither
        trained nor validated on, if its record of them proves which these are, instead of refusing the
        session. Their split is ``unseen-…``.
    force
        Begin whatever the size of stores and weights.
    where
        Which part of the sessions, and where they are forecast; default: all, in this process. On a cluster
        one session is one task; of a part no summary is drawn.
    pictures
        Formats and resolution of the pictures; default: PNG of 300 dots per inch.
    report
        Called with one event per measurement, session and failure.

    Returns
    -------
    measurements
        In order of session: those of recorded rates and of forecasts that need no model, then those of each
        run; of each curve the number over all steps, then one for each step.

    Raises
    ------
    DataError
        If no session matches, or no complete run was trained on one.
    SettingsError
        If the bins do not fit into the trials, or the lag is not a whole number of bins.
    MachineError
        If the device is not there, the disk refuses, a session is larger than the memory, or the cluster
        cannot be reached or is lost.
    PartialFailure
        If some sessions or runs failed; it carries the measurements of the others, which are kept.

    Examples
    --------
    >>> from pathlib import Path
    >>> from nwb_latents.schemas.forecasting import ForecastSettings
    >>> forecast(Path("nowhere/catalog.yaml"), ForecastSettings())
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.DataError: The catalog holds no sessions. Run `pipeline run ingest ...
    """
    where = where or Where()
    work = _plan(
        catalog_path, settings, runs, sessions=sessions, recipe_id=recipe_id, report=report or ignore
    )
    work.pictures = pictures or work.pictures
    said = f"seen{settings.seen_bins}-ahead{settings.bins}-lag{settings.lag_ms:g}ms"
    work.pictures_folder = settings_folder(said, settings, unseen_trials=unseen_trials)
    members = ensemble_members(settings.ensemble, read_catalog(catalog_path), work.sessions)
    work.sessions = where.part_of(work.sessions, catalog_path, FORECASTS.name, work.report)
    if not work.sessions:
        return []
    if where.is_here:
        require_stores_fit(catalog_path, work.sessions, runs=_runs(work, members), force=force)
    work.check_keeping()
    work.unseen_trials = unseen_trials
    do_sessions(work, FORECASTS, members, where, device=device)
    if where.is_part:
        text = "no summary of a part of the sessions is drawn; the command without a part draws it"
        work.report(NoteEvent(stage=FORECASTS.name, text=text))
    else:
        _summarise(work)
    if work.failures.found:
        n_sessions = len({each.session for each in work.results})
        summary = f"{len(work.failures.found)} forecasts failed, those of {n_sessions} sessions are kept."
        raise work.failures.error(summary, work.results)
    return work.results


def _plan(
    catalog_path: Path,
    settings: ForecastSettings,
    runs: Sequence[str],
    *,
    sessions: Sequence[str],
    recipe_id: str | None,
    report: Report,
) -> Work:
    from nwb_latents.pipeline.signals.task import whole_bins  # noqa: PLC0415

    entries, chosen = choose(read_catalog(catalog_path), runs, sessions, recipe_id, report=report)
    if not chosen:
        raise DataError(
            f"Nothing to forecast: no complete run of recipe {entries[0].recipe_id} was trained on these "
            "sessions. Train one with `pipeline run train`."
        )
    say_negative([settings.lag_ms], report)
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
    return Work(catalog_path, settings, entries, chosen, report)


@dataclass(frozen=True)
class _LaidReady:
    """A session with what is forecast of it; of runs that were given a few trials, from these alone."""

    session: Session
    task: ForecastTask
    others: dict[str, SourceForecast]
    given: Given | None = None
    made: dict[str, list[SourceForecast]] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class _Measured:
    """The numbers of a session: of what needs no run, and of each run."""

    beside: list[Measurement]
    of_runs: list[tuple[RunEntry, list[Measurement]]]
    n_trials: int


def _runs(work: Work, members: EnsembleMembers) -> list[RunEntry]:
    return runs_that_know(work.sessions, work.runs, members)


def _forecast_session(work: Work, members: EnsembleMembers, entry: SessionEntry) -> _Measured:
    """Return the numbers of a session; writes nothing."""
    from nwb_latents.pipeline.evaluation.baselines.known import known_baselines  # noqa: PLC0415
    from nwb_latents.pipeline.evaluation.forecasting.measured_forecasts import (  # noqa: PLC0415
        measurements_of,
        recorded_signal,
    )

    whole = _laid_ready(work, work.session(entry), known_baselines()[0])
    task = whole.task
    _say_what_is_missing(work, task)
    recorded = recorded_signal(task)
    beside = measurements_of(task, [*whole.others.values(), *([] if recorded is None else [recorded])])
    knowing = {name: run for name, run in work.trained.items() if entry.session in run.sessions}
    few: dict[tuple[int, ...], _LaidReady] = {}
    of_runs: list[tuple[RunEntry, list[Measurement]]] = []
    for chosen in work.runs:
        if chosen.run not in knowing:
            continue
        try:
            laid = _laid_for(work, whole, members, knowing[chosen.run], few)
            found = _measured(work, laid, members, knowing, chosen.run)
        except MachineError:
            raise
        except FAILURES as error:
            event = RunEvent(run=chosen.run, session=task.session, status="failed")
            work.failures.add(error, event=event, name=f"{chosen.run} on {task.session}")
            continue
        of_runs.append((chosen, found))
    return _Measured(beside, of_runs, len(task.test))


def _keep(work: Work, members: EnsembleMembers, entry: SessionEntry, made: _Measured) -> dict[str, object]:
    """Keep the numbers of a session, and draw them."""
    del members
    work.keep([*made.beside, *(each for _, mine in made.of_runs for each in mine)])
    for run, mine in made.of_runs:
        _draw(work, run, [*mine, *made.beside], name=entry.session)
    return {"n_trials": made.n_trials, "n_units": entry.n_units}


FORECASTS = SessionStage("forecast", make=_forecast_session, keep=_keep, runs=_runs)


def _laid_ready(
    work: Work, session: Session, baselines: Sequence[Baseline], given: Given | None = None
) -> _LaidReady:
    from nwb_latents.pipeline.evaluation.forecasting.session_forecast import prepare_forecast  # noqa: PLC0415

    settings, chosen = work.settings, work.settings.baseline
    if given is not None:
        settings, chosen = given.fewer_folds(settings), given.fewer_folds(chosen)
    task = prepare_forecast(session, settings, given_few=given is not None)
    return _LaidReady(
        session, task, baseline_forecasts(task, baselines, chosen, failures=work.failures), given
    )


def _laid_for(
    work: Work,
    whole: _LaidReady,
    members: EnsembleMembers,
    run: TrainedRun,
    few: dict[tuple[int, ...], _LaidReady],
) -> _LaidReady:
    """Return the session as a run was given it; what is laid ready of a few trials is kept in `few`."""
    given = given_to(run, whole.session)
    if given is None:
        return whole
    if given.trials not in few:
        few[given.trials] = _laid_ready(work, given.session, members.baselines, given)
    return few[given.trials]


def _measured(
    work: Work, laid: _LaidReady, members: EnsembleMembers, knowing: dict[str, TrainedRun], run: str
) -> list[Measurement]:
    """Return the numbers of a run and, where it is asked for, of its mean with others."""
    from nwb_latents.pipeline.evaluation.forecasting.measured_forecasts import measurements_of  # noqa: PLC0415

    if run not in laid.made:
        laid.made[run] = _of_run(work, laid.session, laid.task, run=knowing[run])
    for name in (each.run for each in members.runs if each.run in knowing):
        if name in laid.failed:
            continue
        try:
            if laid.given is not None:
                require_no_more(laid.given.trials, knowing[name], session=laid.session.name, beside=run)
            if name not in laid.made:
                laid.made[name] = _of_run(work, laid.session, laid.task, run=knowing[name])
        except MachineError:
            raise
        except FAILURES as error:
            laid.failed.add(name)
            event = RunEvent(run=name, session=laid.session.name, status="failed")
            work.failures.add(error, event=event, name=f"{name} on {laid.session.name}")
    others = {**laid.others, **{name: found[0] for name, found in laid.made.items()}}
    found = laid.made[run]
    mean = ensemble_of(laid.task, found[0], members, others, failures=work.failures)
    numbers = measurements_of(laid.task, [*found, *([] if mean is None else [mean])])
    return numbers if laid.given is None else [laid.given.told(each) for each in numbers]


def _of_run(work: Work, session: Session, task: ForecastTask, *, run: TrainedRun) -> list[SourceForecast]:
    """Return the forecast of a run, first as it is read out, then as the literature decodes it."""
    foresee = foresight(run, session, task)
    found = [task.of_run(foresee, run=run.name), task.decoded(foresee, run=run.name)]
    if work.settings.leaky:
        leaky = foresight(run, session, task, is_leaky=True)
        found.append(task.decoded(leaky, run=run.name, is_leaky=True))
    return [each for each in found if each is not None]


def _say_what_is_missing(work: Work, task: ForecastTask) -> None:
    from nwb_latents.pipeline.evaluation.forecasting.conformal import LEVEL, least_trials  # noqa: PLC0415

    if task.decoder is None:
        text = f"{task.session}: too few training trials with a recorded velocity; rates alone are scored"
        work.report(NoteEvent(session=task.session, text=text))
    elif len(task.val) < least_trials():
        text = (
            f"{task.session}: {len(task.val)} validation trials; a band that holds {LEVEL:.0%} of the trials "
            f"takes {least_trials()}. Ingest with a larger share of them (recipe: split.val) to have one"
        )
        work.report(NoteEvent(session=task.session, text=text))


def _draw(work: Work, run: RunEntry, measurements: Sequence[Measurement], *, name: str) -> None:
    from nwb_latents.pipeline.evaluation.figures.forecasting import draw_forecast  # noqa: PLC0415

    path = work.run_folder(run, "forecast") / f"{path_name(name)}.png"
    bin_size_s = work.sessions[0].bin_size_s
    draw_forecast(path, measurements, bin_size_s=bin_size_s, pictures=work.pictures)
    note_settings(path.parent, work.settings, unseen_trials=work.unseen_trials)


def _summarise(work: Work) -> None:
    for run in work.runs:
        mine = [each for each in work.results if each.run in {run.run, None}]
        sessions = {each.session for each in mine if each.run == run.run}
        if len(sessions) > 1:
            _draw(work, run, mine, name=of_sessions("summary", sessions, known=run.sessions))
