"""What a measurement says of the run or baseline it is of: the same in every stage that measures."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nwb_latents.pipeline.stages.trained_runs import FAILURES
from nwb_latents.schemas.recipe import bin_size_in

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from nwb_latents.schemas.catalog import Alignment, RunEntry
    from nwb_latents.schemas.training import RunConfig, TrainSettings


@dataclass(frozen=True)
class Facts:
    """Fields of a measurement that tell its source from others, and say which belong together.

    Attributes
    ----------
    label
        What it is called in comparisons.
    group
        Runs of the same group differ in their seed alone.
    seed, model, run_key
        Of a run.
    """

    label: str
    group: str
    seed: int | None = None
    model: str | None = None
    run_key: str | None = None


def facts_of_runs(catalog_path: Path, runs: Iterable[RunEntry]) -> dict[str, Facts]:
    """Return the facts of each run by its name.

    Parameters
    ----------
    catalog_path
        Catalog file; the runs lie beside it.
    runs
        Their entries.
    """
    folder, found = catalog_path.parent, {}
    for run in runs:
        made = run.alignment
        parent = None if made is None else _config(folder / "runs" / made.parent, run_key=made.parent_key)
        found[run.run] = facts_of_run(run, _config(folder / run.path, run_key=run.run_key), parent=parent)
    return found


def facts_of_run(run: RunEntry, config: RunConfig | None, *, parent: RunConfig | None = None) -> Facts:
    """Return the facts of a run.

    Parameters
    ----------
    run
        Its entry in the catalog.
    config
        What it was made with; None where that cannot be read.
    parent
        Of an alignment: what the run it was made of was made with; None where that cannot be read, and
        alignments of that run alone belong together.
    """
    settings = config.settings if config is not None else None
    seed = run.alignment.seed if run.alignment else settings.seed if settings else None
    label, kind = run.model, ""
    if settings is not None:
        kind = _seedless(settings, run.recipe_id)
    if run.alignment:
        how = "from scratch" if run.alignment.from_scratch else "aligned"
        label = f"{run.model}, {how}, {run.alignment.n_trials} trials"
        kind += f"{_kind_of_parent(run.alignment, parent)}/{how}/{run.alignment.n_trials}"
    elif run.imported:
        label = f"{run.model} ({run.imported.program})"
        kind += run.run
    group = hashlib.sha256(kind.encode()).hexdigest()[:16]
    return Facts(label=label, group=group, seed=seed, model=run.model, run_key=run.run_key)


def _seedless(settings: TrainSettings, recipe_id: str) -> str:
    return settings.model_copy(update={"seed": 0}).digest(bin_size_s=bin_size_in(recipe_id))


def _kind_of_parent(made: Alignment, parent: RunConfig | None) -> str:
    """Return what parents that differ in their seed alone have in common."""
    if parent is None:
        return made.parent
    stores = sorted(source.store_key for source in parent.sessions.values())
    return f"{_seedless(parent.settings, parent.recipe_id)}/{'/'.join(stores)}"


def facts_of_baseline(name: str) -> Facts:
    """Return the facts of a baseline.

    Examples
    --------
    >>> facts_of_baseline("hold_last").label
    'hold last'
    """
    return Facts(label=name.replace("_", " "), group=name)


def _config(run_dir: Path, *, run_key: str) -> RunConfig | None:
    """Return what a run was made with; None where that cannot be read, and the run not be loaded either."""
    from nwb_latents.pipeline.training.run_files import read_config  # noqa: PLC0415

    try:
        return read_config(run_dir, run_key=run_key)
    except FAILURES:
        return None
