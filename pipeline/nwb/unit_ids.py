"""Ids of units: whole numbers that fit a store, or rows in their place, and that is said."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.nwb.tables import typed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nwb_latents.pipeline.nwb.tables import Table
    from nwb_latents.pipeline.signals.recording import IntArray

LARGEST = np.iinfo(np.int64).max
"""A store keeps ids as 64-bit integers with a sign."""


def unit_ids(table: Table) -> IntArray:
    """Return the ids of units; their rows where ids repeat, do not fit or are not there, and that is said.

    Parameters
    ----------
    table
        The units table.

    Returns
    -------
    ids
        All different. Shape ``(n_units,)``.

    Raises
    ------
    DataError
        If they are no whole numbers.
    """
    file, path = table.file, f"{table.path}/id"
    if not file.has(path):
        file.say(f"/{path} is not there; units are numbered by their rows")
        return np.arange(table.n_rows, dtype=np.int64)
    # Whole numbers are kept as they are: a float has no room for all digits of a large one.
    raw = file.array(path).reshape(-1)
    flat = raw if raw.dtype.kind in "iu" else _whole(table, path)
    if not len(flat):
        return np.zeros(0, dtype=np.int64)
    if flat.dtype.kind == "f" and float(np.abs(flat).max()) >= 2.0**53:
        file.say(
            f"/{path} holds floats beyond 2**53, which cannot tell neighbours apart; units are numbered by "
            "their rows"
        )
        return np.arange(len(flat), dtype=np.int64)
    if flat.dtype.kind == "u" and int(flat.max()) > LARGEST:
        file.say(
            f"/{path} holds numbers up to {int(flat.max())}, which a store cannot keep (up to {LARGEST}); "
            "units are numbered by their rows"
        )
        return np.arange(len(flat), dtype=np.int64)
    ids: IntArray = flat.astype(np.int64)
    if (n := len(ids) - len(np.unique(ids))) > 0:
        file.say(f"/{path}: {n} of {len(ids)} ids repeat; units are numbered by their rows")
        return np.arange(len(ids), dtype=np.int64)
    if (ids < 0).any():
        file.say(f"/{path}: {int((ids < 0).sum())} of {len(ids)} ids are negative; they are kept as they are")
    return ids


def _whole(table: Table, path: str) -> NDArray[np.float64]:
    """Return ids stored as floats or as text."""
    file = table.file
    values, kind = typed(file, path)
    flat = values.reshape(-1)
    if kind == "text" and all(str(v).strip().lstrip("-").isdigit() for v in flat):
        file.say(f"/{path} holds numbers as text; they are read as numbers")
        flat, kind = flat.astype(np.float64), "number"
    if kind != "number" or not np.isfinite(flat).all() or (flat != np.round(flat)).any():
        shown = ", ".join(str(v) for v in flat[:3])
        raise DataError(
            f"{file.name}: /{path} holds {shown} …; expected whole numbers, as NWB asks for. Write the ids "
            "as integers, and what they were called as a column."
        )
    return np.asarray(flat, dtype=np.float64)
