"""Trials that were cut before they came here, as the groups of a store.

Such trials have no place in a session. They are laid one after another on a clock of their own, with gaps
that count as not recorded between them, so that no smoothing and no lag reaches from one into the next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.signals.smoothing import smooth_counts

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nwb_latents.pipeline.stores.importers.lfads_h5 import LfadsDataset
    from nwb_latents.schemas.recipe import IngestRecipe

GAP_S = 0.5
"""Least time between two trials, s: behaviour is read at lags up to this."""

CLOCK_NOTE = (
    "the file holds trials without times: they are laid one after another, and all times are of that clock"
)

_UNKNOWN_TIMES = (
    "go_cue", "target_on", "move_onset", "peak_time", "peak_speed", "reaction_time", "target_dir"
)  # fmt: skip

Arrays = dict[str, "NDArray[np.generic]"]


def store_arrays(data: LfadsDataset, recipe: IngestRecipe) -> tuple[Arrays, Arrays]:
    """Return the arrays of the groups ``trials`` and ``continuous``.

    Parameters
    ----------
    data
        Trials, forward bins included.
    recipe
        Its window is what is encoded; forward bins follow the window in the continuous group.

    Returns
    -------
    trials, continuous
        As in `schemas.store`. What such a file cannot say is NaN, or text that says so: there is no event, no
        kinematics unless given, and no area.
    """
    n_trials, n_bins, n_units = data.counts.shape
    gap = max(recipe.filter_bins, round(GAP_S / recipe.bin_size_s))
    length = n_trials * (n_bins + gap)
    start = np.arange(n_trials) * (n_bins + gap)
    rows = (start[:, None] + np.arange(n_bins)).ravel()

    def laid_out(values: NDArray[np.generic], empty: float) -> NDArray[np.generic]:
        out = np.full((length, values.shape[2]), empty, values.dtype)
        out[rows] = values.reshape(-1, values.shape[2])
        return out

    observed = np.zeros(length, bool)
    observed[(start[:, None] + np.arange(n_bins))[np.arange(n_bins) < data.n_known_bins[:, None]]] = True
    counts = laid_out(data.counts, 0)
    rates = smooth_counts(
        np.ascontiguousarray(counts.T),
        observed,
        bin_size_s=recipe.bin_size_s,
        sigma_s=recipe.smooth_sigma_s,
        truncate=recipe.smooth_truncate,
        kernel=recipe.smooth_kernel,
    )
    velocity = laid_out(data.velocity, np.nan)
    by_time: Arrays = {
        "counts": counts,
        "rates": rates,
        "position": np.full_like(velocity, np.nan),
        "velocity": velocity,
    }
    if data.external is not None:
        by_time["external"] = laid_out(data.external, np.nan)
    if data.true_rates is not None:
        by_time["true_rates"] = laid_out(data.true_rates, np.nan)
    if data.model_rates is not None:
        by_time["imported_rates"] = laid_out(data.model_rates, np.nan)
    axis = np.array(["x", "y", "z"][: velocity.shape[1]], dtype=object)
    shared: Arrays = {"unit": data.unit, "axis": axis}
    window = start[:, None] + np.arange(recipe.n_bins)
    trials: Arrays = {
        **{name: values[window] for name, values in by_time.items()},
        **_coordinates(data, recipe, start),
        **shared,
        "area": np.full(n_units, "unknown", object),
        "mean_rate": _mean_rate(data, recipe),
        "heldout": _heldout(data),
    }
    clock = np.arange(length) * recipe.bin_ns / 1e9
    return trials, {**by_time, "observed": observed, "time": clock, **shared}


def _mean_rate(data: LfadsDataset, recipe: IngestRecipe) -> NDArray[np.float64]:
    """Return spikes per second of each unit over what is known of it, Hz."""
    is_bin = np.arange(data.counts.shape[1]) < data.n_known_bins[:, None]
    known = is_bin[:, :, None] & (data.is_known[:, None] | ~_heldout(data))[:, None]
    per_bin: NDArray[np.float64] = data.counts.mean(axis=(0, 1), where=known)
    return per_bin / recipe.bin_size_s


def _heldout(data: LfadsDataset) -> NDArray[np.bool_]:
    return np.arange(data.counts.shape[2]) >= data.n_encoded_units


def _coordinates(data: LfadsDataset, recipe: IngestRecipe, start: NDArray[np.int64]) -> Arrays:
    n_trials = len(start)
    return {
        "time": (recipe.window_bins[0] + np.arange(recipe.n_bins)) * recipe.bin_ns / 1e9,
        "trial": data.trial,
        "start_bin": start,
        "event_time": (start - recipe.window_bins[0]) * recipe.bin_ns / 1e9,
        "event_offset": np.zeros(n_trials),
        **{name: np.full(n_trials, np.nan) for name in _UNKNOWN_TIMES},
        "onset_quality": np.full(n_trials, "unobserved", object),
        "condition": np.full(n_trials, "", object),
        "split": data.split,
    }
