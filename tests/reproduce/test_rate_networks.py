"""Networks with planted dynamics have the dynamics they are named after."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.reproduce.systems.rate_networks import bistable, random_plane, rotation, simulate_rates


def test_planted_networks_do_what_they_are_named_after() -> None:
    rng = np.random.default_rng(0)
    plane = random_plane(20, rng=rng)
    lead = rotation(3.0, plane, gain=1.6).leading_eigenvalue()
    assert lead.imag == pytest.approx(2 * np.pi * 3.0)
    assert lead.real == pytest.approx(0.6 / 0.05)
    decayed = simulate_rates(rotation(3.0, plane, gain=0.5), 5, 100, plane=plane, rng=rng, noise=0.0)
    assert np.abs(decayed[:, -1]).max() < 1e-3
    axis = plane[:, 0]
    settled = simulate_rates(bistable(axis), 8, 300, plane=plane, rng=rng, noise=0.0)[:, -1]
    along = settled @ axis
    assert {np.sign(value) for value in along} == {-1.0, 1.0}
    np.testing.assert_allclose(np.abs(along), np.abs(along[0]), rtol=1e-4)
