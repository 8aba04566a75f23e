"""The command line with stores on object storage, from the recording to the check of its store."""

import json

import pytest
import yaml

from nwb_latents.pipeline.sources.folder import FolderSource
from nwb_latents.pipeline.stages import session_shelf
from nwb_latents.pipeline.stages.ingest import ingest as run_ingest
from nwb_latents.pipeline.stores.location import StoreLocation
from nwb_latents.pipeline.stores.trials import read_attributes

pytestmark = pytest.mark.slow


@pytest.fixture
def ingest(pipeline_command, small_nwb, bucket):
    def run(*words):
        return pipeline_command(
            "run", "ingest", "--path", small_nwb.parent, "--stores", bucket / "stores", "--json", *words
        )

    return run


def status(shown):
    events = [json.loads(line) for line in shown.stdout.splitlines()]
    return [event["status"] for event in events if event["event"] == "session"]


def test_ingest_verify_and_show(ingest, pipeline_command, tmp_path):
    shown = ingest()
    assert shown.returncode == 0, shown.stderr
    assert status(shown) == ["done"]
    (entry,) = yaml.safe_load((tmp_path / "catalog.yaml").read_text())["sessions"].values()
    assert entry["store"].startswith("s3://lab-")
    assert status(ingest()) == ["skipped"]
    assert pipeline_command("catalog", "verify").returncode == 0
    detail = json.loads(pipeline_command("catalog", "show", entry["session"], "--json").stdout)
    assert detail["attributes"]["store_key"] == entry["store_key"]

    where = StoreLocation.parse(entry["store"])
    shard = next(name for name in where.objects.sizes() if name.startswith("trials/counts/c/"))
    where.objects.delete([shard])
    damaged = pipeline_command("catalog", "verify")
    assert damaged.returncode == 4
    assert f"{shard} is not there" in damaged.stdout
    assert status(ingest("--force")) == ["done"]
    assert pipeline_command("catalog", "verify").returncode == 0


def test_storage_out_of_reach_is_no_damage(ingest, pipeline_command, tmp_path):
    assert ingest().returncode == 0
    (entry,) = yaml.safe_load((tmp_path / "catalog.yaml").read_text())["sessions"].values()
    for words in (("verify",), ("show", entry["session"])):
        shown = pipeline_command("catalog", *words, env={"AWS_ENDPOINT_URL": "http://127.0.0.1:9"})
        assert shown.returncode == 5, shown.stderr
        assert "cannot be reached" in shown.stderr
        assert "Traceback" not in shown.stderr
    assert read_attributes(entry["store"]) is not None


def test_shards_made_on_the_disk_are_the_objects_of_a_store_made_in_memory(
    bucket, small_nwb, tmp_path, monkeypatch
):
    made, calls = {}, []
    shelf = session_shelf.shard_shelf
    monkeypatch.setattr(session_shelf, "shard_shelf", lambda *a, **k: calls.append(a[0]) or shelf(*a, **k))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    for name, memory in (("whole", 1 << 40), ("in blocks", 300_000)):
        monkeypatch.setattr(session_shelf, "_memory_bytes", lambda job, memory=memory: memory)
        source = FolderSource([small_nwb])
        (entry,) = run_ingest(tmp_path / name / "catalog.yaml", source, stores=str(bucket / name.split()[0]))
        objects = StoreLocation.parse(entry.store).objects
        made[name] = {key: objects.read(key).content for key in objects.sizes()}
        assert len(calls) == (name == "in blocks")
    assert any("/c/" in key for key in made["whole"])
    assert made["in blocks"] == made["whole"]
    assert not list((tmp_path / "scratch").iterdir()), "something was left behind"
