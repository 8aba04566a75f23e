"""Dandiset 000953: movements of two finger groups, M1, monkey N (Nason, Mender, Chestek; FALCON benchmark).

Positions run from 0 to 1 over the range of movement and velocities are per bin of 20 ms; both are read as
percent of the range, per second. Values belong to the bin that begins at their time stamp. Targets come on at
the start of a trial, which is its go cue.
"""

from __future__ import annotations

import numpy as np

from nwb_latents.pipeline.nwb.layouts.facts import lacking_columns, lacking_series
from nwb_latents.pipeline.nwb.layouts.layout import EVENT_COLUMNS, Layout

FINGERS = ("index", "mrs")
BINS_PER_S = 50.0

LAYOUT = Layout(
    name="000953",
    summary="movements of two finger groups, FALCON M2 (000953)",
    recognises=lambda file: file.has("acquisition/finger_vel/index"),
    lacks=lambda file: [
        *lacking_series(file, ("acquisition/eval_mask",), ("acquisition/finger_vel/mrs",)),
        *lacking_columns(file, ("tgt_loc",)),
    ],
    known_by="finger_vel/index and finger_vel/mrs, eval_mask, tgt_loc",
    position=tuple(f"acquisition/finger_pos/{finger}" for finger in FINGERS),
    velocity=tuple(f"acquisition/finger_vel/{finger}" for finger in FINGERS),
    unit="range",
    velocity_per_s=BINS_PER_S,
    axes=FINGERS,
    stamps="bin_start",
    mask="acquisition/eval_mask",
    area_of=lambda _, ids: np.full(len(ids), "M1", dtype=object),
    events={**EVENT_COLUMNS, "go_cue": ("start_time",), "target_on": ("start_time",)},
    task=lambda _: "finger",
    notes=("positions are percent of the range of movement and velocities percent per second, not cm",),
)
