"""Index columns of ragged tables: where the values of each row end, checked before anybody relies on it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.nwb.plain_words import array_words, shape_words

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nwb_latents.pipeline.nwb.file import NwbFile

    IntArray = NDArray[np.int64]

INDEX = "_index"
"""Ending of the name of the column that says where the rows of another one end."""

_MEND = "Write the file again with pynwb or MatNWB, or leave the session out."


def flat(values: NDArray[Any]) -> NDArray[Any]:
    """Return values of one number each as a vector, whatever empty dimensions they were stored with.

    Examples
    --------
    >>> [flat(np.zeros(shape)).shape for shape in ((5, 1), (1, 5), (5, 1, 1), (5, 2), (1, 2, 3))]
    [(5,), (5,), (5,), (5, 2), (1, 2, 3)]
    """
    return values.reshape(-1) if values.ndim > 1 and values.size == max(values.shape) else values


def row_ends(file: NwbFile, path: str, *, n_rows: int, values: NDArray[Any]) -> tuple[IntArray, NDArray[Any]]:
    """Read where the values of each row of a ragged column end.

    A doubly ragged column (``x``, ``x_index``, ``x_index_index``) is read where each row has one list at
    most: the second index then only repeats the rows.

    Parameters
    ----------
    file
        The open file.
    path
        Path of the column of values.
    n_rows
        Rows of its table.
    values
        What the column holds. Shape ``(n_values, …)``.

    Returns
    -------
    ends
        One past the last value of each row. Shape ``(n_rows,)``.
    values
        The same, as a vector where each value is one number.

    Raises
    ------
    DataError
        If the index cannot be one, does not end where the values end, or rows hold several lists each.
    """
    index = f"{path}{INDEX}"
    outer = f"{index}{INDEX}"
    values = np.atleast_1d(values)
    if values.ndim > 1 and values.size == len(values):
        values = values.reshape(-1)
    file.require_link(outer)
    if not file.has(outer):
        ends = _read(file, index)
        values = values if len(ends) and ends[-1] == len(values) else flat(values)
        return _checked(file, index, ends, n_rows=n_rows, n_values=len(values)), values
    inner = _read(file, index)
    values = values if len(inner) and inner[-1] == len(values) else flat(values)
    inner = _checked(file, index, inner, n_rows=len(inner), n_values=len(values))
    lists = _checked(file, outer, _read(file, outer), n_rows=n_rows, n_values=len(inner))
    counts = np.diff(lists, prepend=0)
    if (counts > 1).any():
        raise DataError(
            f"{file.name}: /{path} is doubly ragged (/{outer}): a row holds up to {int(counts.max())} lists "
            f"of values; expected one. Write the column with one list a row (without /{outer}), or leave the "
            "session out."
        )
    file.say(f"/{path} is doubly ragged (/{outer}), with one list a row at most; it is read as singly ragged")
    return np.concatenate([[0], inner])[lists], values


def _read(file: NwbFile, path: str) -> IntArray:
    """Read whole numbers that may be counts of values."""
    raw = file.array(path)
    index = flat(raw)
    if index.ndim != 1 or index.dtype.kind not in "iuf":
        raise DataError(
            f"{file.name}: /{path} is no index: it holds {array_words(raw)}, {shape_words(raw.shape)}; "
            f"expected one whole number a row. {_MEND}"
        )
    if index.dtype.kind == "f":
        index = index.astype(np.float64)
    whole = np.isfinite(index) if index.dtype.kind == "f" else np.ones(len(index), dtype=bool)
    whole[whole] = (index[whole] == np.floor(index[whole])) & (index[whole] < 2**62)
    if not whole.all():
        at = int(np.flatnonzero(~whole)[0])
        raise DataError(
            f"{file.name}: /{path} is no index: it holds {index[at]:g} at row {at}; expected whole numbers, "
            f"one past the last value of each row. {_MEND}"
        )
    return index.astype(np.int64)


def _checked(file: NwbFile, path: str, ends: IntArray, *, n_rows: int, n_values: int) -> IntArray:
    if len(ends) != n_rows:
        leading = ""
        if len(ends) == n_rows + 1 and ends[0] == 0:
            leading = " and begins with 0: it holds starts and ends"
        raise DataError(
            f"{file.name}: /{path} has {len(ends)} entries{leading}, its table {n_rows} rows; expected one "
            f"end a row. {_MEND}"
        )
    falls = np.flatnonzero(np.diff(ends) < 0)
    if len(falls):
        at = int(falls[0])
        raise DataError(
            f"{file.name}: /{path} descends from {ends[at]} to {ends[at + 1]} at row {at + 1}; the ends of "
            f"rows ascend. {_MEND}"
        )
    if n_rows and (ends[0] < 0 or ends[-1] != n_values):
        starts = " It holds the starts of rows in place of their ends." if ends[0] == 0 else ""
        raise DataError(
            f"{file.name}: /{path} ends at {ends[-1]}, but /{path.removesuffix(INDEX)} holds {n_values} "
            f"values: {abs(n_values - int(ends[-1]))} belong to no row.{starts} {_MEND}"
        )
    return ends
