"""Dandiset 000954: attempted reach and grasp in seven dimensions, a person with implants (FALCON benchmark).

``rate`` of the kinematics holds the step of 20 ms in place of the rate, and ``offset`` the time of the first
sample; bins end at their time stamp. There is no trial table: a trial is a run of one number in ``TrialNum``.
Units of the kinematics are arbitrary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.nwb.layouts.facts import lacking_series
from nwb_latents.pipeline.nwb.layouts.layout import Layout
from nwb_latents.pipeline.signals.recording import TrialTable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from nwb_latents.pipeline.nwb.file import NwbFile
    from nwb_latents.pipeline.signals.recording import FloatArray

POSITION = "acquisition/OpenLoopKinematics"
TRIAL_NUMBER = "acquisition/TrialNum"


def bin_ends(file: NwbFile, path: str, n_samples: int) -> FloatArray:
    """Return the end of each bin; the clock of the kinematics is that of all series.

    Parameters
    ----------
    file
        The open file.
    path
        A series; its own clock is used only if it has explicit time stamps.
    n_samples
        Number of its samples.

    Returns
    -------
    time
        Seconds. Shape ``(n_samples,)``.

    Raises
    ------
    DataError
        If the file states no rate.
    """
    if file.has(f"{path}/timestamps"):
        return np.asarray(file.array(f"{path}/timestamps"), dtype=np.float64)
    rate = float(file.attribute(f"{POSITION}/starting_time", "rate") or 0.0)
    if not rate > 0:
        raise DataError(f"{file.name}: {POSITION}/starting_time has no positive rate. Mend the file.")
    start = float(file.attribute(f"{POSITION}/data", "offset") or 0.0)
    # No kinematics are sampled below 1 Hz: a smaller number is the step.
    step = rate if rate < 1 else 1 / rate
    return np.asarray(start + np.arange(n_samples) * step)


def _trials(file: NwbFile, _events: Mapping[str, tuple[str, ...]]) -> TrialTable | None:
    if not file.has(f"{TRIAL_NUMBER}/data"):
        return None
    number = file.array(f"{TRIAL_NUMBER}/data").ravel().astype(np.float64)
    end = bin_ends(file, TRIAL_NUMBER, len(number))
    if len(end) < 2:
        return None
    step = float(np.median(np.diff(end)))
    first = np.flatnonzero(np.concatenate([[True], np.diff(number) != 0]))
    last = np.append(first[1:], len(number)) - 1
    n = len(first)
    nothing: NDArray[np.object_] = np.full(n, "", dtype=object)
    return TrialTable(
        row=np.arange(n),
        events={"start": end[first] - step, "stop": end[last]},
        success=np.ones(n, dtype=bool),
        valid=np.isfinite(number[first]),
        target_dir=np.full(n, np.nan),
        condition=nothing,
        split=nothing.copy(),
    )


LAYOUT = Layout(
    name="000954",
    summary="attempted reach and grasp in seven dimensions, FALCON H1 (000954)",
    recognises=lambda file: file.has(POSITION),
    lacks=lambda file: lacking_series(
        file, (TRIAL_NUMBER,), ("acquisition/eval_mask", "acquisition/Blacklist")
    ),
    known_by="OpenLoopKinematics, TrialNum, and eval_mask or Blacklist",
    position=POSITION,
    velocity="acquisition/OpenLoopKinematicsVelocity",
    unit="au",
    axes=("tx", "ty", "tz", "rx", "g1", "g2", "g3"),
    stamps="bin_end",
    times=bin_ends,
    mask="acquisition/eval_mask",
    inverse_mask="acquisition/Blacklist",
    area_of=lambda _, ids: np.full(len(ids), "M1", dtype=object),
    trials=_trials,
    task=lambda _: "reach_grasp_7dof",
    notes=("units are arbitrary, not cm and cm/s: align to trial_start, or set onset.min_peak_cm_s",),
    also_reads=(TRIAL_NUMBER,),
)
