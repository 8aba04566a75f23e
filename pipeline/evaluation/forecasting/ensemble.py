"""The mean of several forecasts of velocity, weighted as fits validation trials best."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    FloatArray = NDArray[np.float64]

N_SHARES = 51
"""Steps from equal weights to the best."""

MOST_MEMBERS = 12
"""Members whose every subset can be looked at."""


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Weights of forecasts, and what they make of validation trials.

    Attributes
    ----------
    weights
        Not below 0, with sum 1. Shape ``(member,)``.
    calibration
        Forecast of each validation trial with weights chosen without it: errors of trials that had no part in
        what made them. Shape ``(val trial, bin, axis)``; no trial where there was none.
    """

    weights: FloatArray
    calibration: FloatArray

    def mean(self, forecasts: Sequence[FloatArray]) -> FloatArray:
        """Return the weighted mean of forecasts of other trials, in the order of members."""
        return np.tensordot(self.weights, np.stack(forecasts), axes=1)


def fit_ensemble(forecasts: Sequence[ArrayLike], true: ArrayLike) -> Ensemble:
    """Choose weights under which the mean of forecasts is near to the truth (`cautious_weights`).

    Axes count alike: squared errors of each are divided by its variance.

    Parameters
    ----------
    forecasts
        Of validation trials, one of each member. Shapes ``(trial, bin, axis)``.
    true
        NaN on any axis leaves the bin out. Shape ``(trial, bin, axis)``.

    Raises
    ------
    DataError
        If fewer than two validation trials have a known velocity.
    SettingsError
        If there are fewer than two members or too many.

    Examples
    --------
    >>> true = np.random.default_rng(0).normal(size=(12, 5, 2))
    >>> fit_ensemble([true + 1.0, true - 3.0], true).weights.round(9)
    array([0.75, 0.25])
    """
    y = np.asarray(true, dtype=np.float64)
    members = np.stack([np.asarray(each, dtype=np.float64) for each in forecasts])
    _require_members(len(members))
    known: NDArray[np.bool_] = np.all(np.isfinite(y), axis=2)
    n_known = int(np.count_nonzero(np.any(known, axis=1)))
    if n_known < 2:
        raise DataError(
            f"{n_known} validation trials with a known velocity; the weights of an "
            "ensemble take at least 2. Ingest with a larger share of validation trials (recipe: split.val), "
            "or leave --ensemble out."
        )
    deviation = y[known].std(axis=0)
    error = (members - y) / np.where(deviation > 0, deviation, 1.0)
    error = np.where(known[..., None], error, 0.0)
    # Sums over bins and axes of products of errors, trial by trial: all that the weights depend on.
    products = np.einsum("mtba,ntba->tmn", error, error)
    without = [np.delete(products, trial, axis=0) for trial in range(len(products))]
    calibration = np.stack([
        np.tensordot(cautious_weights(rest), members[:, trial], axes=1) for trial, rest in enumerate(without)
    ])  # fmt: skip
    return Ensemble(weights=cautious_weights(products), calibration=calibration)


def equal_weights(forecasts: Sequence[FloatArray]) -> Ensemble:
    """Return an ensemble of equal weights, where there is no trial to choose weights or see errors on.

    Parameters
    ----------
    forecasts
        One of each member. Shapes ``(trial, bin, axis)``.

    Raises
    ------
    SettingsError
        As `fit_ensemble`.

    Examples
    --------
    >>> equal_weights([np.zeros((3, 5, 2)), np.ones((3, 5, 2))]).weights.tolist()
    [0.5, 0.5]
    """
    _require_members(len(forecasts))
    nothing = np.asarray(forecasts[0], dtype=np.float64)[:0]
    return Ensemble(weights=np.full(len(forecasts), 1.0 / len(forecasts)), calibration=nothing)


def _require_members(number: int) -> None:
    if not 2 <= number <= MOST_MEMBERS:
        raise SettingsError(
            f"an ensemble of {number} forecasts; average at least 2 and at most {MOST_MEMBERS}."
        )


def cautious_weights(products: FloatArray) -> FloatArray:
    """Return the weights nearest to equal ones that are not worse than the best by more than chance.

    The best weights of a dozen trials are far from those of the next dozen. Of the weights between equal ones
    and the best, those nearest to equal are taken whose error exceeds that of the best by no more than its
    standard error over trials.

    Parameters
    ----------
    products
        Products of the members' errors, summed within each trial. Shape ``(trial, member, member)``.

    References
    ----------
    Breiman, Friedman, Olshen and Stone 1984, "Classification and regression trees" (one-standard-error rule).

    Examples
    --------
    >>> cautious_weights(np.array([np.diag([1.0, 1.1]), np.diag([1.1, 0.9])]))
    array([0.5, 0.5])
    """
    best = simplex_weights(products.sum(axis=0))
    equal = np.full(len(best), 1.0 / len(best))
    least = np.einsum("m,tmn,n->t", best, products, best)
    for share in np.linspace(0.0, 1.0, N_SHARES):
        weights = (1.0 - share) * equal + share * best
        more = np.einsum("m,tmn,n->t", weights, products, weights) - least
        if more.mean() <= more.std(ddof=1 if len(more) > 1 else 0) / np.sqrt(len(more)):
            return np.asarray(weights)
    return best


def simplex_weights(products: ArrayLike) -> FloatArray:
    """Return the weights ``w ≥ 0`` with sum 1 that make ``wᵀ P w`` least.

    The best weights are those of some of the members, on which they solve a linear system; every choice of
    members is looked at, and the equal weights win where nothing tells members apart.

    Parameters
    ----------
    products
        Sums of products of the members' errors. Shape ``(member, member)``, symmetric.

    Examples
    --------
    >>> simplex_weights([[1.0, 0.0], [0.0, 3.0]])
    array([0.75, 0.25])
    >>> simplex_weights([[1.0, 2.0], [2.0, 9.0]])
    array([1., 0.])
    """
    p = np.asarray(products, dtype=np.float64)
    n = len(p)
    # So little more on the diagonal that it decides only between members nothing else tells apart.
    p = p + np.eye(n) * (1e-9 * np.trace(p) / n + np.finfo(np.float64).tiny)
    best, least = np.full(n, 1.0 / n), np.inf
    for size in range(1, n + 1):
        for chosen in combinations(range(n), size):
            part = p[np.ix_(chosen, chosen)]
            solved = np.linalg.solve(part, np.ones(size))
            weights = np.zeros(n)
            weights[list(chosen)] = solved / solved.sum()
            loss = float(weights @ p @ weights)
            if weights.min() >= 0.0 and loss < least:
                best, least = weights, loss
    return best
