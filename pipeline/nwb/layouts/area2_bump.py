"""Dandiset 000127: centre-out reaches with bumps, area 2, monkey Han (Chowdhury, Miller).

Of the Neural Latents Benchmark. In part of the trials the handle bumps the hand while it waits at the centre;
``move_onset_time`` of those is around the bump, before the go cue. Directions are in degrees. The test file
lacks kinematics and most columns.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.nwb.layouts.layout import TRIALS, Layout
from nwb_latents.pipeline.nwb.layouts.nlb_maze import benchmark_trials, is_benchmark, lacks_of_benchmark
from nwb_latents.pipeline.nwb.layouts.trial_table import column

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nwb_latents.pipeline.nwb.file import NwbFile
    from nwb_latents.pipeline.signals.recording import TrialTable


def _is_area2_bump(file: NwbFile) -> bool:
    if not is_benchmark(file):
        return False
    # The test file has none of the columns that tell.
    return "ctr_hold_bump" in file.columns(TRIALS) or "active-passive" in (
        file.text("session_description") or ""
    )


def _trials(file: NwbFile, events: Mapping[str, tuple[str, ...]]) -> TrialTable | None:
    table = benchmark_trials(file, events)
    bumped, bump, target = (column(file, c) for c in ("ctr_hold_bump", "bump_dir", "target_dir"))
    if table is None or bumped is None or bump is None or target is None:
        return table
    is_passive = bumped.astype(bool)
    degrees = np.where(is_passive, bump.astype(np.float64), target.astype(np.float64))
    condition = [
        f"{'passive' if passive else 'active'}-{angle:g}" if np.isfinite(angle) else ""
        for passive, angle in zip(is_passive, degrees, strict=True)
    ]
    return replace(table, target_dir=np.deg2rad(degrees), condition=np.array(condition, dtype=object))


LAYOUT = Layout(
    name="000127",
    summary="centre-out reaches with bumps, area 2, Neural Latents Benchmark (000127)",
    recognises=_is_area2_bump,
    lacks=lacks_of_benchmark,
    known_by="columns split and heldout, and ctr_hold_bump or its description",
    position="processing/behavior/hand_pos",
    velocity="processing/behavior/hand_vel",
    needs_kinematics=False,
    unit="cm",
    n_axes=2,
    area_of=lambda _, ids: np.full(len(ids), "area2", dtype=object),
    trials=_trials,
    task=lambda _: "bump",
)
