"""The reading of ``/intervals/trials`` that all layouts share: canonical names for published columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.signals.recording import BoolArray, FloatArray, TrialTable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from nwb_latents.pipeline.nwb.file import NwbFile

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


def read_trial_table(
    file: NwbFile, events: Mapping[str, tuple[str, ...]], *, edges_suffice: bool = False
) -> TrialTable | None:
    """Read ``/intervals/trials`` under canonical event names.

    Parameters
    ----------
    file
        The open file.
    events
        Canonical event → column names, in order of preference.
    edges_suffice
        Whether a table with nothing but starts and stops counts as one.

    Returns
    -------
    trials
        One row per row of the table; None where the file has no table, or one without a single event beside
        start and stop, which says nothing about movements.
    """
    columns = file.columns(TRIALS)
    n = n_rows(file, TRIALS)
    if not n:
        return None
    found: dict[str, FloatArray] = {}
    for event, names in events.items():
        name = next((c for c in names if c in columns and file.shape(f"{TRIALS}/{c}") == (n,)), None)
        if name is not None:
            found[event] = file.array(f"{TRIALS}/{name}").astype(np.float64)
    if "start" not in found or "stop" not in found:
        return None
    if not edges_suffice and not set(found) - {"start", "stop"}:
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


def n_rows(file: NwbFile, table: str) -> int:
    """Return the number of rows of a table; 0 where there is none."""
    shape = file.shape(f"{table}/id")
    return shape[0] if shape else 0


def column(file: NwbFile, name: str) -> NDArray[np.generic] | None:
    """Return a column of the trial table, or None where the table lacks it.

    Only columns of one entry per trial are returned; further dimensions may follow.
    """
    if name not in file.columns(TRIALS):
        return None
    shape = file.shape(f"{TRIALS}/{name}")
    if not shape or shape[0] != n_rows(file, TRIALS):
        return None
    values: NDArray[np.generic] = file.array(f"{TRIALS}/{name}")
    return values


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
    if file.shape(f"{TRIALS}/target_dir") != (n,):
        return out
    return in_radians(file.array(f"{TRIALS}/target_dir").astype(np.float64))


def in_radians(angles: FloatArray) -> FloatArray:
    """Return angles in radians; those that go beyond a full turn as radians are degrees.

    Examples
    --------
    >>> in_radians(np.array([0.0, 180.0])).round(2).tolist(), in_radians(np.array([0.0, 3.1])).tolist()
    ([0.0, 3.14], [0.0, 3.1])
    """
    finite = angles[np.isfinite(angles)]
    if len(finite) and np.abs(finite).max() > 2 * np.pi + 1e-6:
        return np.asarray(np.deg2rad(angles))
    return angles


def _conditions(file: NwbFile, columns: list[str], n: int) -> NDArray[np.object_]:
    for names in CONDITION_COLUMNS:
        if all(c in columns and file.shape(f"{TRIALS}/{c}") == (n,) for c in names):
            return join_columns([file.array(f"{TRIALS}/{c}") for c in names])
    return np.full(n, "", dtype=object)


def join_columns(columns: list[NDArray[np.generic]]) -> NDArray[np.object_]:
    """Return a name for each combination of values; empty where a value is missing.

    Examples
    --------
    >>> join_columns([np.array(["a", "b"], dtype=object), np.array([1.0, np.nan])]).tolist()
    ['a-1', '']
    """
    out = np.full(len(columns[0]), "", dtype=object)
    for i, row in enumerate(zip(*columns, strict=True)):
        if all(isinstance(v, str) or np.isfinite(v) for v in row):
            out[i] = "-".join(v if isinstance(v, str) else f"{float(v):g}" for v in row)
    return out


def _splits(file: NwbFile, columns: list[str], n: int) -> NDArray[np.object_]:
    if "split" not in columns:
        return np.full(n, "", dtype=object)
    values = [str(v) for v in file.array(f"{TRIALS}/split")]
    return np.array([v if v in {"train", "val", "test"} else "" for v in values], dtype=object)
