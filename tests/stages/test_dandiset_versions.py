"""Which version of a dandiset is taken: said, stored, pinned by archive, and never another one in silence."""

from __future__ import annotations

import json

import pytest
import yaml
from archive import LoopbackArchive
from archive.shelf import ShelvedAsset

ID = "000999"
OLD, NEW = "0.240101.0000", "0.250101.0000"


@pytest.fixture(scope="module")
def sessions(tmp_path_factory):
    """Return two small sessions under their paths in the dandiset."""
    from nwb_latents.pipeline.sources.simulator import simulate_dandiset
    from nwb_latents.schemas.simulation import SimulateSettings

    folder = tmp_path_factory.mktemp("made")
    settings = SimulateSettings(n_subjects=2, n_sessions=1, n_units=(8, 8), n_trials=20, waveforms=False)
    return {
        f"{path.parent.name}/{path.name}": path.read_bytes() for path in simulate_dandiset(folder, settings)
    }


@pytest.fixture
def archive(sessions):
    with LoopbackArchive({ID: {OLD: sessions, "draft": sessions}}) as it:
        yield it


@pytest.fixture
def run(pipeline_command, archive):
    """Return a function that runs a command on the archive: exit code, events, messages."""

    def call(*words, instance=None):
        shown = pipeline_command(*words, "--instance", instance or archive.url, env={"NO_PROXY": "127.0.0.1"})
        assert "Traceback" not in shown.stderr
        lines = [json.loads(line) for line in shown.stdout.splitlines() if line.startswith("{")]
        return shown.returncode, lines, shown.stderr

    return call


def ingested(run, dandiset=ID, *more, **options):
    return run("run", "ingest", "--dandiset", dandiset, "--json", *more, **options)


def plan(events):
    return next(event for event in events if event["event"] == "plan")


def provenance(folder):
    store = next(folder.glob("stores/*/*.zarr"))
    return json.loads(json.loads((store / "trials" / "zarr.json").read_text())["attributes"]["provenance"])


def notes(events):
    return " ".join(event["text"] for event in events if event["event"] == "note")


def publish(archive, version, sessions):
    assets = [ShelvedAsset.of(ID, version, path, data) for path, data in sessions.items()]
    archive.dandisets[ID].versions[version] = assets


def test_the_version_taken_is_printed_planned_and_stored(run, archive, tmp_path):
    code, events, said = ingested(run)
    assert code == 0, said
    taken = {key: plan(events)[key] for key in ("dandiset", "version", "version_from", "archive")}
    assert taken == {"dandiset": ID, "version": OLD, "version_from": "latest", "archive": archive.url}
    assert f"of {ID}@{OLD} (the latest published) in {archive.url}" in said
    for entry in yaml.safe_load((tmp_path / "catalog.yaml").read_text())["sessions"].values():
        assert (entry["dandiset"], entry["archive"]) == (f"{ID}@{OLD}", archive.url)
    origin = provenance(tmp_path)
    assert (origin["dandiset_version"], origin["archive"], origin["verification"]) == (
        OLD,
        archive.url,
        "digest",
    )


def test_another_version_than_the_catalog_has_asks_for_a_pin(run, archive, sessions, pipeline_command):
    assert ingested(run)[0] == 0
    publish(archive, NEW, dict(list(sessions.items())[:1]))
    code, events, said = ingested(run)
    assert code == 4
    assert not [event for event in events if event["event"] == "session"]
    assert f"pipeline catalog pin {ID}@{OLD} --instance {archive.url}" in said
    assert f"pipeline catalog pin {ID}@{NEW} --instance {archive.url}" in said
    code, events, _ = ingested(run, ID, "--dry-run")
    assert code == 0
    assert f"{NEW} has been published since" in notes(events)

    code, (pinned,), _ = run("catalog", "pin", f"{ID}@{OLD}", "--json")
    assert (code, pinned["version"], pinned["previous"], pinned["n_files"]) == (0, OLD, None, 2)
    code, events, _ = ingested(run)
    assert (code, plan(events)["version"], plan(events)["version_from"]) == (0, OLD, "pinned")
    assert f"Version {OLD} is read; the latest published one is {NEW}." in notes(events)

    code, (pinned,), _ = run("catalog", "pin", ID, "--json")
    assert (code, pinned["version"], pinned["previous"]) == (0, NEW, OLD)
    code, events, _ = ingested(run)
    assert (code, plan(events)["version"], plan(events)["version_from"]) == (0, NEW, "pinned")
    assert f"the sessions in the catalog are of version {OLD}; {NEW} is read now" in notes(events)
    assert f"1 sessions of the catalog are not in {ID}@{NEW}" in notes(events)
    code, events, _ = ingested(run, f"{ID}@{OLD}")
    assert (plan(events)["version"], plan(events)["version_from"]) == (OLD, "asked")
    assert "are not in" not in notes(events)


def test_a_pin_counts_for_its_archive_however_it_is_named(run, archive, sessions, tmp_path):
    publish(archive, NEW, sessions)
    assert run("catalog", "pin", f"{ID}@{OLD}")[0] == 0
    for instance in (archive.url, f"{archive.url}/api", f"{archive.url}/api/"):
        _, events, _ = ingested(run, ID, "--dry-run", instance=instance)
        assert plan(events)["version"] == OLD
    with LoopbackArchive({ID: {OLD: sessions, NEW: sessions}}) as other:
        _, events, _ = ingested(run, ID, "--dry-run", instance=other.url)
        assert (plan(events)["version"], plan(events)["version_from"]) == (NEW, "latest")
        assert run("catalog", "pin", ID, instance=other.url)[0] == 0
    pins = yaml.safe_load((tmp_path / "catalog.yaml").read_text())["dandisets"]
    places = {url.removeprefix("http://") for url in (archive.url, other.url)}
    assert {key.rpartition("/")[0] for key in pins} == places
    assert {entry["archive"] for entry in pins.values()} == {archive.url, other.url}


def test_a_pin_of_the_main_archive_counts_for_its_address(tmp_path):
    from nwb_latents.pipeline.stages.ingest_words import archive_source

    for instance in ("dandi", "https://api.dandiarchive.org/api", "https://dandiarchive.org"):
        source = archive_source("000688", tmp_path / "catalog.yaml", instance=instance)
        assert source.version == "0.250122.1735"


def test_a_draft_is_pinned_file_by_file(run, archive, sessions, tmp_path):
    code, (pinned,), _ = run("catalog", "pin", f"{ID}@draft", "--json")
    assert (code, pinned["version"], pinned["n_pins"]) == (0, "draft", 2)
    path = next(iter(sessions))
    archive.replace(ID, "draft", path, b"other")
    code, events, said = ingested(run)
    assert code == 3
    assert plan(events)["version"] == "draft"
    assert f"{path} was replaced in the draft since it was pinned." in notes(events)
    archive.asset(ID, "draft", path).sha256 = None
    code, _, said = run("catalog", "pin", f"{ID}@draft")
    assert code == 4
    assert "not computed the digests of 1 of 2" in said
    kept = yaml.safe_load((tmp_path / "catalog.yaml").read_text())["dandisets"]
    (entry,) = kept.values()
    assert len(entry["pins"]) == 2


@pytest.mark.parametrize(
    ("name", "code", "says"),
    [
        (f"{ID}@0.1.1", 4, f"has no version 0.1.1. Published versions: {OLD}"),
        ("000001", 4, "not found"),
        ("nonsense", 4, "is not a dandiset"),
    ],
)
def test_what_cannot_be_pinned_is_told_and_nothing_written(run, tmp_path, name, code, says):
    found, _, said = run("catalog", "pin", name)
    assert found == code
    assert says in said
    assert not (tmp_path / "catalog.yaml").exists()


def test_show_says_what_the_bytes_were_held_against(run, pipeline_command):
    assert ingested(run, ID, "--stream", "--limit", "1")[0] == 0
    (session,) = map(json.loads, pipeline_command("catalog", "list", "--json").stdout.splitlines())
    assert "NOT VERIFIED" in pipeline_command("catalog", "show", session["session"]).stdout
    assert ingested(run, ID, "--limit", "1")[0] == 0
    shown = pipeline_command("catalog", "show", session["session"]).stdout
    assert "verified: the file's SHA-256" in shown
    assert "NOT VERIFIED" not in shown


def test_a_stream_can_be_verified_whole(run, archive, sessions, tmp_path):
    code, _, _ = ingested(run, ID, "--stream", "--verify", "--limit", "1")
    assert code == 0
    assert not (tmp_path / "downloads").exists()
    origin = provenance(tmp_path)
    assert origin["verification"] == "digest"
    assert archive.bytes_sent("/blob/*") >= len(min(sessions.values(), key=len))
