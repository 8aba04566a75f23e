"""Weights of ensembles: the best there are, chosen on validation trials alone."""

import numpy as np
import pytest

from nwb_latents.pipeline.errors import DataError, SettingsError
from nwb_latents.pipeline.evaluation.forecasting.conformal import conformal_band
from nwb_latents.pipeline.evaluation.forecasting.ensemble import fit_ensemble, simplex_weights


@pytest.mark.parametrize("seed", range(6))
def test_no_point_of_a_grid_on_the_simplex_is_better(seed):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(4, 3)) * rng.uniform(0.2, 3.0, size=3)
    products = root.T @ root
    found = simplex_weights(products)
    assert found.sum() == pytest.approx(1.0)
    assert found.min() >= 0
    grid = [(a, b, 1 - a - b) for a in np.linspace(0, 1, 101) for b in np.linspace(0, 1 - a, 101)]
    best = min(np.array(w) @ products @ np.array(w) for w in grid)
    assert found @ products @ found <= best + 1e-9


def members(n, seed=0):
    rng = np.random.default_rng(seed)
    true = rng.normal(size=(n, 10, 2)) * [30.0, 1.0]
    return true, [true + rng.normal(size=true.shape) * [30.0, 1.0] * size for size in (0.5, 0.5, 5.0)]


def test_equal_forecasts_are_weighed_alike_and_a_bad_one_hardly():
    true, made = members(40)
    weights = fit_ensemble(made, true).weights
    assert weights[:2] == pytest.approx([0.5, 0.5], abs=0.1)
    assert weights[2] < 0.05
    # A forecast and the same forecast: nothing tells them apart.
    assert fit_ensemble([made[0], made[0]], true).weights == pytest.approx([0.5, 0.5])


def test_axes_count_alike():
    true, _ = members(40)
    rng = np.random.default_rng(3)
    noise = rng.normal(size=(2, *true.shape))
    # One member knows the axis that hardly moves, the other the one that moves far.
    one, other = true + noise[0] * [30.0, 0.0], true + noise[1] * [0.0, 1.0]
    assert fit_ensemble([one, other], true).weights == pytest.approx([0.5, 0.5], abs=0.05)


def test_forecasts_of_validation_trials_are_made_without_them():
    true, made = members(12)
    fit = fit_ensemble(made, true)
    for trial in range(12):
        rest = np.arange(12) != trial
        # Without a trial the axes' variances differ a little; the weights hardly do.
        without = fit_ensemble([each[rest] for each in made], true[rest])
        expected = np.tensordot(without.weights, np.stack([each[trial] for each in made]), axes=1)
        assert fit.calibration[trial] == pytest.approx(expected, abs=0.5)


def test_bands_of_ensembles_hold_what_they_say():
    held = []
    for seed in range(60):
        true, made = members(30, seed=seed)
        fit = fit_ensemble([each[:14] for each in made], true[:14])
        band = conformal_band(true[:14] - fit.calibration)
        held.append(band.holds(true[14:], fit.mean([each[14:] for each in made])).mean())
    error = np.std(held) / np.sqrt(len(held))
    assert abs(np.mean(held) - 14 / 15) < 4 * error


def test_what_cannot_be_averaged_is_refused():
    true, made = members(12)
    with pytest.raises(DataError, match=r"0 validation trials.*split\.val"):
        fit_ensemble(made, np.full_like(true, np.nan))
    with pytest.raises(SettingsError, match="at least 2"):
        fit_ensemble(made[:1], true)


def test_the_truth_of_a_trial_has_no_part_in_its_own_calibration():
    """But in that of others. On one axis, whose variance changes no weight."""
    true, made = members(12)
    true, made = true[..., :1], [each[..., :1] for each in made]
    other = true.copy()
    other[4] = made[2][4]  # there the worst of them is right
    before, after = fit_ensemble(made, true).calibration, fit_ensemble(made, other).calibration
    assert after[4] == pytest.approx(before[4], rel=1e-9)
    assert not np.allclose(np.delete(after, 4, axis=0), np.delete(before, 4, axis=0))
