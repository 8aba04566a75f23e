"""How well rates give the mean course of each condition: R² of peri-stimulus time histograms (PSTH).

Rates of the trials of a condition are averaged bin by bin and held against the smoothed mean of the recorded
spikes of that condition. What trials of the same condition do differently does not count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.metrics.r2 import ROUNDING_SHARE, r2

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import ArrayLike, NDArray

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]
    BoolArray = NDArray[np.bool_]

NUMBERS_AT_A_TIME = 2**22
"""Differences of resamples that are in memory at once."""


def psth_r2(
    rates: ArrayLike, condition_index: ArrayLike, psth: ArrayLike, *, jitter: ArrayLike | None = None
) -> float:
    """Return the R² of condition means of `rates`.

    Conditions are put end to end, ``(condition · time, unit)``, and scored by ``r2_uniform`` with the PSTH as
    the true values.

    Parameters
    ----------
    rates
        Expected spikes per bin, finite where scored. Shape ``(trial, time, unit)``.
    condition_index
        Row of `psth` each trial belongs to; −1: none. Shape ``(trial,)``.
    psth
        Smoothed mean of recorded spikes of each condition, unit of the rates. Bins in which any unit is NaN
        are not scored. Shape ``(condition, time, unit)``.
    jitter
        Bins each trial is moved to the right (negative: to the left) before averaging. Bins it leaves empty
        are not known of that trial; a mean is taken over the trials that are known. Default: none is moved.
        Shape ``(trial,)``.

    Returns
    -------
    value
        ``r2_uniform``; NaN where a unit's PSTH does not vary. Conditions without a trial, and bins no trial
        reaches, are not scored.

    Raises
    ------
    DataError
        If shapes do not fit, an index is not one of a condition, nothing is left to score, or a rate that
        counts is not finite.

    References
    ----------
    Pei et al. 2021, "Neural Latents Benchmark '21", match to PSTH; `jitter` is that of dmfc_rsg.

    Examples
    --------
    >>> psth = [[[0.0], [2.0]], [[1.0], [5.0]]]
    >>> rates = [[[0.0], [1.0]], [[0.0], [3.0]], [[1.0], [5.0]]]
    >>> psth_r2(rates, [0, 0, 1], psth)
    1.0
    """
    task = _Task.of(rates, condition_index, psth, jitter)
    n_conditions, n_bins, n_units = task.psth.shape
    member = (task.index == np.arange(n_conditions)[:, None]).astype(np.float64)
    number = member @ task.counts
    total = member @ task.rates.reshape(len(task.rates), -1)
    mean = total.reshape(n_conditions, n_bins, n_units) / np.maximum(number, 1.0)[..., None]
    return r2(task.psth, mean, definition="r2_uniform", mask=number > 0)


def condition_index(members: Iterable[Any], *, n_trials: int) -> IntArray:
    """Return the condition of each trial from the trials of each condition.

    Parameters
    ----------
    members
        Rows of the trials of each condition, as ``eval_cond_idx`` of the benchmark has them.
    n_trials
        Number of trials.

    Returns
    -------
    index
        −1 where a trial has no condition. Shape ``(trial,)``.

    Examples
    --------
    >>> condition_index([[0, 3], [1]], n_trials=4).tolist()
    [0, 1, -1, 0]
    """
    index = np.full(n_trials, -1, dtype=np.int64)
    for condition, rows in enumerate(members):
        index[np.asarray(rows, dtype=np.int64)] = condition
    return index


def varying_units(psth: ArrayLike, condition: ArrayLike | None = None) -> IntArray:
    """Return the units whose PSTH varies: only of these there is an R². NaN is not looked at.

    Parameters
    ----------
    psth
        Shape ``(condition, time, unit)``.
    condition
        Row of `psth` of each trial scored, −1 where it has none; conditions without a trial are not scored.
        Shape ``(trial,)``. None: all conditions are.

    Examples
    --------
    >>> varying_units([[[0.0, 1.0], [0.0, np.nan], [0.0, 2.0]]]).tolist()
    [1]
    >>> varying_units([[[0.0, 1.0]], [[3.0, 1.0]], [[3.0, 2.0]]], [1, -1, 2]).tolist()
    [1]
    """
    values = np.asarray(psth, dtype=np.float64)
    if condition is not None:
        rows = np.asarray(condition, dtype=np.int64)
        values = values[np.unique(rows[rows >= 0])]
    highest, lowest = (
        reduce(values, axis=(0, 1), where=np.isfinite(values), initial=start)
        for reduce, start in ((np.max, -np.inf), (np.min, np.inf))
    )
    return np.flatnonzero(highest > lowest)


@dataclass(frozen=True)
class _Block:
    """Bins of a condition that the same trials reach.

    The differences between its PSTH and any weighted mean of its trials have the length of
    ``Σ_k w_k course_k − target`` in few dimensions: those the trials and the PSTH span.
    """

    trials: IntArray
    course: FloatArray
    target: FloatArray
    number: int
    first: FloatArray
    second: FloatArray

    @classmethod
    def of(cls, trials: IntArray, rates: FloatArray, psth: FloatArray) -> _Block:
        """Take rates ``(trial, bin, unit)`` and PSTH ``(bin, unit)``, both minus the mean of the PSTH."""
        columns = np.concatenate([rates, psth[None]]).transpose(2, 1, 0)
        spanned = np.asarray(np.linalg.qr(columns, mode="r")).transpose(2, 1, 0)
        first, second = psth.sum(axis=0), np.square(psth).sum(axis=0)
        return cls(trials, spanned[:-1], spanned[-1], len(psth), first, second)

    def squared_error(self, share: FloatArray) -> FloatArray:
        """Squared differences, summed over bins, of means with these shares. Shape ``(resample, unit)``."""
        shape = self.target.shape
        at_a_time = max(1, NUMBERS_AT_A_TIME // max(1, self.target.size))
        course = self.course.reshape(len(self.trials), -1)
        errors = [
            np.square((part @ course).reshape(-1, *shape) - self.target).sum(axis=1)
            for part in np.split(share, range(at_a_time, len(share), at_a_time))
        ]
        return np.concatenate(errors)


@dataclass(frozen=True)
class PsthSums:
    """R² of condition means as a `pipeline.evaluation.metrics.resampling.Statistic`.

    In a resample every condition has the weighted mean of its trials that were drawn; a condition of which
    none was drawn is not scored.

    Attributes
    ----------
    n_trials
        Number of trials, of a condition or not.
    """

    n_trials: int
    _blocks: tuple[_Block, ...]

    @classmethod
    def of(
        cls,
        rates: ArrayLike,
        condition_index: ArrayLike,
        psth: ArrayLike,
        *,
        jitter: ArrayLike | None = None,
    ) -> PsthSums:
        """Condense the trials of each condition.

        Parameters
        ----------
        rates, condition_index, psth, jitter
            As for `psth_r2`.

        Raises
        ------
        DataError
            As for `psth_r2`.

        Examples
        --------
        >>> psth = [[[0.0], [2.0]], [[1.0], [5.0]]]
        >>> sums = PsthSums.of([[[0.0], [1.0]], [[0.0], [3.0]], [[1.0], [5.0]]], [0, 0, 1], psth)
        >>> sums.value(np.array([[1.0, 1.0, 1.0], [2.0, 0.0, 0.0]])).round(9).tolist()
        [1.0, 0.5]
        """
        task = _Task.of(rates, condition_index, psth, jitter)
        return cls(len(task.rates), tuple(task.blocks()))

    def value(self, weights: FloatArray) -> FloatArray:
        """Return the R² with each trial counted `weight` times.

        Parameters
        ----------
        weights
            At least 0. Shape ``(resample, trial)``.

        Returns
        -------
        values
            Shape ``(resample,)``; NaN where a unit's PSTH does not vary over what is scored.
        """
        n_units = len(self._blocks[0].first)
        error, first, second = np.zeros((3, len(weights), n_units))
        number = np.zeros((len(weights), 1))
        for block in self._blocks:
            drawn = weights[:, block.trials]
            total = drawn.sum(axis=1, keepdims=True)
            known = total > 0
            share = np.divide(drawn, total, out=np.zeros_like(drawn), where=known)
            error += np.where(known, block.squared_error(share), 0.0)
            number += known * block.number
            first += known * block.first
            second += known * block.second
        shift = np.divide(np.square(first), number, out=np.zeros_like(first), where=number > 0)
        varies = second - shift > ROUNDING_SHARE * second
        ratio = np.divide(error, second - shift, out=np.full_like(error, np.nan), where=varies)
        values: FloatArray = 1.0 - ratio.mean(axis=1)
        return values


@dataclass(frozen=True)
class _Task:
    """Checked arrays; rates are moved by the jitter, and 0 in bins ``(trial, time)`` that do not count."""

    rates: FloatArray
    index: IntArray
    psth: FloatArray
    counts: BoolArray

    @classmethod
    def of(
        cls, rates: ArrayLike, condition_index: ArrayLike, psth: ArrayLike, jitter: ArrayLike | None
    ) -> _Task:
        x, target = np.asarray(rates, dtype=np.float64), np.asarray(psth, dtype=np.float64)
        if x.ndim != 3 or target.ndim != 3 or x.shape[1:] != target.shape[1:]:
            raise DataError(
                f"PSTH R²: rates have shape {x.shape}, the PSTH {target.shape}; expected (trial, time, unit) "
                "and (condition, time, unit) with the same bins and units"
            )
        index = _per_trial("condition indices", condition_index, n_trials=len(x))
        if index.min(initial=-1) < -1 or index.max(initial=-1) >= len(target):
            raise DataError(
                f"PSTH R²: condition indices from {index.min()} to {index.max()}; expected 0 to "
                f"{len(target) - 1}, or −1 for a trial without a condition"
            )
        shift = np.zeros_like(index) if jitter is None else _per_trial("jitter", jitter, n_trials=len(x))
        source = np.arange(x.shape[1]) - shift[:, None]
        reached = (source >= 0) & (source < x.shape[1]) & (index >= 0)[:, None]
        # The last row, without a PSTH, is that of trials without a condition, −1.
        known = np.isfinite(np.concatenate([target, np.full((1, *x.shape[1:]), np.nan)])).all(axis=-1)
        counts: BoolArray = np.asarray(reached & known[index])
        if not counts.any():
            raise DataError(
                "PSTH R²: no bin has both a PSTH and a trial; check that the conditions of the trials are "
                "those of the PSTH"
            )
        moved = np.take_along_axis(x, source.clip(0, x.shape[1] - 1)[..., None], axis=1)
        bad = int((counts & ~np.isfinite(moved).all(axis=-1)).sum())
        if bad:
            raise DataError(
                f"PSTH R²: rates are not finite in {bad} of {int(counts.sum())} bins; a model that gives NaN "
                "has to be trained again"
            )
        return cls(np.where(counts[..., None], moved, 0.0), index, target, counts)

    def blocks(self) -> Iterator[_Block]:
        """Return the bins of every condition, those together that the same trials reach."""
        known = self.psth[np.isfinite(self.psth).all(axis=-1)]
        # A unit whose PSTH is one value gets exactly 0: the rounded mean of equal values is not that value.
        centre = np.where(known.max(axis=0) > known.min(axis=0), known.mean(axis=0), known[0])
        for condition in np.unique(self.index[self.index >= 0]):
            trials = np.flatnonzero(self.index == condition)
            bins = np.flatnonzero(self.counts[trials].any(axis=0))
            patterns, which = np.unique(self.counts[trials][:, bins], axis=1, return_inverse=True)
            for number, pattern in enumerate(patterns.T):
                these, those = trials[pattern], bins[which.ravel() == number]
                rates = self.rates[np.ix_(these, those)] - centre
                yield _Block.of(these, rates, self.psth[condition, those] - centre)


def _per_trial(name: str, values: ArrayLike, *, n_trials: int) -> IntArray:
    given = np.asarray(values)
    if given.shape != (n_trials,) or not np.issubdtype(given.dtype, np.integer):
        raise DataError(
            f"PSTH R²: {name} have shape {given.shape} and type {given.dtype}; expected one whole number for "
            f"each of {n_trials} trials"
        )
    return given.astype(np.int64)
