"""Dandiset 000129: self-paced reaches to random targets, monkey Indy (O'Doherty, Sabes).

Of the Neural Latents Benchmark. The rows of the trial table are pieces of 600 ms, which are no reaches: a
reach begins where ``target_pos`` changes, and its target is its go cue. The test file has neither kinematics
nor targets; there the pieces are all there is.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.nwb.layouts.facts import lacking_series
from nwb_latents.pipeline.nwb.layouts.layout import Layout
from nwb_latents.pipeline.nwb.layouts.nlb_maze import benchmark_trials, is_benchmark, lacks_of_benchmark
from nwb_latents.pipeline.signals.recording import TrialTable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from nwb_latents.pipeline.nwb.file import NwbFile
    from nwb_latents.pipeline.signals.recording import BoolArray, FloatArray, IntArray

TARGET = "processing/behavior/target_pos"
VELOCITY = "processing/behavior/finger_vel"

LONGEST_STEP_S = 0.1
"""Targets are sampled at 1 kHz; a longer step is the end of a stretch of recording."""


def _is_random_target(file: NwbFile) -> bool:
    if not is_benchmark(file):
        return False
    return file.has(VELOCITY) or "self-paced random target" in (file.text("session_description") or "")


def _lacks(file: NwbFile) -> list[str]:
    # The test file has neither series.
    series = lacking_series(file, (TARGET,)) if file.has(VELOCITY) else []
    return [*lacks_of_benchmark(file), *series]


def _trials(file: NwbFile, events: Mapping[str, tuple[str, ...]]) -> TrialTable | None:
    if not (file.has(f"{TARGET}/data") and file.has(f"{TARGET}/timestamps")):
        return benchmark_trials(file, events)
    time = file.array(f"{TARGET}/timestamps").astype(np.float64)
    return reaches_between_targets(time, file.array(f"{TARGET}/data").astype(np.float64))


def reaches_between_targets(time: FloatArray, target: FloatArray) -> TrialTable:
    """Make a reach of every target that is shown while the recording runs, until the next one.

    Parameters
    ----------
    time
        Seconds, ascending. Shape ``(n_samples,)``.
    target
        Place of the target. Shape ``(n_samples, 2)``; NaN where there is none.

    Returns
    -------
    reaches
        Start, go cue and the time the target came on are the same. The first target of a stretch has no
        reach: when it came on is not recorded. Directions point from the target before.

    Examples
    --------
    >>> place = np.repeat([[0.0, 0.0], [5.0, 0.0], [5.0, 5.0]], 10, axis=0)
    >>> reaches_between_targets(np.arange(30) * 0.01, place).events["go_cue"]
    array([0.1, 0.2])
    """
    is_known: BoolArray = np.asarray(np.isfinite(target).all(axis=1))
    cuts = np.flatnonzero(np.diff(time) > LONGEST_STEP_S) + 1
    begins: list[IntArray] = []
    ends: list[IntArray] = []
    for first, end in pairwise([0, *cuts.tolist(), len(time)]):
        step: FloatArray = np.diff(target[first:end], axis=0)
        step = np.diff(target[first:end], axis=0)
        moved = np.flatnonzero((step != 0).any(axis=1)) + first + 1
        is_reach = is_known[moved] & is_known[moved - 1]
        begins.append(moved[is_reach])
        ends.append(np.append(moved[1:], end - 1)[is_reach])
    begin, until = np.concatenate(begins), np.concatenate(ends)
    heading = target[begin] - target[begin - 1]
    n = len(begin)
    nothing: NDArray[np.object_] = np.full(n, "", dtype=object)
    start = time[begin]
    return TrialTable(
        row=np.arange(n),
        events={"start": start, "stop": time[until], "go_cue": start, "target_on": start},
        success=np.ones(n, dtype=bool),
        valid=np.ones(n, dtype=bool),
        target_dir=np.arctan2(heading[:, 1], heading[:, 0]),
        condition=nothing,
        split=nothing.copy(),
    )


LAYOUT = Layout(
    name="000129",
    summary="self-paced reaches to random targets, Neural Latents Benchmark (000129)",
    recognises=_is_random_target,
    lacks=_lacks,
    known_by="columns split and heldout, and finger_vel or its description",
    position="processing/behavior/finger_pos",
    velocity=VELOCITY,
    needs_kinematics=False,
    unit="mm",
    n_axes=2,
    area_of=lambda _, ids: np.full(len(ids), "M1", dtype=object),
    trials=_trials,
    task=lambda _: "RTT",
    also_reads=(TARGET,),
)
