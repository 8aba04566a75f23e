"""Spikes and units that are kept, train by train: no second copy is made of what lies on the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.scratch import give_back, is_on_disk, trains

if TYPE_CHECKING:
    from collections.abc import Callable

    from nwb_latents.pipeline.signals.recording import BoolArray, FloatArray, IntArray


def only_spikes(
    times: FloatArray, index: IntArray, keep: Callable[[FloatArray], BoolArray]
) -> tuple[FloatArray, IntArray]:
    """Return the spikes that a rule keeps of each unit.

    Parameters
    ----------
    times, index
        Times, s, and one past the last spike of each unit. Times that lie on the disk are written over.
    keep
        Times of one unit → which of them are kept.

    Examples
    --------
    >>> only_spikes(np.array([1.0, 9.0, 2.0]), np.array([2, 3]), lambda train: train < 5)
    (array([1., 2.]), array([1, 2]))
    """
    out = times if is_on_disk(times) else np.empty(len(times))
    ends, at = [], 0
    for train in trains(times, index):
        kept = train[keep(train)]
        out[at : at + len(kept)] = kept
        at += len(kept)
        ends.append(at)
    return out[:at], np.array(ends, dtype=np.int64)


def only_trains(times: FloatArray, index: IntArray, kept: BoolArray) -> tuple[FloatArray, IntArray]:
    """Return the spikes of some units.

    Parameters
    ----------
    times, index
        As in `only_spikes`.
    kept
        Which units. Shape ``(n_units,)``.

    Examples
    --------
    >>> only_trains(np.array([1.0, 9.0, 2.0]), np.array([2, 3]), np.array([False, True]))
    (array([2.]), array([1]))
    """
    starts = np.concatenate([[0], index[:-1]])
    sizes = (index - starts)[kept]
    out = times if is_on_disk(times) else np.empty(int(sizes.sum()))
    at = 0
    for unit in np.flatnonzero(kept):
        train = times[starts[unit] : index[unit]]
        # What lies on the disk moves to earlier places alone, and so over nothing that is still to be moved.
        out[at : at + len(train)] = train
        at += len(train)
    give_back(out)
    return out[:at], np.cumsum(sizes, dtype=np.int64)
