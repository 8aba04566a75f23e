"""The units table: spike times, observed intervals, areas."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.nwb.plain_words import value_words
from nwb_latents.pipeline.nwb.tables import Column, Table, typed
from nwb_latents.pipeline.signals.recording import BoolArray, FloatArray, IntArray, UnitTable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from nwb_latents.pipeline.nwb.file import NwbFile
    from nwb_latents.pipeline.nwb.layouts.layout import Layout

_AREAS = {
    "M1": ("m1",), "PMd": ("pmd",), "PMv": ("pmv",), "S1": ("s1",), "area2": ("area2", "a2"),
    "SMA": ("sma",), "DMFC": ("dmfc",),
}  # fmt: skip
_PHRASES = {
    "M1": ("primary motor",), "PMd": ("dorsal premotor", "premotor dorsal"), "PMv": ("ventral premotor",),
    "area2": ("area 2", "area_2"), "DMFC": ("dorsomedial frontal",),
}  # fmt: skip


def read_spikes(file: NwbFile) -> tuple[FloatArray, IntArray]:
    """Read all spike times, grouped by unit, in the order of the file.

    Parameters
    ----------
    file
        The open file.

    Returns
    -------
    spike_times, spike_index
        Seconds, shape ``(n_spikes,)``; one past the last spike of each unit, shape ``(n_units,)``.

    Raises
    ------
    DataError
        If there are no units, the index does not fit the times or the ids, or a time is not finite.
    """
    table = units_table(file)
    if not table.has("spike_times"):
        file.require_link(f"{table.path}/spike_times")
        raise DataError(
            f"{file.name}: has no units with spike times (/{table.path}/spike_times). Sort the spikes first, "
            "or leave the session out."
        )
    column = table.column("spike_times") if table.n_rows != 1 else _of_one_unit(table)
    if column.kind != "number":
        raise DataError(f"{file.name}: /{column.path} holds {column.kind}; expected times in seconds.")
    if column.ends is None:
        raise DataError(
            f"{file.name}: /{column.path} has no index (/{column.path}_index), and {table.n_rows} units: "
            "which spike is whose is not said. Write the file again with pynwb or MatNWB."
        )
    if column.values.ndim != 1:
        raise DataError(
            f"{file.name}: /{column.path} has the shape {column.values.shape}; expected one time a spike. "
            "Write the file again with pynwb or MatNWB."
        )
    times, index = np.asarray(column.values, dtype=np.float64), column.ends
    if not len(index) or not len(times):
        raise DataError(
            f"{file.name}: the units table (/{table.path}) is empty. Sort the spikes first, or leave the "
            "session out."
        )
    if not np.isfinite(times).all():
        unit = int(np.searchsorted(index, np.flatnonzero(~np.isfinite(times))[0], side="right"))
        n_bad = int((~np.isfinite(times)).sum())
        raise DataError(
            f"{file.name}: {n_bad} spike times are NaN or infinite, the first in row {unit} of "
            f"/{table.path}. Mend the file or leave the session out."
        )
    return times, index


def units_table(file: NwbFile) -> Table:
    """Return the units table: ``/units``, or the only table of that type elsewhere, and that is said."""
    if file.has("units") or file.tree.broken_link("units") is not None:
        file.require_link("units")
        return Table(file, "units")
    elsewhere = [
        path
        for root in ("processing", "acquisition", "analysis", "scratch")
        for path, kind in file.objects(root)
        if kind == "Units" and file.has(f"{path}/spike_times")
    ]
    if len(elsewhere) > 1:
        raise DataError(
            f"{file.name}: has no /units, but several tables of units: {', '.join(elsewhere)}. Write the one "
            "to use to /units."
        )
    if elsewhere:
        file.say(f"units are read from /{elsewhere[0]}: there is no /units")
        return Table(file, elsewhere[0])
    return Table(file, "units")


def _of_one_unit(table: Table) -> Column:
    """Return the spike times of a table of one unit, which some tools write without an index."""
    path = f"{table.path}/spike_times"
    if table.file.has(f"{path}_index"):
        return table.column("spike_times")
    values, kind = typed(table.file, path)
    flat = values.reshape(-1)
    table.file.say(f"/{path} has no index; its {len(flat)} spikes are those of the only unit")
    return Column(path, kind, flat, np.array([len(flat)], dtype=np.int64))


def falling(spikes: FloatArray, index: IntArray) -> BoolArray:
    """Return which units have spike times that fall. Shape ``(n_units,)``."""
    falls = np.setdiff1d(np.flatnonzero(spikes[1:] < spikes[:-1]) + 1, index)
    out = np.zeros(len(index), dtype=bool)
    out[np.unique(np.searchsorted(index, falls, side="right"))] = True
    return out


def in_order(
    file: NwbFile, spikes: tuple[FloatArray, IntArray], *, on_unsorted: str
) -> tuple[FloatArray, IntArray, tuple[str, ...]]:
    """Make sure that the spike times of each unit ascend.

    Parameters
    ----------
    file
        The file they were read from.
    spikes
        Times and index as `read_spikes` gives them.
    on_unsorted
        ``error`` or ``sort``: what to do when a unit's spike times do not ascend.

    Returns
    -------
    spike_times, spike_index
        As given; sorted within units where that was asked for.
    warnings
        What was mended.

    Raises
    ------
    DataError
        If times do not ascend and `on_unsorted` is ``error``; those of units to be dropped are gone before.
    """
    times, index = spikes
    falls = np.flatnonzero(times[1:] < times[:-1]) + 1
    falls = np.setdiff1d(falls, index)
    if not len(falls):
        return times, index, ()
    rows = np.unique(np.searchsorted(index, falls, side="right"))
    if on_unsorted == "error":
        at = int(falls[0])
        raise DataError(
            f"{file.name}: spike times of {len(rows)} of {len(index)} units do not ascend, the first in row "
            f"{rows[0]} of "
            f"/units ({times[at - 1]:.6f} s is followed by {times[at]:.6f} s). If the order in the file "
            "means nothing, use "
            "--set on_unsorted_spikes=sort; to leave these units out, --set on_unsorted_spikes=drop."
        )
    starts = np.concatenate([[0], index[:-1]])
    for row in rows:
        times[starts[row] : index[row]].sort()
    return times, index, (f"spike times of {len(rows)} units did not ascend and were sorted",)


def read_unit_table(file: NwbFile, layout: Layout) -> UnitTable:
    """Read unit ids, areas and the held-out flag.

    Parameters
    ----------
    file
        The open file.
    layout
        May know areas that the electrodes do not name.

    Returns
    -------
    units
        Area is ``M1``, ``PMd`` … where the layout, the electrode group or the electrode's location names one;
        else the group's name.
    """
    table = units_table(file)
    ids = _ids(table)
    heldout = np.zeros(len(ids), dtype=bool)
    if table.has("heldout"):
        heldout = _truth(table, "heldout")
    area = layout.area_of(file, ids) if layout.area_of else None
    if area is None:
        area = electrode_areas(file, len(ids), names=layout.areas)
    return UnitTable(ids=ids, area=area, heldout=heldout)


def _ids(table: Table) -> IntArray:
    """Return the ids of units; rows where they repeat, and that is said.

    Raises
    ------
    DataError
        If they are no whole numbers.
    """
    file, path = table.file, f"{table.path}/id"
    if not file.has(path):
        file.say(f"/{path} is not there; units are numbered by their rows")
        return np.arange(table.n_rows, dtype=np.int64)
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
    ids: IntArray = flat.astype(np.int64)
    if len(np.unique(ids)) < len(ids):
        file.say(f"/{path}: ids repeat; units are numbered by their rows")
        return np.arange(len(ids), dtype=np.int64)
    return ids


def _truth(table: Table, name: str) -> BoolArray:
    column = table.column(name)
    found = column.one_each()
    if (
        found is None
        or column.kind == "text"
        or (column.kind == "number" and not np.isin(found[np.isfinite(found)], (0, 1)).all())
    ):
        raise DataError(
            f"{table.file.name}: /{column.path} holds {value_words(column.values.ravel()[:1])} …; expected "
            "true or false a unit. Write it as truth values, or rename the column."
        )
    return np.nan_to_num(found.astype(np.float64)) > 0


def electrode_areas(file: NwbFile, n_units: int, *, names: Mapping[str, str]) -> NDArray[np.object_]:
    """Return the area of each unit's first electrode.

    Parameters
    ----------
    file
        The open file.
    n_units
        Number of units.
    names
        Electrode group → area, where the group's name does not say it.

    Returns
    -------
    area
        ``""`` where the file does not link units to electrodes. Shape ``(n_units,)``.
    """
    area = np.full(n_units, "", dtype=object)
    table = "general/extracellular_ephys/electrodes"
    columns = [
        file.array(f"{table}/{c}").ravel() for c in ("group_name", "location") if file.shape(f"{table}/{c}")
    ]
    units = units_table(file)
    if not columns or not (units.has("electrodes") and file.has(f"{units.path}/electrodes_index")):
        return area
    linked_to = units.column("electrodes")
    if linked_to.ends is None or linked_to.kind != "number":
        return area
    rows, index = linked_to.values.astype(np.int64), linked_to.ends
    starts = np.concatenate([[0], index[:-1]])
    linked = (index > starts) & (starts < len(rows))
    first = rows[np.minimum(starts, max(len(rows) - 1, 0))] if len(rows) else np.zeros(n_units, np.int64)
    linked &= (first >= 0) & (first < len(columns[0]))
    if (n_lost := int(((index > starts) & ~linked).sum())) > 0:
        file.say(
            f"/{units.path}/electrodes of {n_lost} units name rows that /{table} lacks; no area is known"
        )
    for unit in np.flatnonzero(linked):
        said = [str(column[first[unit]]) for column in columns]
        known = [names[said[0]]] if said[0] in names else [a for a in map(canonical_area, said) if a]
        area[unit] = known[0] if known else said[0].removeprefix("electrode_group_")
    return area


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
