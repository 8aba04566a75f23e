"""``pipeline run align``: a trained run and a few trials of a new session → a run that knows the session.

Only what belongs to the session is trained. Every session, number of trials and seed makes a run of its own
in the catalog, which is decoded like any other.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nwb_latents.pipeline.errors import DataError, SettingsError
from nwb_latents.pipeline.stages.align_parent import parent_of, read_parent
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
from nwb_latents.pipeline.training.run_stores import source_of
from nwb_latents.schemas.catalog import Alignment, RunEntry
from nwb_latents.schemas.training import RunConfig

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

    from nwb_latents.pipeline.stores.session import Session
    from nwb_latents.schemas.align import AlignSettings
    from nwb_latents.schemas.catalog import SessionEntry


@dataclass(frozen=True)
class _Held:
    """What alignments are made of, in memory."""

    parent: Parent
    sessions: dict[str, Session]


@dataclass(frozen=True)
class _Shared:
    """What alignments of one run have in common; what is in memory does not go to other processes."""

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
class Aligning:
    """One alignment to make, of some trials of a session, as `plan_alignments` returns them."""

    shared: _Shared
    entry: SessionEntry
    begun: RunConfig
    rows: tuple[int, ...]

    def without_arrays(self) -> Aligning:
        """Return it without what is in memory, which is read again when it is made."""
        return replace(self, shared=replace(self.shared, held=None))


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
    report = report or ignore
    tasks = plan_alignments(
        catalog_path,
        settings,
        run=run,
        sessions=sessions,
        trials=trials,
        seeds=seeds,
        from_scratch=from_scratch,
        force=force,
        report=report,
    )
    return make_alignments(catalog_path, tasks, where or Where(), report=report)


def plan_alignments(
    catalog_path: Path,
    settings: AlignSettings,
    *,
    run: str,
    sessions: Sequence[str],
    trials: Sequence[int],
    seeds: int = 1,
    from_scratch: bool = False,
    force: bool = False,
    report: Report = ignore,
) -> list[Aligning]:
    """Return the alignments that are to be made; nothing is written.

    Parameters
    ----------
    catalog_path, settings, run, sessions, trials, seeds, from_scratch, force, report
        As in `align`.

    Raises
    ------
    DataError, SettingsError, MachineError
        As `align` does before it trains.
    """
    if not trials or min(trials) < 1 or seeds < 1:
        raise SettingsError(f"trials {list(trials)}, seeds {seeds}: expected numbers above 0, at least one.")
    catalog = read_catalog(catalog_path)
    parent = parent_of(catalog_path, catalog, run, start=settings.start, force=force, report=report)
    entries = new_sessions(catalog, parent.config, sessions, report)
    work = Work(catalog_path, settings, entries, [parent.entry], report)
    of_session = _training_sessions(work, parent, max(trials), force=force)
    held = _Held(parent, of_session)
    shared = _Shared(
        catalog_path.absolute(), settings, parent.entry, parent.digest, parent.means, force, held=held
    )
    return [
        _planned(shared, held, seeded, entry, n_trials, from_scratch=scratch)
        for entry in entries
        for n_trials in dict.fromkeys(trials)
        for seeded in (
            settings.model_copy(update={"seed": settings.seed + offset}) for offset in range(seeds)
        )
        for scratch in ((False, True) if from_scratch else (False,))
    ]


def make_alignments(
    catalog_path: Path, tasks: Sequence[Aligning], where: Where, *, report: Report = ignore
) -> list[RunEntry]:
    """Make alignments, of one run or of several; one that fails does not stop the others.

    Parameters
    ----------
    catalog_path, where, report
        As in `align`.
    tasks
        As `plan_alignments` returns them, all of one recipe.

    Raises
    ------
    MachineError
        If the cluster cannot be reached or is lost.
    PartialFailure
        If some failed; it carries the entries of the others.
    """
    if not tasks:
        return []
    named = [
        Named(task.begun.run, task, session_bytes(catalog_path, task.entry, [task.shared.parent]))
        for task in tasks
    ]
    return do_runs(
        catalog_path,
        ALIGNMENT,
        None,
        named,
        where,
        recipe_id=tasks[0].begun.recipe_id,
        device=tasks[0].shared.settings.device,
        report=report,
    )


def _training_sessions(work: Work, parent: Parent, most: int, *, force: bool) -> dict[str, Session]:
    """Read the sessions; refuse more trials than there are before anything is trained."""
    from nwb_latents.pipeline.training.training_start import training_session  # noqa: PLC0415

    forward = bool(parent.config.settings.forward_ms)
    require_stores_fit(work.catalog_path, work.sessions, together=True, recordings=forward, force=force)
    found, short = {}, []
    for entry in work.sessions:
        store = store_path(work.catalog_path, entry.store)
        session = training_session(store, parent.config.settings.forward_ms, entry=entry)
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
    shared: _Shared,
    held: _Held,
    settings: AlignSettings,
    entry: SessionEntry,
    n_trials: int,
    *,
    from_scratch: bool,
) -> Aligning:
    from nwb_latents.pipeline.training.alignment import few_shot_settings, trial_order  # noqa: PLC0415

    parent, session = held.parent, held.sessions[entry.session]
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
    return Aligning(shared, entry, begun, tuple(int(row) for row in rows))


def _make(_: None, task: Aligning, report: Report) -> tuple[RunEntry, bool]:
    import numpy as np  # noqa: PLC0415

    from nwb_latents.pipeline.training.training_start import training_session  # noqa: PLC0415
    from nwb_latents.pipeline.training.trial_record import write_trials  # noqa: PLC0415

    shared = task.shared
    run_dir = shared.catalog_path.parent / "runs" / task.begun.run
    with only_trainer(run_dir):
        done = prepare_run(run_dir, task.begun, resume=False, force=shared.force, report=report)
        if done is not None:
            return done, True
        if shared.held is not None:
            parent, session = shared.held.parent, shared.held.sessions[task.entry.session]
        else:
            require_seen(shared.catalog_path, [task.entry])
            parent = read_parent(shared.catalog_path, shared.parent, digest=shared.digest, means=shared.means)
            store = store_path(shared.catalog_path, task.entry.store)
            session = training_session(store, parent.config.settings.forward_ms, entry=task.entry)
        write_trials(run_dir, [session])
        work = Work(shared.catalog_path, shared.settings, [task.entry], [parent.entry], report)
        few = session.select(np.array(task.rows, dtype=np.int64))
        return train_alignment(work, parent, task.begun, run_dir, few=few, force=shared.force), False


def _about(task: Aligning) -> Mapping[str, object]:
    made = task.begun.alignment
    told = made.model_dump(include={"parent", "n_trials", "seed", "from_scratch"}) if made else {}
    return {"session": task.entry.session, "model": task.begun.settings.model.name, **told}


ALIGNMENT = RunStage("align", "alignments", _make, _about)
