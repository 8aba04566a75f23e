"""Intervals of the R² of time bins and of conditions: trials drawn again with replacement."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    FloatArray = NDArray[np.float64]

N_RESAMPLES = 200
LEVEL = 0.95
LEAST_TRIALS = 3
"""Of fewer, resamples say nothing."""


def intervals_over_time(
    true: ArrayLike, guess: ArrayLike, *, counts: NDArray[np.bool_], seed: int = 0
) -> FloatArray:
    """Return the 95 % interval over trials of the R² of each time bin, the axes pooled.

    Parameters
    ----------
    true, guess
        Recorded and decoded velocity, cm/s. Shape ``(trial, time, axis)``.
    counts
        Samples that count. Shape ``(trial, time)``.
    seed
        Of the resamples.

    Returns
    -------
    intervals
        Lower and upper end of each bin. Shape ``(2, time)``; NaN where fewer than 3 trials count.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> y = rng.normal(size=(40, 5, 2))
    >>> low, high = intervals_over_time(y, y + 0.1, counts=np.ones((40, 5), dtype=bool))
    >>> bool((low < high).all()), bool((high < 1).all())
    (True, True)
    """
    sums = _sums(true, guess, counts)
    weights = _weights(len(counts), seed)
    found = np.full((2, counts.shape[1]), np.nan)
    for column in range(counts.shape[1]):
        if counts[:, column].sum() >= LEAST_TRIALS:
            found[:, column] = _ends(weights, [each[:, column] for each in sums])
    return found


def intervals_of_conditions(
    true: ArrayLike,
    guess: ArrayLike,
    condition: ArrayLike,
    names: list[str],
    *,
    counts: NDArray[np.bool_],
    seed: int = 0,
) -> FloatArray:
    """Return the 95 % interval over trials of the R² of each condition, the axes pooled.

    Parameters
    ----------
    true, guess, counts, seed
        As in `intervals_over_time`.
    condition
        Name of each trial's condition. Shape ``(trial,)``.
    names
        Conditions, in order.

    Returns
    -------
    intervals
        Lower and upper end of each. Shape ``(2, condition)``; NaN where fewer than 3 trials count.
    """
    sums = [each.sum(axis=1) for each in _sums(true, guess, counts)]
    of = np.asarray(condition).astype(str)
    found = np.full((2, len(names)), np.nan)
    for number, name in enumerate(names):
        mine = (of == name) & counts.any(axis=1)
        if mine.sum() >= LEAST_TRIALS:
            found[:, number] = _ends(_weights(int(mine.sum()), seed), [each[mine] for each in sums])
    return found


def _sums(true: ArrayLike, guess: ArrayLike, counts: NDArray[np.bool_]) -> list[FloatArray]:
    """Return number, sum, sum of squares and squared error of each sample, 0 where it does not count."""
    y, z = np.asarray(true, dtype=np.float64), np.asarray(guess, dtype=np.float64)
    known = counts[..., None]
    y, error = np.where(known, y, 0.0), np.where(known, y - z, 0.0)
    return [np.broadcast_to(known, y.shape).astype(np.float64), y, np.square(y), np.square(error)]


def _weights(n_trials: int, seed: int) -> FloatArray:
    drawn = np.random.default_rng(seed).multinomial(n_trials, np.full(n_trials, 1 / n_trials), N_RESAMPLES)
    return drawn.astype(np.float64)


def _ends(weights: FloatArray, sums: list[FloatArray]) -> FloatArray:
    n, total, squares, errors = (weights @ each for each in sums)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = (squares - np.square(total) / n).sum(axis=-1)
        r2 = 1 - errors.sum(axis=-1) / spread
    r2 = r2[np.isfinite(r2)]
    tail = 50 * (1 - LEVEL)
    ends: FloatArray = np.percentile(r2, [tail, 100 - tail]) if len(r2) else np.full(2, np.nan)
    return ends
