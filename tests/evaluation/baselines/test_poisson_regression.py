"""Poisson regression of many outputs at once: scikit-learn's, and a minimum where there is one."""

import numpy as np
import pytest
from sklearn.linear_model import PoissonRegressor

from nwb_latents.pipeline.errors import DataError, SettingsError
from nwb_latents.pipeline.evaluation.baselines.poisson_regression import PoissonRegression, fit_poisson


@pytest.fixture(scope="module")
def counts():
    """Return correlated features of unequal scale and low counts of 6 outputs that depend on them."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(600, 8)) @ rng.normal(size=(8, 8)) * np.geomspace(0.1, 4.0, 8) + 3.0
    weights = rng.normal(size=(8, 6)) * 0.3 / x.std(axis=0)[:, None]
    return x, rng.poisson(np.exp((x - x.mean(axis=0)) @ weights - 1.0)).astype(float)


@pytest.mark.parametrize("penalty", [1e-4, 1e-2, 1.0])
def test_every_output_has_the_fit_of_scikit_learn(counts, penalty):
    x, y = counts
    fit = fit_poisson(x, y, penalty=penalty)
    for index in range(y.shape[1]):
        other = PoissonRegressor(alpha=penalty, solver="newton-cholesky", tol=1e-12).fit(x, y[:, index])
        np.testing.assert_allclose(fit.coefficients[:, index], other.coef_, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(fit.intercept[index], other.intercept_, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(fit.predict(x)[:, index], other.predict(x), rtol=1e-6)


def test_counts_that_are_not_known_are_left_out_of_their_output_alone(counts):
    x, y = counts
    gappy = y.copy()
    gappy[:200, 0] = np.nan
    fit, whole = fit_poisson(x, gappy, penalty=0.01), fit_poisson(x, y, penalty=0.01)
    short = fit_poisson(x[200:], y[200:, :1], penalty=0.01)
    np.testing.assert_allclose(fit.coefficients[:, 0], short.coefficients[:, 0], atol=1e-6)
    np.testing.assert_allclose(fit.coefficients[:, 1:], whole.coefficients[:, 1:], atol=1e-6)


def test_the_fit_does_not_depend_on_where_it_starts_nor_on_outputs_beside_it(counts):
    x, y = counts
    fit = fit_poisson(x, y, penalty=0.01)
    far = PoissonRegression(np.full((8, 6), 0.3), np.full(6, 2.0))
    np.testing.assert_allclose(
        fit_poisson(x, y, penalty=0.01, start=far).coefficients, fit.coefficients, atol=1e-6
    )
    alone = fit_poisson(x, y[:, 2:3], penalty=0.01)
    np.testing.assert_allclose(alone.coefficients[:, 0], fit.coefficients[:, 2], atol=1e-6)


def test_outputs_worked_on_in_blocks_are_the_same(counts, monkeypatch):
    x, y = counts
    whole = fit_poisson(x, y, penalty=0.01)
    monkeypatch.setattr("nwb_latents.pipeline.evaluation.baselines.poisson_regression._BLOCK", 1300)
    np.testing.assert_allclose(fit_poisson(x, y, penalty=0.01).coefficients, whole.coefficients, atol=1e-6)


def test_an_output_without_an_event_has_a_rate_of_0_and_changes_no_other(counts):
    x, y = counts
    silent = np.concatenate([y, np.zeros((len(y), 1))], axis=1)
    fit = fit_poisson(x, silent, penalty=0.01)
    assert (fit.predict(x)[:, -1] == 0.0).all()
    np.testing.assert_allclose(
        fit.coefficients[:, :-1], fit_poisson(x, y, penalty=0.01).coefficients, atol=1e-6
    )


def test_repeated_and_constant_features_do_no_harm(counts):
    x, y = counts
    wide = np.concatenate([x, x[:, :1], np.full((len(x), 1), 7.0)], axis=1)
    fit = fit_poisson(wide, y, penalty=0.01)
    np.testing.assert_allclose(fit.coefficients[0], fit.coefficients[8], atol=1e-6)
    np.testing.assert_allclose(fit.coefficients[9], 0.0, atol=1e-9)


def test_wrong_uses_are_refused():
    with pytest.raises(SettingsError, match="above 0, found 0"):
        fit_poisson([[1.0]], [[1.0]], penalty=0.0)
    with pytest.raises(DataError, match="same number of samples"):
        fit_poisson([[1.0]], [[1.0], [2.0]], penalty=1.0)
    with pytest.raises(DataError, match="1 of 2 values of the features"):
        fit_poisson([[1.0], [np.nan]], [[1.0], [2.0]], penalty=1.0)
    with pytest.raises(DataError, match="negative"):
        fit_poisson([[1.0]], [[-1.0]], penalty=1.0)
