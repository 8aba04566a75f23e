"""Arrays of HDF5 files of other programs: a few bytes of a file can state a shape of any size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.machine import memory_bytes

if TYPE_CHECKING:
    import h5py
    import numpy as np
    from numpy.typing import NDArray

SHARE = 0.5
"""Share of the memory that one array may take: it is not the only one, and it is converted."""


def whole_array(dataset: h5py.Dataset, *, force: bool | None = None) -> NDArray[np.generic]:
    """Return all values of a dataset, if this machine can hold them.

    Parameters
    ----------
    dataset
        The dataset.
    force
        Read it whatever its size; None where whoever calls knows no --force.

    Raises
    ------
    DataError
        If it cannot, before anything is read.
    MemoryError
        If it was to be read all the same, and does not fit.

    Examples
    --------
    >>> import h5py
    >>> with h5py.File("x.h5", "w", driver="core", backing_store=False) as h5:
    ...     whole_array(h5.create_dataset("a", data=[1, 2]))
    array([1, 2])
    >>> with h5py.File("x.h5", "w", driver="core", backing_store=False) as h5:
    ...     _ = whole_array(h5.create_dataset("a", (10**12, 10), "f4", chunks=(1, 10)))
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.DataError: x.h5: /a has the shape (1000000000000, 10): 40,000 ...
    """
    if not force:
        require_room(dataset, can_be_forced=force is not None)
    values: Any = dataset[()]
    found: NDArray[np.generic] = values
    return found


def require_room(dataset: h5py.Dataset, *, can_be_forced: bool = False) -> None:
    """Refuse a dataset that is larger than this machine can hold.

    Parameters
    ----------
    dataset
        The dataset.
    can_be_forced
        Whether the command at hand has a --force that lifts this.

    Raises
    ------
    DataError
        With its shape, what it would take and what there is.
    """
    if dataset.shape is None:
        return
    needed, most = int(dataset.size) * dataset.dtype.itemsize, int(memory_bytes() * SHARE)
    if needed > most:
        raise DataError(
            f"{dataset.file.filename}: {dataset.name} has the shape {dataset.shape}: {needed / 1e9:,.0f} GB "
            f"as {dataset.dtype}, more than half of the {memory_bytes() / 1e9:,.1f} GB of memory here. Look "
            "at what wrote the file; a file that is meant to be so large needs a larger machine"
            f"{', or --force to try all the same' if can_be_forced else ''}."
        )
