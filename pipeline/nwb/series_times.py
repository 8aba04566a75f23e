"""Time stamps of a series: read, and held against what a recording of movement can be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError

if TYPE_CHECKING:
    from nwb_latents.pipeline.nwb.file import NwbFile
    from nwb_latents.pipeline.nwb.layouts.layout import Layout
    from nwb_latents.pipeline.signals.recording import FloatArray

SLOWEST_STEP_S = 0.5
"""A series sampled more slowly shows no reach; its rate or the unit of its time stamps is wrong."""

FASTEST_STEP_S = 1e-5
"""No tracker or handle is sampled faster than 100 kHz."""


def read_times(file: NwbFile, path: str, *, n_samples: int, layout: Layout) -> FloatArray:
    """Read the times of the samples of a series.

    Parameters
    ----------
    file
        The open file.
    path
        Path of the series.
    n_samples
        Number of its samples.
    layout
        Says what the stamps mean and whether the clock may be reset.

    Returns
    -------
    time
        Seconds, finite; the middle of the bin where stamps are the start or end of one. Shape
        ``(n_samples,)``.

    Raises
    ------
    DataError
        If there are none, as many as samples are not there, one is not finite, they run backwards, or their
        step cannot be that of a recorded movement.
    """
    read = layout.times or _standard_times
    time = read(file, path, n_samples)
    if len(time) != n_samples:
        raise DataError(
            f"{file.name}: {path}: expected as many time stamps as samples ({n_samples}), found {len(time)}. "
            "Mend the file or leave the session out."
        )
    if not np.isfinite(time).all():
        first = int(np.flatnonzero(~np.isfinite(time))[0])
        raise DataError(
            f"{file.name}: {path}/timestamps holds {int((~np.isfinite(time)).sum())} values that are not "
            f"finite, the first at sample {first} of {len(time)}. Mend the file or leave the session out."
        )
    steps = np.diff(time)
    if (steps < 0).any() and not layout.has_clock_resets:
        first = int(np.flatnonzero(steps < 0)[0])
        raise DataError(
            f"{file.name}: {path}/timestamps run backwards at sample {first + 1} ({time[first]:.4f} s is "
            f"followed by {time[first + 1]:.4f} s): the clock was reset. Split the session there or leave it "
            "out."
        )
    _require_plausible(file, path, steps)
    if layout.stamps == "sample" or not len(steps):
        return time
    half = float(np.median(steps[steps > 0])) / 2
    return time + (half if layout.stamps == "bin_start" else -half)


def _standard_times(file: NwbFile, path: str, n_samples: int) -> FloatArray:
    if file.has(f"{path}/timestamps"):
        return np.asarray(file.array(f"{path}/timestamps"), dtype=np.float64)
    if not file.has(f"{path}/starting_time"):
        raise DataError(f"{file.name}: {path} has neither timestamps nor starting_time. Mend the file.")
    rate = float(file.attribute(f"{path}/starting_time", "rate") or 0.0)
    if not rate > 0:
        raise DataError(f"{file.name}: {path}/starting_time has no positive rate. Mend the file.")
    start = float(file.array(f"{path}/starting_time").ravel()[0])
    return np.asarray(start + np.arange(n_samples) / rate)


def _require_plausible(file: NwbFile, path: str, steps: FloatArray) -> None:
    if len(steps) and steps.min() >= FASTEST_STEP_S and steps.max() <= SLOWEST_STEP_S:
        return
    ascending = steps[steps > 0]
    if not len(ascending):
        return
    step = float(np.median(ascending))
    if FASTEST_STEP_S <= step <= SLOWEST_STEP_S:
        return
    rate = file.attribute(f"{path}/starting_time", "rate")
    if rate is not None:
        why = (
            f"its rate is {float(rate):g} Hz; where a file states the step in place of the rate, the two are "
        )
        why += "inverses"
    else:
        why = "its time stamps may be in another unit than seconds"
    raise DataError(
        f"{file.name}: {path}: one sample every {step:g} s cannot be a recorded movement (expected "
        f"{FASTEST_STEP_S:g} to {SLOWEST_STEP_S:g} s); {why}. Mend the file, name another series with --set "
        "position_series=PATH, or write a layout adapter (CONTRIBUTING.md)."
    )
