"""Calibration of counts: 0 for the rates they were drawn from, more for others."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.stats import poisson

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.forecasting.source_forecast import SourceForecast
from nwb_latents.pipeline.evaluation.metrics.calibration import (
    FORECAST,
    LEVELS,
    METRIC,
    PitSums,
    in_windows,
)
from nwb_latents.pipeline.evaluation.source_output import SourceOutput
from nwb_latents.pipeline.evaluation.spike_task import RatePrediction


@pytest.fixture(scope="module")
def drawn():
    """Rates that differ from trial to trial, and counts drawn from them: 120 trials, 40 bins of 20 ms."""
    rng = np.random.default_rng(0)
    gain = np.exp(0.5 * rng.normal(size=(120, 1, 1)))
    rates = gain * rng.gamma(3.0, 0.15, size=(120, 40, 6))
    return rates, rng.poisson(rates).astype(float)


def measured(rates, counts, *, n_in=2):
    session = SimpleNamespace(
        n_heldin=n_in,
        task=SimpleNamespace(bin_size_s=0.02),
        answers=SimpleNamespace(eval_heldout=counts[..., n_in:]),
        settings=SimpleNamespace(seed=0),
    )
    found = METRIC.compute["reconstruction"](session, SourceOutput(rates=RatePrediction(rates[:1], rates)))
    return float(found.statistic.value(np.ones((1, len(rates))))[0]), found.details


def test_true_rates_are_calibrated_and_others_are_not(drawn):
    rates, counts = drawn
    value, details = measured(rates, counts)
    assert value < 2 * details["if_calibrated"] < 0.03
    assert details["coverage_50"] == pytest.approx(0.5, abs=0.02)
    assert details["coverage_90"] == pytest.approx(0.9, abs=0.02)
    for factor in (1.5, 1 / 1.5):
        wrong, told = measured(rates * factor, counts)
        assert wrong > 10 * value
        assert told["coverage_90"] < 0.87


def test_rates_that_miss_what_differs_between_trials_hold_too_few_counts(drawn):
    rates, counts = drawn
    flat = np.broadcast_to(rates.mean(axis=0), rates.shape)
    value, details = measured(flat, counts)
    assert value > 3 * details["if_calibrated"]
    assert details["coverage_50"] < 0.45
    assert details["coverage_90"] < 0.83


def test_it_is_the_mean_over_random_transforms(drawn):
    rates, counts = drawn
    lam, n = rates[:, :8], counts[:, :8]
    sums = PitSums.of(lam, n)
    rng = np.random.default_rng(1)
    below = np.zeros(len(LEVELS))
    for _ in range(200):
        u = poisson.cdf(n - 1, lam) + rng.random(n.shape) * poisson.pmf(n, lam)
        below += (u[..., None] <= LEVELS).mean(axis=(0, 1, 2)) / 200
    np.testing.assert_allclose(sums.below.sum(axis=(0, 1)) / sums.number.sum(), below, atol=2e-3)


def test_what_was_not_recorded_counts_nowhere(drawn):
    rates, counts = drawn
    gaps = counts.copy()
    gaps[50:, :, 3] = np.nan
    spoiled = rates.copy()
    spoiled[50:, :, 3] = 99.0
    assert measured(spoiled, gaps)[0] < 0.04
    summed = in_windows(gaps, bin_size_s=0.02)
    assert summed.shape == (120, 8, 6)
    assert np.isnan(summed[50:, :, 3]).all()
    assert np.array_equal(summed[:, 0, 0], counts[:, :5, 0].sum(axis=1))
    assert in_windows(counts[:, :3], bin_size_s=0.02).shape == (120, 1, 6)


def test_a_resample_is_the_metric_of_its_trials(drawn):
    rates, counts = drawn
    sums = PitSums.of(rates, counts)
    weights = np.random.default_rng(2).integers(0, 3, size=(4, 120)).astype(float)
    for row, value in zip(weights, sums.value(weights), strict=True):
        rows = np.repeat(np.arange(120), row.astype(int))
        again = PitSums.of(rates[rows], counts[rows])
        assert value == pytest.approx(float(again.value(np.ones((1, len(rows))))[0]), abs=1e-12)


def test_a_spike_held_to_be_impossible_is_the_worst_and_no_error():
    sums = PitSums.of(np.zeros((3, 2, 1)), np.full((3, 2, 1), 4.0))
    assert sums.value(np.ones((1, 3)))[0] == pytest.approx(LEVELS.mean())


def test_what_is_no_rate_or_count_is_refused(drawn):
    rates, counts = drawn
    with pytest.raises(DataError, match="negative or not finite"):
        PitSums.of(-rates, counts)
    with pytest.raises(DataError, match="shape"):
        PitSums.of(rates[:9], counts)


def test_forecasts_are_scored_in_the_bins_ahead_of_all_units(drawn):
    rates, counts = drawn
    trials = {"counts": SimpleNamespace(values=counts)}
    session = SimpleNamespace(
        session=SimpleNamespace(trials=trials),
        answers=SimpleNamespace(eval_rows=np.arange(60, 120)),
        task=SimpleNamespace(bin_size_s=0.02),
        settings=SimpleNamespace(seed=0, forecast=SimpleNamespace(seen_bins=10, end=30)),
    )
    ahead = rates[60:, 10:30] / 0.02
    scores = []
    for factor in (1.0, 1.5):
        output = SourceOutput(forecast=SourceForecast("known", rates=ahead * factor))
        scored = FORECAST.compute["forecast"](session, output)
        scores.append(float(scored.statistic.value(np.ones((1, 60)))[0]))
    assert scores[0] < 0.03 < scores[1]
