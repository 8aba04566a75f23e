"""How movements rise and fall: when the speed of each crosses shares of its peak.

Slow drift of the hand or of its tracking is the median velocity of the hold before the go cue, taken off
first. What all movements of a session share (finite samples, gaps, bounds of windows, holds of one length) is
looked at once for all of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter1d

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nwb_latents.pipeline.signals.recording import BoolArray, FloatArray, IntArray, Series

UP = np.array([0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
"""Shares of the peak whose crossings are timed on the way up."""

SURE = 2
"""The first of them that every movement has to cross; lower ones count where they stand out of the noise."""

OUT_OF_NOISE = 5.0
"""Shares below so many standard deviations of the hold are not timed."""

DOWN = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3])
"""Likewise on the way down."""

MAJOR_PEAK = 0.5
"""The first peak of this share of the highest one is the reach; later ones correct or return."""

HOLD_S = 0.3
"""Length of the hold before the go cue that drift and noise are taken from."""

STILL = 0.15
"""What moves faster, or less evenly, than this share of the peak holds nothing: no drift is taken off."""

FALL_S = 1.0
"""The way down is followed this long after the peak."""

RISES_AGAIN = 0.05
"""The way down ends where the speed has risen again by this share of the peak, or out of the noise."""

_FEWEST = 3
"""Samples a hold, or a window, has to have."""


@dataclass(frozen=True)
class Rise:
    """How one movement rises and falls.

    Attributes
    ----------
    up, down
        When its speed crosses the shares `UP` and `DOWN` of its peak, s; NaN where it does not.
        Shapes ``(12,)`` and ``(7,)``.
    peak, peak_speed
        Time, s, and height, cm/s, of its peak; NaN where there is none.
    noise
        Standard deviation of the speed during the hold as a share of the peak; NaN where there is no hold.
    has_later_peak
        Whether another peak above 80 % of this one follows.
    fault
        Why there is no onset: ``no_movement``, ``no_crossing``, ``unobserved``; empty: there is one.
    """

    up: FloatArray
    down: FloatArray
    peak: float
    peak_speed: float
    noise: float
    has_later_peak: bool
    fault: str = ""


class _Window(NamedTuple):
    """Where a movement's window lies in the series: one sample past the end of each part.

    Attributes
    ----------
    first, begin
        The hold lies between: from `HOLD_S` before the go cue to it.
    search, end
        The peak is looked for between.
    last
        The fall is followed up to here.
    """

    first: int
    begin: int
    search: int
    end: int
    last: int


class _Samples(NamedTuple):
    """The velocity of a session, and what is asked of it in every window.

    Attributes
    ----------
    time, values
        Of the series.
    lost, gaps
        Before each sample, how many have NaN on some axis, and how many steps are gaps. Shape
        ``(n_samples + 1,)`` and ``(n_samples,)``.
    squared
        Squared speed. Shape ``(n_samples,)``.
    """

    time: FloatArray
    values: FloatArray
    lost: IntArray
    gaps: IntArray
    squared: FloatArray

    def is_whole(self, start: int, stop: int) -> bool:
        """Whether no sample between has NaN."""
        return bool(self.lost[start] == self.lost[stop])


def smoothed(velocity: Series, smooth_s: float) -> Series:
    """Return the velocity smoothed by a Gaussian within each contiguous segment; NaN where missing."""
    if smooth_s <= 0:
        return velocity
    out = np.full_like(velocity.values, np.nan)
    for segment in velocity.segments:
        out[segment.at] = gaussian_filter1d(
            segment.values, smooth_s / velocity.interval_s, axis=0, mode="nearest"
        )
    return velocity.with_values(out)


def local_maxima(values: FloatArray) -> IntArray:
    """Return where values are larger than on both sides; of a plateau the middle, of the ends neither.

    As `scipy.signal.find_peaks`, which takes half a second to import.

    Parameters
    ----------
    values
        Finite. Shape ``(n,)``.

    Examples
    --------
    >>> local_maxima(np.array([9.0, 0.0, 1.0, 0.0, 2.0, 2.0, 2.0, 1.0, 3.0]))
    array([2, 5])
    """
    last = np.append(np.flatnonzero(np.diff(values)), len(values) - 1)
    first = np.append(0, last[:-1] + 1)
    levels = values[first]
    is_peak = (levels[1:-1] > levels[:-2]) & (levels[1:-1] > levels[2:])
    peaks: IntArray = (first[1:-1][is_peak] + last[1:-1][is_peak]) // 2
    return peaks


def measure_rises(
    velocity: Series, windows: Sequence[tuple[float, float, float]], *, min_peak_cm_s: float
) -> list[Rise]:
    """Time the rise and fall of the first major movement whose peak lies in each window.

    Parameters
    ----------
    velocity
        Smoothed, cm/s (see `smoothed`). NaN where missing.
    windows
        For each movement: from when on it may begin (the go cue; the hold lies before it), and between which
        times its peak lies, s.
    min_peak_cm_s
        Slower peaks are no movement.

    Returns
    -------
    rises
        One for each window. Never raises; `Rise.fault` says why a movement has no onset.

    Examples
    --------
    >>> from nwb_latents.pipeline.signals.recording import Series
    >>> t = np.arange(0, 2, 0.001)
    >>> tau = np.clip((t - 0.5) / 0.4, 0, 1)
    >>> reach = Series(t, np.outer(600 * tau**2 * (1 - tau) ** 2, [0.6, 0.8]))
    >>> moved, still = measure_rises(reach, [(0.2, 0.3, 1.5), (1.2, 1.3, 1.9)], min_peak_cm_s=3.0)
    >>> round(moved.peak, 3), round(moved.peak_speed, 1), moved.up.round(2)[[0, -1]], still.fault
    (0.7, 37.5, array([0.52, 0.65]), 'no_movement')
    """
    if not windows:
        return []
    from_s, start_s, stop_s = np.array(windows, dtype=np.float64).T
    edges = np.stack([from_s - HOLD_S, from_s, start_s, stop_s + 1e-9, stop_s + FALL_S], axis=1)
    bounds = [_Window(*each) for each in np.searchsorted(velocity.time, edges).tolist()]
    samples = _samples(velocity)
    drifts = _drifts(samples, bounds)
    return [
        _measured(samples, window, drift, min_peak_cm_s=min_peak_cm_s)
        for window, drift in zip(bounds, drifts, strict=True)
    ]


def _samples(velocity: Series) -> _Samples:
    # Over a short last axis, `all` costs ten times what the columns one by one do.
    is_whole = np.logical_and.reduce([np.isfinite(column) for column in velocity.values.T])
    is_gap = np.diff(velocity.time) > velocity.longest_step_s
    return _Samples(
        velocity.time,
        velocity.values,
        lost=np.append(0, np.cumsum(~is_whole)),
        gaps=np.append(0, np.cumsum(is_gap)),
        squared=_squared(velocity.values),
    )


def _squared(values: FloatArray) -> FloatArray:
    """Return the squared length of each row. Shape ``(n,)``."""
    if values.shape[1] == 2:
        # The same sum, ten times as fast.
        x, y = values.T
        return np.asarray(x * x + y * y)
    return np.asarray(np.square(values).sum(axis=1))


def _drifts(samples: _Samples, windows: Sequence[_Window]) -> list[FloatArray | float]:
    """Return the velocity of each hold, cm/s, or 0 where it was none: faster or less even than `STILL`."""
    drifts: list[FloatArray | float] = [0.0] * len(windows)
    alike: dict[int, list[int]] = {}
    for number, (first, _, search, end, _) in enumerate(windows):
        if end - search < _FEWEST or search - first < _FEWEST:
            continue
        if samples.is_whole(first, search):
            alike.setdefault(search - first, []).append(number)
            continue
        known = samples.values[first:search]
        known = known[np.isfinite(known).all(axis=1)]
        if len(known) >= _FEWEST:
            drifts[number] = _drift(known[None], [_fastest(samples, search, end)])[0]
    for length, numbers in alike.items():
        # Few at a time, so that they stay in the cache.
        block = max(1, (1 << 15) // length)
        for lo in range(0, len(numbers), block):
            some = numbers[lo : lo + block]
            rows = np.array([windows[number].first for number in some])[:, None] + np.arange(length)
            fastest = [_fastest(samples, windows[number].search, windows[number].end) for number in some]
            for number, drift in zip(some, _drift(samples.values[rows], fastest), strict=True):
                drifts[number] = drift
    return drifts


def _fastest(samples: _Samples, search: int, end: int) -> float:
    return float(float(np.fmax.reduce(samples.squared[search:end])) ** 0.5)


def _drift(known: FloatArray, fastest: Sequence[float]) -> FloatArray:
    """Return the drift of holds of one length, each of shape ``(n_samples, n_axes)``."""
    drift = np.median(known, axis=1)
    spread = np.sqrt(np.square(known - drift[:, None]).sum(axis=2).mean(axis=1))
    size = np.sqrt(np.square(drift).sum(axis=1))
    is_none = np.maximum(size, spread) > STILL * np.array(fastest)
    drift[is_none] = 0.0
    return np.asarray(drift)


def _measured(samples: _Samples, window: _Window, drift: FloatArray | float, *, min_peak_cm_s: float) -> Rise:
    first, begin, search, end, last = window
    if end - search < _FEWEST or samples.lost[end] - samples.lost[search] == end - search:
        return _none("unobserved")
    is_whole = samples.is_whole(first, last) and samples.gaps[last - 1] == samples.gaps[first]
    moved = samples.values[first:last] - drift
    speed = np.sqrt(_squared(moved))
    searched = speed[search - first : end - first]
    highest = float(np.fmax.reduce(searched))
    peaks = _peaks(searched, least=max(MAJOR_PEAK * highest, min_peak_cm_s), is_whole=is_whole)
    if highest < min_peak_cm_s or not len(peaks):
        return _none("no_movement", peak_speed=highest)
    at = search - first + int(peaks[0])
    along = moved @ (moved[at] / speed[at])
    top = float(speed[at])
    hold = along[: search - first]
    hold = hold if is_whole else hold[np.isfinite(hold)]
    clock = samples.time[first:last]
    gaps = None if is_whole else samples.gaps[first:last]
    noise = _deviation(hold) / top if len(hold) >= _FEWEST else np.nan
    up = _crossings_up(clock, along, at, max(begin - first, 0), gaps=gaps)
    fault = up if isinstance(up, str) else ""
    if not isinstance(up, str):
        up[:SURE][~(UP[:SURE] >= OUT_OF_NOISE * noise)] = np.nan
    return Rise(
        up=np.full(len(UP), np.nan) if isinstance(up, str) else up,
        down=_crossings_down(clock, along, at, noise=noise, gaps=gaps),
        peak=float(clock[at]),
        peak_speed=top,
        noise=noise,
        has_later_peak=len(peaks) > 1 and bool((searched[peaks[1:]] > 0.8 * top).any()),
        fault=fault,
    )


def _none(fault: str, *, peak_speed: float = np.nan) -> Rise:
    nothing = np.full(len(UP), np.nan), np.full(len(DOWN), np.nan)
    return Rise(*nothing, np.nan, peak_speed, np.nan, has_later_peak=False, fault=fault)


def _peaks(speed: FloatArray, *, least: float, is_whole: bool) -> IntArray:
    """Return the local maxima of at least some height; missing samples count as standing still."""
    speed = speed if is_whole else np.nan_to_num(speed, nan=0.0)
    is_high, rises, falls = speed[1:-1] >= least, speed[1:] > speed[:-1], speed[1:] < speed[:-1]
    if (is_high & ~(rises[1:] | falls[1:])).any():
        # A plateau: rare this high.
        peaks = local_maxima(speed)
        return peaks[speed[peaks] >= least]
    return np.flatnonzero(is_high & rises[:-1] & falls[1:]) + 1


def _deviation(values: FloatArray) -> float:
    """Return the standard deviation: `numpy.std`, which takes five times as long for so few."""
    off = values - np.add.reduce(values) / len(values)
    return float(np.sqrt(np.add.reduce(off * off) / len(off)))


def _crossings_up(
    time: FloatArray, along: FloatArray, peak: int, begin: int, *, gaps: IntArray | None
) -> FloatArray | str:
    """Return the last crossing of each share before the peak, or why the lowest has none.

    `gaps` counts the gaps before each sample; None: no sample is missing and there is no gap.
    """
    if peak <= begin:
        return "unobserved"
    before, levels = along[begin:peak], UP * along[peak]
    back, is_below = _first_below(before[::-1], levels)
    if not is_below[SURE]:
        return "no_crossing" if np.isfinite(before).all() else "unobserved"
    at = begin + len(before) - 1 - np.where(is_below, back, 0)
    sure = int(at[SURE])
    if gaps is not None and (gaps[peak] > gaps[sure] or not np.isfinite(along[sure : peak + 1]).all()):
        return "unobserved"
    low, high = along[at], along[at + 1]
    found: FloatArray = time[at] + (levels - low) / (high - low) * (time[at + 1] - time[at])
    found[~is_below] = np.nan
    return found


def _crossings_down(
    time: FloatArray, along: FloatArray, peak: int, *, noise: float, gaps: IntArray | None
) -> FloatArray:
    """Return the first crossing of each share after the peak, up to where the speed rises again."""
    falling = along[peak:]
    if gaps is not None:
        broken = ~np.isfinite(falling) | (gaps[peak:] > gaps[peak])
        falling = falling[: int(np.argmax(broken))] if broken.any() else falling
    again = max(RISES_AGAIN, OUT_OF_NOISE * noise if np.isfinite(noise) else 0.0) * along[peak]
    risen = falling - np.minimum.accumulate(falling) > again
    end = int(np.argmax(risen))
    if risen[end]:
        falling = falling[: int(np.argmin(falling[:end])) + 1]
    levels = DOWN * along[peak]
    at, is_there = _first_below(falling, levels)
    found = np.full(len(DOWN), np.nan)
    is_there &= at > 0
    at = at[is_there] + peak
    high, low = along[at - 1], along[at]
    found[is_there] = time[at - 1] + (high - levels[is_there]) / (high - low) * (time[at] - time[at - 1])
    return found


def _first_below(values: FloatArray, levels: FloatArray) -> tuple[IntArray, BoolArray]:
    """Return the first of some values below each level, and whether there is one; NaN is below none."""
    lowest = np.minimum.accumulate(np.where(np.isnan(values), np.inf, values))
    at = np.searchsorted(-lowest, -levels, side="right")
    return at, at < len(values)
