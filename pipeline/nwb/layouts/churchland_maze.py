"""Dandiset 000070: mazes, monkeys Jenkins and Nitschke (Churchland, Kaufman, Shenoy).

Threshold crossings of 192 channels; kinematics within trials only, sampled at 1 kHz, in millimetres, although
the files say neither (``conversion`` is NaN); movement onsets are stored. In some sessions the
clock is reset.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.nwb.layouts.facts import lacking_columns, lacking_groups
from nwb_latents.pipeline.nwb.layouts.layout import EVENT_COLUMNS, TRIALS, Layout, read_trial_table
from nwb_latents.pipeline.nwb.layouts.trial_table import column

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nwb_latents.pipeline.nwb.file import NwbFile
    from nwb_latents.pipeline.signals.recording import TrialTable

POSITION = "processing/behavior/Position/Hand"


def _is_churchland_maze(file: NwbFile) -> bool:
    columns = set(file.columns(TRIALS))
    return file.has(POSITION) and {"move_begins_time", "discard_trial", "task_success"} <= columns


def _lacks(file: NwbFile) -> list[str]:
    return [
        *lacking_columns(
            file,
            ("target_presentation_time",),
            ("move_ends_time",),
            ("trial_type",),
        ),
        *lacking_groups(file, "[12]", "1 and 2"),
    ]


def _trials(file: NwbFile, events: Mapping[str, tuple[str, ...]]) -> TrialTable | None:
    """Read the table; directions from the target that was hit.

    ``target_positions`` is stored as uint8 in some sessions and cannot hold what lies left of or below the
    centre; ``hit_target_position`` is int16.
    """
    table = read_trial_table(file, events)
    hit = column(file, "hit_target_position")
    if table is None or hit is None or hit.ndim != 2 or hit.dtype.kind == "u":
        return table
    place = hit.astype(np.float64)
    direction = np.arctan2(place[:, 1], place[:, 0])
    direction[(place == 0).all(axis=1)] = np.nan
    return replace(table, target_dir=direction)


LAYOUT = Layout(
    name="000070",
    summary="mazes, Churchland, Kaufman & Shenoy (000070)",
    recognises=_is_churchland_maze,
    lacks=_lacks,
    known_by="Position/Hand, discard_trial, task_success, times of target and movement, groups 1 and 2",
    position=POSITION,
    unit="mm",
    n_axes=2,
    areas={"1": "PMd", "2": "M1"},
    events={**EVENT_COLUMNS, "move_onset": ("move_begins_time",)},
    trials=_trials,
    task=lambda _: "maze",
    has_clock_resets=True,
)
