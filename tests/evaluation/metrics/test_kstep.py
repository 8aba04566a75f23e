"""The R² of forecasts, step by step."""

from __future__ import annotations

import numpy as np
import pytest

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.metrics.kstep import kstep_r2, kstep_sums, leaked_steps
from nwb_latents.pipeline.evaluation.metrics.r2 import r2


@pytest.fixture
def trials() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(7, 20, 3)).cumsum(1) + 5


def test_the_curve_is_that_of_a_plain_loop(trials: np.ndarray) -> None:
    t0, k = 8, 6
    forecast = trials[:, t0 : t0 + k] + np.random.default_rng(1).normal(size=(7, k, 3))
    expected = []
    for step in range(k):
        error = total = 0.0
        for trial in range(7):
            for unit in range(3):
                true = trials[trial, t0 + step, unit]
                error += (true - forecast[trial, step, unit]) ** 2
                total += (true - np.mean(trials[trial, :, unit])) ** 2
        expected.append(1 - error / total)
    np.testing.assert_allclose(kstep_r2(trials, forecast, t0=t0), expected, rtol=1e-12)


def test_perfect_is_one_and_the_trial_mean_is_zero(trials: np.ndarray) -> None:
    np.testing.assert_array_equal(kstep_r2(trials, trials[:, 8:], t0=8), np.ones(12))
    mean = np.repeat(trials.mean(1, keepdims=True), 5, axis=1)
    np.testing.assert_allclose(kstep_r2(trials, mean, t0=8), np.zeros(5), atol=1e-12)


def test_all_steps_pooled_are_r2_trialmean_where_the_window_is_the_trial(trials: np.ndarray) -> None:
    # Over one whole trial the sums of the curve's parts are those of r2_trialmean; bin 0 is seen here.
    guess = trials + np.random.default_rng(2).normal(size=trials.shape)
    guess[:, 0] = trials[:, 0]
    curve = kstep_r2(trials, guess[:, 1:], t0=1)
    deviation = np.square(trials - trials.mean(1, keepdims=True)).sum((0, 2))
    pooled = 1 - ((1 - curve) * deviation[1:]).sum() / deviation.sum()
    assert pooled == pytest.approx(r2(trials, guess, definition="r2_trialmean"))


def test_what_was_not_recorded_does_not_count(trials: np.ndarray) -> None:
    forecast = trials[:, 8:12] + 1.0
    with_gap = np.concatenate([trials, np.full((7, 20, 1), np.nan)], 2)
    wider = np.concatenate([forecast, np.zeros((7, 4, 1))], 2)
    np.testing.assert_allclose(kstep_r2(with_gap, wider, t0=8), kstep_r2(trials, forecast, t0=8))


def test_bins_beyond_the_trial_are_not_scored(trials: np.ndarray) -> None:
    assert kstep_r2(trials, np.zeros((7, 30, 3)), t0=15).shape == (5,)


def test_a_forecast_that_is_not_finite_is_refused(trials: np.ndarray) -> None:
    forecast = trials[:, 8:12].copy()
    forecast[2, 1, 0] = np.inf
    with pytest.raises(DataError, match="1 of 84 forecast values are not finite"):
        kstep_r2(trials, forecast, t0=8)


@pytest.mark.parametrize(("shape", "t0"), [((7, 4, 2), 8), ((6, 4, 3), 8), ((7, 4, 3), 0), ((7, 4, 3), 20)])
def test_shapes_that_do_not_fit_are_refused(trials: np.ndarray, shape: tuple[int, ...], t0: int) -> None:
    with pytest.raises(DataError, match="k-step"):
        kstep_r2(trials, np.zeros(shape), t0=t0)


def test_the_leak_detector_finds_what_is_too_good_to_be_true() -> None:
    ceiling = np.array([0.9, 0.8, 0.7, np.nan])
    assert leaked_steps(ceiling + np.array([0.02, -0.5, 0.029, 1.0]), ceiling) == []
    assert leaked_steps(ceiling + np.array([0.02, 0.04, 0.2, 1.0]), ceiling) == [2, 3]


@pytest.mark.parametrize("step", [None, 1, 4])
def test_sums_over_trials_give_the_metric_of_any_selection(step):
    rng = np.random.default_rng(2)
    observed = rng.normal(size=(8, 11, 3)) + 5 * rng.normal(size=(8, 1, 3))
    observed[rng.random(observed.shape) < 0.1] = np.nan
    forecast = np.nan_to_num(observed[:, 6:]) + 0.5 * rng.normal(size=(8, 5, 3))
    sums = kstep_sums(observed, forecast, t0=6, step=step)
    drawn = rng.integers(8, size=(30, 8))
    weights = np.stack([np.bincount(row, minlength=8) for row in drawn]).astype(float)
    mean = np.nanmean(observed, axis=1, keepdims=True)
    steps = slice(None) if step is None else slice(step - 1, step)
    error = np.square(observed[:, 6:] - forecast)[:, steps]
    total = np.square(observed[:, 6:] - mean)[:, steps]
    expected = [1 - np.nansum(error[row]) / np.nansum(total[row]) for row in drawn]
    assert sums.value(weights) == pytest.approx(expected, abs=1e-9)
    if step is not None:
        alone = kstep_r2(observed, forecast, t0=6)[step - 1]
        assert sums.value(np.ones((1, 8)))[0] == pytest.approx(alone, abs=1e-12)


def test_a_step_the_forecast_does_not_have_is_refused():
    with pytest.raises(DataError, match="step 3 of a forecast of 2 bins"):
        kstep_sums(np.zeros((1, 5, 1)), np.zeros((1, 2, 1)), t0=1, step=3)
