"""The units table: spike times, observed intervals, areas."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import DataError
from pipeline.signals.binning import merge_intervals
from pipeline.signals.recording import FloatArray, IntArray, UnitTable

if TYPE_CHECKING:
    from pipeline.nwb.file import NwbFile


def read_spikes(file: NwbFile, *, on_unsorted: str) -> tuple[FloatArray, IntArray, tuple[str, ...]]:
    """Read all spike times, grouped by unit.

    Parameters
    ----------
    file
        The open file.
    on_unsorted
        ``error`` or ``sort``: what to do when a unit's spike times do not ascend.

    Returns
    -------
    spike_times, spike_index
        Seconds, shape ``(n_spikes,)``; one past the last spike of each unit, shape ``(n_units,)``.
    warnings
        What was mended.

    Raises
    ------
    DataError
        If there are no units, a time is not finite, or times do not ascend and `on_unsorted` is ``error``.
    """
    if not file.has("units/spike_times") or not file.has("units/spike_times_index"):
        raise DataError(
            f"{file.name}: has no units with spike times (/units/spike_times). Sort the spikes first, or "
            "leave the "
            "session out."
        )
    times = file.array("units/spike_times").astype(np.float64)
    index = file.array("units/spike_times_index").astype(np.int64)
    if not len(index) or not len(times):
        raise DataError(
            f"{file.name}: the units table is empty. Sort the spikes first, or leave the session out."
        )
    if not np.isfinite(times).all():
        unit = int(np.searchsorted(index, np.flatnonzero(~np.isfinite(times))[0], side="right"))
        n_bad = int((~np.isfinite(times)).sum())
        raise DataError(
            f"{file.name}: {n_bad} spike times are NaN or infinite, the first in row {unit} of /units. Mend "
            "the file or "
            "leave the session out."
        )
    falls = np.flatnonzero(np.diff(times) < 0) + 1
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
            "--set on_unsorted_spikes=sort; if the clock was reset, leave the session out."
        )
    starts = np.concatenate([[0], index[:-1]])
    for row in rows:
        times[starts[row] : index[row]].sort()
    return times, index, (f"spike times of {len(rows)} units did not ascend and were sorted",)


def read_unit_table(file: NwbFile) -> UnitTable:
    """Read unit ids, areas and the held-out flag.

    Returns
    -------
    units
        Area is the electrode group's name, or the electrode's location, where the file links them.
    """
    ids = file.array("units/id").astype(np.int64)
    heldout = np.zeros(len(ids), dtype=bool)
    if "heldout" in file.columns("units"):
        heldout = file.array("units/heldout").astype(bool)
    return UnitTable(ids=ids, area=_areas(file, len(ids)), heldout=heldout)


def _areas(file: NwbFile, n_units: int) -> np.ndarray:
    area = np.full(n_units, "", dtype=object)
    if not (file.has("units/electrodes") and file.has("units/electrodes_index")):
        return area
    electrodes = "general/extracellular_ephys/electrodes"
    column = next((c for c in ("group_name", "location") if file.has(f"{electrodes}/{c}")), None)
    if column is None:
        return area
    names = file.array(f"{electrodes}/{column}")
    rows = file.array("units/electrodes").astype(np.int64)
    index = file.array("units/electrodes_index").astype(np.int64)
    starts = np.concatenate([[0], index[:-1]])
    linked = (index > starts) & (starts < len(rows))
    first = rows[np.minimum(starts, len(rows) - 1)]
    linked &= (first >= 0) & (first < len(names))
    area[linked] = [str(names[row]).removeprefix("electrode_group_") for row in first[linked]]
    return area


def read_observed(file: NwbFile) -> tuple[FloatArray | None, tuple[str, ...]]:
    """Read the observed intervals.

    Returns
    -------
    observed
        Start and stop in seconds, ascending and disjoint, in which every unit was recorded; None where the
        file does not say. Shape ``(n_intervals, 2)``.
    warnings
        Says so where units differ.
    """
    if not file.has("units/obs_intervals"):
        return None, ()
    rows = [merge_intervals(r) for r in file.ragged("units/obs_intervals")]
    rows = [r for r in rows if len(r)]
    if not rows:
        return None, ()
    if all(r.shape == rows[0].shape and np.array_equal(r, rows[0]) for r in rows):
        return rows[0], ()
    common = rows[0]
    for row in rows[1:]:
        common = _intersection(common, row)
    return common, ("units were observed at different times; only the time common to all is used",)


def _intersection(a: FloatArray, b: FloatArray) -> FloatArray:
    bounds = np.concatenate([a.ravel(), b.ravel()])
    steps = np.concatenate([np.tile([1, -1], len(a)), np.tile([1, -1], len(b))])
    # At equal times an end comes before a start, so that touching intervals share nothing.
    order = np.lexsort((steps, bounds))
    depth = np.cumsum(steps[order])
    inside = np.flatnonzero(depth == 2)
    return np.column_stack([bounds[order][inside], bounds[order][inside + 1]])
