"""The continuous recording of one session, as every layout adapter delivers it.

Seconds, centimetres and centimetres per second, whatever the file used.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


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
    """

    row: IntArray
    events: dict[str, FloatArray]
    success: BoolArray
    valid: BoolArray
    target_dir: FloatArray
    condition: NDArray[np.object_]
    split: NDArray[np.object_]

    def __len__(self) -> int:
        return len(self.row)


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
