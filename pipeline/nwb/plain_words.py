"""What is stored in a file, in words a message can use: no names of types of Python or HDF5."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_SHOWN = 4
"""Of more values than this the first are shown."""

_KINDS = {
    "b": "truth values",
    "i": "whole numbers",
    "u": "whole numbers",
    "f": "numbers",
    "c": "complex numbers",
    "S": "text",
    "U": "text",
    "T": "text",
    "M": "dates",
    "m": "durations",
}


def value_words(value: object) -> str:
    """Return a value as a person would write it down: an attribute, or one value of a column.

    Parameters
    ----------
    value
        As a file holds it: number, text, array, reference, or nothing.

    Examples
    --------
    >>> value_words(np.int64(5)), value_words("cm"), value_words(np.zeros(0))
    ('5', "'cm'", 'empty')
    >>> value_words(np.array(["cm", "mm"], dtype=object))
    "'cm', 'mm'"
    """
    if isinstance(value, np.ndarray | list | tuple):
        flat = np.asarray(value, dtype=object).ravel()
        shown = ", ".join(value_words(each) for each in flat[:MOST_SHOWN])
        return (shown + (" …" if len(flat) > MOST_SHOWN else "")) or "empty"
    plain = value.item() if isinstance(value, np.generic) else value
    return _words_of_one(plain)


def array_words(values: NDArray[Any]) -> str:
    """Return what an array holds, in the plural.

    Parameters
    ----------
    values
        As read from a file.

    Examples
    --------
    >>> array_words(np.zeros(3)), array_words(np.array(["a"], dtype=object)), array_words(np.zeros(0))
    ('numbers', 'text', 'nothing')
    >>> array_words(np.zeros(2, dtype=[("x", float), ("y", float)]))
    'records of x, y'
    """
    if not values.size:
        return "nothing"
    if values.dtype.names:
        return f"records of {', '.join(values.dtype.names)}"
    if values.dtype.kind == "O":
        first = values.ravel()[0]
        if isinstance(first, np.ndarray | list):
            return "lists of any length"
        return "text" if isinstance(first, str | bytes) else f"{_thing(first)} in each place"
    return _KINDS.get(values.dtype.kind, "values of a type unknown here")


def shape_words(shape: tuple[int, ...]) -> str:
    """Return a shape as a person would say it.

    Examples
    --------
    >>> shape_words(()), shape_words((5,)), shape_words((13000, 2))
    ('a single value', '5 values', '13000 × 2 values')
    """
    if not shape:
        return "a single value"
    return " × ".join(str(n) for n in shape) + (" value" if shape == (1,) else " values")


def is_reference(value: object) -> bool:
    """Return whether a value refers to another object of its file."""
    return isinstance(value, h5py.Reference | h5py.RegionReference)


def _words_of_one(value: object) -> str:
    match value:
        case bytes():
            return f"'{value.decode('utf-8', 'replace')}'"
        case str():
            return f"'{value}'"
        case bool() | int():
            return str(value).lower()
        case float():
            return f"{value:g}"
        case complex():
            return f"{value.real:g}{value.imag:+g}i"
        case _:
            return "empty" if value is None or isinstance(value, h5py.Empty) else _thing(value)


def _thing(value: object) -> str:
    if is_reference(value):
        return "a reference to another object"
    return "something that is neither a number nor text"
