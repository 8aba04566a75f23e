"""The four named R² definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import r2_score

from nwb_latents.pipeline.errors import DataError, SettingsError
from nwb_latents.pipeline.evaluation.metrics.r2 import R2Sums, r2, r2_per_output

DEFINITIONS = ("r2_uniform", "r2_pooled", "r2_pearson", "r2_trialmean")


@pytest.fixture
def signals():
    rng = np.random.default_rng(3)
    true = rng.normal(size=(4, 7, 3)) * [1.0, 5.0, 0.2] + rng.normal(size=(4, 1, 3)) + [0.0, 10.0, -3.0]
    return true, true + rng.normal(size=true.shape) * [0.3, 2.0, 0.5]


def test_uniform_is_the_mean_of_one_ratio_per_output(signals):
    true, predicted = signals
    expected = []
    for n in range(3):
        sse = sum((t - p) ** 2 for t, p in zip(true[..., n].ravel(), predicted[..., n].ravel(), strict=True))
        mean = true[..., n].sum() / 28
        expected.append(1 - sse / sum((t - mean) ** 2 for t in true[..., n].ravel()))
    assert r2_per_output(true, predicted) == pytest.approx(expected, abs=1e-12)
    assert r2(true, predicted, definition="r2_uniform") == pytest.approx(np.mean(expected), abs=1e-12)


def test_pooled_is_one_ratio_around_each_outputs_mean(signals):
    true, predicted = signals
    sst = sum(((true[..., n] - true[..., n].mean()) ** 2).sum() for n in range(3))
    expected = 1 - ((true - predicted) ** 2).sum() / sst
    assert r2(true, predicted, definition="r2_pooled") == pytest.approx(expected, abs=1e-12)


def test_trialmean_takes_the_variance_around_each_trials_own_mean(signals):
    true, predicted = signals
    sst = sum(((trial - trial.mean(axis=0)) ** 2).sum() for trial in true)
    expected = 1 - ((true - predicted) ** 2).sum() / sst
    assert r2(true, predicted, definition="r2_trialmean") == pytest.approx(expected, abs=1e-12)


def test_pearson_is_the_squared_correlation_of_everything_pooled(signals):
    true, predicted = signals
    expected = np.corrcoef(true.ravel(), predicted.ravel())[0, 1] ** 2
    assert r2(true, predicted, definition="r2_pearson") == pytest.approx(expected, abs=1e-12)
    assert r2(true, -3 * predicted + 1, definition="r2_pearson") == pytest.approx(expected, abs=1e-12)


def test_values_by_hand():
    # Two trials of two bins, one output: SSE 4; SST 20 around the mean of all, 4 around the trials' means.
    true = [[[0.0], [2.0]], [[4.0], [6.0]]]
    predicted = [[[1.0], [1.0]], [[5.0], [5.0]]]
    assert r2(true, predicted, definition="r2_uniform") == pytest.approx(0.8)
    assert r2(true, predicted, definition="r2_pooled") == pytest.approx(0.8)
    assert r2(true, predicted, definition="r2_trialmean") == pytest.approx(0.0)
    assert r2(true, predicted, definition="r2_pearson") == pytest.approx(0.8)


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_perfect_prediction_is_one(definition, signals):
    true, _ = signals
    assert r2(true, true, definition=definition) == pytest.approx(1.0, abs=1e-15)


@pytest.mark.parametrize("definition", ["r2_uniform", "r2_pooled"])
def test_predicting_the_mean_is_zero(definition, signals):
    true, _ = signals
    mean = np.broadcast_to(true.mean(axis=(0, 1)), true.shape)
    assert r2(true, mean, definition=definition) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_a_constant_has_no_r2(definition):
    # The mean of seven times 0.1 is not 0.1 in floating point; the variance must be zero all the same.
    constant = np.full((3, 7, 2), 0.1)
    assert math.isnan(r2(constant, constant + 0.5, definition=definition))


def test_one_constant_output_leaves_uniform_undefined_and_the_others_known(signals):
    true, predicted = signals
    true = true.copy()
    true[..., 1] = 0.3
    per_output = r2_per_output(true, predicted)
    assert np.isnan(per_output).tolist() == [False, True, False]
    assert math.isnan(r2(true, predicted, definition="r2_uniform"))
    assert math.isfinite(r2(true, predicted, definition="r2_pooled"))


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_masked_bins_have_no_influence(definition, signals):
    true, predicted = signals
    mask = np.ones((4, 7), dtype=bool)
    mask[:, 5:] = False
    dirty, wild = true.copy(), predicted.copy()
    dirty[:, 5:], wild[:, 5:] = np.nan, 1e9
    expected = r2(true[:, :5], predicted[:, :5], definition=definition)
    assert r2(dirty, wild, definition=definition, mask=mask) == pytest.approx(expected, abs=1e-12)
    full = np.repeat(mask[..., None], 3, axis=-1)
    assert r2(dirty, wild, definition=definition, mask=full) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("definition", DEFINITIONS)
def test_nothing_counted_is_undefined(definition, signals):
    true, predicted = signals
    assert math.isnan(r2(true, predicted, definition=definition, mask=np.zeros((4, 7), dtype=bool)))


def test_nan_that_counts_is_refused(signals):
    true, predicted = signals
    predicted = predicted.copy()
    predicted[0, 0, 0] = np.nan
    with pytest.raises(DataError, match="1 of 84 values are not finite"):
        r2(true, predicted, definition="r2_uniform")


def test_shapes_that_do_not_fit_are_refused(signals):
    true, predicted = signals
    with pytest.raises(DataError, match=r"\(4, 7, 3\).*\(4, 6, 3\)"):
        r2(true, predicted[:, :6], definition="r2_pooled")
    with pytest.raises(DataError, match="mask has shape"):
        r2(true, predicted, definition="r2_pooled", mask=np.ones(4, dtype=bool))
    with pytest.raises(DataError, match="r2_trialmean needs"):
        r2(true[0], predicted[0], definition="r2_trialmean")


SUMMED = ("r2_uniform", "r2_pooled", "r2_trialmean")


@pytest.mark.parametrize("definition", SUMMED)
def test_sums_over_trials_give_the_r2_of_any_selection(definition):
    rng = np.random.default_rng(5)
    true = rng.normal(size=(9, 11, 3)) * [1.0, 5.0, 0.2] + rng.normal(size=(9, 1, 3)) + [0.0, 1e4, -3.0]
    predicted = true + rng.normal(size=true.shape) * [0.3, 2.0, 0.5]
    mask = rng.random((9, 11)) > 0.2
    true[~mask] = np.nan
    sums = R2Sums.of(true, predicted, definition=definition, mask=mask)
    drawn = rng.integers(9, size=(50, 9))
    weights = np.stack([np.bincount(row, minlength=9) for row in drawn]).astype(float)
    expected = [r2(true[row], predicted[row], definition=definition, mask=mask[row]) for row in drawn]
    assert sums.value(weights) == pytest.approx(expected, abs=1e-9)
    whole = r2(true, predicted, definition=definition, mask=mask)
    assert sums.value(np.ones((1, 9)))[0] == pytest.approx(whole, abs=1e-12)


def test_sums_equal_scikit_learn(signals):
    true, predicted = signals
    flat = [values.reshape(-1, 3) for values in signals]
    found = R2Sums.of(true, predicted, definition="r2_uniform").value(np.ones((1, 4)))[0]
    assert found == pytest.approx(r2_score(*flat), abs=1e-12)
    pooled = R2Sums.of(true, predicted, definition="r2_pooled").value(np.ones((1, 4)))[0]
    assert pooled == pytest.approx(r2_score(*flat, multioutput="variance_weighted"), abs=1e-12)


@pytest.mark.parametrize("definition", SUMMED)
@pytest.mark.parametrize("level", [0.1, 1e8])
def test_a_resample_without_variance_is_undefined(definition, level):
    # The first two trials hold one value only.
    true = np.full((3, 4, 1), level)
    true[2, :, 0] = np.arange(4) + level
    sums = R2Sums.of(true, true + 1, definition=definition)
    values = sums.value(np.array([[1.0, 1.0, 0.0], [0.0, 3.0, 0.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]]))
    assert np.isnan(values).tolist() == [True, True, True, False]
    assert values[3] == pytest.approx(r2(true, true + 1, definition=definition), abs=1e-9)


def test_one_output_without_variance_leaves_the_uniform_mean_undefined():
    true = np.random.default_rng(0).normal(size=(3, 5, 2))
    true[..., 1] = 7.0
    ones = np.ones((1, 3))
    assert np.isnan(R2Sums.of(true, true, definition="r2_uniform").value(ones)[0])
    assert R2Sums.of(true, true, definition="r2_pooled").value(ones)[0] == 1.0


def test_what_has_no_sums_is_refused(signals):
    with pytest.raises(SettingsError, match="r2_pearson"):
        R2Sums.of(*signals, definition="r2_pearson")
    with pytest.raises(DataError, match=r"expected \(trial, time, output\)"):
        R2Sums.of(signals[0][0], signals[1][0], definition="r2_pooled")
