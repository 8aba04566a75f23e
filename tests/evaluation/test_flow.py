"""Flow fields of linear maps, where everything is known."""

import numpy as np
import pytest

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.flow import flow_field, plane_of


class Linear:
    """``f(z, e) = A z + e₁ b``."""

    name = "linear"

    def __init__(self, matrix, shift):
        self.matrix, self.shift = np.asarray(matrix), np.asarray(shift)

    def step(self, states, embedding):
        return np.asarray(states) @ self.matrix.T + embedding[0] * self.shift


def test_in_two_dimensions_the_field_is_that_of_the_map():
    system = Linear([[0.5, 0.2], [-0.1, 0.9]], [1.0, -2.0])
    latents = np.random.default_rng(0).normal(size=(3, 10, 2))
    field = flow_field(system, [0.5], latents, n_points=7)
    assert field["component"].values.tolist() == ["z1", "z2"]
    for i, y in enumerate(field["y"].values):
        for j, x in enumerate(field["x"].values):
            change = (system.matrix - np.eye(2)) @ [x, y] + 0.5 * system.shift
            np.testing.assert_allclose(field["vector"].values[i, j], change, atol=1e-12)
            assert field["speed"].values[i, j] == pytest.approx(np.linalg.norm(change))
    np.testing.assert_allclose(field["trajectory"], latents)
    assert field.attrs["share"] == 1.0


def test_in_more_dimensions_vectors_are_projected_and_speed_is_whole():
    rng = np.random.default_rng(1)
    within, _ = np.linalg.qr(rng.normal(size=(5, 5)))
    flat = rng.normal(size=(4, 12, 2)) * [3.0, 1.0]
    latents = 7.0 + flat @ within[:2]
    system = Linear(0.5 * np.eye(5), 4.0 * within[2])
    field = flow_field(system, [1.0], latents, n_points=5)
    assert field.attrs["share"] == pytest.approx(1.0)
    plane = plane_of(latents)
    # The trajectories lie in the plane, so projecting and lifting gives them back.
    np.testing.assert_allclose(plane.lift(field["trajectory"].values), latents, atol=1e-9)
    states = plane.lift(np.stack(np.meshgrid(field["x"], field["y"]), -1))
    change = -0.5 * states + 4.0 * within[2]
    np.testing.assert_allclose(field["vector"], change @ plane.basis.T, atol=1e-9)
    np.testing.assert_allclose(field["speed"], np.linalg.norm(change, axis=-1), atol=1e-9)


def test_the_grid_covers_the_trajectories_and_a_margin():
    latents = np.array([[[0.0, 0.0], [4.0, 2.0]]])
    field = flow_field(Linear(np.eye(2), np.zeros(2)), [0.0], latents, margin=0.5)
    assert (field["x"].values[[0, -1]].tolist(), field["y"].values[[0, -1]].tolist()) == ([-2, 6], [-1, 3])
    assert field["speed"].values.max() == 0


def test_the_plane_holds_the_most_variance():
    rng = np.random.default_rng(2)
    latents = rng.normal(size=(500, 3)) * [0.1, 5.0, 1.0]
    plane = plane_of(latents)
    np.testing.assert_allclose(plane.basis, [[0, 1, 0], [0, 0, 1]], atol=0.02)
    variance = latents.var(axis=0)
    assert plane.share == pytest.approx(variance[1:].sum() / variance.sum(), abs=1e-3)


def test_fewer_than_two_dimensions_or_states_are_refused():
    with pytest.raises(DataError, match="at least two dimensions"):
        plane_of(np.zeros((3, 4, 1)))
    with pytest.raises(DataError, match="two different states"):
        plane_of(np.zeros((1, 1, 3)))
