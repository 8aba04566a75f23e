"""Trainings of many runs: one after the other here, or each on a worker of a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nwb_latents.pipeline.cluster.this_worker import this_worker
from nwb_latents.pipeline.stages.report import Report, ignore
from nwb_latents.pipeline.stages.run_tasks import Named, RunStage, do_runs
from nwb_latents.pipeline.stages.seen_stores import require_seen
from nwb_latents.pipeline.stages.stage_memory import training_bytes
from nwb_latents.pipeline.stages.train import Training, make_training, plan_training

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from nwb_latents.pipeline.stages.session_tasks import Where
    from nwb_latents.schemas.catalog import RunEntry
    from nwb_latents.schemas.training import TrainSettings


def train_runs(
    catalog_path: Path,
    trainings: Sequence[Training],
    where: Where,
    *,
    report: Report | None = None,
) -> list[RunEntry]:
    """Train many runs; one that fails does not stop the others.

    Parameters
    ----------
    catalog_path
        Catalog file.
    trainings
        The runs, as `pipeline.stages.train.plan_training` returns them, all of one recipe.
    where
        Where they are trained, and which part of them.
    report
        Called with progress and every run.

    Returns
    -------
    entries
        Those of this part, as entered in the catalog, in order.

    Raises
    ------
    MachineError
        If the cluster cannot be reached or is lost.
    PartialFailure
        If some runs failed; it carries the entries of the others.

    Examples
    --------
    >>> from pathlib import Path
    >>> from nwb_latents.pipeline.stages.session_tasks import Where
    >>> train_runs(Path("nowhere/catalog.yaml"), [], Where())
    []
    """
    if not trainings:
        return []
    tasks = [
        Named(one.name, one, training_bytes(catalog_path, one.entries, one.begun.settings))
        for one in trainings
    ]
    return do_runs(
        catalog_path,
        TRAINING,
        catalog_path.absolute(),
        tasks,
        where,
        recipe_id=trainings[0].begun.recipe_id,
        device=trainings[0].begun.settings.device,
        report=report or ignore,
    )


def train_seeds(
    catalog_path: Path,
    settings: TrainSettings,
    where: Where,
    *,
    seeds: int = 1,
    sessions: Sequence[str] = ("*",),
    recipe_id: str | None = None,
    run_name: str | None = None,
    resume: str | None = None,
    force: bool = False,
    report: Report | None = None,
) -> list[RunEntry]:
    """Train a model several times, each with a seed of its own.

    Parameters
    ----------
    catalog_path, settings, sessions, recipe_id, run_name, resume, force, report
        As in `pipeline.stages.train.train`; a name is for a single seed.
    where
        As in `train_runs`.
    seeds
        Number of seeds, from ``settings.seed`` on.

    Raises
    ------
    DataError
        If no session matches or is good enough for ``settings.select``.
    SettingsError
        If the name cannot be one.
    MachineError, PartialFailure
        As in `train_runs`.

    Examples
    --------
    >>> from pathlib import Path
    >>> from nwb_latents.pipeline.stages.session_tasks import Where
    >>> from nwb_latents.schemas.training import TrainSettings
    >>> train_seeds(Path("nowhere/catalog.yaml"), TrainSettings(), Where(), seeds=2)
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.DataError: The catalog holds no sessions. Run `pipeline run ingest ...
    """
    report = report or ignore
    trainings = [
        plan_training(
            catalog_path,
            settings.model_copy(update={"seed": settings.seed + offset}),
            sessions=sessions,
            recipe_id=recipe_id,
            run_name=run_name,
            resume=resume,
            force=force,
            # Which recipe was chosen, and who is left out, is the same for all of them.
            report=report if offset == 0 else ignore,
        )
        for offset in range(seeds)
    ]
    return train_runs(catalog_path, trainings, where, report=report)


def _make(catalog_path: Path, training: Training, report: Report) -> tuple[RunEntry, bool]:
    if this_worker() is not None:
        require_seen(catalog_path, training.entries)
    return make_training(catalog_path, training, report)


def _about(training: Training) -> Mapping[str, object]:
    return {"model": training.begun.settings.model.name}


TRAINING = RunStage("train", "trainings", _make, _about)
