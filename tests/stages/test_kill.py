"""kill -9 at chosen points: nothing half-written counts as complete, the re-run finishes the work."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
import yaml

from nwb_latents.pipeline.stores.catalog import read_catalog
from nwb_latents.pipeline.stores.group_checks import check_group
from nwb_latents.pipeline.stores.trials import read_attributes, read_continuous, read_trials

PREAMBLE = """
import os, pathlib, signal, sys

def die_at(owner, name, count):
    original, left = getattr(owner, name), [count]
    def wrapped(*args, **words):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **words)
    setattr(owner, name, wrapped)

sys.argv = ["pipeline", *sys.argv[1:]]
"""

# Tests that run in the background of a shell inherit an ignored Ctrl-C.
HEARS_CTRL_C = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.argv = ["pipeline", *sys.argv[1:]]
from nwb_latents.pipeline.cli.main import main
main()
"""

TINY_TRAINING = {
    "model": {
        "latent_dim": 3, "embedding_dim": 1, "rank": 1, "dynamics_width": 8, "hyper_width": 8,
        "encoder_width": 8, "read_in": {"hidden": 8, "width": 4},
    },
    "batch": {"trials_per_session": 4}, "max_steps": 30, "validate_every": 10, "checkpoint_every": 10,
    "device": "cpu",
}  # fmt: skip


@pytest.fixture
def killed(tmp_path):
    """Return a function that runs the command line with a patch that kills it."""

    def run(patch, *words):
        code = (
            PREAMBLE + textwrap.dedent(patch) + "\nfrom nwb_latents.pipeline.cli.main import main\nmain()\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, *map(str, words)],
            cwd=tmp_path,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == -signal.SIGKILL, done.stderr
        return done

    return run


@pytest.fixture
def folder(tmp_path, make_nwb, make_reaches):
    """Return a folder of two sessions."""
    for number in range(2):
        make_nwb(tmp_path / "nwb" / f"sub-T_ses-{number}.nwb", make_reaches(seed=number), session=str(number))
    return tmp_path / "nwb"


def complete_stores(tmp_path):
    """Return the stores that a later stage would read; each must be whole."""
    stores = sorted((tmp_path / "stores").glob("*/*.zarr"))
    for store in stores:
        assert read_attributes(store) is not None
        check_group(read_trials(store), "trials", where=str(store), values=True)
        check_group(read_continuous(store), "continuous", where=str(store), values=True)
    return [s.stem for s in stores]


# The temporary file is written and not yet flushed.
IN_THE_SECOND_CATALOG = """
import nwb_latents.pipeline.stores.catalog as c
write, written = c.write_text, []
def second(path, text):
    written.append(path)
    if len(written) == 2:
        die_at(os, 'fsync', 1)
    write(path, text)
c.write_text = second
"""

INGEST_POINTS = {
    "while the first group is written": ("import xarray\ndie_at(xarray.Dataset, 'to_zarr', 1)", 0, 0),
    "while the second session is written": ("import xarray\ndie_at(xarray.Dataset, 'to_zarr', 4)", 1, 1),
    "before the first store gets its name": ("die_at(pathlib.Path, 'rename', 1)", 0, 0),
    "between store and catalog": (
        "import nwb_latents.pipeline.stages.catalog_batch as b\ndie_at(b, 'update_catalog', 2)",
        2,
        1,
    ),
    "before the catalog is replaced": (IN_THE_SECOND_CATALOG, 2, 1),
}


@pytest.mark.parametrize("point", INGEST_POINTS)
def test_ingest_killed(killed, pipeline_command, folder, tmp_path, point):
    patch, n_stores, n_entries = INGEST_POINTS[point]
    killed(patch, "run", "ingest", "--path", folder)
    whole = complete_stores(tmp_path)
    assert len(whole) == n_stores
    assert len(read_catalog(tmp_path / "catalog.yaml").sessions) == n_entries

    again = pipeline_command("run", "ingest", "--path", folder, "--json")
    assert again.returncode == 0, again.stderr
    events = [json.loads(line) for line in again.stdout.splitlines()]
    status = {e["session"]: e["status"] for e in events if e["event"] == "session"}
    assert status == {f"sub-T_ses-{i}": "skipped" if f"sub-T_ses-{i}" in whole else "done" for i in range(2)}
    assert len(complete_stores(tmp_path)) == 2
    assert len(read_catalog(tmp_path / "catalog.yaml").sessions) == 2
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.slow
def test_ingest_killed_at_any_time(pipeline_command, folder, tmp_path):
    for delay in (0.2, 0.5, 0.8, 1.1, 1.4, 1.8):
        process = subprocess.Popen(
            [sys.executable, "-m", "nwb_latents.pipeline.cli.main", "run", "ingest", "--path", str(folder)],
            cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        time.sleep(delay)
        process.kill()
        process.wait()
        complete_stores(tmp_path)
        read_catalog(tmp_path / "catalog.yaml")
    assert pipeline_command("run", "ingest", "--path", folder).returncode == 0
    assert pipeline_command("catalog", "verify").returncode == 0


@pytest.fixture
def ingested(pipeline_command, folder, tmp_path):
    """Return the folder with two ingested sessions and settings for a tiny training."""
    assert pipeline_command("run", "ingest", "--path", folder).returncode == 0
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TINY_TRAINING))
    return tmp_path


def metrics_of(folder):
    runs = read_catalog(folder / "catalog.yaml").runs.values()
    return {run.run: {k: v for k, v in run.metrics.items() if k != "seconds_per_step"} for run in runs}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("point", "first_step"),
    [
        ("die_at(os, 'fsync', 1)", 0),
        ("die_at(os, 'fsync', 3)", 0),
        ("die_at(os, 'fsync', 5)", 10),
        ("import nwb_latents.pipeline.training.loop as l\ndie_at(l, 'draw_batches', 26)", 20),
        ("import nwb_latents.pipeline.training.run_files as r\ndie_at(r, 'write_entry', 1)", 30),
        ("import nwb_latents.pipeline.stages.train as t\ndie_at(t, 'add_run', 1)", 30),
    ],
)
def test_train_killed(killed, pipeline_command, ingested, point, first_step):
    words = ("run", "train", "--config", "tiny.yaml")
    reference = pipeline_command(*words, "--run-name", "reference")
    assert reference.returncode == 0, reference.stderr
    killed(point, *words, "--run-name", "killed")
    assert set(metrics_of(ingested)) == {"reference"}

    again = pipeline_command(*words, "--run-name", "killed", "--verbose", "--json")
    assert again.returncode == 0, again.stderr
    metrics = metrics_of(ingested)
    assert metrics["killed"] == metrics["reference"]
    lines = (ingested / "runs" / "killed" / "metrics.jsonl").read_text().splitlines()
    steps = [json.loads(line)["step"] for line in lines]
    assert steps == sorted(set(steps))
    assert not list((ingested / "runs" / "killed").glob("*.tmp"))
    assert first_step <= 30
    mine, theirs = (ingested / "runs" / name / "best.safetensors" for name in ("killed", "reference"))
    assert mine.read_bytes() == theirs.read_bytes()


@pytest.mark.slow
def test_an_interrupted_training_says_how_to_go_on_and_does(pipeline_command, ingested):
    endless = {**TINY_TRAINING, "max_steps": 1_000_000, "patience": 1_000_000}
    (ingested / "endless.yaml").write_text(yaml.safe_dump(endless))
    process = subprocess.Popen(
        [sys.executable, "-c", HEARS_CTRL_C, "run", "train", "--config", "endless.yaml"],
        cwd=ingested, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 60
    while not list(ingested.glob("runs/*/last.safetensors")) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Resume with the same command" in said
    assert not list(ingested.glob("runs/*/run.json"))
    name = next(ingested.glob("runs/*/config.yaml")).parent.name
    lines = (ingested / "runs" / name / "metrics.jsonl").read_text().splitlines()
    taken = json.loads(lines[-1])["step"]
    again = pipeline_command(
        "run", "train", "--config", "endless.yaml", "--resume", name, "--max-steps", taken + 30
    )
    assert again.returncode == 0, again.stderr
    (run,) = read_catalog(ingested / "catalog.yaml").runs.values()
    assert (run.run, run.steps) == (name, taken + 30)
