"""The bin of every spike: what all counts of a session are made from, a block of time at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nwb_latents.pipeline.scratch import Touched, give_back, trains
from nwb_latents.pipeline.signals.millisecond_clock import MS_NS, is_observed_ms
from nwb_latents.pipeline.signals.timebase import to_ns

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nwb_latents.pipeline.scratch import Scratch
    from nwb_latents.pipeline.signals.recording import BoolArray, FloatArray, IntArray, Recording
    from nwb_latents.pipeline.signals.timebase import Grid

_MOST_MARKS = 1024


@dataclass(frozen=True)
class SpikeBins:
    """The bin of every spike that lies on the grid of a session.

    Attributes
    ----------
    bins
        Grouped by unit, ascending within each. Shape ``(n_spikes,)``, int32 or int64.
    index
        One past the last spike of each unit. Shape ``(n_units,)``.
    n_outside
        Spikes that do not lie on the grid.
    dtype
        The narrowest unsigned type that holds the largest count of a bin.
    marks
        How many spikes of each unit lie before every so many bins, so that those of a stretch of time are
        found without a look at others. Shape ``(n_units, n_marks)``.
    stride
        Bins from one mark to the next.
    """

    bins: NDArray[np.signedinteger]
    index: IntArray
    n_outside: int
    dtype: np.dtype[Any]
    marks: IntArray
    stride: int

    @classmethod
    def of_counts(cls, counts: NDArray[np.unsignedinteger]) -> SpikeBins:
        """Return the bins of spikes that were counted.

        Parameters
        ----------
        counts
            Shape ``(n_units, n_bins)``.

        Examples
        --------
        >>> SpikeBins.of_counts(np.array([[2, 0, 1], [0, 0, 0]], np.uint8)).bins.tolist()
        [0, 0, 2]
        """
        rows = [np.repeat(np.arange(len(row)), row) for row in counts]
        index = np.cumsum([len(row) for row in rows], dtype=np.int64)
        edges = np.array([0, counts.shape[1]])
        marks = np.array([np.searchsorted(row, edges) for row in rows]).reshape(-1, 2)
        bins = np.concatenate([np.zeros(0, np.int64), *rows])
        return cls(bins, index, 0, counts.dtype, marks, counts.shape[1])

    def counts(self, units: IntArray, lo: int, hi: int, *, observed: BoolArray) -> NDArray[Any]:
        """Count the spikes of some units in some bins.

        Parameters
        ----------
        units
            Rows of the units. Shape ``(n_units,)``.
        lo, hi
            From which bin to before which.
        observed
            Whether these bins were observed: what lies in others does not count. Shape ``(hi - lo,)``.

        Returns
        -------
        counts
            Shape ``(n_units, hi - lo)``.
        """
        starts = np.concatenate([[0], self.index[:-1]])
        out = np.empty((len(units), hi - lo), self.dtype)
        begins = (starts + self.marks[:, lo // self.stride]).tolist()
        ends = (starts + self.marks[:, -(-hi // self.stride)]).tolist()
        touched = Touched(self.bins)
        for row, unit in enumerate(units.tolist()):
            train = self.bins[begins[unit] : ends[unit]]
            first, last = np.searchsorted(train, (lo, hi))
            out[row] = np.bincount(train[first:last] - lo, minlength=hi - lo)
            touched.add()
        give_back(self.bins)
        if not observed.all():
            out[:, ~observed] = 0
        return out

    def n_in(self, wanted: BoolArray) -> IntArray:
        """Return how many spikes of each unit lie in bins that are wanted.

        Parameters
        ----------
        wanted
            Shape ``(n_bins,)``.
        """
        found = [np.count_nonzero(wanted[train]) for train in trains(self.bins, self.index)]
        return np.array(found, dtype=np.int64)


def spike_bins(recording: Recording, grid: Grid, *, scratch: Scratch, by_ms: bool = False) -> SpikeBins:
    """Return the bin of every spike.

    Parameters
    ----------
    recording
        The continuous session.
    grid
        Its bins.
    scratch
        Where the bins are kept.
    by_ms
        Whether spikes of milliseconds that were not observed throughout do not lie on the grid either.

    Raises
    ------
    DataError
        If a spike's time is not finite.
    """
    times, index = recording.spike_times, recording.spike_index
    bins = scratch.empty(len(times), np.int32 if grid.n_bins < 1 << 31 else np.int64)
    ends: list[int] = []
    at, wide, touched = 0, np.dtype(np.uint8), Touched(bins)
    stride = -(-grid.n_bins // _MOST_MARKS)
    edges = np.arange(-(-grid.n_bins // stride) + 1) * stride
    marks = np.empty((len(index), len(edges)), np.int64)
    for unit, train in enumerate(trains(times, index)):
        own = _on_grid(recording, train, grid, by_ms=by_ms)
        bins[at : at + len(own)] = own
        wide = _wide_enough(own, wide)
        marks[unit] = np.searchsorted(own, edges)
        at += len(own)
        ends.append(at)
        touched.add(own.nbytes)
    give_back(bins)
    return SpikeBins(bins[:at], np.array(ends, dtype=np.int64), len(times) - at, wide, marks, stride)


def _on_grid(recording: Recording, times: FloatArray, grid: Grid, *, by_ms: bool) -> IntArray:
    """Return the bins of one unit's spikes that lie on the grid, ascending."""
    if by_ms:
        ns = to_ns(times)
        bins = ns // grid.bin_ns - grid.first
        kept = (bins >= 0) & (bins < grid.n_bins) & is_observed_ms(recording, ns // MS_NS)
        bins = bins[kept]
    else:
        bins = grid.bin_of(times)
        if len(bins) and (bins.min() < 0 or bins.max() >= grid.n_bins):
            bins = bins[(bins >= 0) & (bins < grid.n_bins)]
    if (bins[1:] < bins[:-1]).any():
        bins.sort()
    return bins


def _wide_enough(bins: IntArray, dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type that holds how many of a unit's spikes share a bin, or a wider one that is given."""
    for wider in (np.uint16, np.uint32):
        most = int(np.iinfo(dtype).max)
        # Of ascending bins, one holds more than so many spikes if a spike's is that of the one so many on.
        if len(bins) <= most or not (bins[most:] == bins[:-most]).any():
            return dtype
        if np.dtype(wider).itemsize > dtype.itemsize:
            dtype = np.dtype(wider)
    return dtype
