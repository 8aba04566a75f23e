"""The trained run that is aligned: found in the catalog, fit to be aligned, read by whoever trains."""

from __future__ import annotations

import difflib
import hashlib
import platform
from typing import TYPE_CHECKING

from nwb_latents.pipeline.errors import DataError, MachineError, SettingsError
from nwb_latents.pipeline.stages.align_training import Parent
from nwb_latents.pipeline.stages.stage_memory import require_stores_fit
from nwb_latents.pipeline.stores.catalog import some_of
from nwb_latents.pipeline.stores.location import store_path
from nwb_latents.pipeline.stores.plain_files import read_file
from nwb_latents.pipeline.stores.session import open_session
from nwb_latents.schemas.events import NoteEvent

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor

    from nwb_latents.pipeline.stages.report import Report
    from nwb_latents.pipeline.training.inference import TrainedRun
    from nwb_latents.schemas.catalog import Catalog, RunEntry
    from nwb_latents.schemas.training import RunConfig


def parent_of(
    catalog_path: Path, catalog: Catalog, name: str, *, start: str, force: bool, report: Report
) -> Parent:
    """Return the run that is aligned.

    Parameters
    ----------
    catalog_path, catalog
        The catalog.
    name
        Name of the run.
    start
        As in `AlignSettings`: what the run reads in under each condition is only needed for one.
    force
        Load it whatever its size.
    report
        Told where a start from conditions cannot be had.

    Raises
    ------
    DataError
        If there is no such run, or it is a baseline itself.
    SettingsError
        If models of its kind cannot be aligned.
    MachineError
        If it is larger than the memory.
    """
    if name not in catalog.runs:
        known = some_of(sorted(catalog.runs)) or "none; train one with `pipeline run train`"
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
    trained = load_run(run_dir, run_key=entry.run_key, device="cpu")
    config = read_config(run_dir, run_key=entry.run_key)
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
    digest = hashlib.sha256(read_file(run_dir / BEST)).hexdigest()
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
    sessions = [
        open_session(store_path(catalog_path, entry.store), entry=entry).loaded() for entry in same.values()
    ]
    return condition_means(trained, sessions)


def read_parent(catalog_path: Path, entry: RunEntry, *, digest: str, means: dict[str, Tensor]) -> Parent:
    """Return the run that is aligned as this process sees it, which has to be what was planned with.

    Parameters
    ----------
    catalog_path
        Catalog file.
    entry
        The run.
    digest
        SHA-256 of its weights.
    means
        What it reads in under each condition.

    Raises
    ------
    MachineError
        If its weights are others.
    """
    from nwb_latents.pipeline.training.checkpoint import read_weights  # noqa: PLC0415
    from nwb_latents.pipeline.training.run_files import BEST, read_config  # noqa: PLC0415

    run_dir = catalog_path.parent / entry.path
    weights, config = run_dir / BEST, read_config(run_dir, run_key=entry.run_key)
    if config is None or hashlib.sha256(read_file(weights)).hexdigest() != digest:
        raise MachineError(
            f"{platform.node()} sees other weights of run {entry.run} in {run_dir} than the process "
            "that planned its alignments. Every worker has to see the folder of the catalog under the same "
            "path; or the run was trained anew meanwhile: run the same command again."
        )
    return Parent(entry, config, read_weights(weights), digest, means)
