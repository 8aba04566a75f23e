"""Numbers of a store or run that is no more are shown as stale wherever numbers are shown, never as "
"current."""

from __future__ import annotations

import json
import shutil

import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

import nwb_latents as nl
from nwb_latents.pipeline.cli.main import app
from nwb_latents.pipeline.errors import DataError

SESSION = "sub-T_ses-CO-1"


def _cli(*words):
    return CliRunner().invoke(app, [*map(str, words)], env={"COLUMNS": "300"})


def _lines(*words):
    return [json.loads(line) for line in _cli(*words, "--json").stdout.splitlines()]


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory, make_nwb, make_reaches):
    """Return a catalog with one run, decoded and evaluated."""
    folder = tmp_path_factory.mktemp("stale")
    catalog = folder / "catalog.yaml"
    nl.ingest(catalog, make_nwb(folder / f"{SESSION}.nwb", make_reaches(n_trials=30, seed=1)))
    nl.train(catalog, model="ndt", max_steps=2, run_name="small", device="cpu")
    nl.decode(catalog, runs="small", device="cpu")
    nl.evaluate(catalog, runs="small", baselines=("null",), metrics=("velocity_r2",), device="cpu")
    return folder


def _other_store(content):
    for entry in content["sessions"].values():
        entry["store_key"] = "another"


def _no_store(content):
    content["sessions"] = {}


def _other_run(content):
    content["runs"]["small"]["run_key"] = "another"


def _no_run(content):
    content["runs"] = {}


@pytest.fixture(params=[_other_store, _no_store, _other_run, _no_run])
def changed(request, evaluated, tmp_path):
    """Return the catalog after a change, what is said of the run's numbers, and of those of no run."""
    folder = tmp_path / "there"
    shutil.copytree(evaluated, folder)
    catalog = folder / "catalog.yaml"
    content = yaml.safe_load(catalog.read_text())
    request.param(content)
    catalog.write_text(yaml.safe_dump(content))
    said = {
        _other_store: ("its store was made anew", "its store was made anew"),
        _no_store: ("its store is not in the catalog any more", "its store is not in the catalog any more"),
        _other_run: ("its run was trained anew", ""),
        _no_run: ("its run is not in the catalog any more", ""),
    }[request.param]
    return catalog, *said


def test_python_says_it(changed):
    catalog, of_run, of_none = changed
    table = nl.scores(catalog)
    is_of_run = table["run"].notna()
    assert set(table["why_stale"][is_of_run]) == {of_run}
    assert set(table["why_stale"][~is_of_run]) == {of_none}
    assert (table["is_current"] == (table["why_stale"] == "")).all()
    chosen = nl.scores(catalog, columns=["value", "is_current"])
    assert list(chosen) == ["value", "is_current"]
    pd.testing.assert_series_equal(chosen["is_current"], table["is_current"])


def test_the_table_of_scores_and_its_json_say_it(changed):
    catalog, of_run, of_none = changed
    for each in _lines("catalog", "scores", "--catalog", catalog):
        expected = of_run if each.get("run") else of_none
        assert each["is_current"] == (not expected)
        assert each.get("why_stale", "") == expected
    shown = _cli("catalog", "scores", "--catalog", catalog).stdout
    assert "stale:" in shown


def test_what_is_shown_of_a_session_or_run_says_it(changed):
    catalog, of_run, _ = changed
    content = yaml.safe_load(catalog.read_text())
    for name in (*({SESSION} if content["sessions"] else ()), *content["runs"]):
        assert "stale:" in _cli("catalog", "show", name, "--catalog", catalog).stdout
    shown = _lines("catalog", "show", SESSION, "--catalog", catalog) if content["sessions"] else ()
    for event in (line for line in shown if line["event"] == "session"):
        assert {each["why_stale"] for each in event["measurements"] if each.get("run")} == {of_run}


@pytest.mark.parametrize("suffix", ["csv", "md", "html"])
def test_a_leaderboard_leaves_it_out_and_says_how_many(changed, suffix, tmp_path):
    catalog, of_run, of_none = changed
    out = tmp_path / f"board.{suffix}"
    if of_none:
        for words in (("--output", out), ()):
            done = _cli("leaderboard", "--catalog", catalog, *words)
            assert isinstance(done.exception, DataError)
            assert of_run in str(done.exception)
        with pytest.raises(DataError, match="nothing that is there was evaluated"):
            nl.leaderboard(catalog)
        assert not out.exists()
        return
    done = _cli("leaderboard", "--catalog", catalog, "--output", out)
    assert done.exit_code == 0
    assert f"measurements are stale ({of_run}) and are left out" in " ".join(done.output.split())
    assert "ndt" not in out.read_text()
    assert suffix == "csv" or of_run in out.read_text()
    assert set(nl.leaderboard(catalog)["model"]) == {"null"}
    told = _lines("leaderboard", "--catalog", catalog)
    assert [each["text"] for each in told if each["event"] == "note"]
    assert all(each["is_baseline"] for each in told if each["event"] == "row")


def test_numbers_of_what_is_there_are_marked_as_nothing(evaluated, tmp_path):
    folder = tmp_path / "there"
    shutil.copytree(evaluated, folder)
    catalog = folder / "catalog.yaml"
    assert nl.scores(catalog)["is_current"].all()
    for words in (("scores",), ("show", SESSION), ("show", "small")):
        assert "stale" not in _cli("catalog", *words, "--catalog", catalog).stdout
    assert set(nl.leaderboard(catalog)["model"]) == {"ndt", "null"}
    said = []
    nl.evaluate(
        catalog, runs="small", baselines=(), metrics=("velocity_r2",), device="cpu", report=said.append
    )
    assert {each.is_current for each in said if each.event == "measurement"} == {True}


def test_numbers_without_keys_are_said_to_be_unknown(evaluated, tmp_path):
    folder = tmp_path / "there"
    shutil.copytree(evaluated, folder)
    catalog = folder / "catalog.yaml"
    for path in (folder / "catalog.measurements").rglob("*.jsonl"):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        earlier = [{key: value for key, value in line.items() if key != "crc32"} for line in lines]
        path.write_text("".join(json.dumps({**line, "store_key": ""}) + "\n" for line in earlier))
    shown = _cli("catalog", "scores", "--catalog", catalog).stdout
    assert "not known" in shown
    done = _cli("leaderboard", "--catalog", catalog)
    assert "do not say of which store and run they are" in " ".join(done.output.split())


def _run_is_gone(content, folder):
    del content
    shutil.rmtree(folder / "runs" / "small")


def _settings_are_gone(content, folder):
    del content
    (folder / "runs/small/config.yaml").unlink()


def _settings_are_damaged(content, folder):
    del content
    (folder / "runs/small/config.yaml").write_text("[")


def _model_is_gone(content, folder):
    del content
    path = folder / "runs/small/config.yaml"
    written = yaml.safe_load(path.read_text())
    written["settings"]["model"]["name"] = "theirs"
    path.write_text(yaml.safe_dump(written))


@pytest.mark.parametrize(
    ("change", "current", "why"),
    [
        (lambda *_: None, True, ""),
        (lambda c, _: _other_store(c), False, f"{SESSION}: its store was made anew"),
        (lambda c, _: _no_store(c), False, f"{SESSION}: its store is not in the catalog any more"),
        (lambda c, _: _other_run(c), False, "its files are of another run"),
        (_run_is_gone, False, "its files are gone"),
        (_settings_are_gone, False, "its config.yaml is gone"),
        (_settings_are_damaged, False, "its config.yaml cannot be read"),
        (_model_is_gone, None, ""),
    ],
)
def test_a_run_says_what_became_of_its_stores_wherever_runs_are_listed(
    evaluated, tmp_path, change, current, why
):
    shutil.copytree(evaluated, tmp_path / "c")
    catalog = tmp_path / "c" / "catalog.yaml"
    content = yaml.safe_load(catalog.read_text())
    change(content, catalog.parent)
    catalog.write_text(yaml.safe_dump(content))

    table = nl.open_catalog(catalog).runs
    assert [(row.is_current, row.why_stale) for row in table.itertuples()] == [(current, why)]
    assert why in repr(nl.open_catalog(catalog))
    [event] = [line for line in _lines("catalog", "list", "--catalog", catalog) if line["event"] == "run"]
    assert (event.get("is_current"), event.get("why_stale", "")) == (current, why)
    words = {True: "", False: f"stale: {why}", None: "not known"}[current]
    listed = _cli("catalog", "list", "--catalog", catalog).stdout
    assert words in listed
    assert ("stale" in listed) == (current is not True)
    show = ("catalog", "show", "small", "--catalog", catalog)
    [shown] = [line for line in _lines(*show) if line["event"] == "run"]
    assert (shown.get("is_current"), shown.get("why_stale", "")) == (current, why)
    assert (words.removeprefix("stale: ") or "model") in _cli(
        "catalog", "show", "small", "--catalog", catalog
    ).stdout


def test_of_many_stores_that_changed_their_number_is_told(evaluated, tmp_path):
    shutil.copytree(evaluated, tmp_path / "c")
    catalog, config = tmp_path / "c" / "catalog.yaml", tmp_path / "c/runs/small/config.yaml"
    written = yaml.safe_load(config.read_text())
    [source] = written["sessions"].values()
    written["sessions"] = {f"{SESSION}-{k}": source for k in range(3)}
    config.write_text(yaml.safe_dump(written))
    [why] = nl.open_catalog(catalog).runs["why_stale"]
    assert why == "3 of its 3 stores are no more or were made anew"
