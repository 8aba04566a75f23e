"""What is known of dandisets and sessions, for people and for machines."""

import json

import pytest
import yaml

from nwb_latents.pipeline.cli.console import Output
from nwb_latents.pipeline.cli.describe import show_session
from nwb_latents.pipeline.sources.known_dandisets import known_dandisets
from nwb_latents.pipeline.stores.catalog import read_catalog
from nwb_latents.schemas.models import MODELS
from nwb_latents.schemas.quality import KinematicOutliers, Percentiles, RateStability, SessionQuality
from nwb_latents.schemas.store import DropCounts, Provenance, StoreAttributes


def test_dandisets_are_listed_with_files_size_licence_and_citation(pipeline_command):
    shown = pipeline_command("dandisets", "--json")
    entries = {e["dandiset"]: e for e in map(json.loads, shown.stdout.splitlines())}
    draft, pins = entries["000070"], known_dandisets()["000070"].pins
    assert (draft["n_pins"], draft["n_files"]) == (9, 9)
    assert draft["n_bytes"] == sum(pin.size for pin in pins)
    assert draft["license"] == "CC-BY-4.0"
    published = entries["000121"]
    assert (published["n_pins"], published["n_files"], published["n_bytes"]) == (0, 15, 187_534_957_634)
    assert entries["000688"]["citation"] == known_dandisets()["000688"].citation
    assert all({"version", "layout", "tasks", "notes"} <= set(entry) for entry in entries.values())
    table = pipeline_command("dandisets").stdout
    assert "45.9 GB" in table
    assert "188 GB" in table
    assert "29.9 MB" in table
    assert "0.250122.1735" in table


def test_one_dandiset_is_shown_with_its_notes(pipeline_command):
    shown = pipeline_command("dandisets", "000070")
    assert shown.returncode == 0
    for note in known_dandisets()["000070"].notes:
        assert note in shown.stdout
    assert "sub-Nitschke_ses-20090812" in shown.stdout
    assert pipeline_command("dandisets", "000688").returncode == 0
    unknown = pipeline_command("dandisets", "000001")
    assert unknown.returncode == 4
    assert "000688" in unknown.stderr


def test_a_dandiset_of_the_catalog_is_listed_with_the_size_it_states(pipeline_command, tmp_path):
    entry = {"title": "mine", "version": "0.240101.0000", "layout": "generic", "tasks": ["CO"]}
    entry |= {"n_files": 3, "n_bytes": 2_000_000_000}
    (tmp_path / "catalog.yaml").write_text(yaml.safe_dump({"dandisets": {"000999": entry}}))
    (event,) = map(json.loads, pipeline_command("dandisets", "000999", "--json").stdout.splitlines())
    assert (event["n_files"], event["n_bytes"], event["n_pins"]) == (3, 2_000_000_000, 0)
    assert "2 GB" in pipeline_command("dandisets", "000999").stdout


@pytest.fixture
def shown_session(capsys, tmp_path):
    def show(**changes):
        content = {
            "session": "sub-T_ses-1", "subject": "T", "task": "CO", "recipe_id": "20ms-0", "store": "s.zarr",
            "store_key": "k", "source": "a.nwb", "n_trials": 20, "n_units": 7, "n_bins": 36,
            "bin_size_s": 0.02, "created": "2024-01-01T00:00:00+00:00",
        }  # fmt: skip
        (tmp_path / "catalog.yaml").write_text(yaml.safe_dump({"sessions": {"a": content}}))
        entry = read_catalog(tmp_path / "catalog.yaml").sessions["a"]
        attributes = StoreAttributes(
            **{
                "store_key": "k", "session": "s", "subject": "T", "task": "CO", "bin_size_s": 0.02,
                "n_event_bins": 13, "recipe": {"min_rate_hz": 0.5},
                "provenance": Provenance(
                    source="a.nwb", asset_digest="sha256:0", layout="generic", warnings=("odd clock",)
                ),
                "dropped": DropCounts(units={"below_min_rate": 3}, trials={"flagged_by_file": 2}),
                **changes,
            }
        )  # fmt: skip
        with Output() as out:
            show_session(out, entry, attributes, [])
        return capsys.readouterr().out

    return show


def test_a_session_is_shown_with_what_was_left_out_and_why(shown_session):
    text = " ".join(shown_session().replace("│", " ").split())
    assert "unit below_min_rate 3" in text
    assert "trial flagged_by_file 2" in text
    assert "warning: odd clock" in text
    assert "min_rate_hz=0.5" in text


def test_what_the_file_states_of_the_subject_is_shown(shown_session):
    assert "species" not in shown_session()
    stated = Provenance(
        source="a.nwb", asset_digest="sha256:0", layout="generic", species="Macaca mulatta", sex="F"
    )
    text = " ".join(shown_session(provenance=stated).replace("│", " ").split())
    assert "species, sex, age Macaca mulatta, F" in text


def test_a_session_without_losses_says_so(shown_session):
    assert "Left out: no unit, no trial." in shown_session(dropped=DropCounts())


def test_the_quality_of_a_session_is_shown_with_meaning_and_unit(shown_session):
    quality = SessionQuality(
        n_trials=20, n_units=7, reaction_time_s=Percentiles(n=19, p5=0.2, p50=0.31, p95=0.48),
        peak_speed_cm_s=Percentiles(n=0), onset_quality={"ok": 18, "slow_rise": 2},
        rates=RateStability(drift=0.125), outliers=KinematicOutliers(share=0.01), decodability=0.71234,
        flags=("rate_drift",),
    )  # fmt: skip
    text = " ".join(shown_session(quality=quality).replace("│", " ").split())
    assert "0.31 (5th to 95th percentile 0.2 to 0.48, n = 19)" in text
    assert "decodability 0.712" in text
    assert "ok 18, slow_rise 2" in text
    assert "rates drift 0.125" in text
    assert "Flags: rate_drift." in text
    assert "Flags: none." in shown_session(quality=quality.model_copy(update={"flags": ()}))


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


def test_models_are_listed_with_what_one_looks_at_first(pipeline_command):
    result = pipeline_command("models", "--json")
    events = [json.loads(line) for line in result.stdout.splitlines()]
    assert [event["model"] for event in events] == list(MODELS)
    for event in events:
        assert event["summary"]
        assert event["paper"]
        defaults = MODELS[event["model"]].model_fields
        assert event["main_settings"] == {name: defaults[name].default for name in event["main_settings"]}


def test_a_model_is_shown_with_all_its_settings(pipeline_command):
    result = pipeline_command("models", "hnet")
    assert result.returncode == 0
    assert "recurrent_dim [64]" in result.stdout
    assert "generator_dim" not in result.stdout


def test_a_model_that_is_not_there_is_a_wrong_use(pipeline_command):
    result = pipeline_command("models", "gpfa")
    assert result.returncode == 2
    assert "expected one of mdssm, lfads" in result.stderr
