"""Which units are good enough: rate, presence, refractory period, duplicates."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.scratch import give_back, is_on_disk, trains
from nwb_latents.pipeline.signals.timebase import to_ns

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from nwb_latents.pipeline.signals.recording import BoolArray, FloatArray, IntArray, Recording
    from nwb_latents.pipeline.signals.spike_bins import SpikeBins
    from nwb_latents.schemas.recipe import IngestRecipe

_TOGETHER = 1 << 20
"""Spikes compared with each other at once."""


def unit_reasons(
    recording: Recording,
    recipe: IngestRecipe,
    *,
    spikes: SpikeBins,
    observed: BoolArray,
    mean_rate: FloatArray,
) -> NDArray[np.object_]:
    """Say of each unit why it is left out.

    Parameters
    ----------
    recording
        Spike times of all units.
    recipe
        Thresholds; rules that are off cost nothing.
    spikes, observed
        The bin of every spike, and the bins that were observed, shape ``(n_bins,)``.
    mean_rate
        Hz. Shape ``(n_units,)``.

    Returns
    -------
    reason
        ``below_min_rate``, ``low_presence``, ``refractory_violations``, ``duplicate``, or ``""`` for a unit
        that is kept; the first that applies. Shape ``(n_units,)``, object.
    """
    rules = recipe.units
    reason = np.full(len(mean_rate), "", dtype=object)
    reason[mean_rate < recipe.min_rate_hz] = "below_min_rate"
    if rules.min_presence > 0:
        bins = max(1, round(rules.presence_s / recipe.bin_size_s))
        present = presence_ratio(spikes, observed, stretch_bins=bins)
        reason[(present < rules.min_presence) & (reason == "")] = "low_presence"
    if rules.max_refractory_violations is not None:
        share = refractory_violations(
            recording.spike_times, recording.spike_index, refractory_s=rules.refractory_s
        )
        reason[(share > rules.max_refractory_violations) & (reason == "")] = "refractory_violations"
    if rules.max_coincidence is not None:
        share = coincidence(recording.spike_times, recording.spike_index, within_s=rules.coincidence_s)
        kept = reason == ""
        repeated = duplicates(share, np.diff(recording.spike_index, prepend=0), kept, rules.max_coincidence)
        reason[repeated] = "duplicate"
    return reason


def presence_ratio(spikes: SpikeBins, observed: BoolArray, *, stretch_bins: int) -> FloatArray:
    """Return the share of the session's stretches in which each unit fires.

    Parameters
    ----------
    spikes
        The bin of every spike.
    observed
        Only these bins count, laid end to end. Shape ``(n_bins,)``.
    stretch_bins
        Bins of a stretch; a last one of less than half of it belongs to the one before.

    Returns
    -------
    presence
        In [0, 1]; 0 where nothing was observed. Shape ``(n_units,)``, float64.

    Examples
    --------
    >>> from nwb_latents.pipeline.signals.spike_bins import SpikeBins
    >>> spikes = SpikeBins.of_counts(np.array([[1, 0, 0, 0], [1, 0, 1, 0]], np.uint8))
    >>> presence_ratio(spikes, np.ones(4, bool), stretch_bins=2)
    array([0.5, 1. ])
    """
    n_bins = int(observed.sum())
    if n_bins == 0:
        return np.zeros(len(spikes.index))
    n_stretches = max(1, int(n_bins / stretch_bins + 0.5))
    place = np.cumsum(observed, dtype=spikes.bins.dtype) - 1
    fires = [
        len(np.unique(np.minimum(place[train[observed[train]]] // stretch_bins, n_stretches - 1)))
        for train in trains(spikes.bins, spikes.index)
    ]
    return np.array(fires) / n_stretches


def refractory_violations(
    spike_times: FloatArray, spike_index: IntArray, *, refractory_s: float
) -> FloatArray:
    """Return the share of each unit's inter-spike intervals that is shorter than the refractory period.

    Parameters
    ----------
    spike_times, spike_index
        As in `Recording`.
    refractory_s
        Refractory period, seconds.

    Returns
    -------
    share
        In [0, 1]; 0 for a unit with fewer than two spikes. Shape ``(n_units,)``, float64.

    Examples
    --------
    >>> times = np.array([0.0, 0.0005, 0.1, 0.0, 1.0])
    >>> refractory_violations(times, np.array([3, 5]), refractory_s=0.001)
    array([0.5, 0. ])
    """
    shortest = round(refractory_s * 1e9)
    short = [np.count_nonzero(np.diff(to_ns(train)) < shortest) for train in trains(spike_times, spike_index)]
    intervals = np.maximum(np.diff(spike_index, prepend=0) - 1, 1)
    return np.asarray(np.array(short, dtype=np.int64) / intervals, dtype=np.float64)


def coincidence(spike_times: FloatArray, spike_index: IntArray, *, within_s: float) -> FloatArray:
    """Return how much every two units fire at the same time.

    All spikes are laid on one line and compared with the next, the one after it, and so on, until none is
    near enough: the cost grows with the spikes, not with the square of the units. Of spikes that lie on the
    disk, one stretch of time is looked at after the other.

    Parameters
    ----------
    spike_times, spike_index
        As in `Recording`.
    within_s
        Spikes at most this far apart coincide, seconds.

    Returns
    -------
    share
        Coinciding pairs of spikes over the spikes of the quieter unit, at most 1; the diagonal is 0. Shape
        ``(n_units, n_units)``, float64, symmetric.

    Examples
    --------
    >>> times = np.array([0.1, 0.2, 0.3, 0.4, 0.1002, 0.3002])
    >>> coincidence(times, np.array([4, 6]), within_s=0.0005)
    array([[0., 1.],
           [1., 0.]])
    """
    n_units = len(spike_index)
    limit = round(within_s * 1e9)
    pairs = np.zeros(n_units * n_units, dtype=np.int64)
    for times, units, end in _stretches(spike_times, spike_index, beyond_s=2 * within_s + 1e-6):
        order = np.argsort(times, kind="stable")
        time, unit = to_ns(times)[order], units[order]
        first = np.arange(np.searchsorted(times[order], end))
        for step in range(1, len(time)):
            first = first[first + step < len(time)]
            first = first[time[first + step] - time[first] <= limit]
            if not len(first):
                break
            pairs += np.bincount(unit[first] * n_units + unit[first + step], minlength=n_units * n_units)
    both = pairs.reshape(n_units, n_units)
    both = both + both.T
    np.fill_diagonal(both, 0)
    n_spikes = np.diff(spike_index, prepend=0)
    quieter = np.maximum(np.minimum(n_spikes[:, None], n_spikes), 1)
    return np.asarray(np.minimum(both / quieter, 1.0), dtype=np.float64)


def duplicates(
    share: FloatArray, n_spikes: IntArray, eligible: BoolArray, max_coincidence: float
) -> BoolArray:
    """Mark units that repeat a busier one that is kept.

    Parameters
    ----------
    share
        From `coincidence`. Shape ``(n_units, n_units)``.
    n_spikes
        Shape ``(n_units,)``. Of two duplicates the one with more spikes stays, of equals the first.
    eligible
        Units that are compared. Shape ``(n_units,)``.
    max_coincidence
        A larger share marks a duplicate.

    Returns
    -------
    is_duplicate
        Shape ``(n_units,)``.

    Examples
    --------
    >>> share = np.array([[0, 0.9, 0], [0.9, 0, 0], [0, 0, 0]])
    >>> duplicates(share, np.array([5, 9, 7]), np.ones(3, bool), 0.5)
    array([ True, False, False])
    """
    stays = np.zeros(len(n_spikes), dtype=bool)
    is_duplicate = np.zeros(len(n_spikes), dtype=bool)
    for unit in np.argsort(-n_spikes, kind="stable"):
        if not eligible[unit]:
            continue
        is_duplicate[unit] = bool((share[unit, stays] > max_coincidence).any())
        stays[unit] = not is_duplicate[unit]
    return is_duplicate


def _stretches(
    times: FloatArray, index: IntArray, *, beyond_s: float
) -> Iterator[tuple[FloatArray, IntArray, float]]:
    """Yield the spikes of a stretch of time and a little beyond it, their units, and where it ends."""
    units = np.arange(len(index))
    if not is_on_disk(times):
        yield times, np.repeat(units, np.diff(index, prepend=0)), np.inf
        return
    starts = np.concatenate([[0], index[:-1]])
    own = [times[a:b] for a, b in zip(starts, index, strict=True)]
    low, high = min(each[0] for each in own if len(each)), max(each[-1] for each in own if len(each))
    edges = np.linspace(low, high, max(2, len(times) // _TOGETHER + 1))
    for begin, end in pairwise([*edges[:-1].tolist(), np.inf]):
        at = [np.searchsorted(each, (begin, end + beyond_s)) for each in own]
        parts = [each[a:b] for each, (a, b) in zip(own, at, strict=True)]
        yield np.concatenate(parts), np.repeat(units, [len(part) for part in parts]), end
        give_back(times)
