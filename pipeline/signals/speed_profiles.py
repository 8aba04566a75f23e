"""Movement onset from the whole course of the speed: where the profile that fits best begins.

A fixed share of the peak is crossed the later, the more slowly the speed rises at first: even carried back
along a minimum-jerk profile, 60 to 80 ms after the start of a lognormal or late-peaked reach. So the times at
which a reach crosses shares of its peak, on the way up and down, are compared with those of a family of
profiles: ``τ^a (1 − τ)^b`` (a = b = 2 is minimum jerk, Flash & Hogan 1985), a period of a cosine, and
lognormal ones (Plamondon 1995). Each profile, fitted to the crossings by least squares over its start and
duration, says where the reach began; the onset is their mean, weighted by how well they fit this reach and
the other ones of the session.

Slow drift of the hand or of its tracking is the median velocity of the hold before the go cue, taken off
first. Where a second submovement spoils the way down, the way up decides alone: by the session's profile if
most of its reaches have told one, else by one near minimum jerk.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter1d

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from nwb_latents.pipeline.signals.recording import FloatArray, IntArray, Series

UP = np.array([0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
"""Shares of the peak whose crossings are timed on the way up."""

SURE = 2
"""The first of them that every movement has to cross; lower ones count where they stand out of the noise."""

OUT_OF_NOISE = 5.0
"""Shares below so many standard deviations of the hold are not timed."""

DOWN = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3])
"""Likewise on the way down."""

EXPONENTS_UP = (1.2, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0)
EXPONENTS_DOWN = (1.2, 1.5, 2.0, 3.0, 4.0, 5.0)
LOGNORMAL_SIGMAS = (0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6)
BLURS = np.array([0.0, 0.01, 0.02, 0.03, 0.045, 0.06, 0.09])
"""Widths of the smoothing, in durations of the movement, that profiles are tabulated for."""

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

WHOLE_FALL = 6
"""Shares a single movement crosses on the way down."""

WIDEST_S = 0.03
"""Widest smoothing a noisy session is given; `QUIET_NOISE` is the share of noise that needs none."""
QUIET_NOISE = 0.012

MISFIT, MISFIT_OF_NOISE = 0.003, 0.12
"""Residual of a single movement, in durations: without noise, and for each share of noise."""

TIMING_S, TIMING_UP_S = 0.004, 0.010
"""Residuals a profile is held to, both ways and on the way up alone."""

MOST = 0.35
"""Share of a session's reaches that have to be single movements for their profile to count."""


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


def measure_rise(
    velocity: Series, start_s: float, stop_s: float, *, from_s: float, min_peak_cm_s: float
) -> Rise:
    """Time the rise and fall of the first major movement whose peak lies in a window.

    Parameters
    ----------
    velocity
        Smoothed, cm/s (see `smoothed`). NaN where missing.
    start_s, stop_s
        The peak is looked for here, s.
    from_s
        The movement begins after this, s: the go cue. The hold lies before it.
    min_peak_cm_s
        Slower peaks are no movement.

    Returns
    -------
    rise
        Never raises; `fault` says why a movement has no onset.
    """
    time = velocity.time
    first, begin, end, last = np.searchsorted(
        time, [from_s - HOLD_S, from_s, stop_s + 1e-9, stop_s + FALL_S]
    ).tolist()
    search = int(np.searchsorted(time, start_s))
    if end - search < 3 or not np.isfinite(velocity.values[search:end]).all(axis=1).any():
        return _none("unobserved")
    moved = velocity.values[first:last]
    fastest = float(np.nanmax(np.square(velocity.values[search:end]).sum(axis=1))) ** 0.5
    moved = moved - _drift(moved[: search - first], most=STILL * fastest)
    speed = np.sqrt(np.square(moved).sum(axis=1))
    searched = speed[search - first : end - first]
    highest = float(np.nanmax(searched))
    peaks = local_maxima(np.nan_to_num(searched, nan=0.0))
    peaks = peaks[searched[peaks] >= max(MAJOR_PEAK * highest, min_peak_cm_s)]
    if highest < min_peak_cm_s or not len(peaks):
        return _none("no_movement", peak_speed=highest)
    at = search - first + int(peaks[0])
    along = moved @ (moved[at] / speed[at])
    top = float(speed[at])
    hold = along[: search - first]
    hold = hold[np.isfinite(hold)]
    clock = time[first:last]
    longest = velocity.longest_step_s
    noise = float(hold.std()) / top if len(hold) > 2 else np.nan
    up = _crossings_up(clock, along, at, begin - first, longest=longest)
    fault = "" if isinstance(up, np.ndarray) else up
    if isinstance(up, np.ndarray):
        up[:SURE][~(UP[:SURE] >= OUT_OF_NOISE * noise)] = np.nan
    return Rise(
        up=up if isinstance(up, np.ndarray) else np.full(len(UP), np.nan),
        down=_crossings_down(clock, along, at, longest=longest, noise=noise),
        peak=float(clock[at]),
        peak_speed=top,
        noise=noise,
        has_later_peak=bool((searched[peaks[1:]] > 0.8 * top).any()),
        fault=fault,
    )


def _none(fault: str, *, peak_speed: float = np.nan) -> Rise:
    nothing = np.full(len(UP), np.nan), np.full(len(DOWN), np.nan)
    return Rise(*nothing, np.nan, peak_speed, np.nan, has_later_peak=False, fault=fault)


def _drift(hold: FloatArray, *, most: float) -> FloatArray:
    """Return the velocity of the hold, cm/s, or 0 where it was none: faster or less even than `most`."""
    known = hold[np.isfinite(hold).all(axis=1)]
    nothing = np.zeros(hold.shape[1])
    if len(known) < 3:
        return nothing
    drift: FloatArray = np.median(known, axis=0)
    spread = np.sqrt(np.square(known - drift).sum(axis=1).mean())
    return nothing if max(np.sqrt(np.square(drift).sum()), spread) > most else drift


def _crossings_up(
    time: FloatArray, along: FloatArray, peak: int, begin: int, *, longest: float
) -> FloatArray | str:
    """Return the last crossing of each share before the peak, or why the lowest has none."""
    begin = max(begin, 0)
    rising, levels = along[begin : peak + 1], UP * along[peak]
    below = rising[:-1] < levels[:, None]
    if not below[SURE].any():
        return "no_crossing" if np.isfinite(rising).all() and len(rising) > 1 else "unobserved"
    at = len(rising) - 2 - np.argmax(below[:, ::-1], axis=1)
    stretch = slice(begin + int(at[SURE]), peak + 1)
    if not np.isfinite(along[stretch]).all() or (np.diff(time[stretch]) > longest).any():
        return "unobserved"
    low, high = rising[at], rising[at + 1]
    span = time[begin + at + 1] - time[begin + at]
    found: FloatArray = time[begin + at] + (levels - low) / (high - low) * span
    found[~below.any(axis=1)] = np.nan
    return found


def _crossings_down(
    time: FloatArray, along: FloatArray, peak: int, *, longest: float, noise: float
) -> FloatArray:
    """Return the first crossing of each share after the peak, up to where the speed rises again."""
    falling = along[peak:]
    broken = ~np.isfinite(falling)
    broken[1:] |= np.diff(time[peak:]) > longest
    falling = falling[: int(np.argmax(broken))] if broken.any() else falling
    again = max(RISES_AGAIN, OUT_OF_NOISE * noise if np.isfinite(noise) else 0.0) * along[peak]
    lowest = np.minimum.accumulate(falling)
    risen = falling - lowest > again
    if risen.any():
        falling = falling[: int(np.argmin(falling[: int(np.argmax(risen))])) + 1]
    levels = DOWN * along[peak]
    below = falling < levels[:, None]
    at = np.argmax(below, axis=1)
    found = np.full(len(DOWN), np.nan)
    is_there = below.any(axis=1) & (at > 0)
    at = at[is_there]
    if len(at):
        high, low, clock = falling[at - 1], falling[at], time[peak:]
        found[is_there] = clock[at - 1] + (high - levels[is_there]) / (high - low) * (
            clock[at] - clock[at - 1]
        )
    return found


def widened(rises: Sequence[Rise], smooth_s: float) -> float:
    """Return the smoothing that a session's noise asks for, s: at least `smooth_s`, at most `WIDEST_S`."""
    shares = np.array([rise.noise for rise in rises if not rise.fault])
    shares = shares[np.isfinite(shares)]
    if not len(shares) or smooth_s <= 0:
        return smooth_s
    return float(np.clip(smooth_s * np.median(shares) / QUIET_NOISE, smooth_s, max(WIDEST_S, smooth_s)))


def fit_onsets(rises: Sequence[Rise], *, smooth_s: float) -> FloatArray:
    """Return when the movements of a session began.

    Parameters
    ----------
    rises
        Its movements (see `measure_rise`).
    smooth_s
        Width of the smoothing of the velocity they were measured on, s.

    Returns
    -------
    onsets
        s; NaN where a movement has a fault. Shape ``(n,)``.

    Examples
    --------
    >>> from nwb_latents.pipeline.signals.recording import Series
    >>> t = np.arange(0, 2, 0.001)
    >>> tau = np.clip((t - 0.5) / 0.4, 0, 1)
    >>> reach = Series(t, np.outer(600 * tau**2 * (1 - tau) ** 2, [0.6, 0.8]))
    >>> rise = measure_rise(reach, 0.3, 1.5, from_s=0.2, min_peak_cm_s=3.0)
    >>> np.round(fit_onsets([rise], smooth_s=0.0), 2)
    array([0.5])
    """
    onsets = np.full(len(rises), np.nan)
    usable = [number for number, rise in enumerate(rises) if not rise.fault]
    if not usable:
        return onsets
    chosen = [rises[number] for number in usable]
    both = [_fit(np.concatenate([rise.up, rise.down]), smooth_s) for rise in chosen]
    rising = [_fit(np.concatenate([rise.up, np.full(len(DOWN), np.nan)]), smooth_s) for rise in chosen]
    is_single = np.array([_is_single(fit, rise) for fit, rise in zip(both, chosen, strict=True)], dtype=bool)
    if is_single.mean() < MOST:
        is_single[:] = False
    begun = np.empty(len(chosen))
    prior = _near_minimum_jerk(0.15, lognormal=6.0)
    if is_single.any():
        cost = np.stack([fit.cost(TIMING_S) for fit in both])[is_single]
        shared = cost + min(12, len(cost)) * cost.mean(axis=0)
        weights = _normalised(_near_minimum_jerk(0.6, lognormal=1.0) - shared / 2)
        begun[is_single] = (weights * np.stack([fit.onset for fit in both])[is_single]).sum(axis=1)
        prior = np.log(weights.mean(axis=0) + 1e-3)
    if not is_single.all():
        cost = np.stack([fit.cost(TIMING_UP_S) for fit in rising])[~is_single]
        weights = _normalised(prior - cost / 2)
        begun[~is_single] = (weights * np.stack([fit.onset for fit in rising])[~is_single]).sum(axis=1)
    onsets[usable] = begun
    return onsets


def _normalised(log_weights: FloatArray) -> FloatArray:
    weights = np.exp(log_weights - log_weights.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _is_single(fit: _Fit, rise: Rise) -> bool:
    """Whether one movement explains the way up and down."""
    allowed = MISFIT + MISFIT_OF_NOISE * (rise.noise if np.isfinite(rise.noise) else QUIET_NOISE)
    is_whole = np.isfinite(rise.down).sum() >= WHOLE_FALL
    return bool(is_whole and (fit.residual / fit.duration).min() < allowed)


@dataclass(frozen=True)
class _Fit:
    """Every profile fitted to the crossings of one movement; shapes ``(profile,)``."""

    onset: FloatArray
    duration: FloatArray
    residual: FloatArray
    n: int

    def cost(self, timing_s: float) -> FloatArray:
        """Squared residuals, a third of the crossings being independent."""
        return np.asarray(self.n * np.square(self.residual / timing_s) / 3)


def _fit(times: FloatArray, smooth_s: float) -> _Fit:
    known = np.isfinite(times)
    seen, table = times[known], _profiles()[:, :, known]
    rows = np.arange(len(table))
    duration = np.full(len(table), 0.5)
    mean = seen.mean()
    for _ in range(3):
        blur = np.clip(smooth_s / duration, 0.0, BLURS[-1] - 1e-9)
        at = np.searchsorted(BLURS, blur, side="right") - 1
        share = ((blur - BLURS[at]) / (BLURS[at + 1] - BLURS[at]))[:, None]
        unit = (1 - share) * table[rows, at] + share * table[rows, at + 1]
        centred = unit - unit.mean(axis=1, keepdims=True)
        duration = np.maximum((centred @ (seen - mean)) / np.square(centred).sum(axis=1), 0.02)
    onset = mean - duration * unit.mean(axis=1)
    residual = np.sqrt(np.square(seen - onset[:, None] - duration[:, None] * unit).mean(axis=1))
    return _Fit(onset, duration, residual, int(known.sum()))


def _near_minimum_jerk(spread: float, *, lognormal: float) -> FloatArray:
    """Return log weights of the profiles: exponents near 2, and lognormal ones rarer by so much."""
    powers = [(a, b) for a in EXPONENTS_UP for b in EXPONENTS_DOWN]
    weights = [-((np.log(a / 2) / spread) ** 2 + (np.log(b / 2) / spread) ** 2) / 2 for a, b in powers]
    weights += [-((np.log(s / 0.4) / spread) ** 2) / 2 - lognormal for s in LOGNORMAL_SIGMAS]
    return np.array([*weights, 0.0])


@cache
def _profiles() -> NDArray[np.float64]:
    """Return when profiles that begin at 0 and last 1 cross the shares. Shape ``(profile, blur, share)``."""
    step = 2e-3
    tau = np.arange(-0.5, 2.0, step)
    inside = np.clip(tau, 1e-12, 1.0)
    after = np.clip(tau, 1e-9, None)
    shapes = [inside**a * (1 - inside) ** b for a in EXPONENTS_UP for b in EXPONENTS_DOWN]
    # A lognormal profile has covered a thousandth of its way at exp(mu - 3.09 sigma): with mu so, it lasts 1.
    shapes += [
        np.where(tau > 0, np.exp(-np.square(np.log(after) / s + 3.09) / 2) / after, 0.0)
        for s in LOGNORMAL_SIGMAS
    ]
    shapes.append(1 - np.cos(2 * np.pi * inside))
    found = np.empty((len(shapes), len(BLURS), len(UP) + len(DOWN)))
    for column, blur in enumerate(BLURS):
        blurred = gaussian_filter1d(np.stack(shapes), blur / step, axis=1) if blur else np.stack(shapes)
        for row, profile in enumerate(blurred):
            peak = int(np.argmax(profile))
            up = np.interp(UP * profile[peak], profile[: peak + 1], tau[: peak + 1])
            down = np.interp(DOWN * profile[peak], profile[peak:][::-1], tau[peak:][::-1])
            found[row, column] = np.concatenate([up, down])
    return found
