"""Is a velocity R² more than what any trial of the session would give? A permutation test over whole trials.

The decoder and what it decoded stay as they are; the recorded velocity of whole trials is dealt out anew
among the trials. Bins of a trial stay together, since they are not independent of each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError, SettingsError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    FloatArray = NDArray[np.float64]
    BoolArray = NDArray[np.bool_]

TIE = 1e-12
"""R² this close are equal: the sums are added up in another order."""

CONSTANT_BELOW = 1e-12
"""An output whose deviation is smaller than this share of its largest value is constant but for rounding."""


def permuted_r2(
    true: ArrayLike, predicted: ArrayLike, orders: ArrayLike, *, mask: ArrayLike | None = None
) -> FloatArray:
    """Return ``r2_uniform`` with the true values of trial ``order[i]`` beside the prediction of trial i.

    Every pair of trials is compared once; each order then only picks from the sums of the pairs.

    Parameters
    ----------
    true, predicted
        Shape ``(trial, time, n_outputs)``. A sample counts where all outputs of both are finite.
    orders
        Permutations of the trials. Shape ``(order, trial)``.
    mask
        True where a true value counts; it moves with its trial. Shape ``(trial, time)``. Default: all count.

    Returns
    -------
    values
        Shape ``(order,)``, float64; NaN where an output has no variance or no sample is left.

    Raises
    ------
    DataError
        If the shapes do not fit.

    Examples
    --------
    >>> true = [[[0.0], [1.0]], [[4.0], [5.0]]]
    >>> permuted_r2(true, true, [[0, 1], [1, 0]]).round(3).tolist()
    [1.0, -2.765]
    """
    truth, guess, known, made, largest = _centred(true, predicted, mask)
    pick = np.asarray(orders, dtype=np.int64)
    rows = np.arange(len(truth))
    t, g = np.moveaxis(truth, -1, 0), np.moveaxis(guess, -1, 0)
    # Row i, column j: the prediction of trial i beside the true values of trial j, summed over time.
    number = made @ known.T
    first = made @ t.swapaxes(1, 2)
    second = made @ np.square(t).swapaxes(1, 2)
    squared_error = np.square(g) @ known.T - 2 * g @ t.swapaxes(1, 2) + second
    n_samples = number[rows, pick].sum(axis=-1)
    sums, squares, error = (pairs[:, rows, pick].sum(axis=-1) for pairs in (first, second, squared_error))
    total = squares - np.square(sums) / np.maximum(n_samples, 1)
    floor = np.square(CONSTANT_BELOW * largest)[:, None]
    values = np.full(total.shape, np.nan)
    np.divide(error, total, out=values, where=total > n_samples * floor)
    mean: FloatArray = 1.0 - values.mean(axis=0)
    return mean


def permutation_p_value(
    true: ArrayLike,
    predicted: ArrayLike,
    *,
    n_permutations: int = 200,
    seed: int = 0,
    mask: ArrayLike | None = None,
) -> float | None:
    """Return how often trials dealt out anew score at least as high as the trials as they are.

    Parameters
    ----------
    true, predicted, mask
        As in `permuted_r2`. Trials without a sample take no part.
    n_permutations
        Permutations drawn, each equally likely, the order as it is among them; at least 1.
    seed
        Seed of the draw.

    Returns
    -------
    p_value
        ``(1 + number that score as high) / (1 + n_permutations)`` of ``r2_uniform``; None where the R² of the
        trials as they are is not defined. A permutation without an R² counts as one that scores as high.

    Raises
    ------
    DataError
        If the shapes do not fit.
    SettingsError
        If there is no permutation.

    References
    ----------
    Phipson and Smyth 2010, "Permutation p-values should never be zero", eq. 2: with the order as it is
    counted in, the test keeps its level however few the permutations.

    Examples
    --------
    >>> true = np.random.default_rng(0).normal(size=(20, 5, 2))
    >>> permutation_p_value(true, true, n_permutations=99)
    0.01
    """
    if n_permutations < 1:
        msg = f"n_permutations {n_permutations}: a p-value needs at least 1, better 200"
        raise SettingsError(msg)
    truth, guess, counts = _checked(true, predicted, mask)
    some = np.any(counts, axis=1) & np.any(_is_whole(guess), axis=1)
    truth, guess, counts = truth[some], guess[some], counts[some]
    as_they_are = np.arange(len(truth))
    dealt = np.random.default_rng(seed).permuted(np.tile(as_they_are, (n_permutations, 1)), axis=1)
    observed, *others = permuted_r2(truth, guess, np.vstack([as_they_are, dealt]), mask=counts).tolist()
    if np.isnan(observed):
        return None
    as_high = sum(not other < observed - TIE for other in others)
    return (1 + as_high) / (1 + n_permutations)


def _checked(
    true: ArrayLike, predicted: ArrayLike, mask: ArrayLike | None
) -> tuple[FloatArray, FloatArray, BoolArray]:
    """Return both in float64 and where a true value counts."""
    truth = np.asarray(true, dtype=np.float64)
    guess = np.asarray(predicted, dtype=np.float64)
    counts = np.ones(truth.shape[:2], dtype=bool) if mask is None else np.asarray(mask, dtype=bool)
    if truth.ndim != 3 or truth.shape != guess.shape or counts.shape != truth.shape[:2]:
        msg = (
            f"permutation test: true values have shape {truth.shape}, predicted {guess.shape}, mask "
            f"{counts.shape}; expected (trial, time, output) twice and (trial, time)"
        )
        raise DataError(msg)
    return truth, guess, counts & _is_whole(truth)


def _is_whole(values: FloatArray) -> BoolArray:
    whole: BoolArray = np.all(np.isfinite(values), axis=-1)
    return whole


def _centred(
    true: ArrayLike, predicted: ArrayLike, mask: ArrayLike | None
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]:
    """Return both around the true mean and 0 where missing, 1 where each is there, and the largest values."""
    truth, guess, known = _checked(true, predicted, mask)
    made = _is_whole(guess)
    truth, guess = np.where(known[..., None], truth, 0.0), np.where(made[..., None], guess, 0.0)
    largest: FloatArray = np.abs(truth).max(axis=(0, 1), initial=0.0)
    mean = truth.sum(axis=(0, 1)) / max(int(known.sum()), 1)
    weight, there = known.astype(np.float64), made.astype(np.float64)
    return (truth - mean) * weight[..., None], (guess - mean) * there[..., None], weight, there, largest
