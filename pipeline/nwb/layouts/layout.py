"""What a layout adapter says, and the reading of trial tables that all of them share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pipeline.signals.recording import BoolArray, FloatArray, TrialTable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from pipeline.nwb.file import NwbFile

TRIALS = "intervals/trials"

EVENT_COLUMNS: dict[str, tuple[str, ...]] = {
    "start": ("start_time",),
    "stop": ("stop_time",),
    "target_on": ("target_on_time", "target_presentation_time", "target_shown_time"),
    "go_cue": ("go_cue_time", "gocue_time"),
    "move_onset": ("move_onset_time", "move_begins_time"),
    "move_end": ("move_ends_time",),
}
"""Canonical event → names of its column in published files, in order of preference."""

SUCCESS_COLUMNS = ("result", "task_success", "success", "is_successful")
CONDITION_COLUMNS = (("trial_type", "trial_version"), ("condition_id",), ("target_id",))


@dataclass(frozen=True)
class Layout:
    """One family of NWB files.

    Attributes
    ----------
    name
        Name used in the catalog and in ``--set layout=NAME``.
    summary
        One line for users.
    recognises
        Whether a file is of this family.
    position, velocity
        Paths of the series; None: the one that looks most like a hand's or cursor's.
    unit
        Length unit of the kinematics where the files' own word cannot be trusted.
    events
        Canonical event → column names.
    trials
        Reads the trial table.
    task
        Names the task of a file.
    """

    name: str
    summary: str
    recognises: Callable[[NwbFile], bool]
    position: str | None = None
    velocity: str | None = None
    unit: str | None = None
    events: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: EVENT_COLUMNS)
    trials: Callable[[NwbFile, Mapping[str, tuple[str, ...]]], TrialTable | None] = field(
        default_factory=lambda: read_trial_table
    )
    task: Callable[[NwbFile], str] = field(default_factory=lambda: task_of_session)


def task_of_session(file: NwbFile) -> str:
    """Return the task the session id begins with (``CO-20131003`` → ``CO``), else ``unknown``."""
    first = file.session.partition("_ses-")[2].split("-")[0]
    return first if first in {"CO", "RT", "maze", "RTT"} else "unknown"


def read_trial_table(file: NwbFile, events: Mapping[str, tuple[str, ...]]) -> TrialTable | None:
    """Read ``/intervals/trials`` under canonical event names.

    Parameters
    ----------
    file
        The open file.
    events
        Canonical event → column names, in order of preference.

    Returns
    -------
    trials
        One row per row of the table; None where the file has no table, or one without a single event beside
        start and stop, which says nothing about movements.
    """
    columns = file.columns(TRIALS)
    n = len(file.array(f"{TRIALS}/id")) if file.has(f"{TRIALS}/id") else 0
    if not n:
        return None
    found: dict[str, FloatArray] = {}
    for event, names in events.items():
        name = next((c for c in names if c in columns and file.array(f"{TRIALS}/{c}").shape == (n,)), None)
        if name is not None:
            found[event] = file.array(f"{TRIALS}/{name}").astype(np.float64)
    if "start" not in found or "stop" not in found or not set(found) - {"start", "stop"}:
        return None
    return TrialTable(
        row=np.arange(n),
        events=found,
        success=_success(file, columns, n),
        valid=_valid(file, columns, n),
        target_dir=_directions(file, columns, n),
        condition=_conditions(file, columns, n),
        split=_splits(file, columns, n),
    )


def _success(file: NwbFile, columns: list[str], n: int) -> BoolArray:
    name = next((c for c in SUCCESS_COLUMNS if c in columns), None)
    if name is None:
        return np.ones(n, dtype=bool)
    values = file.array(f"{TRIALS}/{name}")
    if values.dtype.kind == "O":
        return np.array([str(v).strip().upper() in {"R", "TRUE", "1", "S", "SUCCESS"} for v in values])
    return np.asarray(np.nan_to_num(values.astype(np.float64)) > 0)


def _valid(file: NwbFile, columns: list[str], n: int) -> BoolArray:
    if "discard_trial" not in columns:
        return np.ones(n, dtype=bool)
    return ~(np.nan_to_num(file.array(f"{TRIALS}/discard_trial").astype(np.float64)) > 0)


def _directions(file: NwbFile, columns: list[str], n: int) -> FloatArray:
    out = np.full(n, np.nan)
    if "target_dir" not in columns:
        return out
    values = file.array(f"{TRIALS}/target_dir").astype(np.float64)
    if values.shape != (n,):
        return out
    finite = values[np.isfinite(values)]
    if len(finite) and np.abs(finite).max() > 2 * np.pi + 1e-6:
        return np.asarray(np.deg2rad(values))
    return values


def _conditions(file: NwbFile, columns: list[str], n: int) -> NDArray[np.object_]:
    out = np.full(n, "", dtype=object)
    for names in CONDITION_COLUMNS:
        if not all(c in columns and file.array(f"{TRIALS}/{c}").shape == (n,) for c in names):
            continue
        values = [file.array(f"{TRIALS}/{c}") for c in names]
        for i in range(n):
            row = [v[i] for v in values]
            if all(isinstance(v, str) or np.isfinite(v) for v in row):
                out[i] = "-".join(v if isinstance(v, str) else f"{float(v):g}" for v in row)
        return out
    return out


def _splits(file: NwbFile, columns: list[str], n: int) -> NDArray[np.object_]:
    if "split" not in columns:
        return np.full(n, "", dtype=object)
    values = [str(v) for v in file.array(f"{TRIALS}/split")]
    return np.array([v if v in {"train", "val", "test"} else "" for v in values], dtype=object)
