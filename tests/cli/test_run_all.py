"""``pipeline run`` without a name: all stages, and only what is not up to date."""

import json

import pytest

TINY = {
    "train.model.latent_dim": 3, "train.model.encoder_width": 8, "train.model.dynamics_width": 8,
    "train.model.hyper_width": 8, "train.model.read_in.hidden": 8, "train.model.read_in.width": 4,
    "train.model.rank": 1, "train.max_steps": 20, "train.validate_every": 10, "train.device": "cpu",
    "evaluate.baselines": '["null","hold_last"]',
}  # fmt: skip


@pytest.mark.slow
def test_all_stages_run_in_order_and_nothing_twice(pipeline_command, small_nwb):
    words = [w for key, value in TINY.items() for w in ("--set", f"{key}={value}")]
    first = pipeline_command("run", "--path", small_nwb.parent, "--json", *words)
    assert first.returncode == 0, first.stderr
    events = [json.loads(line) for line in first.stdout.splitlines()]
    runs = [e for e in events if e["event"] == "run"]
    assert [r["status"] for r in runs] == ["done"]
    sources = [e["source"] for e in events if e["event"] == "measurement" and e["stage"] == "decode"]
    beside = ["linear_forecast", "condition_mean"]
    assert sources == ["rates", *beside, "reconstruction", "forecast_decoded", "forecast"]
    measured = [e for e in events if e["event"] == "measurement" and e["stage"] == "evaluate"]
    assert list(dict.fromkeys(e["label"] for e in measured)) == ["mdssm", "null", "hold last"]
    assert {e["status"] for e in measured} == {"done"}
    assert {e["name"] for e in measured} == {
        "co_bps", "common_co_bps", "few_shot_co_bps", "cycle_consistency", "calibration", "fp_bps",
        "velocity_r2", "nlb_velocity_r2", "velocity_correlation", "position_correlation", "psth_r2",
        "forecast_rates_r2", "forecast_calibration",
    }  # fmt: skip

    again = pipeline_command("run", "--path", small_nwb.parent, "--json", *words)
    assert again.returncode == 0, again.stderr
    events = [json.loads(line) for line in again.stdout.splitlines()]
    assert next(e["status"] for e in events if e["event"] == "session") == "skipped"
    assert [e["status"] for e in events if e["event"] == "run"] == ["skipped"]
    measured = [e for e in events if e["event"] == "measurement" and e["stage"] == "evaluate"]
    assert {e["status"] for e in measured} == {"skipped"}
    board = pipeline_command("leaderboard", "--json")
    assert board.returncode == 0, board.stderr
    rows = [json.loads(line) for line in board.stdout.splitlines()]
    assert {row["label"] for row in rows} == {"mdssm", "null", "hold last"}
    shown = pipeline_command("leaderboard", "--by", "velocity_r2")
    assert "Means over sessions" in shown.stdout
    assert "fitted on own rates, train and val trials" in " ".join(shown.stdout.split())
    assert pipeline_command("leaderboard", "--by", "speed").returncode == 2
    assert pipeline_command("leaderboard", "--output", "board.pdf").returncode == 2
    wrong = pipeline_command("run", "evaluate", "--metric", "co_bits")
    assert wrong.returncode == 2
    assert "--metric: no metric is called 'co_bits'; did you mean co_bps?" in wrong.stderr
    wrong = pipeline_command("run", "evaluate", "--baseline", "nul")
    assert wrong.returncode == 2
    assert "--baseline: no baseline is called 'nul'; did you mean null?" in wrong.stderr
    told = pipeline_command("run", "evaluate", "--help").stdout
    for name in ("nlb_velocity_r2", "condition_mean", "bits/spike"):
        assert name in told


LFADS = {
    "train.model.generator_dim": 8, "train.model.ic_dim": 4, "train.model.encoder_dim": 6,
    "train.model.controller_dim": 5, "train.max_steps": 10, "train.validate_every": 5, "train.device": "cpu",
    "train.masks.coordinated_dropout": 0.3, "train.masks.sample_validation": 0.2,
    "evaluate.baselines": "[]",
}  # fmt: skip


@pytest.mark.slow
def test_another_model_goes_the_same_way_and_forecasts(pipeline_command, small_nwb):
    words = [w for key, value in LFADS.items() for w in ("--set", f"{key}={value}")]
    shown = pipeline_command("run", "--path", small_nwb.parent, "--json", "--model", "lfads", *words)
    assert shown.returncode == 0, shown.stderr
    events = [json.loads(line) for line in shown.stdout.splitlines()]
    (run,) = [e for e in events if e["event"] == "run"]
    assert run["model"] == "lfads"
    assert run["run"].startswith("lfads-")
    assert "val_held_nll" in run["metrics"]
    decoded = [e for e in events if e["event"] == "measurement" and e["stage"] == "decode"]
    scores = {e["source"]: e["value"] for e in decoded}
    assert set(scores) >= {"rates", "reconstruction", "forecast", "forecast_decoded"}
    assert None not in scores.values()
    ahead = pipeline_command("run", "forecast", "--json")
    assert ahead.returncode == 0, ahead.stderr


def test_a_setting_without_a_stage_is_a_usage_error(pipeline_command, small_nwb):
    shown = pipeline_command("run", "--path", small_nwb.parent, "--set", "max_steps=3")
    assert shown.returncode == 2
    assert "expected the stage first" in shown.stderr
