"""``pipeline catalog scores``: what was measured, filtered, for people and for machines."""

import json

import pytest

from nwb_latents.pipeline.stores.measurements import add_measurements
from nwb_latents.schemas.measurement import Measurement


@pytest.fixture
def measured(tmp_path):
    plain = {"recipe_id": "20ms-a", "split": "test", "n_trials": 9}
    of_run = {
        **plain, "name": "velocity_r2", "run": "lfads-1", "source": "forecast", "decoder": "kernel_ridge",
        "fitted_on": "recorded rates", "seen_bins": 13, "bins": 20, "lag_ms": 100.0,
    }  # fmt: skip
    add_measurements(
        tmp_path / "catalog.yaml",
        [
            Measurement(**of_run, session="sub-A", value=0.25, low=0.125, high=0.5),
            Measurement(**of_run, session="sub-A", value=0.75, step=1),
            Measurement(**of_run, session="sub-B", value=None, reason="no velocity"),
            Measurement(**plain, name="co_bps", unit="bits/spike", session="sub-A", value=0.1, source="gpfa",
                        is_baseline=True),
        ],
    )  # fmt: skip


def test_a_table_says_what_each_number_means(pipeline_command, measured):
    shown = pipeline_command("catalog", "scores", "--metric", "velocity*", "--session", "sub-A")
    assert shown.returncode == 0
    for word in ("0.25", "0.125 to 0.5", "kernel_ridge", "recorded rates", "bins 20 after 13", "100 ms"):
        assert word in shown.stdout
    assert "0.75" not in shown.stdout
    assert "0.75" in pipeline_command("catalog", "scores", "--steps").stdout


def test_json_has_every_field(pipeline_command, measured):
    shown = pipeline_command("catalog", "scores", "--json")
    found = [json.loads(line) for line in shown.stdout.splitlines()]
    assert [(one["event"], one["session"], one["name"], one["value"]) for one in found] == [
        ("measurement", "sub-A", "velocity_r2", 0.25),
        ("measurement", "sub-B", "velocity_r2", None),
        ("measurement", "sub-A", "co_bps", 0.1),
    ]
    assert found[1]["reason"] == "no velocity"
    assert set(Measurement.model_fields) <= found[0].keys()


def test_nothing_that_matches_says_what_to_do(pipeline_command, measured):
    shown = pipeline_command("catalog", "scores", "--run", "nobody")
    assert shown.returncode == 4
    assert "leave out a condition" in shown.stderr


def test_long_tables_are_written_without_a_frame(pipeline_command, tmp_path):
    many = [
        Measurement(
            name="co_bps", value=k, session=f"sub-{k:04}", recipe_id="r", split="test", n_trials=1,
            source="gpfa",
        )
        for k in range(600)
    ]  # fmt: skip  # fmt: skip
    add_measurements(tmp_path / "catalog.yaml", many)
    lines = pipeline_command("catalog", "scores").stdout.splitlines()
    assert len(lines) == 602
    assert lines[-1].split()[:4] == ["sub-0599", "gpfa", "co_bps", "599"]
