"""Running one task per session: in this process, on processes of this machine, or on a cluster.

Results come back in the order they are done; one session's failure never stops another's work.
"""

from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING

from nwb_latents.pipeline.cluster.cluster_option import parse_cluster
from nwb_latents.pipeline.cluster.task_batch import Attempted, Needs, Report, Result, Shared, Task, Work
from nwb_latents.schemas.cluster import ClusterSettings
from nwb_latents.schemas.events import NoteEvent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

PATIENCE_S = 300.0
"""Without a worker for so long, a run gives up; jobs that wait in a queue are waited for without limit."""


HEEDED: Mapping[str, AbstractSet[str]] = {
    "serial": set(), "local": {"local_directory", "worker_patience_s"}, "address": {"worker_patience_s"},
}  # fmt: skip
"""Settings that count where there is no batch system, by the kind of cluster."""


def run_tasks(
    work: Work[Shared, Task, Result],
    tasks: Sequence[Task],
    *,
    report: Report,
    cluster: str = "serial",
    settings: ClusterSettings | None = None,
    memory_bytes: Sequence[int] = (),
    needs: Needs | None = None,
) -> Iterator[Attempted[Task, Result]]:
    """Do every task, and yield each attempt as it ends.

    Parameters
    ----------
    work, tasks
        What to do.
    report
        Receives the events of the tasks, and notes.
    cluster
        ``serial``; ``local`` or ``local:N`` for N processes of this machine; ``tcp://HOST:PORT`` for the
        scheduler of a running dask cluster; or a batch system (`JOB_QUEUES`).
    settings
        Settings of the cluster.
    memory_bytes
        Estimated memory of each task; decides how many run at once.
    needs
        What each task takes of its worker, which does one at a time; None: a core.

    Raises
    ------
    UsageError
        If `cluster` is none of these.
    MachineError
        If the cluster cannot be reached or is lost.

    Examples
    --------
    >>> work = Work(lambda shared, task, report: shared + task, 10, lambda task, why: 0, lambda result: False)
    >>> [done.result for done in run_tasks(work, [1, 2], report=print)]
    [11, 12]
    """
    kind = parse_cluster(cluster)
    settings = settings or ClusterSettings()
    if not tasks:
        return
    unheeded = sorted(settings.model_fields_set - HEEDED.get(kind.name, settings.model_fields_set))
    if unheeded:
        text = f"--cluster {cluster} does not heed {', '.join(unheeded)} of the settings of a cluster"
        report(NoteEvent(text=f"{text}; they are for batch systems such as --cluster slurm"))
    if kind.name == "serial":
        host, pid = platform.node(), os.getpid()
        for task in tasks:
            yield Attempted(task, work.do(work.shared, task, report), 1, True, host, pid)  # noqa: FBT003
        return
    from nwb_latents.pipeline.cluster.dask_client import open_client, planned_workers  # noqa: PLC0415
    from nwb_latents.pipeline.cluster.dask_tasks import DaskTasks  # noqa: PLC0415

    sizes = memory_bytes or [0] * len(tasks)
    patience_s = settings.worker_patience_s or (None if kind.name == "queue" else PATIENCE_S)
    with open_client(kind, settings, memory_bytes=sizes, needs=needs, report=report) as connection:
        yield from DaskTasks(
            connection.client,
            work,
            tasks=tasks,
            word=kind.word,
            # Dask forgets what it was given before a worker said that it can do such a thing.
            least_at_once=0
            if needs is not None and kind.name == "address"
            else planned_workers(kind, settings, memory_bytes=sizes, needs=needs),
            needs=needs,
            patience_s=patience_s,
            trouble=connection.trouble,
            report=report,
        ).results()
