"""``pipeline run sweep`` as a command: killed workers, a killed program, Ctrl-C, use of what it makes."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest
import yaml

pytest.importorskip("ray.tune")
psutil = pytest.importorskip("psutil")

from nwb_latents.pipeline.stores.catalog import read_catalog  # noqa: E402

TINY = {
    "population": 3, "generations": 3, "generation_steps": 40, "burn_in_steps": 0, "workers": 2,
    "train": {
        "model": {
            "name": "lfads", "generator_dim": 6, "ic_dim": 4, "factor_dim": 4, "encoder_dim": 5,
            "controller_dim": 4, "read_in": {"hidden": 4, "width": 4}, "kl_warmup_steps": 10,
            "l2_warmup_steps": 10,
        },
        "batch": {"trials_per_session": 4}, "validate_every": 20, "checkpoint_every": 5, "device": "cpu",
    },
}  # fmt: skip
WORDS = ("run", "sweep", "--config", "sweep.yaml", "--run-name", "found")

# Tests that run in the background of a shell inherit an ignored Ctrl-C.
PROGRAM = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.argv = ["pipeline", *sys.argv[1:]]
from nwb_latents.pipeline.cli.main import main
main()
"""

pytestmark = [pytest.mark.slow, pytest.mark.cluster]


def begin(folder, *words):
    """Start the program and return its process."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *map(str, words)], cwd=folder, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def wait_for(condition, *, process, seconds=150):
    """Return what `condition` returns once it is true, while the program runs."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    process.kill()
    pytest.fail(f"did not happen: {process.communicate()}")


def workers_of(process):
    """Return the processes that are training for a program."""

    def training():
        found = []
        for helper in psutil.Process(process.pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                if "ray::WorkTrial" in " ".join(helper.cmdline()):
                    found.append(helper)
        return found

    return wait_for(training, process=process)


def table(folder):
    """Return the history of the sweep that ended in a folder."""
    return (folder / "runs" / "found" / "sweep.csv").read_text()


def generations(said):
    """Return the numbers of the generations that were reported."""
    events = [json.loads(line) for line in said.splitlines()]
    return [event["generation"] for event in events if event["event"] == "generation"]


@pytest.fixture(scope="module")
def ingested(tmp_path_factory):
    """Return a folder with one ingested session and the settings of a small sweep."""
    from conftest import Reaches, write_nwb

    folder = tmp_path_factory.mktemp("sweep-command")
    write_nwb(folder / "nwb" / "sub-T_ses-0.nwb", Reaches(n_units=6), session="0")
    (folder / "sweep.yaml").write_text(yaml.safe_dump(TINY))
    process = begin(folder, "run", "ingest", "--path", "nwb")
    assert process.wait(120) == 0, process.communicate()
    return folder


@pytest.fixture(scope="module")
def whole(ingested, tmp_path_factory):
    """Return a folder in which the sweep ran without a fault, and what it said."""
    folder = shutil.copytree(ingested, tmp_path_factory.mktemp("whole") / "work")
    process = begin(folder, *WORDS, "--json")
    said, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    return folder, said


@pytest.fixture
def folder(ingested, tmp_path):
    return shutil.copytree(ingested, tmp_path / "work")


def test_the_best_member_is_a_run_like_any_other(whole, pipeline_command):
    folder, said = whole
    event = json.loads(said.splitlines()[-1])
    assert (event["event"], event["run"], event["status"]) == ("run", "found", "done")
    assert generations(said) == [1, 2, 3]
    rows = list(csv.DictReader(table(folder).splitlines()))
    assert len(rows) == 9
    best = min(rows, key=lambda row: float(row["metric"]))
    run_dir = folder / "runs" / "found"
    settings = yaml.safe_load((run_dir / "config.yaml").read_text())["settings"]
    assert settings["model"]["dropout"] == float(best["model.dropout"])
    assert settings["optimiser"]["lr"] == float(best["optimiser.lr"])
    assert event["steps"] == int(best["step"])
    assert event["metrics"]["val_nll"] == float(best["last"])
    assert (run_dir / "sweep.png").read_bytes().startswith(b"\x89PNG")
    assert not (run_dir / "members").exists()
    decoded = pipeline_command("run", "decode", "--run", "found", "--json", cwd=folder)
    assert decoded.returncode == 0, decoded.stderr
    again = pipeline_command(*WORDS, "--json", cwd=folder)
    assert json.loads(again.stdout.splitlines()[-1])["status"] == "skipped"


def test_a_killed_worker_costs_the_steps_since_its_last_checkpoint(whole, folder):
    process = begin(folder, *WORDS, "--json")

    def half_trained():
        for checkpoint in folder.glob("runs/found/members/generation-0001/*/last.safetensors"):
            if not checkpoint.with_name("outcome.json").exists():
                return checkpoint
        return None

    wait_for(half_trained, process=process)
    workers = workers_of(process)
    for worker in workers:
        worker.kill()
    said, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    assert "its worker process died, begun again (1 of 3" in errors
    assert generations(said) == [1, 2, 3]
    assert table(folder) == table(whole[0])


def test_a_killed_and_an_interrupted_sweep_go_on_to_the_same_members(whole, folder):
    state = folder / "runs" / "found" / "sweep.json"

    def trained(n):
        return state.exists() and len(json.loads(state.read_text())["history"]) >= 3 * n

    process = begin(folder, *WORDS)
    wait_for(lambda: trained(1), process=process)
    helpers = workers_of(process)
    process.kill()
    process.communicate()
    _, left = psutil.wait_procs(helpers, timeout=30)
    assert not left
    assert not read_catalog(folder / "catalog.yaml").runs

    process = begin(folder, *WORDS)
    wait_for(lambda: trained(2), process=process)
    helpers = workers_of(process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Resume with the same command" in errors
    assert "Traceback" not in errors
    _, left = psutil.wait_procs(helpers, timeout=30)
    assert not left
    refused = begin(folder, "run", "train", "--resume", "found")
    assert "a sweep that is not complete" in refused.communicate(timeout=60)[1]
    assert refused.returncode == 4

    process = begin(folder, *WORDS, "--json")
    said, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    assert generations(said) == [3]
    assert table(folder) == table(whole[0])
    mine, theirs = (f / "runs" / "found" / "best.safetensors" for f in (folder, whole[0]))
    assert mine.read_bytes() == theirs.read_bytes()


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--strategy", "bayes"], 4, "--strategy bayes: expected 'pbt' or 'random', found 'bayes'"),
        (["--population", "1"], 4, "--population 1: expected a number greater than or equal to 2"),
        (["--set", "space.optimizer.lr.high=1"], 4, "did you mean optimiser.lr?"),
        (["--model", "mdssm", "--config", "none.yaml"], 4, "none.yaml: no such file"),
        (["--generations", "two"], 2, "--generations"),
    ],
)
def test_wrong_uses_have_their_exit_code_and_one_paragraph(pipeline_command, ingested, words, code, says):
    shown = pipeline_command("run", "sweep", *words, cwd=ingested)
    assert shown.returncode == code, shown.stderr
    assert says in shown.stderr
    assert "Traceback" not in shown.stderr
