"""Pictures around embeddings can be drawn for every shape of them, and say what they show."""

import numpy as np
import pytest
import xarray as xr

from nwb_latents.pipeline.errors import DataError, SettingsError
from nwb_latents.pipeline.evaluation.figures.embedding import draw_embedding, draw_flow, draw_interpolation


def make_table(n_dims, n_sessions=5):
    rng = np.random.default_rng(0)
    return xr.Dataset(
        {
            "mean": (("session", "embedding"), rng.normal(size=(n_sessions, n_dims))),
            "variance": (("session", "embedding"), np.ones((n_sessions, n_dims))),
            "omega": ("session", np.where(np.arange(n_sessions) == 0, np.nan, np.arange(n_sessions))),
        },
        coords={
            "session": [f"s{i}" for i in range(n_sessions)],
            "subject": ("session", [f"m{i % 2}" for i in range(n_sessions)]),
            "task": ("session", ["CO"] * n_sessions),
        },
        attrs={"run": "mdssm-1"},
    )


def make_interpolation(shape, *, n_axes=2, n_conditions=3):
    rng = np.random.default_rng(0)
    dims = ("grid0", "grid1", "condition", "time", "axis")
    return xr.Dataset(
        {
            "position": (dims, rng.normal(size=(*shape, n_conditions, 6, n_axes)).cumsum(3)),
            "embedding_value": (("grid0", "grid1", "embedding"), rng.normal(size=(*shape, 2))),
        },
        coords={
            "condition": [f"c{i}" for i in range(n_conditions)],
            "n_trials": ("condition", np.arange(4, 4 + n_conditions)),
            "time": 0.02 * np.arange(6),
            "axis": ["x", "y", "z"][:n_axes],
        },
        attrs={"run": "mdssm-1", "session": "sub-A", "bin_size_s": 0.02, "lag_ms": 100.0},
    )


def make_field(n_points=5):
    x = np.linspace(-1, 1, n_points)
    rng = np.random.default_rng(0)
    return xr.Dataset(
        {
            "vector": (
                ("y", "x", "component"),
                rng.normal(size=(n_points, n_points, 2)),
            ),
            "speed": (("y", "x"), np.ones((n_points, n_points))),
            "trajectory": (
                ("condition", "time", "component"),
                rng.normal(size=(2, 9, 2)),
            ),
            "embedding_value": (("embedding",), np.array([-0.001, 0.5])),
        },
        coords={"x": x, "y": x, "component": ["PC 1", "PC 2"]},
    )


@pytest.fixture
def words(monkeypatch):
    """All the words of the pictures that are drawn."""
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    found = []
    save = Figure.savefig

    def spy(figure, *args, **kwargs):
        save(figure, *args, **kwargs)
        found.extend(text.get_text() for text in figure.findobj(Text))

    monkeypatch.setattr(Figure, "savefig", spy)
    return found


@pytest.mark.parametrize("n_dims", [1, 2, 3])
def test_embeddings_of_every_dimension_are_drawn_with_their_colours(tmp_path, words, n_dims):
    draw_embedding(tmp_path / "e.png", make_table(n_dims), colour_by=("subject", "task", "omega"))
    assert {"by subject", "by task", "by omega", "m0", "m1", "CO"} <= set(words)
    assert ("s0" in words) == (n_dims == 1)
    assert any("5 sessions, run mdssm-1" in word for word in words)


def test_an_unknown_colour_is_refused_with_those_there_are(tmp_path):
    with pytest.raises(SettingsError, match="colour_by mood: the table of sessions has omega, subject, task"):
        draw_embedding(tmp_path / "e.png", make_table(2), colour_by=("mood",))


@pytest.mark.parametrize(("shape", "n_axes"), [((3, 3), 2), ((5, 1), 2), ((3, 1), 1), ((1, 1), 3)])
def test_reaches_of_grids_and_lines_are_drawn(tmp_path, words, shape, n_axes):
    draw_interpolation(tmp_path / "i.png", make_interpolation(shape, n_axes=n_axes))
    text = " | ".join(words).replace("\n", " ")
    assert text.count("e = (") == shape[0] * shape[1]
    for word in ("sub-A", "mdssm-1", "displacement (cm)", "100 ms", "4 to 6 trials", "c0", "c2"):
        assert word in text


def test_many_conditions_are_counted_instead_of_named(tmp_path, words):
    draw_interpolation(tmp_path / "i.png", make_interpolation((1, 1), n_conditions=30))
    assert "30 conditions, coloured by name" in words
    assert "c29" not in words


def test_reaches_without_velocity_are_refused(tmp_path):
    with pytest.raises(DataError, match="no velocity was decoded"):
        draw_interpolation(tmp_path / "i.png", make_interpolation((1, 1)).drop_vars("position"))


def test_flow_fields_name_axes_embedding_and_what_the_shading_is(tmp_path, words):
    draw_flow(tmp_path / "f.png", [make_field(), make_field()], conditions=["a", "b"], title="sub-A")
    assert {
        "PC 1 (a.u.)",
        "PC 2 (a.u.)",
        "sub-A",
        "a",
        "b",
        "change of state per bin (a.u.)",
        "e = (0.00, 0.50)",
    } <= set(words)
    with pytest.raises(DataError, match="no flow field"):
        draw_flow(tmp_path / "f.png", [], conditions=[], title="")
