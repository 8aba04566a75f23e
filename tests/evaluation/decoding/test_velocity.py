"""Decoding on plain arrays."""

from __future__ import annotations

import numpy as np
import pytest

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.decoding.ridge import fit_ridge_cv
from nwb_latents.pipeline.evaluation.decoding.velocity import (
    fit_velocity_decoder,
    fit_velocity_decoders,
    hand_velocity_r2,
)

ALPHAS = (1e-2, 1.0, 1e2)


@pytest.fixture
def arrays():
    rng = np.random.default_rng(5)
    velocity = rng.normal(size=(30, 12, 2)) * 10
    rates = 20 + velocity @ rng.normal(size=(2, 9)) + rng.normal(size=(30, 12, 9)) * 4
    return rates, velocity


def test_is_the_ridge_of_all_bins_with_trials_as_groups(arrays):
    rates, velocity = arrays
    decoder = fit_velocity_decoder(rates, velocity, alphas=ALPHAS, folds=4, seed=2)
    expected = fit_ridge_cv(
        rates.reshape(-1, 9),
        velocity.reshape(-1, 2),
        groups=np.repeat(np.arange(30), 12),
        alphas=ALPHAS,
        folds=4,
        seed=2,
    )
    assert decoder.alpha == expected.alpha
    assert (decoder.coefficients == expected.coefficients).all()


def test_bins_without_velocity_count_neither_in_the_fit_nor_in_the_score(arrays):
    rates, velocity = arrays
    holes = velocity.copy()
    holes[:, 8:, 1] = np.nan
    wild = rates.copy()
    wild[:, 8:] = 1e6
    decoder = fit_velocity_decoder(wild, holes, alphas=ALPHAS)
    clean = fit_velocity_decoder(rates[:, :8], velocity[:, :8], alphas=ALPHAS)
    assert (decoder.coefficients == clean.coefficients).all()
    found, expected = (
        hand_velocity_r2(decoder, wild, holes),
        hand_velocity_r2(clean, rates[:, :8], velocity[:, :8]),
    )
    assert found.value == pytest.approx(expected.value, abs=1e-12)
    assert (found.n_trials, found.n_samples) == (30, 240)


def test_trials_without_any_velocity_are_not_counted(arrays):
    rates, velocity = arrays
    decoder = fit_velocity_decoder(rates, velocity, alphas=ALPHAS)
    holes = velocity.copy()
    holes[:5] = np.nan
    assert hand_velocity_r2(decoder, rates, holes).n_trials == 25


def test_value_is_the_mean_over_axes(arrays):
    rates, velocity = arrays
    score = hand_velocity_r2(fit_velocity_decoder(rates, velocity, alphas=ALPHAS), rates, velocity)
    assert 0.5 < score.value < 1
    assert score.value == pytest.approx(np.mean(score.per_axis), abs=1e-12)


def test_axis_that_does_not_move_has_no_r2(arrays):
    rates, velocity = arrays
    decoder = fit_velocity_decoder(rates, velocity, alphas=ALPHAS)
    still = velocity.copy()
    still[..., 1] = 0.0
    score = hand_velocity_r2(decoder, rates, still)
    assert score.value is None
    assert score.per_axis[0] is not None
    assert score.per_axis[1] is None


def test_no_velocity_and_too_few_trials_are_refused_with_a_remedy(arrays):
    rates, velocity = arrays
    with pytest.raises(DataError, match="none of the 30 training trials has a recorded hand velocity"):
        fit_velocity_decoder(rates, np.full_like(velocity, np.nan), alphas=ALPHAS)
    with pytest.raises(DataError, match=r"4 of 4 training trials .* 5 folds need at least 5.*fewer folds"):
        fit_velocity_decoder(rates[:4], velocity[:4], alphas=ALPHAS)
    decoder = fit_velocity_decoder(rates, velocity, alphas=ALPHAS)
    with pytest.raises(DataError, match="none of the 30 trials to score"):
        hand_velocity_r2(decoder, rates, np.full_like(velocity, np.nan))


def test_rates_that_do_not_fit_the_decoder_are_refused(arrays):
    rates, velocity = arrays
    decoder = fit_velocity_decoder(rates, velocity, alphas=ALPHAS)
    with pytest.raises(DataError, match="8 units"):
        hand_velocity_r2(decoder, rates[..., :8], velocity)
    with pytest.raises(DataError, match="same trials and bins"):
        hand_velocity_r2(decoder, rates[:3], velocity)
    broken = rates.copy()
    broken[0, 0, 0] = np.nan
    with pytest.raises(DataError, match="not finite in 1 of 360 bins"):
        hand_velocity_r2(decoder, broken, velocity)


def test_decoders_of_several_velocities_are_fitted_on_the_bins_all_of_them_know(arrays):
    rates, velocity = arrays
    first, second = velocity.copy(), 2 * velocity
    first[:, :2] = np.nan
    second[:, 9:, 0] = np.nan
    both = np.s_[:, 2:9]
    found = fit_velocity_decoders(rates, [first, second], alphas=ALPHAS)
    for decoder, own in zip(found, (velocity, 2 * velocity), strict=True):
        alone = fit_velocity_decoder(rates[both], own[both], alphas=ALPHAS)
        assert decoder.alpha == alone.alpha
        assert decoder.coefficients == pytest.approx(alone.coefficients, rel=1e-9)
