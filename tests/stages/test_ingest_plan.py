"""What an ingest is going to do, and what it leaves out."""

import contextlib
import json
from collections import Counter

import pytest

from nwb_latents.pipeline.cluster.ledger import append_attempts, read_ledger
from nwb_latents.pipeline.errors import DataError, PartialFailure
from nwb_latents.pipeline.sources.asset import Asset
from nwb_latents.pipeline.sources.folder import FolderSource
from nwb_latents.pipeline.stages import ingest_plan
from nwb_latents.pipeline.stages.ingest import Selection, ingest, ledger_path
from nwb_latents.pipeline.stages.ingest_plan import plan_assets, session_of_path
from nwb_latents.pipeline.stores.catalog import read_catalog
from nwb_latents.schemas.recipe import IngestRecipe


class Listing:
    """A source that lists, and opens nothing."""

    def __init__(self, n):
        self._n = n

    def assets(self):
        return [
            Asset(path=f"sub-A/sub-A_ses-{i:05d}.nwb", size=10**8, dandiset="000999") for i in range(self._n)
        ]


@pytest.fixture
def folder(tmp_path, make_nwb, make_reaches):
    """Return a folder of three sessions."""
    for number in range(3):
        make_nwb(
            tmp_path / "nwb" / f"sub-T_ses-{number}.nwb",
            make_reaches(seed=number, n_trials=12, n_units=6),
            session=str(number),
        )
    return tmp_path / "nwb"


def run(folder, tmp_path, **words):
    events = []
    with contextlib.suppress(PartialFailure):
        ingest(tmp_path / "catalog.yaml", FolderSource([folder]), report=events.append, **words)
    return {e.session: e.status for e in events if e.event == "session"}


def ledger(tmp_path):
    return read_ledger(ledger_path(tmp_path / "catalog.yaml", IngestRecipe()))


def test_a_dry_run_states_bytes_time_and_memory(folder, tmp_path, pipeline_command):
    shown = pipeline_command("run", "ingest", "--path", folder, "--dry-run", "--json")
    assert shown.returncode == 0
    plan, *planned = map(json.loads, shown.stdout.splitlines())
    assert plan["n_sessions"] == len(planned) == 3
    assert (
        plan["bytes"] == sum(e["bytes"] for e in planned) == sum(p.stat().st_size for p in folder.iterdir())
    )
    assert plan["memory_bytes"] == max(e["memory_bytes"] for e in planned) > 10**8
    assert plan["seconds"] == pytest.approx(sum(e["seconds"] for e in planned), abs=0.2)
    assert {e["in_catalog"] for e in planned} == {False}
    people = pipeline_command("run", "ingest", "--path", folder, "--dry-run").stderr
    assert "of memory" in people
    assert not (tmp_path / "stores").exists()


def test_a_plan_says_what_the_catalog_has_of_this_recipe(folder, tmp_path):
    run(folder, tmp_path)
    for recipe, is_there in ((IngestRecipe(), True), (IngestRecipe(smooth_sigma_s=0.05), False)):
        events = []
        words = {"dry_run": True, "report": events.append}
        ingest(tmp_path / "catalog.yaml", FolderSource([folder]), recipe, **words)
        assert {e.in_catalog for e in events if e.event == "planned"} == {is_there}, recipe.recipe_id


def test_what_is_excluded_is_left_out_by_file_name_and_by_session_id(folder, tmp_path):
    (folder / "sub-T_ses-2.nwb").rename(folder / "renamed.nwb")
    assert run(folder, tmp_path, selection=Selection(exclude=("*_ses-1", "*_ses-2"))) == {
        "sub-T_ses-0": "done", "sub-T_ses-2": "unselected",
    }  # fmt: skip
    with pytest.raises(DataError, match="No file fits --session \\* --exclude \\*"):
        run(folder, tmp_path, selection=Selection(exclude=("*",)))


def test_a_failure_and_its_end_are_written_down(folder, tmp_path):
    good = (folder / "sub-T_ses-1.nwb").read_bytes()
    (folder / "sub-T_ses-1.nwb").write_text("not a recording")
    assert run(folder, tmp_path)["sub-T_ses-1"] == "failed"
    failed = [a for a in ledger(tmp_path) if a.status == "failed"]
    assert [(a.session, a.source, a.exit_code) for a in failed] == [("sub-T_ses-1", "sub-T_ses-1.nwb", 4)]
    assert "NWB" in failed[0].reason
    assert failed[0].host
    assert failed[0].pid
    assert failed[0].time

    (folder / "sub-T_ses-1.nwb").write_bytes(good)
    assert run(folder, tmp_path, retry_failed=True) == {"sub-T_ses-1": "done"}
    assert run(folder, tmp_path, retry_failed=True) == {}
    n_lines = len(ledger(tmp_path))
    assert set(run(folder, tmp_path).values()) == {"skipped"}
    assert len(ledger(tmp_path)) == n_lines == 4


def test_a_session_that_turned_out_well_is_not_retried_for_ever(folder, tmp_path):
    run(folder, tmp_path)
    path = ledger_path(tmp_path / "catalog.yaml", IngestRecipe())
    append_attempts(path, [ledger(tmp_path)[0].model_copy(update={"status": "failed"})])
    assert list(run(folder, tmp_path, retry_failed=True).values()) == ["skipped"]
    assert run(folder, tmp_path, retry_failed=True) == {}


def test_shards_together_do_what_one_run_does(folder, tmp_path, pipeline_command):
    for i in range(8):
        done = pipeline_command(
            "run", "ingest", "--path", folder, "--shard", f"{i}/8", "--limit", 2, "--quiet"
        )
        assert done.returncode == 0, done.stderr
    catalog = read_catalog(tmp_path / "catalog.yaml")
    assert {e.session for e in catalog.sessions.values()} == {"sub-T_ses-0", "sub-T_ses-1"}


def test_stores_may_lie_elsewhere(folder, tmp_path, pipeline_command):
    catalog = tmp_path / "work" / "catalog.yaml"
    words = ("run", "ingest", "--path", folder, "--stores", tmp_path / "scratch", "--catalog", catalog)
    assert pipeline_command(*words).returncode == 0
    stores = [e.store for e in read_catalog(catalog).sessions.values()]
    assert len(stores) == 3
    assert all(store.startswith(str(tmp_path / "scratch")) for store in stores)
    assert pipeline_command("catalog", "verify", "--catalog", catalog).returncode == 0
    again = pipeline_command(*words, "--json")
    assert {json.loads(line).get("status", "skipped") for line in again.stdout.splitlines()} == {"skipped"}


def test_ways_to_read_exclude_each_other(folder, pipeline_command):
    done = pipeline_command("run", "ingest", "--path", folder, "--stream", "--download")
    assert done.returncode == 2
    assert "one of --stream" in done.stderr


def test_thousands_of_sessions_are_planned_with_one_look_at_each(monkeypatch):
    asked = Counter()

    def counted(path):
        asked[path] += 1
        return session_of_path(path)

    monkeypatch.setattr(ingest_plan, "session_of_path", counted)
    assets = plan_assets(Listing(5000), Selection(exclude=("*_ses-00001",)))
    assert len(assets) == 4999
    assert (len(asked), set(asked.values())) == (5000, {1})
