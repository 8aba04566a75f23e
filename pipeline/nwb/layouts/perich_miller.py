"""Dandiset 000688: centre-out and random-target reaching (Perich, Miller; monkeys C, J, M, T).

Cursor kinematics at 100 Hz in cm; result codes R, A, F, I; no movement onset; no observed intervals; areas
through the electrode groups. A random-target trial has up to four reaches, each with its own go cue and
target.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.nwb.layouts.facts import lacking_columns, lacking_groups, lacking_session
from nwb_latents.pipeline.nwb.layouts.layout import EVENT_COLUMNS, TRIALS, Layout, read_trial_table
from nwb_latents.pipeline.nwb.layouts.trial_table import column
from nwb_latents.pipeline.signals.recording import TrialTable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nwb_latents.pipeline.nwb.file import NwbFile
    from nwb_latents.pipeline.signals.recording import BoolArray, FloatArray

POSITION = "processing/behavior/Position/cursor_pos"
VELOCITY = "processing/behavior/Velocity/cursor_vel"

TARGET_TOLERANCE_RAD = np.pi / 8
"""Half the angle between two of eight targets."""

SHORTEST_S = 0.5
"""Shorter trials are none: the monkey left the centre at once."""

ATTEMPTS = 4
"""Targets of a random-target trial; one in which fewer were attempted was broken off."""

FEWEST_TARGETS = 4
"""The middle of fewer targets need not be the middle of the workspace."""


def _is_perich_miller(file: NwbFile) -> bool:
    columns = file.columns(TRIALS)
    has_go = "go_cue_time" in columns or "go_cue_time_array" in columns
    return file.has(POSITION) and file.has(VELOCITY) and "result" in columns and has_go


def _lacks(file: NwbFile) -> list[str]:
    if "go_cue_time_array" in file.columns(TRIALS):
        columns = lacking_columns(file, ("num_targets", "num_attempted"))
    else:
        columns = lacking_columns(file, ("target_on_time",), ("target_id",), ("target_dir", "target_corners"))
    return [
        *columns,
        *lacking_groups(file, r"electrode_group_\w+", "electrode_group_M1 or electrode_group_PMd"),
        *lacking_session(file, r"(CO|RT)-\d", "CO-20131003 or RT-20131004"),
    ]


def _trials(file: NwbFile, events: Mapping[str, tuple[str, ...]]) -> TrialTable | None:
    columns = file.columns(TRIALS)
    if "go_cue_time_array" not in columns:
        table = read_trial_table(file, events)
        if table is None:
            return None
        # The direction of the movement stands in where the file contradicts itself.
        direction = np.where(_contradicts(file, table), np.nan, table.target_dir)
        return replace(
            table, target_dir=direction, valid=table.valid & (_is_whole(file, table) | ~table.success)
        )
    return _random_target_reaches(file)


def _is_whole(file: NwbFile, table: TrialTable) -> BoolArray:
    """Whether a trial had a target and lasted long enough to be one, as the dandiset's own readers ask."""
    whole = np.ones(len(table), dtype=bool)
    target = column(file, "target_id")
    if target is not None and target.dtype.kind == "f" and target.ndim == 1:
        whole &= np.isfinite(target)
    duration = table.events["stop"] - table.events["start"]
    with np.errstate(invalid="ignore"):
        whole &= ~(duration < SHORTEST_S)
    return whole


def _contradicts(file: NwbFile, table: TrialTable) -> BoolArray:
    """Whether the direction of the target is not that of its corners, seen from the middle of all targets."""
    corners = column(file, "target_corners")
    if corners is None or corners.ndim != 2 or corners.shape[1] != 4:
        return np.zeros(len(table), dtype=bool)
    edges: FloatArray = corners.astype(np.float64)
    place = (edges[:, :2] + edges[:, 2:]) / 2
    different = np.unique(place[np.isfinite(place).all(axis=1)].round(3), axis=0)
    if len(different) < FEWEST_TARGETS:
        return np.zeros(len(table), dtype=bool)
    away = place - (different.min(axis=0) + different.max(axis=0)) / 2
    angle = np.arctan2(away[:, 1], away[:, 0]) - table.target_dir
    return np.asarray(np.abs(np.angle(np.exp(1j * angle))) > TARGET_TOLERANCE_RAD)


def _checks(file: NwbFile, _trials: TrialTable | None) -> list[str]:
    if "go_cue_time_array" in file.columns(TRIALS) or column(file, "target_corners") is None:
        return []
    table = read_trial_table(file, LAYOUT.events)
    wrong = int(_contradicts(file, table).sum()) if table is not None else 0
    if not wrong:
        return []
    return [
        f"target_dir and target_corners disagree in {wrong} trials; the direction of movement is used there"
    ]


def _random_target_reaches(file: NwbFile) -> TrialTable:
    """Make each reach of a random-target trial a row, from its go cue to the next or to the end."""
    go = file.array(f"{TRIALS}/go_cue_time_array").astype(np.float64)
    go = go.reshape(len(go), -1)
    stop = file.array(f"{TRIALS}/stop_time").astype(np.float64)
    result = np.array([str(r).strip().upper() for r in file.array(f"{TRIALS}/result")])
    following = np.column_stack([go[:, 1:], stop[:, None]])
    until = np.where(np.isfinite(following), following, stop[:, None])
    trial, reach = np.nonzero(np.isfinite(go))
    n = len(trial)
    direction = np.full(n, np.nan)
    if "target_dir" in file.columns(TRIALS):
        given = file.array(f"{TRIALS}/target_dir").astype(np.float64)
        if given.shape == go.shape:
            direction = given[trial, reach]
    start = go[trial, reach]
    return TrialTable(
        row=trial * go.shape[1] + reach,
        events={"start": start, "stop": until[trial, reach], "go_cue": start, "target_on": start},
        success=result[trial] == "R",
        valid=_all_attempted(file, len(go))[trial],
        target_dir=direction,
        condition=np.full(n, "", dtype=object),
        split=np.full(n, "", dtype=object),
    )


def _all_attempted(file: NwbFile, n_trials: int) -> BoolArray:
    attempts = column(file, "num_attempted")
    if attempts is None or attempts.dtype.kind != "f" or attempts.ndim != 1:
        return np.ones(n_trials, dtype=bool)
    return np.asarray(attempts == ATTEMPTS)


def _task(file: NwbFile) -> str:
    return "RT" if "go_cue_time_array" in file.columns(TRIALS) else "CO"


LAYOUT = Layout(
    name="000688",
    summary="centre-out and random-target reaching, Perich & Miller (000688)",
    recognises=_is_perich_miller,
    lacks=_lacks,
    known_by="cursor_pos and cursor_vel, result and targets of its trial table, electrode groups, session id",
    position=POSITION,
    velocity=VELOCITY,
    events={**EVENT_COLUMNS, "move_onset": ()},
    trials=_trials,
    task=_task,
    checks=_checks,
)
