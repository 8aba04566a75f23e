"""Smoothing: constants stay constant at edges and gaps, no shift, no influence across masks."""

import platform

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import correlate1d, gaussian_filter1d

from nwb_latents.pipeline.signals.smoothing import (
    gaussian_kernel,
    smooth_counts,
    smooth_samples,
    smooth_trials,
)


@given(arrays(bool, st.integers(1, 200)), st.integers(1, 9), st.sampled_from([0.0, 0.01, 0.025, 0.08]))
def test_a_constant_rate_stays_constant_at_edges_and_gaps(observed, level, sigma):
    counts = np.full((1, len(observed)), level, np.uint8)
    rates = smooth_counts(counts, observed, bin_size_s=0.02, sigma_s=sigma).T
    assert rates[0, observed] == pytest.approx(level / 0.02, rel=1e-6)
    assert np.isnan(rates[0, ~observed]).all()


@given(arrays(bool, 60), arrays(np.uint8, (1, 60)), arrays(np.uint8, (1, 60)))
def test_counts_in_unobserved_bins_have_no_influence(observed, counts, other):
    mixed = np.where(observed, counts, other)
    a = smooth_counts(counts, observed, bin_size_s=0.02, sigma_s=0.025)
    b = smooth_counts(mixed, observed, bin_size_s=0.02, sigma_s=0.025)
    assert np.array_equal(a, b, equal_nan=True)


@given(st.integers(20, 80), st.sampled_from([0.02, 0.025, 0.033, 0.05]))
def test_a_single_spike_is_smoothed_symmetrically_about_its_bin(where, sigma):
    counts = np.zeros((1, 101), np.uint8)
    counts[0, where] = 1
    rates = smooth_counts(counts, np.ones(101, bool), bin_size_s=0.02, sigma_s=sigma)[:, 0]
    assert int(rates.argmax()) == where
    assert rates[where - 8 : where] == pytest.approx(rates[where + 8 : where : -1], abs=1e-6)
    assert rates.sum() * 0.02 == pytest.approx(1.0, rel=1e-5)


def test_away_from_edges_it_is_scipys_gaussian():
    rng = np.random.default_rng(1)
    counts = rng.poisson(0.4, (3, 400)).astype(np.uint8)
    ours = smooth_counts(counts, np.ones(400, bool), bin_size_s=0.02, sigma_s=0.025).T
    theirs = gaussian_filter1d(counts / 0.02, 1.25, axis=1, truncate=4)
    assert ours[:, 10:-10] == pytest.approx(theirs[:, 10:-10], rel=1e-4, abs=1e-3)


@pytest.mark.parametrize(
    ("n_units", "sigma"), [(1, 0.0), (300, 0.0), (7, 0.025), (300, 0.1), (3000, 0.025), (3, 8.0)]
)
def test_it_is_scipys_correlation_to_the_last_bit(n_units, sigma):
    """However many units and bins are smoothed at a time, and however far the kernel reaches."""
    rng = np.random.default_rng(n_units)
    n_bins = 2300
    counts = rng.poisson(0.3, (n_units, n_bins)).astype(np.uint16)
    observed = rng.random(n_bins) > 0.1
    kernel = gaussian_kernel(sigma / 0.02)
    weight = correlate1d(observed.astype(float), kernel, mode="constant")
    sums = correlate1d(np.where(observed, counts, 0).astype(float), kernel, axis=1, mode="constant")
    with np.errstate(divide="ignore"):
        scale = np.where(observed, 1.0 / (weight * 0.02), np.nan)
    ours = smooth_counts(counts, observed, bin_size_s=0.02, sigma_s=sigma)
    assert np.array_equal(ours, (sums * scale).astype(np.float32).T, equal_nan=True)


@pytest.mark.parametrize("sigma", [0.3, 1.0, 1.25, 2.5])
def test_kernels_are_odd_symmetric_and_sum_to_one(sigma):
    kernel = gaussian_kernel(sigma)
    assert len(kernel) % 2 == 1
    assert kernel == pytest.approx(kernel[::-1])
    assert kernel.sum() == pytest.approx(1.0)


@given(arrays(bool, (3, 30, 2)), st.sampled_from([0.1, 1.0, 5.0]))
def test_a_constant_stays_constant_within_trials_wherever_it_is_known(is_known, sigma):
    smoothed = smooth_trials(np.where(is_known, 4.0, np.nan), sigma_bins=sigma)
    known_at_all = np.broadcast_to(is_known.any(axis=1, keepdims=True), smoothed.shape)
    assert smoothed[known_at_all] == pytest.approx(4.0)
    assert np.isnan(smoothed[~known_at_all]).all()


def test_trials_and_units_are_smoothed_without_their_neighbours():
    counts = np.random.default_rng(2).poisson(1.0, (4, 20, 3)).astype(float)
    whole = smooth_trials(counts, sigma_bins=2.0)
    assert np.array_equal(whole[1:2], smooth_trials(counts[1:2], sigma_bins=2.0))
    other = counts.copy()
    other[0], other[..., 0] = 9.0, 7.0
    assert smooth_trials(other, sigma_bins=2.0)[1:, :, 1:] == pytest.approx(whole[1:, :, 1:])


def test_away_from_edges_trials_have_scipys_gaussian():
    counts = np.random.default_rng(3).poisson(0.4, (2, 60, 3)).astype(float)
    theirs = gaussian_filter1d(counts, 1.5, axis=1, truncate=8)
    assert smooth_trials(counts, sigma_bins=1.5)[:, 14:-14] == pytest.approx(theirs[:, 14:-14])


@pytest.mark.parametrize(
    ("n_samples", "n_axes", "sigma"),
    [(1, 2, 3.0), (40, 2, 9.7), (50_001, 2, 10.0), (20_000, 1, 0.3), (9000, 3, 25.0)],
)
def test_samples_are_smoothed_as_by_scipy(n_samples, n_axes, sigma):
    """However long the series is: shorter than the Gaussian, or many blocks; in either order of memory."""
    values = np.random.default_rng(n_samples).normal(size=(n_samples, n_axes)).cumsum(axis=0)
    theirs = gaussian_filter1d(values, sigma, axis=0, mode="nearest")
    for given_values in (values, np.asfortranarray(values)):
        ours = smooth_samples(given_values, sigma)
        if platform.machine() in {"x86_64", "AMD64"}:
            # Elsewhere products and sums may be rounded as one.
            assert ours.tobytes() == theirs.tobytes()
        assert ours == pytest.approx(theirs, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("sigma_s", [0.01, 0.025, 0.1])
def test_causal_rates_hold_no_spike_after_their_bin(sigma_s):
    """Redraw every spike from a bin on: no rate before it changes, and that of the bin does."""
    rng = np.random.default_rng(0)
    counts, observed = rng.poisson(2.0, size=(3, 80)).astype(np.uint16), np.ones(80, bool)
    observed[20:24] = False
    later = counts.copy()
    later[:, 50:] += rng.poisson(3.0, size=(3, 30)).astype(np.uint16) + 1

    def rates(of, kernel):
        return smooth_counts(of, observed, bin_size_s=0.02, sigma_s=sigma_s, kernel=kernel)

    one, other = rates(counts, "causal"), rates(later, "causal")
    assert np.array_equal(one[:50], other[:50], equal_nan=True)
    assert (one[50] != other[50]).all()
    assert not np.array_equal(rates(counts, "gaussian")[:50], rates(later, "gaussian")[:50], equal_nan=True)
    # A constant rate stays constant, at the ends and beside gaps too.
    flat = rates(np.ones((1, 80), np.uint16), "causal")
    np.testing.assert_allclose(flat[observed], 50.0, rtol=1e-6)
    assert np.isnan(flat[~observed]).all()


def test_trials_are_smoothed_causally_as_the_recording_is():
    counts = np.random.default_rng(1).poisson(2.0, size=(1, 30)).astype(np.uint16)
    whole = smooth_counts(
        counts, np.ones(30, bool), bin_size_s=0.02, sigma_s=0.025, truncate=10.0, kernel="causal"
    )
    alone = smooth_trials(counts.T[None].astype(float), sigma_bins=1.25, kernel="causal")[0] / 0.02
    np.testing.assert_allclose(alone, whole, rtol=1e-5)
