"""The integer time base: nanoseconds, half-open bins, edges at whole multiples of the bin width.

Bins are ``[left, right)``. Their edges are ``k * bin_ns`` for integer ``k``, counted from time zero of the
session, and computed in integers: a float ``arange`` gives 35 or 36 bins for the same window, depending
on where it starts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError

if TYPE_CHECKING:
    from nwb_latents.pipeline.signals.recording import FloatArray, IntArray

NS_PER_S = 1_000_000_000


def to_ns(seconds: FloatArray) -> IntArray:
    """Round times to whole nanoseconds.

    Parameters
    ----------
    seconds
        Finite times in seconds, any shape.

    Returns
    -------
    nanoseconds
        int64, same shape.

    Raises
    ------
    DataError
        If a time is not finite.

    Examples
    --------
    >>> to_ns(np.array([0.02, 0.1 + 0.2]))
    array([ 20000000, 300000000])
    """
    seconds = np.asarray(seconds, dtype=np.float64)
    if not np.isfinite(seconds).all():
        n_bad = int((~np.isfinite(seconds)).sum())
        raise DataError(f"{n_bad} of {seconds.size} times are not finite. Leave them out before binning.")
    scaled = np.asarray(seconds * NS_PER_S)
    return np.rint(scaled, out=scaled).astype(np.int64)


@dataclass(frozen=True)
class Grid:
    """A run of adjacent time bins.

    Attributes
    ----------
    first
        Number of the first bin: its left edge is ``first * bin_ns``.
    n_bins
        Number of bins.
    bin_ns
        Width of a bin in nanoseconds.
    """

    first: int
    n_bins: int
    bin_ns: int

    @classmethod
    def covering(cls, start_s: float, stop_s: float, bin_ns: int) -> Grid:
        """Return the shortest grid in which both times lie.

        Examples
        --------
        >>> Grid.covering(0.01, 0.06, 20_000_000)
        Grid(first=0, n_bins=4, bin_ns=20000000)
        """
        first, last = to_ns(np.array([start_s, stop_s])) // bin_ns
        return cls(int(first), int(last - first + 1), bin_ns)

    @property
    def bin_size_s(self) -> float:
        """Width of a bin in seconds."""
        return self.bin_ns / NS_PER_S

    @property
    def left_s(self) -> FloatArray:
        """Left edges in seconds. Shape ``(n_bins,)``."""
        return self.left_of(np.arange(self.n_bins))

    def left_of(self, bins: IntArray) -> FloatArray:
        """Return the left edges of some bins in seconds.

        Parameters
        ----------
        bins
            Their positions in the grid, any shape.

        Examples
        --------
        >>> Grid(5, 10, 20_000_000).left_of(np.array([0, 2]))
        array([0.1 , 0.14])
        """
        edges = self.first + bins
        edges *= self.bin_ns
        return np.asarray(edges / NS_PER_S)

    @property
    def centre_s(self) -> FloatArray:
        """Centres in seconds. Shape ``(n_bins,)``."""
        return self.centres_s(0, self.n_bins)

    def centres_s(self, lo: int, hi: int) -> FloatArray:
        """Return the centres of some bins in seconds.

        Parameters
        ----------
        lo, hi
            From which bin of the grid to before which.

        Examples
        --------
        >>> Grid(0, 10, 20_000_000).centres_s(2, 4)
        array([0.05, 0.07])
        """
        out: FloatArray = (2 * (self.first + np.arange(lo, hi)) + 1) * self.bin_ns / (2 * NS_PER_S)
        return out

    def bin_of(self, seconds: FloatArray) -> IntArray:
        """Return the position in the grid of the bin that holds each time; may lie outside the grid.

        Parameters
        ----------
        seconds
            Finite times in seconds.

        Examples
        --------
        >>> Grid(0, 10, 20_000_000).bin_of(np.array([0.0199999, 0.02, 0.06]))
        array([0, 1, 3])
        """
        # In place: of tens of millions of spikes, the memory of each step costs more than the step.
        out = to_ns(seconds)
        out //= self.bin_ns
        out -= self.first
        return out
