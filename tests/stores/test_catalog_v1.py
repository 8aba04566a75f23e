"""Catalogs of version 1: every number in them becomes a measurement, once, whatever happens meanwhile."""

import shutil
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

from nwb_latents.pipeline.errors import CatalogWarning, MachineError
from nwb_latents.pipeline.stores import catalog_v1
from nwb_latents.pipeline.stores.catalog import read_catalog, update_catalog
from nwb_latents.pipeline.stores.measurements import add_measurements, read_measurements
from nwb_latents.schemas.measurement import Measurement

ARCHIVE = Path(__file__).parents[1] / "data" / "archives" / "0.1.0-whole.tar.xz"
ENDS = ("value", "low", "high")
MOVED = "numbers in it are in catalog.measurements from here on"


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("archive")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture
def old(unpacked: Path, tmp_path: Path) -> Path:
    """Return a catalog that the version before wrote, with all that lies beside it."""
    shutil.copytree(unpacked, tmp_path / "work")
    return tmp_path / "work" / "catalog.yaml"


def update(path: Path) -> None:
    update_catalog(path, lambda catalog: catalog)


def n_numbers(content: dict, folder: Path) -> int:
    forecasts = [yaml.safe_load(f.read_text()) for f in folder.glob("runs/*/forecast/*.json")]
    of_models = sum(len(c["per_step"]) + 1 for f in forecasts for c in f["curves"])
    metrics = sum(len(e["metrics"]) + len(e.get("missing", ())) for e in content["evaluations"])
    return len(content["results"]) + metrics + of_models


def test_every_number_is_there_as_it_was(old):
    content = yaml.safe_load(old.read_text())
    with pytest.warns(CatalogWarning, match=MOVED):
        table = read_measurements(old)
    assert len(read_measurements(old, latest=False)) == n_numbers(content, old.parent)
    found = table.set_index(["stage", "session", "name", "source", "split"]).sort_index()
    for one in content["results"]:
        decoded = one["metric"] != "rates_r2"
        stage = "decode" if decoded else "align"
        same = found.loc[[(stage, one["session"], one["metric"], one["source"], one["split"])]]
        if decoded:
            same = same[(same["decoder"] == one.get("decoder", "ridge")) & (same["lag_ms"] == one["lag_ms"])]
        same = same[same["fitted_sessions"] == tuple(one.get("trained_on", ()))]
        same = same[same["run"].isna() if one.get("run") is None else same["run"] == one["run"]]
        [row] = same.to_dict("records")
        assert row["value"] == one["value"]
        assert row["per_axis"] == tuple(one.get("per_axis", ()))
        assert (row["n_trials"], row["n_samples"]) == (one["n_trials"], one["n_samples"])
        assert row["decoder_settings"] == ({"alpha": one["alpha"]} if decoded else {})
        fitted_on = "latents" if one["source"] == "latents" else "recorded rates"
        assert row["fitted_on"] == (fitted_on if decoded else "")
        assert row["p_value"] == one["p_value"] if "p_value" in one else row["p_value"] != row["p_value"]


def test_evaluations_keep_their_intervals_under_the_names_of_today(old):
    content = yaml.safe_load(old.read_text())
    with pytest.warns(CatalogWarning, match=MOVED):
        table = read_measurements(old, stages=["evaluate"])
    names = {"velocity_r2": "nlb_velocity_r2", "forecast_velocity_r2": "velocity_r2"}
    for one in content["evaluations"]:
        of_one = table[(table["session"] == one["session"]) & (table["split"] == one["phase"])]
        by = "source" if one["is_baseline"] else "run"
        of_one = of_one[(of_one["is_baseline"] == one["is_baseline"]) & (of_one[by] == one["source"])]
        by_name = of_one.set_index("name")
        assert len(of_one) == len(one["metrics"]) + len(one.get("missing", ()))
        for name, value in one["metrics"].items():
            row = by_name.loc[names.get(name, name)]
            assert [row[end] for end in ENDS if row[end] == row[end]] == [
                value[e] for e in ENDS if e in value
            ]
            assert (row["level"], row["n_resamples"]) == (0.95, 20) or "low" not in value
            assert row["settings_digest"] == one["settings_digest"]
        for name, reason in one.get("missing", {}).items():
            assert by_name.loc[names.get(name, name), "reason"] == reason
    # The key of an evaluation proves which store and run it is of.
    catalog = read_catalog(old)
    keys = {entry.session: entry.store_key for entry in catalog.sessions.values()}
    assert (table["store_key"] == table["session"].map(keys)).all()
    assert set(table["run_key"].dropna()) == {catalog.runs["both"].run_key}


def test_what_decoders_were_fitted_on_is_told_apart(old):
    with pytest.warns(CatalogWarning, match=MOVED):
        table = read_measurements(old, stages=["evaluate"], splits=["test"])
    own = table[table["name"] == "nlb_velocity_r2"]
    assert set(own["fitted_on"]) == {"own rates, train and val trials"}
    ahead = table[(table["name"] == "velocity_r2") & table["value"].notna()]
    assert set(ahead.loc[~ahead["is_baseline"], "source"]) == {"forecast"}
    assert set(ahead.loc[~ahead["is_baseline"], "fitted_on"]) == {"recorded rates, train and val trials"}
    assert set(ahead.loc[ahead["is_baseline"], "source"]) == {
        "condition_mean",
        "hold_last",
        "linear_forecast",
    }
    assert set(ahead.loc[ahead["is_baseline"], "fitted_on"]) == {""}
    assert (ahead["seen_bins"] == 13).all()
    assert (ahead["bins"] == 20).all()
    assert (ahead["lag_ms"] == 100).all()


def test_a_run_trained_again_since_does_not_claim_the_old_numbers(old):
    content = yaml.safe_load(old.read_text())
    content["runs"]["both"]["run_key"] = "another"
    old.write_text(yaml.safe_dump(content, sort_keys=False))
    with pytest.warns(CatalogWarning, match=MOVED):
        table = read_measurements(old, stages=["evaluate"])
    assert table["run_key"].isna().all()
    assert (table.loc[~table["is_baseline"], "store_key"] == "").all()
    assert (table.loc[table["is_baseline"], "store_key"] != "").all()


def test_forecasts_become_one_measurement_for_each_step(old):
    with pytest.warns(CatalogWarning, match=MOVED):
        table = read_measurements(old, stages=["forecast"], names=["velocity_r2"], sources=["forecast"])
    [file] = old.parent.glob("runs/both/forecast/*SimA*.json")
    written = yaml.safe_load(file.read_text())
    [curve] = [c for c in written["curves"] if (c["quantity"], c["source"]) == ("velocity", "model")]
    mine = table[table["session"] == written["session"]].sort_values("step", na_position="first")
    assert mine["value"].tolist() == [curve["pooled"], *curve["per_step"]]
    assert mine["step"].tolist()[1:] == list(range(1, 21))
    assert mine["decoder_settings"].iloc[0] == {"alpha": written["alphas"]["decoder"]}
    linear = read_measurements(
        old, stages=["forecast"], sources=["linear_forecast"], names=["forecast_rates*"]
    )
    assert {"alpha": written["alphas"]["linear_rates"]} in linear["details"].tolist()


def test_the_old_file_is_kept_and_the_new_one_holds_sessions_and_runs(old):
    before = old.read_text()
    with pytest.warns(CatalogWarning, match=r"is kept as catalog\.v1\.yaml\. \d+ of them do not say which"):
        update(old)
    assert old.with_name("catalog.v1.yaml").read_text() == before
    old_content, content = yaml.safe_load(before), yaml.safe_load(old.read_text())
    assert content.keys() == {"schema_version", "sessions", "runs"}
    for section in ("sessions", "runs"):
        plain = {
            k: {n: v for n, v in e.items() if n != "schema_version"} for k, e in content[section].items()
        }
        assert plain == old_content[section]
    update(old)  # moves nothing a second time: own warnings are errors here
    assert sorted(p.name for p in old.parent.glob("catalog*.yaml")) == ["catalog.v1.yaml", "catalog.yaml"]


def test_a_copy_of_another_old_file_is_not_overwritten(old):
    old.with_name("catalog.v1.yaml").write_text("schema_version: 1\n")
    with pytest.warns(CatalogWarning, match=r"kept as catalog\.v1-2\.yaml"):
        update(old)
    assert old.with_name("catalog.v1.yaml").read_text() == "schema_version: 1\n"


def test_measured_again_counts_before_the_old_number(old):
    content = yaml.safe_load(old.read_text())
    one = next(s for s in content["results"] if s["metric"] == "velocity_r2" and "run" not in s)
    again = Measurement(
        name="velocity_r2", value=0.123, definition="r2_uniform", session=one["session"],
        recipe_id=one["recipe_id"], split="test", n_trials=3, source="rates", stage="decode", decoder="ridge",
        fitted_on="recorded rates", lag_ms=100.0,
    )  # fmt: skip
    add_measurements(old, [again])  # before the old numbers were moved
    with pytest.warns(CatalogWarning, match=MOVED):
        table = read_measurements(old, stages=["decode"], names=["velocity_r2"], sources=["rates"])
    mine = table[(table["session"] == one["session"]) & (table["decoder"] == "ridge")]
    assert mine["value"].tolist() == [0.123]


def test_in_a_folder_that_may_not_be_written_the_numbers_are_read_where_they_are(old, monkeypatch):
    def refused(path, content):
        raise MachineError(f"{path}: read-only")

    expected_names = n_numbers(yaml.safe_load(old.read_text()), old.parent)
    before = {p: p.read_bytes() for p in old.parent.rglob("*") if p.is_file()}
    monkeypatch.setattr(catalog_v1, "write_bytes", refused)
    assert len(read_measurements(old, latest=False)) == expected_names
    now = {p: p.read_bytes() for p in old.parent.rglob("*") if p.is_file() and not p.name.endswith(".lock")}
    assert now == before


def test_an_entry_that_cannot_be_read_is_said_and_the_others_are_moved(old):
    content = yaml.safe_load(old.read_text())
    expected = n_numbers(content, old.parent)
    content["results"].append({"metric": "odd"})
    old.write_text(yaml.safe_dump(content, sort_keys=False))
    with pytest.warns(CatalogWarning) as said:
        update(old)
    number = len(content["results"])
    assert any(f"results, entry {number}:" in str(w.message) for w in said)
    assert len(read_measurements(old, latest=False)) == expected


MOVE = """
import os, signal, sys, warnings
from pathlib import Path
warnings.simplefilter("ignore")
from nwb_latents.pipeline.stores import atomic, catalog
left = int(sys.argv[2])
def counted(name):
    plain = getattr(os, name)
    def call(*args, **kwargs):
        global left
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return plain(*args, **kwargs)
    setattr(os, name, call)
for name in ("fsync", "replace", "rename", "open", "mkdir"):
    counted(name)
catalog.update_catalog(Path(sys.argv[1]), lambda c: c)
"""


@pytest.mark.slow
def test_killed_at_any_moment_nothing_is_lost_and_nothing_doubled(old):
    content = yaml.safe_load(old.read_text())
    expected = n_numbers(content, old.parent)
    left, finished = 0, False
    while not finished:
        command = [sys.executable, "-c", MOVE, str(old), str(left)]
        finished = subprocess.run(command, check=False).returncode != -signal.SIGKILL
        left += 1
        # Whatever stands on the disk is whole: all numbers, each once.
        copy = old.parent.with_name(f"copy{left}")
        shutil.copytree(old.parent, copy)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(catalog_v1, "say", lambda text: None)
            assert len(read_measurements(copy / "catalog.yaml", latest=False)) == expected
    assert left > 5
    assert len(read_measurements(old, latest=False)) == expected


def test_a_catalog_without_numbers_is_not_touched_by_reading(tmp_path):
    path = tmp_path / "catalog.yaml"
    text = "# my dandisets\ndandisets: {}\n"
    path.write_text(text)
    assert len(read_measurements(path)) == 0
    assert path.read_text() == text
    update(path)
    assert not list(tmp_path.glob("catalog.v1*"))
