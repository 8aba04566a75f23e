"""`import nwb_latents as nl`: light, and the same stages as the command line behind every name."""

from __future__ import annotations

import inspect
import json
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import nwb_latents as nl
from nwb_latents.pipeline.api.arguments import settings_of
from nwb_latents.pipeline.errors import CatalogWarning, DataError, SettingsError, UsageError
from nwb_latents.pipeline.stores.measurements import add_measurements
from nwb_latents.schemas.lfads import LFADSSettings
from nwb_latents.schemas.measurement import Measurement
from nwb_latents.schemas.training import TrainSettings

HEAVY = {
    "matplotlib",
    "torch",
    "zarr",
    "xarray",
    "numpy",
    "pandas",
    "scipy",
    "pydantic",
    "yaml",
    "distributed",
}
FUNCTIONS = {
    "align", "decode", "evaluate", "forecast", "ingest", "inspect", "leaderboard", "load_run", "open_catalog",
    "open_session", "report", "scores", "simulate", "study", "train",
}  # fmt: skip


def made_by(*, function=nl.train, given=None, **values):
    return settings_of(TrainSettings, given, values, function=function)


def test_importing_and_naming_the_functions_loads_nothing_heavy():
    code = (
        "import sys, nwb_latents as nl; before = set(sys.modules); "
        f"[getattr(nl, name) for name in {sorted(FUNCTIONS)}]; "
        "[getattr(nl.plot, name) for name in nl.plot.__all__]; print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not HEAVY & {name.partition(".")[0] for name in done.stdout.split()}


def test_the_public_names_are_the_documented_functions():
    assert set(dir(nl)) == {*FUNCTIONS, "plot", "__version__"}
    for name in FUNCTIONS:
        function = getattr(nl, name)
        assert function.__name__ == name
        assert "Examples\n" in inspect.getdoc(function)
        for parameter, what in inspect.signature(function).parameters.items():
            assert what.annotation is not what.empty, f"{name}({parameter})"


def test_every_figure_is_documented_with_shapes_units_and_what_becomes_of_nan():
    for name in nl.plot.__all__:
        function = getattr(nl.plot, name)
        told = inspect.getdoc(function)
        for word in ("Parameters\n", "Returns\n", "Raises\n", "Examples\n"):
            assert word in told, f"{name}: {word}"
        annotations = inspect.signature(function).parameters.values()
        assert all(one.annotation is not one.empty for one in annotations), name


def test_a_misspelt_function_is_answered_with_what_was_meant():
    done = subprocess.run(
        [sys.executable, "-c", "import nwb_latents as nl; nl.ingets"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Did you mean: 'ingest'" in done.stderr


@pytest.mark.parametrize("as_place", [str, Path], ids=["text", "Path"])
def test_places_are_text_or_paths(as_place, small_nwb, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    catalog = as_place("catalog.yaml")
    (entry,) = nl.ingest(catalog, as_place(small_nwb.parent))
    assert nl.open_session(catalog, entry.session).store_key == entry.store_key
    assert nl.open_catalog(catalog).sessions["session"].tolist() == [entry.session]
    assert (tmp_path / entry.store).is_dir()


def test_it_makes_the_same_store_as_the_command_line(small_nwb, tmp_path, pipeline_command):
    (entry,) = nl.ingest(
        tmp_path / "api" / "catalog.yaml", small_nwb, bin_size_s=0.05, window_s=[-0.25, 0.45]
    )
    words = ("--set", "bin_size_s=0.05", "--set", "window_s=[-0.25, 0.45]", "--json")
    said = pipeline_command("run", "ingest", "--path", small_nwb, *words)
    (done,) = [e for e in map(json.loads, said.stdout.splitlines()) if e["event"] == "session"]
    assert Path(done["store"]).parts[-2:] == Path(entry.store).parts[-2:]
    assert nl.open_catalog(tmp_path / "catalog.yaml").sessions["store_key"].tolist() == [entry.store_key]


def test_settings_are_keywords_mappings_files_or_settings(tmp_path):
    file = tmp_path / "training.yaml"
    file.write_text("max_steps: 7\nbatch: {trials_per_session: 8}\n")
    expected = TrainSettings(max_steps=7, batch={"trials_per_session": 8}, seed=2)
    assert made_by(given=file, seed=2) == expected
    assert made_by(given=str(file), seed=np.int64(2)) == expected
    assert made_by(given={"max_steps": 7, "batch.trials_per_session": 8, "seed": 2}) == expected
    assert made_by(given=TrainSettings(max_steps=7), batch={"trials_per_session": 8}, seed=2) == expected
    assert made_by(given=expected) is expected


def test_another_model_leaves_the_settings_of_the_first_behind():
    made = made_by(given=TrainSettings(max_steps=7), model={"name": "lfads"})
    assert made.model == LFADSSettings()
    assert made.max_steps == 7


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: nl.train("c.yaml", max_stepz=3), "train(max_stepz=3): unknown key, found 3; did you mean"),
        (lambda: nl.train("c.yaml", sesions="*"), "train(): no argument 'sesions'; did you mean sessions?"),
        (lambda: nl.train("c.yaml", batch={"trials_session": 3}), "did you mean batch.trials_per_session?"),
        (lambda: nl.train("c.yaml", model="lfadz"), "did you mean lfads?"),
        (lambda: nl.train("c.yaml", seed="one"), "train(seed='one'): expected"),
        (lambda: nl.train("c.yaml", 3), "expected TrainSettings, a mapping or a YAML file, found int"),
        (lambda: nl.ingest("c.yaml", "nwb", recip="r.yaml"), "did you mean recipe?"),
        (lambda: nl.ingest("c.yaml", "nwb", bin_sise_s=0.02), "did you mean bin_size_s?"),
    ],
)  # fmt: skip
def test_errors_say_what_was_meant(call, said):
    with pytest.raises(SettingsError) as error:
        call()
    assert said in str(error.value)


def test_an_ingest_has_one_source():
    with pytest.raises(UsageError, match="one of path, dandiset and source"):
        nl.ingest("catalog.yaml")


def test_what_is_not_there_is_said_with_what_is(small_nwb, tmp_path):
    with pytest.raises(DataError, match="no such catalog"):
        nl.open_catalog(tmp_path / "catalog.yaml")
    nl.ingest(tmp_path / "catalog.yaml", small_nwb)
    with pytest.raises(DataError, match="The catalog holds: sub-T_ses-CO-1"):
        nl.open_session(tmp_path / "catalog.yaml", "sub-X")


def test_a_pattern_opens_one_session_alone(make_nwb, make_reaches, tmp_path):
    for number in (1, 2):
        reaches = make_reaches(seed=number, n_trials=12, n_units=6)
        make_nwb(tmp_path / "nwb" / f"{number}.nwb", reaches, session=str(number))
    nl.ingest(tmp_path / "catalog.yaml", tmp_path / "nwb")
    assert nl.open_session(tmp_path / "catalog.yaml", "*_ses-2").name == "sub-T_ses-2"
    with pytest.raises(DataError, match="matches 2 sessions: sub-T_ses-1, sub-T_ses-2"):
        nl.open_session(tmp_path / "catalog.yaml", "sub-T*")


def test_a_catalog_shows_itself_and_is_never_behind(small_nwb, tmp_path):
    nl.ingest(tmp_path / "catalog.yaml", small_nwb)
    catalog = nl.open_catalog(tmp_path / "catalog.yaml")
    assert "1 sessions, 0 runs" in repr(catalog)
    assert "sub-T_ses-CO-1" in repr(catalog)
    assert "<table" in catalog._repr_html_()
    nl.ingest(tmp_path / "catalog.yaml", small_nwb, bin_size_s=0.05, window_s=(-0.25, 0.45))
    assert len(catalog.sessions) == 2


def test_functions_print_nothing_and_log_what_went_wrong(small_nwb, tmp_path, capfd, caplog):
    (small_nwb.parent / "damaged.nwb").write_bytes(b"no recording")
    caplog.set_level(logging.INFO, logger="nwb_latents")
    with pytest.raises(Exception, match="damaged"):
        nl.ingest(tmp_path / "catalog.yaml", small_nwb.parent)
    assert capfd.readouterr().out == ""
    logged = {(record.getMessage().partition(" (")[0], record.levelname) for record in caplog.records}
    assert any(text.startswith("sub-unknown_ses-damaged: ") and at == "WARNING" for text, at in logged)
    assert ("sub-T_ses-CO-1: done", "INFO") in logged


def test_numbers_come_as_the_table_that_scores_gives(small_nwb, tmp_path):
    nl.ingest(tmp_path / "catalog.yaml", small_nwb)
    decoded = nl.decode(tmp_path / "catalog.yaml", sources=["rates"])
    assert set(decoded["name"]) == {"velocity_r2"}
    scores = nl.scores(tmp_path / "catalog.yaml")
    assert scores.pop("is_current").all()
    assert (scores.pop("why_stale") == "").all()
    pd.testing.assert_frame_equal(decoded, scores)
    evaluated = nl.evaluate(tmp_path / "catalog.yaml", baselines=["smoothing"], metrics=["co_bps"])
    assert (
        nl.scores(tmp_path / "catalog.yaml", stages="evaluate")["value"].tolist()
        == evaluated["value"].tolist()
    )
    board = nl.leaderboard(tmp_path / "catalog.yaml", by="co_bps")
    assert board["co_bps"].tolist() == evaluated["value"].tolist()
    assert (board["co_bps_low"] < board["co_bps"]).all()
    assert "co-smoothing" in str(board.attrs["legend"])


@pytest.mark.cluster
def test_a_script_without_the_guard_of_its_work_is_told_so(small_nwb, tmp_path):
    (tmp_path / "script.py").write_text(
        f"import nwb_latents as nl\nnl.ingest('catalog.yaml', {str(small_nwb)!r}, cluster='local:1')\n"
    )
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert 'its work belongs under `if __name__ == "__main__":`' in done.stderr.splitlines()[-1]


def test_a_receiver_of_events_is_given_all_of_them(small_nwb, tmp_path):
    events = []
    nl.ingest(tmp_path / "catalog.yaml", small_nwb, report=events.append)
    assert {"plan", "session"} <= {event.event for event in events}


def test_a_catalog_that_is_not_there_has_no_scores_and_that_is_said(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.yaml: no such catalog"):
        nl.scores(tmp_path / "nowhere.yaml")
    with pytest.raises(SettingsError, match=r"is a folder; expected the catalog file, .*catalog\.yaml"):
        nl.open_catalog(tmp_path)


def test_one_name_where_several_are_expected_is_told_how_to_write_it(tmp_path):
    with pytest.raises(SettingsError, match=r"sources='rates'.*: expected several, .*: \[rates\]"):
        nl.decode(tmp_path / "catalog.yaml", sources="rates")


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda catalog: nl.scores(catalog, session="a"), r"scores\(\): no argument 'session'; .* sessions"),
        (lambda catalog: nl.scores(catalog, metric="a"), r"no argument 'metric'; it takes catalog, names"),
        (lambda catalog: nl.leaderboard(catalog, session="a"), "did you mean sessions"),
        (lambda catalog: nl.open_session(catalog, "a", recipe="r"), "did you mean recipe_id"),
        (lambda catalog: nl.load_run(catalog, "a", devices=1), "did you mean device"),
        (lambda catalog: nl.leaderboard(catalog, phase="train"), r"phase='train'\): expected test or val"),
        (
            lambda catalog: nl.ingest(catalog, ".", mode="strem"),
            r"ingest\(mode='strem'\): .* did you mean stream",
        ),
        (lambda catalog: nl.scores(catalog, sessions=5), "expected a name or .* several, found 5"),
        (lambda catalog: nl.scores(catalog, runs=None), "found None. Leave the argument out"),
        (lambda catalog: nl.scores(catalog.parent), "is a folder; expected the catalog file"),
        (lambda catalog: nl.leaderboard("."), "is a folder; expected the catalog file"),
    ],
)
def test_an_argument_that_cannot_be_used_is_told_with_what_can(tmp_path, call, says):
    catalog = tmp_path / "catalog.yaml"
    catalog.write_text("sessions: {}\n")
    with pytest.raises(SettingsError, match=says):
        call(catalog)


def test_a_name_that_no_number_has_is_said_with_the_nearest(tmp_path):
    catalog = tmp_path / "catalog.yaml"
    catalog.write_text("schema_version: 2\n")
    add_measurements(
        catalog,
        [
            Measurement(
                name="co_bps",
                value=0.1,
                session="sub-A",
                recipe_id="r",
                split="test",
                n_trials=1,
                source="pca",
            )
        ],
    )
    with pytest.warns(CatalogWarning, match="no measurement has the name 'co_bp'; did you mean co_bps"):
        assert nl.scores(catalog, names="co_bp").empty
    with pytest.raises(KeyError, match="did you mean value"):
        nl.scores(catalog, columns="valeu")
