"""Which failures are tried again, and where."""

import errno

import pytest

from nwb_latents.pipeline.cluster.runner import run_tasks
from nwb_latents.pipeline.cluster.task_batch import Work

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


def fails_on(shared, task, report):
    """Fail on the hosts that `shared` names, else say where it ran."""
    from distributed import get_worker

    host = get_worker().address.rpartition("://")[2].rpartition(":")[0]
    return ("failed" if host in shared else task), host


def lost(task, reason):
    return "lost", reason


def is_failed(result):
    return result[0] == "failed"


def is_never(result):
    return False


@pytest.fixture
def two_hosts(dask_processes):
    """Return a scheduler with two workers on one address and one on another."""
    from distributed import Client

    for host in ("127.0.0.2", "127.0.0.2", "127.0.0.3"):
        dask_processes.start_worker(host=host)
    with Client(dask_processes.address) as client:
        client.wait_for_workers(3, timeout=60)
    return dask_processes


def test_a_fault_of_the_machine_is_tried_again_on_another_one(two_hosts):
    work = Work(fails_on, {"127.0.0.2"}, lost, is_failed)
    done = list(run_tasks(work, list(range(6)), report=lambda event: None, cluster=two_hosts.address))
    final = [d for d in done if d.is_final]
    assert sorted(d.result[0] for d in final) == list(range(6))
    assert {d.result[1] for d in final} == {"127.0.0.3"}
    assert {d.attempt for d in done} == {1, 2}
    assert all(d.result[0] == "failed" for d in done if not d.is_final)


def test_a_fault_that_is_everywhere_is_tried_three_times_at_most(two_hosts):
    work = Work(fails_on, {"127.0.0.2", "127.0.0.3"}, lost, is_failed)
    done = list(run_tasks(work, ["only"], report=lambda event: None, cluster=two_hosts.address))
    assert [d.attempt for d in done] == list(range(1, len(done) + 1))
    assert 2 <= len(done) <= 3
    assert {d.result[1] for d in done} == {"127.0.0.2", "127.0.0.3"}
    assert [d.is_final for d in done] == [False] * (len(done) - 1) + [True]


def test_a_fault_of_the_data_is_final(two_hosts):
    work = Work(fails_on, {"127.0.0.2", "127.0.0.3"}, lost, is_never)
    (done,) = run_tasks(work, ["only"], report=lambda event: None, cluster=two_hosts.address)
    assert done.is_final
    assert done.attempt == 1


def exits(shared, task, report):
    import os
    import time

    if task == "deadly":
        time.sleep(0.3)
        os._exit(errno.ENOMEM)
    return task, ""


def test_a_task_that_kills_its_workers_is_given_up_and_the_others_are_done(tmp_path):
    work = Work(exits, None, lost, is_failed)
    done = list(run_tasks(work, ["deadly", "a", "b"], report=lambda event: None, cluster="local:2"))
    final = {d.task: d.result for d in done if d.is_final}
    assert {task for task, result in final.items() if result[0] == task} == {"a", "b"}
    assert final["deadly"][0] == "lost"
    assert "want of memory" in final["deadly"][1]
    assert len([d for d in done if d.task == "deadly"]) == 4


def test_a_retry_whose_workers_are_gone_runs_anywhere(two_hosts, monkeypatch):
    from nwb_latents.pipeline.cluster import dask_tasks

    monkeypatch.setattr(dask_tasks, "WORKERS_SECONDS", 0.5)
    monkeypatch.setattr(dask_tasks.DaskTasks, "_elsewhere", elsewhere_is_gone)
    work = Work(fails_on, {"127.0.0.2", "127.0.0.3"}, lost, is_failed)
    done = list(run_tasks(work, ["only"], report=lambda event: None, cluster=two_hosts.address))
    assert [d.is_final for d in done] == [False, True]


def elsewhere_is_gone(self, tried):
    return ["tcp://127.0.0.4:1"] if tried.attempt == 1 else []
