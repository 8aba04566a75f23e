"""Stages that score on real dask processes: the same numbers to the last bit, whoever made them."""

from __future__ import annotations

import json
import shutil

import pytest
import xarray as xr
from stages.conftest import store_recording
from typer.testing import CliRunner

from nwb_latents.pipeline.cli.main import app
from nwb_latents.pipeline.cluster.ledger import read_ledger
from nwb_latents.pipeline.cluster.shard import Shard
from nwb_latents.pipeline.errors import DataError, MachineError, PartialFailure, UsageError
from nwb_latents.pipeline.stages import forecast as forecast_stage
from nwb_latents.pipeline.stages.decode import decode
from nwb_latents.pipeline.stages.embed import embed
from nwb_latents.pipeline.stages.evaluate import evaluate
from nwb_latents.pipeline.stages.forecast import FORECASTS, forecast
from nwb_latents.pipeline.stages.forecast_sources import EnsembleMembers
from nwb_latents.pipeline.stages.report import ignore
from nwb_latents.pipeline.stages.session_tasks import (
    SessionTask,
    StageJob,
    Where,
    is_transient,
    ledger_of,
    make_elsewhere,
)
from nwb_latents.pipeline.stages.train import train
from nwb_latents.pipeline.stages.verify import verify
from nwb_latents.pipeline.stores.catalog import read_catalog
from nwb_latents.schemas.decoding import DecodeSettings
from nwb_latents.schemas.embedding import EmbedSettings
from nwb_latents.schemas.evaluation import EvaluateSettings
from nwb_latents.schemas.forecasting import ForecastSettings
from nwb_latents.schemas.training import TrainSettings

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

SUBJECTS = "ABC"
MODEL = {"name": "ndt", "layers": 1, "hidden": 8, "read_in": {"hidden": 8, "width": 8}}
STAGES = {
    "evaluate": (evaluate, EvaluateSettings.model_validate(
        {"baselines": ["null", "smoothing"], "n_resamples": 20, "forward_ms": 100, "heldout_fraction": 0.25}
    )),
    "forecast": (forecast, ForecastSettings.model_validate({"ensemble": ["trial_factors"]})),
    "decode": (decode, DecodeSettings.model_validate({"lag_scan_ms": [0, 100]})),
}  # fmt: skip
VOLATILE = {"time", "program"}


@pytest.fixture(scope="module")
def original(tmp_path_factory, make_reaches, as_recording):
    path = tmp_path_factory.mktemp("stages") / "catalog.yaml"
    for number, subject in enumerate(SUBJECTS):
        recording = as_recording(make_reaches(n_trials=40, n_units=8, seed=number))
        store_recording(path, recording, subject=subject)
    for seed in (0, 1):
        settings = TrainSettings.model_validate({
            "model": MODEL, "batch": {"trials_per_session": 8}, "device": "cpu", "max_steps": 2,
            "validate_every": 2, "checkpoint_every": 2, "seed": seed, "co_smoothing": True,
            "heldout_fraction": 0.25, "forward_ms": 100,
        })  # fmt: skip
        train(path, settings, run_name=f"run{seed}")
    latent = {"name": "mdssm", "latent_dim": 3, "embedding_dim": 2, "rank": 1, "dynamics_width": 8}
    small = {"hyper_width": 8, "encoder_width": 8, "read_in": {"hidden": 8, "width": 4}}
    few = {"batch": {"trials_per_session": 8}, "device": "cpu", "max_steps": 2, "validate_every": 2}
    settings = TrainSettings.model_validate({"model": {**latent, **small}, **few})
    train(path, settings, run_name="latent", sessions=["*"])
    return path


@pytest.fixture
def place(original, tmp_path):
    """Return a function that makes a copy of the catalog with its stores and runs."""

    def make(name):
        return shutil.copytree(original.parent, tmp_path / name) / original.name

    return make


def numbers(done):
    return [each.model_dump(exclude=VOLATILE) for each in done]


def names(done, what):
    return [event for event in done if event.event == what]


@pytest.mark.parametrize("name", STAGES)
def test_numbers_files_and_order_are_those_of_one_process(place, dask_processes, name):
    stage, settings = STAGES[name]
    here, there = place("here"), place("there")
    for _ in range(2):
        dask_processes.start_worker()
    alone = stage(here, settings, device="cpu")
    events = []
    spread = stage(there, settings, device="cpu", where=Where(dask_processes.address), report=events.append)
    assert numbers(spread) == numbers(alone)
    assert {event.session for event in names(events, "session")} == {each.session for each in alone}
    assert [event.step for event in names(events, "progress")] == [1, 2, 3]

    def files(path):
        found = {file.relative_to(path.parent).as_posix() for file in path.parent.rglob("*")}
        return {name for name in found if "measurements" not in name}

    assert files(here) == files(there)


def test_embeddings_are_those_of_one_process(place, dask_processes):
    dask_processes.start_worker()
    settings = EmbedSettings(grid_size=3, flow_points=5)
    made = {}
    for name, where in (("here", Where()), ("there", Where(dask_processes.address))):
        catalog = place(name)
        found = embed(catalog, settings, run="latent", device="cpu", where=where)
        made[name] = {file.name: file for file in found.files}
        assert [*made[name]][:2] == ["embedding.nc", "embedding.png"]
    assert [*made["here"]] == [*made["there"]]
    assert len(made["here"]) == 2 + 4 * len(SUBJECTS)
    for name, file in made["here"].items():
        if name.endswith(".nc"):
            with xr.open_dataset(file) as mine, xr.open_dataset(made["there"][name]) as theirs:
                xr.testing.assert_identical(mine, theirs)


def spoil(catalog, session):
    """Damage a store, and return a function that mends it."""
    (entry,) = [each for each in read_catalog(catalog).sessions.values() if each.session == session]
    shard = next((catalog.parent / entry.store / "trials" / "counts").rglob("c/0/0/0"))
    content = shard.read_bytes()
    shard.write_bytes(content[:10])
    return lambda: shard.write_bytes(content)


@pytest.mark.parametrize("cluster", ["serial", "local:2"])
def test_one_that_fails_is_written_down_and_can_be_done_alone(place, cluster):
    stage, settings = STAGES["forecast"]
    catalog = place("work")
    mend = spoil(catalog, "sub-B_ses-CO-1")
    with pytest.raises(PartialFailure, match="sub-B_ses-CO-1") as caught:
        stage(catalog, settings, device="cpu", where=Where(cluster))
    assert {each.session for each in caught.value.results} == {"sub-A_ses-CO-1", "sub-C_ses-CO-1"}
    recipe_id = caught.value.results[0].recipe_id
    ledger = ledger_of(catalog, "forecast", recipe_id)
    (line,) = read_ledger(ledger)
    assert (line.session, line.status, line.exit_code) == ("sub-B_ses-CO-1", "failed", 4)
    assert line.reason in str(caught.value)
    listed = CliRunner().invoke(app, ["catalog", "failures", "--catalog", str(catalog), "--json"])
    (told,) = map(json.loads, listed.stdout.splitlines())
    assert (told["stage"], told["session"], told["error"]) == ("forecast", "sub-B_ses-CO-1", "data")
    mend()
    done = stage(catalog, settings, device="cpu", where=Where(cluster, retry_failed=True))
    assert {each.session for each in done} == {"sub-B_ses-CO-1"}
    assert [each.status for each in read_ledger(ledger)] == ["failed", "done"]
    said = []
    assert stage(catalog, settings, where=Where(cluster, retry_failed=True), report=said.append) == []
    assert "no session has failed" in said[-1].text


@pytest.mark.parametrize("cluster", ["serial", "local:1"])
def test_a_run_that_cannot_be_read_fails_once_and_alone(place, cluster):
    stage, settings = STAGES["forecast"]
    catalog, said = place("work"), []
    (catalog.parent / "runs" / "run1" / "best.safetensors").write_bytes(b"")
    with pytest.raises(PartialFailure) as caught:
        stage(catalog, settings, device="cpu", where=Where(cluster), report=said.append)
    ((name, reason),) = caught.value.failures
    assert (name, "best.safetensors" in reason) == ("run1", True)
    assert {each.run for each in caught.value.results} == {"run0", "latent", None}
    assert len({each.session for each in caught.value.results}) == len(SUBJECTS)
    assert any(event.event == "run" and event.status == "failed" for event in said)
    # The sessions themselves are done: there is nothing to do again by itself.
    assert not ledger_of(catalog, "forecast", caught.value.results[0].recipe_id).exists()


def test_what_cannot_be_kept_has_failed_and_can_be_done_again(place, monkeypatch):
    stage, settings = STAGES["forecast"]
    catalog = place("work")
    draw = forecast_stage._draw

    def full(work, run, numbers, *, name):
        if name == "sub-B_ses-CO-1":
            raise MachineError("the disk is full")
        draw(work, run, numbers, name=name)

    monkeypatch.setattr(forecast_stage, "_draw", full)
    with pytest.raises(PartialFailure, match="the disk is full"):
        stage(catalog, settings, device="cpu")
    monkeypatch.undo()
    done = stage(catalog, settings, device="cpu", where=Where(retry_failed=True))
    assert {each.session for each in done} == {"sub-B_ses-CO-1"}


def test_shards_are_all_sessions_each_once_and_an_empty_one_says_so(place):
    stage, settings = STAGES["evaluate"]
    catalog = place("work")
    parts = []
    for index in range(4):
        said = []
        done = stage(catalog, settings, device="cpu", where=Where(shard=Shard(index, 4)), report=said.append)
        parts.append({each.session for each in done})
        if not done:
            assert f"no session in shard {index}/4" in said[-1].text
    assert sorted(session for part in parts for session in part) == sorted(
        {f"sub-{subject}_ses-CO-1" for subject in SUBJECTS}
    )
    whole = stage(catalog, settings, device="cpu")
    assert numbers(whole) == numbers(stage(place("whole"), settings, device="cpu"))


def test_what_is_up_to_date_asks_no_cluster(place):
    stage, settings = STAGES["evaluate"]
    catalog = place("work")
    alone = stage(catalog, settings, device="cpu")
    again = stage(catalog, settings, device="cpu", where=Where("tcp://127.0.0.1:9"))
    assert numbers(again) == numbers(alone)


def test_a_worker_that_does_not_see_the_stores_says_so_and_another_may_do_it(place, tmp_path):
    catalog = place("work")
    (entry, *_) = read_catalog(catalog).sessions.values()
    settings = STAGES["forecast"][1]
    job = StageJob(FORECASTS, tmp_path / "elsewhere" / "catalog.yaml", settings, (), "cpu", False)
    outcome = make_elsewhere(job, SessionTask(entry, EnsembleMembers()), ignore)
    assert outcome.made is None
    assert is_transient(outcome)
    assert outcome.exit_code == MachineError.exit_code
    assert "does not see the store" in outcome.reason
    assert str(tmp_path / "elsewhere") in outcome.reason


def test_a_part_of_the_sessions_has_no_transfer(place):
    with pytest.raises(UsageError, match="--shard"):
        decode(place("work"), DecodeSettings(transfer=True), where=Where(shard=Shard(0, 2)))


def faults(catalog, where):
    said = []
    with pytest.raises(DataError, match=r"1 of its entries missing or damaged: sub-B"):
        verify(catalog, where=where, report=said.append)
    told = {(e.event, getattr(e, "session", None) or getattr(e, "run", None), e.status, e.reason)
            for e in said if e.event in ("session", "run")}  # fmt: skip
    (whole,) = [event for event in said if event.event == "verify"]
    found = {(e.session, e.where, e.text, e.remedy) for e in said if e.event == "fault"}
    return told, found, whole.model_dump(exclude={"seconds", "seconds_per_gb"})


def test_faults_are_found_wherever_it_is_looked(place):
    catalog = place("work")
    spoil(catalog, "sub-B_ses-CO-1")
    assert faults(catalog, Where("local:2")) == faults(catalog, None)


def test_shards_look_at_every_store_and_run_once(place):
    catalog, said = place("work"), []
    for index in range(3):
        verify(catalog, where=Where(shard=Shard(index, 3)), report=said.append)
    looked = sorted(
        getattr(event, "session", None) or event.run for event in said if event.event in ("session", "run")
    )
    assert looked == ["latent", "run0", "run1", *(f"sub-{subject}_ses-CO-1" for subject in SUBJECTS)]
