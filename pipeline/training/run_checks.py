"""One run of a catalog, looked at from its files to its weights: all that is wrong with it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError, PipelineError
from nwb_latents.pipeline.stores.manifest import MANIFEST, file_faults, read_manifest
from nwb_latents.pipeline.stores.store_checks import Fault
from nwb_latents.pipeline.training.run_files import (
    BEST,
    CONFIG,
    ENTRY,
    LAST,
    METRICS,
    TRIALS,
    MissingModelError,
    damaged_lines,
    read_config,
    read_entry,
    weights_fault,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from nwb_latents.schemas.catalog import RunEntry
    from nwb_latents.schemas.training import RunConfig

ALWAYS_THERE = frozenset({BEST, CONFIG, ENTRY})
LISTED = ALWAYS_THERE | {LAST, METRICS, TRIALS}
"""Files of a run that its manifest lists, where they are there."""

_WRONG = (OSError, ValueError, KeyError, TypeError, RuntimeError)
"""What a damaged file raises on its way through yaml, torch and `models`, besides our own."""


def run_faults(
    run_dir: Path, entry: RunEntry, *, expected_key: Callable[[RunConfig], str | None], quick: bool
) -> Iterator[Fault]:
    """Yield everything that is wrong with a run.

    Of a run whose model is not installed (`missing_model`), settings are not read and the model is not built.

    Parameters
    ----------
    run_dir
        Its directory.
    entry
        What the catalog says of it.
    expected_key
        Key of a run by its settings and stores; None: it cannot be told from these.
    quick
        Look at sizes and keys alone, and read no weights.
    """
    if not run_dir.is_dir():
        yield Fault("missing", "", "the run is not there")
        return
    manifest, told = None, set()
    try:
        manifest = read_manifest(run_dir, remedy="")
    except DataError as error:
        told.add(MANIFEST)
        yield Fault("manifest", MANIFEST, _clause(error, run_dir))
    if manifest is not None:
        for fault in file_faults(run_dir, manifest, sizes_only=quick):
            told.add(fault.name)
            yield Fault(fault.kind, fault.name, fault.text)
        there = {name for name in LISTED if name in ALWAYS_THERE or (run_dir / name).is_file()}
        for name in sorted(there - manifest.files.keys()):
            told.add(name)
            yield Fault("manifest", MANIFEST, f"{MANIFEST} does not list {name}: it may be any file")
    if told.isdisjoint({BEST, MANIFEST}) and (fault_of_best := weights_fault(run_dir, sizes_only=True)):
        told.add(BEST)
        yield Fault("missing" if "not there" in fault_of_best else "unreadable", BEST, fault_of_best)
    for record in _record_faults(run_dir, entry, expected_key, told):
        told.add(record.where)
        yield record
    if not quick:
        yield from _log_faults(run_dir, told)
        # Weights cannot be loaded without what says of which model they are.
        if told.isdisjoint({BEST, CONFIG, ENTRY}):
            yield from _weight_faults(run_dir, entry)


def missing_model(run_dir: Path) -> str:
    """Return which model of a run is not installed, and where it came from; empty where it is."""
    try:
        read_config(run_dir, run_key=None)
    except MissingModelError as error:
        return str(error)
    except (PipelineError, *_WRONG):
        return ""
    return ""


def _record_faults(
    run_dir: Path, entry: RunEntry, expected_key: Callable[[RunConfig], str | None], told: set[str]
) -> Iterator[Fault]:
    try:
        own = read_entry(run_dir)
        if own is None and ENTRY not in told:
            yield Fault("missing", ENTRY, f"{ENTRY} is not there: the run is not complete")
        if own is not None and ENTRY not in told and own.written() != entry.written():
            yield Fault("catalog", ENTRY, f"{ENTRY} says other things of the run than the catalog")
    except (PipelineError, *_WRONG) as error:
        yield Fault("unreadable", ENTRY, f"{ENTRY} cannot be read: {_clause(error, run_dir)}")
    try:
        config = read_config(run_dir, run_key=None)
    except MissingModelError:
        return
    except (PipelineError, *_WRONG) as error:
        yield Fault("unreadable", CONFIG, f"{CONFIG} cannot be read: {_clause(error, run_dir)}")
        return
    if config is None:
        if CONFIG not in told:
            yield Fault("missing", CONFIG, f"{CONFIG} is not there")
        return
    pairs = {
        "run_key": (config.run_key, entry.run_key),
        "recipe_id": (config.recipe_id, entry.recipe_id),
        "sessions": (tuple(config.sessions), entry.sessions),
        "model": (config.settings.model.name, entry.model),
    }
    for name, (found, said) in pairs.items():
        if found != said:
            yield Fault(
                "key", CONFIG, f"{CONFIG} has another {name} than the catalog: {found}, expected {said}"
            )
    key = expected_key(config)
    if key is not None and key != config.run_key:
        yield Fault("key", CONFIG, f"the key in {CONFIG} is not that of its settings and stores")


def _log_faults(run_dir: Path, told: set[str]) -> Iterator[Fault]:
    try:
        n_damaged, n_lines = damaged_lines(run_dir / METRICS)
    except PipelineError as error:
        if METRICS not in told:
            yield Fault("unreadable", METRICS, f"{METRICS} cannot be read: {_clause(error, run_dir)}")
        return
    if n_damaged and METRICS not in told:
        yield Fault("unreadable", METRICS, f"{n_damaged} of {n_lines} lines of {METRICS} cannot be read")


def _weight_faults(run_dir: Path, entry: RunEntry) -> Iterator[Fault]:
    # torch takes longer to load than a whole catalog to look at quickly.
    import torch  # noqa: PLC0415

    from nwb_latents.pipeline.training.checkpoint import read_state, read_weights  # noqa: PLC0415
    from nwb_latents.pipeline.training.inference import load_run  # noqa: PLC0415

    try:
        for name, value in read_weights(run_dir / BEST).items():
            if value.is_floating_point() and not bool(torch.isfinite(value).all()):
                yield Fault("values", BEST, f"{BEST}: {name} is not finite")
        trained = load_run(run_dir, device="cpu")
    except MissingModelError:
        return
    except (PipelineError, *_WRONG) as error:
        yield Fault("unreadable", BEST, f"{BEST} cannot be loaded: {_clause(error, run_dir)}")
        return
    state = read_state(run_dir / BEST)
    stood = {"best_val_loss": state.best_loss, "best_step": state.best_step}
    for name, found in stood.items():
        said = entry.metrics.get(name)
        if found is not None and said is not None and not math.isclose(found, said, rel_tol=1e-6):
            yield Fault(
                "key",
                BEST,
                f"{BEST} was written at a {name} of {found:g}, the catalog says {said:g}: it is of another "
                "run",
            )
    if set(trained.sessions) != set(entry.sessions):
        yield Fault("key", BEST, f"{BEST} holds the sessions {', '.join(trained.sessions)}")
    for session, scaling in trained.scalings.items():
        numbers = np.concatenate([scaling.offset.ravel(), scaling.scale.ravel()])
        if not np.isfinite(numbers).all() or (scaling.scale <= 0).any():
            yield Fault("values", BEST, f"{BEST}: the scaling of {session} is not finite and positive")


def _clause(error: Exception, run_dir: Path) -> str:
    text = str(error) if isinstance(error, PipelineError) else f"{type(error).__name__}: {error}"
    return text.strip().removeprefix(f"{run_dir}: ").rstrip(". ")
