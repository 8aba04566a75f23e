"""Forecasts without a model: exact on cases done by hand, and blind to test trials."""

import numpy as np
import pytest

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.decoding.ridge import fit_ridge
from nwb_latents.pipeline.evaluation.forecasting.simple_forecasts import (
    fit_condition_mean,
    fit_linear_forecast,
    hold_last,
)
from nwb_latents.pipeline.signals.folds import group_folds


def test_the_last_known_value_is_held():
    nan = np.nan
    values = [[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0], [nan, 8.0]], [[nan, nan], [nan, nan]]]
    held = hold_last(values, n_bins=3, otherwise=[-1.0, -2.0])
    assert held.shape == (3, 3, 2)
    assert held[:, 0].tolist() == [[3.0, 4.0], [5.0, 6.0], [-1.0, -2.0]]
    assert (held == held[:, :1]).all()


def test_condition_means_are_means_of_the_known_trials_of_a_condition():
    nan = np.nan
    values = np.array([[[1.0], [2.0]], [[3.0], [nan]], [[9.0], [nan]], [[7.0], [nan]]])
    mean = fit_condition_mean(values, ["a", "a", "b", ""])
    assert mean.predict(["a"]).ravel().tolist() == [2.0, 2.0]
    # No trial of b knows the second bin: the mean of all trials there.
    assert mean.predict(["b"]).ravel().tolist() == [9.0, 2.0]
    for unknown in ("c", ""):
        assert mean.predict([unknown]).ravel().tolist() == [5.0, 2.0]


def test_a_bin_no_trial_knows_has_the_mean_over_bins():
    mean = fit_condition_mean([[[1.0], [np.nan]], [[3.0], [np.nan]]], ["a", "b"])
    assert mean.overall.ravel().tolist() == [2.0, 2.0]
    with pytest.raises(DataError, match="no known value"):
        fit_condition_mean(np.full((2, 3, 1), np.nan), ["a", "b"])


def test_the_linear_forecast_is_the_ridge_regression_of_the_same_penalty():
    rng = np.random.default_rng(0)
    seen, new = rng.normal(size=(30, 4, 20)), rng.normal(size=(5, 4, 20))
    ahead = rng.normal(size=(30, 3, 2)) + seen[:, :3, :2]
    fit = fit_linear_forecast(seen, ahead, alphas=(7.0,))
    plain = fit_ridge(seen.reshape(30, -1), ahead.reshape(30, -1), alpha=7.0)
    np.testing.assert_allclose(
        fit.predict(new), plain.predict(new.reshape(5, -1)).reshape(5, 3, 2), atol=1e-10
    )


def test_the_penalty_is_small_for_a_linear_truth_and_large_for_noise():
    rng = np.random.default_rng(1)
    seen = rng.normal(size=(60, 2, 5))
    truth = seen @ rng.normal(size=(5, 3))
    assert fit_linear_forecast(seen, truth, alphas=(1e-4, 1e4)).alpha == 1e-4
    assert fit_linear_forecast(seen, rng.normal(size=truth.shape), alphas=(1e-4, 1e4)).alpha == 1e4


def test_the_penalty_is_that_of_a_plain_loop_over_folds_and_is_the_one_that_is_used():
    rng = np.random.default_rng(4)
    seen, new = rng.normal(size=(40, 3, 6)), rng.normal(size=(5, 3, 6))
    ahead = seen[:, :2, :2] + 3 * rng.normal(size=(40, 2, 2))
    x, y, alphas = seen.reshape(40, -1), ahead.reshape(40, -1), tuple(np.geomspace(0.1, 1e4, 40))
    for seed in (0, 1):
        fold = group_folds(np.arange(40), folds=4, seed=seed)
        errors = [
            sum(
                np.square(
                    y[fold == one]
                    - fit_ridge(x[fold != one], y[fold != one], alpha=a).predict(x[fold == one])
                ).sum()
                for one in range(4)
            )
            for a in alphas
        ]
        best = alphas[int(np.argmin(errors))]
        assert alphas[0] < best < alphas[-1]
        fit = fit_linear_forecast(seen, ahead, alphas=alphas, folds=4, seed=seed)
        assert fit.alpha == pytest.approx(best)
        expected = fit_ridge(x, y, alpha=best).predict(new.reshape(5, -1)).reshape(5, 2, 2)
        np.testing.assert_allclose(fit.predict(new), expected, atol=1e-10)


def test_units_that_are_silent_in_training_change_nothing():
    seen = np.random.default_rng(2).normal(size=(20, 2, 3))
    seen[..., 2] = 0.0
    fit = fit_linear_forecast(seen, seen[:, :1, :2], alphas=(1e-6,))
    loud = seen.copy()
    loud[..., 2] = 100.0
    assert np.array_equal(fit.predict(seen), fit.predict(loud))


def test_a_unit_all_but_silent_in_training_does_not_outweigh_the_others():
    """One spike in one training trial makes a deviation of thousandths; the floor keeps it from exploding."""
    rng = np.random.default_rng(3)
    seen = rng.normal(scale=5.0, size=(40, 2, 3))
    ahead = seen[:, :1, :2].copy()
    seen[:, :, 2] = 0.0
    seen[7, 1, 2] = 0.003
    floored = fit_linear_forecast(seen, ahead, alphas=(1.0,), min_deviation=1.0)
    assert floored.scale.min() == 1.0
    np.testing.assert_array_equal(floored.scale[:2], seen.std(axis=0).ravel()[:2])
    loud = seen.copy()
    loud[:, 1, 2] = 20.0
    moved = {
        floor: np.abs(fit.predict(loud) - fit.predict(seen)).max()
        for floor in (0.0, 1.0)
        for fit in [fit_linear_forecast(seen, ahead, alphas=(1.0,), min_deviation=floor)]
    }
    assert moved[1.0] < 0.1 < 10 < moved[0.0]


def test_wrong_uses_of_the_linear_forecast_are_refused():
    with pytest.raises(DataError, match="not finite"):
        fit_linear_forecast(np.full((9, 1, 1), np.nan), np.zeros((9, 1, 1)), alphas=(1.0,))
    with pytest.raises(DataError, match="3 trials"):
        fit_linear_forecast(np.zeros((3, 1, 1)), np.zeros((3, 1, 1)), alphas=(1.0,), folds=5)
