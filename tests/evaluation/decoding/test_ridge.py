"""Ridge regression against plain numpy, and its cross-validation."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn.linear_model
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from nwb_latents.pipeline.errors import DataError, SettingsError
from nwb_latents.pipeline.evaluation.decoding.ridge import (
    fit_ridge,
    fit_ridge_cv,
    fit_ridge_cv_each,
)
from nwb_latents.pipeline.evaluation.metrics.r2 import r2
from nwb_latents.pipeline.signals.folds import contiguous_folds, group_folds

ALPHAS = (1e-2, 1e0, 1e2, 1e4)


@pytest.fixture
def data():
    rng = np.random.default_rng(7)
    x = rng.normal(size=(300, 12)) * rng.uniform(0.1, 30, size=12) + rng.uniform(-5, 50, size=12)
    y = x @ rng.normal(size=(12, 2)) * 0.3 + rng.normal(size=(300, 2)) * 4 + [3.0, -20.0]
    return x, y


def plain_ridge(x, y, alpha):
    """Normal equations with an unpenalised column of ones, as written in any textbook."""
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    design = np.column_stack([np.ones(len(z)), z])
    penalty = alpha * np.eye(design.shape[1])
    penalty[0, 0] = 0
    weights = np.linalg.solve(design.T @ design + penalty, design.T @ y)
    return lambda new: (new - x.mean(axis=0)) / x.std(axis=0) @ weights[1:] + weights[0]


@pytest.mark.parametrize("alpha", [1e-3, 1.0, 1e3])
def test_equals_the_normal_equations(data, alpha):
    x, y = data
    new = x[:20] * 1.1
    fit = fit_ridge(x, y, alpha=alpha)
    assert fit.predict(new) == pytest.approx(plain_ridge(x, y, alpha)(new), abs=1e-9)
    assert new @ fit.coefficients + fit.intercept == pytest.approx(fit.predict(new), abs=1e-9)


def test_equals_the_normal_equations_with_fewer_samples_than_features(data):
    x, y = data
    few = slice(0, 8)
    assert fit_ridge(x[few], y[few], alpha=0.5).predict(x) == pytest.approx(
        plain_ridge(x[few], y[few], 0.5)(x), abs=1e-8
    )


def test_is_float64_whatever_came_in(data):
    x, y = data
    fit = fit_ridge(x.astype(np.float32), y.astype(np.float32), alpha=1.0)
    assert fit.coefficients.dtype == np.float64
    assert fit.predict(x.astype(np.float32)).dtype == np.float64


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e6])
def test_constant_feature_changes_nothing(data, constant):
    x, y = data
    with_constant = np.column_stack([x, np.full(len(x), constant)])
    fit = fit_ridge(with_constant, y, alpha=1.0)
    assert (fit.coefficients[-1] == 0).all()
    with_constant[:, -1] = 1e9
    assert fit.predict(with_constant) == pytest.approx(fit_ridge(x, y, alpha=1.0).predict(x), abs=1e-9)


def test_duplicated_feature_shares_its_weight(data):
    x, y = data
    fit = fit_ridge(np.column_stack([x, x[:, 0]]), y, alpha=1e-2)
    assert fit.coefficients[0] == pytest.approx(fit.coefficients[-1], abs=1e-9)


def test_scale_of_a_feature_does_not_matter(data):
    x, y = data
    scaled = x * np.geomspace(1e-3, 1e3, 12)
    assert fit_ridge(scaled, y, alpha=10.0).predict(scaled) == pytest.approx(
        fit_ridge(x, y, alpha=10.0).predict(x), abs=1e-9
    )


def test_cross_validation_equals_a_plain_loop(data):
    x, y = data
    groups = np.arange(300) // 10
    folds = group_folds(groups, folds=5, seed=4)
    expected = []
    for alpha in ALPHAS:
        scores = []
        for fold in range(5):
            out = folds == fold
            predicted = plain_ridge(x[~out], y[~out], alpha)(x[out])
            scores.append(r2(y[out], predicted, definition="r2_uniform"))
        expected.append(np.mean(scores))
    fit = fit_ridge_cv(x, y, groups=groups, alphas=ALPHAS, folds=5, seed=4)
    assert fit.cv_r2 == pytest.approx(expected, abs=1e-9)
    assert fit.alpha == ALPHAS[int(np.argmax(expected))]
    assert fit.coefficients == pytest.approx(fit_ridge(x, y, alpha=fit.alpha).coefficients, rel=1e-9)


def test_noise_gets_the_larger_penalty():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 40)), rng.normal(size=(60, 2))
    assert fit_ridge_cv(x, y, groups=np.arange(60), alphas=ALPHAS).alpha == 1e4


def test_order_and_repetition_of_penalties_do_not_matter(data):
    x, y = data
    groups = np.arange(300) // 10
    one = fit_ridge_cv(x, y, groups=groups, alphas=ALPHAS)
    other = fit_ridge_cv(x, y, groups=groups, alphas=(*ALPHAS[::-1], 1.0))
    assert (one.alpha, one.cv_r2) == (other.alpha, other.cv_r2)


def test_of_equal_scores_the_larger_penalty_wins():
    x = np.zeros((20, 1))
    y = np.random.default_rng(0).normal(size=(20, 1))
    assert fit_ridge_cv(x, y, groups=np.arange(20), alphas=ALPHAS).alpha == 1e4


def test_output_that_never_varies_does_not_hide_the_others(data):
    x, y = data
    y = np.column_stack([y[:, 0], np.full(len(y), 2.0)])
    fit = fit_ridge_cv(x, y, groups=np.arange(300) // 10, alphas=ALPHAS)
    alone = fit_ridge_cv(x, y[:, :1], groups=np.arange(300) // 10, alphas=ALPHAS)
    assert fit.alpha == alone.alpha
    assert fit.predict(x)[:, 1] == pytest.approx(2.0)


def test_targets_that_never_vary_are_refused(data):
    with pytest.raises(DataError, match="do not vary"):
        fit_ridge_cv(data[0], np.ones((300, 2)), groups=np.arange(300), alphas=ALPHAS)


def test_folds_keep_groups_whole_balanced_and_seeded():
    groups = np.repeat(np.arange(23) * 10, 7)
    folds = group_folds(groups, folds=5, seed=1)
    assert all(len(set(folds[groups == name])) == 1 for name in set(groups))
    per_fold = [len(set(groups[folds == fold])) for fold in range(5)]
    assert sorted(per_fold) == [4, 4, 5, 5, 5]
    assert (folds == group_folds(groups, folds=5, seed=1)).all()
    assert (folds != group_folds(groups, folds=5, seed=2)).any()


def test_fewer_groups_than_folds_are_refused():
    with pytest.raises(DataError, match="3 trials cannot be shared out over 5 folds"):
        group_folds([1, 2, 3, 3], folds=5, seed=0)


def test_what_cannot_be_fitted_is_refused(data):
    x, y = data
    with pytest.raises(DataError, match="targets"):
        fit_ridge(x, np.where(y > 5, np.nan, y), alpha=1.0)
    with pytest.raises(DataError, match=r"\(300, 12\)"):
        fit_ridge(x, y[:10], alpha=1.0)
    with pytest.raises(DataError, match="at least one"):
        fit_ridge(x[:0], y[:0], alpha=1.0)
    with pytest.raises(SettingsError, match="above 0"):
        fit_ridge(x, y, alpha=0.0)


@pytest.mark.parametrize("alpha", [1e-3, 1.0, 1e3])
def test_unscaled_features_equal_scikit_learn(data, alpha):
    x, y = data
    fit = fit_ridge(x, y, alpha=alpha, standardise=False)
    theirs = sklearn.linear_model.Ridge(alpha=alpha).fit(x, y)
    assert fit.predict(x) == pytest.approx(theirs.predict(x), abs=1e-9)
    assert fit.coefficients == pytest.approx(theirs.coef_.T, abs=1e-9)
    assert fit.intercept == pytest.approx(theirs.intercept_, abs=1e-9)


@pytest.mark.parametrize("n_samples", [10, 11, 14, 299])
def test_contiguous_folds_are_those_of_scikit_learn(n_samples):
    folds = contiguous_folds(n_samples, folds=5)
    for fold, (_, left_out) in enumerate(KFold(5).split(np.zeros(n_samples))):
        assert np.flatnonzero(folds == fold).tolist() == left_out.tolist()


def test_fewer_samples_than_folds_are_refused(data):
    with pytest.raises(DataError, match="4 samples cannot be shared out over 5 folds"):
        fit_ridge_cv(data[0][:4], data[1][:4], groups=None, alphas=ALPHAS)


@pytest.mark.parametrize("standardise", [True, False])
@pytest.mark.parametrize("n_samples", [4096, 7000])
def test_more_samples_than_a_piece_holds_equal_scikit_learn(n_samples, standardise):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(n_samples, 4)) * [1.0, 1e3, 1e-2, 5.0] + [0.0, 1e6, 1.0, -3.0]
    y = x @ rng.normal(size=(4, 2)) + rng.normal(size=(n_samples, 2))
    scaler = StandardScaler(with_std=standardise)
    theirs = make_pipeline(scaler, sklearn.linear_model.Ridge())
    search = GridSearchCV(theirs, {"ridge__alpha": ALPHAS}).fit(x, y)
    fit = fit_ridge_cv(x, y, groups=None, alphas=ALPHAS, standardise=standardise)
    assert fit.alpha == search.best_params_["ridge__alpha"]
    assert fit.cv_r2 == pytest.approx(search.cv_results_["mean_test_score"], abs=1e-9)
    assert fit.predict(x) - y == pytest.approx(search.predict(x) - y, abs=1e-8)


def test_several_sets_of_targets_are_fitted_as_if_each_were_alone(data):
    x, y = data
    noise = np.random.default_rng(1).normal(size=y.shape) * 50
    sets = [y, y + noise, noise]
    groups = np.arange(len(x)) // 10
    together = fit_ridge_cv_each(x, sets, groups=groups, alphas=ALPHAS)
    assert len({fit.alpha for fit in together}) > 1
    for fit, targets in zip(together, sets, strict=True):
        alone = fit_ridge_cv(x, targets, groups=groups, alphas=ALPHAS)
        assert fit.alpha == alone.alpha
        assert fit.cv_r2 == pytest.approx(alone.cv_r2, abs=1e-12)
        assert fit.predict(x) == pytest.approx(alone.predict(x), abs=1e-9)


def test_one_of_several_sets_without_variance_is_refused(data):
    x, y = data
    with pytest.raises(DataError, match="do not vary"):
        fit_ridge_cv_each(x, [y, np.zeros_like(y)], groups=np.arange(len(x)) // 10, alphas=ALPHAS)
