"""Forecasts that need no model: the last value held, the mean of the condition, linear regression.

Whatever is fitted sees training trials alone. Values are rates or velocities; axes are
``(trial, time, feature)``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.decoding.ridge_samples import CONSTANT_BELOW
from nwb_latents.pipeline.signals.folds import group_folds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    FloatArray = NDArray[np.float64]


def hold_last(values: ArrayLike, *, n_bins: int, otherwise: ArrayLike) -> FloatArray:
    """Keep the last value that is known.

    Parameters
    ----------
    values
        The bins shown. Shape ``(trial, time, feature)``; NaN where not known.
    n_bins
        Bins to forecast.
    otherwise
        What a trial without a known value gets. Shape ``(feature,)``.

    Returns
    -------
    held
        Shape ``(trial, n_bins, feature)``.

    Examples
    --------
    >>> hold_last([[[1.0], [2.0], [np.nan]]], n_bins=2, otherwise=[0.0]).tolist()
    [[[2.0], [2.0]]]
    """
    shown = np.asarray(values, dtype=np.float64)
    known: NDArray[np.bool_] = np.all(np.isfinite(shown), axis=-1)
    last = shown.shape[1] - 1 - np.argmax(known[:, ::-1], axis=1)
    held = np.where(np.any(known, axis=1)[:, None], shown[np.arange(len(shown)), last], np.asarray(otherwise))
    return np.repeat(held[:, None], n_bins, axis=1)


@dataclass(frozen=True)
class ConditionMean:
    """Mean course of each condition.

    Attributes
    ----------
    means
        Condition → mean of its training trials. Shapes ``(time, feature)``, finite.
    overall
        Mean of all training trials: of conditions they do not have. Shape ``(time, feature)``, finite.
    """

    means: Mapping[str, FloatArray]
    overall: FloatArray

    def predict(self, conditions: Sequence[str]) -> FloatArray:
        """Return the course of each condition. Shape ``(trial, time, feature)``."""
        return np.stack([self.means.get(str(name), self.overall) for name in conditions])


def fit_condition_mean(values: ArrayLike, conditions: Sequence[str]) -> ConditionMean:
    """Average training trials of the same condition, bin by bin.

    Parameters
    ----------
    values
        Training trials. Shape ``(trial, time, feature)``; NaN where not known.
    conditions
        Condition of each; an empty one is none.

    Returns
    -------
    mean
        Bins a condition does not know have the mean of all trials there; bins that no trial knows, the mean
        over all bins.

    Raises
    ------
    DataError
        If nothing is known.

    Examples
    --------
    >>> mean = fit_condition_mean([[[1.0]], [[3.0]], [[8.0]]], ["a", "a", "b"])
    >>> mean.predict(["a", "b", "new"]).ravel().tolist()
    [2.0, 8.0, 4.0]
    """
    trials = np.asarray(values, dtype=np.float64)
    names = np.array([str(name) for name in conditions], dtype=object)
    if not np.isfinite(trials).any(axis=(0, 1)).all() or trials.ndim != 3 or trials.size == 0:
        raise DataError(
            f"condition means: {len(trials)} training trials hold no known value of some feature. Check the "
            "recording, or leave the session out."
        )
    overall = _known_mean(trials, otherwise=np.nanmean(trials, axis=(0, 1)))
    means = {
        name: _known_mean(trials[names == name], otherwise=overall) for name in sorted(set(names) - {""})
    }
    return ConditionMean(means=means, overall=overall)


@dataclass(frozen=True)
class LinearForecast:
    """Ridge regression from the bins shown to the bins ahead, in the space of the training trials.

    Attributes
    ----------
    mean, scale
        Of the features over the training trials, the deviation no smaller than asked for. Shape
        ``(seen bin * unit,)``.
    features
        Standardised features of the training trials. Shape ``(trial, seen bin * unit)``.
    weights
        Weight of each training trial in each output. Shape ``(trial, bin * feature)``.
    target_mean
        Shape ``(bin, feature)``.
    alpha
        Penalty, on standardised features.
    """

    mean: FloatArray
    scale: FloatArray
    features: FloatArray
    weights: FloatArray
    target_mean: FloatArray
    alpha: float

    def predict(self, seen: ArrayLike) -> FloatArray:
        """Return the bins ahead of trials whose first bins are `seen`.

        Parameters
        ----------
        seen
            Shape ``(trial, seen bin, unit)``, finite.

        Returns
        -------
        ahead
            Shape ``(trial, bin, feature)``.
        """
        rows = np.asarray(seen, dtype=np.float64)
        standardised = (rows.reshape(len(rows), -1) - self.mean) / self.scale
        ahead: FloatArray = (standardised @ self.features.T @ self.weights).reshape(
            len(rows), *self.target_mean.shape
        ) + self.target_mean
        return ahead


def fit_linear_forecast(
    seen: ArrayLike,
    ahead: ArrayLike,
    *,
    alphas: Sequence[float],
    folds: int = 5,
    seed: int = 0,
    min_deviation: float = 0.0,
) -> LinearForecast:
    """Fit on training trials, the penalty chosen by cross-validation over them.

    There are far more features than trials, so the system is solved for the trials instead. The penalty with
    the smallest squared error on trials left out, summed over all outputs, wins; of equals the larger.

    Parameters
    ----------
    seen
        Rates of the bins shown. Shape ``(trial, seen bin, unit)``, finite.
    ahead
        What is to be forecast. Shape ``(trial, bin, feature)``, finite.
    alphas
        Penalties to try, above 0.
    folds
        Folds of the cross-validation.
    seed
        Seed of the assignment of trials to folds.
    min_deviation
        Features are divided by their deviation or by this, whichever is larger, in the unit of `seen`. A
        feature that is silent but for a spike in one training trial would otherwise outweigh all others
        where it speaks.

    Raises
    ------
    DataError
        If there are fewer trials than folds, or a value is not finite.

    References
    ----------
    Saunders, Gammerman and Vovk 1998, "Ridge regression learning algorithm in dual variables".

    Examples
    --------
    >>> seen = np.random.default_rng(0).normal(size=(30, 2, 3))
    >>> fit = fit_linear_forecast(seen, seen[:, :1] + 1, alphas=(1e-6, 1e6))
    >>> fit.alpha, np.abs(fit.predict(seen[:4]) - seen[:4, :1] - 1).max() < 1e-5
    (1e-06, np.True_)
    """
    x, y = (np.asarray(a, dtype=np.float64) for a in (seen, ahead))
    n_trials = len(x)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise DataError("linear forecast: training trials hold values that are not finite; leave them out")
    features, targets = x.reshape(n_trials, -1), y.reshape(n_trials, -1)
    penalties = np.unique(np.asarray(alphas, dtype=np.float64))
    fold_of = group_folds(np.arange(n_trials), folds=folds, seed=seed)
    errors = sum(
        left_out_error(features, targets, fold_of == fold, alphas=penalties, min_deviation=min_deviation)
        for fold in range(folds)
    )
    best = best_penalty(penalties, np.asarray(errors))
    system = RidgeSystem.of(features, targets, min_deviation)
    return LinearForecast(
        mean=system.mean,
        scale=system.scale,
        features=system.features,
        weights=system.weights(best),
        target_mean=system.target_mean.reshape(y.shape[1:]),
        alpha=best,
    )


def best_penalty(alphas: FloatArray, errors: FloatArray) -> float:
    """Return the penalty, of those in ascending order, with the least error; of equals the larger.

    Examples
    --------
    >>> best_penalty(np.array([1.0, 10.0, 100.0]), np.array([3.0, 2.0, 2.0]))
    100.0
    """
    return float(alphas[len(alphas) - 1 - int(np.argmin(errors[::-1]))])


@dataclass(frozen=True)
class RidgeSystem:
    """Eigenvectors of ``X Xᵀ``, which serve every penalty.

    Attributes
    ----------
    mean, scale
        Of the features over the trials, the deviation no smaller than asked for. Shape ``(feature,)``.
    features
        Standardised; 0 where a feature does not vary. Shape ``(trial, feature)``.
    target_mean
        Shape ``(output,)``.
    values, vectors
        Eigenvalues, shape ``(trial,)``, and eigenvectors, in columns.
    projected
        Targets around their mean along the eigenvectors. Shape ``(trial, output)``.
    """

    mean: FloatArray
    scale: FloatArray
    features: FloatArray
    target_mean: FloatArray
    values: FloatArray
    vectors: FloatArray
    projected: FloatArray

    @classmethod
    def of(cls, features: FloatArray, targets: FloatArray, min_deviation: float) -> RidgeSystem:
        """Return the system of features, ``(trial, feature)``, and targets, ``(trial, output)``."""
        mean = features.mean(axis=0)
        deviation = features.std(axis=0)
        constant = deviation <= CONSTANT_BELOW * np.abs(features).max(axis=0)
        scale = np.where(constant, 1.0, np.maximum(deviation, min_deviation))
        standardised = np.where(constant, 0.0, (features - mean) / scale)
        values, vectors = np.linalg.eigh(standardised @ standardised.T)
        target_mean = targets.mean(axis=0)
        projected = vectors.T @ (targets - target_mean)
        return cls(mean, scale, standardised, target_mean, values.clip(min=0.0), vectors, projected)

    def weights(self, alpha: float) -> FloatArray:
        """Return the weight of each trial in each output. Shape ``(trial, output)``."""
        solved: FloatArray = self.vectors @ (self.projected / (self.values + alpha)[:, None])
        return solved


def left_out_error(
    features: FloatArray,
    targets: FloatArray,
    left_out: NDArray[np.bool_],
    *,
    alphas: FloatArray,
    min_deviation: float,
) -> FloatArray:
    """Squared error on the trials left out, for every penalty."""
    system = RidgeSystem.of(features[~left_out], targets[~left_out], min_deviation)
    overlap = (features[left_out] - system.mean) / system.scale @ system.features.T
    true = targets[left_out] - system.target_mean
    return np.array([np.square(true - overlap @ system.weights(alpha)).sum() for alpha in alphas])


def _known_mean(trials: FloatArray, *, otherwise: FloatArray) -> FloatArray:
    known = np.isfinite(trials)
    number = known.sum(axis=0)
    total = np.where(known, trials, 0.0).sum(axis=0)
    mean: FloatArray = np.where(number > 0, total / np.maximum(number, 1), otherwise)
    return mean
