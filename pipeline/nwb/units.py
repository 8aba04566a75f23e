"""The units table: spike times, observed intervals, areas."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.signals.binning import merge_intervals
from nwb_latents.pipeline.signals.recording import FloatArray, IntArray, UnitTable

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
        If there are no units, or a time is not finite.
    """
    if not file.has("units/spike_times") or not file.has("units/spike_times_index"):
        raise DataError(
            f"{file.name}: has no units with spike times (/units/spike_times). Sort the spikes first, or "
            "leave the "
            "session out."
        )
    times = file.array("units/spike_times").astype(np.float64, copy=False)
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
    return times, index


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
        If times do not ascend and `on_unsorted` is ``error``.
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
            "--set on_unsorted_spikes=sort; if the clock was reset, leave the session out."
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
    ids = file.array("units/id").astype(np.int64)
    heldout = np.zeros(len(ids), dtype=bool)
    if "heldout" in file.columns("units"):
        heldout = file.array("units/heldout").astype(bool)
    area = layout.area_of(file, ids) if layout.area_of else None
    if area is None:
        area = electrode_areas(file, len(ids), names=layout.areas)
    return UnitTable(ids=ids, area=area, heldout=heldout)


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
    columns = [file.array(f"{table}/{c}") for c in ("group_name", "location") if file.shape(f"{table}/{c}")]
    if not columns or not (file.has("units/electrodes") and file.has("units/electrodes_index")):
        return area
    rows = file.array("units/electrodes").astype(np.int64)
    index = file.array("units/electrodes_index").astype(np.int64)
    starts = np.concatenate([[0], index[:-1]])
    linked = (index > starts) & (starts < len(rows))
    first = rows[np.minimum(starts, max(len(rows) - 1, 0))] if len(rows) else np.zeros(n_units, np.int64)
    linked &= (first >= 0) & (first < len(columns[0]))
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
        common = intersect_intervals(common, row)
    return common, ("units were observed at different times; only the time common to all is used",)


def intersect_intervals(a: FloatArray, b: FloatArray) -> FloatArray:
    """Return the time that lies in both sets of intervals.

    Parameters
    ----------
    a, b
        Start and stop in seconds, ascending and disjoint. Shape ``(n, 2)``.

    Returns
    -------
    both
        Shape ``(m, 2)``, ascending and disjoint.

    Examples
    --------
    >>> intersect_intervals(np.array([[0.0, 5.0]]), np.array([[1.0, 2.0], [4.0, 9.0]]))
    array([[1., 2.],
           [4., 5.]])
    """
    bounds = np.concatenate([a.ravel(), b.ravel()])
    steps = np.concatenate([np.tile([1, -1], len(a)), np.tile([1, -1], len(b))])
    # At equal times an end comes before a start, so that touching intervals share nothing.
    order = np.lexsort((steps, bounds))
    depth = np.cumsum(steps[order])
    inside = np.flatnonzero(depth == 2)
    return np.column_stack([bounds[order][inside], bounds[order][inside + 1]])
