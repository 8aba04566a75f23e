"""The job scripts of the manual, as a batch system would run them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from stages.conftest import store_recording

from nwb_latents.pipeline.stores.catalog import read_catalog

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

MANUAL = Path(__file__).parents[2] / "docs" / "how-to" / "clusters.md"
NDT = {"name": "ndt", "layers": 1, "hidden": 8, "read_in": {"hidden": 8, "width": 8}}
SHORT = {
    "batch": {"trials_per_session": 8}, "max_steps": 2, "validate_every": 2, "checkpoint_every": 2,
    "device": "cpu",
}  # fmt: skip

# Runs each job at once, with the variables of SLURM, which other programs take for those of their own.
SBATCH = """#!{python}
import os, re, subprocess, sys
script = sys.argv[-1]
text = open(script).read()
array = re.search(r"#SBATCH --array=(\\d+)-(\\d+)", text)
tasks = range(int(array[1]), int(array[2]) + 1) if array else [None]
job = str(100 + len(open("jobs.txt").read().split())) if os.path.exists("jobs.txt") else "100"
open("jobs.txt", "a").write(job + " ")
for task in tasks:
    env = {{**os.environ, "SLURM_JOB_ID": job, "SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_LOCALID": "0",
           "SLURM_NODEID": "0", "SLURM_NODELIST": "n[1-2]", "SLURM_JOB_NAME": "train"}}
    if task is not None:
        env |= {{"SLURM_ARRAY_TASK_ID": str(task), "SLURM_ARRAY_TASK_COUNT": str(len(tasks))}}
    with open(f"slurm-{{job}}-{{task}}.out", "w") as out:
        code = subprocess.run(["bash", script], env=env, stdout=out, stderr=out).returncode
    open("codes.txt", "a").write(f"{{code}} ")
print(job)
"""


def scripts():
    """Return the job scripts of the manual by the names of their jobs."""
    found = re.findall(r"```bash\n(#!/bin/bash\n.*?)```", MANUAL.read_text(encoding="utf-8"), re.DOTALL)
    return {re.search(r"--job-name=(\w+)", text)[1]: text for text in found}


@pytest.fixture
def submit(tmp_path, monkeypatch, make_reaches, as_recording):
    """Return a function that submits as the manual does; the folder holds a catalog of two sessions."""
    for number, subject in enumerate("AB"):
        recording = as_recording(make_reaches(n_trials=40, n_units=8, seed=number))
        store_recording(tmp_path / "catalog.yaml", recording, subject=subject)
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "sbatch").write_text(SBATCH.format(python=sys.executable))
    (programs / "pipeline").write_text(
        f'#!/bin/sh\nexec {sys.executable} -P -m nwb_latents.pipeline.cli.main "$@"\n'
    )
    for program in programs.iterdir():
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    for name, text in scripts().items():
        (tmp_path / f"{name}.sbatch").write_text(text.replace("--array=0-9", "--array=0-1"))

    def run(lines):
        done = subprocess.run(
            ["bash", "-ec", lines], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr
        logs = "\n".join(log.read_text() for log in sorted(tmp_path.glob("slurm-*.out")))
        codes = (tmp_path / "codes.txt").read_text().split()
        return codes, logs

    return run


def test_a_training_is_a_job_whatever_the_batch_system_has_in_the_environment(tmp_path, submit):
    (tmp_path / "train.yaml").write_text(yaml.safe_dump({"model": NDT, **SHORT}))
    codes, logs = submit("sbatch train.sbatch")
    assert codes == ["0"], logs
    assert len(read_catalog(tmp_path / "catalog.yaml").runs) == 1


def test_a_study_is_an_array_and_a_job_that_measures(tmp_path, submit):
    study = {
        "name": "small",
        "train": {"models": {"ndt": {"model": NDT}}, "settings": SHORT, "seeds": 3},
        "evaluate": {"metrics": ["velocity_r2"], "baselines": ["null"], "n_resamples": 20},
        "tables": ["velocity_r2"],
    }
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    text = MANUAL.read_text(encoding="utf-8")
    lines = re.search(r"```shell\n(jobs=\$\(sbatch.*?)```", text, re.DOTALL)[1]
    codes, logs = submit(lines)
    assert codes == ["0", "0", "0"], logs
    assert len(read_catalog(tmp_path / "catalog.yaml").runs) == 3
    trained = [
        re.findall(r"run (ndt-\w+): done", log.read_text()) for log in sorted(tmp_path.glob("slurm-*.out"))
    ]
    assert sum(map(len, trained)) == 3, "a run was trained by several jobs"
    assert "## All runs" in (tmp_path / "studies" / "small" / "tables.md").read_text()
