"""Pictures of a catalog: one folder for each choice of settings, what is drawn, and what is refused."""

from __future__ import annotations

import ast
import json
import shutil
from pathlib import Path

import pytest
import yaml
from evaluation.figures.figure_rules import caption_of, check
from typer.testing import CliRunner

import nwb_latents as nl
from nwb_latents.pipeline.cli.main import app
from nwb_latents.pipeline.errors import DataError, PartialFailure, PipelineError, SettingsError, UsageError
from nwb_latents.pipeline.stages import plot_figures
from nwb_latents.pipeline.stages.current_numbers import sorted_out
from nwb_latents.pipeline.stages.decode import decode
from nwb_latents.pipeline.stages.decode_pictures import pictures_folder
from nwb_latents.pipeline.stages.export import export
from nwb_latents.pipeline.stages.picture_folder import of_sessions, picture_settings, settings_folder
from nwb_latents.pipeline.stages.plot import KINDS, TAKES, plot
from nwb_latents.pipeline.stages.recut import recut
from nwb_latents.pipeline.stages.train import train
from nwb_latents.pipeline.stores.catalog import read_catalog
from nwb_latents.pipeline.stores.measurements import read_measurements
from nwb_latents.schemas.decoding import DecodeSettings
from nwb_latents.schemas.events import NoteEvent, PictureEvent
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
    settings = PlotSettings(n_units=2) if kind != "onsets" else PlotSettings()
    files = plot(catalog, kind, settings, pictures=SVG, report=events.append)
    assert [file.name for file in files] == [f"{A}.svg", f"{B}.svg"]
    (folder,) = {file.parent for file in files}
    assert folder.name.startswith(f"{kind}-")
    assert yaml.safe_load((folder / "settings.yaml").read_text())["n_units"] == settings.n_units
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
    settings = PlotSettings(split="test") if kind == "latents" else PlotSettings()
    of_run = {} if kind == "training" else {"sessions": [A], "device": "cpu"}
    files = plot(catalog, kind, settings, runs=["tiny"], pictures=SVG, **of_run)
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


@pytest.mark.parametrize(
    ("kind", "given", "said"),
    [
        ("onsets", {"runs": ["nosuchrun"]}, "--run"),
        ("onsets", {"settings": PlotSettings(units=(99999,))}, "--unit"),
        ("session-quality", {"settings": PlotSettings(lag_ms=7)}, "--lag-ms"),
        ("raster", {"device": "cpu"}, "--device"),
        ("velocity", {"settings": PlotSettings(split="val")}, "--split"),
        ("training", {"sessions": ["sub-*"]}, "--session"),
        ("few-shot", {"settings": PlotSettings(n_units=3)}, "--set n_units"),
        ("scores", {"settings": PlotSettings(decoder="ridge")}, "--set decoder"),
    ],
)
def test_what_decides_nothing_of_a_picture_is_refused(catalog, kind, given, said):
    with pytest.raises(UsageError, match=f"plot {kind}: {said} decides nothing of this picture. It takes --"):
        plot(catalog, kind, **{"settings": PlotSettings(), **given})
    assert not drawn(catalog)


def test_every_kind_says_what_it_takes():
    assert set(TAKES) == set(KINDS)
    asked = {name for takes in TAKES.values() for name in takes}
    assert asked == {"sessions", "runs", "recipe_id", "device", *PlotSettings.model_fields}


def test_a_run_of_another_recipe_than_was_asked_for_is_refused(catalog):
    with pytest.raises(DataError, match=r"Run tiny is of recipe .* --recipe-id 5ms"):
        plot(catalog, "training", PlotSettings(), runs=["tiny"], recipe_id="5ms")


def test_scores_are_of_the_sessions_and_runs_asked_for_which_the_name_says(catalog):
    nl.decode(catalog, runs="tiny", n_permutations=0, device="cpu")
    nl.decode(catalog, sources=["rates"], n_permutations=0)
    every, one = (
        plot(catalog, "scores", PlotSettings(), sessions=sessions, pictures=SVG) for sessions in (["*"], [A])
    )
    assert every[0].name == "scores.svg"
    assert one[0].name.startswith("scores_1-of-2-sessions-")
    assert "1 session," in caption_of(nl_scores(catalog, sessions=[A]))
    assert "2 sessions" in caption_of(nl_scores(catalog))
    with pytest.raises(DataError, match="No run is called nosuchrun"):
        plot(catalog, "scores", PlotSettings(), runs=["nosuchrun"])


def nl_scores(catalog, **which):
    recipe_id = next(iter(read_catalog(catalog).sessions.values())).recipe_id
    return plot_figures.scores(catalog, PlotSettings(), recipe_id, **which)


def make_anew(catalog, *sessions):
    """Say in the catalog that the stores of sessions were made anew."""
    content = yaml.safe_load(catalog.read_text())
    for entry in content["sessions"].values():
        entry["store_key"] = "another" if entry["session"] in sessions else entry["store_key"]
    catalog.write_text(yaml.safe_dump(content))


def test_stale_numbers_are_counted_where_they_are_left_out(catalog):
    nl.decode(catalog, sources=["rates"], n_permutations=0)
    make_anew(catalog, B)
    events = []
    plot(catalog, "scores", PlotSettings(), pictures=SVG, report=events.append)
    notes = [event.text for event in events if isinstance(event, NoteEvent)]
    assert any("1 stale number left out (its store was made anew): measure again" in text for text in notes)
    assert "1 stale number left out" in " ".join(caption_of(check(nl.plot.scores(catalog))).split())
    make_anew(catalog, A, B)
    with pytest.raises(
        DataError, match=r"what was measured is stale \(its store was made anew\).*Decode again"
    ):
        nl.plot.scores(catalog)


def test_stale_forecasts_are_counted_or_refused_by_their_cause(catalog):
    nl.forecast(catalog, runs="tiny", device="cpu")
    check(nl.plot.forecast(catalog, "tiny"))
    make_anew(catalog, B)
    assert "left out (its store was made anew)" in " ".join(
        caption_of(nl.plot.forecast(catalog, "tiny")).split()
    )
    make_anew(catalog, A, B)
    with pytest.raises(DataError, match="Forecasts of run tiny: what was measured is stale"):
        nl.plot.forecast(catalog, "tiny")


def test_numbers_that_do_not_say_of_which_store_they_are_are_counted(catalog):
    nl.decode(catalog, sources=["rates"], n_permutations=0)
    table = read_measurements(catalog)
    table["store_key"] = ""
    found = sorted_out(table, read_catalog(catalog))
    assert found.n_unknown == len(table) == len(found.measurements)
    assert "do not say of which store and run they are, and may be stale" in found.said[0]


def copied_run(catalog, name):
    """Enter a copy of the run under another name, with a key of its own."""
    content = yaml.safe_load(catalog.read_text())
    entry = {**content["runs"]["tiny"], "run": name, "path": f"runs/{name}", "run_key": "f" * 64}
    folder = shutil.copytree(catalog.parent / "runs" / "tiny", catalog.parent / "runs" / name)
    config = folder / "config.yaml"
    of_copy = {**yaml.safe_load(config.read_text()), "run": name, "run_key": "f" * 64}
    config.write_text(yaml.safe_dump(of_copy))
    content["runs"][name] = entry
    catalog.write_text(yaml.safe_dump(content))
    return folder


def test_curves_of_another_run_are_not_drawn_under_this_name(catalog):
    first, second = catalog.parent / "runs" / "tiny", copied_run(catalog, "other")
    first.rename(first.with_name("aside"))
    second.rename(first)
    first.with_name("aside").rename(second)
    with pytest.raises(DataError, match=r"no run can be drawn.* tiny: .*its files are of the run f{64}"):
        nl.plot.training(catalog)


@pytest.mark.parametrize("lost", ["metrics.jsonl", "config.yaml", "."])
def test_a_run_without_curves_is_named_and_not_counted(catalog, lost):
    folder = copied_run(catalog, "other")
    if lost == ".":
        shutil.rmtree(folder)
    else:
        (folder / lost).unlink()
    with pytest.raises(PartialFailure, match=r"other: .*Train it again") as failure:
        plot(catalog, "training", PlotSettings(), pictures=SVG)
    assert [file.name for file in failure.value.results] == ["runs.svg"]
    said = caption_of(check(nl.plot.training(catalog)))
    assert "n = 1 run:" in said
    assert "nothing is drawn: other" in said


def test_stores_that_were_exchanged_are_not_drawn(catalog):
    entries = {entry.session: entry for entry in read_catalog(catalog).sessions.values()}
    first, second = (catalog.parent / entries[name].store for name in (A, B))
    first.rename(first.with_name("aside"))
    second.rename(first)
    first.with_name("aside").rename(second)
    opened = {
        "plot": lambda: plot(catalog, "onsets", PlotSettings(), sessions=[A], pictures=SVG),
        "open_session": lambda: nl.open_session(catalog, A),
        "decode": lambda: nl.decode(catalog, sessions=A, sources=["rates"], n_permutations=0),
        "export": lambda: export(catalog, "lfads", sessions=[A]),
        "train": lambda: train(catalog, TrainSettings.model_validate(TINY), run_name="new", sessions=[A]),
        "catalog show": lambda: _shown(catalog, A),
        "recut": lambda: recut(catalog, ["align_to=go_cue"], sessions=[A]),
    }
    for open_it in opened.values():
        with pytest.raises(PipelineError) as refused:
            open_it()
        said = f"{refused.value} {getattr(refused.value, 'failures', '')}"
        assert f"another store than the catalog's, of {B}" in said


def _shown(catalog, name):
    """Raise what `catalog show` says of a session, which it shows all the same."""
    done = CliRunner().invoke(app, ["catalog", "show", name, "--catalog", str(catalog), "--json"])
    found = [json.loads(line) for line in done.stdout.splitlines()]
    (event,) = [each for each in found if each["event"] == "session"]
    assert event["status"] == "missing"
    raise DataError(" ".join(each["text"] for each in found if each["event"] == "note"))


def test_stores_and_runs_of_a_catalog_are_opened_with_their_entries():
    asked = {
        "open_session": "entry",
        "open_store": "entry",
        "training_session": "entry",
        "load_run": "run_key",
    }
    root = Path(plot_figures.__file__).parents[1]
    found = []
    for path in (*root.glob("stages/*.py"), root / "api" / "opened_catalog.py", *root.glob("cli/*.py")):
        for call in ast.walk(ast.parse(path.read_text())):
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
                continue
            wanted = asked.get(call.func.id)
            if wanted and wanted not in {word.arg for word in call.keywords}:
                found.append(f"{path.name}:{call.lineno}")
    # A method of the same name, and trainings, which look at all of their stores before they begin.
    assert {each.partition(":")[0] for each in found} <= {"opened_catalog.py", "train_model.py"}


def test_every_kind_has_a_function():
    assert {kind.replace("-", "_") for kind in KINDS} == set(nl.plot.__all__)
