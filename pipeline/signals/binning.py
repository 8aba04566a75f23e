"""Spike counts and observed time per bin."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.signals.timebase import Grid, to_ns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from nwb_latents.pipeline.signals.recording import BoolArray, FloatArray, IntArray

_TOGETHER = 1 << 16
"""Bins looked at together."""


def bin_spikes(spike_times: FloatArray, spike_index: IntArray, grid: Grid) -> NDArray[np.unsignedinteger]:
    """Count spikes per unit and bin.

    Parameters
    ----------
    spike_times
        Times of all spikes in seconds, grouped by unit. Shape ``(n_spikes,)``.
    spike_index
        One past the last spike of each unit. Shape ``(n_units,)``.
    grid
        Time bins, half-open ``[left, right)``; must hold every spike.

    Returns
    -------
    counts
        Spikes per bin. Shape ``(n_units, n_bins)``, uint8, or the next wider unsigned type that holds the
        largest count: counts never wrap and the total is that of `spike_times`.

    Raises
    ------
    DataError
        If a spike lies outside the grid or is not finite.

    Examples
    --------
    >>> bin_spikes(np.array([0.001, 0.019, 0.02, 0.05]), np.array([3, 4]), Grid(0, 3, 20_000_000))
    array([[2, 1, 0],
           [0, 0, 1]], dtype=uint8)
    """
    dtype: type[np.unsignedinteger] = np.uint8
    counts = np.zeros((len(spike_index), grid.n_bins), dtype)
    start = outside = 0
    for unit, stop in enumerate(spike_index):
        # One unit at a time: its bins stay in cache, and no second copy of all spikes is made.
        where = grid.bin_of(spike_times[start:stop])
        if len(where) and (where.min() < 0 or where.max() >= grid.n_bins):
            outside += int(((where < 0) | (where >= grid.n_bins)).sum())
            start = stop
            continue
        row = np.bincount(where, minlength=grid.n_bins)
        highest = int(row.max(initial=0))
        if highest > np.iinfo(dtype).max:
            dtype = np.uint16 if highest <= np.iinfo(np.uint16).max else np.uint32
            counts = counts.astype(dtype)
        counts[unit] = row
        start = stop
    if outside:
        raise DataError(
            f"{outside} of {len(spike_times)} spikes lie outside the time grid of {grid.n_bins} bins."
        )
    return counts


def observed_fraction(intervals: FloatArray, grid: Grid) -> FloatArray:
    """Return the share of each bin that lies within the observed intervals.

    Parameters
    ----------
    intervals
        Start and stop in seconds, half-open, ascending and disjoint. Shape ``(n_intervals, 2)``.
    grid
        Time bins.

    Returns
    -------
    fraction
        In [0, 1]; exactly 1 for a bin observed throughout. Shape ``(n_bins,)``, float64.

    Examples
    --------
    >>> observed_fraction(np.array([[0.01, 0.05]]), Grid(0, 3, 20_000_000))
    array([0.5, 1. , 0.5])
    """
    return np.concatenate([np.zeros(0), *observed_fractions(intervals, grid)])


def observed_fractions(intervals: FloatArray, grid: Grid) -> Iterator[FloatArray]:
    """Yield what `observed_fraction` returns, some thousand bins at a time.

    Parameters
    ----------
    intervals, grid
        As of `observed_fraction`.

    Examples
    --------
    >>> [share.tolist() for share in observed_fractions(np.array([[0.01, 0.05]]), Grid(0, 3, 20_000_000))]
    [[0.5, 1.0, 0.5]]
    """
    bounds = to_ns(np.asarray(intervals, dtype=np.float64)).reshape(-1, 2)
    # Observed time before each edge, in integers: whole intervals passed plus the part of the open one.
    lengths = bounds[:, 1] - bounds[:, 0]
    before = np.concatenate([[0], np.cumsum(lengths)])
    for lo in range(0, grid.n_bins, _TOGETHER):
        edges = (grid.first + np.arange(lo, min(lo + _TOGETHER, grid.n_bins) + 1)) * grid.bin_ns
        n_started = np.searchsorted(bounds[:, 0], edges, side="right")
        last = np.maximum(n_started - 1, 0)
        overhang = np.where(n_started > 0, np.maximum(bounds[last, 1] - edges, 0), 0) if len(bounds) else 0
        cumulative = before[n_started] - overhang
        yield np.asarray(np.diff(cumulative) / grid.bin_ns, dtype=np.float64)


def merge_intervals(intervals: FloatArray) -> FloatArray:
    """Sort intervals and join those that overlap or touch.

    Parameters
    ----------
    intervals
        Start and stop in seconds. Shape ``(n, 2)``; those with stop ≤ start or a NaN are left out.

    Returns
    -------
    merged
        Ascending and disjoint. Shape ``(m, 2)``, ``m ≤ n``.

    Examples
    --------
    >>> merge_intervals(np.array([[3.0, 4.0], [0.0, 1.0], [0.5, 2.0]]))
    array([[0., 2.],
           [3., 4.]])
    """
    intervals = np.asarray(intervals, dtype=np.float64).reshape(-1, 2)
    intervals = intervals[intervals[:, 1] > intervals[:, 0]]
    intervals = intervals[np.argsort(intervals[:, 0], kind="stable")]
    if not len(intervals):
        return intervals
    reach = np.maximum.accumulate(intervals[:, 1])
    starts = np.concatenate([[True], intervals[1:, 0] > reach[:-1]])
    first = np.flatnonzero(starts)
    last = np.concatenate([first[1:] - 1, [len(intervals) - 1]])
    return np.column_stack([intervals[first, 0], reach[last]])


def mean_rates(counts: NDArray[np.unsignedinteger], observed: BoolArray, bin_size_s: float) -> FloatArray:
    """Return the mean firing rate of each unit over the observed bins.

    Parameters
    ----------
    counts
        Spikes per bin. Shape ``(n_units, n_bins)``.
    observed
        Shape ``(n_bins,)``.
    bin_size_s
        Width of a bin in seconds.

    Returns
    -------
    rates
        Hz; 0 where nothing was observed. Shape ``(n_units,)``, float64.

    Examples
    --------
    >>> mean_rates(np.array([[2, 0, 9]], np.uint8), np.array([True, True, False]), 0.5)
    array([2.])
    """
    # A product of whole numbers and floats has no fast path; sums of whole numbers do. Few bins are left out.
    total = counts.sum(axis=1, dtype=np.int64) - counts[:, ~observed].sum(axis=1, dtype=np.int64)
    return rates_of(total, observed, bin_size_s)


def rates_of(n_spikes: IntArray, observed: BoolArray, bin_size_s: float) -> FloatArray:
    """Return the mean firing rate of units of which so many spikes lie in the observed bins.

    Parameters
    ----------
    n_spikes
        Shape ``(n_units,)``.
    observed
        Shape ``(n_bins,)``.
    bin_size_s
        Width of a bin in seconds.

    Returns
    -------
    rates
        Hz; 0 where nothing was observed. Shape ``(n_units,)``, float64.

    Examples
    --------
    >>> rates_of(np.array([2]), np.array([True, True, False]), 0.5)
    array([2.])
    """
    duration = float(observed.sum()) * bin_size_s
    return np.asarray(n_spikes / duration if duration > 0 else np.zeros(len(n_spikes)), dtype=np.float64)
