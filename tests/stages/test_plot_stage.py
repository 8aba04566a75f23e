"""Pictures of a catalog: one folder for each choice of settings, what is drawn, and what is refused."""

from __future__ import annotations

import shutil

import pytest
import yaml
from evaluation.figures.figure_rules import caption_of, check

import nwb_latents as nl
from nwb_latents.pipeline.errors import DataError, PartialFailure, SettingsError, UsageError
from nwb_latents.pipeline.stages.decode import decode
from nwb_latents.pipeline.stages.decode_pictures import pictures_folder
from nwb_latents.pipeline.stages.picture_folder import of_sessions, picture_settings, settings_folder
from nwb_latents.pipeline.stages.plot import KINDS, plot
from nwb_latents.pipeline.stages.train import train
from nwb_latents.schemas.decoding import DecodeSettings
from nwb_latents.schemas.events import PictureEvent
from nwb_latents.schemas.pictures import PictureSettings, PlotSettings
from nwb_latents.schemas.training import TrainSettings

TINY = {
    "model": {
        "latent_dim": 3, "rank": 1, "dynamics_width": 8, "hyper_width": 8, "encoder_width": 8,
        "read_in": {"hidden": 8, "width": 4},
    },
    "batch": {"trials_per_session": 8},
    "max_steps": 4, "validate_every": 2, "checkpoint_every": 2,
    "device": "cpu",
}  # fmt: skip
SVG = PictureSettings(formats=("svg",))
A, B = "sub-A_ses-CO-1", "sub-B_ses-CO-1"


@pytest.fixture(scope="module")
def made_once(tmp_path_factory, make_reaches, as_recording, enter_recording):
    """A catalog of two sessions, a run that knows both, and its scores."""
    catalog = tmp_path_factory.mktemp("plot") / "catalog.yaml"
    for number, subject in enumerate("AB"):
        recording = as_recording(make_reaches(n_trials=40, n_units=6 + number, seed=number))
        enter_recording(catalog, recording, subject=subject)
    train(catalog, TrainSettings.model_validate(TINY), run_name="tiny")
    return catalog.parent


@pytest.fixture
def catalog(made_once, tmp_path):
    return shutil.copytree(made_once, tmp_path / "work") / "catalog.yaml"


def drawn(catalog):
    """Return the pictures of a catalog, by where they lie."""
    return {file: file.read_bytes() for file in (catalog.parent / "results").rglob("*.svg")}


@pytest.mark.parametrize("kind", ["raster", "psth", "onsets"])
def test_each_session_has_its_picture_beside_its_settings(catalog, kind):
    events = []
    files = plot(catalog, kind, PlotSettings(n_units=2), pictures=SVG, report=events.append)
    assert [file.name for file in files] == [f"{A}.svg", f"{B}.svg"]
    (folder,) = {file.parent for file in files}
    assert folder.name.startswith(f"{kind}-")
    assert yaml.safe_load((folder / "settings.yaml").read_text())["n_units"] == 2
    pictures = [event for event in events if isinstance(event, PictureEvent)]
    assert [event.paths for event in pictures] == [(str(file),) for file in files]


def test_other_settings_leave_the_first_picture_and_the_same_replace_it(catalog):
    def again(**values):
        plot(catalog, "psth", PlotSettings(**values), sessions=[A], pictures=SVG)

    again(n_units=2)
    first = drawn(catalog)
    again(n_units=3)
    assert first.items() <= drawn(catalog).items()
    assert len(drawn(catalog)) == 2
    again(n_units=2)
    assert first.items() <= drawn(catalog).items()
    assert len(drawn(catalog)) == 2


def test_a_decoding_with_another_lag_leaves_the_pictures_of_the_first(catalog):
    first, second = (
        DecodeSettings(lag_ms=lag, sources=("rates",), n_permutations=0) for lag in (100.0, 60.0)
    )
    decode(catalog, first, sessions=[A], pictures=SVG)
    before = drawn(catalog)
    decode(catalog, second, sessions=[A], pictures=SVG)
    assert before.items() <= drawn(catalog).items()
    assert len(drawn(catalog)) == 2 * len(before) == 8
    assert {file.parent.name for file in drawn(catalog)} == {pictures_folder(first), pictures_folder(second)}
    decode(catalog, first, sessions=[A], pictures=SVG)
    assert before.items() <= drawn(catalog).items()


def test_every_setting_tells_folders_apart():
    one = settings_folder("x", DecodeSettings())
    assert one != settings_folder("x", DecodeSettings(beside=("hold_last",)))
    assert one != settings_folder("x", DecodeSettings(), unseen_trials=True)
    assert one == settings_folder("x", DecodeSettings(), unseen_trials=False)


def test_a_picture_of_some_sessions_does_not_take_the_name_of_that_of_all():
    names = {of_sessions("summary", part, known="abc") for part in ("a", "b", "ab", "abc")}
    assert len(names) == 4
    assert "summary" in names


@pytest.mark.parametrize(
    ("formats", "dpi", "says"),
    [
        (["jpg"], None, "--format jpg: expected png, pdf or svg"),
        (["png,"], None, r"--format \(empty\): expected png"),
        ([], 10, "--dpi 10: expected a whole number from 50 to 1200"),
        ([], 5000, "--dpi 5000: expected"),
    ],
)
def test_a_format_or_resolution_that_cannot_be_had_is_told_with_those_that_can(formats, dpi, says):
    with pytest.raises(SettingsError, match=says):
        picture_settings(formats, dpi)


def test_formats_are_words_or_lists():
    assert picture_settings(["png,SVG", "pdf", "png"], 600) == PictureSettings(
        formats=("png", "svg", "pdf"), dpi=600
    )
    assert picture_settings([], None) == PictureSettings()


def test_what_cannot_be_drawn_fails_alone_and_says_why(catalog):
    events = []
    with pytest.raises(PartialFailure, match="2 pictures could not be drawn") as failure:
        plot(catalog, "raster", PlotSettings(units=(6,)), pictures=SVG, report=events.append)
    assert "has no unit" in str(failure.value)
    assert {event.status for event in events if isinstance(event, PictureEvent)} == {"failed"}
    with pytest.raises(UsageError, match="plot rastr: expected one of raster, psth"):
        plot(catalog, "rastr", PlotSettings())
    with pytest.raises(PartialFailure, match="pipeline run forecast --run tiny"):
        plot(catalog, "forecast", PlotSettings(), runs=["tiny"])
    with pytest.raises(PartialFailure, match="No velocity was scored at lag_ms 100; lags that were: none"):
        plot(catalog, "scores", PlotSettings())
    with pytest.raises(PartialFailure, match="pipeline run align --run tiny"):
        plot(catalog, "few-shot", PlotSettings(), runs=["tiny"])


@pytest.mark.parametrize("kind", ["latents", "training", "velocity", "paths"])
def test_runs_are_drawn_from_their_weights_and_logs(catalog, kind):
    settings = PlotSettings(split="test")
    files = plot(catalog, kind, settings, runs=["tiny"], sessions=[A], pictures=SVG, device="cpu")
    assert [file.name for file in files] == ["runs.svg" if kind == "training" else f"{A}_tiny.svg"]
    assert b"tiny" in files[0].read_bytes()


def test_functions_return_the_figures_that_are_written(catalog):
    figures = [
        nl.plot.raster(catalog, A, n_units=2),
        nl.plot.psth(str(catalog), A, units=[101, 100]),
        nl.plot.onsets(catalog, A),
        nl.plot.latents(catalog, "tiny", A, device="cpu"),
        nl.plot.training(catalog),
        nl.plot.velocity(catalog, A, lag_ms=60),
        nl.plot.paths(catalog, A, run="tiny", device="cpu"),
    ]
    for figure in figures:
        check(figure)
    assert "2 of 6 units, chosen by id" in caption_of(figures[1])
    assert "60 ms after the activity" in caption_of(figures[5])
    files = plot(catalog, "onsets", PlotSettings(), sessions=[A], pictures=SVG)
    nl.plot.onsets(catalog, A).savefig(catalog.parent / "mine.svg", metadata={"Date": None, "Creator": None})
    assert (catalog.parent / "mine.svg").read_bytes() == files[0].read_bytes()


def test_scores_are_drawn_from_what_was_kept(catalog):
    nl.decode(catalog, sources=["rates"], n_permutations=0)
    figure = check(nl.plot.scores(catalog))
    assert "2 sessions" in caption_of(figure)
    with pytest.raises(DataError, match="lag_ms 60; lags that were: 100"):
        nl.plot.scores(catalog, lag_ms=60)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda c: nl.plot.raster(c, "sub-*"), "matches 2 sessions"),
        (lambda c: nl.plot.raster(c, A, units="ab"), r"plot\.raster\(units='ab'\): expected ids of units"),
        (lambda c: nl.plot.raster(c, A, n_units=99), r"plot\.raster\(n_units=99\)"),
        (lambda c: nl.plot.psth(c, A, split="tset"), r"plot\.psth\(split='tset'\)"),
        (lambda c: nl.plot.psth(c, A, unit=[3]), r"psth\(\): no argument 'unit'; did you mean units"),
        (lambda c: nl.plot.latents(c, "tinny", A), "No run is called tinny. Did you mean tiny"),
        (lambda c: nl.plot.velocity(c, A, lag_ms=50), "lag_ms 50"),
        (lambda c: nl.plot.onsets(c.parent, A), "is a folder; expected the catalog file"),
    ],
)
def test_an_argument_that_does_not_fit_is_told_with_what_does(catalog, call, says):
    with pytest.raises((DataError, SettingsError, PartialFailure), match=says):
        call(catalog)


def test_every_kind_has_a_function():
    assert {kind.replace("-", "_") for kind in KINDS} == set(nl.plot.__all__)
