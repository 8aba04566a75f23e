"""Simulators against what is known of their systems: cycles, fixed points, bifurcation, noise."""

from __future__ import annotations

import numpy as np
import pytest

from nwb_latents.pipeline.sources.simulator.planar_systems import (
    Duffing,
    HopfNormal,
    HopfVanDerPol,
    LimitCycle,
    System,
    noise_per_step,
    simulate_latents,
)


def _settled(system: System, z0: list[float], n_bins: int = 6000) -> np.ndarray:
    """The last 500 bins of a trajectory without noise."""
    path = simulate_latents(system, np.array([z0]), n_bins, rng=np.random.default_rng(0), sigma=0.0)
    return path[0, -500:]


@pytest.mark.parametrize("omega", [0.25, 5.0])
@pytest.mark.parametrize("z0", [[0.1, 0.0], [-2.0, 1.0]])
def test_a_limit_cycle_has_radius_root_two_and_its_speed(omega: float, z0: list[float]) -> None:
    path = _settled(LimitCycle(omega), z0)
    np.testing.assert_allclose(np.hypot(*path.T), np.sqrt(2), rtol=1e-6)
    turned = np.diff(np.unwrap(np.arctan2(path[:, 1], path[:, 0])))
    np.testing.assert_allclose(turned, omega * 0.04, rtol=1e-6)


def test_the_van_der_pol_form_bifurcates_at_zero() -> None:
    assert np.abs(_settled(HopfVanDerPol(-0.5), [1.0, 0.0])).max() < 1e-3
    cycle = _settled(HopfVanDerPol(0.5), [0.1, 0.0])
    # To leading order in μ the cycle of this form has amplitude 2 √μ.
    assert cycle[:, 0].max() == pytest.approx(2 * np.sqrt(0.5), rel=0.08)


@pytest.mark.parametrize(("mu", "radius"), [(-0.5, 0.0), (0.5, 0.5**0.5), (1.5, 1.5**0.5)])
def test_the_normal_form_bifurcates_at_zero(mu: float, radius: float) -> None:
    np.testing.assert_allclose(np.hypot(*_settled(HopfNormal(mu), [0.3, 0.2]).T), radius, atol=1e-6)


@pytest.mark.parametrize("make", [HopfVanDerPol, HopfNormal])
def test_the_origin_is_a_focus_whose_stability_has_the_sign_of_mu(make: type) -> None:
    small = 1e-6 * np.eye(2)
    for mu in (-0.6, 0.6):
        jacobian = make(mu, dt=1e-4).advance(small).T / 1e-6
        eigenvalues = (np.linalg.eigvals(jacobian) - 1) / 1e-4
        assert np.sign(eigenvalues.real).tolist() == [np.sign(mu)] * 2
        assert np.abs(eigenvalues.imag).min() > 0.5


def test_duffing_settles_in_its_wells() -> None:
    well = np.sqrt(0.9 / 0.1)
    two = Duffing(-0.5, -0.9)
    np.testing.assert_allclose(two.advance(np.array([well, 0.0])), [well, 0.0], atol=1e-12)
    np.testing.assert_allclose(_settled(two, [0.1, 0.0])[-1], [well, 0.0], atol=1e-3)
    np.testing.assert_allclose(_settled(two, [-0.1, 0.0])[-1], [-well, 0.0], atol=1e-3)
    np.testing.assert_allclose(_settled(Duffing(-0.5, 1.0), [2.0, 0.0])[-1], [0.0, 0.0], atol=1e-3)


def test_one_step_is_that_of_the_equations() -> None:
    x, v, h = 0.7, -1.2, 0.04
    z = np.array([x, v])
    hopf = [x + v * h, v + (-x + (0.9 - x**2) * v) * h]
    np.testing.assert_allclose(HopfVanDerPol(0.9).advance(z), hopf, rtol=1e-12)
    duffing = [x + v * h, v + (-0.3 * v - x * (-0.8 + 0.1 * x**2)) * h]
    np.testing.assert_allclose(Duffing(-0.3, -0.8).advance(z), duffing, rtol=1e-12)


@pytest.mark.parametrize("scaling", ["sqrt_dt", "dt"])
def test_the_noise_of_a_step_has_its_stated_deviation_in_each_coordinate(scaling: str) -> None:
    system, z0 = Duffing(-0.3, 0.7), np.tile([1.0, 0.5], (4000, 1))
    path = simulate_latents(system, z0, 2, rng=np.random.default_rng(1), noise_scaling=scaling)
    noise = path[:, 1] - system.advance(z0)
    expected = {"sqrt_dt": 0.1, "dt": 0.02}[scaling]
    assert noise_per_step(0.04, scaling=scaling) == pytest.approx(expected)
    np.testing.assert_allclose(noise.std(0), expected, rtol=0.05)
    assert abs(np.corrcoef(noise.T)[0, 1]) < 0.05


def test_a_system_that_diverges_is_refused() -> None:
    with pytest.raises(ValueError, match="diverges"), np.errstate(all="ignore"):
        simulate_latents(Duffing(3.0, -1.0), np.ones((1, 2)), 2000, rng=np.random.default_rng(0))
