"""Permutation test of a velocity R²: exact, by whole trials, and neither blind nor lenient."""

from __future__ import annotations

import itertools
import sys

import numpy as np
import pytest

from nwb_latents.pipeline.errors import DataError, SettingsError
from nwb_latents.pipeline.evaluation.decoding.session_decoder import decode_session
from nwb_latents.pipeline.evaluation.metrics.permutation import permutation_p_value, permuted_r2
from nwb_latents.pipeline.evaluation.metrics.r2 import r2
from nwb_latents.pipeline.stores.session import session_in_memory
from nwb_latents.schemas.decoding import DecodeSettings


def some_trials(n_trials=7, *, seed=0, signal=0.0):
    rng = np.random.default_rng(seed)
    true = rng.normal(size=(n_trials, 9, 2)) * [1.0, 30.0] + [100.0, -20.0]
    return true, signal * true + (1 - signal) * rng.permutation(true)


@pytest.mark.parametrize("holes", ["none", "true", "both"])
def test_every_permutation_scores_as_if_it_were_scored_alone(holes):
    true, predicted = some_trials()
    rng = np.random.default_rng(5)
    if holes != "none":
        true[rng.random(true.shape[:2]) < 0.2] = np.nan
    if holes == "both":
        predicted[rng.random(true.shape[:2]) < 0.2] = np.nan
    orders = [rng.permutation(7) for _ in range(20)]
    expected = []
    for order in orders:
        kept = np.isfinite(true[order]).all(axis=-1) & np.isfinite(predicted).all(axis=-1)
        expected.append(r2(true[order], predicted, definition="r2_uniform", mask=kept))
    assert permuted_r2(true, predicted, orders) == pytest.approx(np.array(expected), abs=1e-9)


def test_mask_moves_with_the_recorded_trial():
    true, predicted = some_trials()
    mask = np.random.default_rng(2).random(true.shape[:2]) < 0.7
    order = np.roll(np.arange(7), 2)
    expected = r2(true[order], predicted, definition="r2_uniform", mask=mask[order])
    assert permuted_r2(true, predicted, [order], mask=mask)[0] == pytest.approx(expected, abs=1e-9)


def test_the_p_value_counts_the_order_as_it_is():
    true, predicted = some_trials(5, signal=0.3)
    number, found = 49, set()
    observed = r2(true, predicted, definition="r2_uniform")
    for seed in range(5):
        orders = np.random.default_rng(seed).permuted(np.tile(np.arange(5), (number, 1)), axis=1)
        null = [r2(true[order], predicted, definition="r2_uniform") for order in orders]
        as_high = sum(value >= observed - 1e-9 for value in null)
        assert 0 < as_high < number
        found.add(permutation_p_value(true, predicted, n_permutations=number, seed=seed))
        assert (1 + as_high) / (1 + number) in found
    # Each seed draws permutations of its own.
    assert len(found) > 1


def test_with_many_draws_it_comes_to_the_share_of_all_permutations():
    true, predicted = some_trials(5, seed=4, signal=0.2)
    every = permuted_r2(true, predicted, list(itertools.permutations(range(5))))
    share = float(np.mean(every >= every[0] - 1e-12))
    assert permutation_p_value(true, predicted, n_permutations=20000) == pytest.approx(share, abs=0.015)


def test_real_decoding_is_significant_and_shuffled_is_not(make_session):
    trials, continuous = make_session(n_trials=60)
    settings = DecodeSettings(n_permutations=199)
    rates = trials["rates"].values[trials["split"].values == "test"]
    real, shuffled = decode_session(
        session_in_memory(trials, continuous), settings, reconstruction=np.roll(rates, 3, axis=0), run="m"
    ).scores
    assert real.p_value == 1 / 200
    assert shuffled.p_value > 0.05


def test_the_level_holds_where_there_is_nothing_to_find():
    p_values = [
        permutation_p_value(*some_trials(12, seed=seed), n_permutations=39, seed=seed) for seed in range(400)
    ]
    assert 0.02 < np.mean(np.array(p_values) <= 0.05) < 0.09
    assert 0.4 < np.mean(np.array(p_values) <= 0.5) < 0.6


def test_without_permutations_no_p_value(make_session):
    [score] = decode_session(session_in_memory(*make_session()), DecodeSettings(n_permutations=0)).scores
    assert score.p_value is None


def test_trials_without_a_sample_take_no_part():
    true, predicted = some_trials(6, signal=0.5)
    more = np.concatenate([true, np.full((3, 9, 2), np.nan)])
    guess = np.concatenate([predicted, predicted[:3]])
    assert permutation_p_value(more, guess) == permutation_p_value(true, predicted)


@pytest.mark.parametrize("value", [0.0, 0.1, -1e6])
def test_undefined_r2_has_no_p_value(value):
    true, predicted = some_trials()
    true[..., 1] = value
    assert permutation_p_value(true, predicted) is None
    assert permutation_p_value(np.full_like(true, np.nan), predicted) is None


def test_one_trial_proves_nothing():
    true, _ = some_trials(1)
    assert permutation_p_value(true, true) == 1.0


def test_what_does_not_fit_is_refused():
    true, predicted = some_trials()
    with pytest.raises(DataError, match=r"predicted \(6, 9, 2\)"):
        permutation_p_value(true, predicted[1:])
    with pytest.raises(SettingsError, match="at least 1"):
        permutation_p_value(true, predicted, n_permutations=0)


def numpy_calls_of(n_permutations):
    """Return how often a test of so many permutations calls compiled code."""
    true, predicted = some_trials(30)
    number = 0

    def count(frame, event, argument):
        nonlocal number
        number += event == "c_call"

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        permutation_p_value(true, predicted, n_permutations=n_permutations)
    finally:
        sys.setprofile(before)
    return number


def test_all_permutations_are_scored_at_once():
    assert numpy_calls_of(200) == numpy_calls_of(2) > 10
