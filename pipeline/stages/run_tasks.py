"""Runs as tasks: trained or aligned here one after the other, or anywhere on a cluster; entered here.

A run is written by the worker that trains it, into the folder of the catalog, which all see. What becomes of
it, in the catalog and in the ledger, is written by the process that was asked.
"""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from nwb_latents.pipeline.cluster.cluster_option import parse_cluster
from nwb_latents.pipeline.cluster.ledger import AttemptLog
from nwb_latents.pipeline.cluster.runner import run_tasks
from nwb_latents.pipeline.cluster.task_batch import Attempted, Needs, Work
from nwb_latents.pipeline.cluster.this_worker import this_worker
from nwb_latents.pipeline.errors import MachineError, SettingsError
from nwb_latents.pipeline.stages.run_entries import run_event
from nwb_latents.pipeline.stages.seen_stores import comes_into_sight
from nwb_latents.pipeline.stages.session_tasks import ledger_of
from nwb_latents.pipeline.stages.trained_runs import FAILURES, Failures, words_of
from nwb_latents.pipeline.stores.catalog import add_run
from nwb_latents.schemas.events import NoteEvent, ProgressEvent, RetryEvent, RunEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from nwb_latents.pipeline.stages.report import Report
    from nwb_latents.pipeline.stages.session_tasks import Where
    from nwb_latents.schemas.catalog import RunEntry
    from nwb_latents.schemas.training import Device

Shared = TypeVar("Shared")
Task = TypeVar("Task")


_VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Named(Generic[Task]):
    """One run to make.

    Attributes
    ----------
    name
        Its name, which tells it from all others.
    task
        What it is made of.
    memory_bytes
        Memory it is estimated to take.
    """

    name: str
    task: Task
    memory_bytes: int = 0


@dataclass(frozen=True)
class RunStage(Generic[Shared, Task]):
    """How a stage makes runs.

    Attributes
    ----------
    name, noun
        Name of the stage, and what several of its runs are called.
    make
        Make a run, and say whether it was there already; raises what it cannot do. It writes the folder of
        the run, not the catalog. Importable by name.
    about
        What is told of a run, done or failed, besides: fields of `RunEvent`.
    """

    name: str
    noun: str
    make: Callable[[Shared, Task, Report], tuple[RunEntry, bool]]
    about: Callable[[Task], Mapping[str, object]]


@dataclass(frozen=True)
class MadeRun:
    """What came of a run; without an entry it failed for a reason."""

    entry: RunEntry | None = None
    was_there: bool = False
    reason: str = ""
    exit_code: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class _Job(Generic[Shared, Task]):
    stage: RunStage[Shared, Task]
    shared: Shared
    gpus: int


def do_runs(
    catalog_path: Path,
    stage: RunStage[Shared, Task],
    shared: Shared,
    tasks: Sequence[Named[Task]],
    where: Where,
    *,
    recipe_id: str,
    device: Device,
    report: Report,
) -> list[RunEntry]:
    """Make runs, each a task of its own; one that fails does not stop the others.

    Parameters
    ----------
    catalog_path
        Catalog file; runs lie in ``runs/`` beside it.
    stage, shared
        How they are made, and what they have in common.
    tasks
        The runs; of those of one name, one is made.
    where
        Where they are made. On a cluster each takes a worker with all its threads, and a GPU where `device`
        asks for one.
    recipe_id
        Recipe of the stores.
    device
        Where the models are trained; auto: on GPUs where this machine, or a job, has some.
    report
        Told of progress and every run.

    Returns
    -------
    entries
        Those made, or there already, in order of the tasks.

    Raises
    ------
    SettingsError
        If GPUs are asked for in jobs that have none.
    MachineError
        If the cluster cannot be reached or is lost.
    PartialFailure
        If some runs failed; it carries the entries of the others.
    """
    failures = Failures(report)
    log = AttemptLog(ledger_of(catalog_path, stage.name, recipe_id), recipe_id, report)
    tasks = _of_this_part(list({task.name: task for task in tasks}.values()), where, log, stage.name, report)
    made: dict[str, RunEntry] = {}
    done = 0
    for attempted in _attempts(stage, shared, tasks, where, device, report=report):
        name, outcome = attempted.task.name, attempted.result
        if attempted.is_final and outcome.entry is not None:
            outcome = _entered(catalog_path, attempted)
        if outcome.entry is None or name in log.failed:
            log.add(
                attempted,
                session=name,
                source=name,
                status="done" if outcome.entry is not None else "failed",
                reason=outcome.reason,
                exit_code=outcome.exit_code,
                seconds=outcome.seconds,
            )
        if not attempted.is_final:
            report(
                RetryEvent(
                    session=name,
                    source=name,
                    attempt=attempted.attempt,
                    host=attempted.host,
                    reason=outcome.reason,
                )
            )
            continue
        about, done = stage.about(attempted.task.task), done + 1
        if outcome.entry is None:
            failures.take(name, outcome.reason, outcome.exit_code)
            told = {**about, "run": name, "status": "failed", "reason": outcome.reason}
            report(RunEvent.model_validate(told))
        else:
            made[name] = outcome.entry
            report(run_event(outcome.entry, "skipped" if outcome.was_there else "done", **about))
        if len(tasks) > 1:
            report(ProgressEvent(stage=f"{stage.name} runs", step=done, total=len(tasks)))
    entries = [made[task.name] for task in tasks if task.name in made]
    if failures.found:
        n = len(failures.found)
        others = ", the others are in the catalog" if n < len(tasks) else ""
        summary = f"{n} of {len(tasks)} {stage.noun} failed{others}."
        raise failures.error(summary, entries)
    return entries


def _of_this_part(
    tasks: Sequence[Named[Task]], where: Where, log: AttemptLog, stage: str, report: Report
) -> list[Named[Task]]:
    mine = [task for task in tasks if where.shard.holds(task.name)]
    if where.retry_failed:
        mine = [task for task in mine if task.name in log.failed]
    if tasks and not mine:
        text = "no run has failed" if where.retry_failed else "no run"
        of = f" in shard {where.shard}" if where.shard.count > 1 else ""
        report(NoteEvent(stage=stage, text=f"{text}{of}"))
    return mine


def _attempts(
    stage: RunStage[Shared, Task],
    shared: Shared,
    tasks: Sequence[Named[Task]],
    where: Where,
    device: Device,
    *,
    report: Report,
) -> Iterator[Attempted[Named[Task], MadeRun]]:
    sizes = [task.memory_bytes for task in tasks]
    here = 0 if where.is_here or device == "cpu" else _gpus_here()
    gpus = 0 if where.is_here else _gpus(where, device, here=here)
    work: Work[_Job[Shared, Task], Named[Task], MadeRun] = Work(
        _make, _Job(stage, shared, gpus), _lost, _is_transient
    )
    yield from run_tasks(
        work,
        tasks,
        report=report,
        cluster=where.cluster,
        settings=where.settings,
        memory_bytes=sizes,
        needs=Needs(gpus, max(sizes, default=0), here),
    )


def _gpus_here() -> int:
    from nwb_latents.pipeline.training.device import n_gpus  # noqa: PLC0415 - torch takes half a second

    return n_gpus()


def _gpus(where: Where, device: Device, *, here: int) -> int:
    """Return the GPUs a run takes: one where it is asked for, or where workers are known to have some."""
    if device == "cpu":
        return 0
    kind = parse_cluster(where.cluster).name
    in_jobs = where.settings.gpus if where.settings is not None else 0
    if kind == "queue" and device == "cuda" and not in_jobs:
        raise SettingsError(
            f"--device cuda, and the jobs of {where.cluster} ask for no GPU. Set gpus: 1 in --cluster-config."
        )
    has_some = (kind == "local" and here > 0) or (kind == "queue" and in_jobs > 0)
    return int(has_some or device == "cuda")


def _make(job: _Job[Any, Any], task: Named[Any], report: Report) -> MadeRun:
    """Make one run, here or on a worker. Raises nothing but what ends the process."""
    started = time.perf_counter()
    try:
        with _own_threads(gpus=job.gpus):
            entry, was_there = job.stage.make(job.shared, task.task, report)
    except FAILURES as error:
        reason, exit_code = words_of(error, task.name)
        return MadeRun(reason=reason, exit_code=exit_code, seconds=time.perf_counter() - started)
    return MadeRun(entry, was_there, seconds=time.perf_counter() - started)


@contextmanager
def _own_threads(*, gpus: int) -> Iterator[None]:
    """Let torch compute with all threads of this worker, on a GPU of its own; elsewhere change nothing."""
    worker = this_worker()
    if worker is None:
        yield
        return
    if gpus and str(worker.name).isdigit():
        os.environ[_VISIBLE] = gpu_of(int(worker.name), os.environ.get(_VISIBLE))
    import torch  # noqa: PLC0415

    before = torch.get_num_threads()
    torch.set_num_threads(worker.state.nthreads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def gpu_of(worker: int, visible: str | None) -> str:
    """Return the GPU of a worker of this machine, as torch is told it before it first needs one.

    Parameters
    ----------
    worker
        Its number.
    visible
        GPUs this process may use, separated by commas; None: all.

    Examples
    --------
    >>> gpu_of(1, None), gpu_of(1, "2,5"), gpu_of(1, "5")
    ('1', '5', '5')
    """
    names = visible.split(",") if visible else []
    return names[worker % len(names)] if names else str(worker)


def _entered(catalog_path: Path, attempted: Attempted[Named[Any], MadeRun]) -> MadeRun:
    """Enter a run in the catalog; one that is not seen from here, or cannot be entered, has failed."""
    from nwb_latents.pipeline.training.run_files import read_entry  # noqa: PLC0415

    outcome = attempted.result
    if outcome.entry is None:
        return outcome
    folder, key = catalog_path.parent / outcome.entry.path, outcome.entry.run_key

    def is_there() -> bool:
        found = read_entry(folder)
        return found is not None and found.run_key == key

    try:
        if not comes_into_sight(is_there):
            raise MachineError(
                f"{attempted.host} says that it trained {folder}, which is not to be seen here. Workers have "
                "to see the folder of the catalog under the same path."
            )
        add_run(catalog_path, outcome.entry)
    except FAILURES as error:
        reason, exit_code = words_of(error, outcome.entry.run)
        return replace(outcome, entry=None, reason=reason, exit_code=exit_code)
    return outcome


def _lost(task: Named[Any], reason: str) -> MadeRun:
    return MadeRun(reason=f"{task.name}: {reason}", exit_code=MachineError.exit_code)


def _is_transient(outcome: MadeRun) -> bool:
    return outcome.entry is None and outcome.exit_code == MachineError.exit_code
