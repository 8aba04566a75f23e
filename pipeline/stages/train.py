"""``pipeline run train``: catalog → trial stores → trained run → catalog.

The name of a run comes from a hash of its settings and stores: the same command again finds the run
complete and leaves it, or finds it unfinished and goes on.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.stages.report import Report, ignore, noted
from nwb_latents.pipeline.stages.resumed_run import begun_run, check_run_name, entries_of
from nwb_latents.pipeline.stages.run_directory import only_trainer, prepare_run
from nwb_latents.pipeline.stages.run_entries import final_metrics, now, run_event
from nwb_latents.pipeline.stages.stage_memory import reading_of
from nwb_latents.pipeline.stores.catalog import add_run, read_catalog, select_sessions
from nwb_latents.pipeline.stores.location import store_path
from nwb_latents.pipeline.stores.session import require_own_store, require_own_stores
from nwb_latents.pipeline.stores.trials import read_attributes
from nwb_latents.pipeline.training.run_stores import source_of
from nwb_latents.schemas.catalog import RunEntry
from nwb_latents.schemas.events import NoteEvent
from nwb_latents.schemas.training import RunConfig

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from nwb_latents.pipeline.training.srun_tasks import Meeting
    from nwb_latents.schemas.catalog import SessionEntry
    from nwb_latents.schemas.quality import QualityFilter
    from nwb_latents.schemas.training import TrainSettings


def train(
    catalog_path: Path,
    settings: TrainSettings,
    *,
    sessions: Sequence[str] = ("*",),
    recipe_id: str | None = None,
    run_name: str | None = None,
    resume: str | None = None,
    force: bool = False,
    report: Report | None = None,
) -> RunEntry:
    """Train a model on sessions of the catalog.

    Runs lie in ``runs/<name>/`` beside the catalog. A complete run of the same settings and stores is
    returned as it is; an unfinished one is resumed from its last checkpoint.

    Parameters
    ----------
    catalog_path
        Catalog file.
    settings
        Model, batches, optimiser, stopping.
    sessions
        Shell patterns for session ids.
    recipe_id
        Recipe of the stores, or its beginning; default: that of the matching session ingested last.
    run_name
        Name of the run; default: the model and the beginning of the run's key.
    resume
        Name of a run to go on with, on the sessions it was begun on, up to ``settings.max_steps``. The
        settings are to be its own (`settings_to_resume`).
    force
        Throw away what is in the run directory and train anew, whatever the size of the model and the stores.
    report
        Called with progress and, at the end, the run.

    Returns
    -------
    entry
        The run as entered in the catalog.

    Raises
    ------
    DataError
        If no session matches or is good enough for ``settings.select``, a store or checkpoint cannot be used,
        or the loss is no longer finite.
    SettingsError
        If the name is taken by a run of other settings, or a resumed run is given settings that may not
        change.
    MachineError
        If the device or disk does not do its part, another process trains this run, or its trials are larger
        than the memory.

    Examples
    --------
    >>> from pathlib import Path
    >>> from nwb_latents.schemas.training import TrainSettings
    >>> train(Path("nowhere/catalog.yaml"), TrainSettings())
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.DataError: The catalog holds no sessions. Run `pipeline run ingest ...
    """
    report = report or ignore

    def do(meeting: Meeting | None) -> RunEntry:
        training = plan_training(
            catalog_path,
            settings,
            sessions=sessions,
            recipe_id=recipe_id,
            run_name=run_name,
            resume=resume,
            force=force,
            report=report,
        )
        entry, was_there = make_training(catalog_path, training, report, meeting=meeting)
        add_run(catalog_path, entry)
        report(run_event(entry, "skipped" if was_there else "done"))
        return entry

    if settings.devices == 1:
        return do(None)
    from nwb_latents.pipeline.stages.train_srun import with_tasks  # noqa: PLC0415

    return with_tasks(settings.devices, do)


@dataclass(frozen=True)
class Training:
    """A run to train.

    Attributes
    ----------
    begun
        What it is made of.
    entries
        Its sessions.
    is_resumed
        Whether a run of other steps may go on.
    force
        As in `train`.
    """

    begun: RunConfig
    entries: tuple[SessionEntry, ...]
    is_resumed: bool = False
    force: bool = False

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.begun.run


def plan_training(
    catalog_path: Path,
    settings: TrainSettings,
    *,
    sessions: Sequence[str] = ("*",),
    recipe_id: str | None = None,
    run_name: str | None = None,
    resume: str | None = None,
    force: bool = False,
    report: Report = ignore,
) -> Training:
    """Return the run that is to be trained; nothing is written.

    Parameters
    ----------
    catalog_path, settings, sessions, recipe_id, run_name, resume, force, report
        As in `train`.

    Raises
    ------
    DataError
        If no session matches or is good enough for ``settings.select``, or a resumed run cannot go on.
    SettingsError
        If the name cannot be one.
    """
    runs = catalog_path.parent / "runs"
    check_run_name(resume)
    check_run_name(run_name)
    searched = None
    if resume is not None:
        before = begun_run(runs, resume)
        searched = before.sweep
        entries = entries_of(catalog_path, before)
    else:
        entries = select_sessions(read_catalog(catalog_path), sessions, recipe_id, say=noted(report))
        entries = good_enough(catalog_path, entries, settings.select, report)
    key = run_key(settings, entries)
    begun = RunConfig(
        run=resume or run_name or f"{settings.model.name}-{key[:8]}",
        run_key=key,
        recipe_id=entries[0].recipe_id,
        sessions={entry.session: source_of(entry) for entry in entries},
        settings=settings,
        created=now(),
        sweep=searched,
    )
    return Training(begun, tuple(entries), is_resumed=resume is not None, force=force)


def make_training(
    catalog_path: Path, training: Training, report: Report, *, meeting: Meeting | None = None
) -> tuple[RunEntry, bool]:
    """Train a run in its folder; return what is to be entered, and whether it was complete already.

    Parameters
    ----------
    catalog_path, report
        As in `train`. The catalog is not written.
    training
        What is trained.
    meeting
        Tasks of srun that train it together; None: there are none.

    Raises
    ------
    DataError, SettingsError, MachineError
        As `train` does.
    """
    run_dir = catalog_path.parent / "runs" / training.name
    with only_trainer(run_dir):
        done = prepare_run(
            run_dir, training.begun, resume=training.is_resumed, force=training.force, report=report
        )
        if done is not None:
            return done, True
        return _train(catalog_path, run_dir, training, report, meeting), False


def run_key(settings: TrainSettings, entries: Sequence[SessionEntry]) -> str:
    """Return the SHA-256 of the settings and the keys of the stores, in hexadecimal.

    Settings that decide where and how often, not what, are left out: those marked `DecidesNothing`.

    Examples
    --------
    >>> from nwb_latents.schemas.training import TrainSettings
    >>> run_key(TrainSettings(), []) == run_key(TrainSettings(seed=1), [])
    False
    """
    stores = sorted(entry.store_key for entry in entries)
    decisive = settings.outcome_digest(bin_size_s=bin_size_of(entries))
    return hashlib.sha256(json.dumps([decisive, stores]).encode()).hexdigest()


def bin_size_of(entries: Sequence[SessionEntry]) -> float | None:
    """Return the width of the bins of stores of one recipe, s; None where there is no store.

    Examples
    --------
    >>> bin_size_of([]) is None
    True
    """
    return entries[0].bin_size_s if entries else None


def good_enough(
    catalog_path: Path,
    entries: Sequence[SessionEntry],
    asked: QualityFilter,
    report: Report,
    *,
    stage: str = "train",
) -> list[SessionEntry]:
    """Return the sessions whose quality is what is asked; report each that is left out, with the reason.

    Raises
    ------
    DataError
        If none is left.
    """
    from nwb_latents.pipeline.signals.quality import objections  # noqa: PLC0415

    if asked.is_off:
        return list(entries)
    kept, left_out = [], []
    for entry in entries:
        where = store_path(catalog_path, entry.store)
        attributes = read_attributes(where)
        if attributes is not None:
            require_own_store(attributes, entry, where=where)
        found = objections(attributes.quality if attributes else None, asked)
        if not found:
            kept.append(entry)
            continue
        left_out.append(f"{entry.session} is left out: {'; '.join(found)}.")
        report(
            NoteEvent(
                text=left_out[-1],
                stage=stage,
                session=entry.session,
                status="left out",
                reason="; ".join(found),
            )
        )
    if not kept:
        raise DataError(
            f"None of {len(entries)} sessions is good enough: {' '.join(left_out[:8])} Ask less with --set "
            "select.…, or choose others with --session."
        )
    return kept


def _train(
    catalog_path: Path, run_dir: Path, training: Training, report: Report, meeting: Meeting | None
) -> RunEntry:
    from nwb_latents.pipeline.stages.train_model import train_model  # noqa: PLC0415
    from nwb_latents.pipeline.training.run_files import write_entry  # noqa: PLC0415

    settings, entries, force = training.begun.settings, training.entries, training.force
    root = catalog_path.parent
    reading = reading_of(catalog_path, entries, settings, force=force)
    if reading.text:
        report(NoteEvent(text=reading.text, stage="train", run=run_dir.name))
    require_own_stores(catalog_path, entries)
    stores = [store_path(catalog_path, entry.store) for entry in entries]
    if settings.devices == 1:
        result = train_model(stores, settings, run_dir, force=force, room=reading.room, report=report)
    elif meeting is not None:
        from nwb_latents.pipeline.stages.train_srun import train_first  # noqa: PLC0415

        result = train_first(
            meeting, stores, settings, run_dir, force=force, room=reading.room, report=report
        )
    else:
        from nwb_latents.pipeline.stages.train_devices import train_on_devices  # noqa: PLC0415

        result = train_on_devices(stores, settings, run_dir, force=force, room=reading.room, report=report)
    entry = RunEntry(
        run=run_dir.name,
        model=settings.model.name,
        path=run_dir.relative_to(root).as_posix(),
        run_key=training.begun.run_key,
        recipe_id=entries[0].recipe_id,
        sessions=result.sessions,
        steps=result.steps,
        metrics=final_metrics(result.metrics, result.best_step),
        created=now(),
    )
    write_entry(run_dir, entry)
    _say_unused_embedding(entry, report)
    return entry


def _say_unused_embedding(entry: RunEntry, report: Report) -> None:
    """Say it where the embeddings of the sessions differ by less than their posteriors are wide."""
    from nwb_latents.pipeline.training.step_metrics import EMBEDDINGS_APART  # noqa: PLC0415

    apart = entry.metrics.get(f"val_{EMBEDDINGS_APART}", entry.metrics.get(EMBEDDINGS_APART))
    if apart is not None and apart < 1:
        text = (
            f"the embedding is not used: the sessions' differ by {apart:.2g} deviations of their posteriors, "
            "so all sessions share one dynamics. That is as it should be where their dynamics are alike; "
            "where they are not, train longer, or give the model a smaller latent_dim"
        )
        report(NoteEvent(text=text, stage="train", run=entry.run))
