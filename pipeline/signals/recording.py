"""The continuous recording of one session, as every layout adapter delivers it.

Seconds, centimetres and centimetres per second, whatever the file used.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


if TYPE_CHECKING:
    from nwb_latents.schemas.store import ReadChoice

GAP_FACTOR = 1.5
"""A step longer than this many sampling intervals is a gap."""

MOST_JITTER = 2.0
"""With time stamps that jitter, steps of up to this many sampling intervals are none."""

_JITTER_SPREAD = 4.0
_BLOCK = 1 << 14
"""Samples looked at together."""


class Segment(NamedTuple):
    """A part of a series without gaps.

    Attributes
    ----------
    at
        Where its samples lie in the series.
    time, values
        Seconds, shape ``(n,)``, and the finite values, shape ``(n, n_axes)``; ``n`` is at least 2.
    """

    at: slice | IntArray
    time: FloatArray
    values: FloatArray


@dataclass(frozen=True)
class Series:
    """A sampled signal with its own clock.

    Attributes
    ----------
    time
        Sample times in seconds, strictly ascending, finite. Shape ``(n_samples,)``.
    values
        Shape ``(n_samples, n_axes)``, float64. NaN where a sample is missing.
    """

    time: FloatArray
    values: FloatArray

    def with_values(self, values: FloatArray) -> Series:
        """Return other values on the same clock; what is known of it is not looked for again.

        Parameters
        ----------
        values
            Shape ``(n_samples, n_axes)``.
        """
        other = Series(self.time, values)
        other.__dict__["interval_s"] = self.interval_s
        for known in ("longest_step_s", "gaps"):
            if known in self.__dict__:
                other.__dict__[known] = self.__dict__[known]
        return other

    @cached_property
    def interval_s(self) -> float:
        """Median step between samples in seconds; NaN for fewer than two samples.

        Examples
        --------
        >>> Series(np.array([0.0, 0.01, 0.02, 5.0]), np.zeros((4, 1))).interval_s
        0.01
        """
        if len(self.time) < 2:
            return float("nan")
        return float(np.median(np.diff(self.time), overwrite_input=True))

    @cached_property
    def longest_step_s(self) -> float:
        """Longest step between neighbouring samples, s: longer ones are gaps.

        1.5 sampling intervals; up to 2 where time stamps jitter, so that a late stamp is not taken for a lost
        sample. Single lost samples do not widen it.

        Examples
        --------
        >>> rng = np.random.default_rng(0)
        >>> even, late = np.arange(1000) * 0.01, rng.uniform(-0.004, 0.004, 1000)
        >>> round(Series(even, np.zeros((1000, 1))).longest_step_s, 6)
        0.015
        >>> 0.0175 < Series(even + late, np.zeros((1000, 1))).longest_step_s <= 0.0202
        True
        """
        if len(self.time) < 3:
            return GAP_FACTOR * self.interval_s
        # A hundred thousand steps tell how much stamps jitter; all of them would cost as much as the median.
        every = max(1, (len(self.time) - 1) // 100_000)
        steps = self.time[1::every] - self.time[:-1:every]
        late = float(np.quantile(steps, 0.75)) / self.interval_s - 1.0
        return min(MOST_JITTER, max(GAP_FACTOR, 1.0 + _JITTER_SPREAD * late)) * self.interval_s

    @cached_property
    def gaps(self) -> IntArray:
        """Samples that come more than `longest_step_s` after the one before, ascending.

        Examples
        --------
        >>> Series(np.array([0.0, 0.01, 0.02, 1.0, 1.01]), np.zeros((5, 2))).gaps
        array([3])
        """
        return _long_steps(self.time, self.longest_step_s)

    @cached_property
    def segments(self) -> tuple[Segment, ...]:
        """Parts without a step longer than `longest_step_s`, in order; NaN on any axis is missing.

        Examples
        --------
        >>> t = np.array([0.0, 0.01, 0.02, 1.0, 1.01])
        >>> [len(segment.time) for segment in Series(t, np.zeros((5, 2))).segments]
        [3, 2]
        """
        # Over a short last axis, `all` costs ten times what the columns one by one do.
        is_whole = np.logical_and.reduce([np.isfinite(column) for column in self.values.T])
        kept = None if is_whole.all() else np.flatnonzero(is_whole)
        cuts = self.gaps if kept is None else _long_steps(self.time[kept], self.longest_step_s)
        found = []
        for a, b in pairwise([0, *cuts.tolist(), len(self.time) if kept is None else len(kept)]):
            if b - a < 2:
                continue
            at: slice | IntArray = slice(a, b)
            if kept is not None:
                is_run = kept[b - 1] - kept[a] == b - 1 - a
                at = slice(int(kept[a]), int(kept[b - 1]) + 1) if is_run else kept[a:b]
            found.append(Segment(at, self.time[at], self.values[at]))
        return tuple(found)


def _long_steps(time: FloatArray, longest_s: float) -> IntArray:
    """Return the samples after steps longer than that; in blocks that stay in the cache."""
    found = [np.zeros(0, dtype=np.int64)]
    for lo in range(0, len(time) - 1, _BLOCK):
        part = time[lo : lo + _BLOCK + 1]
        found.append(lo + 1 + np.flatnonzero(part[1:] - part[:-1] > longest_s))
    return np.concatenate(found)


@dataclass(frozen=True)
class UnitTable:
    """Units of a session.

    Attributes
    ----------
    ids
        Unit ids of the file. Shape ``(n_units,)``.
    area
        Brain area or electrode group, ``""`` where the file does not say. Shape ``(n_units,)``, object.
    heldout
        Units held out for co-smoothing. Shape ``(n_units,)``.
    """

    ids: IntArray
    area: NDArray[np.object_]
    heldout: BoolArray

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class TrialTable:
    """Rows of the file's trial table under canonical event names.

    Attributes
    ----------
    row
        Row in the file's table. Shape ``(n_trials,)``.
    events
        Event name → time in seconds, NaN where the event is missing. Always holds ``start`` and ``stop``;
        may hold ``target_on``, ``go_cue``, ``move_onset``, ``move_end``. Each of shape ``(n_trials,)``.
    success
        Whether the trial succeeded. Shape ``(n_trials,)``.
    valid
        False where the file itself says that the trial is not to be used. Shape ``(n_trials,)``.
    target_dir
        Direction of the target in radians, NaN where there is none. Shape ``(n_trials,)``.
    condition
        Name of the experimental condition, ``""`` where unknown. Shape ``(n_trials,)``, object.
    split
        ``train``, ``val``, ``test`` or ``""`` where the file does not say. Shape ``(n_trials,)``, object.
    columns
        Columns of the table that are kept as they are; NaN where missing. Each of shape ``(n_trials,)``.
    block
        Block of each trial, which becomes part of its condition; None where none was asked for. Shape
        ``(n_trials,)``, object.
    """

    row: IntArray
    events: dict[str, FloatArray]
    success: BoolArray
    valid: BoolArray
    target_dir: FloatArray
    condition: NDArray[np.object_]
    split: NDArray[np.object_]
    columns: dict[str, FloatArray] = field(default_factory=dict)
    block: NDArray[np.object_] | None = None

    def __len__(self) -> int:
        return len(self.row)


@dataclass(frozen=True)
class RecordingFacts:
    """What a file states of its recording.

    Attributes
    ----------
    session, subject
        Ids.
    identifier, start
        NWB's ``identifier`` and ``session_start_time``; empty where the file states none.
    """

    session: str
    subject: str
    identifier: str = ""
    start: str = ""


@dataclass(frozen=True)
class SubjectFacts:
    """Facts of a subject, as the file words them; None where it is silent.

    Attributes
    ----------
    species
        E.g. Macaca mulatta.
    sex
        M, F, U (unknown) or O (other).
    age
        ISO 8601 duration since birth.
    """

    species: str | None = None
    sex: str | None = None
    age: str | None = None


@dataclass(frozen=True)
class Recording:
    """One session, continuous.

    Attributes
    ----------
    session, subject, task
        Ids; the task is ``"unknown"`` where the file does not say.
    layout
        Name of the layout adapter that read the file.
    spike_times
        Times of all spikes in seconds, grouped by unit, ascending within each. Shape ``(n_spikes,)``.
    spike_index
        One past the last spike of each unit in `spike_times`. Shape ``(n_units,)``.
    units
        Unit table, rows in the order of `spike_index`.
    observed
        Intervals in which spikes were recorded, seconds, ascending, disjoint. Shape ``(n_intervals, 2)``.
    position, velocity
        Kinematics in cm and cm/s; velocity is None where the file holds positions only.
    trials
        Trial table; None where the file has none.
    axes
        Names of the kinematic axes, e.g. ``("x", "y")``.
    position_series, velocity_series
        Paths in the file the kinematics were read from.
    warnings
        What the reader found odd, one sentence each.
    choices
        What was read from where, and why.
    kinematics_unit
        Unit of the position; cm unless the file has one that is no length.
    subject_facts
        What the file states of the subject.
    source
        Name of the file, for messages; empty: there is none.
    identifier, start
        What tells a recording from any other: NWB's ``identifier`` and ``session_start_time`` (ISO 8601), as
        the file states them; empty where it does not.
    """

    session: str
    subject: str
    task: str
    layout: str
    spike_times: FloatArray
    spike_index: IntArray
    units: UnitTable
    observed: FloatArray
    position: Series | None
    velocity: Series | None
    trials: TrialTable | None
    axes: tuple[str, ...]
    position_series: str | None = None
    velocity_series: str | None = None
    warnings: tuple[str, ...] = field(default=())
    choices: tuple[ReadChoice, ...] = field(default=())
    kinematics_unit: str = "cm"
    subject_facts: SubjectFacts = field(default_factory=SubjectFacts)
    source: str = ""
    identifier: str = ""
    start: str = ""
