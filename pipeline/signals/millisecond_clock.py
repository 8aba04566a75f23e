"""Signals in bins of 1 ms, as nlb_tools has them: its smoothing of spikes and its decimation of kinematics.

Its clock begins at 0 s and ends with the observed time or the last trial; what it computes at the ends of
that, and at the edges of gaps, is computed here alike.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.machine import available_cores
from nwb_latents.pipeline.signals.binning import bin_spikes, merge_intervals
from nwb_latents.pipeline.signals.timebase import Grid, to_ns

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nwb_latents.pipeline.signals.recording import BoolArray, FloatArray, IntArray, Recording, Series

MS_NS = 1_000_000

SIGMAS = 6
"""Length of the Gaussian, standard deviations; an even number of ms, so that it lies half a ms early."""

TAPS = 500
"""Order of the filter of `decimated`."""


def millisecond_grid(recording: Recording) -> Grid:
    """Return the bins of 1 ms of nlb_tools: from 0 s to the end of observed time, or of the last trial."""
    end = float(recording.observed[-1, 1]) if len(recording.observed) else 0.0
    if recording.trials is not None and len(recording.trials):
        end = max(end, float(np.nanmax(recording.trials.events["stop"])))
    return Grid(0, round(end * 1e3), MS_NS)


def is_observed_ms(recording: Recording, ms: IntArray) -> BoolArray:
    """Return whether whole milliseconds, from their number since 0 s, lie in an observed interval.

    None before 0 s does: the clock begins there.

    References
    ----------
    nlb_tools 0.0.4, ``NWBDataset.load`` (``make_mask``).
    """
    bounds = to_ns(merge_intervals(recording.observed))
    begin, end = np.maximum(-(-bounds[:, 0] // MS_NS), 0), bounds[:, 1] // MS_NS
    if not len(begin):
        return np.zeros(ms.shape, dtype=bool)
    last = np.searchsorted(begin, ms, side="right") - 1
    return np.asarray((last >= 0) & (ms < end[np.maximum(last, 0)]))


def smoothed_at_1_ms(
    recording: Recording, units: IntArray, grid: Grid, *, sigma_s: float
) -> NDArray[np.float32]:
    """Smooth the spikes in bins of 1 ms by a Gaussian, each stretch of observed time by itself.

    Parameters
    ----------
    recording
        The recording.
    units
        Units wanted, in this order. Shape ``(n_units,)``.
    grid
        Bins of whole milliseconds.
    sigma_s
        Standard deviation of the Gaussian, s.

    Returns
    -------
    smoothed
        Spikes per bin, not below 0; NaN where the first millisecond of a bin was not observed.
        Shape ``(n_bins, n_units)``, float32.

    References
    ----------
    nlb_tools 0.0.4, ``NWBDataset.smooth_spk`` with ``ignore_nans`` and ``NWBDataset.resample``.
    """
    from scipy.signal import windows  # noqa: PLC0415

    sigma_ms = sigma_s * 1e3
    kernel = windows.gaussian(int(SIGMAS * sigma_ms), sigma_ms, sym=True)
    kernel /= kernel.sum()
    fine = millisecond_grid(recording)
    observed = _observed_ms(recording, fine)
    bounds = np.diff(np.concatenate([[False], observed, [False]]).astype(np.int8))
    begins, ends = (np.flatnonzero(bounds == step).tolist() for step in (1, -1))
    stretches = list(zip(begins, ends, strict=True))
    out = np.full((grid.n_bins, len(units)), np.nan, np.float32)

    def smooth(column: int) -> None:
        unit = int(units[column])
        begin = int(recording.spike_index[unit - 1]) if unit else 0
        times = recording.spike_times[begin : recording.spike_index[unit]]
        ms = to_ns(times) // MS_NS
        times = times[(ms >= 0) & (ms < fine.n_bins)]
        counts = bin_spikes(times, np.array([len(times)]), fine)[0].astype(np.float64)
        out[:, column] = _summed(_smoothed(counts, stretches, kernel), observed, grid)

    with ThreadPoolExecutor(min(4, available_cores())) as threads:
        list(threads.map(smooth, range(len(units))))
    return out


def _smoothed(counts: FloatArray, stretches: list[tuple[int, int]], kernel: FloatArray) -> FloatArray:
    from scipy.signal import convolve  # noqa: PLC0415

    smoothed = np.zeros(len(counts))
    for begin, end in stretches:
        # A short stretch gives as many values as the kernel is long: nlb_tools fails there, so that any
        # choice is ours; the middle of them is taken.
        made = convolve(counts[begin:end], kernel, "full")
        first = (len(kernel) - 1) // 2
        smoothed[begin:end] = np.maximum(made[first : first + end - begin], 0.0)
    return smoothed


def _observed_ms(recording: Recording, fine: Grid) -> BoolArray:
    """Return which milliseconds lie in an observed interval as a whole."""
    observed = np.zeros(fine.n_bins, dtype=bool)
    bounds = to_ns(merge_intervals(recording.observed))
    for begin, end in zip(-(-bounds[:, 0] // MS_NS), bounds[:, 1] // MS_NS, strict=True):
        observed[max(int(begin), 0) : max(int(end), 0)] = True
    return observed


def _summed(fine: FloatArray, observed: BoolArray, grid: Grid) -> FloatArray:
    """Sum milliseconds into the bins of a grid, NaN where the first of them was not observed."""
    per_bin = grid.bin_ns // MS_NS
    starts = (grid.first + np.arange(grid.n_bins)) * per_bin
    n = len(fine)
    inside = (starts >= 0) & (starts < n)
    total = np.zeros(-(-n // per_bin) * per_bin)
    total[:n] = fine
    sums = total.reshape(-1, per_bin).sum(axis=1)
    out = np.full(grid.n_bins, np.nan)
    kept = np.flatnonzero(inside)
    kept = kept[observed[starts[kept]]]
    out[kept] = sums[starts[kept] // per_bin]
    return out


def decimated(recording: Recording, series: Series, grid: Grid) -> FloatArray:
    """Read kinematics at the left edges of bins, by the filter of nlb_tools.

    Gaps are bridged by straight lines, and filtered over; what is NaN at a left edge stays it.

    Parameters
    ----------
    recording
        The recording, which says where its clock ends.
    series
        Sampled on whole milliseconds, to a microsecond.
    grid
        Bins of whole milliseconds.

    Returns
    -------
    values
        Shape ``(n_bins, n_axes)``, float64; NaN where there is no sample at the left edge.

    Raises
    ------
    DataError
        If samples lie off the milliseconds: nlb_tools leaves such a series out.

    References
    ----------
    nlb_tools 0.0.4, ``NWBDataset.resample``.
    """
    from scipy.signal import decimate  # noqa: PLC0415

    fine = millisecond_grid(recording)
    ms = np.rint(series.time * 1e3).astype(np.int64)
    off = np.abs(series.time * 1e3 - ms)
    if (off > 1e-3).any() or len(np.unique(ms)) < len(ms):
        worst = int(np.argmax(off))
        raise DataError(
            f"{recording.source or recording.session}: kinematics_at is left_edge, which needs samples on "
            f"whole milliseconds; {int((off > 1e-3).sum())} of {len(off)} lie off them (the one at "
            f"{series.time[worst]:.6f} s by {off[worst]:.3g} ms). Use --set kinematics_at=centre."
        )
    # Samples past the end of that clock are kept: nlb_tools would leave the whole series out.
    n_ms = max(fine.n_bins, int(ms[-1]) + 1)
    values = np.full((n_ms, series.values.shape[1]), np.nan)
    inside = ms >= 0
    values[ms[inside]] = series.values[inside]
    per_bin = grid.bin_ns // MS_NS
    is_missing = np.isnan(values[::per_bin])
    for axis in range(values.shape[1]):
        known = np.flatnonzero(np.isfinite(values[:, axis]))
        if len(known):
            values[:, axis] = np.interp(np.arange(n_ms), known, values[known, axis])
    made = decimate(values, per_bin, n=TAPS, axis=0, ftype="fir") if per_bin > 1 else values
    made[is_missing] = np.nan
    out = np.full((grid.n_bins, values.shape[1]), np.nan)
    at = grid.first + np.arange(grid.n_bins)
    kept = (at >= 0) & (at < len(made))
    out[kept] = made[at[kept]]
    return out
