"""When units were observed: the time common to all of them, or to those of one group.

``obs_intervals`` has a list of intervals for each unit. Units recorded in turn, as with an electrode that is
moved, have no time in common: one group of them can be taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.nwb.units import units_table
from nwb_latents.pipeline.signals.binning import merge_intervals

if TYPE_CHECKING:
    from nwb_latents.pipeline.nwb.file import NwbFile
    from nwb_latents.pipeline.nwb.tables import Table
    from nwb_latents.pipeline.signals.recording import BoolArray, FloatArray

MOST_SHOWN = 6


@dataclass(frozen=True)
class ObservedUnits:
    """Which units are used, and when all of these were observed.

    Attributes
    ----------
    time
        Start and stop in seconds, ascending and disjoint; None where the file does not say. Shape
        ``(n_intervals, 2)``.
    is_used
        False of units without an observed interval and of those of other groups; None where all are used.
        Shape ``(n_units,)``.
    """

    time: FloatArray | None
    is_used: BoolArray | None = None


def read_observed(file: NwbFile, *, group: int | None = None) -> ObservedUnits:
    """Read the observed intervals.

    Parameters
    ----------
    file
        The open file.
    group
        The group of units that is taken, 0 the largest; None: all units, which must have time in common.

    Returns
    -------
    observed
        Units that were never observed, and those of other groups, are left out, and that is said.

    Raises
    ------
    DataError
        If the column is no list of intervals, if units were recorded in turn and no group is given, or if
        there is no such group.
    """
    table = units_table(file)
    rows = _intervals(file, table)
    if rows is None and group is not None:
        file.say("units.observed_group is not used: the file has no obs_intervals")
    seen = [unit for unit, each in enumerate(rows or ()) if len(each)]
    if rows is None:
        return ObservedUnits(None)
    path = f"{table.path}/obs_intervals"
    if not seen:
        raise DataError(
            f"{file.name}: /{path} holds no interval that begins before it ends, of any unit: nothing would "
            "count as observed. Mend the intervals, or leave the column out of the file."
        )
    if group is not None:
        seen = _of_group(file, path, rows, seen, group)
    common = _common_time([rows[unit] for unit in seen])
    if not len(common):
        groups = _groups(rows, seen)
        raise DataError(
            f"{file.name}: /{path}: units were recorded in turn, no time is common to all "
            f"({_listed(groups, rows)}). Take one group with --set units.observed_group=N, N from 0 for the "
            f"first of these to {len(groups) - 1}."
        )
    if any(not np.array_equal(rows[unit], common) for unit in seen):
        file.say("units were observed at different times; only the time common to all is used")
    is_used = np.zeros(len(rows), dtype=bool)
    is_used[seen] = True
    return ObservedUnits(common, None if is_used.all() else is_used)


def ever_observed(file: NwbFile) -> BoolArray | None:
    """Return which units have an observed interval; None where the file says of none.

    Returns
    -------
    is_observed
        Shape ``(n_units,)``.

    Raises
    ------
    DataError
        As `read_observed`.
    """
    rows = _intervals(file, units_table(file)) or []
    is_observed = np.array([len(each) > 0 for each in rows], dtype=bool)
    return is_observed if is_observed.any() else None


def _intervals(file: NwbFile, table: Table) -> list[FloatArray] | None:
    """Return the intervals of each unit, ascending and disjoint; None where there is no such column."""
    if not table.has("obs_intervals"):
        return None
    column = table.column("obs_intervals")
    if column.kind != "number" or column.values.ndim != 2 or column.values.shape[1] != 2:
        raise DataError(
            f"{file.name}: /{column.path} has the shape {column.values.shape}; expected a start and a stop "
            "in each row. Mend the file."
        )
    raw = [np.asarray(rows, dtype=np.float64).reshape(-1, 2) for rows in column.rows()]
    turned = int(sum((rows[:, 1] < rows[:, 0]).sum() for rows in raw))
    if turned:
        file.say(f"/{column.path}: {turned} intervals end before they begin and are left out")
    n_bad = int(sum(np.isnan(rows).any(axis=1).sum() for rows in raw))
    if n_bad:
        file.say(f"/{column.path}: {n_bad} intervals with NaN are left out")
    rows = [merge_intervals(each[~np.isnan(each).any(axis=1)]) for each in raw]
    n_never = sum(len(each) == 0 for each in rows)
    if n_never:
        file.say(f"/{column.path}: {n_never} of {len(rows)} units were never observed and are left out")
    return rows


def _of_group(file: NwbFile, path: str, rows: list[FloatArray], seen: list[int], group: int) -> list[int]:
    groups = _groups(rows, seen)
    if group >= len(groups):
        raise DataError(
            f"{file.name}: /{path}: units.observed_group is {group}, but there are {len(groups)} groups, "
            f"from 0 on: {_listed(groups, rows)}."
        )
    taken = groups[group]
    if len(groups) > 1:
        others = [each for number, each in enumerate(groups) if number != group]
        file.say(
            f"units.observed_group={group}: {len(taken)} of {len(seen)} units are used; those of other "
            f"groups are left out ({_listed(others, rows)})"
        )
        file.choose("units", f"group {group} of {len(groups)}", f"named by units.observed_group, /{path}")
    return taken


def _groups(rows: list[FloatArray], seen: list[int]) -> list[list[int]]:
    """Return groups of units that were observed together, the largest first.

    A unit belongs to the first group with which it shares more than half of its time and of the group's.
    """
    groups: list[list[int]] = []
    times: list[FloatArray] = []
    for unit in seen:
        for number, time in enumerate(times):
            both = time if np.array_equal(time, rows[unit]) else intersect_intervals(time, rows[unit])
            # Intervals may go on without end.
            longer = np.fmax(_length(time), _length(rows[unit]))
            if np.array_equal(both, time) or _length(both) > longer / 2:
                groups[number].append(unit)
                times[number] = both
                break
        else:
            groups.append([unit])
            times.append(rows[unit])
    return sorted(groups, key=lambda units: (-len(units), units[0]))


def _length(intervals: FloatArray) -> float:
    return float(np.diff(intervals, axis=1).sum()) if len(intervals) else 0.0


def _listed(groups: list[list[int]], rows: list[FloatArray]) -> str:
    shown = [
        f"{len(units)} units from {rows[units[0]][0, 0]:g} to {rows[units[0]][-1, 1]:g} s"
        for units in groups[:MOST_SHOWN]
    ]
    return "; ".join([*shown, *(["…"] if len(groups) > MOST_SHOWN else [])])


def _common_time(rows: list[FloatArray]) -> FloatArray:
    """Return the time that lies in all of several lists of intervals."""
    common = rows[0]
    for each in rows[1:]:
        if not np.array_equal(each, common):
            common = intersect_intervals(common, each)
    return common


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
