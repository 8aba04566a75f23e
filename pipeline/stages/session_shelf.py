"""Where the arrays of a session go while it is ingested, by how much memory that may take.

Nothing that is written depends on it: a long recording takes more time on the disk in place of more memory.
"""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.cluster.estimate import BYTES_PER_CELL, OF_ONE_ARRAY, memory_share
from nwb_latents.pipeline.scratch import Scratch
from nwb_latents.pipeline.signals.rows import BLOCK_CELLS, MemoryShelf
from nwb_latents.pipeline.stores.location import path_name
from nwb_latents.pipeline.stores.shards import shard_shelf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nwb_latents.pipeline.signals.recording import Recording
    from nwb_latents.pipeline.signals.rows import Shelf
    from nwb_latents.pipeline.stages.ingest_session import IngestJob
    from nwb_latents.pipeline.stores.shards import Shard
    from nwb_latents.schemas.recipe import IngestRecipe

_BYTES_PER_BLOCK_CELL = 256
"""Memory for each bin and unit of a block, far more than a block takes, so that blocks are a small part."""

_FEWEST_CELLS = 1 << 12


def scratch_of(job: IngestJob) -> Scratch:
    """Return where large arrays are made: on the disk of the stores, or that of temporary files."""
    folder = None
    if not job.stores.is_remote:
        folder = job.stores.path
        folder.mkdir(parents=True, exist_ok=True)
    return Scratch(_memory_bytes(job) // OF_ONE_ARRAY, folder)


@contextmanager
def shelf_of(
    job: IngestJob, recording: Recording, scratch: Scratch
) -> Iterator[tuple[Shelf, Callable[[], dict[str, Shard]]]]:
    """Yield where the binned arrays of a session go: into memory, or into shards where they are large.

    Parameters
    ----------
    job
        What all sessions have in common.
    recording
        The session.
    scratch
        That of `scratch_of`.

    Yields
    ------
    shelf, shards
        The shelf, and what gives the shards that were made on it.

    Raises
    ------
    MachineError
        If the disk refuses.
    """
    cells = max(_FEWEST_CELLS, min(BLOCK_CELLS, _memory_bytes(job) // _BYTES_PER_BLOCK_CELL))
    if not scratch.is_large(binned_bytes(recording, job.recipe)):
        yield MemoryShelf(scratch, cells), dict
        return
    store = job.store(recording.session)
    path = Path(tempfile.gettempdir(), path_name(recording.session)) if store.is_remote else store.path
    with shard_shelf(path, scratch, block_cells=cells) as shelf:
        yield shelf, shelf.shards


def binned_bytes(recording: Recording, recipe: IngestRecipe) -> int:
    """Return how much counts and rates take, of the whole session or of its trials, whichever are more.

    Parameters
    ----------
    recording
        The session.
    recipe
        Bins and windows.
    """
    observed = recording.observed
    seconds = float(np.ptp(observed)) if observed.size else 0.0
    n_windows = 0 if recording.trials is None else len(recording.trials)
    n_bins = max(seconds / recipe.bin_size_s, n_windows * recipe.n_bins)
    return int(BYTES_PER_CELL * n_bins * len(recording.spike_index))


def _memory_bytes(job: IngestJob) -> int:
    return min(job.memory_bytes, memory_share())
