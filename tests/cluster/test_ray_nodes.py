"""A search on a Ray cluster of two nodes: the same run as on this machine, whatever dies on the way."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cluster.conftest import wait_for
from stages.conftest import store_recording

ray = pytest.importorskip("ray")

from nwb_latents.pipeline.cluster.ray_tune import ENVIRONMENT  # noqa: E402
from nwb_latents.pipeline.stages.sweep import sweep  # noqa: E402
from nwb_latents.schemas.sweep import SweepSettings  # noqa: E402

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
SEARCH = {
    "strategy": "pbt", "population": 2, "generations": 3, "generation_steps": 4, "burn_in_steps": 0,
    "train": {
        "model": {
            "name": "lfads", "generator_dim": 6, "ic_dim": 4, "factor_dim": 4, "encoder_dim": 5,
            "controller_dim": 4, "read_in": {"hidden": 4, "width": 4}, "kl_warmup_steps": 3,
            "l2_warmup_steps": 3,
        },
        "batch": {"trials_per_session": 4}, "validate_every": 2, "device": "cpu",
    },
}  # fmt: skip


@pytest.fixture
def nodes(monkeypatch):
    """A cluster of two nodes of one core each, every node a process of this machine."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests"))
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    small = {"num_cpus": 1, "object_store_memory": 80 << 20}
    cluster = Cluster(initialize_head=True, head_node_args={**small, "include_dashboard": False})
    second = cluster.add_node(**small)
    cluster.wait_for_nodes()
    try:
        yield cluster, second
    finally:
        with contextlib.suppress(Exception):
            ray.shutdown()
        cluster.shutdown()


@pytest.fixture
def catalog(tmp_path, make_reaches, as_recording):
    def make(name):
        path = tmp_path / name / "catalog.yaml"
        store_recording(path, as_recording(make_reaches(n_trials=40, n_units=8)))
        return path

    return make


def found(path, run):
    folder = path.parent / "runs" / run.run
    state = json.loads((folder / "sweep.json").read_text())
    return [(each["member"], each["metric"]) for each in state["history"]], (
        folder / "best.safetensors"
    ).read_bytes()


def test_two_nodes_find_what_one_machine_finds_though_one_of_them_is_lost(nodes, catalog):
    cluster, second = nodes
    settings = SweepSettings.model_validate(SEARCH)
    events, lost = [], []

    def lose_a_node(event):
        events.append(event)
        if event.event == "generation" and not lost:
            lost.append(second)
            cluster.remove_node(second, allow_graceful=False)

    there = catalog("there")
    spread = sweep(there, settings, ray_address=cluster.address, report=lose_a_node)
    assert lost, "no node was lost"
    assert any(f"2 workers of {cluster.address}" in getattr(event, "text", "") for event in events)
    here = catalog("here")
    assert found(there, spread) == found(here, sweep(here, settings))


def test_a_search_whose_own_process_is_killed_goes_on(nodes, catalog, tmp_path):
    cluster, _ = nodes
    there, here = catalog("there"), catalog("here")
    file = tmp_path / "search.yaml"
    file.write_text(json.dumps(SEARCH))
    words = ["run", "sweep", "--catalog", there, "--config", file, "--ray-address", cluster.address]
    program = "from nwb_latents.pipeline.cli.main import main; main()"
    killed = subprocess.Popen(
        [sys.executable, "-c", program, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip

    def has_a_generation():
        assert killed.poll() is None, killed.communicate()
        states = list(there.parent.glob("runs/*/sweep.json"))
        return bool(states) and len(json.loads(states[0].read_text())["history"]) >= 2

    try:
        wait_for(has_a_generation, what="a generation")
    finally:
        os.killpg(killed.pid, signal.SIGKILL)
        killed.communicate()
    settings = SweepSettings.model_validate(SEARCH)
    gone_on = sweep(there, settings, ray_address=cluster.address)
    assert found(there, gone_on) == found(here, sweep(here, settings))
