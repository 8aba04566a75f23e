"""Sessions whose last ingest failed, and what to do about them."""

import json

import pytest


@pytest.fixture
def broken_and_whole(pipeline_command, small_nwb):
    broken = small_nwb.with_name("sub-U_ses-CO-2.nwb")
    broken.write_bytes(b"not HDF5")
    ingested = pipeline_command("run", "ingest", "--path", small_nwb.parent)
    assert ingested.returncode == 3
    return broken


def test_failures_say_which_session_failed_when_why_and_what_to_do(
    pipeline_command, broken_and_whole, small_nwb
):
    pipeline_command("run", "ingest", "--path", small_nwb.parent, "--retry-failed")
    shown = pipeline_command("catalog", "failures", "--json")
    assert shown.returncode == 0, shown.stderr
    (event,) = map(json.loads, shown.stdout.splitlines())
    assert (event["event"], event["session"], event["attempts"]) == ("failure", "sub-U_ses-CO-2", 2)
    assert event["source"].endswith(broken_and_whole.name)
    assert (event["error"], event["exit_code"]) == ("data", 4)
    assert "not an NWB file" in event["message"]
    assert "delete it and fetch it again" in event["remedy"]
    assert event["time"] > "2020"
    assert event["recipe_id"].startswith("20ms-")
    lines = pipeline_command("catalog", "failures").stdout.splitlines()
    assert len(lines) == 2, "one line for the session, one that says how to go on"
    assert lines[0].startswith("sub-U_ses-CO-2 (")
    assert "2 attempts: data: " in lines[0]
    assert "--retry-failed" in lines[1]


def test_a_failure_that_was_mended_is_none(pipeline_command, broken_and_whole, make_nwb, reaches):
    make_nwb(broken_and_whole, reaches, subject="U", session="CO-2")
    assert pipeline_command("run", "ingest", "--path", broken_and_whole.parent).returncode == 0
    shown = pipeline_command("catalog", "failures")
    assert (shown.returncode, shown.stdout) == (0, "None: no session failed in its last attempt.\n")
    assert pipeline_command("catalog", "failures", "--json").stdout == ""


def test_without_a_ledger_there_is_nothing_to_say_of_failures(pipeline_command, broken_and_whole, tmp_path):
    for words in (["--catalog", tmp_path / "other" / "catalog.yaml"], ["--recipe-id", "5ms"]):
        shown = pipeline_command("catalog", "failures", *words)
        assert shown.returncode == 4
        assert "no ledger" in shown.stderr
        assert "pipeline run ingest" in shown.stderr.replace("\n", " ")
