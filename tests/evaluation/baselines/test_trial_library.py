"""The library of training trials: likelihoods as scipy has them, and means as loops make them."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import poisson

from nwb_latents.pipeline.evaluation.baselines.trial_library import (
    TrialLibrary,
    forecast_by_library,
    weights_of,
)
from nwb_latents.pipeline.evaluation.forecasting.forecast_problem import ForecastProblem
from nwb_latents.schemas.baselines import BaselineSettings
from nwb_latents.schemas.forecasting import ForecastSettings

rng = np.random.default_rng(0)
LIBRARY = TrialLibrary(rates=rng.gamma(2.0, 0.5, size=(6, 5, 4)), latents=np.zeros((6, 5, 1)))


def test_likelihoods_are_those_of_a_loop_over_every_count():
    counts = rng.poisson(1.0, size=(3, 4, 3)).astype(float)
    counts[1, 2] = np.nan
    found = LIBRARY.log_likelihood(counts)
    plain = np.zeros((3, 6))
    for i, c, t, u in np.ndindex(3, 6, 4, 3):
        if np.isfinite(counts[i, t, u]):
            plain[i, c] += poisson.logpmf(counts[i, t, u], LIBRARY.rates[c, t, u])
    # But for the factorials, which are the same under every trial of the library.
    np.testing.assert_allclose(found - found[:, :1], plain - plain[:, :1], atol=1e-10)


def test_weights_are_the_posterior_over_the_library_at_temperature_1():
    counts = rng.poisson(1.0, size=(2, 5, 4)).astype(float)
    p = np.array([[poisson.pmf(n, rates).prod() for rates in LIBRARY.rates] for n in counts])
    found = weights_of(LIBRARY.log_likelihood(counts), temperature=1.0)
    np.testing.assert_allclose(found, p / p.sum(axis=1, keepdims=True), rtol=1e-9)
    hot = weights_of(LIBRARY.log_likelihood(counts), temperature=1e9)
    np.testing.assert_allclose(hot, 1 / 6, rtol=1e-6)


@pytest.fixture
def problem():
    """Trials of two kinds that differ from the first bin on; velocity tells the kind."""
    kind = np.arange(40) % 2
    rates = np.where(kind[:, None, None] == 1, [0.2, 3.0], [3.0, 0.2]) * np.ones((40, 36, 2))
    counts = np.random.default_rng(3).poisson(rates).astype(float)
    velocity = np.where(kind[:, None, None] == 1, 10.0, -10.0) * np.ones((40, 36, 2))
    return ForecastProblem(
        session="s", settings=ForecastSettings(), bin_size_s=0.02, sigma_s=0.025,
        train_counts=counts[:30], train_rates=counts[:30] / 0.02, train_velocity=velocity[:30],
        train_condition=("",) * 30, counts=counts[30:, :13], velocity_seen=velocity[30:, :13],
        condition=("",) * 10,
    )  # fmt: skip


SETTINGS = BaselineSettings(library_factors=2, course_latents=1)


def test_a_trial_is_foretold_to_do_what_trials_like_it_did(problem):
    made = forecast_by_library(problem, SETTINGS)
    kind = np.arange(30, 40) % 2
    np.testing.assert_allclose(
        made.velocity[:, :, 0], np.where(kind == 1, 10.0, -10.0)[:, None] * np.ones(20)
    )
    assert (made.rates[kind == 1, :, 1] > 100).all()
    assert (made.rates[kind == 0, :, 1] < 30).all()


def test_velocity_that_was_not_recorded_counts_nowhere(problem):
    velocity = problem.train_velocity.copy()
    velocity[1::4, 20:] = np.nan  # half the trials of one kind
    made = forecast_by_library(replace(problem, train_velocity=velocity), SETTINGS)
    np.testing.assert_allclose(made.velocity, forecast_by_library(problem, SETTINGS).velocity)


def test_without_velocity_the_rates_are_forecast_alone(problem):
    made = forecast_by_library(replace(problem, train_velocity=None, velocity_seen=None), SETTINGS)
    assert made.velocity is None
    assert np.isfinite(made.rates).all()
