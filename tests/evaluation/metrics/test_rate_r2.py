"""R² of inferred rates against true ones."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import r2_score

from nwb_latents.pipeline.evaluation.metrics.r2 import R2Sums
from nwb_latents.pipeline.evaluation.metrics.rate_r2 import rate_r2


@pytest.fixture
def rates():
    rng = np.random.default_rng(1)
    true = rng.gamma(2.0, 5.0, size=(6, 20, 4)) * [0.1, 1.0, 3.0, 10.0]
    return true, true * rng.uniform(0.7, 1.3, size=true.shape)


def test_is_scikit_learns_with_one_unit_as_good_as_another(rates):
    flat = [values.reshape(-1, 4) for values in rates]
    assert rate_r2(*rates) == pytest.approx(r2_score(*flat, multioutput="uniform_average"), abs=1e-12)
    assert rate_r2(*rates) != pytest.approx(r2_score(*flat, multioutput="variance_weighted"), abs=1e-4)


def test_scale_of_a_unit_and_order_of_units_and_trials_do_not_matter(rates):
    true, predicted = rates
    rng = np.random.default_rng(0)
    trials, units = rng.permutation(6), rng.permutation(4)
    other = [values[trials][..., units] * [3.0, 1.0, 0.01, 50.0] for values in rates]
    assert rate_r2(*other) == pytest.approx(rate_r2(true, predicted), abs=1e-12)


def test_a_wrong_scale_counts(rates):
    true, _ = rates
    assert rate_r2(true, true) == 1.0
    assert rate_r2(true, 1.5 * true) < 0.75


def test_has_the_sums_of_a_statistic(rates):
    sums = R2Sums.of(*rates, definition="r2_uniform")
    assert sums.value(np.ones((1, 6)))[0] == pytest.approx(rate_r2(*rates), abs=1e-12)


def test_a_unit_at_a_constant_rate_leaves_it_undefined(rates):
    true, predicted = rates
    true[..., 0] = 4.0
    assert math.isnan(rate_r2(true, predicted))
