"""Directions of targets as tables tell them: angles, words, unit vectors, angles in words, places."""

from __future__ import annotations

import re
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from nwb_latents.pipeline.nwb.tables import is_missing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nwb_latents.pipeline.nwb.tables import Column
    from nwb_latents.pipeline.signals.recording import BoolArray, FloatArray
    from nwb_latents.schemas.columns import AngleUnit

_ACROSS = {"right": 0.0, "rightward": 0.0, "east": 0.0, "left": 180.0, "leftward": 180.0, "west": 180.0}
_ALONG = {
    "up": 90.0, "upward": 90.0, "upper": 90.0, "top": 90.0, "north": 90.0, "down": 270.0, "downward": 270.0,
    "lower": 270.0, "bottom": 270.0, "south": 270.0,
}  # fmt: skip
WORDS = {
    **_ACROSS, **_ALONG, "n": 90.0, "e": 0.0, "s": 270.0, "w": 180.0, "ne": 45.0, "nw": 135.0, "sw": 225.0,
    "se": 315.0,
    **{
        "".join(pair): (x + y) / 2 if (x, y) != (0.0, 270.0) else 315.0
        for (across, x), (along, y) in product(_ACROSS.items(), _ALONG.items())
        for pair in ((across, along), (along, across))
    },
}  # fmt: skip
"""Words for directions, in lower case and without separators, and what they are in degrees."""

MOST_NUMBERS = 16
"""Whole numbers up to this, no multiples of 5, are numbers of targets and no angles."""

LARGEST_DEG = 720.0
"""Larger numbers are no angles, in degrees or radians."""

UNIT_VECTOR = 0.02
"""Vectors of two numbers whose length is 1 but for this are directions."""

_ANGLE = re.compile(
    r"\s*([-+]?\d+(?:[.,]\d+)?)\s*(°|deg|degs|degrees?|rad|rads|radians?)?\.?\s*", re.IGNORECASE
)
_NUMBER = re.compile(r"[-+]?\d*\.?\d+(?:[eE][-+]?\d+)?")


def angles_in_text(words: NDArray[Any]) -> tuple[FloatArray, AngleUnit] | None:
    """Return the numbers of angles written as text, and their unit where that is written too.

    Parameters
    ----------
    words
        Text. Shape ``(n,)``.

    Returns
    -------
    angles, unit
        As written, NaN where there is none; ``auto``: without a unit. None where any is something else.

    Examples
    --------
    >>> angles, unit = angles_in_text(np.array(["45 deg", "", "90°"], dtype=object))
    >>> angles.tolist(), unit
    ([45.0, nan, 90.0], 'degrees')
    """
    out = np.full(len(words), np.nan)
    units: set[str] = set()
    for i in np.flatnonzero(~is_missing(words)):
        found = _ANGLE.fullmatch(str(words[i]))
        if found is None:
            return None
        out[i] = float(found[1].replace(",", "."))
        units.add("" if found[2] is None else "radians" if found[2].lower().startswith("rad") else "degrees")
    if len(units) != 1:
        return None
    [unit] = units
    return out, "radians" if unit == "radians" else "degrees" if unit else "auto"


def angles_of_words(words: NDArray[Any]) -> FloatArray | None:
    """Return the directions words name, radians, NaN where there is none; None where one names no direction.

    Examples
    --------
    >>> np.rad2deg(angles_of_words(np.array(["Left", "RIGHT ", "N", "up-left"], dtype=object))).tolist()
    [180.0, 0.0, 90.0, 135.0]
    """
    out = np.full(len(words), np.nan)
    for i in np.flatnonzero(~is_missing(words)):
        word = re.sub(r"[^a-z]", "", str(words[i]).lower())
        if word not in WORDS:
            return None
        out[i] = np.deg2rad(WORDS[word])
    return out if np.isfinite(out).any() else None


def angles_of_vectors(values: NDArray[Any]) -> FloatArray | None:
    """Return the directions of unit vectors, radians, NaN where unknown; None where they are no unit vectors.

    Examples
    --------
    >>> angles_of_vectors(np.array([[0.0, 1.0], [1.0, 0.0]])).round(3).tolist()
    [1.571, 0.0]
    """
    if values.ndim != 2 or values.shape[1] not in {2, 3} or values.dtype.kind != "f":
        return None
    length = np.linalg.norm(values, axis=1)
    known = np.isfinite(length)
    if not known.any() or (np.abs(length[known] - 1) > UNIT_VECTOR).any():
        return None
    return np.where(known, np.arctan2(values[:, 1], values[:, 0]), np.nan)


def places_in_text(words: NDArray[Any]) -> FloatArray | None:
    """Return places written as text, such as ``(8, 0)``; None where any is something else.

    Returns
    -------
    places
        NaN where there is none. Shape ``(n, 2)`` or ``(n, 3)``.

    Examples
    --------
    >>> places_in_text(np.array(["(8, 0)", "[-3.5 2]"], dtype=object)).tolist()
    [[8.0, 0.0], [-3.5, 2.0]]
    """
    missing = is_missing(words)
    found = [[] if gone else _NUMBER.findall(str(word)) for word, gone in zip(words, missing, strict=True)]
    counts = {len(numbers) for numbers, gone in zip(found, missing, strict=True) if not gone}
    if len(counts) != 1 or not counts <= {2, 3}:
        return None
    [n] = counts
    if any(re.search(r"[a-df-zA-DF-Z]", str(word)) for word in words[~missing]):
        return None
    return np.array([[float(x) for x in numbers] or [np.nan] * n for numbers in found])


def one_place_each(column: Column) -> FloatArray | None:
    """Return the place of each row of a ragged column; None where rows have several, or no numbers.

    Parameters
    ----------
    column
        With the ends of its rows.

    Returns
    -------
    places
        NaN where a row has none. Shape ``(n_rows, 2)`` or ``(n_rows, 3)``.
    """
    values, counts = column.values, column.counts
    if column.kind != "number":
        return None
    if values.ndim == 1:
        # Two or three numbers a row are the coordinates of one place.
        width = int(counts.max(initial=0))
        if width not in {2, 3} or not np.isin(counts, (0, width)).all():
            return None
        values, has = values.reshape(-1, width), counts == width
    elif values.ndim == 2 and (counts <= 1).all():
        has = counts == 1
    else:
        return None
    out = np.full((len(counts), values.shape[1]), np.nan)
    out[has] = values
    return out


def are_numbers(values: FloatArray) -> bool:
    """Return whether values are numbers of targets: small, whole, and no angles that anybody would choose."""
    known = values[np.isfinite(values)]
    if not len(known) or not (known == np.round(known)).all():
        return False
    distinct = np.unique(known)
    return bool(distinct.min() >= 0 and 2 < distinct.max() <= MOST_NUMBERS and not (distinct % 5 == 0).all())


def are_angles(values: FloatArray) -> BoolArray:
    """Return which numbers could be angles. Shape ``(n,)``.

    Examples
    --------
    >>> are_angles(np.array([45.0, -3.1, 1e9, np.inf, np.nan])).tolist()
    [True, True, False, False, False]
    """
    with np.errstate(invalid="ignore"):
        return np.asarray(np.isfinite(values) & (np.abs(values) <= LARGEST_DEG))
