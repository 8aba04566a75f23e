"""How movements rise and fall: when the speed of each crosses shares of its peak.

Slow drift of the hand or of its tracking is the median velocity of the hold before the go cue, taken off
first. Movements are looked at together, their windows one after the other in flat arrays: to call the
interpreter for each step of each of them would hold up everything else that is done with a session.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nwb_latents.pipeline.signals.crossings import (
    DOWN,
    OUT_OF_NOISE,
    SURE,
    UP,
    crossings_down,
    crossings_up,
)
from nwb_latents.pipeline.signals.smoothing import smooth_samples

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from nwb_latents.pipeline.signals.recording import BoolArray, FloatArray, IntArray, Series

MAJOR_PEAK = 0.5
"""The first peak of this share of the highest one is the reach; later ones correct or return."""

HOLD_S = 0.3
"""Length of the hold before the go cue that drift and noise are taken from."""

STILL = 0.15
"""What moves faster, or less evenly, than this share of the peak holds nothing: no drift is taken off."""

FALL_S = 1.0
"""The way down is followed this long after the peak."""

_FEWEST = 3
"""Samples a hold, or a window, has to have."""

_TOGETHER = 1 << 15
"""Samples of movements that are looked at together."""


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


class _Samples(NamedTuple):
    """The velocity of a session, and what is asked of it in every window.

    Attributes
    ----------
    time, values
        Of the series.
    lost, gaps
        Which samples have NaN on some axis, and which come after a gap, ascending.
    """

    time: FloatArray
    values: FloatArray
    lost: IntArray
    gaps: IntArray

    def n_lost(self, start: IntArray, stop: IntArray) -> IntArray:
        """Return how many samples between have NaN."""
        return np.searchsorted(self.lost, stop) - np.searchsorted(self.lost, start)

    def is_broken(self, start: IntArray, stop: IntArray) -> BoolArray:
        """Return whether samples are lost, or there is a gap, from one sample on up to another."""
        n_gaps = np.searchsorted(self.gaps, stop, "right") - np.searchsorted(self.gaps, start, "right")
        return np.asarray((self.n_lost(start, stop + 1) > 0) | (n_gaps > 0))


class _Found(NamedTuple):
    """Movements that have a peak, in flat arrays of one window after the other; ``(n_movements,)`` each.

    Attributes
    ----------
    number
        Of its window.
    peak
        Where its first major peak lies.
    start, stop
        Where its samples begin, hold included, and one past the last of them.
    shift
        What is added to come to its samples in the series.
    """

    number: IntArray
    peak: IntArray
    start: IntArray
    stop: IntArray
    shift: IntArray


def smoothed(velocity: Series, smooth_s: float) -> Series:
    """Return the velocity smoothed by a Gaussian within each contiguous segment; NaN where missing."""
    if smooth_s <= 0:
        return velocity
    sigma, segments = smooth_s / velocity.interval_s, velocity.segments
    if len(segments) == 1 and len(segments[0].time) == len(velocity.time):
        return velocity.with_values(smooth_samples(segments[0].values, sigma))
    out = np.full_like(velocity.values, np.nan)
    for segment in segments:
        out[segment.at] = smooth_samples(segment.values, sigma)
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
    samples = _samples(velocity)
    bounds = np.searchsorted(velocity.time, edges)
    first, _, search, end, last = bounds.T
    is_seen = (end - search >= _FEWEST) & (samples.n_lost(search, end) < end - search)
    rises = [_none("unobserved")] * len(bounds)
    seen = np.flatnonzero(is_seen)
    block = np.cumsum((last - first)[seen]) // _TOGETHER
    for some in np.split(seen, np.flatnonzero(np.diff(block)) + 1):
        for number, rise in zip(some.tolist(), _measured(samples, bounds[some], min_peak_cm_s), strict=True):
            rises[number] = rise
    return rises


def _samples(velocity: Series) -> _Samples:
    # Over a short last axis, `all` costs ten times what the columns one by one do.
    is_whole = np.logical_and.reduce([np.isfinite(column) for column in velocity.values.T])
    return _Samples(
        velocity.time,
        velocity.values,
        lost=np.flatnonzero(~is_whole),
        gaps=velocity.gaps,
    )


def _squared(values: FloatArray) -> FloatArray:
    """Return the squared length of each row. Shape ``(n,)``."""
    if values.shape[1] == 2:
        # The same sum, ten times as fast.
        x, y = values.T
        return np.asarray(x * x + y * y)
    return np.asarray(np.square(values).sum(axis=1))


def _none(fault: str, *, peak_speed: float = np.nan) -> Rise:
    nothing = np.full(len(UP), np.nan), np.full(len(DOWN), np.nan)
    return Rise(*nothing, np.nan, peak_speed, np.nan, has_later_peak=False, fault=fault)


def _measured(samples: _Samples, bounds: IntArray, min_peak_cm_s: float) -> list[Rise]:
    """Time some movements, by first and last sample of their holds and windows (see `measure_rises`)."""
    if not len(bounds):
        return []
    first, begin, search, end, last = bounds.T
    starts = np.concatenate([[0], np.cumsum(last - first)])
    shift = first - starts[:-1]
    parts = [slice(*each) for each in bounds[:, [0, 4]].tolist()]
    moved = np.concatenate([samples.values[part] for part in parts])
    is_searched = np.zeros(len(moved), dtype=bool)
    for start, stop in zip((search - shift).tolist(), (end - shift).tolist(), strict=True):
        is_searched[start:stop] = True

    def highest(speed: FloatArray) -> FloatArray:
        return np.asarray(np.fmax.reduceat(np.where(is_searched, speed, -1.0), starts[:-1]))

    fastest = np.sqrt(highest(_squared(moved)))
    moved -= np.repeat(_drifts(samples, first, search, still=STILL * fastest), last - first, axis=0)
    speed = np.sqrt(_squared(moved))
    most = highest(speed)
    least = np.maximum(MAJOR_PEAK * most, min_peak_cm_s)
    peaks, of_peak = _peaks(speed, search - shift, end - shift, least)
    moves, first_of = np.unique(of_peak, return_index=True)
    found = _Found(moves, peaks[first_of], starts[moves], starts[moves + 1], shift[moves])
    is_later = speed[peaks] > 0.8 * np.repeat(speed[found.peak], np.diff(np.append(first_of, len(peaks))))
    is_later[first_of] = False
    has_later = np.isin(moves, of_peak[is_later])
    along = _along(samples, moved, speed, found)
    hold = zip(found.start.tolist(), (search - shift)[moves].tolist(), strict=True)
    noise = np.array([_deviation(along[start:stop]) for start, stop in hold]) / speed[found.peak]
    clock = np.concatenate([samples.time[part] for part in parts])
    up, fault = _ways_up(samples, clock, along, found, begin=np.maximum(begin - shift, starts[:-1])[moves])
    up[:, :SURE][~(UP[:SURE] >= OUT_OF_NOISE * noise[:, None])] = np.nan
    down = crossings_down(clock, along, found.peak, _whole_until(samples, found), noise=noise)
    rises = [_none("no_movement", peak_speed=peak_speed) for peak_speed in most.tolist()]
    tops = zip(clock[found.peak].tolist(), speed[found.peak].tolist(), noise.tolist(), strict=True)
    for row, (number, top) in enumerate(zip(moves.tolist(), tops, strict=True)):
        rises[number] = Rise(up[row], down[row], *top, has_later_peak=bool(has_later[row]), fault=fault[row])
    return rises


def _along(samples: _Samples, moved: FloatArray, speed: FloatArray, found: _Found) -> FloatArray:
    """Return the velocity towards the peak of each movement, cm/s."""
    towards = moved[found.peak] / speed[found.peak][:, None]
    if samples.values.strides[0] < samples.values.strides[-1]:
        # Products with columns that lie side by side are rounded otherwise.
        moved = np.asfortranarray(moved)
    along = np.empty(len(moved))
    for start, stop, each in zip(found.start.tolist(), found.stop.tolist(), towards, strict=True):
        np.matmul(moved[start:stop], each, out=along[start:stop])
    return along


def _drifts(samples: _Samples, first: IntArray, search: IntArray, *, still: FloatArray) -> FloatArray:
    """Return the velocity of each hold, cm/s, or 0 where it was none: faster or less even than `still`."""
    drifts = np.zeros((len(first), samples.values.shape[1]))
    for some, known in _holds(samples, first, search):
        drift = np.median(known, axis=1)
        spread = np.sqrt(np.square(known - drift[:, None]).sum(axis=2).mean(axis=1))
        size = np.sqrt(np.square(drift).sum(axis=1))
        drifts[some] = np.where((np.maximum(size, spread) > still[some])[:, None], 0.0, drift)
    return drifts


def _holds(samples: _Samples, first: IntArray, search: IntArray) -> Iterator[tuple[IntArray, FloatArray]]:
    """Yield the finite samples of holds, those of one length together: which, and their values."""
    is_whole = samples.n_lost(first, search) == 0
    length = search - first
    for n in np.unique(length[is_whole & (length >= _FEWEST)]).tolist():
        some = np.flatnonzero(is_whole & (length == n))
        yield some, samples.values[first[some][:, None] + np.arange(n)]
    for number in np.flatnonzero(~is_whole).tolist():
        known = samples.values[first[number] : search[number]]
        known = known[np.isfinite(known).all(axis=1)]
        if len(known) >= _FEWEST:
            yield np.array([number]), known[None]


def _peaks(
    speed: FloatArray, search: IntArray, end: IntArray, least: FloatArray
) -> tuple[IntArray, IntArray]:
    """Return the local maxima of at least some height in each window, and in which each lies."""
    if np.isnan(speed).any():
        speed = np.where(np.isnan(speed), 0.0, speed)
    lowest = np.full(len(speed), np.inf)
    for start, stop, height in zip(search.tolist(), end.tolist(), least.tolist(), strict=True):
        lowest[start + 1 : stop - 1] = height
    is_high = (speed >= lowest)[1:-1]
    rises, falls = speed[1:] > speed[:-1], speed[1:] < speed[:-1]
    peaks: IntArray = np.flatnonzero(is_high & rises[:-1] & falls[1:]) + 1
    plateaus = np.flatnonzero(is_high & ~(rises[1:] | falls[1:])) + 1
    owner = np.searchsorted(search, peaks, side="right") - 1
    if not len(plateaus):
        return peaks, owner
    has_plateau = np.unique(np.searchsorted(search, plateaus, side="right") - 1)
    found = [peaks[~np.isin(owner, has_plateau)]]
    for number in has_plateau.tolist():
        own = search[number] + local_maxima(speed[search[number] : end[number]])
        found.append(own[speed[own] >= least[number]])
    peaks = np.sort(np.concatenate(found))
    return peaks, np.searchsorted(search, peaks, side="right") - 1


def _deviation(values: FloatArray) -> float:
    """Return the standard deviation of finite values, NaN of few: as `numpy.std`, in a fifth of its time."""
    total = np.add.reduce(values)
    if not np.isfinite(total):
        values = values[np.isfinite(values)]
        total = np.add.reduce(values)
    n = len(values)
    if n < _FEWEST:
        return float("nan")
    off = values - total / n
    return float(np.sqrt(np.add.reduce(off * off) / n))


def _ways_up(
    samples: _Samples, clock: FloatArray, along: FloatArray, found: _Found, *, begin: IntArray
) -> tuple[FloatArray, list[str]]:
    """Return the crossings on the way up, and why a movement has none; empty: it has."""
    peak, shift = found.peak, found.shift
    up, sure, is_crossed = crossings_up(clock, along, begin, peak)
    is_lost = samples.is_broken(np.where(is_crossed, sure, peak) + shift, peak + shift)
    stands = (peak > begin) & (samples.n_lost(np.minimum(begin, peak) + shift, peak + shift) == 0)
    fault = np.where(
        is_crossed, np.where(is_lost, "unobserved", ""), np.where(stands, "no_crossing", "unobserved")
    )
    up[fault != ""] = np.nan
    return up, fault.tolist()


def _whole_until(samples: _Samples, found: _Found) -> IntArray:
    """Return up to where no sample after the peak is lost, and there is no gap."""
    first, stop = found.peak + found.shift, found.stop.copy()
    for row in np.flatnonzero(samples.is_broken(first, stop - 1 + found.shift)).tolist():
        broken = np.concatenate([samples.lost, samples.gaps])
        stop[row] = broken[broken > first[row]].min() - found.shift[row]
    return stop
