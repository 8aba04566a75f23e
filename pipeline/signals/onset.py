"""Movement onset from speed.

Four rules, each in physical units, so that neither the sampling rate nor the speed of the reach moves the
onset. ``profile``, the default, takes the movements of a session together (`signals.rises` times them,
`signals.speed_profiles` says where they began); the others look at one movement each:

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

from nwb_latents.pipeline.signals.rises import MAJOR_PEAK, Rise, local_maxima, measure_rises, smoothed
from nwb_latents.pipeline.signals.speed_profiles import fit_onsets, widened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nwb_latents.pipeline.signals.recording import FloatArray, Series
    from nwb_latents.schemas.recipe_parts import OnsetSettings

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
    >>> from nwb_latents.pipeline.signals.recording import Series
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


def minimum_jerk_lead(fraction: float) -> float:
    """Return how far zero speed lies before the crossing, in units of the time from crossing to peak.

    Examples
    --------
    >>> round(minimum_jerk_lead(0.05), 4)
    0.1349
    """
    tau = (1.0 - np.sqrt(1.0 - np.sqrt(fraction))) / 2.0
    return float(tau / (0.5 - tau))


def profile_onsets(
    velocity: Series, windows: Sequence[tuple[float, float, float]], settings: OnsetSettings
) -> list[Onset]:
    """Find the onsets of a session's movements, one in each window, by the profiles that fit them.

    Parameters
    ----------
    velocity
        As recorded, cm/s. NaN where missing.
    windows
        For each movement: from when on it may begin (the go cue), and between which times its peak lies, s.
    settings
        Smoothing and least peak.

    Returns
    -------
    onsets
        Never raises: what could not be found is NaN, and `quality` says why.

    Examples
    --------
    >>> from nwb_latents.pipeline.signals.recording import Series
    >>> from nwb_latents.schemas.recipe_parts import OnsetSettings
    >>> t = np.arange(0, 2, 0.001)
    >>> tau = np.clip((t - 0.5) / 0.4, 0, 1)
    >>> reach = Series(t, np.outer(600 * tau**2 * (1 - tau) ** 2, [0.6, 0.8]))
    >>> [found] = profile_onsets(reach, [(0.2, 0.3, 1.5)], OnsetSettings())
    >>> round(found.onset, 2), found.quality
    (0.5, 'ok')
    """

    def measured(smooth_s: float) -> list[Rise]:
        return measure_rises(smoothed(velocity, smooth_s), windows, min_peak_cm_s=settings.min_peak_cm_s)

    every, windows = windows, list(dict.fromkeys(windows))
    rises = measured(settings.smooth_s)
    smooth_s = widened(rises, settings.smooth_s)
    if smooth_s > settings.smooth_s:
        rises = measured(smooth_s)
    onsets = fit_onsets(rises, smooth_s=smooth_s)
    found = {
        window: Onset(float(onset), rise.peak, rise.peak_speed, rise.fault or _quality(onset, rise))
        for window, onset, rise in zip(windows, onsets, rises, strict=True)
    }
    return [found[window] for window in every]


def _quality(onset: float, rise: Rise) -> str:
    if rise.peak - onset > SLOW_RISE_S:
        return "slow_rise"
    return "several_peaks" if rise.has_later_peak else "ok"


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
    >>> from nwb_latents.pipeline.signals.recording import Series
    >>> from nwb_latents.schemas.recipe_parts import OnsetSettings
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
    crossing = _crossing(time, values, peak, settings, longest=speed.longest_step_s)
    if isinstance(crossing, str):
        return Onset(np.nan, float(time[peak]), float(values[peak]), crossing)
    onset = crossing
    if settings.method not in {"accel_half_peak", "threshold"} and settings.extrapolate:
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
