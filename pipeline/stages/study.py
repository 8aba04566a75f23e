"""``pipeline study run``: recordings → runs of a grid → alignments → measurements → tables by factor.

Every part is what the stage of its own would do, and is left as it is where it is there already: the same
command goes on where it was stopped, and a study that grows trains only what is new.
"""

from __future__ import annotations

import itertools
import json
import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from nwb_latents.pipeline.cluster.shard import Shard
from nwb_latents.pipeline.errors import DataError, PartialFailure, PipelineError
from nwb_latents.pipeline.evaluation.baselines.known import known_baselines
from nwb_latents.pipeline.stages.align import Aligning, make_alignments, plan_alignments
from nwb_latents.pipeline.stages.evaluate import evaluate
from nwb_latents.pipeline.stages.report import Report, ignore
from nwb_latents.pipeline.stages.session_tasks import Where
from nwb_latents.pipeline.stages.study_plan import (
    TRAINED_ON,
    PlannedRun,
    planned_runs,
    require_settings,
)
from nwb_latents.pipeline.stages.study_recordings import study_entries
from nwb_latents.pipeline.stages.study_sessions import grouped, placed
from nwb_latents.pipeline.stages.study_tables import require_tables
from nwb_latents.pipeline.stages.train_runs import train_runs
from nwb_latents.pipeline.stores.atomic import machine_error, write_text
from nwb_latents.pipeline.stores.catalog import read_catalog
from nwb_latents.pipeline.stores.location import store_path
from nwb_latents.pipeline.stores.plain_files import read_text
from nwb_latents.pipeline.stores.session import open_session
from nwb_latents.pipeline.training.run_files import read_config, weights_fault
from nwb_latents.schemas.events import NoteEvent, RunEvent, StudyPlanEvent

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from nwb_latents.schemas.catalog import RunEntry, SessionEntry
    from nwb_latents.schemas.measurement import Measurement
    from nwb_latents.schemas.study import StudyAlignment, StudySettings

STUDIES = "studies"
"""Folder beside the catalog in which each study has one."""


@dataclass
class Study:
    """A study and what came of it so far.

    Attributes
    ----------
    catalog_path, settings, folder
        What it is, and where its files lie.
    groups
        Group → its sessions.
    runs
        What is trained.
    aligned
        Alignments that were made, and trainings from scratch beside them.
    measurements
        What was measured.
    failures
        Name and reason of what failed while the rest went on.
    """

    catalog_path: Path
    settings: StudySettings
    folder: Path
    groups: dict[str, list[SessionEntry]]
    runs: list[PlannedRun]
    aligned: list[RunEntry] = field(default_factory=list)
    measurements: list[Measurement] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)

    @property
    def recipe_id(self) -> str:
        """Recipe of its sessions."""
        return self.runs[0].training.begun.recipe_id

    def there(self) -> list[PlannedRun]:
        """Return the trainings that are complete in the catalog, as the study has them."""
        entries = read_catalog(self.catalog_path).runs
        return [
            run
            for run in self.runs
            if run.name in entries and self._is_whole(entries[run.name], run.training.begun.run_key)
        ]

    def _is_whole(self, entry: RunEntry, run_key: str) -> bool:
        """Whether a run is the one that is meant and its weights are there; `train` looks at them closely."""
        folder = self.catalog_path.parent / entry.path
        return entry.run_key == run_key and folder.is_dir() and not weights_fault(folder, sizes_only=True)


def run_study(
    catalog_path: Path,
    settings: StudySettings,
    *,
    base: Path,
    where: Where | None = None,
    dry_run: bool = False,
    report: Report | None = None,
) -> Study:
    """Run a study: do what is missing of it, anywhere, and return all of it.

    Parameters
    ----------
    catalog_path
        Catalog file; the files of the study lie in ``studies/<name>/`` beside it.
    settings
        The study.
    base
        Folder that relative paths of recordings start from.
    where
        Where it is done; default: in this process. With a shard, that part of the trainings and their
        alignments is made, and nothing measured.
    dry_run
        Only say what there is to do and what it will cost, from a few steps of every kind of training.
        Sessions have to be ingested for that.
    report
        Called with the events of every stage.

    Returns
    -------
    study
        With what was measured.

    Raises
    ------
    SettingsError
        If settings of a training do not fit, before anything is done.
    DataError
        If there are no sessions, or a group of them is empty.
    MachineError
        If the cluster cannot be reached or is lost, or the disk refuses.
    PartialFailure
        If something failed; the rest was done first, and its ``results`` are the study alone. If a recording
        could not be ingested and may not be left out, nothing was trained, and there are no ``results``.

    Examples
    --------
    >>> from pathlib import Path
    >>> from nwb_latents.schemas.study import StudySettings
    >>> study = StudySettings.model_validate({"name": "one", "train": {"models": {"ndt": {}}}})
    >>> run_study(Path("nowhere/catalog.yaml"), study, base=Path())
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.DataError: The catalog holds no sessions. Run `pipeline run ingest ...
    """
    report, where = report or ignore, where or Where()
    require_settings(settings)
    known_baselines(settings.evaluate.baselines)
    unmeasured = require_tables(settings)
    folder = catalog_path.parent / STUDIES / settings.name
    entries, failures = study_entries(
        catalog_path, settings, folder, base=base, where=where, dry_run=dry_run, report=report
    )

    def say(text: str) -> None:
        report(NoteEvent(stage="study", text=text))

    if dry_run and where.is_part:
        say(f"the plan is of the whole study, not of shard {where.shard} alone")
    groups = grouped(settings.groups, placed(catalog_path, entries), say=say)
    runs = planned_runs(catalog_path, settings, groups, recipe_id=entries[0].recipe_id, report=report)
    study = Study(catalog_path, settings, folder, groups, runs, failures=failures)
    for text in (*unmeasured, *_not_aligned(study), *_made_anew(study)):
        say(text)
    _require_trials(study)
    report(_plan(study, estimate=dry_run))
    if dry_run:
        return study
    for text in _written_down(study):
        say(text)
    _train(study, where, report)
    _align(study, where, report)
    if where.shard.count > 1:
        say(
            f"shard {where.shard} of the trainings is done. When all are, run the "
            "same command without --shard: it measures and compares."
        )
    else:
        _measure(study, where, report)
    if study.failures:
        shown = "; ".join(f"{name}: {reason}".rstrip(".") for name, reason in study.failures[:5])
        more = f"; and {len(study.failures) - 5} more" if len(study.failures) > 5 else ""
        raise PartialFailure(
            f"{len(study.failures)} failed, the rest of the study is done. Failed: {shown}{more}. The same "
            "command tries them again.",
            results=[study],
            failures=study.failures,
        )
    return study


def _written_down(study: Study) -> Iterator[str]:
    """Write down what the study is, and yield what is said where it was another one before.

    Raises
    ------
    MachineError
        If the folder of the study cannot be written to.
    """
    file = study.folder / "study.json"
    now = study.settings.model_dump(mode="json")
    try:
        before = json.loads(read_text(file)) if os.path.lexists(file) else now
        study.folder.mkdir(parents=True, exist_ok=True)
    except ValueError:
        before = {}
    except OSError as error:
        raise machine_error(error, study.folder, doing="write the study's files") from error
    differ = [key for key in now if not isinstance(before, dict) or before.get(key) != now[key]]
    if differ:
        yield f"{study.folder}: its {_and(differ)} were others before; the tables of before are replaced"
    write_text(file, json.dumps(now, indent=1) + "\n")


def _plan(study: Study, *, estimate: bool) -> StudyPlanEvent:
    from nwb_latents.pipeline.stages.study_costs import cost_of  # noqa: PLC0415

    there = {run.name for run in study.there()}
    missing = [run for run in study.runs if run.name not in there]
    asked = study.settings.align
    each = [len(list(_targets(study, run))) for run in study.runs if _is_aligned(run, asked)]
    n_alignments = sum(each) * len(asked.trials if asked else ())
    n_from_scratch = n_alignments if asked is not None and asked.from_scratch else 0
    cost = None
    if estimate:
        cost = cost_of(
            study.catalog_path,
            missing,
            align=asked.settings if asked else None,
            n_alignments=n_alignments if missing else 0,
            n_from_scratch=n_from_scratch if missing else 0,
        )
    return StudyPlanEvent(
        study=study.settings.name,
        groups={name: len(entries) for name, entries in study.groups.items()},
        n_runs=len(study.runs),
        n_runs_there=len(study.runs) - len(missing),
        n_alignments=n_alignments,
        n_from_scratch=n_from_scratch,
        seconds=None if cost is None else cost.seconds,
        memory_bytes=None if cost is None else cost.memory_bytes,
        gpu_hours=None if cost is None else cost.gpu_hours,
    )


def _train(study: Study, where: Where, report: Report) -> None:
    try:
        train_runs(study.catalog_path, [run.training for run in study.runs], where, report=report)
    except PartialFailure as failure:
        study.failures += failure.failures


def _is_aligned(run: PlannedRun, asked: StudyAlignment | None) -> bool:
    return asked is not None and (asked.models is None or run.model in asked.models)


def _targets(study: Study, run: PlannedRun) -> Iterator[SessionEntry]:
    """Yield the sessions a run is aligned to, each once."""
    asked, seen = study.settings.align, set(run.sessions)
    for name in asked.to if asked else ():
        for entry in study.groups[name]:
            if entry.session not in seen:
                seen.add(entry.session)
                yield entry


def _not_aligned(study: Study) -> Iterator[str]:
    """Yield what is said of sessions that were asked for, and that no alignment has, or has once.

    Raises
    ------
    DataError
        If no run can be aligned to any of them.
    """
    asked = study.settings.align
    if asked is None:
        return
    groups: dict[str, list[str]] = {}
    for name in asked.to:
        for entry in study.groups[name]:
            groups.setdefault(entry.session, []).append(name)
    for (first, *others), many in itertools.groupby(
        sorted(groups, key=groups.__getitem__), groups.__getitem__
    ):
        if others:
            yield f"align.to: {_and(many)}: in {first} and {_and(others)}; tables have them under {first}"
    if not any(any(_targets(study, run)) for run in study.runs if _is_aligned(run, asked)):
        raise DataError(
            f"align.to: every session of {_and(asked.to)} is among those the models are trained on, so that "
            "there is nothing to align. Train on a group without them (train.groups), or leave align out."
        )
    places: dict[tuple[str, ...], list[str]] = {}
    for run in study.runs:
        known = tuple(session for session in groups if session in run.sessions)
        if known and _is_aligned(run, asked):
            places.setdefault(known, []).append(run.levels[TRAINED_ON])
    for known, trained_on in places.items():
        yield (
            f"align.to: {_and(known)}: among those that runs of {_and(dict.fromkeys(trained_on))} are "
            "trained on; these runs are not aligned to them"
        )


def _require_trials(study: Study) -> None:
    """Refuse more few-shot trials than a session has to train on, before anything is trained."""
    asked = study.settings.align
    if asked is None:
        return
    aligned = [run for run in study.runs if _is_aligned(run, asked)]
    wanted = {entry.session: entry for run in aligned for entry in _targets(study, run)}
    short = []
    for name, entry in wanted.items():
        n_train = len(open_session(store_path(study.catalog_path, entry.store), entry=entry).rows("train"))
        if n_train < max(asked.trials):
            short.append(f"{name} has {n_train}")
    if short:
        raise DataError(
            f"align.trials {max(asked.trials)}: more trials than the training split holds: {_and(short)}. "
            "Ask for fewer, or leave these sessions out of align.to."
        )


def _made_anew(study: Study) -> Iterator[str]:
    """Yield what is said of trainings that were made before, of other stores of the same sessions."""
    runs, there = read_catalog(study.catalog_path).runs.values(), {run.name for run in study.there()}
    changed: dict[str, None] = {}
    n = 0
    for planned in study.runs:
        begun = planned.training.begun
        for entry in runs if planned.name not in there else ():
            if entry.model != begun.settings.model.name or set(entry.sessions) != planned.sessions:
                continue
            try:
                made = read_config(study.catalog_path.parent / entry.path, run_key=entry.run_key)
            except PipelineError:
                continue
            if made is None or made.alignment is not None or made.settings != begun.settings:
                continue
            others = [
                name for name, of in begun.sessions.items() if of.store_key != made.sessions[name].store_key
            ]
            if others:
                n += 1
                changed |= dict.fromkeys(others)
                break
    if n:
        yield (
            f"{n} of the trainings stand in the catalog for other stores of {_and(changed)}, ingested anew "
            "since: they are made again, and the former ones stay"
        )


def _and(names: Iterable[str]) -> str:
    """Return names for a message, a few of many."""
    few = list(names)
    return ", ".join(few[:4]) + (f" and {len(few) - 4} more" if len(few) > 4 else "")


def _align(study: Study, where: Where, report: Report) -> None:
    """Align every run that was trained: one run after the other here, all at once on a cluster."""
    asked = study.settings.align
    if asked is None:
        return
    waiting: list[Aligning] = []
    for run in study.there():
        sessions = [entry.session for entry in _targets(study, run)]
        if not (where.shard.holds(run.name) and _is_aligned(run, asked) and sessions):
            continue
        seed = asked.settings.seed + run.seed - study.settings.train.first_seed
        try:
            tasks = plan_alignments(
                study.catalog_path,
                asked.settings.model_copy(update={"seed": seed}),
                run=run.name,
                sessions=sessions,
                trials=asked.trials,
                from_scratch=asked.from_scratch,
                report=report,
            )
        except PipelineError as error:
            name = f"alignments of {run.name}"
            study.failures.append((name, str(error)))
            report(RunEvent(run=run.name, status="failed", reason=f"alignments: {error}"))
            continue
        # Trials of all sessions of all runs would not fit the memory.
        waiting += tasks if where.is_here else [task.without_arrays() for task in tasks]
        if where.is_here:
            _make_alignments(study, waiting, where, report)
            waiting = []
    _make_alignments(study, waiting, where, report)


def _make_alignments(study: Study, tasks: list[Aligning], where: Where, report: Report) -> None:
    try:
        study.aligned += make_alignments(
            study.catalog_path, tasks, replace(where, shard=Shard()), report=report
        )
    except PartialFailure as failure:
        study.failures += failure.failures
        catalog = read_catalog(study.catalog_path)
        study.aligned += [catalog.runs[t.begun.run] for t in tasks if t.begun.run in catalog.runs]


def _measure(study: Study, where: Where, report: Report) -> None:
    names = [run.name for run in study.there()]
    names += [entry.run for entry in study.aligned]
    if not names:
        return
    catalog = read_catalog(study.catalog_path)
    sessions = sorted(set(itertools.chain.from_iterable(catalog.runs[name].sessions for name in names)))
    try:
        study.measurements = evaluate(
            study.catalog_path,
            study.settings.evaluate,
            runs=names,
            sessions=sessions,
            recipe_id=study.recipe_id,
            where=where,
            report=report,
        )
    except PartialFailure as failure:
        study.failures += failure.failures
        study.measurements = list(failure.results)  # type: ignore[arg-type]
