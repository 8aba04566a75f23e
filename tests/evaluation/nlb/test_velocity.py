"""Velocity decoding of the benchmark, against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.metrics.resampling import bootstrap
from nwb_latents.pipeline.evaluation.nlb.velocity import NLB_ALPHAS, fit_nlb_decoder, nlb_velocity_r2


@pytest.fixture
def trials():
    """23 + 9 trials of 17 bins: 23 · 17 samples do not divide by 5, and some lack a velocity."""

    def make(noise=3.0, seed=0):
        rng = np.random.default_rng(seed)
        rates = rng.gamma(2.0, 0.1, size=(32, 17, 8)) * rng.uniform(0.1, 3, size=8)
        velocity = 30 * rates @ rng.normal(size=(8, 2)) + rng.normal(size=(32, 17, 2)) * noise + [5.0, -2.0]
        velocity[2, :4, 0] = np.nan
        velocity[30, 10:] = np.nan
        return (rates[:23], velocity[:23]), (rates[23:], velocity[23:])

    return make


def scikit_learn(train, test):
    """As the benchmark's own code: flattened, bins without velocity dropped, default 5 folds."""
    (x, y), (x_new, y_new) = (
        (rates.reshape(-1, rates.shape[2]), velocity.reshape(-1, velocity.shape[2]))
        for rates, velocity in (train, test)
    )
    known, known_new = np.isfinite(y).all(axis=1), np.isfinite(y_new).all(axis=1)
    search = GridSearchCV(Ridge(), {"alpha": np.logspace(-4, 0, 9)}).fit(x[known], y[known])
    return search, search.predict(x_new), search.score(x_new[known_new], y_new[known_new])


# Noise and seed decide which penalty is best: these choose from the middle and from both ends of the grid.
@pytest.mark.parametrize(("noise", "seed"), [(0.1, 1), (3.0, 1), (6.0, 2), (10.0, 3), (40.0, 4)])
def test_penalty_predictions_and_score_are_those_of_scikit_learn(trials, noise, seed):
    train, test = trials(noise, seed)
    search, predicted, score = scikit_learn(train, test)
    decoder = fit_nlb_decoder(*train)
    ridge = decoder.ridges[""]
    assert ridge.alpha == pytest.approx(search.best_params_["alpha"], rel=1e-12)
    assert ridge.cv_r2 == pytest.approx(search.cv_results_["mean_test_score"], abs=1e-9)
    assert decoder.predict(test[0]).reshape(-1, 2) == pytest.approx(predicted, abs=1e-9)
    found = nlb_velocity_r2(*test, train_rates=train[0], train_velocity=train[1])
    assert found == pytest.approx(score, abs=1e-9)


def test_penalties_are_those_of_the_benchmark():
    assert pytest.approx(np.logspace(-4, 0, 9), rel=1e-15) == NLB_ALPHAS


def test_features_are_not_scaled(trials):
    (rates, velocity), _ = trials(40.0)
    small, large = (fit_nlb_decoder(rates * factor, velocity, alphas=(1.0,)) for factor in (1e-2, 1e2))
    shrunk, free = np.abs(small.predict(rates * 1e-2)).std(), np.abs(large.predict(rates * 1e2)).std()
    assert shrunk < 0.5 * free


def test_groups_have_decoders_of_their_own_and_their_scores_are_averaged(trials):
    train, test = trials()
    rng = np.random.default_rng(1)
    train_groups, groups = (rng.permutation(["active", "passive"] * 16)[:n].tolist() for n in (23, 9))
    train[1][np.array(train_groups) == "passive"] *= -1
    test[1][np.array(groups) == "passive"] *= -1
    expected = []
    for name in ("active", "passive"):
        parts = [
            tuple(values[np.array(of) == name] for values in pair)
            for pair, of in ((train, train_groups), (test, groups))
        ]
        expected.append(scikit_learn(*parts)[2])
    given = {"train_rates": train[0], "train_velocity": train[1], "train_groups": train_groups}
    found = nlb_velocity_r2(*test, groups=groups, **given)
    assert found == pytest.approx(np.mean(expected), abs=1e-9)
    assert found > 0.5 + nlb_velocity_r2(*test, train_rates=train[0], train_velocity=train[1])


def test_the_score_is_a_statistic_of_the_trials_scored(trials):
    train, test = trials()
    decoder = fit_nlb_decoder(*train)
    score = decoder.score(*test)
    row = np.array([0, 0, 3, 4, 7, 7, 7, 8, 8])
    again = scikit_learn(train, tuple(values[row] for values in test))[2]
    weights = np.bincount(row, minlength=9).astype(float)[None]
    assert score.value(weights)[0] == pytest.approx(again, abs=1e-9)
    found = bootstrap(score, n_resamples=200)
    assert found.low < found.value < found.high


def test_order_of_units_and_of_scored_trials_does_not_matter(trials):
    train, test = trials()
    units, order = np.random.default_rng(0).permutation(8), np.random.default_rng(1).permutation(9)
    found = nlb_velocity_r2(*test, train_rates=train[0], train_velocity=train[1])
    turned = nlb_velocity_r2(
        test[0][order][..., units], test[1][order], train_rates=train[0][..., units], train_velocity=train[1]
    )
    assert turned == pytest.approx(found, abs=1e-9)


def test_an_axis_that_does_not_vary_leaves_the_score_undefined(trials):
    train, (rates, velocity) = trials()
    velocity[..., 1] = 3.0
    found = nlb_velocity_r2(rates, velocity, train_rates=train[0], train_velocity=train[1])
    assert math.isnan(found)


def test_what_cannot_be_decoded_is_refused(trials):
    (rates, velocity), test = trials()
    decoder = fit_nlb_decoder(rates, velocity)
    with pytest.raises(DataError, match=r"with 8 units"):
        decoder.predict(rates[..., :3])
    with pytest.raises(DataError, match=r"\['a', 'b'\].*\[''\]"):
        decoder.score(*test, groups=["a"] * 4 + ["b"] * 5)
    with pytest.raises(DataError, match="2 groups given for 23 trials"):
        fit_nlb_decoder(rates, velocity, groups=["a", "b"])
    with pytest.raises(DataError, match="same trials and bins"):
        fit_nlb_decoder(rates, velocity[:, 1:])
    with pytest.raises(DataError, match="0 bins of the trials of group 'b'"):
        fit_nlb_decoder(
            rates[:3], np.where([[[1]], [[1]], [[0]]], velocity[:3], np.nan), groups=["a", "a", "b"]
        )
    with pytest.raises(DataError, match="no bin of the trials to score"):
        decoder.score(test[0], np.full_like(test[1], np.nan))
    with pytest.raises(DataError, match="not finite in 1 of"):
        decoder.score(np.where(np.arange(9 * 17).reshape(9, 17, 1) == 5, np.nan, test[0]), test[1])
