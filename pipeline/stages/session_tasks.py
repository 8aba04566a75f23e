"""The sessions of a stage as tasks: made here one after the other, or anywhere on a cluster, kept here.

What a session is made into is computed where there is room; what is kept of it, records, pictures and events,
is kept by the process that was asked, so that there is one writer and nothing hangs on what a worker sees of
the disk but the stores.
"""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from nwb_latents.pipeline.cluster.cluster_option import parse_cluster
from nwb_latents.pipeline.cluster.ledger import LEDGER_NAME, AttemptLog
from nwb_latents.pipeline.cluster.runner import run_tasks
from nwb_latents.pipeline.cluster.shard import Shard
from nwb_latents.pipeline.cluster.task_batch import Attempted, Work
from nwb_latents.pipeline.errors import MachineError
from nwb_latents.pipeline.stages.seen_stores import require_seen
from nwb_latents.pipeline.stages.stage_memory import session_bytes
from nwb_latents.pipeline.stages.stage_work import Result, Settings, StageWork
from nwb_latents.pipeline.stages.trained_runs import FAILURES, load_runs, words_of
from nwb_latents.pipeline.stores.location import path_name
from nwb_latents.schemas.events import NoteEvent, ProgressEvent, RetryEvent, RunEvent, SessionEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from nwb_latents.pipeline.stages.report import Report
    from nwb_latents.pipeline.training.inference import TrainedRun
    from nwb_latents.schemas.catalog import RunEntry, SessionEntry
    from nwb_latents.schemas.cluster import ClusterSettings
    from nwb_latents.schemas.training import Device

Plan = TypeVar("Plan")
Made = TypeVar("Made")

_RUNS_KEPT = 16
"""Runs a worker keeps loaded from one session to the next."""


@dataclass(frozen=True)
class Where:
    """Which sessions of a stage are worked on, and where.

    Attributes
    ----------
    cluster, settings
        As in `run_tasks`.
    shard
        Part of the sessions, for one job of an array.
    retry_failed
        Only the sessions whose last attempt failed, as the ledger of the stage has it.
    """

    cluster: str = "serial"
    settings: ClusterSettings | None = None
    shard: Shard = field(default_factory=Shard)
    retry_failed: bool = False

    @property
    def is_here(self) -> bool:
        """Whether sessions are worked on in this process."""
        return parse_cluster(self.cluster).name == "serial"

    @property
    def is_part(self) -> bool:
        """Whether these may be fewer sessions than were asked for."""
        return self.shard.count > 1 or self.retry_failed

    def part_of(
        self, entries: Sequence[SessionEntry], catalog_path: Path, stage: str, report: Report
    ) -> list[SessionEntry]:
        """Return the sessions of this part; that there are none is said."""
        mine = [entry for entry in entries if self.shard.holds(entry.session)]
        of = f" in shard {self.shard}" if self.shard.count > 1 else ""
        if self.retry_failed and mine:
            ledger = AttemptLog(ledger_of(catalog_path, stage, mine[0].recipe_id), mine[0].recipe_id, report)
            mine = [entry for entry in mine if entry.store in ledger.failed]
            if not mine:
                report(NoteEvent(stage=stage, text=f"no session has failed{of}"))
        elif not mine:
            report(NoteEvent(stage=stage, text=f"no session{of}"))
        return mine


def ledger_of(catalog_path: Path, stage: str, recipe_id: str) -> Path:
    """Return where the attempts of a stage at a recipe's sessions are written down.

    Examples
    --------
    >>> from pathlib import Path
    >>> ledger_of(Path("demo/catalog.yaml"), "evaluate", "20ms-0").as_posix()
    'demo/results/evaluate/20ms-0/ledger.jsonl'
    """
    return catalog_path.parent / "results" / stage / path_name(recipe_id) / LEDGER_NAME


@dataclass(frozen=True)
class SessionStage(Generic[Settings, Result, Plan, Made]):
    """What a stage does with a session; all functions are importable by name.

    Attributes
    ----------
    name
        Name of the stage.
    make
        Compute what is asked of a session; writes nothing.
    keep
        Keep it, and return what the session's event tells besides.
    runs
        Runs that have to be loaded for the sessions of the work.
    is_needed
        Whether there is anything to compute of a session; None: always.
    plan_of
        What of the plan a session needs; None: all of it.
    reads_recording
        Whether what the trials were cut from is read too.
    ends_with_the_machine
        Whether what the machine refuses ends the stage, and not one session after the other.
    """

    name: str
    make: Callable[[StageWork[Settings, Result], Plan, SessionEntry], Made]
    keep: Callable[[StageWork[Settings, Result], Plan, SessionEntry, Made], Mapping[str, object]]
    runs: Callable[[StageWork[Settings, Result], Plan], Sequence[RunEntry]]
    is_needed: Callable[[StageWork[Settings, Result], Plan, SessionEntry], bool] | None = None
    plan_of: Callable[[Plan, SessionEntry], Plan] | None = None
    reads_recording: bool = True
    ends_with_the_machine: bool = False


@dataclass(frozen=True)
class StageJob(Generic[Settings, Result, Plan, Made]):
    """What all sessions of one call of a stage have in common, as it is sent to workers."""

    stage: SessionStage[Settings, Result, Plan, Made]
    catalog_path: Path
    settings: Settings
    runs: tuple[RunEntry, ...]
    device: Device
    unseen_trials: bool


@dataclass(frozen=True)
class SessionTask(Generic[Plan]):
    """One session, with what of the plan it needs."""

    entry: SessionEntry
    plan: Plan


@dataclass(frozen=True)
class Outcome(Generic[Made]):
    """What a worker made of a session.

    Attributes
    ----------
    made
        What is to be kept; None where the session failed as a whole.
    reason, exit_code
        Why it failed, and what that stands for.
    failures
        Name, reason and exit code of what failed while the rest of the session went on.
    unseen
        As in `StageWork`.
    seconds
        Time it took.
    """

    made: Made | None = None
    reason: str = ""
    exit_code: int = 0
    failures: tuple[tuple[str, str, int], ...] = ()
    unseen: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0


def do_sessions(
    work: StageWork[Settings, Result],
    stage: SessionStage[Settings, Result, Plan, Made],
    plan: Plan,
    where: Where,
    *,
    device: Device,
) -> None:
    """Do every session of the work; one that fails does not stop the others.

    Parameters
    ----------
    work
        Takes the results, in order of its sessions, and the failures; its report is told of all.
    stage, plan
        What to do.
    where
        Where to do it. The sessions of the work are those of its part already.
    device
        Where the models run.

    Raises
    ------
    MachineError
        If the device is not there, or the cluster cannot be reached or is lost.
    """
    log = AttemptLog(ledger_of(work.catalog_path, stage.name, work.recipe_id), work.recipe_id, work.report)
    if where.is_here:
        lacking = [run for run in stage.runs(work, plan) if run.run not in work.trained]
        work.trained |= load_runs(work.catalog_path, lacking, device=device, failures=work.failures)
        attempts = _here(work, stage, plan, work.sessions)
    else:
        attempts = _on_a_cluster(work, stage, plan, where, device=device)
    first, kept = list(work.results), dict[str, list[Result]]()
    done = 0
    for attempted in attempts:
        entry, outcome, before = attempted.task.entry, attempted.result, len(work.results)
        if attempted.is_final:
            outcome = _kept(work, stage, plan, entry, outcome)
        if outcome.made is None or entry.store in log.failed:
            log.add(
                attempted,
                session=entry.session,
                source=entry.store,
                status="failed" if outcome.made is None else "done",
                reason=outcome.reason,
                exit_code=outcome.exit_code,
                seconds=outcome.seconds,
            )
        if not attempted.is_final:
            work.report(
                RetryEvent(
                    session=entry.session,
                    source=entry.store,
                    attempt=attempted.attempt,
                    host=attempted.host,
                    reason=outcome.reason,
                )
            )
            continue
        kept[entry.session] = work.results[before:]
        done += 1
        work.report(ProgressEvent(stage=stage.name, step=done, total=len(work.sessions)))
    of_sessions = [each for entry in work.sessions for each in kept.get(entry.session, [])]
    work.results[:] = [*first, *of_sessions]


def _kept(
    work: StageWork[Settings, Result],
    stage: SessionStage[Settings, Result, Plan, Made],
    plan: Plan,
    entry: SessionEntry,
    outcome: Outcome[Made],
) -> Outcome[Made]:
    """Keep what was made of a session and report it; return the outcome, failed where it cannot be kept."""
    for failure in outcome.failures:
        work.failures.take(*failure)
    work.unseen |= outcome.unseen
    failed, made = SessionEvent(session=entry.session, status="failed"), outcome.made
    if made is None:
        if stage.ends_with_the_machine and is_transient(outcome):
            raise MachineError(outcome.reason)
        work.failures.take(entry.session, outcome.reason, outcome.exit_code)
        work.report(failed.model_copy(update={"reason": outcome.reason}))
        return outcome
    started = time.perf_counter()
    try:
        told = stage.keep(work, plan, entry, made)
    except FAILURES as error:
        if stage.ends_with_the_machine and isinstance(error, MachineError):
            raise
        work.failures.add(error, event=failed, name=entry.session)
        reason, exit_code = words_of(error, entry.session)
        return replace(outcome, made=None, reason=reason, exit_code=exit_code)
    seconds = round(outcome.seconds + time.perf_counter() - started, 3)
    work.report(
        SessionEvent.model_validate(
            {"session": entry.session, "status": "done", "store": entry.store, **told, "seconds": seconds}
        )
    )
    return outcome


def _here(
    work: StageWork[Settings, Result],
    stage: SessionStage[Settings, Result, Plan, Made],
    plan: Plan,
    entries: Sequence[SessionEntry],
) -> Iterator[Attempted[SessionTask[Plan], Outcome[Made]]]:
    host, pid = platform.node(), os.getpid()
    for entry in entries:
        outcome = _outcome(work, stage, plan, entry)
        yield Attempted(SessionTask(entry, plan), outcome, 1, True, host, pid)  # noqa: FBT003


def _on_a_cluster(
    work: StageWork[Settings, Result],
    stage: SessionStage[Settings, Result, Plan, Made],
    plan: Plan,
    where: Where,
    *,
    device: Device,
) -> Iterator[Attempted[SessionTask[Plan], Outcome[Made]]]:
    needed = [e for e in work.sessions if stage.is_needed is None or stage.is_needed(work, plan, e)]
    yield from _here(work, stage, plan, [entry for entry in work.sessions if entry not in needed])
    runs, catalog_path = stage.runs(work, plan), work.catalog_path.absolute()
    job = StageJob(stage, catalog_path, work.settings, tuple(work.runs), device, work.unseen_trials)
    plans = [plan if stage.plan_of is None else stage.plan_of(plan, entry) for entry in needed]
    tasks = [SessionTask(entry, mine) for entry, mine in zip(needed, plans, strict=True)]
    sent: Work[StageJob[Settings, Result, Plan, Made], SessionTask[Plan], Outcome[Made]] = Work(
        make_elsewhere, job, lost_outcome, is_transient
    )
    yield from run_tasks(
        sent,
        tasks,
        report=work.report,
        cluster=where.cluster,
        settings=where.settings,
        memory_bytes=[
            session_bytes(work.catalog_path, entry, runs, recording=stage.reads_recording) for entry in needed
        ],
    )


def make_elsewhere(
    job: StageJob[Any, Any, Plan, Made], task: SessionTask[Plan], report: Report
) -> Outcome[Made]:
    """Do one session on a worker. Raises nothing but what ends the process."""
    started = time.perf_counter()
    work: StageWork[Any, Any] = StageWork(
        job.catalog_path, job.settings, [task.entry], list(job.runs), report
    )
    work.unseen_trials = job.unseen_trials
    try:
        require_seen(job.catalog_path, [task.entry])
        for run in job.stage.runs(work, task.plan):
            try:
                path = job.catalog_path.parent / run.path
                work.trained[run.run] = _loaded(path, run.run_key, job.device)
            except MachineError:
                raise
            except FAILURES as error:
                event = RunEvent(run=run.run, model=run.model, session=task.entry.session, status="failed")
                work.failures.add(error, event=event, name=run.run)
    except FAILURES as error:
        reason, exit_code = words_of(error, task.entry.session)
        return Outcome(reason=reason, exit_code=exit_code, seconds=time.perf_counter() - started)
    outcome = _outcome(work, job.stage, task.plan, task.entry)
    found = zip(work.failures.found, work.failures.exit_codes, strict=True)
    return replace(
        outcome,
        failures=tuple((*failure, exit_code) for failure, exit_code in found),
        unseen=work.unseen,
        seconds=time.perf_counter() - started,
    )


@lru_cache(maxsize=_RUNS_KEPT)
def _loaded(path: Path, run_key: str, device: Device) -> TrainedRun:
    from nwb_latents.pipeline.training.inference import load_run  # noqa: PLC0415

    # Weights that were trained again are loaded again.
    return load_run(path, run_key=run_key, device=device)


def _outcome(
    work: StageWork[Settings, Result],
    stage: SessionStage[Settings, Result, Plan, Made],
    plan: Plan,
    entry: SessionEntry,
) -> Outcome[Made]:
    """Make a session, and return what came of it; what else failed is among the failures of the work."""
    started = time.perf_counter()
    made: Made | None = None
    reason, exit_code = "", 0
    try:
        made = stage.make(work, plan, entry)
    except FAILURES as error:
        reason, exit_code = words_of(error, entry.session)
    return Outcome(made, reason, exit_code, seconds=time.perf_counter() - started)


def lost_outcome(task: SessionTask[Plan], reason: str) -> Outcome[Any]:
    """Return the outcome of a session whose worker never answered."""
    return Outcome(reason=f"{task.entry.session}: {reason}", exit_code=MachineError.exit_code)


def is_transient(outcome: Outcome[Made]) -> bool:
    """Whether a session failed because of the machine, so that another one may do it."""
    return outcome.made is None and outcome.exit_code == MachineError.exit_code
