"""R² of a part of the samples: of each time bin, of each condition.

Every part is a data set of its own: its R² is 1 − SSE/SST with SST around the mean of that part. The R² of
the whole is no average of these: what the parts differ in (the mean of a condition, the rise of the
velocity from bin to bin) counts in the whole and in no part. Within a part, one output may hardly vary, as
the velocity across a reach does; the pooled R² weighs outputs by their variance and says more there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class PartsR2:
    """R² of each part.

    Attributes
    ----------
    per_output
        1 − SSE/SST of each output. Shape ``(n_parts, n_outputs)``, float64; NaN for a part without samples or
        an output without variance in it.
    pooled
        ``r2_pooled``: SSE and SST summed over outputs. Shape ``(n_parts,)``, float64; NaN where no output
        varies.
    """

    per_output: FloatArray
    pooled: FloatArray


def r2_of_parts(
    true: ArrayLike, predicted: ArrayLike, part: ArrayLike, *, n_parts: int, mask: ArrayLike | None = None
) -> PartsR2:
    """Return 1 − SSE/SST within each part, SST around the part's own mean.

    Parameters
    ----------
    true, predicted
        Observed and predicted values. Shape ``(…, n_outputs)``; NaN only where masked out.
    part
        Part each sample belongs to, in ``[0, n_parts)``. Shape of `true` without its last dimension.
    n_parts
        Number of parts.
    mask
        True where a sample counts. Shape of `part`. Default: all count.

    Returns
    -------
    values
        Of each output, and of all outputs pooled.

    Raises
    ------
    DataError
        If the shapes do not fit, a part is not among `n_parts`, or a value that counts is not finite.

    Examples
    --------
    >>> true = [[0.0], [2.0], [10.0], [14.0]]
    >>> r2_of_parts(true, [[0.0], [2.0], [10.0], [10.0]], [0, 0, 1, 1], n_parts=2).pooled.tolist()
    [1.0, -1.0]
    """
    truth, guess, index = _samples(true, predicted, part, n_parts=n_parts, mask=mask)
    n_outputs = truth.shape[1]
    number = np.maximum(np.bincount(index, minlength=n_parts), 1)[:, None]
    centred = truth - (_sums(truth, index, n_parts) / number)[index]
    # The rounded mean of equal values is not that value: without this a constant would have a variance.
    low, high = np.full((2, n_parts, n_outputs), [[[np.inf]], [[-np.inf]]])
    np.minimum.at(low, index, truth)
    np.maximum.at(high, index, truth)
    total = np.where(high > low, _sums(np.square(centred), index, n_parts), 0.0)
    error = _sums(np.square(truth - guess), index, n_parts)
    return PartsR2(
        per_output=_one_minus_ratio(error, total),
        pooled=_one_minus_ratio(error.sum(axis=1), total.sum(axis=1)),
    )


def r2_over_time(true: ArrayLike, predicted: ArrayLike, *, mask: ArrayLike | None = None) -> PartsR2:
    """Return the R² of each time bin, over trials.

    Parameters
    ----------
    true, predicted
        Shape ``(trial, time, n_outputs)``; NaN only where masked out.
    mask
        True where a sample counts. Shape ``(trial, time)``. Default: all count.

    Returns
    -------
    values
        The parts are the bins: SST is taken around the mean over trials in that bin.

    Raises
    ------
    DataError
        As in `r2_of_parts`.

    Examples
    --------
    >>> r2_over_time([[[0.0], [5.0]], [[2.0], [9.0]]], [[[0.0], [7.0]], [[2.0], [7.0]]]).pooled.tolist()
    [1.0, 0.0]
    """
    shape = np.shape(true)[:2]
    bins = np.broadcast_to(np.arange(shape[-1]), shape)
    return r2_of_parts(true, predicted, bins, n_parts=shape[-1], mask=mask)


def r2_of_conditions(
    true: ArrayLike, predicted: ArrayLike, condition: ArrayLike, *, mask: ArrayLike | None = None
) -> tuple[list[str], PartsR2]:
    """Return the R² of each condition, over its trials and bins.

    Parameters
    ----------
    true, predicted
        Shape ``(trial, time, n_outputs)``; NaN only where masked out.
    condition
        Condition of each trial. Shape ``(trial,)``.
    mask
        True where a sample counts. Shape ``(trial, time)``. Default: all count.

    Returns
    -------
    names, values
        Conditions, sorted, and their R², with SST around the mean over the trials and bins of that condition.

    Raises
    ------
    DataError
        As in `r2_of_parts`.

    Examples
    --------
    >>> names, values = r2_of_conditions([[[0.0], [2.0]], [[4.0], [8.0]]], [[[0.0], [2.0]], [[6.0], [6.0]]],
    ...                                  ["right", "left"])
    >>> names, values.pooled.tolist()
    (['left', 'right'], [0.0, 1.0])
    """
    names, index = np.unique(np.asarray(condition, dtype=object).astype(str), return_inverse=True)
    part = np.broadcast_to(index[:, None], np.shape(true)[:2])
    return names.tolist(), r2_of_parts(true, predicted, part, n_parts=len(names), mask=mask)


def _one_minus_ratio(error: FloatArray, total: FloatArray) -> FloatArray:
    values = np.full(total.shape, np.nan)
    np.divide(error, total, out=values, where=total > 0)
    return 1.0 - values


def _sums(values: FloatArray, index: NDArray[np.int64], n_parts: int) -> FloatArray:
    """Sum over the samples of each part. Shape ``(n_parts, n_outputs)``."""
    sums = np.zeros((n_parts, values.shape[1]))
    np.add.at(sums, index, values)
    return sums


def _samples(
    true: ArrayLike, predicted: ArrayLike, part: ArrayLike, *, n_parts: int, mask: ArrayLike | None
) -> tuple[FloatArray, FloatArray, NDArray[np.int64]]:
    """Return the samples that count, one per row, and the part of each."""
    truth = np.asarray(true, dtype=np.float64)
    guess = np.asarray(predicted, dtype=np.float64)
    index = np.asarray(part, dtype=np.int64)
    kept = np.ones(index.shape, dtype=bool) if mask is None else np.asarray(mask, dtype=bool)
    if truth.shape != guess.shape or truth.shape[:-1] != index.shape or kept.shape != index.shape:
        msg = (
            f"R² of parts: true values have shape {truth.shape}, predicted {guess.shape}, parts "
            f"{index.shape}, mask {kept.shape}; expected (…, output) twice and (…) twice"
        )
        raise DataError(msg)
    index = index[kept]
    if index.size and not 0 <= index.min() <= index.max() < n_parts:
        msg = f"R² of parts: parts run from {index.min()} to {index.max()}; expected 0 to {n_parts - 1}"
        raise DataError(msg)
    truth, guess = truth[kept], guess[kept]
    bad = int((~(np.isfinite(truth) & np.isfinite(guess))).sum())
    if bad:
        msg = (
            f"R² of parts: {bad} of {truth.size} values are not finite in the true or the predicted array; "
            f"leave them out with mask="
        )
        raise DataError(msg)
    return truth, guess, index
