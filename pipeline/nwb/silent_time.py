"""Stretches in which no unit fires: nothing was recorded there, whatever else goes on."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.nwb.observed_units import intersect_intervals
from nwb_latents.pipeline.scratch import pieces, trains

if TYPE_CHECKING:
    from nwb_latents.pipeline.nwb.file import NwbFile
    from nwb_latents.pipeline.signals.recording import FloatArray, IntArray

SHORTEST_S = 10.0
SHORTEST_SHARE = 0.02
FEWEST_EXPECTED = 200.0
"""A stretch is silent if it lasts this long, this share of the observed time, and if this many spikes would
be expected there at the mean rate of all units together."""

MOST_BINS = 1_000_000
MOST_SHOWN = 6


def without_silence(
    file: NwbFile, observed: FloatArray, spikes: FloatArray, index: IntArray, *, is_stated: bool
) -> FloatArray:
    """Find long stretches of observed time in which no unit fires, and say which.

    Parameters
    ----------
    file
        The open file.
    observed
        Seconds, ascending and disjoint, finite. Shape ``(n_intervals, 2)``.
    spikes, index
        Times of the units that are used, s, and one past the last spike of each.
    is_stated
        Whether the file itself says when units were observed; what it says is then kept.

    Returns
    -------
    observed
        Without these stretches, unless the file itself states what was observed.
    """
    total = float(np.diff(observed, axis=1).sum()) if len(observed) else 0.0
    if not len(spikes) or total <= 0:
        return observed
    shortest = max(SHORTEST_S, SHORTEST_SHARE * total, FEWEST_EXPECTED * total / len(spikes))
    silent = [
        (low, high)
        for low, high in _pauses(observed, spikes, index, shortest)
        if float(np.diff(intersect_intervals(observed, np.array([[low, high]])), axis=1).sum()) > shortest
    ]
    if not silent:
        return observed
    inside = intersect_intervals(observed, np.array(silent))
    lost = float(np.diff(inside, axis=1).sum())
    extents = [intersect_intervals(observed, np.array([pause])) for pause in silent]
    shown = ", ".join(f"{each[0, 0]:.1f} to {each[-1, 1]:.1f} s" for each in extents[:MOST_SHOWN])
    what = (
        f"no unit fires from {shown}{', …' if len(silent) > MOST_SHOWN else ''} ({lost:.1f} s, "
        f"{lost / total:.0%} of the observed time)"
    )
    if is_stated:
        file.say(
            f"{what}, but the file counts that as observed: counts of trials there are 0; to leave it out, "
            "name it in /intervals/invalid_times"
        )
        return observed
    file.say(f"{what}: it counts as not observed")
    bounds = np.concatenate([[-np.inf], np.ravel(silent), [np.inf]]).reshape(-1, 2)
    return intersect_intervals(observed, bounds)


def _pauses(
    observed: FloatArray, spikes: FloatArray, index: IntArray, shortest: float
) -> list[tuple[float, float]]:
    """Return stretches without any spike, ascending; those at the ends reach to the ends of observed time."""
    low, high = float(observed[0, 0]), float(observed[-1, 1])
    width = max(shortest / 8, (high - low) / MOST_BINS)
    n_bins = int((high - low) / width) + 1
    fires = np.zeros(n_bins + 2, dtype=bool)
    for train in trains(spikes, index):
        where = ((train - low) / width).astype(np.int64) + 1
        fires[where[(where >= 1) & (where <= n_bins)]] = True
        if fires[1:-1].all():
            # A few units tell, where there is no pause.
            return []
    fires[0] = fires[-1] = True
    edges = np.flatnonzero(fires)
    found = []
    for before, after in pairwise(edges.tolist()):
        if (after - before - 1) * width < shortest - 2 * width:
            continue
        # From the last spike before to the first one after.
        begin, end = low + before * width, low + (after - 1) * width
        earlier, later = [low], [high]
        for train in pieces(spikes):
            earlier.append(float(train.max(initial=low, where=(train <= begin) & (train >= low))))
            later.append(float(train.min(initial=high, where=(train >= end) & (train <= high))))
        found.append((max(earlier), min(later)))
    return found
