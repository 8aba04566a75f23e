"""Ridge regression with an intercept, its penalty chosen by cross-validation over whole trials.

Minimises ``Σ‖y − ȳ − (x − x̄)/s · w‖² + α‖w‖²`` with x̄ and s the mean and the standard deviation of each
feature over the samples of the fit, so that α means the same for quiet and busy units; with
``standardise=False`` all s are 1. One decomposition of the samples of a fold serves every α, and every fit
and score the fold takes part in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError, SettingsError
from nwb_latents.pipeline.evaluation.decoding.ridge_samples import Samples
from nwb_latents.pipeline.signals.folds import contiguous_folds, group_folds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Ridge:
    """A fitted linear map.

    Attributes
    ----------
    coefficients
        In units of target per unit of feature; exactly 0 for a constant feature.
        Shape ``(n_features, n_outputs)``, float64.
    feature_mean
        Mean of the features the fit saw. Shape ``(n_features,)``, float64.
    target_mean
        Mean of the targets the fit saw. Shape ``(n_outputs,)``, float64.
    alpha
        Penalty, on standardised features unless the fit says otherwise.
    cv_r2
        Cross-validated R² of each penalty tried, ascending in the penalty; empty if none was compared.
    """

    coefficients: FloatArray
    feature_mean: FloatArray
    target_mean: FloatArray
    alpha: float
    cv_r2: tuple[float, ...] = ()

    @property
    def n_features(self) -> int:
        """Features it reads."""
        return len(self.feature_mean)

    @property
    def n_outputs(self) -> int:
        """Targets it predicts."""
        return len(self.target_mean)

    @property
    def chosen(self) -> Mapping[str, object]:
        """What was chosen by cross-validation."""
        return {"alpha": self.alpha}

    @property
    def training_r2(self) -> float | None:
        """Cross-validated R² with the penalty chosen; None if none was compared."""
        return max(self.cv_r2) if self.cv_r2 else None

    @property
    def intercept(self) -> FloatArray:
        """Prediction where all features are 0. Shape ``(n_outputs,)``, float64."""
        intercept: FloatArray = self.target_mean - self.feature_mean @ self.coefficients
        return intercept

    def predict(self, features: ArrayLike) -> FloatArray:
        """Return the prediction for each row of `features`.

        Parameters
        ----------
        features
            Shape ``(…, n_features)``. A row with NaN gives NaN.

        Returns
        -------
        predicted
            Shape ``(…, n_outputs)``, float64.

        Examples
        --------
        >>> fit = fit_ridge([[0.0], [1.0], [2.0]], [[1.0], [3.0], [5.0]], alpha=1e-9)
        >>> fit.predict([[10.0]]).round(6).tolist()
        [[21.0]]
        """
        centred = np.asarray(features, dtype=np.float64) - self.feature_mean
        predicted: FloatArray = centred @ self.coefficients + self.target_mean
        return predicted


def fit_ridge(features: ArrayLike, targets: ArrayLike, *, alpha: float, standardise: bool = True) -> Ridge:
    """Fit with a given penalty.

    Parameters
    ----------
    features
        Finite. Shape ``(n_samples, n_features)``.
    targets
        Finite. Shape ``(n_samples, n_outputs)``.
    alpha
        Penalty on the coefficients of the standardised features; above 0.
    standardise
        Whether features are divided by their standard deviation; if not, `alpha` is a penalty on the
        coefficients of the features as they are.

    Returns
    -------
    fit
        In float64, whatever came in.

    Raises
    ------
    DataError
        If the shapes do not fit, there is no sample, or a value is not finite.
    SettingsError
        If `alpha` is not above 0.

    References
    ----------
    Hoerl and Kennard 1970, "Ridge regression", eq. 2.1; singular-value form: Hastie, Tibshirani and
    Friedman 2009, "The Elements of Statistical Learning", eq. 3.47.

    Examples
    --------
    >>> fit = fit_ridge([[0.0, 7.0], [1.0, 7.0], [2.0, 7.0]], [[1.0], [3.0], [5.0]], alpha=3.0)
    >>> fit.coefficients.round(6).tolist(), fit.intercept.round(6).tolist()
    ([[1.0], [0.0]], [2.0])
    """
    x, y = _checked(features, targets)
    penalties = _checked_alphas([alpha])
    return _ridge(Samples.of(x, y), float(penalties[0]), standardise=standardise)


def fit_ridge_cv(
    features: ArrayLike,
    targets: ArrayLike,
    *,
    groups: ArrayLike | None,
    alphas: Sequence[float],
    folds: int = 5,
    seed: int = 0,
    standardise: bool = True,
) -> Ridge:
    """Choose the penalty by cross-validation, then fit with it on all samples.

    Each fold leaves out whole groups (trials), centres and scales by the samples it keeps, and takes the R²
    of each output on the samples left out. The penalty with the highest mean over folds and outputs wins, of
    equals the larger. Outputs that do not vary within a fold have no R² there and do not count; with all
    defined, the mean is that of ``r2_uniform``.

    Parameters
    ----------
    features, targets
        As for `fit_ridge`.
    groups
        Trial each sample belongs to. Shape ``(n_samples,)``. None: each fold leaves out one stretch of
        samples in the order they are in (`contiguous_folds`), as scikit-learn does unless told otherwise.
    alphas
        Penalties to try, above 0.
    folds
        Number of folds.
    seed
        Seed of the assignment of groups to folds.
    standardise
        As for `fit_ridge`.

    Returns
    -------
    fit
        With ``cv_r2`` for every distinct penalty, ascending.

    Raises
    ------
    DataError
        As for `fit_ridge`, and if there are fewer groups (or samples) than folds or the targets vary in no
        fold.
    SettingsError
        If a penalty is not above 0.

    Examples
    --------
    >>> x = np.arange(12.0)[:, None]
    >>> fit_ridge_cv(x, 2 * x, groups=np.arange(12) // 2, alphas=(1e-3, 1e3), folds=3).alpha
    0.001
    """
    [fit] = fit_ridge_cv_each(
        features, [targets], groups=groups, alphas=alphas, folds=folds, seed=seed, standardise=standardise
    )
    return fit


def fit_ridge_cv_each(
    features: ArrayLike,
    target_sets: Sequence[ArrayLike],
    *,
    groups: ArrayLike | None,
    alphas: Sequence[float],
    folds: int = 5,
    seed: int = 0,
    standardise: bool = True,
) -> tuple[Ridge, ...]:
    """Fit several sets of targets to the same features, each with a penalty of its own.

    The same as `fit_ridge_cv` for each set, but the features are decomposed once for all of them.

    Parameters
    ----------
    features
        As for `fit_ridge`.
    target_sets
        Sets of targets, at least one, all of one shape; each as for `fit_ridge`.
    groups, alphas, folds, seed, standardise
        As for `fit_ridge_cv`.

    Returns
    -------
    fits
        One for each set of targets.

    Raises
    ------
    DataError, SettingsError
        As for `fit_ridge_cv`.

    Examples
    --------
    >>> x = np.arange(12.0)[:, None]
    >>> fits = fit_ridge_cv_each(x, [2 * x, -x], groups=np.arange(12) // 2, alphas=(1e-9,), folds=3)
    >>> [fit.coefficients.round(6).item() for fit in fits]
    [2.0, -1.0]
    """
    checked = [_checked(features, targets) for targets in target_sets]
    x, n_outputs = checked[0][0], checked[0][1].shape[1]
    y = np.concatenate([targets for _, targets in checked], axis=1)
    penalties = np.unique(_checked_alphas(alphas))
    if groups is None:
        fold_of = contiguous_folds(len(x), folds=folds)
    else:
        fold_of = group_folds(groups, folds=folds, seed=seed)
    origin = np.concatenate([x.mean(axis=0), y.mean(axis=0)])
    parts = [Samples.of(x[fold_of == fold], y[fold_of == fold], origin=origin) for fold in range(folds)]
    scores = np.stack(
        [_fold_scores(parts, fold, penalties, standardise=standardise) for fold in range(folds)]
    )
    whole = Samples.joined(parts)
    solved, centre = whole.fit(penalties, standardise=standardise), whole.origin + whole.mean
    fits = []
    for number in range(len(checked)):
        mine = slice(number * n_outputs, (number + 1) * n_outputs)
        best, mean = _best_penalty(scores[..., mine])
        fits.append(
            Ridge(
                coefficients=solved[best][:, mine],
                feature_mean=centre[: whole.n_features],
                target_mean=centre[whole.n_features :][mine],
                alpha=float(penalties[best]),
                cv_r2=tuple(mean.tolist()),
            )
        )
    return tuple(fits)


def _ridge(samples: Samples, alpha: float, *, standardise: bool) -> Ridge:
    n, mean = samples.n_features, samples.origin + samples.mean
    coefficients = samples.fit(np.array([alpha]), standardise=standardise)[0]
    return Ridge(coefficients, mean[:n], mean[n:], alpha)


def _best_penalty(scores: FloatArray) -> tuple[int, FloatArray]:
    """Return the index of the best penalty, of equals the largest, and the mean R² of each.

    `scores` has the shape ``(fold, penalty, output)``.
    """
    defined = np.isfinite(scores)
    if not defined.any():
        msg = "cross-validation: the targets do not vary in any fold, so no penalty has an R²; check them"
        raise DataError(msg)
    mean = np.where(defined, scores, 0.0).sum(axis=(0, 2)) / defined.sum(axis=(0, 2))
    return len(mean) - 1 - int(np.argmax(mean[::-1])), mean


def _fold_scores(parts: Sequence[Samples], fold: int, alphas: FloatArray, *, standardise: bool) -> FloatArray:
    """R² on the samples left out. Shape ``(n_alphas, n_outputs)``."""
    kept = Samples.joined([part for number, part in enumerate(parts) if number != fold])
    return parts[fold].r2(kept.fit(alphas, standardise=standardise), kept.mean)


def _checked_alphas(alphas: Sequence[float]) -> FloatArray:
    penalties = np.asarray(alphas, dtype=np.float64)
    if penalties.size == 0 or not (penalties > 0).all():
        msg = f"ridge penalties must be above 0, found {list(alphas)}; give at least one such as 1.0"
        raise SettingsError(msg)
    return penalties


def _checked(features: ArrayLike, targets: ArrayLike) -> tuple[FloatArray, FloatArray]:
    x = np.asarray(features, dtype=np.float64)
    y = np.asarray(targets, dtype=np.float64)
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y) or x.size == 0:
        msg = (
            f"ridge: features have shape {x.shape}, targets {y.shape}; expected (n_samples, n_features) and "
            f"(n_samples, n_outputs) with the same number of samples, at least one"
        )
        raise DataError(msg)
    for name, values in (("features", x), ("targets", y)):
        bad = int((~np.isfinite(values)).sum())
        if bad:
            msg = (
                f"ridge: {bad} of {values.size} values of the {name} are not finite; leave those samples out"
            )
            raise DataError(msg)
    return x, y
