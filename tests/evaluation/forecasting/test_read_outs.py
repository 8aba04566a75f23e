"""Read-outs fitted on forecasts of training trials: their size can be believed, whatever the forecast."""

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.decoding.velocity import fit_velocity_decoder
from nwb_latents.pipeline.evaluation.forecasting.kstep_scores import velocity_kstep_r2, velocity_slope
from nwb_latents.pipeline.evaluation.forecasting.read_outs import fit_read_out
from nwb_latents.pipeline.signals.folds import group_folds
from nwb_latents.schemas.task import PENALTIES

KINDS = ("all_states", "per_bin", "time_invariant")
N_BINS = 8


def reaches(n_trials, seed):
    """Velocity, states, and forecasts of states that are surer of one direction than of the other."""
    rng = np.random.default_rng(seed)
    target = rng.normal(size=(n_trials, 2))
    course = np.sin(np.linspace(0.3, 2.8, N_BINS))[:, None]
    velocity = 40 * course * target[:, None] + rng.normal(size=(n_trials, N_BINS, 2))
    mix = np.random.default_rng(99).normal(size=(2, 5))
    states = velocity @ mix / 40 + 0.05 * rng.normal(size=(n_trials, N_BINS, 5))
    believed = 0.6 * target * [1.0, 0.5] + rng.normal(size=(n_trials, 2)) * 0.2
    foreseen = course * believed[:, None] @ mix + 0.02 * rng.normal(size=(n_trials, N_BINS, 5))
    return velocity, states, foreseen


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_the_slope_of_the_truth_on_a_read_out_is_one(kind, seed):
    velocity, states, foreseen = reaches(800, seed)
    train, test = slice(None, 300), slice(300, None)
    decoder = fit_velocity_decoder(states[train], velocity[train], alphas=PENALTIES)
    of_recorded, _ = velocity_slope(velocity[test], decoder.predict(foreseen[test]))
    assert of_recorded > 1.2
    fit = fit_read_out(kind, foreseen[train], velocity[train], alphas=PENALTIES)
    guess = fit.predict(foreseen[test])
    slope, per_axis = velocity_slope(velocity[test], guess)
    assert slope == pytest.approx(1.0, abs=0.1)
    assert per_axis == pytest.approx((1.0, 1.0), abs=0.15)
    before = velocity_kstep_r2(velocity[test], decoder.predict(foreseen[test])).pooled
    assert velocity_kstep_r2(velocity[test], guess).pooled > before + 0.03


def test_one_regression_a_bin_is_that_of_each_bin_alone():
    velocity, _, foreseen = reaches(40, 0)
    fit = fit_read_out("per_bin", foreseen, velocity, alphas=(3.0,))
    made = fit.predict(foreseen)
    for at in range(N_BINS):
        alone = fit_read_out(
            "time_invariant", foreseen[:, at : at + 1], velocity[:, at : at + 1], alphas=(3.0,)
        )
        assert made[:, at : at + 1] == pytest.approx(alone.predict(foreseen[:, at : at + 1]), rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_bins_without_a_known_velocity_are_left_out(kind):
    velocity, _, foreseen = reaches(60, 1)
    with_gaps = velocity.copy()
    with_gaps[50:] = np.nan
    whole = fit_read_out(kind, foreseen[:50], velocity[:50], alphas=(1.0,)).predict(foreseen)
    assert fit_read_out(kind, foreseen, with_gaps, alphas=(1.0,)).predict(foreseen) == pytest.approx(whole)
    with_gaps[:, 3] = np.nan
    if kind == "time_invariant":
        assert np.isfinite(fit_read_out(kind, foreseen, with_gaps, alphas=(1.0,)).predict(foreseen)).all()
    else:
        with pytest.raises(DataError, match=r"0 of 60 training trials .* read_out=time_invariant"):
            fit_read_out(kind, foreseen, with_gaps, alphas=(1.0,))


def test_a_model_that_gives_nan_is_told():
    velocity, _, foreseen = reaches(30, 1)
    foreseen[3, 2, 1] = np.nan
    with pytest.raises(DataError, match="1 values that are not finite; a model that gives NaN"):
        fit_read_out("all_states", foreseen, velocity, alphas=(1.0,))


def test_a_slope_needs_a_forecast_that_varies():
    velocity, _, _ = reaches(30, 1)
    slope, per_axis = velocity_slope(velocity, np.zeros_like(velocity))
    assert np.isnan([slope, *per_axis]).all()
    assert velocity_slope(velocity, velocity)[0] == pytest.approx(1.0)
    assert velocity_slope(2 * velocity + 5, velocity)[1] == pytest.approx((2.0, 2.0))


@pytest.mark.parametrize("seed", range(4))
def test_the_penalty_of_each_bin_is_that_of_fits_on_all_folds_but_one(seed):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(20, 2, 12))
    velocity = features[..., :2] + 2.0 * rng.normal(size=(20, 2, 2))
    alphas, fold_of = (0.1, 1.0, 10.0, 100.0, 1000.0), group_folds(np.arange(20), folds=5, seed=seed)
    error = dict.fromkeys(alphas, 0.0)
    for alpha in alphas:
        for at, fold in np.ndindex(2, 5):
            x, y, rest = features[:, at], velocity[:, at], fold_of != fold
            mean, scale = x[rest].mean(axis=0), x[rest].std(axis=0)
            fit = Ridge(alpha=alpha).fit((x[rest] - mean) / scale, y[rest])
            error[alpha] += np.square(fit.predict((x[~rest] - mean) / scale) - y[~rest]).sum()
    fit = fit_read_out("per_bin", features, velocity, alphas=alphas, folds=5, seed=seed)
    assert fit.chosen["alpha"] == min(alphas, key=error.get)
