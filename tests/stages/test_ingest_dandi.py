"""Ingest from an archive on the loopback interface, through the real client and the command line."""

import json

import pytest
from archive import LoopbackArchive, drop, flip_byte, short_body, status

VERSION = "0.240101.0000"


@pytest.fixture
def files(tmp_path, make_nwb, make_reaches):
    """Return two sessions under their paths in the dandiset."""
    out = {}
    for number, subject in enumerate("AB"):
        name = f"sub-{subject}/sub-{subject}_ses-CO-{number}_behavior+ecephys.nwb"
        made = make_nwb(
            tmp_path / "made" / name, make_reaches(seed=number), subject=subject, session=f"CO-{number}"
        )
        out[name] = made.read_bytes()
    return out


@pytest.fixture
def ingest(pipeline_command):
    """Return a function that ingests from an archive and gives exit code, session events and messages."""

    def run(archive, *words, dandiset="000999", env=None):
        shown = pipeline_command(
            "run", "ingest", "--dandiset", dandiset, "--instance", archive.url, "--json", *words,
            env={"DANDI_NO_ET": "1", "NO_PROXY": "127.0.0.1", **(env or {})},
        )  # fmt: skip
        events = [json.loads(line) for line in shown.stdout.splitlines()]
        assert "Traceback" not in shown.stderr
        return shown.returncode, {e["session"]: e for e in events if e["event"] == "session"}, shown.stderr

    return run


def stores(tmp_path):
    return sorted(p.stem for p in tmp_path.glob("stores/*/*.zarr"))


def test_a_dandiset_is_fetched_verified_and_ingested(files, ingest, tmp_path):
    with LoopbackArchive({"000999": {VERSION: files}}) as archive:
        code, sessions, _ = ingest(archive)
        assert code == 0
        assert {s: e["status"] for s, e in sessions.items()} == {
            "sub-A_ses-CO-0": "done",
            "sub-B_ses-CO-1": "done",
        }
        sent = archive.bytes_sent("/blob/*")
        code, sessions, _ = ingest(archive)
        assert {e["status"] for e in sessions.values()} == {"skipped"}
        assert archive.bytes_sent("/blob/*") == sent
    store = next(tmp_path.glob("stores/*/sub-A*.zarr"))
    provenance = json.loads(
        json.loads((store / "trials" / "zarr.json").read_text())["attributes"]["provenance"]
    )
    assert (provenance["dandiset"], provenance["dandiset_version"]) == ("000999", VERSION)
    assert provenance["asset_digest"].startswith("sha256:")


def test_only_chosen_sessions_are_fetched(files, ingest, tmp_path):
    with LoopbackArchive({"000999": {VERSION: files}}) as archive:
        code, sessions, _ = ingest(archive, "--session", "sub-B*")
        assert code == 0
        assert list(sessions) == ["sub-B_ses-CO-1"]
        assert archive.bytes_sent("/blob/*") == len(files["sub-B/sub-B_ses-CO-1_behavior+ecephys.nwb"])


def test_nothing_is_fetched_for_a_store_that_is_up_to_date_though_the_download_is_gone(
    files, ingest, tmp_path
):
    import shutil

    with LoopbackArchive({"000999": {VERSION: files}}) as archive:
        assert ingest(archive)[0] == 0
        shutil.rmtree(tmp_path / "downloads")
        sent = archive.bytes_sent("/blob/*")
        assert ingest(archive)[0] == 0
        assert archive.bytes_sent("/blob/*") == sent


def test_passing_faults_are_retried_to_success(files, ingest, tmp_path):
    with LoopbackArchive({"000999": {VERSION: files}}) as archive:
        archive.fault("/blob/*", drop(after=20_000))
        archive.fault("/api/info/", status(503))
        code, sessions, _ = ingest(archive)
    assert code == 0
    assert {e["status"] for e in sessions.values()} == {"done"}


@pytest.mark.parametrize("fault", [flip_byte(at=30_000), short_body(by=100)])
def test_a_corrupted_body_is_never_ingested_and_the_other_session_finishes(files, ingest, tmp_path, fault):
    with LoopbackArchive({"000999": {VERSION: {k: v for k, v in files.items() if "sub-A" in k}}}) as archive:
        archive.fault("/blob/*", fault, times=None)
        code, sessions, _ = ingest(archive)
    assert code in (4, 5)
    assert sessions["sub-A_ses-CO-0"]["status"] == "failed"
    assert "orrupted" in sessions["sub-A_ses-CO-0"]["reason"]
    assert stores(tmp_path) == []
    assert not list((tmp_path / "downloads").rglob("*.nwb"))


@pytest.mark.parametrize(
    ("dandiset", "code", "says"),
    [
        ("000001", 4, "000001"),
        ("000999@0.000000.0000", 4, VERSION),
        ("000999@draft", 4, "draft"),
        ("nonsense", 2, "nonsense"),
    ],
)
def test_dandisets_that_are_not_there(files, ingest, dandiset, code, says):
    with LoopbackArchive({"000999": {VERSION: files}}) as archive:
        found, sessions, said = ingest(archive, dandiset=dandiset)
    assert found in (code, 4)
    assert not sessions
    assert says in said


def test_an_archive_that_is_down_is_the_environment(files, ingest):
    with LoopbackArchive({"000999": {VERSION: files}}) as archive:
        archive.fault("/api/dandisets/*", status(404), times=None)
        code, _, _ = ingest(archive)
        assert code == 4


def test_a_missing_key_never_prompts(files, ingest):
    with LoopbackArchive({"000999": {VERSION: files}}, embargoed={"000999"}, tokens={"secret"}) as archive:
        code, _, said = ingest(archive, "--token-env", "MY_ARCHIVE_KEY")
        assert code == 4
        assert "MY_ARCHIVE_KEY" in said
        code, sessions, _ = ingest(archive, "--token-env", "MY_ARCHIVE_KEY", env={"MY_ARCHIVE_KEY": "secret"})
        assert code == 0
        assert len(sessions) == 2
