"""Ingest on real dask processes, whatever happens to them: nothing lost, half-written or doubled."""

import json
import os
import shutil
import signal

import pytest

from nwb_latents.pipeline.cluster.ledger import read_ledger
from nwb_latents.pipeline.cluster.task_batch import Attempted
from nwb_latents.pipeline.errors import MachineError, PartialFailure
from nwb_latents.pipeline.sources.folder import FolderSource
from nwb_latents.pipeline.stages import ingest as ingest_module
from nwb_latents.pipeline.stages import seen_stores
from nwb_latents.pipeline.stages.ingest import ingest
from nwb_latents.pipeline.stages.report import ignore
from nwb_latents.pipeline.stores.catalog import read_catalog
from nwb_latents.pipeline.stores.trials import read_attributes

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

N = 4


def attempts_of(folder):
    return read_ledger(next(folder.glob("stores/*/ledger.jsonl")))


def require_complete(folder, contents, serial_stores):
    """Stores as those of a plain run, each once in the catalog, no leftovers."""
    assert contents(folder) == serial_stores
    catalog = read_catalog(folder / "catalog.yaml")
    assert sorted(e.session for e in catalog.sessions.values()) == [f"sub-T_ses-{i}" for i in range(N)]
    assert not list(folder.rglob("*.tmp"))


def half_written(folder):
    return list(folder.glob("stores/*/.*.tmp"))


def test_workers_make_the_same_stores_as_a_plain_run(
    dask_processes, recordings, serial_stores, contents, tmp_path
):
    for _ in range(2):
        dask_processes.start_worker()
    events = []
    entries = ingest(
        tmp_path / "work" / "catalog.yaml",
        FolderSource([recordings]),
        cluster=dask_processes.address,
        report=events.append,
    )
    assert len(entries) == N
    require_complete(tmp_path / "work", contents, serial_stores)
    assert any("dashboard: http" in e.text for e in events if e.event == "note")
    assert {"reading", "binning", "writing"} == {e.phase for e in events if e.event == "phase"}
    ledger = attempts_of(tmp_path / "work")
    assert {(a.status, a.attempt) for a in ledger} == {("done", 1)}
    assert {a.pid for a in ledger} <= {p.pid for p in dask_processes.processes[1:]}


def test_a_store_that_is_not_to_be_seen_here_is_no_store(recordings, tmp_path, monkeypatch):
    """As where a worker of another machine has a folder of the same name of its own."""
    monkeypatch.setattr(seen_stores, "SIGHT_TRIES", 2)
    monkeypatch.setattr(seen_stores, "SIGHT_WAIT_S", 0.01)

    def elsewhere(work, tasks, **_):
        for asset in tasks:
            outcome = work.do(work.shared, asset, ignore)
            if outcome.name == "sub-T_ses-2":
                shutil.rmtree(str(work.shared.store(outcome.name)))
            yield Attempted(asset, outcome, 1, True, "node7", -1)

    monkeypatch.setattr(ingest_module, "run_tasks", elsewhere)
    catalog, events = tmp_path / "work" / "catalog.yaml", []
    with pytest.raises(PartialFailure) as caught:
        ingest(catalog, FolderSource([recordings]), cluster="tcp://node7:1", report=events.append)
    assert caught.value.failures[0][0] == "sub-T_ses-2"
    assert "node7 says that it made" in caught.value.failures[0][1]
    assert {e.session for e in read_catalog(catalog).sessions.values()} == {
        f"sub-T_ses-{i}" for i in (0, 1, 3)
    }
    failed = [a for a in attempts_of(tmp_path / "work") if a.status == "failed"]
    assert [(a.session, a.exit_code) for a in failed] == [("sub-T_ses-2", 5)]


def test_a_worker_killed_at_work_loses_nothing(
    dask_processes, recordings, serial_stores, contents, eventually, pipeline_process, tmp_path
):
    first = dask_processes.start_worker()
    run = pipeline_process(
        "run", "ingest", "--path", recordings, "--cluster", dask_processes.address, "--json"
    )
    eventually(lambda: half_written(tmp_path), what="a store being written", every_s=0.0005)
    first.kill()
    dask_processes.start_worker()
    out, said = run.communicate(timeout=120)
    assert run.returncode == 0, said
    require_complete(tmp_path, contents, serial_stores)
    lost = [a for a in attempts_of(tmp_path) if a.status == "failed"]
    assert [(a.pid, a.exit_code, a.attempt) for a in lost] == [(first.pid, 5, 1)]
    assert "was lost" in lost[0].reason
    done = {e["session"] for e in map(json.loads, out.splitlines()) if e["event"] == "session"}
    assert len(done) == N


def test_without_its_scheduler_a_run_ends_with_a_remedy_and_the_next_one_finishes(
    dask_processes,
    recordings,
    serial_stores,
    contents,
    eventually,
    pipeline_process,
    pipeline_command,
    tmp_path,
):
    dask_processes.start_worker()
    run = pipeline_process("run", "ingest", "--path", recordings, "--cluster", dask_processes.address)
    eventually(lambda: half_written(tmp_path), what="a store being written", every_s=0.0005)
    dask_processes.processes[0].kill()
    _, said = run.communicate(timeout=60)
    assert run.returncode == 5, said
    assert "connection to the scheduler was lost" in said
    assert "Run the same command again" in said
    assert "Traceback" not in said
    again = pipeline_command("run", "ingest", "--path", recordings)
    assert again.returncode == 0, again.stderr
    require_complete(tmp_path, contents, serial_stores)


def test_a_scheduler_that_is_not_there_is_named(recordings, tmp_path, monkeypatch):
    monkeypatch.setattr("nwb_latents.pipeline.cluster.dask_client.CONNECT_SECONDS", 1.0)
    with pytest.raises(MachineError, match=r"tcp://127\.0\.0\.1:9: the cluster cannot be reached"):
        ingest(tmp_path / "catalog.yaml", FolderSource([recordings]), cluster="tcp://127.0.0.1:9")


@pytest.mark.parametrize("times", [1, 4, 5])
def test_a_process_that_ends_while_it_starts_is_started_once_more(recordings, tmp_path, monkeypatch, times):
    import distributed

    start, failures = distributed.LocalCluster, iter(range(times))

    def killed(**words):
        if next(failures, None) is not None:
            raise RuntimeError("Nanny failed to start.")
        return start(**words)

    monkeypatch.setattr(distributed, "LocalCluster", killed)
    events = []

    def run():
        source = FolderSource([recordings])
        return ingest(tmp_path / "catalog.yaml", source, cluster="local:1", report=events.append)

    if times < 5:
        assert len(run()) == N
    else:
        with pytest.raises(MachineError, match=r"the processes do not start \(Nanny failed to start"):
            run()
    told = [e.text for e in events if e.event == "note" and "as it started" in e.text]
    assert len(told) == min(times, 4)
    assert all("once more" in text for text in told)


def test_without_workers_a_run_says_so_and_gives_up(dask_processes, recordings, tmp_path, monkeypatch):
    from nwb_latents.schemas.cluster import ClusterSettings

    monkeypatch.setattr("nwb_latents.pipeline.cluster.dask_tasks.WORKERS_SECONDS", 0.5)
    events = []
    with pytest.raises(MachineError, match=r"no worker for 2 s\. Start workers"):
        ingest(
            tmp_path / "catalog.yaml", FolderSource([recordings]), cluster=dask_processes.address,
            cluster_settings=ClusterSettings(worker_patience_s=2), report=events.append,
        )  # fmt: skip
    assert sum("waiting for a worker" in e.text for e in events if e.event == "note") == 1


def test_two_runs_of_the_same_command_at_once(
    dask_processes, recordings, serial_stores, contents, pipeline_process, tmp_path
):
    for _ in range(2):
        dask_processes.start_worker()
    words = ("run", "ingest", "--path", recordings, "--json", "--cluster")
    runs = [pipeline_process(*words, dask_processes.address), pipeline_process(*words, "serial")]
    status = []
    for run in runs:
        out, said = run.communicate(timeout=120)
        assert run.returncode == 0, said
        status += [e["status"] for e in map(json.loads, out.splitlines()) if e["event"] == "session"]
    assert sorted(status) == ["done"] * N + ["skipped"] * N
    require_complete(tmp_path, contents, serial_stores)


def test_shards_share_one_catalog(recordings, serial_stores, contents, pipeline_process, tmp_path):
    runs = [pipeline_process("run", "ingest", "--path", recordings, "--shard", f"{i}/3") for i in (1, 2, 3)]
    for run in runs:
        _, said = run.communicate(timeout=120)
        assert run.returncode == 0, said
    require_complete(tmp_path, contents, serial_stores)
    assert sorted(a.source for a in attempts_of(tmp_path)) == sorted(p.name for p in recordings.iterdir())


def test_interrupting_a_run_on_this_machine_leaves_no_processes(
    recordings, eventually, pipeline_process, pipeline_command, tmp_path
):
    run = pipeline_process(
        "run", "ingest", "--path", recordings, "--cluster", "local:2", start_new_session=True
    )
    eventually(lambda: half_written(tmp_path), what="a store being written", every_s=0.0005)
    os.killpg(run.pid, signal.SIGINT)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 130, said
    assert "Resume with the same command" in said
    assert "Traceback" not in said

    def nobody_left():
        try:
            os.killpg(run.pid, 0)
        except ProcessLookupError:
            return True
        return False

    eventually(nobody_left, what="the workers to end", deadline_s=10)
    for store in tmp_path.glob("stores/*/*.zarr"):
        assert read_attributes(store) is not None
    again = pipeline_command("run", "ingest", "--path", recordings)
    assert again.returncode == 0, again.stderr
    assert not half_written(tmp_path)


def test_interrupting_a_run_on_a_cluster_cancels_what_has_not_begun(
    dask_processes, recordings, eventually, pipeline_process, tmp_path
):
    from distributed import Client

    dask_processes.start_worker()
    run = pipeline_process("run", "ingest", "--path", recordings, "--cluster", dask_processes.address)
    eventually(lambda: half_written(tmp_path), what="a store being written", every_s=0.0005)
    run.send_signal(signal.SIGINT)
    _, said = run.communicate(timeout=60)
    assert run.returncode == 130, said
    assert "Traceback" not in said
    with Client(dask_processes.address) as client:
        eventually(lambda: not client.processing()[next(iter(client.processing()))], what="an idle worker")
    assert len(list(tmp_path.glob("stores/*/*.zarr"))) < N
