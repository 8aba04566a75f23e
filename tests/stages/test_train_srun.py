"""``srun --ntasks-per-node=2 pipeline run train --devices 2``: two tasks, one run, one writer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
import yaml
from small_models import SMALL

from nwb_latents.pipeline.errors import SettingsError
from nwb_latents.pipeline.stores.catalog import read_catalog
from nwb_latents.pipeline.training.run_files import LAST, METRICS, read_metrics
from nwb_latents.pipeline.training.run_port import free_port
from nwb_latents.pipeline.training.srun_tasks import FIRST_PORT, srun_rank

MAIN = ["-m", "nwb_latents.pipeline.cli.main"]
WORDS = [*MAIN, "run", "train", "--config", "train.yaml", "--run-name", "mine"]


@pytest.fixture
def catalog(tmp_path, make_reaches, as_recording, enter_recording):
    path = tmp_path / "catalog.yaml"
    for number, subject in enumerate("AB"):
        recording = as_recording(make_reaches(n_trials=30, n_units=6 + number, seed=number))
        enter_recording(path, recording, subject=subject)
    return path


def step_of(number, n, *, job):
    return {
        "SLURM_JOB_ID": str(job), "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": str(n),
        "SLURM_NTASKS": str(n),
        "SLURM_STEP_TASKS_PER_NODE": str(n), "SLURM_STEP_NODELIST": "127.0.0.1", "SLURM_PROCID": str(number),
        "SLURM_LOCALID": str(number), "OMP_NUM_THREADS": "1",
    }  # fmt: skip


def started(catalog, *words, n=2, **settings):
    """Start the tasks as srun would."""
    content = {
        "model": {"name": "mdssm", **SMALL["mdssm"]}, "device": "cpu", "max_steps": 6, "validate_every": 3,
        "checkpoint_every": 2, "batch": {"trials_per_session": 8, "sessions_per_block": 1}, **settings,
    }  # fmt: skip
    (catalog.parent / "train.yaml").write_text(yaml.safe_dump(content))
    job = free_port() - FIRST_PORT if free_port() > FIRST_PORT else os.getpid()
    return [
        subprocess.Popen(
            [sys.executable, *WORDS, *words], cwd=catalog.parent,
            env=os.environ | step_of(number, n, job=job),
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for number in range(n)
    ]  # fmt: skip


def test_tasks_of_srun_train_one_run(catalog):
    tasks = started(catalog, "--devices", "2")
    said = [each.communicate(timeout=180)[0] for each in tasks]
    assert [each.returncode for each in tasks] == [0, 0], said
    assert list(read_catalog(catalog).runs) == ["mine"]
    assert [row["step"] for row in read_metrics(catalog.parent / "runs" / "mine" / METRICS)] == [3, 6]
    assert "mine" in said[0]
    again = started(catalog, "--devices", "2")
    assert [each.wait(timeout=120) for each in again] == [0, 0], "a run that is complete is left by all tasks"


def test_what_the_first_task_is_refused_ends_the_others(catalog):
    tasks = started(catalog, "--devices", "2", "--session", "nobody*")
    said = [each.communicate(timeout=120)[0] for each in tasks]
    assert [each.returncode for each in tasks] == [4, 5]
    assert "ended, since the first task failed" in said[1]
    assert "nobody" in said[1]


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 1])
def test_a_task_that_dies_ends_the_others_in_words(catalog, number):
    tasks = started(catalog, "--devices", "2", max_steps=100_000, patience=100_000)
    until = time.monotonic() + 120
    while not (catalog.parent / "runs" / "mine" / LAST).exists() and time.monotonic() < until:
        time.sleep(0.1)
    tasks[number].send_signal(signal.SIGKILL)
    said = tasks[1 - number].communicate(timeout=120)[0]
    tasks[number].communicate(timeout=10)
    assert tasks[1 - number].returncode == 5, said
    assert "goes on from the last checkpoint" in " ".join(said.split())
    assert "Traceback" not in said


def test_tasks_and_devices_have_to_agree():
    step = step_of(1, 4, job=3)
    assert srun_rank(1, step) is None, "one device asks nothing"
    assert srun_rank(4, {"SLURM_NTASKS": "4", "SLURM_JOB_ID": "1"}) is None, (
        "a batch script is no step of srun"
    )
    assert srun_rank(4, step | {"SLURM_STEP_NUM_TASKS": "1"}) is None
    assert srun_rank(4, step).number == 1
    with pytest.raises(SettingsError, match="--devices 4, or srun --ntasks=2"):
        srun_rank(2, step)
    with pytest.raises(SettingsError, match="--ntasks-per-node"):
        srun_rank(4, step | {"SLURM_STEP_TASKS_PER_NODE": "3,1"})
