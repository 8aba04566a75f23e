"""Spike counts of one bin as a line of text: a JSON array, or numbers between commas or spaces."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

NOT_RECORDED = "null"

MOST = 2**24
"""More than that single precision does not tell apart."""


def parse_counts(line: str, *, n_units: int, where: str) -> NDArray[np.float32] | None:
    """Return the counts of a line.

    Parameters
    ----------
    line
        ``[0, 2, null]``, ``0, 2, null`` or ``0 2 null``: one count for each unit, in the order of the store.
    n_units
        Units of the session.
    where
        Line named in errors.

    Returns
    -------
    counts
        Spikes of each unit, NaN where null: not recorded. Shape ``(unit,)``, float32. None of an empty line.

    Raises
    ------
    DataError
        If the line is no such list, has another number of counts, or a count that is negative, not whole or
        not a number.

    Examples
    --------
    >>> parse_counts("[0, 2, null]", n_units=3, where="line 1").tolist()
    [0.0, 2.0, nan]
    >>> parse_counts("0 2, 1", n_units=3, where="line 1").tolist()
    [0.0, 2.0, 1.0]
    >>> parse_counts("0 -1 1", n_units=3, where="line 7")
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.DataError: line 7: count -1 of unit 1 (from 0) is no number of spikes. ...
    """
    text = line.strip()
    if not text:
        return None
    is_json = text[0] in '[{"'
    words = _json_words(text, where=where) if is_json else re.split(r"\s*,\s*|\s+", text)
    if len(words) != n_units:
        raise DataError(
            f"{where}: {len(words)} counts; the session has {n_units} units. Give one count for each, in the "
            f"order of the store; {NOT_RECORDED} for one that was not recorded."
        )
    return np.array([_count(word, unit, where=where) for unit, word in enumerate(words)], np.float32)


def _json_words(text: str, *, where: str) -> list[object]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{where}: cannot be read as a JSON array: {error}. Write one bin as [0, 2, 1]."
        ) from error
    if not isinstance(found, list):
        raise DataError(
            f"{where}: {text[:40]} is no JSON array of counts. Write one bin as [0, 2, 1], in the order "
            "of the store."
        )
    return found


def _count(word: object, unit: int, *, where: str) -> float:
    if word is None or word == NOT_RECORDED:
        return float("nan")
    try:
        value = float(word) if isinstance(word, str | int | float) and not isinstance(word, bool) else -1.0
    except ValueError:
        value = -1.0
    if not (0 <= value <= MOST and value.is_integer()) or (isinstance(word, str) and "_" in word):
        shown = word if isinstance(word, str) else json.dumps(word)
        raise DataError(
            f"{where}: count {shown[:40]} of unit {unit} (from 0) is no number of spikes. Give a whole "
            f"number, 0 to {MOST}; {NOT_RECORDED} for a unit that was not recorded."
        )
    return value
