"""Coefficients of determination, by name: systems in this field differ in which one they call R².

========================  ======================================================================
name                      definition
========================  ======================================================================
``r2_uniform``            1 − SSE/SST of each output over all trials and bins, then the mean over
                          outputs (NLB velocity R², NODE-SAE rate R²)
``r2_pooled``             one ratio: SSE and SST summed over outputs, trials and bins; SST around
                          each output's own mean
``r2_pearson``            squared Pearson correlation of all values pooled (LFADS synthetic data)
``r2_trialmean``          as ``r2_pooled``, but SST around each trial's own mean over time (MDSSM
                          k-step forecast); unstable where trajectories settle at a fixed point
========================  ======================================================================

A definition whose denominator is zero, or that has no sample left, is undefined: NaN, never 0 or 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError, SettingsError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from nwb_latents.schemas.measurement import R2Definition

    FloatArray = NDArray[np.float64]
    BoolArray = NDArray[np.bool_]

ROUNDING_SHARE = 1e-12
"""A variance smaller than this share of the mean square it is the rest of is none but for rounding."""


def r2(
    true: ArrayLike, predicted: ArrayLike, *, definition: R2Definition, mask: ArrayLike | None = None
) -> float:
    """Return the R² of `predicted`, as `definition` has it.

    Parameters
    ----------
    true
        Observed values. Shape ``(…, n_outputs)``; ``(n_trials, n_bins, n_outputs)`` for ``r2_trialmean``.
        NaN only where masked out.
    predicted
        Predicted values, same shape and unit as `true`. NaN only where masked out.
    definition
        One of ``"r2_uniform"``, ``"r2_pooled"``, ``"r2_pearson"``, ``"r2_trialmean"``.
    mask
        True where a value counts. Shape of `true`, or without its last dimension. Default: all count.

    Returns
    -------
    value
        At most 1; NaN where undefined: nothing counted, or no variance in `true` (``r2_uniform``: in any
        one output; ``r2_pearson``: in `true` or in `predicted`).

    Raises
    ------
    DataError
        If the shapes do not fit, or a value that counts is not finite.

    References
    ----------
    ``r2_uniform``: Pei et al. 2021, "Neural Latents Benchmark '21", velocity decoding. ``r2_trialmean``:
    the k-step R² of the meta-dynamical state-space model.

    Examples
    --------
    >>> true = [[1.0, 0.0], [3.0, 10.0]]
    >>> predicted = [[1.0, 5.0], [3.0, 5.0]]
    >>> r2(true, predicted, definition="r2_uniform")
    0.5
    >>> round(r2(true, predicted, definition="r2_pooled"), 4)
    0.0385
    """
    truth, guess, kept = _checked(true, predicted, mask)
    if definition == "r2_uniform":
        return float(np.mean(_per_output(truth, guess, kept)))
    if definition == "r2_pearson":
        return _pearson_squared(truth[kept], guess[kept])
    squared_error = float(np.square(truth - guess).sum())
    if definition == "r2_pooled":
        axes = tuple(range(truth.ndim - 1))
    elif truth.ndim == 3:
        axes = (1,)
    else:
        msg = f"r2_trialmean needs values of shape (n_trials, n_bins, n_outputs), found shape {truth.shape}"
        raise DataError(msg)
    total = float(np.square(_deviation(truth, kept, axes=axes)).sum())
    return 1.0 - squared_error / total if total > 0 else float("nan")


def r2_per_output(true: ArrayLike, predicted: ArrayLike, *, mask: ArrayLike | None = None) -> FloatArray:
    """Return 1 − SSE/SST of each output, taken over all trials and bins.

    Parameters
    ----------
    true, predicted, mask
        As for `r2`.

    Returns
    -------
    values
        Shape ``(n_outputs,)``, float64. NaN for an output without variance or without samples.

    Raises
    ------
    DataError
        If the shapes do not fit, or a value that counts is not finite.

    Examples
    --------
    >>> r2_per_output([[1.0, 0.0], [3.0, 10.0]], [[1.0, 5.0], [3.0, 5.0]]).tolist()
    [1.0, 0.0]
    """
    return _per_output(*_checked(true, predicted, mask))


@dataclass(frozen=True)
class R2Sums:
    """An R² as a `pipeline.evaluation.metrics.resampling.Statistic`, from sums over each trial.

    ``r2_uniform`` and ``r2_pooled`` of a resample take the variance around the mean of that resample.

    Attributes
    ----------
    definition
        ``"r2_uniform"``, ``"r2_pooled"`` or ``"r2_trialmean"``.
    squared_error
        Of each output. Shape ``(trial, output)``.
    number
        Values that count. Shape ``(trial, output)``.
    first, second
        Sums of the true values and of their squares, taken from the mean over all trials; for
        ``r2_trialmean`` from each trial's own mean, so that `first` is 0. Shape ``(trial, output)``.
    """

    definition: R2Definition
    squared_error: FloatArray
    number: FloatArray
    first: FloatArray
    second: FloatArray

    @classmethod
    def of(
        cls, true: ArrayLike, predicted: ArrayLike, *, definition: R2Definition, mask: ArrayLike | None = None
    ) -> R2Sums:
        """Sum over each trial.

        Parameters
        ----------
        true, predicted, mask
            As for `r2`. Shape ``(trial, time, output)``; a mask may lack the last dimension. A trial without
            a value that counts is fine.
        definition
            ``"r2_uniform"``, ``"r2_pooled"`` or ``"r2_trialmean"``; a correlation is no ratio of sums.

        Raises
        ------
        DataError
            If the shapes do not fit, or a value that counts is not finite.
        SettingsError
            If `definition` is another one.

        Examples
        --------
        >>> sums = R2Sums.of([[[1.0]], [[3.0]]], [[[1.0]], [[2.0]]], definition="r2_pooled")
        >>> sums.value(np.array([[1.0, 1.0], [2.0, 1.0], [2.0, 0.0]])).tolist()
        [0.5, 0.625, nan]
        """
        if definition == "r2_pearson":
            raise SettingsError(
                "R² over resampled trials: r2_pearson is not a ratio of sums; use r2_uniform, r2_pooled or "
                "r2_trialmean"
            )
        truth, guess, kept = _checked(true, predicted, mask)
        if truth.ndim != 3:
            raise DataError(f"R² over resampled trials: shape {truth.shape}; expected (trial, time, output)")
        around = (1,) if definition == "r2_trialmean" else (0, 1)
        deviation = _deviation(truth, kept, axes=around)
        first = np.zeros((len(truth), truth.shape[2])) if around == (1,) else deviation.sum(axis=1)
        return cls(
            definition=definition,
            squared_error=np.square(truth - guess).sum(axis=1),
            number=kept.sum(axis=1, dtype=np.float64),
            first=first,
            second=np.square(deviation).sum(axis=1),
        )

    @property
    def n_trials(self) -> int:
        """Number of trials."""
        return len(self.number)

    def value(self, weights: FloatArray) -> FloatArray:
        """Return the R² with each trial counted `weight` times.

        Parameters
        ----------
        weights
            At least 0. Shape ``(resample, trial)``.

        Returns
        -------
        values
            Shape ``(resample,)``, at most 1; NaN where not defined, as for `r2`.
        """
        number, first, second = (weights @ sums for sums in (self.number, self.first, self.second))
        shift = np.divide(np.square(first), number, out=np.zeros_like(first), where=number > 0)
        total = np.where(second - shift > ROUNDING_SHARE * second, second - shift, 0.0)
        error = weights @ self.squared_error
        if self.definition != "r2_uniform":
            error, total = error.sum(axis=1, keepdims=True), total.sum(axis=1, keepdims=True)
        ratio = np.divide(error, total, out=np.full(total.shape, np.nan), where=total > 0)
        values: FloatArray = 1.0 - ratio.mean(axis=1)
        return values


def _per_output(truth: FloatArray, guess: FloatArray, kept: BoolArray) -> FloatArray:
    axes = tuple(range(truth.ndim - 1))
    squared_error = np.square(truth - guess).sum(axis=axes)
    total = np.square(_deviation(truth, kept, axes=axes)).sum(axis=axes)
    values = np.full(total.shape, np.nan)
    defined = total > 0
    values[defined] = 1.0 - squared_error[defined] / total[defined]
    return values


def _pearson_squared(truth: FloatArray, guess: FloatArray) -> float:
    everywhere = np.ones(truth.shape, dtype=bool)
    a, b = (_deviation(values, everywhere, axes=(0,)) for values in (truth, guess))
    scale = float(a @ a) * float(b @ b)
    return float(a @ b) ** 2 / scale if scale > 0 else float("nan")


def _deviation(values: FloatArray, kept: BoolArray, *, axes: tuple[int, ...]) -> FloatArray:
    """Values minus their mean over `axes`; 0 where masked, exactly 0 where the values are all equal."""
    number = np.maximum(kept.sum(axis=axes, keepdims=True), 1)
    mean = values.sum(axis=axes, keepdims=True) / number
    low = np.min(values, axis=axes, keepdims=True, where=kept, initial=np.inf)
    high = np.max(values, axis=axes, keepdims=True, where=kept, initial=-np.inf)
    # The rounded mean of equal values is not that value: without this a constant would have a variance.
    deviation: FloatArray = np.where(kept & (high > low), values - mean, 0.0)
    return deviation


def _checked(
    true: ArrayLike, predicted: ArrayLike, mask: ArrayLike | None
) -> tuple[FloatArray, FloatArray, BoolArray]:
    """Return both as float64 with zeros where masked, and the mask in full shape."""
    truth = np.asarray(true, dtype=np.float64)
    guess = np.asarray(predicted, dtype=np.float64)
    if truth.shape != guess.shape or truth.ndim < 2:
        msg = (
            f"R²: true values have shape {truth.shape}, predicted {guess.shape}; both must have the same "
            f"shape with the outputs last, such as (trial, time, axis)"
        )
        raise DataError(msg)
    kept = _full_mask(mask, truth.shape)
    bad = int((kept & ~(np.isfinite(truth) & np.isfinite(guess))).sum())
    if bad:
        msg = (
            f"R²: {bad} of {int(kept.sum())} values are not finite in the true or the predicted array; "
            f"leave them out with mask="
        )
        raise DataError(msg)
    return np.where(kept, truth, 0.0), np.where(kept, guess, 0.0), kept


def _full_mask(mask: ArrayLike | None, shape: tuple[int, ...]) -> BoolArray:
    if mask is None:
        return np.ones(shape, dtype=bool)
    kept = np.asarray(mask, dtype=bool)
    if kept.shape == shape[:-1]:
        kept = kept[..., None]
    elif kept.shape != shape:
        msg = f"R²: mask has shape {kept.shape}; expected {shape} or {shape[:-1]}"
        raise DataError(msg)
    return np.array(np.broadcast_to(kept, shape))
