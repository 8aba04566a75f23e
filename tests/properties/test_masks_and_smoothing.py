"""Intervals and masks combine as sets do; smoothing is linear, local and bounded."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nwb_latents.pipeline.signals.binning import merge_intervals, observed_fraction
from nwb_latents.pipeline.signals.smoothing import gaussian_kernel, smooth_counts
from nwb_latents.pipeline.signals.timebase import Grid

GRID = Grid(0, 60, 20_000_000)
intervals = st.lists(st.tuples(st.integers(0, 10**9), st.integers(1, 3 * 10**8)), max_size=8).map(
    lambda parts: np.array([(a / 1e9, (a + d) / 1e9) for a, d in parts]).reshape(-1, 2)
)
counts = arrays(np.uint8, (2, 60), elements=st.integers(0, 9))
masks = arrays(bool, 60)
sigmas = st.sampled_from([0.0, 0.01, 0.025, 0.06])


def smooth(values, observed, sigma_s):
    return smooth_counts(values, observed, bin_size_s=0.02, sigma_s=sigma_s).T


@given(intervals, st.randoms(use_true_random=False))
def test_merging_does_not_depend_on_the_order_and_merging_again_changes_nothing(parts, random):
    merged = merge_intervals(parts)
    shuffled = list(range(len(parts)))
    random.shuffle(shuffled)
    assert np.array_equal(merge_intervals(parts[shuffled]), merged)
    assert np.array_equal(merge_intervals(merged), merged)
    assert (merged[1:, 0] > merged[:-1, 1]).all()


@given(intervals, intervals)
def test_observed_time_of_a_union_is_what_inclusion_and_exclusion_say(a, b):
    a, b = merge_intervals(a), merge_intervals(b)
    either = observed_fraction(merge_intervals(np.concatenate([a, b])), GRID)
    low = np.maximum(a[:, None, 0], b[None, :, 0]).ravel()
    high = np.minimum(a[:, None, 1], b[None, :, 1]).ravel()
    both = observed_fraction(merge_intervals(np.column_stack([low, high])), GRID)
    in_a, in_b = observed_fraction(a, GRID), observed_fraction(b, GRID)
    assert either + both == pytest.approx(in_a + in_b, abs=1e-9)
    assert (either >= np.maximum(in_a, in_b) - 1e-12).all()
    assert (both <= np.minimum(in_a, in_b) + 1e-12).all()


@given(intervals, st.integers(1, 40))
def test_cutting_an_observed_interval_in_two_loses_nothing(parts, cut):
    merged = merge_intervals(parts)
    at = cut * 0.0231
    low, high = np.minimum(merged, at), np.maximum(merged, at)
    pieces = np.concatenate([low, high])
    assert observed_fraction(merge_intervals(pieces), GRID) == pytest.approx(observed_fraction(merged, GRID))


@given(counts, masks, masks, sigmas)
def test_masking_twice_is_masking_by_both(values, a, b, sigma):
    both = smooth(values, a & b, sigma)
    assert np.array_equal(smooth(values * a.astype(np.uint8), a & b, sigma), both, equal_nan=True)
    assert np.array_equal(np.isfinite(both), np.broadcast_to(a & b, both.shape))


@given(counts, masks, sigmas)
def test_rates_stay_between_the_least_and_the_most_that_was_recorded(values, observed, sigma):
    rates = smooth(values, observed, sigma)[:, observed]
    if observed.any():
        recorded = values[:, observed] / 0.02
        assert (rates >= recorded.min(axis=1, keepdims=True) - 1e-3).all()
        assert (rates <= recorded.max(axis=1, keepdims=True) + 1e-3).all()


@given(counts, counts, masks, sigmas)
def test_the_rate_of_two_units_together_is_the_sum_of_their_rates(a, b, observed, sigma):
    together = smooth(a + b, observed, sigma)[:, observed]
    apart = smooth(a, observed, sigma)[:, observed] + smooth(b, observed, sigma)[:, observed]
    assert together == pytest.approx(apart, rel=1e-5, abs=1e-3)


@given(counts, masks, sigmas, st.integers(0, 8))
def test_a_gap_longer_than_the_kernel_parts_two_sessions(values, observed, sigma, extra):
    radius = len(gaussian_kernel(sigma / 0.02)) // 2
    gap = np.zeros((2, radius + extra), np.uint8)
    joined = np.concatenate([values, gap, values[:, ::-1]], axis=1)
    mask = np.concatenate([observed, np.zeros(gap.shape[1], bool), observed[::-1]])
    rates = smooth(joined, mask, sigma)
    alone = smooth(values, observed, sigma)
    assert rates[:, :60] == pytest.approx(alone, rel=1e-6, nan_ok=True)
    assert rates[:, -60:] == pytest.approx(alone[:, ::-1], rel=1e-6, nan_ok=True)


@given(counts, masks, sigmas)
def test_time_run_backwards_is_smoothed_backwards(values, observed, sigma):
    forwards = smooth(values, observed, sigma)
    backwards = smooth(values[:, ::-1], observed[::-1], sigma)
    assert backwards[:, ::-1] == pytest.approx(forwards, rel=1e-5, abs=1e-4, nan_ok=True)
