"""Factors of whole trials: the posterior is that of a plain optimiser, and known courses are found again."""

import numpy as np
import pytest
from scipy.optimize import minimize

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.baselines.trial_courses import factor_posterior, fit_courses


def negative_log_posterior(a, counts, offset, loadings, deviation):
    """Written out, count by count, of the known ones."""
    total = 0.5 * sum((a[q] / deviation[q]) ** 2 for q in range(len(a)))
    for n, o, column in zip(counts, offset, loadings.T, strict=True):
        if np.isfinite(n):
            eta = o + float(a @ column)
            total += np.exp(eta) - n * eta
    return total


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    offset, loadings = rng.normal(size=12) - 0.5, rng.normal(size=(2, 12))
    deviation = np.array([1.5, 0.4])
    counts = rng.poisson(np.exp(offset + (rng.normal(size=(5, 2)) * deviation) @ loadings)).astype(float)
    counts[1, ::3] = np.nan
    counts[2] = np.nan
    return counts, offset, loadings, deviation


def test_the_mode_is_that_of_a_plain_optimiser(problem):
    counts, offset, loadings, deviation = problem
    found = factor_posterior(counts, offset=offset, loadings=loadings, deviation=deviation)
    for row, mode in zip(counts, found.mean, strict=True):
        plain = minimize(
            negative_log_posterior, np.zeros(2), args=(row, offset, loadings, deviation),
            method="Nelder-Mead", options={"xatol": 1e-10, "fatol": 1e-13, "maxiter": 4000},
        )  # fmt: skip
        np.testing.assert_allclose(mode, plain.x, atol=1e-6)


def test_the_covariance_is_the_inverse_of_the_curvature(problem):
    counts, offset, loadings, deviation = problem
    found = factor_posterior(counts, offset=offset, loadings=loadings, deviation=deviation)
    step = 1e-4
    for row, mode, covariance in zip(counts, found.mean, found.covariance, strict=True):
        hessian = np.empty((2, 2))
        for i, j in np.ndindex(2, 2):
            corners = [
                sign * negative_log_posterior(
                    mode + step * (a * np.eye(2)[i] + b * np.eye(2)[j]), row, offset, loadings, deviation
                )
                for a, b, sign in ((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1))
            ]  # fmt: skip
            hessian[i, j] = sum(corners) / (4 * step**2)
        np.testing.assert_allclose(covariance, np.linalg.inv(hessian), rtol=1e-4, atol=1e-7)


def test_a_trial_of_which_nothing_is_seen_has_the_prior(problem):
    counts, offset, loadings, deviation = problem
    found = factor_posterior(counts, offset=offset, loadings=loadings, deviation=deviation)
    np.testing.assert_allclose(found.mean[2], 0.0, atol=1e-12)
    np.testing.assert_allclose(found.covariance[2], np.diag(deviation**2), rtol=1e-9)


def test_with_one_factor_the_mode_and_width_are_near_the_posterior_by_quadrature():
    rng = np.random.default_rng(1)
    offset, loadings = np.full(400, -1.0), rng.normal(size=(1, 400)) * 0.5
    counts = rng.poisson(np.exp(offset + 0.8 * loadings[0]))[None].astype(float)
    found = factor_posterior(counts, offset=offset, loadings=loadings, deviation=np.ones(1))
    grid = np.linspace(-3, 3, 4001)
    eta = offset + grid[:, None] * loadings[0]
    log_p = (counts[0] * eta - np.exp(eta)).sum(axis=1) - grid**2 / 2
    p = np.exp(log_p - log_p.max())
    p /= p.sum()
    mean = (p * grid).sum()
    assert found.mean[0, 0] == pytest.approx(mean, abs=0.01)
    assert found.covariance[0, 0, 0] == pytest.approx((p * (grid - mean) ** 2).sum(), rel=0.02)


def test_counts_far_from_any_prior_end_at_the_mode_too():
    """Newton's full step would overshoot by hundreds: the halved ones do not."""
    counts = np.array([[5e3, 0.0], [0.0, 9e5]])
    found = factor_posterior(
        counts, offset=np.full(2, -6.0), loadings=np.eye(2) * 3, deviation=np.full(2, 9.0)
    )
    eta = -6.0 + 3 * found.mean
    slope = 3 * (np.exp(eta) - counts) + found.mean / 81
    np.testing.assert_allclose(slope / np.sqrt(counts + 1), 0.0, atol=1e-3)


@pytest.fixture(scope="module")
def drawn():
    """Trials of two factors, each a course over 20 bins of 15 units."""
    rng = np.random.default_rng(2)
    t = np.linspace(0, 1, 20)
    latents = np.stack([np.sin(2 * np.pi * t), np.cos(np.pi * t), t], axis=1)
    weights, basis = rng.normal(size=(3, 15)) * 0.6, rng.normal(size=(2, 20, 3)) * 0.2
    smooth = np.cumsum(basis, axis=1)
    factors = rng.normal(size=(220, 2))
    log_rates = -0.7 + (latents + np.tensordot(factors, smooth, axes=1)) @ weights
    rates = np.exp(log_rates)
    return rates, rng.poisson(rates).astype(float)


def test_courses_foretell_bins_that_were_not_seen(drawn):
    rates, counts = drawn
    (courses,) = fit_courses(counts[:200], sigma_bins=2.0, latents=3, factors=[2], penalty=1e-3)
    made = courses.rates(courses.posterior(counts[200:, :8]).mean)[:, 8:]
    mean = rates[:200, 8:].mean(axis=0)
    error, spread = np.square(made - rates[200:, 8:]).sum(), np.square(mean - rates[200:, 8:]).sum()
    assert error < 0.35 * spread
    all_seen = courses.rates(courses.posterior(counts[200:]).mean)[:, 8:]
    assert np.square(all_seen - rates[200:, 8:]).sum() < error


def test_latents_are_the_courses_without_units(drawn):
    _, counts = drawn
    for courses in fit_courses(counts, sigma_bins=2.0, latents=3, factors=[1, 4], penalty=1e-3):
        factors = courses.posterior(counts[:5]).mean
        log_rates = np.log(courses.rates(factors)).reshape(-1, 15)
        latents = np.concatenate([courses.latents(factors).reshape(-1, 3), np.ones((100, 1))], axis=1)
        left, *_ = np.linalg.lstsq(latents, log_rates, rcond=None)
        np.testing.assert_allclose(latents @ left, log_rates, atol=1e-8)


def test_trials_that_are_all_alike_are_refused():
    with pytest.raises(DataError, match="3 training trials, no two of which differ"):
        fit_courses(np.ones((3, 4, 2)), sigma_bins=1.0, latents=1, factors=[1], penalty=1.0)


def test_silent_units_and_gaps_change_no_other_unit(drawn):
    _, counts = drawn
    with_silent = np.concatenate([counts, np.zeros((220, 20, 1))], axis=2)
    (plain,), (more,) = (
        fit_courses(each, sigma_bins=2.0, latents=3, factors=[2], penalty=1e-3)
        for each in (counts, with_silent)
    )
    rates = [each.rates(each.posterior(n[:9]).mean) for each, n in ((plain, counts), (more, with_silent))]
    assert np.isfinite(rates[1]).all()
    np.testing.assert_allclose(rates[1][..., :15], rates[0], rtol=0.02)
    gaps = counts.copy()
    gaps[:50, 3] = np.nan
    (courses,) = fit_courses(gaps, sigma_bins=2.0, latents=3, factors=[2], penalty=1e-3)
    assert np.isfinite(courses.rates(courses.posterior(gaps[:60]).mean)).all()
