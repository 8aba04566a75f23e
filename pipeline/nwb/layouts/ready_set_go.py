"""Dandiset 000130: time intervals, ready-set-go, DMFC, monkey Haydn (Sohn, Jazayeri).

Of the Neural Latents Benchmark. No behaviour is recorded but the time of the response, by eye or by hand: it
stands for movement onset. The last cue, *set*, stands for the go cue. The test file has the response only.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.nwb.layouts.facts import lacking_columns
from nwb_latents.pipeline.nwb.layouts.layout import EVENT_COLUMNS, TRIALS, Layout
from nwb_latents.pipeline.nwb.layouts.nlb_maze import benchmark_trials, is_benchmark, lacks_of_benchmark
from nwb_latents.pipeline.nwb.layouts.trial_table import column, join_columns

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nwb_latents.pipeline.nwb.file import NwbFile
    from nwb_latents.pipeline.signals.recording import TrialTable


def _is_ready_set_go(file: NwbFile) -> bool:
    return is_benchmark(file) and "go_time" in file.columns(TRIALS)


def _lacks(file: NwbFile) -> list[str]:
    # In other files go_time may be the go cue; here it is the response, and the test file says no more.
    columns = lacking_columns(file, ("set_time", "ts")) if file.has("processing/behavior") else []
    return [*lacks_of_benchmark(file), *columns]


def _trials(file: NwbFile, events: Mapping[str, tuple[str, ...]]) -> TrialTable | None:
    table = benchmark_trials(file, events)
    if table is None:
        return None
    failed, outlier, theta = (column(file, c) for c in ("bad_time", "is_outlier", "theta"))
    if failed is not None:
        table = replace(table, success=table.success & ~np.isfinite(failed.astype(np.float64)))
    if outlier is not None:
        table = replace(table, valid=table.valid & ~outlier.astype(bool))
    if theta is not None:
        table = replace(table, target_dir=np.deg2rad(theta.astype(np.float64)))
    by_eye, short, interval = (column(file, c) for c in ("is_eye", "is_short", "ts"))
    if by_eye is not None and short is not None and interval is not None and theta is not None:
        effector = np.where(by_eye.astype(bool), "eye", "hand").astype(object)
        prior = np.where(short.astype(bool), "short", "long").astype(object)
        table = replace(table, condition=join_columns([effector, prior, interval, theta]))
    return table


LAYOUT = Layout(
    name="000130",
    summary="ready-set-go, no kinematics, Neural Latents Benchmark (000130)",
    recognises=_is_ready_set_go,
    lacks=_lacks,
    known_by="columns split, heldout and go_time, and no behaviour but the response",
    finds_series=False,
    needs_kinematics=False,
    area_of=lambda _, ids: np.full(len(ids), "DMFC", dtype=object),
    events={**EVENT_COLUMNS, "go_cue": ("set_time",), "move_onset": ("go_time",)},
    trials=_trials,
    task=lambda _: "RSG",
    notes=("no kinematics were recorded: there is no velocity to decode",),
)
