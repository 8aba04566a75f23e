"""Simulate, ingest, train, decode through the command line: the model denoises."""

import json

import pytest
import yaml

SMALL = {
    "model": {
        "latent_dim": 8, "rank": 2, "dynamics_width": 32, "hyper_width": 32, "encoder_width": 32,
        "read_in": {"hidden": 32, "width": 16},
    },
    "batch": {"trials_per_session": 16}, "optimiser": {"lr": 5e-3}, "max_steps": 500, "device": "cpu",
}  # fmt: skip


@pytest.mark.slow
def test_the_models_reconstruction_is_decoded_at_least_as_well_as_smoothed_rates(pipeline_command, tmp_path):
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(SMALL))
    sizes = (
        "preset=classic",
        "n_subjects=1",
        "n_sessions=2",
        "n_trials=160",
        "n_units=[50,60]",
        "waveforms=false",
    )
    simulate = [word for size in sizes for word in ("--set", size)]
    for words in (
        ("simulate", "nwb", *simulate),
        ("run", "ingest", "--path", "nwb"),
        ("run", "train", "--config", "small.yaml"),
    ):
        shown = pipeline_command(*words)
        assert shown.returncode == 0, shown.stderr
    shown = pipeline_command("run", "decode", "--json")
    assert shown.returncode == 0, shown.stderr
    scores = [e for e in map(json.loads, shown.stdout.splitlines()) if e["event"] == "measurement"]
    value = {(s["session"], s["source"]): s["value"] for s in scores}
    sessions = {s["session"] for s in scores}
    assert len(sessions) == 2
    for session in sessions:
        assert value[session, "rates"] > 0.6
        assert value[session, "reconstruction"] >= value[session, "rates"]
        assert value[session, "forecast"] > 0.1
    pictures = list((tmp_path / "results" / "decode").rglob("*.png"))
    kinds = {picture.stem.rpartition("_")[2] for picture in pictures}
    assert kinds == {"velocity", "trajectories", "parts", "forecast", "summary"}
    assert len(pictures) == 2 * 4 + 1
