"""Spikes of known rates: the Lorenz attractor and the chaotic network, and what is exact about them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchmarks.reproduce.systems.chaotic import ChaoticRecipe, chaotic_network, simulate_chaotic
from benchmarks.reproduce.systems.lorenz import (
    BETA,
    DT,
    RHO,
    LorenzRecipe,
    lorenz_path,
    lorenz_velocity,
    simulate_lorenz,
)

if TYPE_CHECKING:
    from benchmarks.reproduce.systems.spiking import SpikingTrials

LORENZ = LorenzRecipe(n_units=12, n_conditions=40, n_repeats=3, mean_count=0.25)
CHAOTIC = ChaoticRecipe(n_units=20, n_conditions=4, n_repeats=3)
PULSED = replace(CHAOTIC, pulse=20.0)


def simulate(recipe: LorenzRecipe | ChaoticRecipe, seed: int = 0) -> SpikingTrials:
    if isinstance(recipe, LorenzRecipe):
        return simulate_lorenz(recipe, seed=seed)
    return simulate_chaotic(recipe, seed=seed)


@pytest.mark.parametrize("recipe", [LORENZ, CHAOTIC, PULSED], ids=["lorenz", "chaotic", "pulsed"])
def test_trials_depend_on_recipe_and_seed_alone(recipe: LorenzRecipe | ChaoticRecipe) -> None:
    one, again, other = simulate(recipe), simulate(recipe), simulate(recipe, seed=1)
    for name in ("counts", "rates", "latents", "condition"):
        np.testing.assert_array_equal(getattr(one, name), getattr(again, name))
    assert not np.allclose(one.rates, other.rates)


@pytest.mark.parametrize("recipe", [LORENZ, CHAOTIC, PULSED], ids=["lorenz", "chaotic", "pulsed"])
def test_counts_are_poisson_about_the_rates(recipe: LorenzRecipe | ChaoticRecipe) -> None:
    trials = simulate(recipe)
    residual = trials.counts - trials.rates
    error = np.sqrt(trials.rates.mean() / trials.counts.size)
    assert abs(residual.mean()) < 4 * error
    assert np.square(residual).mean() == pytest.approx(trials.rates.mean(), rel=0.05)
    assert trials.counts.dtype == np.int64


def test_repeats_of_a_condition_share_rates_and_nothing_else() -> None:
    for recipe in (LORENZ, CHAOTIC):
        trials = simulate(recipe)
        assert trials.condition.tolist() == np.repeat(np.arange(recipe.n_conditions), 3).tolist()
        np.testing.assert_array_equal(trials.rates[0], trials.rates[2])
        assert (trials.counts[0] != trials.counts[2]).any()
        assert not np.allclose(trials.rates[2], trials.rates[3])


def test_the_attractor_has_its_fixed_points_and_eigenvalues() -> None:
    c = np.sqrt(BETA * (RHO - 1))
    for point in ([0.0, 0.0, 0.0], [c, c, RHO - 1], [-c, -c, RHO - 1]):
        np.testing.assert_allclose(lorenz_velocity(np.array(point)), 0, atol=1e-12)
    step = 1e-6
    offsets = step * np.eye(3)
    jacobian = (lorenz_velocity(offsets) - lorenz_velocity(-offsets)).T / (2 * step)
    np.testing.assert_allclose(
        np.sort(np.linalg.eigvals(jacobian).real), [-22.828, -2.667, 11.828], atol=1e-3
    )


def test_a_path_does_not_depend_on_the_step_it_is_made_with() -> None:
    start = np.array([[1.0, 2.0, 20.0]])
    coarse, fine = lorenz_path(start, 51), lorenz_path(start, 501, dt=DT / 10)
    np.testing.assert_allclose(coarse[:, -1], fine[:, -1], rtol=1e-3)


def test_log_rates_are_linear_in_standardised_latents_with_the_stated_mean_and_deviation() -> None:
    trials = simulate(LORENZ)
    first = trials.select(np.arange(0, trials.n_trials, 3))
    np.testing.assert_allclose(first.latents.mean((0, 1)), 0, atol=1e-12)
    np.testing.assert_allclose(first.latents.std((0, 1)), 1)
    np.testing.assert_allclose(first.rates.mean((0, 1)), 0.25)
    log_rates = np.log(first.rates)
    np.testing.assert_allclose(log_rates.std((0, 1)), 0.8)
    design = np.column_stack([first.latents.reshape(-1, 3), np.ones(first.latents[..., 0].size)])
    _, residual, rank, _ = np.linalg.lstsq(design, log_rates.reshape(len(design), -1))
    assert rank == 4
    np.testing.assert_allclose(residual, 0, atol=1e-18)


def test_states_of_the_network_follow_its_equation() -> None:
    recipe = replace(CHAOTIC, n_bins=30)
    trials = simulate(recipe)
    # The network is the first thing drawn.
    network = chaotic_network(recipe, np.random.default_rng([0, 1]))
    before, after = trials.latents[:, 10], trials.latents[:, 11]
    slope = (after - before) * recipe.tau_s / recipe.bin_s
    np.testing.assert_allclose(slope, -before + np.tanh(before) @ network.recurrent.T, atol=1e-12)
    assert network.recurrent.std() == pytest.approx(1.5 / np.sqrt(20), rel=0.15)


def test_rates_reach_from_silence_to_the_maximum_in_every_trial() -> None:
    for recipe in (CHAOTIC, PULSED):
        trials = simulate(recipe)
        np.testing.assert_allclose(trials.rates.min(1), 0, atol=1e-15)
        np.testing.assert_allclose(trials.rates.max(1), 30.0 * 0.01)


def test_small_gains_die_down_and_large_ones_do_not() -> None:
    quiet, loud = (
        np.abs(simulate(replace(CHAOTIC, n_units=50, gain=gain, n_bins=400)).latents[:, -1]).max()
        for gain in (0.5, 1.5)
    )
    assert quiet < 1e-3
    assert loud > 0.1


def test_a_pulse_comes_once_in_the_middle_half_and_changes_nothing_before() -> None:
    assert simulate(CHAOTIC).pulse_bin is None
    recipe = replace(PULSED, n_conditions=30, n_repeats=10)
    pulsed, left_alone = simulate(recipe), simulate(replace(recipe, pulse=0.0))
    assert pulsed.pulse_bin is not None
    assert (pulsed.pulse_bin.min(), pulsed.pulse_bin.max()) == (25, 74)
    network = chaotic_network(recipe, np.random.default_rng([0, 1]))
    for trial, at in enumerate(pulsed.pulse_bin):
        np.testing.assert_array_equal(pulsed.latents[trial, :at], left_alone.latents[trial, :at])
        jump = pulsed.latents[trial, at] - left_alone.latents[trial, at]
        np.testing.assert_allclose(jump, 20.0 * 0.4 * network.drive, atol=1e-9)


def test_a_split_takes_the_same_number_of_every_condition() -> None:
    trials = simulate(PULSED)
    train, val = trials.split(2)
    assert train.condition.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert val.condition.tolist() == [0, 1, 2, 3]
    assert train.pulse_bin is not None
    assert trials.pulse_bin is not None
    np.testing.assert_array_equal(train.counts[2], trials.counts[3])
    assert train.pulse_bin[2] == trials.pulse_bin[3]
    half = trials.select(np.array([1]), slice(5, None))
    np.testing.assert_array_equal(half.rates, trials.rates[[1]][:, :, 5:])
    with pytest.raises(ValueError, match="3 trials of each condition leave 12 trials"):
        trials.split(3)
