"""Running one task per session: in this process, on processes of this machine, or on a dask cluster.

Results come back in the order they are done; a task that raises is the caller's to have caught, so that one
session's failure never stops another's work.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, TypeVar

from pipeline.errors import MachineError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Task = TypeVar("Task")
Result = TypeVar("Result")

_LOCAL = re.compile(r"^local(?::(\d+))?$")


def run_tasks(
    work: Callable[[Task], Result], tasks: Sequence[Task], *, cluster: str = "serial"
) -> Iterator[Result]:
    """Yield ``work(task)`` for every task, as each is done.

    Parameters
    ----------
    work
        Function importable by name, so that another process can call it.
    tasks
        What to do.
    cluster
        ``serial``; ``local`` or ``local:N`` for N processes of this machine; ``tcp://HOST:PORT`` for the
        scheduler of a running dask cluster.

    Raises
    ------
    UsageError
        If `cluster` is none of these.
    MachineError
        If the scheduler cannot be reached or the workers are lost.

    Examples
    --------
    >>> list(run_tasks(len, ["a", "bc"]))
    [1, 2]
    """
    check_cluster(cluster)
    if cluster == "serial":
        for task in tasks:
            yield work(task)
        return
    yield from _on_dask(work, tasks, cluster)


def check_cluster(cluster: str) -> None:
    """Raise `UsageError` unless `cluster` names a way to run that exists.

    Examples
    --------
    >>> check_cluster("local:2")
    >>> check_cluster("locla")
    Traceback (most recent call last):
        ...
    pipeline.errors.UsageError: --cluster locla: expected serial, local, local:N or tcp://HOST:PORT.
    """
    if cluster != "serial" and not _LOCAL.match(cluster) and not cluster.startswith("tcp://"):
        raise UsageError(f"--cluster {cluster}: expected serial, local, local:N or tcp://HOST:PORT.")


def _on_dask(work: Callable[[Task], Result], tasks: Sequence[Task], cluster: str) -> Iterator[Result]:
    from distributed import Client, LocalCluster, as_completed  # noqa: PLC0415
    from distributed.scheduler import KilledWorker  # noqa: PLC0415

    local = _LOCAL.match(cluster)
    try:
        if local:
            n = int(local.group(1) or len(os.sched_getaffinity(0)))
            n = max(1, min(n, len(tasks)))
            client = Client(
                LocalCluster(n_workers=n, threads_per_worker=1, processes=True, dashboard_address=None)
            )
        else:
            client = Client(cluster, timeout=30)
    except (OSError, TimeoutError) as error:
        raise MachineError(
            f"--cluster {cluster}: the cluster cannot be reached: {error}. Start it, check the address, or "
            "use --cluster "
            "serial."
        ) from error
    with client:
        # A pure task would be merged with an equal one; sessions are equal only by mistake.
        futures = client.map(work, tasks, pure=False, retries=2)
        try:
            for future in as_completed(futures):
                yield future.result()
        except KilledWorker as error:
            raise MachineError(
                f"--cluster {cluster}: a worker was killed three times at the same session, mostly for want "
                "of memory: "
                f"{error}. Use fewer workers and run the same command again; what is done is kept."
            ) from error
        finally:
            if local:
                client.cluster.close()
