"""``pipeline run evaluate``: every metric of runs and baselines, session by session, with intervals.

Catalog → sessions, runs, baselines → rates → measurements. What was measured of the same run, store and
settings is not measured again.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from nwb_latents.pipeline.errors import DataError, MachineError, UsageError
from nwb_latents.pipeline.signals.task import whole_bins
from nwb_latents.pipeline.stages.evaluate_days import held_out_days, knows_days_before
from nwb_latents.pipeline.stages.evaluate_plan import EvaluationPlan, truth_files
from nwb_latents.pipeline.stages.evaluate_records import (
    STAGE,
    Known,
    Place,
    as_measurement,
    known_records,
)
from nwb_latents.pipeline.stages.evaluate_sources import (
    Source,
    as_given,
    baseline_source,
    ensemble_source,
    run_source,
    stranger_source,
)
from nwb_latents.pipeline.stages.few_trials import say_few
from nwb_latents.pipeline.stages.forecast_sources import ensemble_members
from nwb_latents.pipeline.stages.lag_words import say_negative
from nwb_latents.pipeline.stages.report import Report, ignore
from nwb_latents.pipeline.stages.session_tasks import SessionStage, Where, do_sessions
from nwb_latents.pipeline.stages.stage_memory import require_stores_fit
from nwb_latents.pipeline.stages.stage_work import StageWork
from nwb_latents.pipeline.stages.trained_runs import FAILURES, choose
from nwb_latents.pipeline.stages.unseen import of_unseen
from nwb_latents.pipeline.stores.catalog import read_catalog
from nwb_latents.pipeline.stores.measurements import add_measurements, measurement_records, read_measurements
from nwb_latents.schemas.events import MeasurementEvent, MetricEvent, NoteEvent, RunEvent, SourceEvent

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from nwb_latents.pipeline.evaluation.scored_session import ScoredSession
    from nwb_latents.pipeline.stages.evaluate_plan import Wanted
    from nwb_latents.pipeline.stages.evaluate_sources import MadeForecasts
    from nwb_latents.schemas.catalog import RunEntry, SessionEntry
    from nwb_latents.schemas.evaluation import EvaluateSettings
    from nwb_latents.schemas.measurement import Measurement
    from nwb_latents.schemas.training import Device


Work = StageWork["EvaluateSettings", "Measurement"]


def evaluate(
    catalog_path: Path,
    settings: EvaluateSettings,
    *,
    runs: Sequence[str] = (),
    sessions: Sequence[str] = ("*",),
    recipe_id: str | None = None,
    truth: Path | None = None,
    force: bool = False,
    device: Device = "auto",
    unseen_trials: bool = False,
    where: Where | None = None,
    report: Report | None = None,
) -> list[Measurement]:
    """Measure runs and baselines on sessions, with intervals over trials.

    Parameters
    ----------
    catalog_path
        Catalog file.
    settings
        Metrics, baselines, phase, units held out, bins ahead, resamples.
    runs
        Names of runs; default: all runs of the recipe that were trained on a chosen session.
    sessions
        Shell patterns for session ids.
    recipe_id
        Recipe of the stores, or its beginning; default: that of `runs`, else that of the matching session
        ingested last.
    truth
        Folder of the simulated files, with the truth beside them; without it there is no oracle, no rate R²
        and no state R².
    force
        Measure again what is up to date, and begin whatever the size of stores and weights.
    device
        Where the models run; auto: a GPU if there is one.
    unseen_trials
        Where a session's store is another than a run was trained on: score only trials the run was neither
        trained nor validated on, if its record of them proves which these are, instead of refusing the
        session. Their split is ``unseen-…``.
    where
        Which part of the sessions, and where they are measured; default: all, in this process. On a cluster
        one session is one task.
    report
        Called with one event per measurement, session and failure.

    Returns
    -------
    measurements
        Those asked for, in order of session, runs before baselines, metrics as in tables; those that were up
        to date included. What a source cannot have has no value and a reason.

    Raises
    ------
    DataError
        If no session matches, a run is not in the catalog, or `truth` holds none of the sessions.
    SettingsError
        If a time is not a whole number of bins, or there is no baseline of a name.
    UsageError
        If unseen trials, or an ensemble, are asked for of another phase than test.
    MachineError
        If the device is not there, the disk refuses, a session is larger than the memory, or the cluster
        cannot be reached or is lost.
    PartialFailure
        If some sessions, sources or metrics failed; it carries the measurements of the others, which are
        kept.

    Examples
    --------
    >>> from pathlib import Path
    >>> from nwb_latents.schemas.evaluation import EvaluateSettings
    >>> evaluate(Path("nowhere/catalog.yaml"), EvaluateSettings())
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.DataError: The catalog holds no sessions. Run `pipeline run ingest ...
    """
    from nwb_latents.pipeline.evaluation.baselines.known import known_baselines  # noqa: PLC0415
    from nwb_latents.pipeline.evaluation.metrics.known import known_metrics  # noqa: PLC0415

    if unseen_trials and settings.phase != "test":
        raise UsageError(
            f"--unseen-trials scores trials no run was validated on; --phase {settings.phase} asks for "
            "others. "
            "Leave one of them out."
        )
    if settings.forecast.ensemble and settings.phase != "test":
        raise UsageError(
            "--ensemble chooses its weights on validation trials, and --phase val scores these. Leave one of "
            "them out."
        )
    baselines, lost = known_baselines(settings.baselines)
    metrics, broken = known_metrics(settings.metrics)
    where = where or Where()
    entries, chosen = choose(read_catalog(catalog_path), runs, sessions, recipe_id, report=report or ignore)
    entries = where.part_of(entries, catalog_path, STAGE, report or ignore)
    if not entries:
        return []
    for entry in entries:
        whole_bins(settings.lag_ms, bin_size_s=entry.bin_size_s, name="lag_ms")
        whole_bins(settings.forward_ms, bin_size_s=entry.bin_size_s, name="forward_ms")
    say_negative([settings.lag_ms], report or ignore)
    truths = {} if truth is None else truth_files(truth, entries)
    if truth is not None and not truths:
        raise DataError(
            f"{truth}: no truth of {entries[0].session} or another chosen session is here; expected the "
            "folder `pipeline simulate` wrote. Name that, or leave --truth out."
        )
    early: dict[str, tuple[SessionEntry, ...]] = {}
    if settings.held_out_days:
        early = held_out_days(catalog_path, entries, settings.held_out_days, report=report or ignore)
        entries = [entry for entry in entries if entry.session in early]
    work = Work(catalog_path, settings, entries, chosen, report or ignore)
    work.unseen_trials = unseen_trials
    # Which trials these are is known once their sessions are read.
    known = {} if force or unseen_trials else _known(work)
    members = ensemble_members(settings.forecast.ensemble, read_catalog(catalog_path), entries)
    plan = EvaluationPlan(settings, metrics, baselines, truths, known, members, early)
    for name, reason in broken.items():
        event = MetricEvent(metric=name, status="failed")
        work.failures.add(DataError(reason), event=event, name=f"metric {name}")
    for name, reason in lost.items():
        failed = SourceEvent(source=name, status="failed")
        work.failures.add(DataError(reason), event=failed, name=f"baseline {name}")
    _say_what_is_missing(work, plan)
    outdated = [entry for entry in entries if _is_outdated(work, plan, entry)]
    if where.is_here:
        require_stores_fit(catalog_path, outdated, runs=_outdated_runs(work, plan), force=force)
    if outdated:
        work.check_keeping()
    do_sessions(work, EVALUATION, plan, where, device=device)
    if work.failures.found:
        summary = f"{len(work.failures.found)} failed, {len(work.results)} measurements are kept."
        raise work.failures.error(summary, work.results)
    return work.results


def _evaluate_session(work: Work, plan: EvaluationPlan, entry: SessionEntry) -> list[list[Measurement]]:
    """Return what is measured of each source; writes nothing."""
    sources = _sources(work, plan, entry)
    wanted = [plan.lacking(source, entry) for source in sources]
    if not any(wanted):
        return [[] for _ in sources]
    session = _prepared(work, plan, entry, [one for each in wanted for one in each])
    say_few(session, work.report, metrics=[metric for each in wanted for metric, _ in each])
    few: dict[tuple[int, ...], ScoredSession] = {}
    return [
        _measure(work, source, entry, session, lacking, few=few) if lacking else []
        for source, lacking in zip(sources, wanted, strict=True)
    ]


def _keep(
    work: Work, plan: EvaluationPlan, entry: SessionEntry, made: list[list[Measurement]]
) -> dict[str, object]:
    """Keep what was measured of each source, and report it with what was known."""
    fresh_records = [one for records in made for one in records]
    added = iter(add_measurements(work.catalog_path, fresh_records) if fresh_records else [])
    for source, records in zip(_sources(work, plan, entry), made, strict=True):
        fresh, lacking = [next(added) for _ in records], plan.lacking(source, entry)
        known = [record for key, record in plan.up_to_date(source, entry).items() if key not in lacking]
        for record in fresh:
            told = record.model_dump(exclude_unset=True)
            work.report(MeasurementEvent(status="done", is_current=True, **told))
        for record in known:
            told = record.model_dump(exclude_unset=True)
            work.report(MeasurementEvent(status="skipped", is_current=True, **told))
        order = {metric.name: place for place, metric in enumerate(plan.metrics)}
        work.results += sorted([*fresh, *known], key=lambda record: (order[record.name], record.bins or 0))
    return {"n_trials": entry.n_trials, "n_units": entry.n_units}


def _prepared(
    work: Work, plan: EvaluationPlan, entry: SessionEntry, wanted: Sequence[Wanted]
) -> ScoredSession:
    """Read a session and lay ready what is wanted of it."""
    from nwb_latents.pipeline.evaluation.early_days import EarlyDays  # noqa: PLC0415
    from nwb_latents.pipeline.evaluation.scored_session import prepare_session  # noqa: PLC0415
    from nwb_latents.pipeline.sources.simulator.truth import read_truth  # noqa: PLC0415

    truth = read_truth(plan.truth[entry.session]) if entry.session in plan.truth else None
    forward = any("forward" in metric.needs for metric, _ in wanted)
    days = tuple(work.session(each) for each in plan.early.get(entry.session, ()))
    early = EarlyDays(days) if days else None
    return prepare_session(work.session(entry), work.settings, forward=forward, truth=truth, early=early)


def _measure(
    work: Work,
    source: Source,
    entry: SessionEntry,
    session: ScoredSession,
    wanted: Sequence[Wanted],
    *,
    few: dict[tuple[int, ...], ScoredSession],
) -> list[Measurement]:
    """Measure what is wanted of a source; what fails is a failure of the source or of the metric alone.

    Of a session as runs were given it, what is laid ready is kept in `few`.
    """
    event: SourceEvent | RunEvent = (
        SourceEvent(source=source.name, session=entry.session, status="failed")
        if source.is_baseline
        else RunEvent(run=source.name, session=entry.session, status="failed")
    )
    where = f"{source.name} on {entry.session}"
    records: list[Measurement] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            parts = {part for _, part in wanted} | {part for metric, _ in wanted for part in metric.reads}
            given = as_given(source, session, work.trained, few)
            made = source.deliver(given, parts)
        except MachineError:
            raise
        except FAILURES as error:
            work.failures.add(error, event=event, name=where)
            return []
        for metric, part in wanted:
            try:
                measured = given.measure(metric, part, made)
            except MachineError:
                raise
            except Exception as error:
                told = MetricEvent(
                    metric=metric.name, source=source.name, session=entry.session, status="failed"
                )
                work.failures.add(error, event=told, name=f"{metric.name} of {where}")
                continue
            record = as_measurement(measured, source, entry, session, n_given=len(given.given))
            records.append(of_unseen(record, work.unseen))
    for warning in caught:
        text = f"{where}: {warning.message}"
        work.report(NoteEvent(text=text, session=entry.session))
    return records


def _sources(work: Work, plan: EvaluationPlan, entry: SessionEntry) -> list[Source]:
    """Return what can be measured on a session: runs, their ensembles, then baselines."""
    made: MadeForecasts = {}
    runs = [run for run in work.runs if entry.session in run.sessions]
    averaged = [run for run in runs if set(plan.members.names) - {run.run}]
    return [
        *_run_sources(work, plan, entry, made),
        *(
            ensemble_source(
                run, work.facts[run.run], plan.members, work.trained, made, settings=work.settings.baseline
            )
            for run in averaged
        ),
        *(baseline_source(baseline, work.settings.baseline) for baseline in plan.baselines_of(entry)),
    ]


def _run_sources(work: Work, plan: EvaluationPlan, entry: SessionEntry, made: MadeForecasts) -> list[Source]:
    """Return the runs that know a session; of a day held out, those that know the days before beside them."""
    found = [
        run_source(run, work.facts[run.run], work.trained, made)
        for run in work.runs
        if entry.session in run.sessions
    ]
    early = plan.early.get(entry.session, ())
    strangers = [run for run in work.runs if knows_days_before(run, entry.session, early)]
    return found + [stranger_source(run, work.facts[run.run], work.trained) for run in strangers]


def _outdated_runs(work: Work, plan: EvaluationPlan) -> list[RunEntry]:
    """Return the runs that have to be loaded.

    Those that others are averaged with are among them and, where days are held out, those they were aligned
    from.
    """
    lacking = {
        (source.name, source.is_ensemble)
        for entry in work.sessions
        for source in _sources(work, plan, entry)
        if not source.is_baseline and plan.lacking(source, entry)
    }
    names = {name for name, _ in lacking}
    if any(is_ensemble for _, is_ensemble in lacking):
        names |= {run.run for run in plan.members.runs}
    mine = [run for run in work.runs if run.run in names]
    if plan.early:
        names |= {run.alignment.parent for run in mine if run.alignment is not None}
    every = {run.run: run for run in (*work.runs, *plan.members.runs)}
    every |= {name: run for name, run in read_catalog(work.catalog_path).runs.items() if name in names}
    return [run for name, run in every.items() if name in names]


def _is_outdated(work: Work, plan: EvaluationPlan, entry: SessionEntry) -> bool:
    """Whether a session has to be read."""
    return any(plan.lacking(source, entry) for source in _sources(work, plan, entry))


EVALUATION = SessionStage(
    STAGE,
    make=_evaluate_session,
    keep=_keep,
    runs=_outdated_runs,
    is_needed=_is_outdated,
    plan_of=EvaluationPlan.of_session,
)


def _known(work: Work) -> dict[Place, Known]:
    """Return the records of the sessions' recipe and phase."""
    written = read_measurements(
        work.catalog_path,
        stages=(STAGE,),
        recipe_id=work.recipe_id,
        splits=(work.settings.phase,),
    )
    mine = written[written["session"].isin([entry.session for entry in work.sessions])]
    return known_records(measurement_records(mine))


def _say_what_is_missing(work: Work, plan: EvaluationPlan) -> None:
    named = work.settings.baselines or ()
    for baseline in plan.baselines:
        if baseline.is_truth and baseline.name in named and not plan.truth:
            reason = "the true rates are not known; name the folder of the simulated sessions with --truth"
            work.report(SourceEvent(source=baseline.name, status="skipped", reason=reason))
        if baseline.of_store and baseline.name in named:
            without = [entry.session for entry in work.sessions if not entry.imported_rates]
            if without:
                reason = (
                    f"no rates of another program came with {', '.join(without)}; import the file posterior "
                    "sampling wrote (pipeline import lfads-h5)"
                )
                work.report(SourceEvent(source=baseline.name, status="skipped", reason=reason))
    n_bins = min(entry.n_bins for entry in work.sessions)
    needed = work.settings.forecast.end
    if needed > n_bins and any("forecast" in metric.parts for metric in plan.metrics):
        reason = (
            f"{needed} bins seen and forecast are more than the {n_bins} of a trial; lower "
            "forecast.seen_bins or forecast.bins"
        )
        work.report(SourceEvent(source="forecast", status="skipped", reason=reason))
