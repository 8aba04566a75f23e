"""Correlation of neural speed with the interval produced, against scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import pearsonr

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.metrics.resampling import bootstrap
from nwb_latents.pipeline.evaluation.nlb.timing import TimingSums, timing_correlation


@pytest.fixture
def data():
    """40 trials of 25 bins and 6 units in 3 conditions; shorter intervals, faster rates, with noise."""
    rng = np.random.default_rng(4)
    interval = rng.uniform(0.4, 1.0, size=40)
    course = np.cumsum(rng.normal(size=(1, 25, 6)) * 0.1, axis=1)
    rates = course / interval[:, None, None] + rng.normal(size=(40, 25, 6)) * 0.03
    conditions = np.array(["eye", "hand", "hand short"])[rng.integers(3, size=40)]
    scored = np.arange(25) < 5 + 15 * interval[:, None]
    return rates, interval, conditions, scored


def plain_timing_correlation(rates, interval, conditions, scored):
    """As the benchmark's own code, trial by trial."""
    speed = [np.linalg.norm(np.diff(r[s], axis=0), axis=1).mean() for r, s in zip(rates, scored, strict=True)]
    of = [conditions == name for name in np.unique(conditions)]
    return np.mean([pearsonr(np.array(speed)[rows], interval[rows])[0] for rows in of])


def test_equals_scipy_condition_by_condition(data):
    found = timing_correlation(*data)
    assert found == pytest.approx(plain_timing_correlation(*data), abs=1e-9)
    assert -0.99 < found < -0.5


def test_values_by_hand():
    rates = np.array(
        [[[0, 0], [1, 0]], [[0, 0], [0, 2]], [[1, 0], [5, 0]], [[0, 0], [3, 4]], [[0, 0], [1, 0]]]
    )
    conditions = ["a", "a", "a", "b", "b"]
    found = timing_correlation(rates, [3.0, 2.0, 1.0, 7.0, 9.0], conditions, np.ones((5, 2), bool))
    # In a: speeds 1, 2, 4 around 7/3 and intervals 3, 2, 1 around 2. In b: the slower trial took longer.
    assert found == pytest.approx((-3 / math.sqrt(2 * 42 / 9) - 1) / 2, abs=1e-12)


def test_conditions_of_different_speed_do_not_make_a_correlation():
    rng = np.random.default_rng(0)
    interval = np.repeat([0.5, 1.0], 200) + rng.normal(size=400) * 0.01
    rates = rng.normal(size=(400, 10, 3)) / np.repeat([0.5, 1.0], 200)[:, None, None]
    scored = np.ones((400, 10), bool)
    conditions = np.repeat(["short", "long"], 200)
    assert abs(timing_correlation(rates, interval, conditions, scored)) < 0.15
    assert timing_correlation(rates, interval, ["all"] * 400, scored) < -0.8


def test_only_scored_bins_count(data):
    rates, interval, conditions, scored = data
    other = np.where(scored[..., None], rates, np.nan)
    assert timing_correlation(other, interval, conditions, scored) == timing_correlation(*data)


def test_trials_without_interval_condition_or_step_are_left_out(data):
    rates, interval, conditions, scored = (values.copy() for values in data)
    conditions = conditions.astype(object)
    interval[0], conditions[1], scored[2] = np.nan, "", False
    scored[3] = np.arange(25) == 7
    found = timing_correlation(rates, interval, conditions, scored)
    rest = tuple(values[4:] for values in data)
    assert found == pytest.approx(plain_timing_correlation(*rest), abs=1e-9)


def test_order_of_trials_and_units_does_not_matter(data):
    rng = np.random.default_rng(1)
    order, units = rng.permutation(40), rng.permutation(6)
    rates, *others = (values[order] for values in data)
    assert timing_correlation(rates[..., units], *others) == pytest.approx(
        timing_correlation(*data), abs=1e-12
    )


@pytest.mark.parametrize("offset", [0.0, 1e6])
def test_sums_over_trials_give_the_metric_of_any_selection(data, offset):
    rates, interval, conditions, scored = data
    interval = interval + offset
    sums = TimingSums.of(rates, interval, conditions, scored)
    drawn = np.random.default_rng(9).integers(40, size=(60, 40))
    weights = np.stack([np.bincount(row, minlength=40) for row in drawn]).astype(float)
    plain = [
        plain_timing_correlation(rates[row], interval[row] - offset, conditions[row], scored[row])
        for row in drawn
    ]
    assert sums.value(weights) == pytest.approx(plain, abs=1e-9 if offset == 0 else 1e-6)
    found = bootstrap(sums, n_resamples=300)
    assert found.low < found.value < found.high


def test_a_condition_without_variance_leaves_it_undefined(data):
    rates, interval, conditions, scored = data
    interval = np.where(conditions == "eye", 0.7, interval)
    assert math.isnan(timing_correlation(rates, interval, conditions, scored))
    sums = TimingSums.of(*data)
    one = np.flatnonzero(conditions == "eye")[0]
    weights = np.where(conditions == "eye", 0.0, 1.0)
    weights[one] = 5.0
    assert np.isnan(sums.value(np.stack([weights, np.where(conditions == "eye", 0.0, 1.0)]))).all()


def test_what_cannot_be_scored_is_refused(data):
    rates, interval, conditions, scored = data
    with pytest.raises(DataError, match="expected \\(trial, time, unit\\)"):
        timing_correlation(rates, interval[1:], conditions, scored)
    with pytest.raises(DataError, match="none of 40 trials"):
        timing_correlation(rates, interval, [""] * 40, scored)
    rates[3, 0, 0] = np.nan
    with pytest.raises(DataError, match="not finite in 1 of"):
        timing_correlation(rates, interval, conditions, scored)
