"""R² of condition means: a plain loop with scikit-learn, jitter, and sums over trials."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import r2_score

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.metrics.psth import PsthSums, psth_r2, varying_units
from nwb_latents.pipeline.evaluation.metrics.resampling import bootstrap
from nwb_latents.pipeline.evaluation.nlb.scores import score_rates
from nwb_latents.pipeline.evaluation.spike_task import RatePrediction


@pytest.fixture
def data():
    """30 trials of 12 bins and 5 units; 4 conditions of unequal size, 3 trials of none."""
    rng = np.random.default_rng(6)
    psth = rng.gamma(2.0, 0.2, size=(4, 12, 5))
    index = np.repeat([0, 1, 2, 3, -1], [13, 8, 4, 2, 3])[rng.permutation(30)]
    rates = psth[index] * rng.uniform(0.6, 1.4, size=(30, 1, 5)) + rng.normal(size=(30, 12, 5)) * 0.1
    return rates, index, psth


def moved(trial, by):
    """One trial moved as the benchmark does it, NaN where nothing was."""
    gap = np.full((abs(by), trial.shape[1]), np.nan)
    if by > 0:
        return np.vstack([gap, trial[:-by]])
    return np.vstack([trial[-by:], gap]) if by < 0 else trial


def plain_psth_r2(rates, index, psth, jitter=None):
    """Condition by condition; means over the trials that reach a bin."""
    jitter = np.zeros(len(rates), dtype=int) if jitter is None else jitter
    true, predicted = [], []
    for condition in range(len(psth)):
        trials = [moved(rates[k], jitter[k]) for k in np.flatnonzero(index == condition)]
        if trials:
            known = np.isfinite(trials).all(axis=2).any(axis=0) & np.isfinite(psth[condition]).all(axis=1)
            true.append(psth[condition][known])
            predicted.append(np.nanmean(np.array(trials)[:, known], axis=0))
    return r2_score(np.vstack(true), np.vstack(predicted))


def test_equals_scikit_learn_on_conditions_end_to_end(data):
    assert psth_r2(*data) == pytest.approx(plain_psth_r2(*data), abs=1e-9)


def test_values_by_hand():
    # Means 1.5 and 4 against 0 and 4: SSE 2.25 of SST 8.
    assert psth_r2([[[1.0]], [[2.0]], [[4.0]]], [0, 0, 1], [[[0.0]], [[4.0]]]) == 1 - 2.25 / 8


def test_the_means_of_the_conditions_themselves_are_perfect(data):
    _, index, psth = data
    noise = np.random.default_rng(0).normal(size=(30, 12, 5))
    for condition in range(4):
        noise[index == condition] -= noise[index == condition].mean(axis=0)
    assert psth_r2(psth[index] + noise, index, psth) == pytest.approx(1.0, abs=1e-12)
    assert psth_r2(psth[index] + 0.1, index, psth) < 0.95


def test_trials_are_moved_by_their_jitter(data):
    _, index, psth = data
    jitter = np.random.default_rng(1).integers(-3, 4, size=30)
    # What a trial moved back by its jitter would have lost is filled with anything.
    rates = np.stack([moved(psth[c], -by) for c, by in zip(index, jitter, strict=True)])
    rates = np.where(np.isnan(rates), 99.0, rates)
    psth = psth.copy()
    psth[:, :3] = psth[:, -3:] = np.nan
    assert psth_r2(rates, index, psth, jitter=jitter) == pytest.approx(1.0, abs=1e-12)
    assert psth_r2(rates, index, psth) < 0.5


def test_jitter_and_gaps_equal_a_plain_loop(data):
    rates, index, psth = data
    jitter = np.random.default_rng(2).integers(-4, 5, size=30)
    psth[1, :2] = np.nan
    psth[2, 7, 3] = np.nan
    found = psth_r2(rates, index, psth, jitter=jitter)
    assert found == pytest.approx(plain_psth_r2(rates, index, psth, jitter), abs=1e-9)


def test_rates_that_are_not_scored_may_be_anything(data):
    rates, index, psth = data
    psth[:, 0] = np.nan
    expected = psth_r2(rates, index, psth)
    rates[:, 0] = np.nan
    rates[index == -1] = np.inf
    assert psth_r2(rates, index, psth) == expected


def test_order_of_trials_conditions_and_units_does_not_matter(data):
    rates, index, psth = data
    rng = np.random.default_rng(3)
    trials, conditions, units = rng.permutation(30), rng.permutation(4), rng.permutation(5)
    place = np.append(np.argsort(conditions), -1)
    found = psth_r2(rates[trials][..., units], place[index[trials]], psth[conditions][..., units])
    assert found == pytest.approx(psth_r2(*data), abs=1e-12)


@pytest.mark.parametrize("shift", [0, 4])
@pytest.mark.parametrize("offset", [0.0, 1e3])
def test_sums_over_trials_give_the_metric_of_any_selection(data, shift, offset):
    rates, index, psth = data
    rates, psth = rates + offset, psth + offset
    jitter = np.random.default_rng(2).integers(-shift, shift + 1, size=30)
    psth[1, :2] = np.nan
    sums = PsthSums.of(rates, index, psth, jitter=jitter)
    drawn = np.random.default_rng(9).integers(30, size=(60, 30))
    weights = np.stack([np.bincount(row, minlength=30) for row in drawn]).astype(float)
    expected = [plain_psth_r2(rates[row], index[row], psth, jitter[row]) for row in drawn]
    assert any(len(set(index[row]) - {-1}) < 4 for row in drawn)
    assert sums.value(weights) == pytest.approx(expected, abs=1e-8)
    whole = psth_r2(rates, index, psth, jitter=jitter)
    assert sums.value(np.ones((1, 30)))[0] == pytest.approx(whole, abs=1e-9)


def test_many_resamples_are_no_different_from_few(data, monkeypatch):
    sums = PsthSums.of(*data)
    weights = np.random.default_rng(0).integers(0, 3, size=(50, 30)).astype(float)
    at_once = sums.value(weights)
    monkeypatch.setattr("nwb_latents.pipeline.evaluation.metrics.psth.NUMBERS_AT_A_TIME", 7)
    assert sums.value(weights) == pytest.approx(at_once, abs=1e-12)


def test_the_interval_holds_the_value(data):
    found = bootstrap(PsthSums.of(*data), n_resamples=300)
    assert found.low < found.value < found.high
    assert found.bias < 0
    assert found.n_undefined == 0
    assert found.value == pytest.approx(psth_r2(*data))


def test_a_unit_whose_psth_does_not_vary_leaves_it_undefined(data):
    rates, index, psth = data
    psth[..., 2] = 0.1
    assert math.isnan(psth_r2(rates, index, psth))
    assert np.isnan(PsthSums.of(rates, index, psth).value(np.ones((1, 30)))[0])


def test_what_cannot_be_scored_is_refused(data):
    rates, index, psth = data
    with pytest.raises(DataError, match="same bins and units"):
        psth_r2(rates, index, psth[:, 1:])
    with pytest.raises(DataError, match="from -1 to 3; expected 0 to 2"):
        psth_r2(rates, index, psth[:3])
    with pytest.raises(DataError, match="one whole number for each of 30 trials"):
        psth_r2(rates, index[:-1], psth)
    with pytest.raises(DataError, match=r"jitter have shape \(30,\) and type float64"):
        PsthSums.of(rates, index, psth, jitter=np.zeros(30))
    with pytest.raises(DataError, match="no bin has both"):
        psth_r2(rates, np.full(30, -1), psth)
    rates[np.flatnonzero(index == 2)[0], 3, 1] = np.nan
    with pytest.raises(DataError, match="not finite in 1 of 324 bins"):
        psth_r2(rates, index, psth)


def test_a_unit_that_varies_in_no_scored_condition_is_left_out_not_the_metric():
    """Few scored trials reach few conditions: a quiet unit may have one value in all of them."""
    psth = np.array([[[0.1, 0.0], [0.4, 0.0]], [[0.2, 0.0], [0.9, 0.0]], [[0.3, 0.5], [0.3, 0.7]]])
    assert varying_units(psth).tolist() == [0, 1]
    assert varying_units(psth, [0, 1, -1, 1]).tolist() == [0]
    rates = np.concatenate([np.ones((3, 2, 1)), psth[:3]], axis=2)
    targets = {
        "eval_spikes_heldout": np.ones((3, 2, 1)),
        "psth": np.concatenate([np.zeros((3, 2, 1)), psth], axis=2),
        "eval_cond_idx": [[0], [1, 2], []],
    }
    scores = score_rates(RatePrediction(train=rates, eval=np.maximum(rates, 0.01)), targets)
    assert np.isfinite(scores["psth_r2"])
