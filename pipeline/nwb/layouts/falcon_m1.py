"""Dandiset 000941: reach to grasp with EMG, M1, monkey L (Rouse, Schieber; FALCON benchmark).

Muscle activity, no kinematics. Values at a time stamp belong to the 20 ms bin that ends there, and so does
``eval_mask``. Each part of the benchmark is published as a subject of its own: the suffix becomes ``desc-``.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.nwb.layouts.facts import lacking_columns, lacking_series
from nwb_latents.pipeline.nwb.layouts.layout import EVENT_COLUMNS, Layout, read_trial_table
from nwb_latents.pipeline.nwb.layouts.trial_table import column, in_radians

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nwb_latents.pipeline.nwb.file import NwbFile
    from nwb_latents.pipeline.signals.recording import TrialTable


def _trials(file: NwbFile, events: Mapping[str, tuple[str, ...]]) -> TrialTable | None:
    table = read_trial_table(file, events)
    place = column(file, "tgt_loc")
    if table is None or place is None or place.ndim != 1 or place.dtype.kind == "O":
        return table
    return replace(table, target_dir=in_radians(place.astype(np.float64)))


LAYOUT = Layout(
    name="000941",
    summary="reach to grasp with EMG, FALCON M1 (000941)",
    recognises=lambda file: file.has("acquisition/preprocessed_emg"),
    lacks=lambda file: [
        *lacking_series(file, ("acquisition/eval_mask",)),
        *lacking_columns(file, ("gocue_time",)),
    ],
    known_by="preprocessed_emg and eval_mask, gocue_time",
    finds_series=False,
    needs_kinematics=False,
    stamps="bin_end",
    mask="acquisition/eval_mask",
    area_of=lambda _, ids: np.full(len(ids), "M1", dtype=object),
    events={**EVENT_COLUMNS, "go_cue": ("gocue_time",)},
    trials=_trials,
    task=lambda _: "reach_to_grasp",
    notes=("muscle activity was recorded, no kinematics: there is no velocity to decode",),
)
