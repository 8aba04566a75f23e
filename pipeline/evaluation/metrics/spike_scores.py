"""How well rates predict spike counts: bits per spike of a Poisson likelihood.

**Co-smoothing** and **forward prediction** bits/spike are this one function on other arrays. Co-smoothing
takes the rates and spikes of the held-out units; forward prediction those of all units, held-in first, in the
bins after the window. Rates are expected spikes **per bin**, not Hz.

Where a count is NaN, nothing was recorded, and the bin of this unit counts nowhere.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import gammaln, xlogy

from nwb_latents.pipeline.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    FloatArray = NDArray[np.float64]

LEAST_RATE = 1e-9
"""Rates of 0 are raised to this many spikes per bin: a spike there costs 30 bits, not infinitely many."""


def poisson_nll(rates: ArrayLike, spikes: ArrayLike) -> FloatArray:
    """Return the negative log-likelihood ``r − n ln r + ln Γ(n + 1)`` of every count, in nats.

    Parameters
    ----------
    rates
        Expected spikes per bin, at least 0; rates of 0 are raised to `LEAST_RATE`, with a warning.
        Shape ``(…, unit)``. Not looked at where `spikes` is NaN.
    spikes
        Counts, NaN where not recorded. Shape of `rates`.

    Returns
    -------
    nll
        NaN where `spikes` is. Shape of `rates`, float64.

    Raises
    ------
    DataError
        If the shapes differ, or a rate or count is negative, infinite, or (rates) NaN.

    Examples
    --------
    >>> poisson_nll([[1.0], [2.0]], [[0.0], [np.nan]]).tolist()
    [[1.0], [nan]]
    """
    expected, counts = _checked(rates, spikes)
    nll: FloatArray = expected - xlogy(counts, expected) + gammaln(counts + 1.0)
    return nll


def bits_per_spike(rates: ArrayLike, spikes: ArrayLike) -> float:
    """Return by how many bits per spike `rates` predict better than each unit's mean count does.

    ``[ℓ(null, n) − ℓ(r, n)] / (Σn · ln 2)`` with ℓ the summed `poisson_nll` and the null each unit's mean
    over **the very spikes that are scored**. The null thus knows what no model can know: the mean rates of
    other trials score slightly below 0.

    Parameters
    ----------
    rates
        Expected spikes per bin, at least 0; rates of 0 are raised to `LEAST_RATE`, with a warning.
        Shape ``(…, unit)``, such as ``(trial, time, unit)``. Not looked at where `spikes` is NaN.
    spikes
        Counts, NaN where not recorded. Shape of `rates`.

    Returns
    -------
    bits
        0 for the null itself; NaN where there is no spike.

    Raises
    ------
    DataError
        If the shapes differ, or a rate or count is negative, infinite, or (rates) NaN.

    References
    ----------
    Pei et al. 2021, "Neural Latents Benchmark '21", co-smoothing and forward prediction.

    Examples
    --------
    >>> round(bits_per_spike([[1.0], [3.0]], [[1.0], [3.0]]), 5)
    0.18872
    >>> bits_per_spike([[2.0], [2.0]], [[1.0], [3.0]])
    0.0
    """
    expected, counts = _checked(rates, spikes)
    n_units = counts.shape[-1]
    sums = _sums(expected.reshape(1, -1, n_units), counts.reshape(1, -1, n_units))
    return float(sums.value(np.ones((1, 1)))[0])


@dataclass(frozen=True)
class SpikeSums:
    """Bits per spike as a `pipeline.evaluation.metrics.resampling.Statistic`, from sums over each trial.

    In a resample the null is each unit's mean over the spikes of that resample.

    Attributes
    ----------
    gain
        How much smaller the negative log-likelihood of the rates is than that of `null`, nats.
        Shape ``(trial,)``.
    spikes
        Spikes of each unit. Shape ``(trial, unit)``.
    bins
        Bins recorded of each unit. Shape ``(trial, unit)``.
    """

    gain: FloatArray
    spikes: FloatArray
    bins: FloatArray

    @classmethod
    def of(cls, rates: ArrayLike, spikes: ArrayLike) -> SpikeSums:
        """Sum over each trial.

        Parameters
        ----------
        rates, spikes
            As for `bits_per_spike`. Shape ``(trial, time, unit)``.

        Raises
        ------
        DataError
            As for `bits_per_spike`, and if the arrays have other than three dimensions.

        Examples
        --------
        >>> sums = SpikeSums.of([[[1.0]], [[3.0]]], [[[1.0]], [[3.0]]])
        >>> sums.value(np.array([[1.0, 1.0], [2.0, 0.0]])).round(5).tolist()
        [0.18872, 0.0]
        """
        expected, counts = _checked(rates, spikes)
        if expected.ndim != 3:
            raise DataError(f"bits per spike: shape {expected.shape}; expected (trial, time, unit)")
        return _sums(expected, counts)

    @property
    def null(self) -> FloatArray:
        """Mean spikes per bin over all trials. Shape ``(unit,)``."""
        return _mean_count(self.spikes.sum(axis=0), self.bins.sum(axis=0))

    @property
    def n_trials(self) -> int:
        """Number of trials."""
        return len(self.gain)

    def value(self, weights: FloatArray) -> FloatArray:
        """Return bits per spike with each trial counted `weight` times.

        Parameters
        ----------
        weights
            At least 0. Shape ``(resample, trial)``.

        Returns
        -------
        bits
            Shape ``(resample,)``; NaN where there is no spike.
        """
        spikes, bins = weights @ self.spikes, weights @ self.bins
        null = self.null
        other = _mean_count(spikes, bins)
        # The trials were held against the null of all of them. That of the resample fits it better.
        better = bins * (null - other) + spikes * np.log(other / null)
        total = spikes.sum(axis=1)
        bits = np.full(len(weights), np.nan)
        np.divide(weights @ self.gain - better.sum(axis=1), total * np.log(2.0), out=bits, where=total > 0)
        return bits


def _sums(expected: FloatArray, counts: FloatArray) -> SpikeSums:
    recorded = np.isfinite(counts)
    counted = np.where(recorded, counts, 0.0)
    spikes = counted.sum(axis=1)
    bins = recorded.sum(axis=1, dtype=np.float64)
    null = _mean_count(spikes.sum(axis=0), bins.sum(axis=0))
    # Bin by bin the constant ln Γ(n + 1) is gone, and rates equal to the null gain exactly nothing.
    gain = np.where(recorded, null - expected, 0.0) + counted * np.log(expected / null)
    return SpikeSums(gain=gain.sum(axis=(1, 2)), spikes=spikes, bins=bins)


def _mean_count(spikes: FloatArray, bins: FloatArray) -> FloatArray:
    """Mean spikes per bin; of a unit without a spike, or without a bin, `LEAST_RATE`."""
    mean: FloatArray = np.full(spikes.shape, LEAST_RATE)
    np.divide(spikes, bins, out=mean, where=spikes > 0)
    return mean


def _checked(rates: ArrayLike, spikes: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Return both as float64, rates at least `LEAST_RATE`; where nothing was recorded, 1 and NaN."""
    expected = np.asarray(rates, dtype=np.float64)
    counts = np.asarray(spikes, dtype=np.float64)
    if expected.shape != counts.shape or expected.ndim < 2:
        raise DataError(
            f"spike scores: rates have shape {expected.shape}, spikes {counts.shape}; both must have the "
            "same shape with the units last, such as (trial, time, unit)"
        )
    recorded = ~np.isnan(counts)
    number = int(recorded.sum())
    bad_rates = int((recorded & ~(np.isfinite(expected) & (expected >= 0))).sum())
    bad_counts = int((recorded & ~(np.isfinite(counts) & (counts >= 0))).sum())
    if bad_rates or bad_counts:
        raise DataError(
            f"spike scores: {bad_rates} of {number} rates and {bad_counts} of {number} counts are negative "
            "or not finite; expected spikes per bin, at least 0. Counts may be NaN where nothing was recorded"
        )
    zero = recorded & (expected == 0)
    if zero.any():
        warnings.warn(
            f"spike scores: {int(zero.sum())} of {number} rates are 0 and were raised to {LEAST_RATE} spikes "
            "per bin; a rate of 0 says that a spike is impossible",
            stacklevel=3,
        )
    kept = np.where(recorded, np.where(zero, LEAST_RATE, expected), 1.0)
    return kept, counts
