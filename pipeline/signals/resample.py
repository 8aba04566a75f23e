"""Kinematics on the bins: contiguous segments, anti-alias filter, derivative.

A value is that of the band-limited signal at the bin's centre. Nothing is computed across a gap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.interpolate import PchipInterpolator

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from nwb_latents.pipeline.signals.recording import FloatArray, IntArray, Segment, Series

CUTOFF = 0.8
"""Cut-off of the anti-alias filter as a share of the bins' Nyquist frequency."""

ZERO_CROSSINGS = 4
"""Half width of the filter, in zero crossings of the sinc."""

_BLOCK = 1 << 14
"""Samples looked at together."""

_TOGETHER = 8192
"""Bins evaluated together."""


def differentiate(series: Series) -> Series:
    """Return the time derivative, second-order central differences within each contiguous segment.

    Parameters
    ----------
    series
        Sampled signal, e.g. position in cm.

    Returns
    -------
    derivative
        Per second, at the same sample times; NaN where a sample is missing or alone.

    Examples
    --------
    >>> from nwb_latents.pipeline.signals.recording import Series
    >>> t = np.arange(4) * 0.5
    >>> differentiate(Series(t, (3 * t)[:, None])).values[:, 0]
    array([3., 3., 3., 3.])
    """
    out = np.full_like(series.values, np.nan)
    for segment in series.segments:
        out[segment.at] = slopes(segment.time, segment.values)
    return series.with_values(out)


def slopes(time: FloatArray, values: FloatArray) -> FloatArray:
    """Return the derivative of samples without gaps, second-order at the ends as well.

    Parameters
    ----------
    time
        Seconds, ascending, at least two. Shape ``(n,)``.
    values
        Finite. Shape ``(n, n_axes)``.

    Returns
    -------
    slopes
        Per second. Shape ``(n, n_axes)``, float64.

    Examples
    --------
    >>> t = np.array([0.0, 0.5, 0.6, 1.0])
    >>> slopes(t, t[:, None] ** 2)[1:, 0].round(9)
    array([1. , 1.2, 2. ])
    """
    out = np.empty(values.shape)
    for lo in range(0, len(time), _BLOCK):
        # In blocks that stay in the cache, each with its neighbours on both sides.
        hi = min(lo + _BLOCK, len(time))
        first = max(min(lo - 1, len(time) - 3), 0)
        around = slice(first, min(hi + 2, len(time)))
        steps = np.diff(time[around])
        for axis in range(values.shape[1]):
            chords = np.diff(values[around, axis]) / steps
            inner = chords[:1]
            if len(chords) > 1:
                before, after = steps[:-1], steps[1:]
                inner = (chords[:-1] * after + chords[1:] * before) / (before + after)
            ends = 2 * chords[0] - inner[0], 2 * chords[-1] - inner[-1]
            out[lo:hi, axis] = np.concatenate([ends[:1], inner, ends[1:]])[lo - first : hi - first]
    return out


def resample(series: Series, at: FloatArray, *, bin_size_s: float) -> FloatArray:
    """Evaluate a series at bin centres, without aliasing and with unit gain at zero frequency.

    Where the series is sampled faster than the bins, a Hann-windowed sinc with its cut-off at 80 % of the
    bins' Nyquist frequency is centred on each bin centre and its taps are scaled to sum to one. Where it is
    sampled slower, it is interpolated by monotone cubics. Ends of segments are extended by point reflection,
    which keeps their slope.

    Parameters
    ----------
    series
        Sampled signal.
    at
        Bin centres in seconds, ascending, one bin apart. Shape ``(n_bins,)``.
    bin_size_s
        Width of a bin in seconds.

    Returns
    -------
    values
        Shape ``(n_bins, n_axes)``, float64. NaN at centres that lie in no contiguous segment.

    Examples
    --------
    >>> from nwb_latents.pipeline.signals.recording import Series
    >>> t = np.arange(200) * 0.001
    >>> resample(Series(t, np.ones((200, 1))), np.array([0.05, 0.07]), bin_size_s=0.02)[:, 0]
    array([1., 1.])
    """
    out = np.empty((len(at), series.values.shape[1]))
    resample_into(out, series, lambda lo, hi: at[lo:hi], bin_size_s=bin_size_s)
    return out


def resample_into(
    out: NDArray[np.floating], series: Series, centres: Callable[[int, int], FloatArray], *, bin_size_s: float
) -> None:
    """Evaluate a series at bin centres, as `resample` does, some thousand bins at a time.

    Parameters
    ----------
    out
        What is filled: NaN at centres that lie in no contiguous segment. Shape ``(n_bins, n_axes)``.
    series
        Sampled signal.
    centres
        From which bin to before which → their centres in seconds, ascending, one bin apart.
    bin_size_s
        Width of a bin in seconds.
    """
    out[...] = np.nan
    for segment in series.segments:
        step = (segment.time[-1] - segment.time[0]) / (len(segment.time) - 1)
        slack = min(step, bin_size_s) / 2 + 1e-9
        first = _first_from(segment.time[0] - slack, len(out), centres)
        last = _first_from(segment.time[-1] + slack, len(out), centres)
        if first == last:
            continue
        parts = [(lo, min(lo + _TOGETHER, last)) for lo in range(first, last, _TOGETHER)]
        if step > 0.75 * bin_size_s:
            for lo, hi in parts:
                out[lo:hi] = _cubic(segment, centres(lo, hi))
        else:
            _windowed_sinc(out, segment, parts, centres, step=step, bin_size_s=bin_size_s)


def _cubic(segment: Segment, at: FloatArray) -> FloatArray:
    """Return monotone cubics at some times, of the samples around them: slopes need their neighbours."""
    inside = np.clip(at, segment.time[0], segment.time[-1])
    first, last = np.searchsorted(segment.time, inside[[0, -1]])
    near = slice(max(int(first) - 3, 0), int(last) + 3)
    return np.asarray(PchipInterpolator(segment.time[near], segment.values[near])(inside))


def _first_from(time_s: float, n_bins: int, centres: Callable[[int, int], FloatArray]) -> int:
    """Return the first bin whose centre does not lie before a time."""
    low, high = 0, n_bins
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if centres(middle, middle + 1)[0] < time_s else (low, middle)
    return low


def _windowed_sinc(
    out: NDArray[np.floating],
    segment: Segment,
    parts: list[tuple[int, int]],
    centres: Callable[[int, int], FloatArray],
    *,
    step: float,
    bin_size_s: float,
) -> None:
    start = segment.time[0]
    values = segment.values
    if _drift(segment.time, step) > 0.01 * step:
        uniform = start + step * np.arange(len(segment.time))
        values = np.column_stack([np.interp(uniform, segment.time, column) for column in values.T])
    cutoff_hz = CUTOFF / (2 * bin_size_s)
    half_s = ZERO_CROSSINGS / (2 * cutoff_hz)
    n_side = int(np.ceil(half_s / step))

    def placed(lo: int, hi: int) -> tuple[IntArray, FloatArray]:
        """Return the sample nearest to each centre, and how far the centre lies beyond it, in samples."""
        position = (centres(lo, hi) - start) / step
        nearest = np.rint(position).astype(np.int64)
        return nearest, np.round(position - nearest, 4)

    # Bins and samples drift past each other slowly or not at all, so that few phases occur.
    phases = np.unique(np.concatenate([np.unique(placed(lo, hi)[1]) for lo, hi in parts]))
    taps = (np.arange(-n_side, n_side + 1) - phases[:, None]) * step
    weights = np.sinc(2 * cutoff_hz * taps) * np.where(
        np.abs(taps) < half_s, np.cos(np.pi * taps / (2 * half_s)) ** 2, 0.0
    )
    weights /= weights.sum(axis=1, keepdims=True)
    begin, end = parts[0][0], parts[-1][1]
    # Where bins are whole multiples of the samples, it is one filter, evaluated every so many samples.
    stride = int(np.diff(placed(begin, begin + 2)[0])[0]) if end - begin > 1 else 1
    for lo, hi in parts:
        nearest, phase = placed(lo, hi)
        if len(phases) == 1:
            last = int(nearest[0]) + stride * (hi - lo - 1)
            picked = _windows(values, int(nearest[0]), last, n_side)[::stride]
            for axis in range(values.shape[1]):
                out[lo:hi, axis] = picked[:, axis] @ weights[0]
        else:
            picked = _windows(values, int(nearest[0]), int(nearest[-1]), n_side)[nearest - nearest[0]]
            out[lo:hi] = np.einsum("tak,tk->ta", picked, weights[np.searchsorted(phases, phase)])


def _windows(values: FloatArray, first: int, last: int, n_side: int) -> FloatArray:
    """Return the neighbourhood of each of the samples from one to another, ends extended by point reflection.

    Only that much of a series is copied. Shape ``(last - first + 1, n_axes, 2 * n_side + 1)``.
    """
    lo, hi, pad = first - n_side, last + n_side + 1, n_side + 1
    if lo >= 0 and hi <= len(values):
        part = values[lo:hi]
    else:
        # A sample is reflected from as far inside as it lies outside.
        begin = max(lo - pad, 0)
        near = values[begin : hi + pad]
        part = np.pad(near, ((pad, pad), (0, 0)), mode="reflect", reflect_type="odd")
        part = part[lo - begin + pad : hi - begin + pad]
    return sliding_window_view(part, 2 * n_side + 1, axis=0)


def _drift(time: FloatArray, step: float) -> float:
    """Return how far samples lie at most from those of a uniform clock, seconds."""
    most = 0.0
    for lo in range(0, len(time), _BLOCK):
        part = time[lo : lo + _BLOCK]
        most = max(most, float(np.abs(time[0] + step * np.arange(lo, lo + len(part)) - part).max()))
    return most
