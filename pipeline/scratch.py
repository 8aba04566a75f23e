"""Room for large arrays: in memory up to a size, beyond it in a file without a name on the disk.

An array on the disk is an array like any other. What was touched of it stays in memory until it is given
back (`give_back`), which costs nothing: whoever goes through one does it in pieces (`pieces`, `trains`).
"""

from __future__ import annotations

import mmap
import os
import shutil
import tempfile
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from nwb_latents.pipeline.errors import MachineError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import DTypeLike, NDArray

    Scalar = TypeVar("Scalar", bound=np.generic)

_TOUCHED_BYTES = 16 << 20
"""So much of an array on the disk is in memory at most while it is gone through."""

_AROUND_BYTES = 1 << 19
"""What the system brings into memory around a single value that is looked at."""

_PIECE = 1 << 16
"""Values looked at together: so many that they stay in the cache."""


@dataclass(frozen=True)
class Scratch:
    """Where arrays are made that may be large.

    Attributes
    ----------
    most_bytes
        Larger arrays lie on the disk; None: all are in memory.
    folder
        Folder on that disk; None: that of temporary files (``TMPDIR``).
    """

    most_bytes: int | None = None
    folder: Path | None = None

    def is_large(self, n_bytes: int) -> bool:
        """Whether an array of that size lies on the disk."""
        return self.most_bytes is not None and n_bytes > self.most_bytes

    def disk_bytes(self) -> int:
        """Return the size of the disk, with what lies on it.

        Examples
        --------
        >>> Scratch().disk_bytes() > 0
        True
        """
        return shutil.disk_usage(self.folder or tempfile.gettempdir()).total

    def empty(self, shape: int | tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """Return an array whose values are not set.

        Raises
        ------
        MachineError
            If the disk has no room for it.

        Examples
        --------
        >>> array = Scratch(most_bytes=8).empty((2, 3), np.float64)
        >>> array[:] = 1.0
        >>> give_back(array)
        >>> array.sum()
        np.float64(6.0)
        """
        kind = np.dtype(dtype)
        shape = (shape,) if isinstance(shape, int) else shape
        n_bytes = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
        if not self.is_large(n_bytes) or n_bytes == 0:
            return np.empty(shape, kind)
        try:
            mapped = _nameless(self.folder, n_bytes)
        except OSError as error:
            where = self.folder or tempfile.gettempdir()
            raise MachineError(
                f"{where}: cannot hold {n_bytes / 1e9:.3g} GB that are put there while a long recording is "
                f"read: {error.strerror or error}. Free some space, "
                f"{'name another folder with TMPDIR, ' if self.folder is None else ''}or let more memory be "
                "used (--memory-gb)."
            ) from error
        return np.frombuffer(mapped, dtype=kind).reshape(shape)


IN_MEMORY = Scratch()


def _nameless(folder: Path | None, n_bytes: int) -> mmap.mmap:
    """Return a map of a file without a name: it is gone with the last array of it, or with the process."""
    with tempfile.TemporaryFile(dir=folder, prefix=".nwb-latents-") as file:
        file.truncate(n_bytes)
        if hasattr(os, "posix_fallocate"):
            # A write into a map for which the disk has no room would end the process.
            os.posix_fallocate(file.fileno(), 0, n_bytes)
        return mmap.mmap(file.fileno(), n_bytes)


def give_back(array: NDArray[Any]) -> None:
    """Let go of the memory of an array on the disk; its values stay. Of one in memory, nothing happens."""
    mapped = _map_of(array)
    if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED)


def is_on_disk(array: NDArray[Any]) -> bool:
    """Whether an array, or what it is a view of, lies on the disk."""
    return _map_of(array) is not None


def _map_of(array: Any) -> mmap.mmap | None:
    while isinstance(array, np.ndarray):
        array = array.base
    if isinstance(array, memoryview):
        array = array.obj
    return array if isinstance(array, mmap.mmap) else None


def pieces(array: NDArray[Scalar], n: int = _PIECE, *, overlap: int = 0) -> Iterator[NDArray[Scalar]]:
    """Yield an array in pieces along its first axis, and give back what was touched on the way.

    Parameters
    ----------
    array
        Any shape of at least one axis.
    n
        Rows of a piece.
    overlap
        Rows that each piece shares with the one after it.

    Examples
    --------
    >>> [piece.tolist() for piece in pieces(np.arange(5), 2)]
    [[0, 1], [2, 3], [4]]
    >>> [piece.tolist() for piece in pieces(np.arange(4), 2, overlap=1)]
    [[0, 1, 2], [2, 3]]
    """
    kept = Touched(array)
    for lo in range(0, len(array), n):
        piece = array[lo : lo + n + overlap]
        yield piece
        kept.add(piece.nbytes)
    give_back(array)


def trains(values: NDArray[Scalar], index: NDArray[np.int64]) -> Iterator[NDArray[Scalar]]:
    """Yield the values of each unit, and give back what was touched on the way.

    Parameters
    ----------
    values
        Of all units, one after the other. Shape ``(n_spikes,)``.
    index
        One past the last of each unit. Shape ``(n_units,)``.

    Examples
    --------
    >>> [train.tolist() for train in trains(np.array([1.0, 2.0, 5.0]), np.array([2, 2, 3]))]
    [[1.0, 2.0], [], [5.0]]
    """
    kept = Touched(values)
    for start, stop in pairwise([0, *index.tolist()]):
        train = values[start:stop]
        yield train
        kept.add(max(train.nbytes, _AROUND_BYTES))
    give_back(values)


def picked(values: NDArray[Scalar], at: NDArray[np.int64]) -> NDArray[Scalar]:
    """Return single values, and give back what was touched on the way.

    Parameters
    ----------
    values
        Shape ``(n,)``.
    at
        Which ones. Shape ``(m,)``.

    Examples
    --------
    >>> picked(np.array([5.0, 6.0, 7.0]), np.array([2, 0]))
    array([7., 5.])
    """
    if not is_on_disk(values):
        return values[at]
    out, step = np.empty(len(at), values.dtype), _TOUCHED_BYTES // _AROUND_BYTES
    for lo in range(0, len(at), step):
        out[lo : lo + step] = values[at[lo : lo + step]]
        give_back(values)
    return out


class Touched:
    """Gives back the memory of an array whenever enough of it was touched.

    Parameters
    ----------
    array
        Gone through by someone else.
    """

    def __init__(self, array: NDArray[Any]) -> None:
        self._array = array
        self._bytes = 0

    def add(self, n_bytes: int = _AROUND_BYTES) -> None:
        """Note that so much was touched; default: a single place."""
        self._bytes += n_bytes
        if self._bytes >= _TOUCHED_BYTES:
            give_back(self._array)
            self._bytes = 0
