"""Time stamps of a series: read, and held against what a recording of movement can be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError

if TYPE_CHECKING:
    from nwb_latents.pipeline.nwb.file import NwbFile
    from nwb_latents.pipeline.nwb.layouts.layout import Layout
    from nwb_latents.pipeline.signals.recording import FloatArray

OVERLAP_S = 0.1
"""Time stamps that fall by no more are stretches that overlap a little, and no reset of the clock."""

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
        if -steps.min() <= OVERLAP_S:
            return _without_overlaps(file, path, time)
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


def _without_overlaps(file: NwbFile, path: str, time: FloatArray) -> FloatArray:
    """Return time stamps in which those of stretches that overlap the one before repeat its end.

    Repeated stamps are dropped with their samples by whoever reads the series.
    """
    reach = np.maximum.accumulate(time)
    n_back = int((time < reach).sum())
    n_falls = int((np.diff(time) < 0).sum())
    file.say(
        f"/{path}/timestamps: {n_falls} stretches begin up to {float((reach - time).max()) * 1e3:.3g} ms "
        f"before the one above them ends; {n_back} samples there are dropped"
    )
    return np.asarray(reach)


def _standard_times(file: NwbFile, path: str, n_samples: int) -> FloatArray:
    file.require_link(f"{path}/timestamps")
    if file.has(f"{path}/timestamps"):
        if file.has(f"{path}/starting_time"):
            file.say(f"/{path} has both timestamps and a starting time; the timestamps are used")
        return _stamps(file, f"{path}/timestamps")
    if not file.has(f"{path}/starting_time"):
        raise DataError(f"{file.name}: {path} has neither timestamps nor starting_time. Mend the file.")
    rate = file.number(f"{path}/starting_time", "rate") or 0.0
    if not (rate > 0 and np.isfinite(rate)):
        raise DataError(
            f"{file.name}: {path}/starting_time has no positive rate (found {rate:g}). Mend the file."
        )
    start = float(file.array(f"{path}/starting_time").ravel()[0])
    if not np.isfinite(start):
        raise DataError(f"{file.name}: /{path}/starting_time is {start}; expected seconds. Mend the file.")
    return np.asarray(start + np.arange(n_samples) / rate)


def _stamps(file: NwbFile, path: str) -> FloatArray:
    """Return time stamps; those too coarse for their own step are put on an even grid, and that is said."""
    raw = file.array(path)
    if raw.dtype.kind not in "iuf":
        raise DataError(
            f"{file.name}: /{path} holds {raw.dtype}; expected seconds as numbers. Mend the file."
        )
    stamps = raw.reshape(-1) if raw.ndim == 2 and 1 in raw.shape else raw
    time = np.asarray(stamps, dtype=np.float64)
    if time.ndim != 1:
        raise DataError(f"{file.name}: /{path} has the shape {raw.shape}; expected one time a sample.")
    if raw.dtype.itemsize >= 8 or len(time) < 3 or not np.isfinite(time).all():
        return time
    grain = float(np.spacing(np.float32(np.abs(time).max()))) if raw.dtype.kind == "f" else 0.0
    step = (time[-1] - time[0]) / (len(time) - 1)
    even = time[0] + step * np.arange(len(time))
    if not 0 < step < 10 * grain or np.abs(time - even).max() > 2 * grain:
        return time
    file.say(
        f"/{path} is stored in single precision, {grain:.2g} s at a time, too coarse for steps of {step:.3g} "
        f"s; samples are taken as even, at {1 / step:.6g} Hz"
    )
    return np.asarray(even)


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
