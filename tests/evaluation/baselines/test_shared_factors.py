"""Factors that sessions share: what other sessions know of movements makes few trials of a new one go far."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.baselines.shared_factors import (
    KnownSession,
    forecast_by_shared_factors,
    learn_shared_factors,
)
from nwb_latents.pipeline.evaluation.baselines.trial_factors import forecast_by_factors
from nwb_latents.pipeline.evaluation.forecasting.forecast_problem import ForecastProblem
from nwb_latents.schemas.baselines import BaselineSettings
from nwb_latents.schemas.forecasting import ForecastSettings

N_BINS, SEEN, AHEAD = 20, 8, 10
SETTINGS = BaselineSettings(trial_factors=(2, 4), folds=4)
ASKED = ForecastSettings(seen_bins=SEEN, bins=AHEAD, folds=4)
RNG = np.random.default_rng(0)
COURSES = np.cumsum(RNG.normal(size=(2, N_BINS, 3)), axis=1) / 3
MOVEMENTS = np.cumsum(RNG.normal(size=(2, N_BINS, 2)), axis=1)


def drawn(seed, n_trials, n_units=30):
    """Return counts and velocity of a session whose units follow the common courses in their own way."""
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(n_trials, 2))
    weights = rng.normal(size=(3, n_units)) * 0.7
    log_rates = np.tensordot(factors, COURSES, axes=1) @ weights - 0.5
    return rng.poisson(np.exp(log_rates)).astype(float), np.tensordot(factors, MOVEMENTS, axes=1)


def problem(n_given=8, seed=9, n_test=60):
    counts, velocity = drawn(seed, n_given + n_test)
    made = ForecastProblem(
        session="new", settings=ASKED, bin_size_s=0.02, sigma_s=0.025, train_counts=counts[:n_given],
        train_rates=counts[:n_given] / 0.02, train_velocity=velocity[:n_given],
        train_condition=("",) * n_given, counts=counts[n_given:, :SEEN],
        velocity_seen=velocity[n_given:, :SEEN], condition=("",) * n_test,
    )  # fmt: skip
    return made, velocity[n_given:, ASKED.ahead]


def others(n=3, n_trials=60):
    return [KnownSession.of(*drawn(seed, n_trials)) for seed in range(n)]


def share_explained(true, made):
    return 1 - np.square(true - made).sum() / np.square(true - true.mean(axis=0)).sum()


def test_few_trials_forecast_better_with_what_other_sessions_share():
    given, true = problem()
    shared = forecast_by_shared_factors(given, others(), SETTINGS)
    alone = forecast_by_factors(given, SETTINGS)
    assert share_explained(true, shared.velocity) > share_explained(true, alone.velocity) + 0.1
    assert share_explained(true, shared.velocity) > 0.8
    assert shared.rates.shape == (60, AHEAD, 30)
    assert np.isfinite(shared.rates).all()
    assert shared.details["velocity"]["other_sessions"] == 3


def test_factors_of_movements_are_found_again():
    shared = learn_shared_factors(others(), factors=2, courses=3, sigma_bins=2.0)
    factors = np.random.default_rng(3).normal(size=(5, 2))
    assert np.allclose(shared.factors(shared.moved(factors)), factors)
    moved = np.concatenate([each.velocity for each in others()])
    assert np.allclose(shared.factors(moved).std(axis=0), 1.0)


def test_the_trials_given_decide_and_no_others_of_the_session():
    given, _ = problem()
    first = forecast_by_shared_factors(given, others(), SETTINGS).velocity
    same = forecast_by_shared_factors(replace(given, train_rates=given.train_rates + 1), others(), SETTINGS)
    assert np.array_equal(first, same.velocity)
    fewer = replace(
        given, train_counts=given.train_counts[:6], train_velocity=given.train_velocity[:6],
        train_rates=given.train_rates[:6],
    )  # fmt: skip
    assert not np.array_equal(first, forecast_by_shared_factors(fewer, others(), SETTINGS).velocity)
    assert not np.array_equal(first, forecast_by_shared_factors(given, others(2), SETTINGS).velocity)


def test_one_other_session_is_enough_and_bins_not_recorded_are_left_out():
    given, true = problem()
    gaps = given.train_counts.copy()
    gaps[0, 3:5] = np.nan
    made = forecast_by_shared_factors(replace(given, train_counts=gaps), others(1), SETTINGS)
    assert share_explained(true, made.velocity) > 0.5


@pytest.mark.parametrize(
    ("change", "known", "says"),
    [
        ({"train_velocity": None}, 3, "recorded hand velocity, and there is none"),
        ({"train_velocity": np.full((8, N_BINS, 2), np.nan)}, 3, "no training trial has a recorded"),
        ({}, 0, "0 trials of 0 other sessions"),
    ],
)
def test_what_cannot_be_shared_is_refused(change, known, says):
    given, _ = problem()
    with pytest.raises(DataError, match=says):
        forecast_by_shared_factors(replace(given, **change), others(known), SETTINGS)


def test_sessions_that_do_not_move_share_nothing():
    still = [KnownSession(each.counts, 0 * each.velocity) for each in others()]
    with pytest.raises(DataError, match="no two of which move differently"):
        learn_shared_factors(still, factors=2, courses=3, sigma_bins=2.0)


def test_sessions_without_a_known_movement_tell_nothing():
    given, _ = problem()
    still = KnownSession(np.zeros((0, N_BINS, 4)), np.zeros((0, N_BINS, 2)))
    with_it = forecast_by_shared_factors(given, [still, *others(1)], SETTINGS)
    without = forecast_by_shared_factors(given, others(1), SETTINGS)
    assert np.array_equal(with_it.velocity, without.velocity)
    assert with_it.details["velocity"]["other_sessions"] == 1


def test_where_no_session_has_trials_to_spare_the_choice_is_that_of_a_single_one():
    given, _ = problem()
    made = forecast_by_shared_factors(given, others(2, n_trials=8), SETTINGS)
    assert made.details["velocity"]["penalty"] == 1.0
