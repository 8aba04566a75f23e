"""``pipeline run align`` as a command: table, JSON lines, decoding, exit codes, a killed process."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap

import pytest
import yaml

from nwb_latents.pipeline.stores.catalog import read_catalog
from nwb_latents.pipeline.stores.measurements import measurement_records, read_measurements

TINY_TRAINING = {
    "model": {
        "latent_dim": 3, "embedding_dim": 1, "rank": 1, "dynamics_width": 8, "hyper_width": 8,
        "encoder_width": 8, "read_in": {"hidden": 8, "width": 4},
    },
    "batch": {"trials_per_session": 4}, "max_steps": 10, "validate_every": 10, "device": "cpu",
}  # fmt: skip
TINY_ALIGNMENT = {
    "max_steps": 20, "starts": 2, "start_steps": 10, "scratch": {"max_steps": 5}, "checkpoint_every": 5,
    "device": "cpu",
}  # fmt: skip
WORDS = ("run", "align", "--config", "align.yaml", "--run", "mine", "--session", "sub-T_ses-2")

DIES = """
import os, signal, sys
import nwb_latents.pipeline.training.loop as loop
draw, left = loop.draw_batches, [13]
def dying(*args, **words):
    left[0] -= 1
    if left[0] == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return draw(*args, **words)
loop.draw_batches = dying
sys.argv = ["pipeline", *sys.argv[1:]]
from nwb_latents.pipeline.cli.main import main
main()
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Return a folder with three ingested sessions and a run of two of them."""
    from conftest import Reaches, write_nwb

    folder = tmp_path_factory.mktemp("align-command")
    for number in range(3):
        reaches = Reaches(seed=number, n_units=8 + number)
        write_nwb(folder / "nwb" / f"sub-T_ses-{number}.nwb", reaches, session=str(number))
    (folder / "train.yaml").write_text(yaml.safe_dump(TINY_TRAINING))
    (folder / "align.yaml").write_text(yaml.safe_dump(TINY_ALIGNMENT))
    for words in (
        ["run", "ingest", "--path", "nwb"],
        ["run", "train", "--config", "train.yaml", "--session", "sub-T_ses-[01]", "--run-name", "mine"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", "nwb_latents.pipeline.cli.main", *words],
            cwd=folder, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def folder(trained, tmp_path):
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    return tmp_path


def test_a_sweep_with_baselines_is_one_command_and_one_table(pipeline_command, folder):
    shown = pipeline_command(*WORDS, "--trials", "1,4", "--from-scratch")
    assert shown.returncode == 0, shown.stderr
    rows = [
        [cell.strip() for cell in line.split("│")[1:-1]] for line in shown.stdout.splitlines() if "│" in line
    ]
    assert [row[1:3] for row in rows] == [
        ["aligned", "1"], ["from scratch", "1"],
        ["aligned", "4"], ["from scratch", "4"],
        ["shared factors", "4"], ["linear forecast", "4"], ["trial factors", "4"],
    ]  # fmt: skip
    catalog = read_catalog(folder / "catalog.yaml")
    found = {
        (s.name, s.source): s.value
        for s in measurement_records(read_measurements(folder / "catalog.yaml"))
        if s.run and catalog.runs[s.run].alignment.n_trials == 4
        if not catalog.runs[s.run].alignment.from_scratch
    }
    of_rates, rebuilt, ahead = (
        found[what]
        for what in (
            ("rates_r2", "reconstruction"),
            ("velocity_r2", "reconstruction"),
            ("velocity_r2", "forecast"),
        )
    )
    assert rows[2][3:6] == [f"{of_rates:.3f}", f"{rebuilt:.3f}", f"{ahead:.3f}"]


def test_an_aligned_run_is_decoded_like_any_other(pipeline_command, folder):
    made = pipeline_command(*WORDS, "--trials", 4, "--no-score", "--json")
    assert made.returncode == 0, made.stderr
    note, event = map(json.loads, made.stdout.splitlines())
    assert (note["event"], note["status"]) == ("note", "start kept")
    promised = {"event", "run", "model", "path", "steps", "metrics", "session", "parent", "n_trials", "seed"}
    assert promised <= set(event)
    decoded = pipeline_command("run", "decode", "--run", event["run"], "--session", "sub-T_ses-2", "--json")
    assert decoded.returncode == 0, decoded.stderr
    scores = [e for e in map(json.loads, decoded.stdout.splitlines()) if e["event"] == "measurement"]
    assert {e["source"] for e in scores if e["run"] == event["run"]} == {
        "reconstruction", "forecast", "forecast_decoded"
    }  # fmt: skip
    again = pipeline_command(*WORDS, "--trials", 4, "--no-score", "--json")
    assert json.loads(again.stdout)["status"] == "skipped"


@pytest.mark.slow
def test_a_killed_alignment_goes_on_and_ends_in_the_same_bytes(pipeline_command, folder, tmp_path_factory):
    other = shutil.copytree(folder, tmp_path_factory.mktemp("killed") / "work")
    words = (*WORDS, "--trials", "4", "--no-score")
    killed = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(DIES), *words],
        cwd=other, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, check=False, timeout=120,
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert set(read_catalog(other / "catalog.yaml").runs) == {"mine"}
    assert not list(other.glob("runs/mine-n4-*/run.json"))
    for place in (folder, other):
        assert pipeline_command(*words, cwd=place).returncode == 0
    mine, theirs = (next(place.glob("runs/mine-n4-*")) for place in (folder, other))
    assert mine.name == theirs.name
    for file in ("best.safetensors", "last.safetensors"):
        assert (mine / file).read_bytes() == (theirs / file).read_bytes()
    steps = [json.loads(line)["step"] for line in (theirs / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps))


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--trials", "0"], 2, "whole numbers above 0"),
        ([], 2, "--trials"),
        (["--trials", "2", "--run", "mime"], 4, "Did you mean mine?"),
        (["--trials", "2", "--session", "sub-T_ses-3"], 4, "The nearest are"),
        (["--trials", "999"], 4, "more trials than the training split holds"),
        (["--trials", "2", "--set", "optimiser.lrr=1"], 4, "did you mean optimiser.lr?"),
    ],
)
def test_wrong_uses_have_their_exit_code_and_one_paragraph(pipeline_command, folder, words, code, says):
    usual = {"--config": "align.yaml", "--run": "mine", "--session": "sub-T_ses-2"}
    rest = [word for option, value in usual.items() if option not in words for word in (option, value)]
    shown = pipeline_command("run", "align", *rest, *words)
    assert shown.returncode == code, shown.stderr
    assert says in shown.stderr
    assert "Traceback" not in shown.stderr


def test_the_schema_of_its_settings_is_printed(pipeline_command):
    schema = json.loads(pipeline_command("schema", "align").stdout)
    assert {"choice", "optimiser", "max_steps", "validation_share"} <= set(schema["properties"])
    assert all("description" in field for field in schema["properties"].values())
