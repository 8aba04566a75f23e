"""Bits per spike: exact values, the benchmark's formula written out, and sums over trials."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from scipy.stats import poisson

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.metrics.resampling import bootstrap
from nwb_latents.pipeline.evaluation.metrics.spike_scores import (
    LEAST_RATE,
    SpikeSums,
    bits_per_spike,
    poisson_nll,
)


@pytest.fixture
def data():
    """12 trials of 20 bins and 6 units, some not recorded, one unit silent, one never recorded."""
    rng = np.random.default_rng(2)
    rates = rng.gamma(2.0, 0.3, size=(12, 20, 6))
    spikes = rng.poisson(rates).astype(float)
    spikes[rng.random(spikes.shape) < 0.1] = np.nan
    spikes[..., 4] = np.where(np.isnan(spikes[..., 4]), np.nan, 0.0)
    spikes[..., 5] = np.nan
    return rates, spikes


def plain_bits_per_spike(rates, spikes):
    """Both likelihoods summed in full, unit by unit."""
    model = null = n = 0.0
    for j in range(spikes.shape[-1]):
        y = spikes[..., j].ravel()
        r = rates[..., j].ravel()[np.isfinite(y)]
        y = y[np.isfinite(y)]
        if y.size:
            mean = max(y.mean(), 1e-9) if y.sum() == 0 else y.mean()
            model -= poisson.logpmf(y, r).sum()
            null -= poisson.logpmf(y, mean).sum()
            n += y.sum()
    return (null - model) / n / np.log(2)


@pytest.mark.parametrize(
    ("rates", "bits"),
    [([1.0, 3.0], 0.18872), ([2.0, 2.0], 0.0), ([3.0, 1.0], -0.60376), ([2.2, 2.2], -0.00676)],
)
def test_values_by_hand(rates, bits):
    # One unit, spikes 1 and 3: its mean is 2. The last digit is cut off, not rounded.
    found = bits_per_spike(np.array(rates)[:, None], [[1.0], [3.0]])
    assert found == pytest.approx(bits, abs=1e-5)


def test_the_null_itself_is_exactly_zero(data):
    _, spikes = data
    mean = np.nanmean(spikes[..., :4], axis=(0, 1))
    rates = np.broadcast_to(mean, spikes[..., :4].shape)
    assert bits_per_spike(rates, spikes[..., :4]) == 0.0


@pytest.mark.parametrize("factor", [0.5, 1.1, 3.0])
def test_rates_off_by_a_factor_cost_what_the_formula_says(data, factor):
    _, spikes = data
    rates = factor * np.broadcast_to(np.nanmean(spikes[..., :4], axis=(0, 1)), spikes[..., :4].shape)
    expected = -(factor - 1 - np.log(factor)) / np.log(2)
    assert bits_per_spike(rates, spikes[..., :4]) == pytest.approx(expected, abs=1e-12)


def test_a_spike_where_the_rate_is_zero_costs_thirty_bits():
    spikes = np.zeros((1000, 1))
    spikes[0] = 1.0
    rates = np.full((1000, 1), 1e-3)
    rates[0] = 0.0
    with pytest.warns(UserWarning, match="1 of 1000 rates are 0") as seen:
        found = bits_per_spike(rates, spikes)
    assert len(seen) == 1
    cost = poisson_nll([[LEAST_RATE]], [[1.0]])[0, 0] / np.log(2)
    assert cost == pytest.approx(29.9, abs=0.01)
    assert found == pytest.approx(plain_bits_per_spike(np.maximum(rates, LEAST_RATE), spikes), abs=1e-9)
    assert found == pytest.approx(-cost + np.log2(1000) + 1e-3 / np.log(2), abs=1e-6)


def test_likelihood_of_every_count_is_scipys(data):
    rates, spikes = data
    found = poisson_nll(rates, spikes)
    recorded = np.isfinite(spikes)
    assert found[recorded] == pytest.approx(-poisson.logpmf(spikes, rates)[recorded], abs=1e-12)
    assert np.isnan(found[~recorded]).all()


def test_equals_both_likelihoods_written_out(data):
    assert bits_per_spike(*data) == pytest.approx(plain_bits_per_spike(*data), abs=1e-9)


def test_what_stands_where_nothing_was_recorded_does_not_matter(data):
    rates, spikes = data
    other = np.where(np.isnan(spikes), np.nan, rates)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert bits_per_spike(other, spikes) == bits_per_spike(rates, spikes)
        assert bits_per_spike(np.where(np.isnan(spikes), -1.0, rates), spikes) == bits_per_spike(
            rates, spikes
        )


def test_order_of_trials_and_units_does_not_matter(data):
    rates, spikes = data
    rng = np.random.default_rng(0)
    trials, units = rng.permutation(12), rng.permutation(6)
    turned = bits_per_spike(rates[trials][..., units], spikes[trials][..., units])
    assert turned == pytest.approx(bits_per_spike(rates, spikes), abs=1e-12)


def test_forward_bins_of_all_units_are_scored_by_their_own_null(data):
    rates, spikes = data
    parts = [slice(0, 2), slice(2, 6)]
    joined = bits_per_spike(rates, spikes)
    n = [np.nansum(spikes[..., part]) for part in parts]
    each = [bits_per_spike(rates[..., part], spikes[..., part]) for part in parts]
    assert joined == pytest.approx(np.average(each, weights=n), abs=1e-12)


def test_without_a_spike_it_is_undefined():
    assert math.isnan(bits_per_spike(np.ones((3, 2)), np.zeros((3, 2))))
    assert math.isnan(bits_per_spike(np.ones((3, 2)), np.full((3, 2), np.nan)))


def test_sums_over_trials_give_the_metric_of_any_selection(data):
    rates, spikes = data
    sums = SpikeSums.of(rates, spikes)
    drawn = np.random.default_rng(8).integers(12, size=(40, 12))
    weights = np.stack([np.bincount(row, minlength=12) for row in drawn]).astype(float)
    expected = [plain_bits_per_spike(rates[row], spikes[row]) for row in drawn]
    assert sums.value(weights) == pytest.approx(expected, abs=1e-9)
    assert sums.value(np.ones((1, 12)))[0] == pytest.approx(bits_per_spike(rates, spikes), abs=1e-12)


def test_trials_in_part_count_in_part(data):
    sums = SpikeSums.of(*data)
    weights = np.random.default_rng(1).random((3, 12)) * 1e-3
    assert sums.value(weights) == pytest.approx(sums.value(1e6 * weights), abs=1e-9)


def test_the_null_of_other_trials_is_below_zero_in_every_resample(data):
    _, spikes = data
    rates = np.broadcast_to(np.nanmean(spikes[..., :4], axis=(0, 1)), spikes[..., :4].shape)
    sums = SpikeSums.of(rates, spikes[..., :4])
    drawn = np.random.default_rng(0).integers(12, size=(200, 12))
    weights = np.stack([np.bincount(row, minlength=12) for row in drawn]).astype(float)
    assert (sums.value(weights) < 0).all()


def test_the_interval_holds_the_value(data):
    found = bootstrap(SpikeSums.of(*data), n_resamples=200)
    assert found.low < found.value < found.high


def test_what_cannot_be_scored_is_refused(data):
    rates, spikes = data
    recorded = np.isfinite(spikes)
    at = tuple(np.argwhere(recorded)[0])
    for wrong in (-0.1, np.nan, np.inf):
        other = rates.copy()
        other[at] = wrong
        with pytest.raises(DataError, match=rf"1 of {int(recorded.sum())} rates"):
            bits_per_spike(other, spikes)
    counts = spikes.copy()
    counts[at] = -1.0
    with pytest.raises(DataError, match="and 1 of"):
        SpikeSums.of(rates, counts)
    with pytest.raises(DataError, match=r"\(12, 20, 6\)"):
        poisson_nll(rates, spikes[:, 1:])
    with pytest.raises(DataError, match=r"expected \(trial, time, unit\)"):
        SpikeSums.of(rates[0], spikes[0])
