"""Arrays that are made, kept and read a block of rows at a time.

Rows are bins of the session, or trials. Small ones are plain arrays; those of a long recording lie on the
disk, and nothing here asks which it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from nwb_latents.pipeline.scratch import IN_MEMORY, Scratch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import DTypeLike, NDArray

    from nwb_latents.pipeline.signals.recording import IntArray

BLOCK_CELLS = 1 << 22
"""Bins times units that are binned and smoothed together."""


class Rows(Protocol):
    """Values by rows; a plain array is one.

    ``rows[lo:hi]`` and ``rows[numbers]``, with numbers of any shape, return plain arrays.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of all of it."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of its values."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, at: Any, /) -> NDArray[Any]: ...


class Sink(Protocol):
    """Takes an array block by block, from its first row to its last."""

    def append(self, block: NDArray[Any], /) -> None:
        """Take the next rows."""
        ...

    def finished(self) -> Rows:
        """Return all rows; nothing is appended after that."""
        ...


class Shelf(Protocol):
    """Where the arrays of a session go as they are made.

    Attributes
    ----------
    scratch
        Where arrays are made that are no part of what is kept.
    block_cells
        Bins times units that are worked on together.
    """

    @property
    def scratch(self) -> Scratch:
        """See above."""
        ...

    @property
    def block_cells(self) -> int:
        """See above."""
        ...

    def sink(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> Sink:
        """Begin an array; its name is unique."""
        ...


@dataclass(frozen=True)
class MemoryShelf:
    """Arrays are plain arrays in memory.

    Attributes
    ----------
    scratch, block_cells
        As of `Shelf`; the arrays are the same whatever they are.

    Examples
    --------
    >>> sink = MemoryShelf().sink("trials/counts", (3, 2), np.uint8)
    >>> sink.append(np.ones((2, 2), np.uint8))
    >>> sink.append(np.zeros((1, 2), np.uint8))
    >>> sink.finished().tolist()
    [[1, 1], [1, 1], [0, 0]]
    """

    scratch: Scratch = IN_MEMORY
    block_cells: int = BLOCK_CELLS

    def sink(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> Sink:
        """Begin an array."""
        return ArraySink(np.empty(shape, dtype))


class ArraySink:
    """Takes the rows of a plain array.

    Parameters
    ----------
    array
        What is filled.
    """

    def __init__(self, array: NDArray[Any]) -> None:
        self._array = array
        self._at = 0

    def append(self, block: NDArray[Any], /) -> None:
        """Take the next rows."""
        self._array[self._at : self._at + len(block)] = block
        self._at += len(block)

    def finished(self) -> NDArray[Any]:
        """Return the array."""
        return self._array


@dataclass(frozen=True)
class Windows:
    """Windows of equal length cut out of rows.

    Attributes
    ----------
    rows
        What they are cut out of.
    start
        First row of each window. Shape ``(n_windows,)``.
    n
        Rows of a window.

    Examples
    --------
    >>> Windows(np.arange(10), np.array([0, 7]), 3)[0:2]
    array([[0, 1, 2],
           [7, 8, 9]])
    """

    rows: Rows
    start: IntArray
    n: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Windows, rows of each, and what follows in `rows`."""
        return (len(self.start), self.n, *self.rows.shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self.rows.dtype

    def __len__(self) -> int:
        return len(self.start)

    def __getitem__(self, at: Any, /) -> NDArray[Any]:
        return self.rows[self.start[at][..., None] + np.arange(self.n)]


@dataclass(frozen=True)
class Picked:
    """Single rows of others, in any order.

    Attributes
    ----------
    rows
        What they are rows of.
    at
        Their numbers. Shape ``(n,)``.

    Examples
    --------
    >>> Picked(np.arange(10), np.array([7, 2, 5]))[1:]
    array([2, 5])
    """

    rows: Rows
    at: IntArray

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows, and what follows in `rows`."""
        return (len(self.at), *self.rows.shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self.rows.dtype

    def __len__(self) -> int:
        return len(self.at)

    def __getitem__(self, at: Any, /) -> NDArray[Any]:
        return self.rows[self.at[at]]


def blocks(rows: Rows, *, cells: int = BLOCK_CELLS) -> Iterator[NDArray[Any]]:
    """Yield rows block by block.

    Parameters
    ----------
    rows
        Any rows.
    cells
        Values of a block, more or less.

    Examples
    --------
    >>> [block.tolist() for block in blocks(np.arange(6).reshape(3, 2), cells=4)]
    [[[0, 1], [2, 3]], [[4, 5]]]
    """
    n = max(1, cells // max(1, int(np.prod(rows.shape[1:]))))
    for lo in range(0, len(rows), n):
        yield rows[lo : lo + n]


def put(rows: Rows, name: str, shelf: Shelf) -> Rows:
    """Put rows on a shelf, block by block.

    Parameters
    ----------
    rows
        What is put there.
    name
        Name of the array.
    shelf
        Where to.
    """
    sink = shelf.sink(name, rows.shape, rows.dtype)
    for block in blocks(rows, cells=shelf.block_cells):
        sink.append(block)
    return sink.finished()
