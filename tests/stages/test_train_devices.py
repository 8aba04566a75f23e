"""`--devices 2`: one run, one writer; what fails or is interrupted ends all processes and can go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest
import torch
import yaml
from safetensors.torch import load_file
from small_models import SMALL

from nwb_latents.pipeline.errors import DataError, MachineError, SettingsError
from nwb_latents.pipeline.stages.train import train
from nwb_latents.pipeline.stores.catalog import read_catalog
from nwb_latents.pipeline.training.checkpoint import read_weights
from nwb_latents.pipeline.training.run_files import BEST, LAST, METRICS, read_metrics
from nwb_latents.schemas.training import TrainSettings

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def catalog(tmp_path, make_reaches, as_recording, enter_recording):
    path = tmp_path / "catalog.yaml"
    for number, subject in enumerate("ABC"):
        recording = as_recording(make_reaches(n_trials=30, n_units=6 + number, seed=number))
        enter_recording(path, recording, subject=subject)
    return path


def settings_of(**more):
    batch = {"trials_per_session": 8, "sessions_per_block": 1}
    return TrainSettings.model_validate({
        "model": {"name": "mdssm", **SMALL["mdssm"]}, "batch": batch, "device": "cpu",
        "max_steps": 6, "validate_every": 3, "checkpoint_every": 2, **more,
    })  # fmt: skip


def ours():
    """Return the processes of trainings that this one has started."""
    return [
        each
        for each in psutil.Process().children(recursive=True)
        if "nwb_latents.pipeline.stages.train_process" in each.cmdline()
    ]


def test_a_run_on_two_devices_is_that_of_one(catalog):
    events = []
    one = train(catalog, settings_of(precision="64-true"), run_name="one")
    two = train(catalog, settings_of(precision="64-true", devices=2), run_name="two", report=events.append)
    assert (two.run_key, two.sessions, two.steps) == (one.run_key, one.sessions, one.steps)
    assert two.metrics["val_loss"] == pytest.approx(one.metrics["val_loss"], rel=1e-6)
    runs = catalog.parent / "runs"
    mine, theirs = (read_weights(runs / name / BEST) for name in ("two", "one"))
    for name, value in mine.items():
        torch.testing.assert_close(value, theirs[name], rtol=1e-9, atol=1e-9)
    files = [sorted(p.name for p in (runs / name).iterdir() if p.is_file()) for name in ("one", "two")]
    assert files[0] == files[1]
    assert [row["step"] for row in read_metrics(runs / "two" / METRICS)] == [3, 6]
    assert [event.step for event in events if event.event == "progress"] == [3, 6]
    assert any("do not share evenly" in event.text for event in events if event.event == "note")
    assert list(read_catalog(catalog).runs) == ["one", "two"]
    again = train(catalog, settings_of(precision="64-true"), run_name="two", report=events.append)
    assert (again, events[-1].status) == (two, "skipped")
    assert not ours()


def test_what_cannot_be_shared_out_is_refused_as_on_one_device(catalog):
    with pytest.raises(SettingsError, match="devices: 4 were asked for, and a step has 3 blocks") as refused:
        train(catalog, settings_of(devices=4), run_name="four")
    assert refused.value.setting == "devices"
    assert not ours()


def test_what_fails_in_the_processes_is_said_in_the_words_of_one(catalog):
    second = list(read_catalog(catalog).sessions.values())[1]
    (catalog.parent / second.store / "zarr.json").write_text("{")
    said = []
    for devices in (1, 2):
        with pytest.raises(DataError) as failed:
            train(catalog, settings_of(devices=devices), run_name=f"wild-{devices}", force=True)
        said.append(str(failed.value))
    assert said[0] == said[1]


def _when_it_trains(catalog, name, act):
    """Act once the run has a checkpoint."""

    def watch():
        until = time.monotonic() + 120
        while not (catalog.parent / "runs" / name / LAST).exists() and time.monotonic() < until:
            time.sleep(0.05)
        act()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()


@pytest.mark.parametrize("number", [0, 1])
def test_a_process_that_dies_ends_the_others_and_the_run_can_go_on(catalog, number):
    def kill():
        ranks = sorted(ours(), key=lambda each: each.create_time())
        ranks[number].kill()

    _when_it_trains(catalog, "mine", kill)
    begun = time.monotonic()
    with pytest.raises(MachineError, match=rf"process {number + 1} of 2 .*SIGKILL.*goes on from"):
        train(catalog, settings_of(devices=2, max_steps=100_000, patience=100_000), run_name="mine")
    assert not ours()
    assert time.monotonic() - begun < 100
    assert (catalog.parent / "runs" / "mine" / LAST).exists()


def test_an_interruption_ends_all_and_leaves_a_checkpoint_to_go_on_from(catalog):
    _when_it_trains(catalog, "mine", lambda: os.kill(os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt):
        train(catalog, settings_of(devices=2, max_steps=100_000, patience=100_000), run_name="mine")
    assert not ours()
    kept = load_file(catalog.parent / "runs" / "mine" / LAST)
    steps = {float(value) for name, value in kept.items() if name.endswith(".step")}
    assert len(steps) == 1
    assert steps.pop() >= 2


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -9)]
)
def test_a_command_that_is_ended_leaves_no_process_behind(catalog, number, code):
    (catalog.parent / "train.yaml").write_text(
        yaml.safe_dump(settings_of(max_steps=100_000, patience=100_000).model_dump(mode="json"))
    )
    words = ["run", "train", "--config", "train.yaml", "--devices", "2", "--run-name", "mine", "--quiet"]
    command = subprocess.Popen(
        [sys.executable, "-m", "nwb_latents.pipeline.cli.main", *words],
        cwd=catalog.parent, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    until = time.monotonic() + 120
    while not (catalog.parent / "runs" / "mine" / LAST).exists() and time.monotonic() < until:
        time.sleep(0.05)
    ranks = ours()
    assert len(ranks) == 2
    command.send_signal(number)
    said = command.communicate(timeout=90)[0]
    assert command.returncode == code, said
    _, left = psutil.wait_procs(ranks, timeout=20)
    assert not left
    assert "Traceback" not in said
