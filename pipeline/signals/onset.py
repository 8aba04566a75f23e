"""Movement onset from speed.

Three rules, each in physical units, so that neither the sampling rate nor the speed of the reach moves the
onset:

``peak_fraction``
    The last time before the first major peak at which the speed is below a fraction of that peak. With
    ``extrapolate`` the crossing is carried back to zero speed along a minimum-jerk profile (Flash & Hogan
    1985), whose speed is 30 τ² (1−τ)² over normalised time τ: it crosses the fraction ``f`` of its peak at
    ``τ_f = (1 − √(1 − √f)) / 2``.
``accel_half_peak``
    The last time before the acceleration's peak at which it is below half of it.
``threshold``
    The last time before the peak at which the speed is below a fixed value.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter1d

from nwb_latents.pipeline.signals.recording import GAP_FACTOR, FloatArray, IntArray, Series

if TYPE_CHECKING:
    from nwb_latents.schemas.recipe import OnsetSettings

MAJOR_PEAK = 0.5
"""The first peak of this share of the highest one is the reach; later ones correct or return."""

SLOW_RISE_S = 1.0
"""An onset further than this before its peak is flagged."""


@dataclass(frozen=True)
class Onset:
    """A movement's start and peak.

    Attributes
    ----------
    onset, peak
        Times in seconds; NaN where not found.
    peak_speed
        cm/s; NaN where not found.
    quality
        ``ok``, ``several_peaks`` (another peak above 80 % of the first follows), ``slow_rise`` (over a
        second from onset to peak), or why there is none: ``no_movement``, ``no_crossing``, ``unobserved``.
    """

    onset: float
    peak: float
    peak_speed: float
    quality: str

    @property
    def is_found(self) -> bool:
        """Whether there is an onset."""
        return bool(np.isfinite(self.onset))


def speed_of(velocity: Series, smooth_s: float) -> Series:
    """Return the smoothed speed.

    Parameters
    ----------
    velocity
        cm/s. NaN where missing.
    smooth_s
        Standard deviation of the Gaussian laid over the speed within each contiguous segment, seconds.

    Returns
    -------
    speed
        cm/s, values of shape ``(n_samples, 1)``; NaN where missing.

    Examples
    --------
    >>> velocity = Series(np.arange(3) * 0.01, np.array([[3.0, 4.0]] * 3))
    >>> speed_of(velocity, 0.0).values[:, 0]
    array([5., 5., 5.])
    """
    out = np.full((len(velocity.time), 1), np.nan)
    for segment in velocity.segments:
        speed = np.sqrt(sum(np.square(column) for column in segment.values.T))
        if smooth_s > 0:
            speed = gaussian_filter1d(speed, smooth_s / velocity.interval_s, mode="nearest")
        out[segment.at, 0] = speed
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


def minimum_jerk_lead(fraction: float) -> float:
    """Return how far zero speed lies before the crossing, in units of the time from crossing to peak.

    Examples
    --------
    >>> round(minimum_jerk_lead(0.05), 4)
    0.1349
    """
    tau = (1.0 - np.sqrt(1.0 - np.sqrt(fraction))) / 2.0
    return float(tau / (0.5 - tau))


def find_onset(
    speed: Series, start_s: float, stop_s: float, settings: OnsetSettings, *, from_s: float
) -> Onset:
    """Find the onset of the first major movement whose peak lies in a window.

    Parameters
    ----------
    speed
        Smoothed speed in cm/s (see `speed_of`).
    start_s, stop_s
        The peak is looked for here, seconds.
    settings
        Rule and thresholds.
    from_s
        The onset is looked for from here on, seconds; usually the go cue.

    Returns
    -------
    onset
        Never raises: what could not be found is NaN, and `quality` says why.

    Examples
    --------
    >>> from nwb_latents.schemas.recipe import OnsetSettings
    >>> t = np.arange(0, 2, 0.001)
    >>> tau = np.clip((t - 0.5) / 0.4, 0, 1)
    >>> reach = Series(t, (8 / 0.4 * 30 * tau**2 * (1 - tau) ** 2)[:, None])
    >>> round(find_onset(reach, 0.1, 1.5, OnsetSettings(), from_s=0.0).onset, 3)
    0.5
    """
    lo, hi = np.searchsorted(speed.time, [from_s, stop_s + 1e-9])
    time, values = speed.time[lo:hi], speed.values[lo:hi, 0]
    begin = int(np.searchsorted(time, start_s))
    if len(time) - begin < 3:
        return Onset(np.nan, np.nan, np.nan, "unobserved")
    searched = values[begin:]
    if not np.isfinite(searched).any():
        return Onset(np.nan, np.nan, np.nan, "unobserved")
    highest = float(np.nanmax(searched))
    if highest < settings.min_peak_cm_s:
        return Onset(np.nan, np.nan, highest, "no_movement")
    found = local_maxima(np.nan_to_num(searched, nan=0.0))
    found = found[searched[found] >= max(MAJOR_PEAK * highest, settings.min_peak_cm_s)]
    if not len(found):
        return Onset(np.nan, np.nan, highest, "no_movement")
    peak = begin + int(found[0])
    crossing = _crossing(time, values, peak, settings, longest=GAP_FACTOR * speed.interval_s)
    if isinstance(crossing, str):
        return Onset(np.nan, float(time[peak]), float(values[peak]), crossing)
    onset = crossing
    if settings.method in {"auto", "column", "peak_fraction"} and settings.extrapolate:
        onset -= minimum_jerk_lead(settings.fraction) * (time[peak] - crossing)
    quality = "ok"
    if time[peak] - onset > SLOW_RISE_S:
        quality = "slow_rise"
    elif (values[begin + found[1:]] > 0.8 * values[peak]).any():
        quality = "several_peaks"
    return Onset(float(onset), float(time[peak]), float(values[peak]), quality)


def _crossing(
    time: FloatArray, values: FloatArray, peak: int, settings: OnsetSettings, *, longest: float
) -> float | str:
    if settings.method == "accel_half_peak":
        rising = np.gradient(values[: peak + 1], time[: peak + 1])
        if not np.isfinite(rising).any():
            return "unobserved"
        top = int(np.nanargmax(rising))
        signal, last, limit = rising, top, float(rising[top]) / 2
    else:
        fixed = settings.threshold_cm_s
        limit = fixed if settings.method == "threshold" else settings.fraction * float(values[peak])
        signal, last = values, peak
    below = np.flatnonzero(signal[:last] < limit)
    if not len(below):
        return "no_crossing" if np.isfinite(signal[:last]).all() else "unobserved"
    i = int(below[-1])
    stretch = time[i : last + 1]
    if not np.isfinite(signal[i : last + 1]).all() or (np.diff(stretch) > longest).any():
        return "unobserved"
    rise = signal[i + 1] - signal[i]
    return float(time[i] + (limit - signal[i]) / rise * (time[i + 1] - time[i]))
