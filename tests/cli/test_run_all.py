"""``pipeline run`` without a name: all stages, and only what is not up to date."""

import json

import pytest

TINY = {
    "train.model.latent_dim": 3, "train.model.encoder_width": 8, "train.model.dynamics_width": 8,
    "train.model.hyper_width": 8, "train.model.read_in.hidden": 8, "train.model.read_in.width": 4,
    "train.model.rank": 1, "train.max_steps": 20, "train.validate_every": 10, "train.device": "cpu",
}  # fmt: skip


@pytest.mark.slow
def test_all_stages_run_in_order_and_nothing_twice(pipeline_command, small_nwb):
    words = [w for key, value in TINY.items() for w in ("--set", f"{key}={value}")]
    first = pipeline_command("run", "--path", small_nwb.parent, "--json", *words)
    assert first.returncode == 0, first.stderr
    events = [json.loads(line) for line in first.stdout.splitlines()]
    runs = [e for e in events if e["event"] == "run"]
    assert [r["status"] for r in runs] == ["done"]
    sources = [e["source"] for e in events if e["event"] == "score"]
    assert sources == ["rates", "reconstruction", "forecast"]

    again = pipeline_command("run", "--path", small_nwb.parent, "--json", *words)
    assert again.returncode == 0, again.stderr
    events = [json.loads(line) for line in again.stdout.splitlines()]
    assert next(e["status"] for e in events if e["event"] == "session") == "skipped"
    assert [e["status"] for e in events if e["event"] == "run"] == ["skipped"]


def test_a_setting_without_a_stage_is_a_usage_error(pipeline_command, small_nwb):
    shown = pipeline_command("run", "--path", small_nwb.parent, "--set", "max_steps=3")
    assert shown.returncode == 2
    assert "expected the stage first" in shown.stderr
