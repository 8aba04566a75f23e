"""The bootstrap over trials: what it draws, what it leaves out, and what it covers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest

from nwb_latents.pipeline.errors import DataError, SettingsError
from nwb_latents.pipeline.evaluation.metrics.resampling import MeanOf, bootstrap


@dataclass(frozen=True)
class Mean:
    """Weighted mean of one number per trial; undefined where nothing counts."""

    numbers: np.ndarray

    @property
    def n_trials(self):
        return len(self.numbers)

    def value(self, weights):
        known = np.isfinite(self.numbers)
        total = weights @ known
        sums = weights @ np.where(known, self.numbers, 0.0)
        return np.divide(sums, total, out=np.full(len(weights), np.nan), where=total > 0)


@dataclass(frozen=True)
class SquaredMean:
    """Minus the squared length of the weighted mean of vectors."""

    vectors: np.ndarray

    @property
    def n_trials(self):
        return len(self.vectors)

    def value(self, weights):
        share = weights / weights.sum(axis=1, keepdims=True)
        return -np.square(share @ self.vectors).sum(axis=1)


@dataclass(frozen=True)
class Recorded:
    """Keeps the weights it is asked for."""

    n_trials: int
    seen: list

    def value(self, weights):
        self.seen.append(weights)
        return weights[:, 0]


def test_every_resample_counts_as_many_trials_as_there_are():
    seen = []
    bootstrap(Recorded(7, seen), n_resamples=400, seed=3)
    assert (seen[0] == np.ones((1, 7))).all()
    assert seen[1].shape == (400, 7)
    assert (seen[1].sum(axis=1) == 7).all()
    assert (seen[1] == np.round(seen[1])).all()
    # Counts of one trial are binomial: mean 1, variance 1 − 1/7.
    assert seen[1].mean(axis=0) == pytest.approx(np.ones(7), abs=0.2)
    assert seen[1].var() == pytest.approx(6 / 7, abs=0.1)


def test_the_interval_is_that_of_the_percentiles_moved_onto_the_value():
    numbers = Mean(np.random.default_rng(1).exponential(size=20))
    found = bootstrap(numbers, n_resamples=300, level=0.8, seed=1)
    seen = []
    bootstrap(Recorded(20, seen), n_resamples=300, seed=1)
    low, median, high = np.percentile(numbers.value(seen[1]), [10, 50, 90])
    assert found.bias == pytest.approx(median - found.value)
    assert (found.low, found.high) == pytest.approx((low - found.bias, high - found.bias))
    assert (found.value, found.level) == (numbers.numbers.mean(), 0.8)
    assert (found.n_resamples, found.n_undefined) == (300, 0)


def test_half_the_width_of_the_interval_of_a_mean_is_two_standard_errors():
    numbers = np.random.default_rng(0).normal(3.0, 2.0, size=400)
    found = bootstrap(Mean(numbers), n_resamples=4000)
    error = numbers.std() / 20
    assert found.value == pytest.approx(numbers.mean())
    assert found.high - found.value == pytest.approx(1.96 * error, rel=0.1)
    assert found.value - found.low == pytest.approx(1.96 * error, rel=0.1)


def test_intervals_cover_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(11)
    found = [bootstrap(Mean(rng.exponential(size=80)), n_resamples=300, level=0.9) for _ in range(300)]
    covered = np.mean([one.low <= 1.0 <= one.high for one in found])
    assert 0.83 < covered < 0.95


def test_intervals_of_a_metric_that_every_resample_lowers_cover_it():
    # The squared length of a mean of noise: twice as long in a resample as it is.
    rng = np.random.default_rng(5)
    found = [
        bootstrap(SquaredMean(rng.normal(size=(25, 40))), n_resamples=200, level=0.9) for _ in range(200)
    ]
    assert np.mean([one.bias for one in found]) == pytest.approx(-40 / 25, rel=0.1)
    assert all(one.low <= one.value <= one.high for one in found)
    assert np.mean([one.low <= -40 / 25 <= one.high for one in found]) > 0.9
    assert np.mean([one.low + one.bias <= -40 / 25 <= one.high + one.bias for one in found]) < 0.3


def test_the_seed_decides_and_metrics_of_the_same_trials_share_their_draws():
    numbers = np.random.default_rng(0).normal(size=30)
    assert bootstrap(Mean(numbers), seed=5) == bootstrap(Mean(numbers), seed=5)
    assert bootstrap(Mean(numbers), seed=5) != bootstrap(Mean(numbers), seed=6)
    one, other = [], []
    bootstrap(Recorded(30, one), seed=2)
    bootstrap(Recorded(30, other), seed=2)
    assert (one[1] == other[1]).all()


def test_undefined_resamples_are_left_out_and_counted():
    # Only one of three trials has a number: (2/3)³ of the resamples have none.
    found = bootstrap(Mean(np.array([4.0, np.nan, np.nan])), n_resamples=2000)
    assert (found.value, found.low, found.high) == (4.0, 4.0, 4.0)
    assert found.n_undefined == pytest.approx(2000 * 8 / 27, rel=0.1)
    assert found.n_resamples + found.n_undefined == 2000


def test_a_metric_that_is_never_defined_has_no_interval():
    found = bootstrap(Mean(np.full(4, np.nan)), n_resamples=50)
    assert all(math.isnan(number) for number in (found.value, found.low, found.high))
    assert (found.n_resamples, found.n_undefined) == (0, 50)


def test_one_trial_has_a_value_and_no_interval():
    found = bootstrap(Mean(np.array([2.5])))
    assert found.value == 2.5
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_mean_of_metrics_is_their_mean_in_every_resample():
    rng = np.random.default_rng(4)
    parts = tuple(Mean(rng.normal(size=12)) for _ in range(3))
    weights = rng.integers(0, 3, size=(9, 12)).astype(float)
    expected = sum(part.value(weights) for part in parts) / 3
    assert MeanOf(parts).value(weights) == pytest.approx(expected)
    assert MeanOf(parts).n_trials == 12
    gap = MeanOf((*parts, Mean(np.full(12, np.nan))))
    assert np.isnan(gap.value(weights)).all()


def test_what_cannot_be_resampled_is_refused():
    numbers = Mean(np.arange(4.0))
    with pytest.raises(SettingsError, match="0 resamples"):
        bootstrap(numbers, n_resamples=0)
    for level in (0.0, 1.0, 95):
        with pytest.raises(SettingsError, match="between 0 and 1"):
            bootstrap(numbers, level=level)
    with pytest.raises(DataError, match="no trial"):
        bootstrap(Mean(np.empty(0)))
    with pytest.raises(DataError, match="at least one"):
        MeanOf(())
    with pytest.raises(DataError, match=r"\[4, 5\]"):
        MeanOf((numbers, Mean(np.arange(5.0))))
