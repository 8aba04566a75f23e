"""Gaussian smoothing of counts into rates, on the continuous series or within trials, aware of gaps."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import correlate1d

from nwb_latents.pipeline.machine import available_cores

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nwb_latents.pipeline.signals.recording import BoolArray, FloatArray
    from nwb_latents.schemas.recipe_parts import SmoothKernel

_BLOCK = 1 << 19
"""Bins times units smoothed together: so many that threads seldom wait for each other."""
_SAMPLES = 1 << 15
"""Samples times axes smoothed together: so few that they stay in the cache."""
_MAX_THREADS = 4
"""Few, since other sessions may run beside this one."""


def gaussian_kernel(
    sigma_bins: float, truncate: float = 4.0, *, kind: SmoothKernel = "gaussian"
) -> FloatArray:
    """Return a Gaussian of odd length that sums to one, or the half of it that looks back.

    Parameters
    ----------
    sigma_bins
        Standard deviation in bins; 0 gives the kernel that changes nothing.
    truncate
        Half width in standard deviations.
    kind
        ``gaussian``: symmetric; ``causal``: weights of bins after the one that is smoothed are 0.

    Returns
    -------
    kernel
        Weights of the bins around a bin, from the first to the last. Shape
        ``(2 * ceil(truncate * sigma_bins) + 1,)``: an even kernel would shift the rates by half a bin.

    Examples
    --------
    >>> gaussian_kernel(0.0)
    array([1.])
    >>> len(gaussian_kernel(1.25))
    11
    >>> gaussian_kernel(0.5, 2.0, kind="causal").round(3)
    array([0.119, 0.881, 0.   ])
    """
    radius = int(np.ceil(truncate * sigma_bins - 1e-9))
    if radius == 0:
        return np.ones(1)
    offsets = np.arange(-radius, radius + 1) / sigma_bins
    kernel: FloatArray = np.exp(-0.5 * offsets**2)
    if kind == "causal":
        kernel[radius + 1 :] = 0.0
    return np.asarray(kernel / kernel.sum())


def smooth_counts(
    counts: NDArray[np.unsignedinteger],
    observed: BoolArray,
    *,
    bin_size_s: float,
    sigma_s: float,
    truncate: float = 4.0,
    kernel: SmoothKernel = "gaussian",
) -> NDArray[np.float32]:
    """Turn spike counts into smoothed firing rates.

    Each output bin is the mean of the observed bins around it, weighted by the Gaussian: at the ends of the
    session and beside gaps the weights are renormalised, so that a constant rate stays constant there.

    Parameters
    ----------
    counts
        Spikes per bin. Shape ``(n_units, n_bins)``.
    observed
        Bins that were recorded. Shape ``(n_bins,)``. Counts elsewhere have no influence.
    bin_size_s
        Width of a bin in seconds.
    sigma_s
        Standard deviation of the Gaussian in seconds.
    truncate
        Half width of the Gaussian in standard deviations.
    kernel
        Whether bins after the one that is smoothed count (``gaussian``) or not (``causal``).

    Returns
    -------
    rates
        Hz; NaN in bins that were not observed. Shape ``(n_bins, n_units)``, float32.

    Examples
    --------
    >>> ones = np.ones((1, 6), np.uint8)
    >>> smooth_counts(ones, np.array([1, 1, 0, 1, 1, 1], bool), bin_size_s=0.02, sigma_s=0.025)
    array([[50.],
           [50.],
           [nan],
           [50.],
           [50.],
           [50.]], dtype=float32)
    """
    weights = gaussian_kernel(sigma_s / bin_size_s, truncate, kind=kernel)
    weight = correlate1d(observed.astype(np.float64), weights, mode="constant")
    with np.errstate(invalid="ignore", divide="ignore"):
        scale = np.where(observed, 1.0 / (weight * bin_size_s), np.nan)
    n_bins, reach = counts.shape[1], len(weights) // 2
    block = max(256, _BLOCK // max(1, len(counts)))
    rates = np.empty(counts.shape[::-1], np.float32)

    def smooth(lo: int) -> None:
        hi, first = min(lo + block, n_bins), max(lo - reach, 0)
        around = slice(first, hi + reach)
        values = counts[:, around]
        if not observed[around].all():
            values = np.where(observed[around], values, 0)
        # The interpreter is free throughout: smoothing goes on beside whatever else the session needs.
        wide = correlate1d(values, weights, axis=1, output=np.float64, mode="constant")
        inner = wide[:, lo - first : hi - first]
        inner *= scale[lo:hi]
        rates[lo:hi] = inner.T

    with ThreadPoolExecutor(min(_MAX_THREADS, available_cores())) as threads:
        list(threads.map(smooth, range(0, n_bins, block)))
    return rates


def smooth_samples(values: FloatArray, sigma: float) -> FloatArray:
    """Smooth samples without gaps by a Gaussian; the first and the last are repeated beyond the ends.

    To the bit what `scipy.ndimage.gaussian_filter1d` gives, which takes twice as long: it copies each axis of
    long series out and back.

    Parameters
    ----------
    values
        Finite. Shape ``(n_samples, n_axes)``.
    sigma
        Standard deviation in samples, above 0; the Gaussian ends at four of them.

    Returns
    -------
    smoothed
        Shape ``(n_samples, n_axes)``, float64.

    Examples
    --------
    >>> smooth_samples(np.array([[0.0], [0.0], [3.0], [0.0]]), 0.5)[:, 0].round(2)
    array([0.  , 0.32, 2.36, 0.32])
    """
    reach = int(4.0 * sigma + 0.5)
    kernel = np.exp(-0.5 / (sigma * sigma) * np.arange(-reach, reach + 1) ** 2)
    kernel = kernel / kernel.sum()
    out = np.empty(values.shape)
    rows = max(4 * reach, _SAMPLES // values.shape[1])
    spare = np.empty((min(rows, len(values)), values.shape[1]))
    for lo in range(0, len(values), rows):
        # In blocks that stay in the cache, each with its neighbours on both sides.
        hi = min(lo + rows, len(values))
        before, after = max(reach - lo, 0), max(hi + reach - len(values), 0)
        around = values[lo - reach + before : hi + reach - after]
        if before or after:
            around = np.pad(around, ((before, after), (0, 0)), mode="edge")
        block, pair, n = out[lo:hi], spare[: hi - lo], hi - lo
        np.multiply(around[reach : reach + n], kernel[reach], out=block)
        for k in range(reach):
            np.add(around[k : k + n], around[2 * reach - k : 2 * reach - k + n], out=pair)
            pair *= kernel[k]
            block += pair
    return out


def smooth_trials(counts: FloatArray, *, sigma_bins: float, kernel: SmoothKernel = "gaussian") -> FloatArray:
    """Smooth every trial on its own: nothing of another trial, or of the time around it, comes in.

    Each bin is the mean of the known bins of its trial, weighted by the whole Gaussian: a constant stays
    constant at the edges of the window and beside gaps.

    Parameters
    ----------
    counts
        Shape ``(trial, time, unit)``; NaN where not known.
    sigma_bins
        Standard deviation of the Gaussian in bins, above 0.
    kernel
        As in `smooth_counts`.

    Returns
    -------
    smoothed
        In the unit of `counts`, bins that are not known filled in; NaN where a trial knows no bin of a unit,
        or of a causal kernel none up to there.
        Shape ``(trial, time, unit)``, float64.

    Examples
    --------
    >>> counts = np.array([[[2.0], [2.0], [np.nan]], [[0.0], [0.0], [5.0]]])
    >>> smooth_trials(counts, sigma_bins=0.1)[..., 0].round(9)
    array([[2., 2., 2.],
           [0., 0., 5.]])
    """
    at = np.arange(counts.shape[1]) / sigma_bins
    # Far from all that is known every weight would be 0; with the smallest number, such a bin has a mean too.
    weights = np.maximum(np.exp(-0.5 * np.square(at[:, None] - at)), np.finfo(np.float64).tiny)
    if kernel == "causal":
        weights = np.tril(weights)
    known = np.isfinite(counts)
    if known.all():
        smoothed: FloatArray = weights / weights.sum(axis=1, keepdims=True) @ counts
        return smoothed
    with np.errstate(invalid="ignore"):
        return np.asarray((weights @ np.where(known, counts, 0.0)) / (weights @ known.astype(np.float64)))
