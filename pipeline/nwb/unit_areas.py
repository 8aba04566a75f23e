"""Where units lie: the brain area of each unit's electrode, or none and why."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.nwb.tables import Column, typed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from nwb_latents.pipeline.nwb.file import NwbFile
    from nwb_latents.pipeline.nwb.tables import Table
    from nwb_latents.pipeline.signals.recording import BoolArray, IntArray

ELECTRODES = "general/extracellular_ephys/electrodes"

_AREAS = {
    "M1": ("m1",), "PMd": ("pmd",), "PMv": ("pmv",), "S1": ("s1",), "area2": ("area2", "a2"),
    "SMA": ("sma",), "DMFC": ("dmfc",),
}  # fmt: skip
_PHRASES = {
    "M1": ("primary motor",), "PMd": ("dorsal premotor", "premotor dorsal"), "PMv": ("ventral premotor",),
    "area2": ("area 2", "area_2"), "DMFC": ("dorsomedial frontal",),
}  # fmt: skip


def electrode_areas(file: NwbFile, units: Table, *, names: Mapping[str, str]) -> NDArray[np.object_]:
    """Return the area of each unit's first electrode.

    Parameters
    ----------
    file
        The open file.
    units
        Its units table.
    names
        Electrode group → area, where the group's name does not say it.

    Returns
    -------
    area
        ``""`` where the file does not link units to electrodes, or its electrodes cannot be read, and that is
        said. Shape ``(n_units,)``.
    """
    area = np.full(units.n_rows, "", dtype=object)
    if not units.has("electrodes"):
        return area
    try:
        places = _places(file)
        first = _first_rows(units)
    except DataError as error:
        why = str(error).removeprefix(f"{file.name}: ").rstrip(".")
        file.say(f"areas of units are not known: {why}")
        return area
    if not places:
        file.say(
            f"areas of units are not known: /{ELECTRODES}, to which the units refer, has neither "
            "group_name nor location as an array"
        )
        return area
    n_rows = len(places[0])
    has_one = first != NO_ROW
    if 0 < (n_none := int((~has_one).sum())) < len(first):
        file.say(
            f"/{units.path}/electrodes: {n_none} of {len(first)} units have no electrode; their area is not "
            "known"
        )
    linked = has_one & (first >= 0) & (first < n_rows)
    if (n_lost := int((has_one & ~linked).sum())) > 0:
        lost = first[has_one & ~linked]
        file.say(
            f"/{units.path}/electrodes of {n_lost} units name rows that /{ELECTRODES} lacks ({lost.min()} to "
            f"{lost.max()} of 0 to {n_rows - 1}); no area is known"
        )
    for unit in np.flatnonzero(linked):
        said = [str(column[first[unit]]) for column in places]
        known = [names[said[0]]] if said[0] in names else [a for a in map(canonical_area, said) if a]
        area[unit] = known[0] if known else said[0].removeprefix("electrode_group_")
    return area


NO_ROW = np.iinfo(np.int64).min
MOST_ROWS = 2.0**53
"""No table is as long, and larger numbers are no longer told from their neighbours."""


def _places(file: NwbFile) -> list[NDArray[np.object_]]:
    """Return the columns that say where electrodes lie, group before place, of as many rows each."""
    if not file.has(ELECTRODES):
        raise DataError(f"{_link(file, ELECTRODES)}, to which the units refer")
    if file.shape(ELECTRODES) is not None:
        raise DataError(f"/{ELECTRODES} is an array, and no table")
    n_ids = file.shape(f"{ELECTRODES}/id")
    found = []
    for name in ("group_name", "location"):
        path = f"{ELECTRODES}/{name}"
        if file.shape(path) is None:
            continue
        values, kind = typed(file, path)
        values = values.reshape(-1)
        if kind != "text":
            shown = ", ".join(f"{v:g}" if kind == "number" else str(v) for v in values[:3])
            file.say(f"/{path} holds {shown} …, which name no place; it is not used for areas")
            continue
        if n_ids is not None and len(values) != int(np.prod(n_ids)):
            raise DataError(
                f"/{path} has {len(values)} rows, its table {int(np.prod(n_ids))} (/{ELECTRODES}/id)"
            )
        found.append(values)
    if len({len(each) for each in found}) > 1:
        lengths = " and ".join(str(len(each)) for each in found)
        raise DataError(f"columns of /{ELECTRODES} have {lengths} rows")
    return found


def _first_rows(units: Table) -> IntArray:
    """Return the row of each unit's first electrode; `NO_ROW` of units that have none."""
    column = units.column("electrodes")
    if column.kind != "number":
        shown = ", ".join(str(v) for v in column.values.ravel()[:3])
        raise DataError(f"/{column.path} holds {shown} …, expected rows of /{ELECTRODES}")
    values, has_one, starts = _firsts(column)
    first = np.full(len(starts), NO_ROW, dtype=np.int64)
    taken = values[starts[has_one]]
    is_bad = ~(np.abs(taken) < MOST_ROWS) | (taken != np.round(taken))
    if is_bad.any():
        raise DataError(
            f"/{column.path} of {int(is_bad.sum())} units holds no row, such as {taken[is_bad][0]:g}"
        )
    first[has_one] = taken.astype(np.int64)
    return first


def _firsts(column: Column) -> tuple[NDArray[np.float64], BoolArray, IntArray]:
    # Of several in each row the first is taken, with an index or without.
    flat = column.values.reshape(len(column.values), -1)
    values = np.asarray(flat[:, 0] if flat.shape[1] else np.zeros(0), dtype=np.float64)
    if column.ends is None:
        # One electrode a unit needs no index.
        rows = np.arange(len(flat), dtype=np.int64)
        return values, np.full(len(rows), len(values) > 0), rows
    starts = np.concatenate([[0], column.ends[:-1]]).astype(np.int64)
    return values, (column.ends > starts) & (len(values) > 0), starts


def _link(file: NwbFile, path: str) -> str:
    broken = file.tree.broken_link(path)
    return f"/{path} is not there" if broken is None else f"{broken}, and there is nothing"


def canonical_area(text: str) -> str | None:
    """Return the brain area a name of a group or place speaks of; None where it is not one known area.

    Examples
    --------
    >>> canonical_area("electrode_group_PMd"), canonical_area("Utah Array(M1)"), canonical_area("1")
    ('PMd', 'M1', None)
    """
    words = re.split(r"[^a-z0-9]+", text.lower())
    found = {area for area, names in _AREAS.items() if any(name in words for name in names)}
    found |= {area for area, phrases in _PHRASES.items() if any(p in text.lower() for p in phrases)}
    return found.pop() if len(found) == 1 else None
