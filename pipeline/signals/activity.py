"""Counts and rates of a session, a block of time at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nwb_latents.pipeline.signals.smoothing import gaussian_kernel, smooth_counts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nwb_latents.pipeline.signals.recording import BoolArray, IntArray
    from nwb_latents.pipeline.signals.rows import Rows, Shelf
    from nwb_latents.pipeline.signals.spike_bins import SpikeBins
    from nwb_latents.schemas.recipe import IngestRecipe


def binned_activity(
    spikes: SpikeBins,
    units: IntArray,
    observed: BoolArray,
    *,
    bin_size_s: float,
    recipe: IngestRecipe,
    shelf: Shelf,
) -> tuple[Rows, Rows]:
    """Count and smooth the spikes of a session.

    Each block of time is counted with as many bins on both sides as the Gaussian reaches: what is weighed
    and summed for a bin is the same whatever the blocks are.

    Parameters
    ----------
    spikes
        The bin of every spike.
    units
        Rows of the units wanted, in this order. Shape ``(n_units,)``.
    observed
        Which bins were observed. Shape ``(n_bins,)``.
    bin_size_s
        Width of a bin, s.
    recipe
        Smoothing.
    shelf
        Where both go, as ``continuous/counts`` and ``continuous/rates``.

    Returns
    -------
    counts, rates
        Spikes per bin, 0 where not observed, and Hz, NaN where not observed (float32). Shape
        ``(n_bins, n_units)``.
    """
    n_bins, n_units = len(observed), len(units)
    kernel = gaussian_kernel(
        recipe.smooth_sigma_s / bin_size_s, recipe.smooth_truncate, kind=recipe.smooth_kernel
    )
    reach = len(kernel) // 2
    counts = shelf.sink("continuous/counts", (n_bins, n_units), spikes.dtype)
    rates = shelf.sink("continuous/rates", (n_bins, n_units), np.float32)
    step = max(1, shelf.block_cells // max(1, n_units))
    for lo in range(0, n_bins, step):
        hi = min(lo + step, n_bins)
        first, last = max(lo - reach, 0), min(hi + reach, n_bins)
        around = spikes.counts(units, first, last, observed=observed[first:last])
        counts.append(_transposed(around[:, lo - first : hi - first]))
        smoothed = smooth_counts(
            around,
            observed[first:last],
            bin_size_s=bin_size_s,
            sigma_s=recipe.smooth_sigma_s,
            truncate=recipe.smooth_truncate,
            kernel=recipe.smooth_kernel,
        )
        rates.append(smoothed[lo - first : hi - first])
    return counts.finished(), rates.finished()


def _transposed(values: NDArray[Any]) -> NDArray[Any]:
    """Return a transposed copy, block by block: column by column, every write would miss the cache."""
    out = np.empty(values.shape[::-1], values.dtype)
    for lo in range(0, values.shape[1], 1024):
        out[lo : lo + 1024] = values[:, lo : lo + 1024].T
    return out
