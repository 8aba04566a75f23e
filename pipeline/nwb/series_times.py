"""Time stamps of a series: read, and held against what a recording of movement can be."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.nwb.plain_words import array_words, shape_words, value_words

if TYPE_CHECKING:
    from nwb_latents.pipeline.nwb.file import NwbFile
    from nwb_latents.pipeline.nwb.layouts.layout import Layout
    from nwb_latents.pipeline.signals.recording import FloatArray

OVERLAP_S = 0.1
"""Time stamps that fall by no more are stretches that overlap a little, and no reset of the clock."""

SLOWEST_STEP_S = 0.5
"""A series sampled more slowly shows no reach; its rate or the unit of its time stamps is wrong."""

USUAL_STEPS_S = (2e-4, 0.2)
"""Steps of what tracks a hand, 5 Hz to 5 kHz, to tell the unit of time stamps by."""

MOST_FALLS = 0.1
"""Where a larger share of steps goes backwards, no clock was reset: the stamps are in no order."""

FASTEST_STEP_S = 1e-5
"""No tracker or handle is sampled faster than 100 kHz."""

_BLOCK = 1 << 14
"""Stamps looked at together."""


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
            f"{file.name}: /{path}: expected as many time stamps as samples ({n_samples}), found "
            f"{len(time)}. Write one for each sample, name another series with --set position_series=PATH "
            "or --set velocity_series=PATH, or leave the session out."
        )
    steps = _steps_of(time)
    if not steps.is_finite:
        first = int(np.flatnonzero(~np.isfinite(time))[0])
        raise DataError(
            f"{file.name}: /{path}/timestamps holds {int((~np.isfinite(time)).sum())} values that are not "
            f"finite, the first at sample {first} of {len(time)}. Mend the file or leave the session out."
        )
    _require_steps(file, path, time, steps)
    if steps.n_falls and not layout.has_clock_resets:
        if -steps.least <= OVERLAP_S:
            return _without_overlaps(file, path, time)
        first = int(np.flatnonzero(np.diff(time) < 0)[0])
        raise DataError(
            f"{file.name}: /{path}/timestamps run backwards at sample {first + 1} ({time[first]:.4f} s is "
            f"followed by {time[first + 1]:.4f} s): the clock was reset. Split the session there or leave it "
            "out."
        )
    _require_plausible(file, path, time, steps)
    if layout.stamps == "sample" or len(time) < 2:
        return time
    between = np.diff(time)
    half = float(np.median(between[between > 0])) / 2
    return time + (half if layout.stamps == "bin_start" else -half)


class _Steps(NamedTuple):
    """Steps between time stamps: the least and the largest, s, and how many fall or are none.

    Of fewer than two stamps, or ones that are not finite, the first two are infinite.
    """

    least: float
    most: float
    n_falls: int
    n_stands: int
    is_finite: bool


def _steps_of(time: FloatArray) -> _Steps:
    """Look at all steps once, in blocks that stay in the cache: a long session has ten million."""
    least, most, n_falls, n_stands = np.inf, -np.inf, 0, 0
    for lo in range(0, len(time), _BLOCK):
        part = time[lo : lo + _BLOCK + 1]
        if not np.isfinite(part).all():
            return _Steps(np.inf, -np.inf, 0, 0, is_finite=False)
        steps = part[1:] - part[:-1]
        if not len(steps):
            continue
        lowest, highest = float(steps.min()), float(steps.max())
        least, most = min(least, lowest), max(most, highest)
        if lowest <= 0:
            n_falls += int(np.count_nonzero(steps < 0))
            n_stands += int(np.count_nonzero(steps == 0))
    return _Steps(least, most, n_falls, n_stands, is_finite=True)


def _require_steps(file: NwbFile, path: str, time: FloatArray, steps: _Steps) -> None:
    """Refuse time stamps that stand still, fall throughout, or are in no order."""
    if len(time) < 10:
        return
    where = f"{file.name}: /{path}/timestamps"
    falls, stands = (n / (len(time) - 1) for n in (steps.n_falls, steps.n_stands))
    if stands == 1.0:
        raise DataError(
            f"{where}: all {len(time)} time stamps are {time[0]:g} s, so that the time of no sample is "
            "known. Write them again, or a starting_time with a rate in their place."
        )
    if falls > 0.9:
        raise DataError(
            f"{where} run backwards throughout, from {time[0]:g} to {time[-1]:g} s. If the samples are in "
            "order, write the stamps the other way round; if they are not, turn both."
        )
    if falls > MOST_FALLS:
        raise DataError(
            f"{where} are in no order: {falls:.0%} of the steps go backwards. Sort the stamps together "
            "with their samples, or write a starting_time with a rate in their place."
        )
    if stands > 0.5 and bool((time == np.round(time)).all()):
        different = len(np.unique(time))
        raise DataError(
            f"{where} hold whole seconds alone: {len(time)} samples have {different} different times. "
            "Write them with their fractions, or a starting_time with a rate in their place."
        )


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
        raise DataError(
            f"{file.name}: /{path} has neither timestamps nor starting_time, so that the time of its "
            "samples is unknown. Write one of them, or name another series with --set position_series=PATH "
            "or --set velocity_series=PATH."
        )
    given = file.attribute(f"{path}/starting_time", "rate")
    rate = given if isinstance(given, int | float | np.number) else 0.0
    if not (rate > 0 and np.isfinite(rate)):
        there = "none" if given is None else value_words(given)
        raise DataError(
            f"{file.name}: /{path}/starting_time has no positive rate (found {there}), so that the time of "
            "its samples is unknown. Write the attribute rate in Hz, or name another series with --set "
            "position_series=PATH or --set velocity_series=PATH."
        )
    first = file.array(f"{path}/starting_time").ravel()[:1]
    start = float(first[0]) if len(first) and first.dtype.kind in "iuf" else float("nan")
    if not np.isfinite(start):
        raise DataError(
            f"{file.name}: /{path}/starting_time is {value_words(first)}; expected seconds. Write the time "
            "of the first sample."
        )
    return np.asarray(start + np.arange(n_samples) / float(rate))


def _stamps(file: NwbFile, path: str) -> FloatArray:
    """Return time stamps; those too coarse for their own step are put on an even grid, and that is said."""
    raw = file.array(path)
    if raw.dtype.kind not in "iuf":
        raise DataError(
            f"{file.name}: /{path} holds {array_words(raw)}; expected seconds as numbers. Write them as "
            "numbers."
        )
    stamps = raw.reshape(-1) if raw.ndim >= 2 and max(raw.shape) == raw.size else raw
    time = np.asarray(stamps, dtype=np.float64)
    if time.ndim != 1:
        raise DataError(
            f"{file.name}: /{path} holds {shape_words(raw.shape)}; expected one time a sample. Write one "
            "time for each."
        )
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


def _require_plausible(file: NwbFile, path: str, time: FloatArray, steps: _Steps) -> None:
    if FASTEST_STEP_S <= steps.least <= steps.most <= SLOWEST_STEP_S:
        return
    ascending = np.diff(time)
    ascending = ascending[ascending > 0]
    if not len(ascending):
        return
    step = float(np.median(ascending))
    if FASTEST_STEP_S <= step <= SLOWEST_STEP_S:
        return
    rate = file.number(f"{path}/starting_time", "rate") if not file.has(f"{path}/timestamps") else None
    if rate is not None:
        why = f"its rate is {rate:g} Hz"
        if FASTEST_STEP_S <= rate <= SLOWEST_STEP_S:
            why += "; where a file states the step in place of the rate, the two are inverses"
            why += f": write {1 / rate:g}"
    else:
        why = _other_unit(file, time, step)
    raise DataError(
        f"{file.name}: /{path}: one sample every {step:g} s cannot be a recorded movement (expected "
        f"{FASTEST_STEP_S:g} to {SLOWEST_STEP_S:g} s); {why}. Mend the file, name another series with --set "
        "position_series=PATH, or write a layout adapter (CONTRIBUTING.md)."
    )


def _other_unit(file: NwbFile, time: FloatArray, step: float) -> str:
    """Say which unit time stamps that are no seconds have, by their step and by the times of the trials."""
    span = float(time.max() - time.min())
    start, stop = (_times_of_trials(file, name) for name in ("start_time", "stop_time"))
    trials_s = float(stop.max() - start.min()) if len(start) and len(stop) else None

    def fits(factor: float) -> bool:
        # Trials lie within the recording, and fill some of it.
        is_step = USUAL_STEPS_S[0] <= step * factor <= USUAL_STEPS_S[1]
        return is_step and (trials_s is None or 0.2 * span * factor <= trials_s <= 1.2 * span * factor)

    known = {"ms": 1e-3, "µs": 1e-6, "ns": 1e-9, "minutes": 60.0}
    if step == 1.0 and bool((time == np.round(time)).all()):
        text = "its time stamps count samples: divide them by the sampling rate"
        return text + (f", which is about {span / trials_s:.3g} Hz by the trials" if trials_s else "")
    found = [(unit, factor) for unit, factor in known.items() if fits(factor)]
    if not found:
        return "its time stamps may be in another unit than seconds"
    unit, factor = found[0]
    return f"its time stamps may be in another unit than seconds: they fit as {unit}, times {factor:g}"


def _times_of_trials(file: NwbFile, name: str) -> FloatArray:
    path = f"{file.trials_path}/{name}"
    values = file.array(path) if file.shape(path) else np.zeros(0)
    if values.dtype.kind not in "iuf":
        return np.zeros(0)
    flat = values.astype(np.float64).ravel()
    return flat[np.isfinite(flat)]
