"""Pictures: written whole, small, and drawable for every kind of session."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.decoding.session_decoder import Decoded, decode_session
from nwb_latents.pipeline.evaluation.figures.velocity import draw_summary, draw_trajectories, draw_velocity
from nwb_latents.pipeline.stores.session import session_in_memory
from nwb_latents.schemas.decoding import DecodeSettings
from nwb_latents.schemas.measurement import Measurement


@pytest.fixture(scope="module")
def decoded(make_session):
    trials, continuous = make_session()
    rates = trials["rates"].values[trials["split"].values == "test"]
    return decode_session(
        session_in_memory(trials, continuous),
        DecodeSettings(),
        reconstruction=rates,
        forecast=rates[:, 13:33],
        run="mdssm-1",
    )


def texts(path, draw, monkeypatch):
    """Draw, and return all the words in the picture."""
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    drawn = []
    save = Figure.savefig

    def spy(figure, *args, **kwargs):
        save(figure, *args, **kwargs)
        drawn.extend(text.get_text() for text in figure.findobj(Text))

    monkeypatch.setattr(Figure, "savefig", spy)
    draw(path)
    return " | ".join(drawn)


def is_small_png(path):
    content = path.read_bytes()
    return (
        content.startswith(b"\x89PNG")
        and content.rstrip().endswith(b"IEND\xaeB`\x82")
        and len(content) < 1_500_000
    )


@pytest.mark.parametrize("draw", [draw_velocity, draw_trajectories])
def test_picture_names_session_run_trials_and_definition(tmp_path, decoded, draw, monkeypatch):
    path = tmp_path / "new folder" / "picture.png"
    words = texts(path, lambda p: draw(p, decoded), monkeypatch)
    for word in (
        "sub-A_ses-CO-20200101",
        "mdssm-1",
        "8 test trials",
        "r2_uniform",
        "100 ms",
        "forecast decoded as rates are",
        "cm",
    ):
        assert word in words
    assert is_small_png(path)
    assert [p.name for p in path.parent.iterdir()] == ["picture.png"]


def test_velocity_has_axes_with_units_and_the_r2_of_each(tmp_path, decoded, monkeypatch):
    words = texts(tmp_path / "v.png", lambda p: draw_velocity(p, decoded), monkeypatch)
    assert "velocity (cm/s)" in words
    assert f"recorded rates, R² of y {decoded.scores[0].per_axis[1]:.2f}" in words


def test_kinematics_that_are_no_length_stand_in_their_own_unit_at_the_axes(tmp_path, decoded, monkeypatch):
    joint = replace(decoded, decoder=replace(decoded.decoder, velocity_unit="degrees/s"))
    assert "velocity (degrees/s)" in texts(tmp_path / "v.png", lambda p: draw_velocity(p, joint), monkeypatch)
    paths = texts(tmp_path / "t.png", lambda p: draw_trajectories(p, joint), monkeypatch)
    assert "displacement (degrees)" in paths


@pytest.mark.parametrize(
    ("conditions", "named"), [(8, ["c0", "c7"]), (100, [" conditions"]), (0, [])], ids=["few", "many", "none"]
)
@pytest.mark.parametrize("axes", [1, 2, 3])
def test_every_kind_of_session_can_be_drawn(tmp_path, make_session, conditions, named, axes, monkeypatch):
    trials, continuous = make_session(n_trials=80)
    names = [f"c{i % conditions}" if conditions else "" for i in range(80)]
    trials = trials.assign_coords(
        condition=("trial", np.array(names, dtype=object)), target_dir=("trial", np.full(80, np.nan))
    )
    trials = trials.isel(axis=np.resize([0, 1], axes))
    continuous = continuous.isel(axis=np.resize([0, 1], axes))
    session = decode_session(session_in_memory(trials, continuous), DecodeSettings())
    words = texts(tmp_path / "t.png", lambda p: draw_trajectories(p, session), monkeypatch)
    assert all(name in words for name in named if name != "c7" or "c7" in session.decoder.condition)
    draw_velocity(tmp_path / "v.png", session)
    assert is_small_png(tmp_path / "v.png")


def test_trials_with_missing_bins_are_left_out_of_the_paths(tmp_path, make_session, monkeypatch):
    trials, continuous = make_session()
    continuous = continuous.copy(deep=True)
    first_test = np.flatnonzero(trials["split"].values == "test")[0]
    continuous["velocity"][int(trials["start_bin"][first_test]) + 10] = np.nan
    session = decode_session(session_in_memory(trials, continuous), DecodeSettings())
    words = texts(tmp_path / "t.png", lambda p: draw_trajectories(p, session), monkeypatch)
    assert "recorded, 7 trials" in words
    draw_velocity(tmp_path / "v.png", session)


def test_drawing_leaves_matplotlib_as_it_was(tmp_path, decoded):
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    draw_velocity(tmp_path / "v.png", decoded)
    assert dict(mpl.rcParams) == before


def test_equal_pictures_are_equal_files(tmp_path, decoded):
    draw_velocity(tmp_path / "a.png", decoded)
    draw_velocity(tmp_path / "b.png", decoded)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def summary_score(**changes):
    fields = {
        "session": "a",
        "recipe_id": "20ms-0",
        "name": "velocity_r2",
        "source": "rates",
        "lag_ms": 100.0,
        "value": 0.5,
        "definition": "r2_uniform",
        "split": "test",
        "n_trials": 30,
        "n_samples": 900,
        "decoder": "ridge",
    }
    return Measurement(**(fields | changes))


def test_summary_shows_every_series_and_what_it_left_out(tmp_path, monkeypatch):
    scores = [
        summary_score(),
        summary_score(session="b", n_trials=41),
        summary_score(run="m1", source="forecast", value=-7.25),
        summary_score(run="m1", source="reconstruction", value=None),
        summary_score(run="m2", source="reconstruction", value=0.9),
    ]
    words = texts(tmp_path / "s.png", lambda p: draw_summary(p, scores), monkeypatch)
    for word in (
        "rates",
        "forecast of m1",
        "reconstruction of m2",
        "−7.25",
        "30 to 41 test trials",
        "r2_uniform",
        "2 sessions",
        "1 scores undefined",
    ):
        assert word in words
    assert is_small_png(tmp_path / "s.png")


def test_summary_of_many_sessions_stays_small(tmp_path):
    draw_summary(tmp_path / "s.png", [summary_score(session=f"s{i:03}") for i in range(150)])
    assert is_small_png(tmp_path / "s.png")


def test_nothing_to_draw_is_refused(tmp_path, decoded):
    with pytest.raises(DataError, match="no scores"):
        draw_summary(tmp_path / "s.png", [])
    with pytest.raises(DataError, match="no signal"):
        draw_velocity(tmp_path / "v.png", Decoded(decoder=decoded.decoder, signals=()))


def test_a_folder_in_place_of_a_picture_is_named_and_nothing_is_left(tmp_path, decoded):
    (tmp_path / "v.png").mkdir()
    with pytest.raises(DataError, match=r"v\.png is a folder"):
        draw_velocity(tmp_path / "v.png", decoded)
    assert [p.name for p in tmp_path.iterdir()] == ["v.png"]
