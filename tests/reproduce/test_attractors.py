"""The three chaotic flows: what is known of them, and the spikes they drive."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.reproduce.systems.attractors import (
    ATTRACTORS,
    AttractorName,
    AttractorRecipe,
    attractor_path,
    simulate_attractor,
)
from benchmarks.reproduce.systems.flows import flow_path

# Points and eigenvalues as published with the systems.
KNOWN: dict[AttractorName, list[tuple[tuple[float, ...], tuple[complex, ...]]]] = {
    "lorenz": [
        ((-8.485, -8.485, 27.0), (0.0940 + 10.195j, 0.0940 - 10.195j, -13.855)),
        ((0.0, 0.0, 0.0), (11.828, -2.667, -22.828)),
        ((8.485, 8.485, 27.0), (0.0940 + 10.195j, 0.0940 - 10.195j, -13.855)),
    ],
    "rossler": [
        ((0.00703, -0.0351, 0.0351), (0.0970 + 0.9952j, 0.0970 - 0.9952j, -5.687)),
        ((5.693, -28.465, 28.465), (0.193, 5.428j, -5.428j)),
    ],
    "arneodo": [
        ((-2.3452, 0.0, 0.0), (0.4143 + 2.4174j, 0.4143 - 2.4174j, -1.829)),
        ((0.0, 0.0, 0.0), (0.890, -0.945 + 2.300j, -0.945 - 2.300j)),
        ((2.3452, 0.0, 0.0), (0.4143 + 2.4174j, 0.4143 - 2.4174j, -1.829)),
    ],
}
# Extent of the attractors in their first coordinate, and the time they take to go round.
EXTENT = {"lorenz": 20.0, "rossler": 12.0, "arneodo": 4.5}
SMALL = AttractorRecipe(n_trials=120, n_paths=8)


@pytest.mark.parametrize("name", ATTRACTORS)
def test_fixed_points_and_eigenvalues_are_the_published_ones(name: AttractorName) -> None:
    system = ATTRACTORS[name]
    np.testing.assert_allclose(system.velocity(system.fixed_points), 0, atol=1e-12)
    assert len(system.fixed_points) == len(KNOWN[name])
    values = zip(system.fixed_points, system.eigenvalues(), KNOWN[name], strict=True)
    for point, found, (known_point, known_values) in values:
        np.testing.assert_allclose(point, known_point, atol=1e-3)
        np.testing.assert_allclose(np.sort_complex(found), np.sort_complex(known_values), atol=1e-3)


@pytest.mark.parametrize("name", ATTRACTORS)
def test_the_jacobian_is_the_slope_of_the_velocity(name: AttractorName) -> None:
    system = ATTRACTORS[name]
    state, step = np.array([0.7, -1.3, 0.4]), 1e-6
    for axis, shift in enumerate(step * np.eye(3)):
        slope = (system.velocity(state + shift) - system.velocity(state - shift)) / (2 * step)
        np.testing.assert_allclose(system.jacobian(state)[:, axis], slope, atol=1e-7)


@pytest.mark.parametrize("name", ATTRACTORS)
def test_trajectories_stay_on_a_bounded_set_and_part_from_each_other(name: AttractorName) -> None:
    path = attractor_path(name, 6, 400, seed=0)
    reach = np.abs(path[..., 0]).max()
    assert EXTENT[name] / 2 < reach < EXTENT[name]
    system = ATTRACTORS[name]
    near = path[:, 0] + 1e-6
    apart = flow_path(system.velocity, near, 400, dt=system.dt, substeps=system.substeps) - path
    assert np.abs(apart[:, -1]).max() > 1e-5


@pytest.mark.parametrize("name", ATTRACTORS)
def test_a_path_does_not_depend_on_the_step_it_is_made_with(name: AttractorName) -> None:
    system, start = ATTRACTORS[name], attractor_path(name, 4, 1, seed=0)[:, 0]
    coarse, fine = (
        flow_path(system.velocity, start, 71, dt=system.dt, substeps=n * system.substeps) for n in (1, 4)
    )
    np.testing.assert_allclose(coarse, fine, atol=0.01 * EXTENT[name])


@pytest.mark.parametrize("name", ATTRACTORS)
def test_log_rates_are_standardised_and_linear_in_standardised_latents(name: AttractorName) -> None:
    trials = simulate_attractor(name, SMALL, seed=0)
    log_rates = np.log(trials.rates)
    for values in (trials.latents, log_rates):
        np.testing.assert_allclose(values.mean((0, 1)), 0, atol=1e-9)
        np.testing.assert_allclose(values.std((0, 1)), 1)
    design = np.column_stack([trials.latents.reshape(-1, 3), np.ones(trials.latents[..., 0].size)])
    weights, residual, _, _ = np.linalg.lstsq(design, log_rates.reshape(len(design), -1))
    np.testing.assert_allclose(residual, 0, atol=1e-15)
    assert weights.shape == (4, 10)
    assert trials.counts.mean() == pytest.approx(trials.rates.mean(), rel=0.02)


def test_trials_follow_each_other_on_a_trajectory_and_depend_on_the_seed_alone() -> None:
    recipe = AttractorRecipe(n_trials=7, n_paths=2)
    one, again, other = (simulate_attractor("arneodo", recipe, seed=seed) for seed in (0, 0, 1))
    assert one.counts.shape == (7, 70, 10)
    np.testing.assert_array_equal(one.counts, again.counts)
    assert not np.allclose(one.rates, other.rates)
    # Four trials of the first trajectory, three of the second.
    jumps = np.linalg.norm(one.latents[1:, 0] - one.latents[:-1, -1], axis=1)
    steps = np.linalg.norm(np.diff(one.latents, axis=1), axis=2).max()
    assert (jumps < 1.2 * steps).tolist() == [True, True, True, False, True, True]
