"""Trainings and alignments on real dask processes: the weights of one process, to the last bit."""

from __future__ import annotations

import contextlib
import itertools
import json
from pathlib import Path

import pytest
from cluster.conftest import wait_for
from stages.conftest import store_recording
from typer.testing import CliRunner

import nwb_latents as nl
from nwb_latents.pipeline.cli.main import app
from nwb_latents.pipeline.cluster.ledger import read_ledger
from nwb_latents.pipeline.cluster.task_batch import Needs
from nwb_latents.pipeline.errors import DataError, MachineError, PartialFailure, SettingsError, UsageError
from nwb_latents.pipeline.stages.session_tasks import Where, ledger_of
from nwb_latents.pipeline.stages.train import train
from nwb_latents.pipeline.stages.train_runs import train_seeds
from nwb_latents.pipeline.stores.catalog import read_catalog
from nwb_latents.schemas.align import AlignSettings, ScratchSettings
from nwb_latents.schemas.cluster import ClusterSettings
from nwb_latents.schemas.training import TrainSettings

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

MODEL = {
    "name": "mdssm", "latent_dim": 3, "embedding_dim": 2, "rank": 1, "dynamics_width": 8, "hyper_width": 8,
    "encoder_width": 8, "read_in": {"hidden": 8, "width": 4},
}  # fmt: skip
SHORT = TrainSettings.model_validate({
    "model": MODEL, "batch": {"trials_per_session": 8}, "device": "cpu", "max_steps": 4,
    "validate_every": 2, "checkpoint_every": 2,
})  # fmt: skip
LONG = SHORT.model_copy(update={"max_steps": 100_000, "patience": 100_000})


@pytest.fixture
def catalog(tmp_path, make_reaches, as_recording):
    def make(name="catalog"):
        path = tmp_path / name / "catalog.yaml"
        for number, subject in enumerate("AB"):
            recording = as_recording(make_reaches(n_trials=40, n_units=8, seed=number))
            store_recording(path, recording, subject=subject)
        return path

    return make


def weights(path):
    return {
        file.parent.name: file.read_bytes() for file in sorted(path.parent.glob("runs/*/best.safetensors"))
    }


def of_kind(events, kind):
    return [event for event in events if event.event == kind]


@pytest.mark.parametrize("kind", ["local:2", "address"])
def test_seeds_trained_on_workers_have_the_weights_of_one_process(catalog, dask_processes, kind):
    here, there = catalog("here"), catalog("there")
    alone = train_seeds(here, SHORT, Where(), seeds=3)
    if kind == "address":
        kind = dask_processes.address
        for _ in range(2):
            dask_processes.start_worker()
    events = []
    spread = train_seeds(there, SHORT, Where(kind), seeds=3, report=events.append)
    assert [run.run for run in spread] == [run.run for run in alone]
    assert set(weights(there)) == {run.run for run in alone}
    assert weights(there) == weights(here)
    assert {run.run for run in read_catalog(there).runs.values()} == {run.run for run in alone}
    told = [event for event in of_kind(events, "progress") if event.stage == "train runs"]
    assert [event.step for event in told] == [1, 2, 3]
    again = []
    train_seeds(there, SHORT, Where(kind), seeds=3, report=again.append)
    assert [event.status for event in of_kind(again, "run")] == ["skipped"] * 3


def test_alignments_made_on_workers_have_the_weights_of_one_process(catalog, dask_processes):
    dask_processes.start_worker()
    settings = AlignSettings(
        max_steps=3, start_steps=2, scratch=ScratchSettings(max_steps=3), device="cpu"
    )  # fmt: skip
    made = {}
    for name, cluster in (("here", "serial"), ("there", dask_processes.address)):
        path = catalog(name)
        run = nl.train(path, SHORT, sessions="sub-A*", cluster=cluster)
        done = nl.align(
            path,
            run.run,
            sessions="sub-B*",
            trials=[4, 8],
            settings=settings,
            from_scratch=True,
            cluster=cluster,
        )
        made[name] = ([entry.run for entry in done], weights(path))
        assert {entry.run for entry in done} < set(read_catalog(path).runs)
    assert made["here"] == made["there"]
    assert len(made["here"][0]) == 4


def test_a_worker_that_dies_in_a_training_is_replaced_and_the_training_goes_on(catalog, dask_processes):
    path, whole = catalog("there"), catalog("here")
    settings = SHORT.model_copy(update={"max_steps": 400, "patience": 1000, "checkpoint_every": 10})
    (alone,) = train_seeds(whole, settings, Where())
    first, _ = dask_processes.start_worker(), dask_processes.start_worker()
    second = dask_processes.processes[-1]
    events, pids = [], {first.pid: first, second.pid: second}

    def kill_at_work(event):
        events.append(event)
        if event.event == "progress" and event.stage == "train" and event.step > 20 and len(pids) == 2:
            # The worker that trains is the one whose processor time goes up.
            busy = max(pids, key=cpu_ticks)
            pids.pop(busy).kill()

    (entry,) = train_seeds(path, settings, Where(dask_processes.address), report=kill_at_work)
    assert len(pids) == 1, "no worker was killed"
    assert entry.steps == alone.steps
    assert weights(path) == weights(whole)
    (retry,) = of_kind(events, "retry")
    assert "was lost" in retry.reason
    assert [line.status for line in read_ledger(ledger_of(path, "train", entry.recipe_id))] == ["failed"]


def cpu_ticks(pid):
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(") ")[2].split()
    return int(fields[11]) + int(fields[12])


def test_a_training_nobody_waits_for_any_more_lets_go_of_its_folder(catalog, dask_processes):
    path = catalog()
    dask_processes.start_worker()

    class LeftAloneError(Exception):
        pass

    def interrupt(event):
        if event.event == "progress" and event.stage == "train":
            raise LeftAloneError

    with pytest.raises(LeftAloneError):
        train_seeds(path, LONG, Where(dask_processes.address), report=interrupt)
    short = LONG.model_copy(update={"max_steps": 5})
    name = next(path.parent.glob("runs/*")).name

    def is_free():
        with contextlib.suppress(MachineError):
            return train(path, short, resume=name)

    assert wait_for(is_free, what="the training to end", every_s=0.5).run == name


def test_failures_are_kept_in_the_ledger_and_tried_again_alone(catalog):
    path = catalog()
    wild = SHORT.model_copy(update={"optimiser": SHORT.optimiser.model_copy(update={"lr": 10.0})})
    (good,) = train_seeds(path, SHORT, Where())
    store = path.parent / read_catalog(path).sessions[next(iter(read_catalog(path).sessions))].store
    shard = next((store / "trials" / "counts").rglob("c/0/0/0"))
    content = shard.read_bytes()
    shard.write_bytes(content[:10])
    with pytest.raises(PartialFailure) as failure:
        train_seeds(path, wild, Where("local:1"), seeds=2)
    assert failure.value.exit_code == DataError.exit_code
    assert len(failure.value.failures) == 2
    shard.write_bytes(content)
    found = CliRunner().invoke(app, ["catalog", "failures", "--catalog", str(path), "--json"])
    lines = [json.loads(line) for line in found.stdout.splitlines()]
    assert {line["stage"] for line in lines if line["event"] == "failure"} == {"train"}
    events = []
    again = train_seeds(path, SHORT, Where(retry_failed=True), seeds=2, report=events.append)
    assert again == []
    assert "no run has failed" in of_kind(events, "note")[0].text
    assert good.run in read_catalog(path).runs


def test_workers_that_are_too_small_get_no_training_and_that_is_said(catalog, dask_processes):
    path = catalog()
    dask_processes.start_worker("--memory-limit", "50MB")
    where = Where(dask_processes.address, ClusterSettings(worker_patience_s=3))
    events = []
    with pytest.raises(MachineError, match=r"not a worker with 0\.\d GB of memory for 3 s"):
        train_seeds(path, SHORT, where, report=events.append)
    assert any("waiting for a worker with" in note.text for note in of_kind(events, "note"))


def test_a_gpu_nobody_has_is_waited_for_and_named(catalog, dask_processes):
    dask_processes.start_worker()
    where = Where(dask_processes.address, ClusterSettings(worker_patience_s=3))
    with pytest.raises(MachineError, match=r"1 GPU .*--resources GPU=1"):
        train_seeds(catalog(), SHORT.model_copy(update={"device": "cuda"}), where)


def test_jobs_without_a_gpu_are_not_asked_for_one(catalog):
    on_gpu = SHORT.model_copy(update={"device": "cuda"})
    with pytest.raises(SettingsError, match="gpus: 1 in --cluster-config"):
        train_seeds(catalog(), on_gpu, Where("slurm"))


def test_a_worker_trains_one_model_at_a_time_however_many_threads_it_has(catalog, dask_processes):
    path = catalog()
    dask_processes.start_worker("--nthreads", 4)
    settings = SHORT.model_copy(update={"max_steps": 60, "validate_every": 10, "patience": 1000})
    events = []
    train_seeds(path, settings, Where(dask_processes.address), seeds=3, report=events.append)
    order = [event.run for event in of_kind(events, "progress") if event.run]
    changes = sum(one != other for one, other in itertools.pairwise(order))
    assert changes == len(set(order)) - 1, "trainings of one process took turns"


def test_a_part_of_the_seeds_is_one_job_of_an_array(catalog):
    path = catalog()
    parts = [
        CliRunner().invoke(app, [
            "run", "train", "--catalog", str(path), "--seeds", "4", "--shard", f"{index}/2", "--max-steps",
            "1", "--device", "cpu", *(word for key, value in MODEL.items() if key not in {"name", "read_in"}
                                      for word in ("--set", f"model.{key}={value}")),
        ])
        for index in (0, 1)
    ]  # fmt: skip
    assert [part.exit_code for part in parts] == [0, 0], [part.output for part in parts]
    assert {folder.name for folder in path.parent.glob("runs/*")} == set(read_catalog(path).runs)
    assert len(read_catalog(path).runs) == 4


def test_several_seeds_have_no_name_in_common(catalog):
    path = catalog()
    done = CliRunner().invoke(
        app, ["run", "train", "--catalog", str(path), "--seeds", "2", "--run-name", "x"]
    )
    assert isinstance(done.exception, UsageError)
    assert "--run-name names one" in str(done.exception)


def test_what_a_worker_has_to_have_is_told():
    needs = Needs(gpus=1, memory_bytes=2_000_000_000)
    assert not needs.fit(4_000_000_000, {})
    assert needs.fit(4_000_000_000, {"GPU": 2})
    assert not needs.fit(1_000_000_000, {"GPU": 2})
