"""Intervals of metrics by the bootstrap over trials.

A metric that can be had from sums over trials need not be computed again for every resample: drawing trials
with replacement is counting each of them 0, 1, 2, … times, and the sums of all resamples are one matrix
product of these counts with the sums of the trials. Such a metric is a `Statistic`.

A resample has fewer different trials than there are, about 63 %. A metric of averages over trials, such as
the R² of condition means, is therefore lower in nearly every resample than it is, and percentiles of the
resamples need not hold it. Intervals are moved by that much: they say how far the metric would move with as
many other trials.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from nwb_latents.pipeline.errors import DataError, SettingsError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]


class Statistic(Protocol):
    """A metric of trials, each of which may count more than once or not at all."""

    @property
    def n_trials(self) -> int:
        """Number of trials, scored or not."""
        ...

    def value(self, weights: FloatArray) -> FloatArray:
        """Return the metric with each trial counted `weight` times.

        Parameters
        ----------
        weights
            At least 0. Shape ``(resample, trial)``. Weights of one give the metric itself.

        Returns
        -------
        values
            Shape ``(resample,)``, float64; NaN where not defined.
        """
        ...


@dataclass(frozen=True)
class Interval:
    """A metric and how far it would move with other trials.

    Attributes
    ----------
    value
        The metric of the trials as they are; NaN where not defined.
    low, high
        Ends of the interval, `value` between them; NaN where fewer than two trials or no resample define it.
    level
        Share of the resamples between the ends.
    bias
        Median of the resamples minus `value`: by how much the percentiles were moved.
    n_resamples
        Resamples the interval was taken from.
    n_undefined
        Further resamples, left out because the metric is not defined for them.
    """

    value: float
    low: float
    high: float
    level: float = 0.95
    bias: float = np.nan
    n_resamples: int = 0
    n_undefined: int = 0


@dataclass(frozen=True)
class MeanOf:
    """Plain mean of several metrics of the same trials.

    Attributes
    ----------
    parts
        At least one, all with the same number of trials. Where one is not defined, the mean is not.

    Raises
    ------
    DataError
        If there is none, or their trials differ in number.
    """

    parts: tuple[Statistic, ...]

    def __post_init__(self) -> None:
        numbers = sorted({part.n_trials for part in self.parts})
        if len(numbers) != 1:
            raise DataError(
                f"mean of {len(self.parts)} metrics: expected at least one, all of the same trials; found "
                f"numbers of trials {numbers}"
            )

    @property
    def n_trials(self) -> int:
        """Number of trials of every part."""
        return self.parts[0].n_trials

    def value(self, weights: FloatArray) -> FloatArray:
        """Return the mean of the parts (`Statistic.value`). Shape ``(resample,)``."""
        values: FloatArray = np.mean([part.value(weights) for part in self.parts], axis=0)
        return values


def bootstrap(
    statistic: Statistic,
    *,
    n_resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    value: float | None = None,
) -> Interval:
    """Return a metric with its interval over trials drawn with replacement.

    The ends are percentiles of the resamples, moved so that their median is the metric.

    Statistics of the same number of trials see the same resamples if the seed is the same.

    Parameters
    ----------
    statistic
        The metric.
    n_resamples
        How often as many trials as there are get drawn.
    level
        Share of the resamples the interval holds; half of the rest lies below it, half above.
    seed
        Seed of the draws.
    value
        The metric of the trials as they are, where it is known to the last digit from elsewhere; None: that
        of `statistic`.

    Returns
    -------
    interval
        Holds the metric, though not in the middle.

    Raises
    ------
    SettingsError
        If there is to be no resample, or `level` is not between 0 and 1.
    DataError
        If there is no trial, or the statistic returns other than one number for each resample.

    References
    ----------
    Efron and Tibshirani 1993, "An Introduction to the Bootstrap", section 13.3.

    Examples
    --------
    >>> from nwb_latents.pipeline.evaluation.metrics.r2 import R2Sums
    >>> true = np.random.default_rng(0).normal(size=(50, 10, 2))
    >>> found = bootstrap(R2Sums.of(true, 0.9 * true, definition="r2_uniform"), n_resamples=100)
    >>> round(found.value, 3), found.low < found.value < found.high, found.n_undefined
    (0.99, True, 0)
    """
    if n_resamples < 1 or not 0 < level < 1:
        raise SettingsError(
            f"bootstrap: {n_resamples} resamples at level {level}; expected at least 1 resample, such as "
            "1000, and a level between 0 and 1, such as 0.95"
        )
    n_trials = statistic.n_trials
    if n_trials < 1:
        raise DataError("bootstrap: there is no trial to draw from; check the split of the session")
    if value is None:
        value = float(_values(statistic, np.ones((1, n_trials)))[0])
    if n_trials < 2:
        return Interval(value, np.nan, np.nan, level=level)
    values = _values(statistic, _draws(n_trials, n_resamples=n_resamples, seed=seed))
    defined = values[np.isfinite(values)]
    n_undefined = n_resamples - len(defined)
    if len(defined) == 0:
        return Interval(value, np.nan, np.nan, level=level, n_undefined=n_undefined)
    low, median, high = np.quantile(defined, [(1 - level) / 2, 0.5, (1 + level) / 2])
    bias = float(median) - value
    return Interval(value, float(low) - bias, float(high) - bias, level, bias, len(defined), n_undefined)


def _values(statistic: Statistic, weights: FloatArray) -> FloatArray:
    values = np.asarray(statistic.value(weights))
    if values.shape != (len(weights),):
        raise DataError(
            f"{type(statistic).__name__}.value returned shape {values.shape} of weights of shape "
            f"{weights.shape}; expected ({len(weights)},), the metric of each resample"
        )
    return values


def _draws(n_trials: int, *, n_resamples: int, seed: int) -> FloatArray:
    """How often each trial is drawn. Shape ``(n_resamples, n_trials)``; every row sums to `n_trials`."""
    drawn = np.random.default_rng(seed).integers(n_trials, size=(n_resamples, n_trials))
    cell = drawn + n_trials * np.arange(n_resamples)[:, None]
    times = np.bincount(cell.ravel(), minlength=n_resamples * n_trials)
    return times.reshape(n_resamples, n_trials).astype(np.float64)
