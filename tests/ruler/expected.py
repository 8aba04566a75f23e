"""What a store of the recording has to hold, worked out by plain loops from what was written into the file.

Nothing of the package is used here: bins are counted in whole ticks, kernels are summed term by term as the
manual describes them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ruler import recording as r

if TYPE_CHECKING:
    from collections.abc import Callable

DILATE_S, ERODE_S = 4.0, 1.0
KEPT = [unit for unit in range(len(r.IDS)) if unit != r.SLOW]


@dataclass(frozen=True)
class Bins:
    """Bins of one width over the session, and the window of a trial.

    Attributes
    ----------
    ticks
        Width of a bin.
    before, after
        Bins of a trial before the one that holds the event, and from it on.
    sigma_s, truncate
        Width of the Gaussian, and where it is cut, in standard deviations.
    """

    ticks: int
    before: int
    after: int
    sigma_s: float = 0.025
    truncate: float = 4.0

    @property
    def width_s(self) -> float:
        """Width of a bin."""
        return self.ticks / r.TICKS_PER_S

    @property
    def first(self) -> int:
        """Number of the first bin: the position begins there, before anything else that counts."""
        return ticks(r.POSITION_START_S) // self.ticks

    @property
    def n_bins(self) -> int:
        """Number of bins: the velocity ends last."""
        last = r.VELOCITY_START_S + (r.N_VELOCITY - 1) / r.VELOCITY_HZ
        return ticks(last) // self.ticks + 1 - self.first

    def left_s(self, at: int) -> float:
        """Left edge of a bin."""
        return (self.first + at) * self.ticks / r.TICKS_PER_S

    def centre_s(self, at: int) -> float:
        """Centre of a bin."""
        return (2 * (self.first + at) + 1) * self.ticks / 2 / r.TICKS_PER_S


def ticks(seconds: float) -> int:
    """Return a time in ticks; it is a whole number of them."""
    found = round(seconds * r.TICKS_PER_S)
    assert abs(found - seconds * r.TICKS_PER_S) < 1e-6
    return found


def observed(bins: Bins) -> np.ndarray:
    """Return which bins lie wholly in the time common to all units."""
    out = np.zeros(bins.n_bins, bool)
    for at in range(bins.n_bins):
        left = (bins.first + at) * bins.ticks
        out[at] = any(ticks(a) <= left and left + bins.ticks <= ticks(b) for a, b in r.COMMON)
    return out


def counts(bins: Bins) -> tuple[np.ndarray, int]:
    """Return spikes of each kept unit in each observed bin, and how many of all units lie outside these.

    Spikes in bins that the edge of observed time cuts are not among the latter.
    """
    whole = observed(bins)
    out, lost = np.zeros((bins.n_bins, len(KEPT)), int), 0
    for unit, spikes in enumerate(r.spike_ticks()):
        for spike in spikes:
            at = spike // bins.ticks - bins.first
            if not (0 <= at < bins.n_bins and whole[at]):
                lost += not any(0 <= k < bins.n_bins and whole[k] for k in (at - 1, at + 1))
            elif unit in KEPT:
                out[at, KEPT.index(unit)] += 1
    return out, lost


def rates(bins: Bins, spikes: np.ndarray) -> np.ndarray:
    """Return Hz: mean of the observed bins under a Gaussian."""
    whole, sigma = observed(bins), bins.sigma_s / bins.width_s
    reach = math.ceil(bins.truncate * sigma)
    out = np.full(spikes.shape, np.nan)
    for at in range(bins.n_bins):
        if not whole[at]:
            continue
        around = [k for k in range(max(at - reach, 0), min(at + reach + 1, bins.n_bins)) if whole[k]]
        weights = [math.exp(-((k - at) ** 2) / (2 * sigma**2)) for k in around]
        for unit in range(spikes.shape[1]):
            total = sum(w * spikes[k, unit] for k, w in zip(around, weights, strict=True))
            out[at, unit] = total / sum(weights) / bins.width_s
    return out


def at_centres(bins: Bins, value: Callable[..., Any], *, start_s: float, hz: int, n: int) -> np.ndarray:
    """Return a series at the centres of the bins, as a Hann-windowed sinc sees it that passes 80 % of what
    the bins can hold and reaches five bins to either side; NaN where the series is not."""
    last = start_s + (n - 1) / hz
    cutoff_hz, reach_s = 0.8 / (2 * bins.width_s), 5 * bins.width_s

    def extended(t: np.ndarray) -> np.ndarray:
        # Beyond its ends a series goes on as it was, turned about its last point.
        before, after = 2 * value(start_s) - value(2 * start_s - t), 2 * value(last) - value(2 * last - t)
        return np.where(t < start_s - 1e-9, before, np.where(t > last + 1e-9, after, value(t)))

    out = np.full(bins.n_bins, np.nan)
    for at in range(bins.n_bins):
        centre = bins.centre_s(at)
        if not start_s - 0.5 / hz <= centre <= last + 0.5 / hz:
            continue
        nearest, n_side = round((centre - start_s) * hz), math.ceil(reach_s * hz) + 1
        times = start_s + np.arange(nearest - n_side, nearest + n_side + 1) / hz
        apart = times - centre
        weights = np.sinc(2 * cutoff_hz * apart) * np.cos(np.pi * apart / (2 * reach_s)) ** 2
        weights[np.abs(apart) > reach_s - 1e-9] = 0.0
        out[at] = weights @ extended(times) / weights.sum()
    return out


def position(bins: Bins) -> np.ndarray:
    """Return the position at the centres, cm."""
    clock = {"start_s": r.POSITION_START_S, "hz": r.POSITION_HZ, "n": r.N_POSITION}
    axes = [at_centres(bins, lambda t, k=k: r.position_cm(t)[k], **clock) for k in range(2)]
    return np.column_stack(axes)


def velocity(bins: Bins) -> np.ndarray:
    """Return the velocity at the centres, cm/s."""
    clock = {"start_s": r.VELOCITY_START_S, "hz": r.VELOCITY_HZ, "n": r.N_VELOCITY}
    return np.outer(at_centres(bins, r.speed_cm_s, **clock), r.HEADING)


def peaks() -> tuple[np.ndarray, np.ndarray]:
    """Return time and speed of the peak after each onset, of a speed smoothed by 10 ms; the first trial
    ends before its peak and the second begins after it: their highest speed is at an edge."""
    weights = [math.exp(-(k**2) / 8) for k in range(-8, 9)]
    smooth = lambda t: (  # noqa: E731
        sum(w * r.speed_cm_s(t + k / r.VELOCITY_HZ) for k, w in enumerate(weights, -8)) / sum(weights)
    )
    times, speeds = [math.nan, math.nan], [smooth(r.STOP[0]), smooth(r.ONSET[1])]
    for row in range(2, len(r.ONSET)):
        apex = r.APEX_S + r.PERIOD_S * (row - 1)
        times.append(apex)
        speeds.append(smooth(apex))
    return np.array(times), np.array(speeds)


def event_bin(bins: Bins, seconds: float) -> int:
    """Return the bin that holds a time."""
    return ticks(seconds) // bins.ticks - bins.first


def reasons(bins: Bins) -> list[str]:
    """Return why each row of the trial table becomes no trial."""
    whole, guard = observed(bins), math.ceil(0.2 / bins.width_s)
    out, free_from = [], -(10**9)
    for row, onset in enumerate(r.ONSET):
        start = event_bin(bins, onset) - bins.before
        stop = start + bins.before + bins.after
        if row == r.FAILED:
            out.append("not_successful")
        elif not whole[start:stop].all():
            out.append("unobserved")
        elif start < free_from:
            out.append("overlaps_previous")
        else:
            out.append("")
            free_from = stop + guard
    return out


def outlier(bins: Bins) -> np.ndarray:
    """Return which bins lie within 4 s, less 1 s, of a position over 10 cm from the median of its axis."""
    time = [r.POSITION_START_S + k / r.POSITION_HZ for k in range(r.N_POSITION)]
    places = [r.position_cm(t) for t in time]
    middle = [
        sum(sorted(p[k] for p in places)[r.N_POSITION // 2 - 1 : r.N_POSITION // 2 + 1]) / 2 for k in (0, 1)
    ]
    far = [t for t, p in zip(time, places, strict=True) if any(abs(p[k] - middle[k]) > 10.0 for k in (0, 1))]
    half = 0.5 / r.POSITION_HZ
    stretches: list[list[float]] = []
    for t in far:
        if stretches and t - DILATE_S - half <= stretches[-1][1]:
            stretches[-1][1] = t + DILATE_S + half
        else:
            stretches.append([t - DILATE_S - half, t + DILATE_S + half])
    out = np.zeros(bins.n_bins, bool)
    for start, stop in stretches:
        for at in range(bins.n_bins):
            left, right = bins.left_s(at), bins.left_s(at + 1)
            out[at] |= right > start + ERODE_S + 1e-9 and left < stop - ERODE_S - 1e-9
    return out
