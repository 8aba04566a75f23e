"""Spike counts drawn from known rates, with everything they were made of.

Rates are expected spikes per bin. Trials come condition by condition, the repeats of a condition together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class SpikingTrials:
    """Counts of simulated trials and the truth about them.

    Attributes
    ----------
    counts
        Spikes per bin, ``Poisson(rates)``. Shape ``(trial, time, unit)``, int64.
    rates
        Expected spikes per bin. Shape of `counts`, float64.
    latents
        States the rates were made of. Shape ``(trial, time, D)``, float64.
    condition
        Condition of each trial; trials of one condition and the same input have the same rates.
        Shape ``(trial,)``, int64.
    bin_s
        Width of a bin, s.
    pulse_bin
        Bin in which each trial was given a pulse. Shape ``(trial,)``, int64; None: there was none.
    """

    counts: IntArray
    rates: FloatArray
    latents: FloatArray
    condition: IntArray
    bin_s: float
    pulse_bin: IntArray | None = None

    @property
    def n_trials(self) -> int:
        """Number of trials."""
        return len(self.counts)

    @property
    def n_units(self) -> int:
        """Number of units."""
        return int(self.counts.shape[2])

    def select(self, trials: IntArray, units: slice = slice(None)) -> SpikingTrials:
        """Return some of the trials, as some of the units see them.

        Parameters
        ----------
        trials
            Indices of trials. Shape ``(n,)``.
        units
            Units.
        """
        return SpikingTrials(
            counts=self.counts[trials][:, :, units],
            rates=self.rates[trials][:, :, units],
            latents=self.latents[trials],
            condition=self.condition[trials],
            bin_s=self.bin_s,
            pulse_bin=None if self.pulse_bin is None else self.pulse_bin[trials],
        )

    def split(self, n_first: int) -> tuple[SpikingTrials, SpikingTrials]:
        """Return the first trials of every condition, and the others.

        Parameters
        ----------
        n_first
            Trials of a condition that go to the first part.

        Raises
        ------
        ValueError
            If one of the parts is empty.

        Examples
        --------
        >>> flat = np.full((6, 4, 3), 0.5)
        >>> rng, condition = np.random.default_rng(0), np.repeat([0, 1], 3)
        >>> trials = spiking_trials(flat, flat, condition, bin_s=0.02, rng=rng)
        >>> train, val = trials.split(2)
        >>> train.condition.tolist(), val.condition.tolist()
        ([0, 0, 1, 1], [0, 1])
        """
        repeat = np.array([int((self.condition[:k] == c).sum()) for k, c in enumerate(self.condition)])
        first, rest = np.flatnonzero(repeat < n_first), np.flatnonzero(repeat >= n_first)
        if not len(first) or not len(rest):
            raise ValueError(
                f"{n_first} trials of each condition leave {len(first)} trials in the first part and "
                f"{len(rest)} in the second"
            )
        return self.select(first), self.select(rest)


def spiking_trials(
    rates: FloatArray,
    latents: FloatArray,
    condition: IntArray,
    *,
    bin_s: float,
    rng: np.random.Generator,
    pulse_bin: IntArray | None = None,
) -> SpikingTrials:
    """Draw the counts of trials with the given rates.

    Parameters
    ----------
    rates, latents, condition, bin_s, pulse_bin
        As in `SpikingTrials`.
    rng
        Source of the counts.

    Examples
    --------
    >>> flat = np.full((2, 4, 3), 0.5)
    >>> trials = spiking_trials(flat, flat, np.arange(2), bin_s=0.02, rng=np.random.default_rng(0))
    >>> trials.counts.shape, trials.n_units
    ((2, 4, 3), 3)
    """
    counts = rng.poisson(rates).astype(np.int64)
    return SpikingTrials(counts, rates, latents, condition, bin_s, pulse_bin)
