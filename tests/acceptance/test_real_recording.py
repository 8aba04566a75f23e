"""The main job on a real recording of reaching: reaches found from speed, hand velocity decoded."""

import json

import pytest

pytestmark = [pytest.mark.real_data, pytest.mark.slow]


@pytest.mark.parametrize(
    "words", [(), ("--set", "bin_size_s=0.05", "--set", "window_s=[-0.25,0.45]")], ids=["20 ms", "50 ms"]
)
def test_hand_velocity_is_decoded_from_smoothed_rates(real_data, pipeline_command, words):
    shown = pipeline_command("run", "ingest", "--path", real_data, "--json", *words)
    assert shown.returncode == 0, shown.stderr
    session = next(e for e in map(json.loads, shown.stdout.splitlines()) if e["event"] == "session")
    assert session["n_trials"] >= 150
    shown = pipeline_command("run", "decode", "--source", "rates", "--json")
    assert shown.returncode == 0, shown.stderr
    score = next(e for e in map(json.loads, shown.stdout.splitlines()) if e["event"] == "measurement")
    assert score["value"] >= 0.75
    assert (score["definition"], score["lag_ms"], score["split"]) == ("r2_uniform", 100.0, "test")


def test_a_window_that_is_no_whole_number_of_bins_names_the_nearest(real_data, pipeline_command):
    shown = pipeline_command("run", "ingest", "--path", real_data, "--set", "bin_size_s=0.05")
    assert shown.returncode == 4
    assert "nearest window that is: [-0.25, 0.45]" in shown.stderr
