"""Whether each dimension of a code stands for one factor of behaviour: DCI and TAD.

Both are blind to signs, scales and order of the dimensions, and neither asks that a factor be read out
linearly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import rankdata
from sklearn.ensemble import GradientBoostingRegressor

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.metrics.r2 import r2_per_output

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    FloatArray = NDArray[np.float64]
    BoolArray = NDArray[np.bool_]

CAPTURED = 0.75
"""Least area under the curve at which a dimension is said to capture an attribute."""

REDUNDANT = 0.2
"""Share of its entropy that another attribute may tell of an attribute."""


@dataclass(frozen=True)
class Disentanglement:
    """What gradient-boosted trees make of codes.

    Attributes
    ----------
    importance
        How much each dimension contributes to predicting each factor. Shape ``(L, K)``, columns sum to 1.
    disentanglement
        1 where every dimension contributes to one factor alone, 0 where to all alike.
    completeness
        1 where every factor is predicted from one dimension alone, 0 where from all alike.
    informativeness
        R² of each factor on the test trials. Shape ``(K,)``.
    """

    importance: FloatArray
    disentanglement: float
    completeness: float
    informativeness: FloatArray


@dataclass(frozen=True)
class AurocDifference:
    """How much better the best dimension tells attributes apart than the second best.

    Attributes
    ----------
    total
        Sum over the attributes that are captured.
    best
        Area under the curve of the best dimension, every attribute. Shape ``(K,)``.
    difference
        Best minus second best. Shape ``(K,)``.
    is_captured
        Attributes that count: captured by a dimension, and not told by another attribute. Shape ``(K,)``.
    """

    total: float
    best: FloatArray
    difference: FloatArray
    is_captured: BoolArray


def dci(
    codes: ArrayLike, factors: ArrayLike, *, test_codes: ArrayLike, test_factors: ArrayLike, seed: int = 0
) -> Disentanglement:
    """Return disentanglement, completeness and informativeness of codes.

    Trees predict each factor from all dimensions. ``P_i`` being the importances of dimension ``i`` scaled to
    sum 1 and ``ρ_i`` its share of all importances, disentanglement is ``Σ_i ρ_i (1 − H_K(P_i))`` with the
    entropy to the base K; completeness is the same of the factors, to the base L.

    Parameters
    ----------
    codes, test_codes
        Codes of the trials that are learnt from, and of others. Shape ``(trial, L)``, finite.
    factors, test_factors
        Factors of behaviour of the same trials. Shape ``(trial, K)``, finite.
    seed
        Of the trees.

    Raises
    ------
    DataError
        If shapes do not fit, or there are fewer than two dimensions or factors.

    References
    ----------
    Eastwood and Williams 2018.

    Examples
    --------
    >>> c = np.random.default_rng(0).normal(size=(200, 2))
    >>> round(dci(c, c**3, test_codes=c, test_factors=c**3).disentanglement, 1)
    1.0
    """
    x, y = _paired(codes, factors)
    x_test, y_test = _paired(test_codes, test_factors)
    sizes, of_test = (x.shape[1], y.shape[1]), (x_test.shape[1], y_test.shape[1])
    if min(sizes) < 2 or of_test != sizes:
        raise DataError(
            f"DCI: {sizes[0]} dimensions and {sizes[1]} factors, of the test trials {of_test[0]} and "
            f"{of_test[1]}; expected the same of both, and at least 2 of each"
        )
    columns, guesses = [], []
    for factor in y.T:
        trees = GradientBoostingRegressor(random_state=seed).fit(x, factor)
        columns.append(trees.feature_importances_)
        guesses.append(trees.predict(x_test))
    importance: FloatArray = np.stack(columns, axis=1)
    return Disentanglement(
        importance=importance,
        disentanglement=_concentration(importance),
        completeness=_concentration(importance.T),
        informativeness=r2_per_output(y_test, np.stack(guesses, axis=1)),
    )


def auroc_difference(codes: ArrayLike, attributes: ArrayLike) -> AurocDifference:
    """Return the total AUROC difference (TAD) of codes.

    Of each attribute the area under the curve of the best dimension minus that of the second best, summed
    over attributes of which the best reaches `CAPTURED` and no other attribute tells more than `REDUNDANT`
    of their entropy. A dimension may point either way.

    Parameters
    ----------
    codes
        Shape ``(trial, L)``, finite, L at least 2.
    attributes
        Binary attributes of behaviour. Shape ``(trial, K)``, bool.

    Raises
    ------
    DataError
        If shapes do not fit, there are fewer than two dimensions, or an attribute is the same in all trials.

    References
    ----------
    Yeats et al. 2022.

    Examples
    --------
    >>> c = np.random.default_rng(0).normal(size=(400, 2))
    >>> found = auroc_difference(c, c > 0)
    >>> found.best.tolist(), bool(found.total > 0.8)
    ([1.0, 1.0], True)
    """
    x, y = _paired(codes, attributes)
    is_set: BoolArray = y > 0.5
    n_set = is_set.sum(axis=0)
    if x.shape[1] < 2 or (n_set == 0).any() or (n_set == len(y)).any():
        raise DataError(
            f"TAD: {x.shape[1]} dimensions, attributes set in {n_set.tolist()} of {len(y)} trials; expected "
            "at least 2 dimensions, and every attribute set in some trials and not in others"
        )
    ranks = rankdata(x, axis=0)
    above = ranks.T @ is_set - n_set * (n_set + 1) / 2
    area = above / (n_set * (len(y) - n_set))
    area = np.sort(np.maximum(area, 1 - area), axis=0)
    best, difference = area[-1], area[-1] - area[-2]
    is_captured: BoolArray = (best >= CAPTURED) & (_told_by_another(is_set) <= REDUNDANT)
    return AurocDifference(float(difference[is_captured].sum()), best, difference, is_captured)


def _concentration(importance: FloatArray) -> float:
    """Return how far rows are from even, each by its share of all importances."""
    mass = importance.sum(axis=1)
    if not mass.sum() > 0:
        return 0.0
    share = importance / np.where(mass > 0, mass, 1.0)[:, None]
    entropy = -(share * np.log(np.where(share > 0, share, 1.0))).sum(axis=1) / np.log(importance.shape[1])
    return float((mass / mass.sum() * (1 - entropy)).sum())


def _told_by_another(is_set: BoolArray) -> FloatArray:
    """Return the largest share of each attribute's entropy that another attribute tells. Shape ``(K,)``."""
    n_attributes = is_set.shape[1]
    told = np.zeros(n_attributes)
    for a in range(n_attributes):
        whole = _entropy(is_set[:, a])
        for b in range(n_attributes):
            if a != b:
                given = [is_set[is_set[:, b] == value, a] for value in (False, True)]
                left = sum(len(part) / len(is_set) * _entropy(part) for part in given)
                told[a] = max(told[a], 1 - left / whole)
    return told


def _entropy(is_set: BoolArray) -> float:
    p = float(is_set.mean())
    return 0.0 if p in {0.0, 1.0} else -p * np.log(p) - (1 - p) * np.log(1 - p)


def _paired(codes: ArrayLike, factors: ArrayLike) -> tuple[FloatArray, FloatArray]:
    x, y = np.asarray(codes, dtype=np.float64), np.asarray(factors, dtype=np.float64)
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y) or not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise DataError(
            f"codes of shape {x.shape} and factors of shape {y.shape}; expected (trial, dimension) and "
            "(trial, factor) of the same trials, all finite"
        )
    return x, y
