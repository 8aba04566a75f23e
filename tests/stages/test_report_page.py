"""`pipeline run report`: every number is the measurement; nothing that is broken ends it or is kept quiet."""

from __future__ import annotations

import html
import json
import re
import shlex
import shutil
import warnings

import pytest
import yaml
from evaluation.report.pages import HOSTILE, Elements
from typer.testing import CliRunner

import nwb_latents as nl
from nwb_latents.pipeline.cli.main import app
from nwb_latents.pipeline.cluster.ledger import LEDGER_NAME
from nwb_latents.pipeline.errors import CatalogWarning, DataError, MachineError, UsageError
from nwb_latents.pipeline.evaluation.report.packing import unpack
from nwb_latents.pipeline.stages import report_page
from nwb_latents.schemas.cluster import Attempt
from nwb_latents.schemas.events import FaultEvent

SESSION, OTHER = "sub-T_ses-CO-1", "sub-T_ses-CO-2"


def _cli(*words):
    return CliRunner().invoke(app, [*map(str, words)], env={"COLUMNS": "300"})


def text_of(page):
    """Return what a page says, without data and scripts."""
    shown = re.sub(r"<(script|style)[^>]*>.*?</\1>", "", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", shown)).split())


def numbers_of(page):
    return unpack(re.search(r'id="numbers">([^<]*)<', page).group(1))


def drawn_in(page, kind):
    found = re.findall(rf'class="{kind}-data" data-key="([^"]*)">([^<]*)<', page)
    return {html.unescape(key): unpack(packed) for key, packed in found}


@pytest.fixture(scope="module")
def made(tmp_path_factory, make_nwb, make_reaches):
    """Return a catalog of two sessions and a run of the first, decoded and evaluated, with its report."""
    folder = tmp_path_factory.mktemp("report")
    catalog = folder / "catalog.yaml"
    for number, name in enumerate((SESSION, OTHER), start=1):
        reaches, session = make_reaches(n_trials=30, seed=number), name.partition("_ses-")[2]
        make_nwb(
            folder / "nwb" / f"{name}.nwb",
            reaches,
            session=session,
            start=f"2015-03-0{number}T10:00:00+00:00",
        )
    nl.ingest(catalog, folder / "nwb")
    nl.train(catalog, sessions=SESSION, model="ndt", max_steps=2, run_name="small", device="cpu")
    nl.decode(catalog, runs="small", sessions=SESSION, device="cpu", lag_ms=60.0)
    nl.evaluate(
        catalog, runs="small", sessions=SESSION, baselines=("null",), metrics=("velocity_r2",), device="cpu"
    )
    path = nl.report(catalog, device="cpu")
    assert path == folder / "report.html"
    return folder, path.read_text(encoding="utf-8")


@pytest.fixture
def again(made, tmp_path):
    """Return a copy of the catalog, and a function that changes its file and makes a page of it."""
    folder = tmp_path / "there"
    shutil.copytree(made[0], folder)
    catalog = folder / "catalog.yaml"

    def page(change=None, **values):
        if change is not None:
            content = yaml.safe_load(catalog.read_text())
            change(content)
            catalog.write_text(yaml.safe_dump(content))
        return nl.report(catalog, device="cpu", **values).read_text(encoding="utf-8")

    return folder, page


def test_numbers_on_the_page_are_the_measurements(made):
    folder, page = made
    table = nl.scores(folder / "catalog.yaml")
    said = numbers_of(page)
    assert said["rows"] == len(table) > 9
    for name in ("value", "low", "high", "lag_ms"):
        known = [None if value != value else value for value in table[name].astype(float)]
        assert said[name] == known, name
    assert said["fitted_on"] == ["" if value is None else value for value in table["fitted_on"]]
    assert set(said["stale"]) == {""}


def test_the_leaderboard_is_that_of_the_command(made):
    folder, page = made
    board = nl.leaderboard(folder / "catalog.yaml")
    cells = re.findall(r'<td data-value="([^"]*)"', page[page.index('class="sortable board"') :])
    values = {float(value) for value in board["velocity_r2"].dropna()}
    assert values
    assert values <= {float(value) for value in cells}


def test_a_session_is_drawn_as_its_store_has_it(made):
    folder, page = made
    session = nl.open_session(folder / "catalog.yaml", SESSION)
    entry = nl.open_catalog(folder / "catalog.yaml").sessions.iloc[0]
    drawn = drawn_in(page, "session")[f"{SESSION}@{entry['recipe_id']}"]
    ids = [str(trial) for trial in session.trials["trial"].values]
    for trial in drawn["trials"]:
        row = ids.index(trial["trial"])
        units = [[str(u) for u in session.trials["unit"].values].index(unit) for unit in drawn["units"]]
        assert trial["counts"] == session.trials["counts"].values[row][:, units].T.tolist()
        assert trial["split"] == session.split[row]
        onset = float(session.trials["move_onset"][row] - session.trials["event_time"][row])
        offset = float(session.trials["event_offset"][row])
        assert trial["marks"]["movement onset"] == pytest.approx(onset + offset, abs=1e-4)
    for name, psth in zip(drawn["conditions"], drawn["psth"], strict=True):
        mean = session.trials["rates"].values[session.condition == name].mean(axis=0)[:, units].T
        assert psth == pytest.approx(mean, abs=0.06)


def test_a_run_is_drawn_with_the_protocol_it_was_measured_with(made):
    folder, page = made
    drawn = drawn_in(page, "run")["small"]
    mine = drawn["sessions"][SESSION]
    assert mine["decoded"]["lag_ms"] == 60.0
    assert [each["source"] for each in mine["decoded"]["signals"]][:2] == ["rates", "reconstruction"]
    scores = nl.scores(
        folder / "catalog.yaml", stages="decode", names="velocity_r2", sources="reconstruction"
    )
    said = f"R² {scores['value'].iloc[-1]:.3f} over all test trials.".replace("-", "−")
    assert any(said in line and "reconstruction" in line for line in mine["said"])
    assert not any("drawing that was other" in line for line in mine["said"])
    assert mine["parts"]["signals"][0]["r2"] is not None
    assert len(mine["latents"]["means"]) == len(mine["latents"]["conditions"])
    assert drawn["losses"]["curves"]["loss"][-1][0] == 2


def test_the_command_tells_path_and_size(again):
    folder, _ = again
    out = folder / "page.html"
    words = ("--catalog", folder / "catalog.yaml", "--set", "run_sessions=0", "--out", out, "--json")
    done = _cli("run", "report", *words)
    assert done.exit_code == 0, done.output
    events = [json.loads(line) for line in done.stdout.splitlines()]
    (event,) = [each for each in events if each["event"] == "report"]
    assert event["path"] == str(out)
    assert event["bytes"] == out.stat().st_size
    assert (event["n_sessions"], event["n_runs"], event["not_drawn"]) == (2, 1, [])
    assert "No model was loaded" in json.dumps(drawn_in(out.read_text(), "run")["small"]["left_out"])
    refused = _cli("run", "report", "--catalog", folder / "catalog.yaml", "--out", "a.pdf").exception
    assert isinstance(refused, UsageError)
    assert isinstance(_cli("run", "report", "--catalog", folder / "no.yaml").exception, DataError)


def test_a_damaged_store_is_said_with_its_remedy(again):
    folder, page = again
    store = next((folder / "stores").glob(f"*/{OTHER}.zarr"))
    victim = max(
        (p for p in store.rglob("*") if p.is_file() and "trials" in p.parts), key=lambda p: p.stat().st_size
    )
    victim.unlink()
    made = page()
    text = text_of(made)
    assert f"The store of {OTHER}" in text
    assert "damaged" in text
    assert "pipeline run ingest" in text
    assert [key.partition("@")[0] for key in drawn_in(made, "session")] == [SESSION]


@pytest.mark.parametrize("called", ["catalog.yaml", "there/catalog.yaml", "/"])
def test_files_that_are_cut_short_are_said_however_the_catalog_is_named(again, monkeypatch, called):
    folder, _ = again
    monkeypatch.chdir(folder if called == "catalog.yaml" else folder.parent)
    catalog = folder / "catalog.yaml" if called == "/" else called
    store = next((folder / "stores").glob(f"*/{OTHER}.zarr"))
    # What no drawing reads.
    chunk = max(
        path for path in (store / "continuous" / "position").rglob("*") if path.parent.name != "position"
    )
    for path in (chunk, folder / "runs" / "small" / "best.safetensors"):
        path.write_bytes(path.read_bytes()[:-5])
    page = nl.report(catalog, run_sessions=0).read_text(encoding="utf-8")
    text = text_of(page)
    assert f"The store of {OTHER}" in text
    assert "The files of small are damaged" in text
    assert len(re.findall("sizes and keys match", page)) == 1


def test_stores_that_nobody_looked_at_are_not_called_whole(again, monkeypatch):
    _, page = again

    def lost(*_, **__):
        raise MachineError("s3://lab: the storage cannot be reached. Try again later.")

    monkeypatch.setattr(report_page, "verify", lost)
    made = page(run_sessions=0)
    assert "sizes and keys match" not in made
    assert "Whether 3 stores and runs are whole" in text_of(made)
    assert "the storage cannot be reached" in text_of(made)


def test_a_fault_of_no_entry_is_said(again, monkeypatch):
    _, page = again

    def odd(_, *, report, **__):
        report(FaultEvent(path="elsewhere", where="", kind="key", text="it is another's", remedy="Mend it."))

    monkeypatch.setattr(report_page, "verify", odd)
    assert "it is another's" in text_of(page(run_sessions=0))


def test_files_of_another_run_are_not_shown_under_this_name(again):
    folder, page = again
    config = folder / "runs" / "small" / "config.yaml"
    config.write_text(re.sub("run_key: .*", f"run_key: {'f' * 64}", config.read_text()))
    made = page(run_sessions=0)
    assert "its files are of the run ffff" in text_of(made)
    assert drawn_in(made, "run")["small"]["losses"]["curves"] == {}


def test_an_exchanged_store_is_not_shown_under_this_name(again):
    folder, page = again
    first, second = (next((folder / "stores").glob(f"*/{name}.zarr")) for name in (SESSION, OTHER))
    first.rename(folder / "aside")
    second.rename(first)
    (folder / "aside").rename(second)
    made = page(run_sessions=0)
    assert drawn_in(made, "session") == {}
    assert len(re.findall("sizes and keys match", made)) == 0


def test_a_store_that_is_gone_is_said(again):
    folder, page = again
    shutil.rmtree(next((folder / "stores").glob(f"*/{SESSION}.zarr")))
    text = text_of(page())
    assert f"The store of {SESSION}" in text
    assert "What the model of small makes" in text


def test_a_run_whose_model_is_not_installed_is_said_with_where_it_came_from(again):
    folder, page = again
    config = folder / "runs" / "small" / "config.yaml"
    content = yaml.safe_load(config.read_text())
    content["settings"]["model"] = {"name": "secret"}
    content["packages"]["their-models"] = "2.1"
    config.write_text(yaml.safe_dump(content))
    made = page()
    text = text_of(made)
    assert "the model 'secret' of this run is not installed" in text
    assert "their-models 2.1" in text
    assert drawn_in(made, "run")["small"]["sessions"] == {}
    assert numbers_of(made)["rows"] > 0


def test_stale_numbers_are_marked_and_on_no_leaderboard(again):
    _, page = again

    def another_run(content):
        content["runs"]["small"]["run_key"] = "another"

    made = page(another_run)
    said = numbers_of(made)
    of_run = [stale for stale, run in zip(said["stale"], said["run"], strict=True) if run == "small"]
    assert of_run
    assert set(of_run) == {"its run was trained anew"}
    text = text_of(made)
    assert "are stale" in text
    board = made[made.index('class="sortable board"') : made.index("<h3>Sessions and runs</h3>")]
    assert "ndt" not in text_of(board)
    for row in re.findall(r'<td class="stale[^>]*>', made):
        assert "data-value" not in row


def test_failures_are_shown_with_their_remedies(again):
    folder, page = again
    ledger = next((folder / "stores").glob("*")) / LEDGER_NAME
    lost = Attempt(
        time="2026-01-01T10:00:00",
        session="sub-X",
        source="x.nwb",
        recipe_id="r",
        status="failed",
        exit_code=5,
        reason="x.nwb: the disk is full. Free some space.",
    )
    with ledger.open("a") as file:
        file.write(lost.model_dump_json() + "\n")
    text = text_of(page())
    assert "x.nwb: the disk is full. → Free some space." in text
    assert "Failures (1)" in text


def test_an_error_does_not_swallow_what_the_catalog_warned_of(again):
    folder, _ = again
    catalog = folder / "catalog.yaml"
    content = yaml.safe_load(catalog.read_text())
    name = next(key for key in content["sessions"] if key.startswith(SESSION))
    content["sessions"]["elsewhere@x"] = content["sessions"].pop(name)
    content["runs"]["aside"] = content["runs"].pop("small")
    catalog.write_text(yaml.safe_dump(content))
    called = "The entry elsewhere@x is called so, but cannot be read. Mend it"
    with (
        pytest.warns(CatalogWarning, match="aside"),
        pytest.warns(CatalogWarning, match="elsewhere@x"),
        pytest.raises(DataError, match=called),
    ):
        nl.report(catalog, sessions=SESSION)
    with warnings.catch_warnings(action="ignore", category=CatalogWarning):
        with pytest.raises(DataError, match=r"No run is called small.*The entry aside is called so"):
            nl.report(catalog, runs="small")
        with pytest.raises(DataError, match=r"No run is called small.*The entry aside is called so"):
            nl.load_run(catalog, "small")


def test_what_is_missing_is_told_with_its_remedy(again):
    folder, _ = again
    store = next((folder / "stores").glob(f"*/{OTHER}.zarr"))
    chunk = max((path for path in store.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    chunk.write_bytes(chunk.read_bytes()[:-5])
    done = _cli("run", "report", "--catalog", folder / "catalog.yaml", "--set", "run_sessions=0", "--json")
    (said,) = [
        line["text"]
        for line in map(json.loads, done.stdout.splitlines())
        if line["event"] == "note" and line["text"].startswith(f"The store of {OTHER}")
    ]
    assert said.endswith("with --force.")


def test_a_ledger_that_cannot_be_read_ends_nothing(again):
    folder, page = again
    ledger = next((folder / "stores").glob("*")) / LEDGER_NAME
    ledger.unlink()
    ledger.mkdir()
    assert "Failures of ingest" in text_of(page(run_sessions=0))


def test_sessions_and_runs_are_chosen(again):
    folder, page = again
    made = page(sessions=OTHER)
    assert [key.partition("@")[0] for key in drawn_in(made, "session")] == [OTHER]
    assert drawn_in(made, "run") == {}
    assert set(numbers_of(made)["session"]) <= {OTHER}
    with pytest.raises(DataError, match="No session matches nope"):
        nl.report(folder / "catalog.yaml", sessions="nope")
    with pytest.raises(DataError, match="No run is called nope"):
        nl.report(folder / "catalog.yaml", runs="nope")


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_of_a_catalog_stay_text(again, name):
    _, page = again

    def renamed(content):
        for entry in content["sessions"].values():
            entry |= {"subject": name, "task": name, "source": name, "dandiset": f"{name}@1"}
        content["runs"][name] = {**content["runs"].pop("small"), "run": name, "model": name}

    made = page(renamed, run_sessions=0)
    assert name in html.unescape(made)
    seen = Elements(made)
    assert not {"img", "svg"} & set(seen.tags)
    assert not [each for each in seen.attributes if each[1].startswith("on")]
    addresses = [value for _, attribute, value in seen.attributes if attribute in {"href", "src"}]
    assert all(value.startswith(("#", "https://", "data:,")) for value in addresses)


def test_commands_are_quoted_for_a_shell_and_settings_come_back(again):
    _, page = again
    name = "`$(touch hacked)`; rm -rf 'x"

    def renamed(content):
        for entry in content["sessions"].values():
            entry["dandiset"] = f"{name}@1"

    made = page(renamed, run_sessions=0)
    commands = [html.unescape(each) for each in re.findall(r"<code>(.*?)</code>", made, re.DOTALL)]
    (ingest,) = [shlex.split(each) for each in commands if each.startswith("pipeline run ingest")]
    assert ingest[ingest.index("--dandiset") + 1] == f"{name}@1"
    (train,) = [shlex.split(each) for each in commands if each.startswith("pipeline run train")]
    assert train[train.index("--run-name") + 1] == "small"
    settings = yaml.safe_load(next(each for each in commands if each.startswith("model:")))
    assert settings == {"model": {"name": "ndt"}, "max_steps": 2} | settings
    (decode,) = [each for each in commands if each.startswith("pipeline run decode")]
    for words in ("--lag-ms 60", "--source rates,reconstruction,forecast", "--decoder ridge"):
        assert words in decode
    (evaluate,) = [each for each in commands if each.startswith("pipeline run evaluate")]
    assert "--baseline null" in evaluate
    assert "Settings that numbers do not say" in text_of(made)


def test_methods_and_citations_are_on_the_page(made):
    text = text_of(made[1])
    assert "We analysed 2 sessions of 1 subject" in text
    assert "@software{nwb_latents," in text
    assert "Ye, Joel" in text
