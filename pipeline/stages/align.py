"""``pipeline run align``: a trained run and a few trials of a new session → a run that knows the session.

Only what belongs to the session is trained. Every session, number of trials and seed makes a run of its own
in the catalog, which is decoded like any other.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import platform
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nwb_latents.pipeline.errors import DataError, MachineError, SettingsError
from nwb_latents.pipeline.stages.align_sessions import new_sessions
from nwb_latents.pipeline.stages.align_training import Parent, Work, train_alignment
from nwb_latents.pipeline.stages.few_trials import say_what_cannot_be_scored
from nwb_latents.pipeline.stages.report import Report, ignore
from nwb_latents.pipeline.stages.run_directory import only_trainer, prepare_run
from nwb_latents.pipeline.stages.run_entries import now
from nwb_latents.pipeline.stages.run_tasks import Named, RunStage, do_runs
from nwb_latents.pipeline.stages.seen_stores import require_seen
from nwb_latents.pipeline.stages.session_tasks import Where
from nwb_latents.pipeline.stages.stage_memory import require_stores_fit, session_bytes
from nwb_latents.pipeline.stages.train import run_key
from nwb_latents.pipeline.stores.catalog import read_catalog
from nwb_latents.pipeline.stores.location import store_path
from nwb_latents.pipeline.stores.session import open_session
from nwb_latents.pipeline.training.run_stores import source_of
from nwb_latents.schemas.catalog import Alignment, RunEntry
from nwb_latents.schemas.events import NoteEvent
from nwb_latents.schemas.training import RunConfig

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

    from nwb_latents.pipeline.stores.session import Session
    from nwb_latents.pipeline.training.inference import TrainedRun
    from nwb_latents.schemas.align import AlignSettings
    from nwb_latents.schemas.catalog import Catalog, SessionEntry


@dataclass(frozen=True)
class _Held:
    """What alignments are made of, in memory."""

    parent: Parent
    sessions: dict[str, Session]


@dataclass(frozen=True)
class _Shared:
    """What all alignments of one call have in common; what is in memory does not go to other processes."""

    catalog_path: Path
    settings: AlignSettings
    parent: RunEntry
    digest: str
    means: dict[str, Tensor]
    force: bool
    held: _Held | None = None

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "held": None}


@dataclass(frozen=True)
class _Task:
    """One run to make, of some trials of a session."""

    entry: SessionEntry
    begun: RunConfig
    rows: tuple[int, ...]


def align(
    catalog_path: Path,
    settings: AlignSettings,
    *,
    run: str,
    sessions: Sequence[str],
    trials: Sequence[int],
    seeds: int = 1,
    from_scratch: bool = False,
    force: bool = False,
    where: Where | None = None,
    report: Report | None = None,
) -> list[RunEntry]:
    """Align a trained run to new sessions, each from a few of its training trials.

    Runs lie in ``runs/<parent>-n<trials>-<key>/`` beside the catalog. A complete run of the same parent,
    trials and settings is returned as it is; an unfinished one goes on from its last checkpoint.

    Parameters
    ----------
    catalog_path
        Catalog file.
    settings
        Choice of trials, optimiser, stopping, seed.
    run
        Name of the trained run.
    sessions
        Session ids or shell patterns. Sessions the run was trained on may match a pattern; they are left out.
    trials
        Numbers of trials; each makes runs of its own.
    seeds
        Number of seeds, from ``settings.seed`` on; each makes runs of its own.
    from_scratch
        Also train each baseline: the run's settings and the same trials, nothing of what it learnt.
    force
        Make runs again that are complete, and begin whatever the size of stores and model.
    where
        Where the runs are made, and which part of them; default: all, in this process. On a cluster each run
        is a task.
    report
        Called with progress and with every run.

    Returns
    -------
    entries
        The runs as entered in the catalog, by session, number of trials, seed; a baseline follows its run.

    Raises
    ------
    DataError
        If there is no such run, no new session of its recipe matches, or a session has fewer training trials.
    SettingsError
        If models of the run's kind cannot be aligned, or model or batches are larger than the memory.
    MachineError
        If the sessions are larger than the memory, or the cluster cannot be reached or is lost.
    PartialFailure
        If some runs failed; it carries the entries of the others.

    Examples
    --------
    >>> from pathlib import Path
    >>> from nwb_latents.schemas.align import AlignSettings
    >>> align(Path("nowhere/catalog.yaml"), AlignSettings(), run="mine", sessions=["*"], trials=[8])
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.DataError: No run is called mine. Complete runs in the catalog: none; ...
    """
    report, where = report or ignore, where or Where()
    if not trials or min(trials) < 1 or seeds < 1:
        raise SettingsError(f"trials {list(trials)}, seeds {seeds}: expected numbers above 0, at least one.")
    catalog = read_catalog(catalog_path)
    parent = _parent(catalog_path, catalog, run, start=settings.start, force=force, report=report)
    entries = new_sessions(catalog, parent.config, sessions, report)
    work = Work(catalog_path, settings, entries, [parent.entry], report)
    of_session = _training_sessions(work, parent, max(trials), force=force)
    tasks = [
        _planned(parent, seeded, entry, of_session[entry.session], n_trials, from_scratch=scratch)
        for entry in entries
        for n_trials in dict.fromkeys(trials)
        for seeded in (
            settings.model_copy(update={"seed": settings.seed + offset}) for offset in range(seeds)
        )
        for scratch in ((False, True) if from_scratch else (False,))
    ]
    return _all(work, parent, of_session, tasks, where, force=force)


def _all(
    work: Work,
    parent: Parent,
    sessions: dict[str, Session],
    tasks: Sequence[_Task],
    where: Where,
    *,
    force: bool,
) -> list[RunEntry]:
    shared = _Shared(
        work.catalog_path.absolute(),
        work.settings,
        parent.entry,
        parent.digest,
        parent.means,
        force,
        held=_Held(parent, sessions),
    )
    named = [
        Named(task.begun.run, task, session_bytes(work.catalog_path, task.entry, [parent.entry]))
        for task in {task.begun.run: task for task in tasks}.values()
    ]
    work.results += do_runs(
        work.catalog_path,
        ALIGNMENT,
        shared,
        named,
        where,
        recipe_id=parent.config.recipe_id,
        device=work.settings.device,
        failures=work.failures,
        report=work.report,
    )
    if work.failures.found:
        number = len(work.failures.found)
        summary = f"{number} of {len(tasks)} alignments failed, the others are in the catalog."
        raise work.failures.error(summary, work.results)
    return work.results


def _parent(
    catalog_path: Path, catalog: Catalog, name: str, *, start: str, force: bool, report: Report
) -> Parent:
    if name not in catalog.runs:
        known = ", ".join(sorted(catalog.runs)) or "none; train one with `pipeline run train`"
        close = difflib.get_close_matches(name, catalog.runs, n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise DataError(f"No run is called {name}.{hint} Complete runs in the catalog: {known}.")
    from nwb_latents.models.interface import Aligns  # noqa: PLC0415
    from nwb_latents.models.registry import models_that  # noqa: PLC0415
    from nwb_latents.pipeline.training.checkpoint import read_weights  # noqa: PLC0415
    from nwb_latents.pipeline.training.inference import load_run  # noqa: PLC0415
    from nwb_latents.pipeline.training.run_files import BEST, read_config  # noqa: PLC0415

    entry = catalog.runs[name]
    run_dir = catalog_path.parent / entry.path
    require_stores_fit(catalog_path, [], runs=[entry], force=force)
    trained = load_run(run_dir, device="cpu")
    config = read_config(run_dir)
    if config is None or (config.alignment is not None and config.alignment.from_scratch):
        raise DataError(
            f"Run {name} is a baseline trained on a few trials of one session. Align the run it was compared "
            "with, or another that was trained on several sessions."
        )
    able = f"Models that can be aligned: {', '.join(models_that(Aligns)) or 'none'}."
    if not isinstance(trained.model, Aligns):
        model = config.settings.model.name
        raise SettingsError(f"Run {name}: the model {model} cannot be aligned to further sessions. {able}")
    try:
        trained.model.alignable_parameters(tuple(config.sessions))
    except ValueError as error:
        raise SettingsError(f"Run {name}: {error}. {able}") from error
    digest = hashlib.sha256((run_dir / BEST).read_bytes()).hexdigest()
    means: dict[str, Tensor] = {}
    if start == "conditions":
        means = _condition_means(catalog_path, catalog, config, trained, force=force, report=report)
    return Parent(entry, config, read_weights(run_dir / BEST), digest, means)


def _condition_means(
    catalog_path: Path,
    catalog: Catalog,
    config: RunConfig,
    trained: TrainedRun,
    *,
    force: bool,
    report: Report,
) -> dict[str, Tensor]:
    """Return what the parent reads in under each condition.

    Nothing if its model has no such start, or a store of it is gone or changed; that is said.
    """
    from nwb_latents.models.interface import StartsFromConditions  # noqa: PLC0415
    from nwb_latents.pipeline.training.read_in_start import condition_means  # noqa: PLC0415

    def at_random(reason: str) -> dict[str, Tensor]:
        text = f"The read-in starts at random: {reason}."
        report(NoteEvent(text=text, stage="align", status="random start", reason=reason))
        return {}

    if not isinstance(trained.model, StartsFromConditions):
        return at_random(f"the model {config.settings.model.name} has no start from known conditions")
    stores = {e.session: e for e in catalog.sessions.values() if e.recipe_id == config.recipe_id}
    same = {
        session: stores[session]
        for session, source in config.sessions.items()
        if session in stores and stores[session].store_key == source.store_key
    }
    if len(same) < len(config.sessions):
        return at_random(f"not all stores run {config.run} was trained on are here as they were")
    require_stores_fit(catalog_path, list(same.values()), together=True, recordings=False, force=force)
    sessions = [open_session(store_path(catalog_path, entry.store)).loaded() for entry in same.values()]
    return condition_means(trained, sessions)


def _training_sessions(work: Work, parent: Parent, most: int, *, force: bool) -> dict[str, Session]:
    """Read the sessions; refuse more trials than there are before anything is trained."""
    from nwb_latents.pipeline.training.training_start import training_session  # noqa: PLC0415

    forward = bool(parent.config.settings.forward_ms)
    require_stores_fit(work.catalog_path, work.sessions, together=True, recordings=forward, force=force)
    found, short = {}, []
    for entry in work.sessions:
        store = store_path(work.catalog_path, entry.store)
        session = training_session(store, parent.config.settings.forward_ms)
        say_what_cannot_be_scored(session, work.report, stage="align")
        n_train = len(session.rows("train"))
        if n_train < most:
            short.append(f"{entry.session} has {n_train}")
        found[entry.session] = session
    if short:
        raise DataError(
            f"--trials {most}: more trials than the training split holds: {', '.join(short)}. Ask for "
            "fewer, or leave the session out."
        )
    return found


def _planned(
    parent: Parent,
    settings: AlignSettings,
    entry: SessionEntry,
    session: Session,
    n_trials: int,
    *,
    from_scratch: bool,
) -> _Task:
    from nwb_latents.pipeline.training.alignment import few_shot_settings, trial_order  # noqa: PLC0415

    rows = trial_order(session, choice=settings.choice, seed=settings.seed)[:n_trials]
    training = few_shot_settings(parent.config.settings, settings, from_scratch=from_scratch)
    chosen = tuple(int(session.trials["trial"].values[row]) for row in rows)
    made_of = "" if from_scratch else [parent.digest, sorted(parent.means)]
    decisive: list[object] = [run_key(training, [entry]), made_of, chosen, settings.validation_share]
    if settings.starts != 1 and not from_scratch:
        decisive.append([settings.starts, settings.start_steps])
    key = hashlib.sha256(json.dumps(decisive).encode()).hexdigest()
    label = "scratch-n" if from_scratch else "n"
    begun = RunConfig(
        run=f"{parent.entry.run}-{label}{n_trials}-{key[:8]}",
        run_key=key,
        recipe_id=entry.recipe_id,
        sessions={entry.session: source_of(entry, trials=chosen)},
        settings=training,
        created=now(),
        alignment=Alignment(
            parent=parent.entry.run,
            parent_key=parent.entry.run_key,
            n_trials=n_trials,
            seed=settings.seed,
            from_scratch=from_scratch,
        ),
        pretrained_on=() if from_scratch else (*parent.config.pretrained_on, *parent.config.sessions),
    )
    return _Task(entry, begun, tuple(int(row) for row in rows))


def _make(shared: _Shared, task: _Task, report: Report) -> tuple[RunEntry, bool]:
    import numpy as np  # noqa: PLC0415

    from nwb_latents.pipeline.training.training_start import training_session  # noqa: PLC0415
    from nwb_latents.pipeline.training.trial_record import write_trials  # noqa: PLC0415

    run_dir = shared.catalog_path.parent / "runs" / task.begun.run
    with only_trainer(run_dir):
        done = prepare_run(run_dir, task.begun, resume=False, force=shared.force, report=report)
        if done is not None:
            return done, True
        if shared.held is not None:
            parent, session = shared.held.parent, shared.held.sessions[task.entry.session]
        else:
            require_seen(shared.catalog_path, [task.entry])
            parent = _read_parent(shared)
            store = store_path(shared.catalog_path, task.entry.store)
            session = training_session(store, parent.config.settings.forward_ms)
        write_trials(run_dir, [session])
        work = Work(shared.catalog_path, shared.settings, [task.entry], [parent.entry], report)
        few = session.select(np.array(task.rows, dtype=np.int64))
        return train_alignment(work, parent, task.begun, run_dir, few=few, force=shared.force), False


def _read_parent(shared: _Shared) -> Parent:
    """Return the parent as this worker sees it, which has to be what was planned with."""
    from nwb_latents.pipeline.training.checkpoint import read_weights  # noqa: PLC0415
    from nwb_latents.pipeline.training.run_files import BEST, read_config  # noqa: PLC0415

    run_dir = shared.catalog_path.parent / shared.parent.path
    weights, config = run_dir / BEST, read_config(run_dir)
    if config is None or hashlib.sha256(weights.read_bytes()).hexdigest() != shared.digest:
        raise MachineError(
            f"{platform.node()} sees other weights of run {shared.parent.run} in {run_dir} than the process "
            "that planned its alignments. Every worker has to see the folder of the catalog under the same "
            "path; or the run was trained anew meanwhile: run the same command again."
        )
    return Parent(shared.parent, config, read_weights(weights), shared.digest, shared.means)


def _about(task: _Task) -> Mapping[str, object]:
    made = task.begun.alignment
    told = made.model_dump(include={"parent", "n_trials", "seed", "from_scratch"}) if made else {}
    return {"session": task.entry.session, "model": task.begun.settings.model.name, **told}


ALIGNMENT = RunStage("align", _make, _about)
