"""The units table: spike times, observed intervals, areas."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.nwb.plain_words import value_words
from nwb_latents.pipeline.nwb.spike_selection import only_spikes
from nwb_latents.pipeline.nwb.tables import Column, Table, typed
from nwb_latents.pipeline.nwb.unit_areas import electrode_areas
from nwb_latents.pipeline.nwb.unit_ids import unit_ids
from nwb_latents.pipeline.scratch import pieces, trains
from nwb_latents.pipeline.signals.recording import BoolArray, FloatArray, IntArray, UnitTable

if TYPE_CHECKING:
    from nwb_latents.pipeline.nwb.file import NwbFile
    from nwb_latents.pipeline.nwb.layouts.layout import Layout


_TOGETHER = 1 << 16
"""Spikes looked at together: so many that they stay in the cache."""


def read_spikes(file: NwbFile, *, on_not_finite: str = "error") -> tuple[FloatArray, IntArray]:
    """Read all spike times, grouped by unit, in the order of the file.

    Parameters
    ----------
    file
        The open file.
    on_not_finite
        ``error`` or ``drop``: what to do with times that are NaN or infinite; dropped ones are said.

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
        raise _no_spikes(file, table)
    column = table.column("spike_times") if table.n_rows != 1 else _of_one_unit(table)
    if column.kind != "number":
        raise DataError(
            f"{file.name}: /{column.path} holds {column.kind}; expected times in seconds. Write them as "
            "numbers, or leave the session out."
        )
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
    if not all(np.isfinite(piece).all() for piece in pieces(times)):
        return _finite(file, table, (times, index), on_not_finite=on_not_finite)
    return times, index


def _no_spikes(file: NwbFile, table: Table) -> DataError:
    """Return the error of a file without spike times, by what is in their place."""
    path = f"{table.path}/spike_times"
    file.require_link(path)
    mend = "Write the file again with pynwb or MatNWB, or leave the session out."
    if file.shape(table.path) is not None:
        return DataError(
            f"{file.name}: /{table.path} is an array; expected a table, a group of columns. {mend}"
        )
    if file.has(path):
        return DataError(f"{file.name}: /{path} is a group; expected an array of times in seconds. {mend}")
    return DataError(
        f"{file.name}: has no units with spike times (/{path}). Sort the spikes first, or leave the session "
        "out."
    )


def _finite(
    file: NwbFile, table: Table, spikes: tuple[FloatArray, IntArray], *, on_not_finite: str
) -> tuple[FloatArray, IntArray]:
    """Leave out times that are NaN or infinite, or refuse them."""
    times, index = spikes
    n_bad = np.array([np.count_nonzero(~np.isfinite(train)) for train in trains(times, index)])
    rows = np.flatnonzero(n_bad)
    what = (
        f"{n_bad.sum()} of {len(times)} spike times are NaN or infinite, in {len(rows)} of {len(index)} "
        f"units, the first in row {rows[0]} of /{table.path}"
    )
    if n_bad.sum() == len(times):
        raise DataError(f"{file.name}: {what}: no spike is left. Leave the session out.")
    if on_not_finite == "error":
        raise DataError(
            f"{file.name}: {what}. If they mean nothing, leave them out with --set "
            "on_not_finite_spikes=drop, or leave the session out."
        )
    file.say(f"{what}; they are left out")
    return only_spikes(times, index, np.isfinite)


def units_table(file: NwbFile) -> Table:
    """Return the units table: ``/units``, or the only table of that type elsewhere, and that is said."""
    if file.has("units") or file.tree.broken_link("units") is not None:
        file.require_link("units")
        table = Table(file, "units")
        table.say_absent()
        return table
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
    falls = np.setdiff1d(_falls(spikes), index)
    out = np.zeros(len(index), dtype=bool)
    out[np.unique(np.searchsorted(index, falls, side="right"))] = True
    return out


def _falls(times: FloatArray) -> IntArray:
    """Return where a time is earlier than the one before it."""
    found, at = [np.zeros(0, dtype=np.int64)], 1
    for piece in pieces(times, _TOGETHER, overlap=1):
        found.append(at + np.flatnonzero(piece[1:] < piece[:-1]))
        at += _TOGETHER
    return np.concatenate(found)


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
    falls = np.setdiff1d(_falls(times), index)
    if not len(falls):
        return times, index, ()
    rows = np.unique(np.searchsorted(index, falls, side="right"))
    if on_unsorted == "error":
        at = int(falls[0])
        back_s = float((times[falls - 1] - times[falls]).max())
        raise DataError(
            f"{file.name}: spike times of {len(rows)} of {len(index)} units do not ascend, the first in row "
            f"{rows[0]} of /units ({times[at - 1]:.6f} s is followed by {times[at]:.6f} s); {len(falls)} of "
            f"{len(times)} spikes come before the one above them, by at most {back_s:.6g} s. If the order in "
            "the file means nothing, use --set on_unsorted_spikes=sort; to leave these units out, --set "
            "on_unsorted_spikes=drop."
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
    ids = unit_ids(table)
    heldout = np.zeros(len(ids), dtype=bool)
    if table.has("heldout"):
        heldout = _truth(table, "heldout")
    area = layout.area_of(file, ids) if layout.area_of else None
    if area is None:
        area = electrode_areas(file, table, names=layout.areas)
    return UnitTable(ids=ids, area=area, heldout=heldout)


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
