"""What tells the trials and rates of two files apart where neither names ids.

Targets of the benchmark's toolkit name no trials. Those scored show by their held-out counts which they are;
those fitted have nothing but their behaviour, equal to the rounding of single precision whoever wrote it.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike

MOST_TRIALS = 4000
"""Trials a course is told of: an attribute of an HDF5 file holds 64 KiB."""

_ROWS = 128
_OFF = 2e-3


def behaviour_course(behaviour: ArrayLike) -> str:
    """Return what the behaviour of trials amounts to, trial by trial, of the mean of all; as text.

    Parameters
    ----------
    behaviour
        Velocity, or what is told of a trial; NaN where it is not known. Shape ``(trial, …)``.

    Examples
    --------
    >>> behaviour_course([[1.0, -1.0], [3.0, np.nan], [np.nan, np.nan]])
    '0.5 1.5 nan'
    """
    values = np.abs(np.asarray(behaviour, dtype=np.float64))
    values = values.reshape(len(values), -1)
    known = np.isfinite(values)
    number = known.sum(axis=1)
    sums = np.where(known, values, 0.0).sum(axis=1)
    means = np.where(number > 0, sums / np.maximum(number, 1), np.nan)
    whole = means[number > 0].mean() if known.any() else 1.0
    return " ".join(f"{value:.5g}" for value in (means / (whole or 1.0))[:MOST_TRIALS])


def is_same_course(one: str, other: str) -> bool:
    """Whether two courses are those of the same trials in the same order.

    Examples
    --------
    >>> is_same_course("0.5 1.5 nan", "0.50001 1.5 nan"), is_same_course("0.5 1.5 nan", "1.5 0.5 nan")
    (True, False)
    """
    first, second = (np.array(text.split(), dtype=np.float64) for text in (one, other))
    return first.shape == second.shape and np.allclose(first, second, rtol=_OFF, atol=_OFF, equal_nan=True)


def rates_digest(arrays: Mapping[str, ArrayLike]) -> str:
    """Return a digest of the rates of a group, by which it is known whether they were changed afterwards.

    Parameters
    ----------
    arrays
        Datasets of rates; read some trials at a time.

    Examples
    --------
    >>> rates = np.arange(6.0).reshape(2, 1, 3)
    >>> rates_digest({"a": rates}) == rates_digest({"a": rates[..., ::-1]})
    False
    """
    found = hashlib.sha256()
    for name in sorted(arrays):
        rates = arrays[name]
        shape = np.shape(rates)
        found.update(repr((name, tuple(map(int, shape)))).encode())
        for first in range(0, shape[0] if shape else 0, _ROWS):
            part = rates[first : first + _ROWS]  # type: ignore[index]
            found.update(np.ascontiguousarray(part, dtype=np.float64).tobytes())
    return found.hexdigest()[:16]
