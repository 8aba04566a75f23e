"""State R²: the affine regression from true to inferred states."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.metrics.metric import CannotBeHadError
from nwb_latents.pipeline.evaluation.metrics.state_r2 import FLOOR, METRIC, affine_map, state_r2
from nwb_latents.pipeline.evaluation.source_output import SourceOutput


@pytest.fixture
def true():
    steps = np.random.default_rng(0).normal(size=(8, 100, 3))
    path = steps.cumsum(1)
    return path / path.std((0, 1))


def test_an_affine_change_of_coordinates_costs_nothing(true):
    rng = np.random.default_rng(0)
    turned = true @ rng.normal(size=(3, 3)) + rng.normal(size=3)
    assert state_r2(true, turned) == pytest.approx(1.0, abs=1e-12)


def test_invented_dimensions_cost_in_the_right_direction_and_not_in_the_wrong_one(true):
    # 25 dimensions: the three true ones are in there, beside 22 others.
    rng = np.random.default_rng(1)
    invented = rng.normal(size=(*true.shape[:2], 22))
    inferred = np.concatenate([true, invented], -1) @ np.linalg.qr(rng.normal(size=(25, 25)))[0]
    right, wrong = state_r2(true, inferred), state_r2(inferred, true)
    assert wrong == pytest.approx(1.0, abs=1e-9)
    assert right < 0.35


def test_it_is_the_share_of_variance_of_each_inferred_dimension(true):
    noise = np.random.default_rng(2).normal(size=true.shape)
    inferred = true + noise * [0.0, 1.0, 2.0]
    assert state_r2(true, inferred) == pytest.approx(np.mean([1, 1 / 2, 1 / 5]), abs=0.05)


def test_a_map_fitted_elsewhere_may_be_worse_than_none_and_is_cut_off(true):
    seen, other = true[:4], true[4:]
    assert state_r2(other, 2 * other + 1, fitted_on=(seen, 2 * seen + 1)) == pytest.approx(1.0, abs=1e-12)
    shifted = state_r2(other, other, fitted_on=(seen, seen + 2))
    assert shifted == pytest.approx(1 - np.mean(4 / other.var((0, 1))), abs=1e-9)
    assert state_r2(other, other, fitted_on=(seen, seen + 100)) == FLOOR


def test_the_map_is_returned_for_points_of_interest(true):
    weights = affine_map(true, 3 * true - 1)
    np.testing.assert_allclose(np.array([0.5, 0, 2, 1]) @ weights, [0.5, -1, 5], atol=1e-9)


def test_a_dimension_that_does_not_vary_has_no_value(true):
    flat = true.copy()
    flat[..., 1] = 0.3
    assert math.isnan(state_r2(true, flat))


def test_states_that_do_not_fit_are_refused(true):
    with pytest.raises(DataError, match=r"\(8, 100, 3\), inferred \(8, 99, 3\)"):
        state_r2(true, true[:, 1:])
    with pytest.raises(DataError, match="fitted on 2 true and 2 inferred dimensions, found 3 and 3"):
        state_r2(true, true, fitted_on=(true[..., :2], true[..., :2]))
    with pytest.raises(DataError, match="not finite"):
        state_r2(true, np.where(true > 1, np.nan, true))


def test_the_metric_fits_its_map_on_training_trials_and_scores_the_others(true):
    """Scored with a map of its own, noise would seem to hold some of the truth."""
    noise = np.random.default_rng(3).normal(size=true.shape)
    session = SimpleNamespace(true_states=(true[:5], true[5:]))
    found = METRIC.compute["latents"](session, SourceOutput(states=(noise[:5], noise[5:])))
    expected = state_r2(true[5:], noise[5:], fitted_on=(true[:5], noise[:5]))
    (value,) = found.value(np.ones((1, 3)))
    assert value == pytest.approx(expected, abs=1e-9)
    assert value < state_r2(true[5:], noise[5:])


def test_the_metric_says_what_is_not_there(true):
    unknown = SimpleNamespace(true_states=None)
    with pytest.raises(CannotBeHadError, match="the true states are not known"):
        METRIC.compute["latents"](unknown, SourceOutput(states=(true, true)))
    known = SimpleNamespace(true_states=(true, true))
    with pytest.raises(CannotBeHadError, match="it has no states"):
        METRIC.compute["latents"](known, SourceOutput())
