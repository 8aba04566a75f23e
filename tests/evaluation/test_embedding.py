"""Embeddings: table, grids, lines, interpolation of a system that is known."""

import json

import numpy as np
import pytest
import xarray as xr

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.decoding.ridge import fit_ridge
from nwb_latents.pipeline.evaluation.embedding import (
    embedding_grid,
    embedding_line,
    embedding_table,
    interpolate,
)
from nwb_latents.pipeline.stores.session import session_in_memory


class Spiral:
    """``f(z, e) = e₁ R z``: a rotation by a right angle, scaled by the embedding; rates are the states."""

    name = "spiral"
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])

    def __init__(self, embedding_dim=2):
        self.embedding_dim = embedding_dim

    def embedding(self, session):
        mean = np.full(self.embedding_dim, float(session.trials["rates"].mean()))
        return mean, 0.25 * np.ones(self.embedding_dim)

    def states(self, session):
        return session.trials["rates"].values

    def roll_out(self, session, z0, *, n_bins, embeddings):
        out = np.empty((len(embeddings), len(z0), n_bins, 2))
        for row, e in enumerate(embeddings):
            state = np.asarray(z0, dtype=float)
            for k in range(n_bins):
                out[row, :, k] = state
                state = e[0] * state @ self.turn.T
        return out, 10 * out

    def step(self, states, embedding):
        return embedding[0] * np.asarray(states) @ self.turn.T


def make_session(n_trials=6, *, session="s", subject="A", task="CO", **attrs):
    rng = np.random.default_rng(0)
    trials = xr.Dataset(
        {"rates": (("trial", "time", "unit"), rng.normal(size=(n_trials, 8, 2)))},
        coords={
            "time": 0.02 * np.arange(-2, 6), "unit": [7, 9], "axis": ["x", "y"],
            "condition": ("trial", np.array(["right", "up"] * (n_trials // 2), dtype=object)),
            "target_dir": ("trial", np.array([2 * np.pi - 1e-9, np.pi / 2] * (n_trials // 2))),
        },
        attrs={"session": session, "subject": subject, "task": task, "bin_size_s": 0.02},
    )  # fmt: skip
    return session_in_memory(trials).with_trials(trials.assign_attrs(attrs))


def test_the_table_holds_posterior_subject_task_and_every_number():
    quality = json.dumps({"decodability": 0.8, "rates": {"drift": 0.1}, "flags": [], "odd": None})
    sessions = [
        make_session(session="s1", quality=quality, day=3, schema_version=2),
        make_session(4, session="s2", subject="B", task="RT"),
    ]
    table = embedding_table(Spiral(), sessions, parameters={"s2": {"omega": 5.0}})
    mean, variance = Spiral().embedding(sessions[0])
    assert table["mean"].sel(session="s1").values.tolist() == mean.tolist()
    assert table["variance"].dims == ("session", "embedding")
    assert variance.tolist() == table["variance"].sel(session="s2").values.tolist()
    assert table["subject"].values.tolist() == ["A", "B"]
    assert table["task"].values.tolist() == ["CO", "RT"]
    one = table.sel(session="s1")
    assert (float(one["decodability"]), float(one["rates_drift"]), float(one["day"])) == (0.8, 0.1, 3.0)
    assert table["n_trials"].values.tolist() == [6.0, 4.0]
    np.testing.assert_array_equal(table["omega"].values, [np.nan, 5.0])
    assert not {"schema_version", "odd", "flags"} & set(table.variables)


def test_grids_and_lines():
    grid = embedding_grid([1.0, 2.0, 3.0], size=3, spacing=0.5)
    assert grid.shape == (3, 3, 3)
    assert grid[1, 1].tolist() == [1.0, 2.0, 3.0]
    assert grid[2, 0].tolist() == [1.5, 1.5, 3.0]
    assert embedding_grid([1.0], size=5).shape == (5, 1, 1)
    line = embedding_line([0.0, 1.0], [1.0, 3.0], size=3)
    assert line[:, 0].tolist() == [[0.0, 1.0], [0.5, 2.0], [1.0, 3.0]]


def test_each_embedding_rolls_out_from_the_mean_state_of_the_condition():
    session = make_session()
    trials = session.trials
    ridge = fit_ridge(np.eye(2), 3 * np.eye(2), alpha=1e-12)
    embeddings = embedding_grid([1.0, 0.0], size=3, spacing=0.5)
    made = interpolate(Spiral(), session, embeddings=embeddings, decoder=ridge, start_bin=2)
    assert made["condition"].values.tolist() == ["right", "up"]
    assert made["latents"].dims == ("grid0", "grid1", "condition", "time", "latent")
    assert made["time"].values.tolist() == trials["time"].values[2:].tolist()
    start = trials["rates"].values[trials["condition"].values == "up", 2].mean(axis=0)
    np.testing.assert_allclose(made["start"].sel(condition="up"), start)
    for i in range(3):
        for j in range(3):
            state = start
            for k in range(6):
                np.testing.assert_allclose(made["latents"].values[i, j, 1, k], state)
                np.testing.assert_allclose(made["rates"].values[i, j, 1, k], 10 * state)
                state = embeddings[i, j, 0] * Spiral.turn @ state
    np.testing.assert_allclose(made["velocity"], ridge.predict(made["rates"]))
    np.testing.assert_allclose(made["position"], 0.02 * made["velocity"].cumsum("time"))
    assert made["rates"].attrs["units"] == "Hz"
    assert made["position"].attrs["units"] == "cm"


def test_with_one_dimension_grids_are_lines():
    made = interpolate(Spiral(1), make_session(), embeddings=embedding_grid([1.0]))
    assert (made.sizes["grid0"], made.sizes["grid1"]) == (3, 1)
    assert "velocity" not in made


def test_wrong_uses_are_refused():
    shared = Spiral(0)
    with pytest.raises(DataError, match="no embedding: its dynamics are the same for all"):
        embedding_table(shared, [make_session()])
    with pytest.raises(DataError, match="no embedding"):
        interpolate(shared, make_session(), embeddings=np.zeros((1, 1, 1)))
    with pytest.raises(DataError, match="no session"):
        embedding_table(Spiral(), [])
    with pytest.raises(DataError, match="a bin below 8"):
        interpolate(Spiral(), make_session(), embeddings=np.zeros((1, 1, 2)), start_bin=8)
    with pytest.raises(DataError, match=r"expected \(grid, grid, 2\)"):
        interpolate(Spiral(), make_session(), embeddings=np.zeros((1, 1, 3)))
