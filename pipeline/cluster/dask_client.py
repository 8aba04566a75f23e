"""Connections to dask: processes of this machine, a running scheduler, or jobs of a batch system."""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from nwb_latents.pipeline import machine
from nwb_latents.pipeline.cluster.cluster_option import JOB_QUEUES, ClusterKind
from nwb_latents.pipeline.cluster.estimate import GIB, memory_share
from nwb_latents.pipeline.cluster.held_interruptions import held_interruptions
from nwb_latents.pipeline.cluster.job_settings import job_words, processes_of
from nwb_latents.pipeline.cluster.job_watch import JobWatch
from nwb_latents.pipeline.cluster.safe_path import SAFE_PATH, start_tracker
from nwb_latents.pipeline.errors import MachineError, SettingsError
from nwb_latents.pipeline.machine import available_cores
from nwb_latents.schemas.events import NoteEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from distributed import Client

    from nwb_latents.pipeline.cluster.task_batch import Needs, Report
    from nwb_latents.schemas.cluster import ClusterSettings

_log = logging.getLogger(__name__)

CONNECT_SECONDS = 30.0
MOST_JOBS = 10

# Ctrl-C at a terminal reaches the workers too; they leave when the program that started them says so.
_IGNORE_INTERRUPTS = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"

# What they would say of a lost connection or a cancelled task, with tracebacks, is said by our own errors.
_CHATTY = ("distributed", "distributed.client", "distributed.nanny", "tornado.application", "asyncio")

# Giving freed memory back after every array cost a session of large arrays a third of its time. These are
# what the allocator finds by itself in a plain process.
_OF_LOCAL_WORKERS = {"MALLOC_TRIM_THRESHOLD_": 1 << 32, "MALLOC_MMAP_THRESHOLD_": 1 << 25, SAFE_PATH: 1}

_SUBMIT = {
    "slurm": "sbatch", "pbs": "qsub", "sge": "qsub", "lsf": "bsub", "oar": "oarsub", "moab": "msub",
    "htcondor": "condor_submit",
}  # fmt: skip


@dataclass(frozen=True)
class Connection:
    """A cluster this process is connected to.

    Attributes
    ----------
    client
        Client of its scheduler.
    trouble
        Says why no worker comes, where the batch system tells; empty: nothing is known.
    """

    client: Client
    trouble: Callable[[], str]


@contextmanager
def open_client(
    kind: ClusterKind,
    settings: ClusterSettings,
    *,
    memory_bytes: Sequence[int],
    needs: Needs | None = None,
    report: Report,
) -> Iterator[Connection]:
    """Connect to a cluster, starting it where `kind` says so; what was started is ended at the end.

    Parameters
    ----------
    kind
        ``local``, ``address`` or ``queue``.
    settings
        What jobs of a batch system ask for.
    memory_bytes
        Estimated memory of each task; decides how many run at once on this machine, and the default memory
        of a job.
    needs
        What each task takes of its worker; None: a core.
    report
        Receives a note with what was started and where its dashboard is.

    Raises
    ------
    MachineError
        If the scheduler cannot be reached, or a package or a command of the batch system is missing.
    """
    from distributed import Client  # noqa: PLC0415

    # A scheduler that runs already may be waited for in vain; there, nothing is left behind.
    starts = kind.name != "address"
    with _quiet(), _own_environment(), held_interruptions(hold=starts) as let_through:
        watch = JobWatch(kind.word, settings.log_directory)
        start = partial(
            _start, kind, settings, memory_bytes=memory_bytes, needs=needs, watch=watch, report=report
        )
        client, cluster = _connect(Client, kind, start)
        try:
            let_through()
            if kind.name == "address" or importlib.util.find_spec("bokeh"):
                report(NoteEvent(text=f"dask dashboard: {client.dashboard_link}"))
            yield Connection(client, watch.trouble)
        finally:
            # A scheduler that is gone cannot be told goodbye: do not wait for it.
            client.close(timeout=2)
            if cluster is not None:
                _end(cluster)


def _end(cluster: Any) -> None:
    """End a cluster; what goes wrong in that, as with workers that never were, hides nothing before it."""
    try:
        cluster.close(timeout=10)
    except Exception:
        _log.debug("the cluster did not end as it should", exc_info=True)


def _start(
    kind: ClusterKind,
    settings: ClusterSettings,
    *,
    memory_bytes: Sequence[int],
    needs: Needs | None,
    watch: JobWatch,
    report: Report,
) -> Any:
    if kind.name == "local":
        return _local(kind, settings, memory_bytes, needs=needs, report=report)
    return _batch(kind, settings, memory_bytes, needs=needs, watch=watch, report=report)


def _connect(
    connect: type[Client],
    kind: ClusterKind,
    start: Callable[[], Any],
) -> tuple[Client, Any]:
    cluster: Any = None
    try:
        if kind.name == "address":
            return connect(kind.word, timeout=CONNECT_SECONDS), None
        cluster = start()
        return connect(cluster), cluster
    except RuntimeError as error:
        if kind.name != "local":
            raise
        raise MachineError(
            f"--cluster {kind.word}: the processes do not start ({error}) Each of them imports the script "
            'that was started: its work belongs under `if __name__ == "__main__":`. Otherwise look at memory '
            "and limits of this machine, or use --cluster serial."
        ) from error
    except (OSError, TimeoutError) as error:
        if cluster is not None:
            _end(cluster)
        raise MachineError(
            f"--cluster {kind.word}: the cluster cannot be reached: {error}. Start it, check the address, or "
            "use --cluster serial."
        ) from error


@contextmanager
def _own_environment() -> Iterator[None]:
    """Take back at the end what dask sets for its processes: it sets it in this one, one thread among it."""
    import dask  # noqa: PLC0415
    import distributed  # noqa: F401, PLC0415 # knows its own variables

    theirs = dask.config.get("distributed.nanny.pre-spawn-environ")
    before = {name: os.environ.get(name) for name in (*theirs, *_OF_LOCAL_WORKERS, "PYTHONHASHSEED")}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _quiet() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in _CHATTY]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def local_workers(asked: int | None, memory_bytes: Sequence[int], needs: Needs | None = None) -> int:
    """Return how many processes of this machine to start.

    Parameters
    ----------
    asked
        Number asked for; None: one per core.
    memory_bytes
        Estimated memory of each task. The largest ones running at the same time have to fit in 80 % of
        this machine's memory.
    needs
        What each task takes of its worker; there are no more workers than GPUs for them.

    Examples
    --------
    >>> local_workers(8, [1000, 1000])
    2
    >>> local_workers(8, [10**15, 1000])
    1
    """
    wanted = min(asked or available_cores(), len(memory_bytes))
    if needs is not None and needs.gpus:
        wanted = min(wanted, needs.gpus_here // needs.gpus)
    largest, left, fitting = sorted(memory_bytes, reverse=True), memory_share(), 0
    for need in largest[:wanted]:
        left -= need
        if left < 0:
            break
        fitting += 1
    return max(1, fitting)


def planned_workers(
    kind: ClusterKind, settings: ClusterSettings, *, memory_bytes: Sequence[int], needs: Needs | None = None
) -> int:
    """Return how many workers there will be as far as this program decides it, at least 1.

    Examples
    --------
    >>> from nwb_latents.schemas.cluster import ClusterSettings
    >>> from nwb_latents.pipeline.cluster.cluster_option import parse_cluster
    >>> planned_workers(parse_cluster("pbs"), ClusterSettings(n_jobs=3, cores=4), memory_bytes=[0])
    12
    """
    if kind.name == "queue":
        return _n_jobs(settings, memory_bytes) * processes_of(settings, needs)
    return local_workers(kind.n_workers, memory_bytes, needs) if kind.name == "local" else 1


def _n_jobs(settings: ClusterSettings, memory_bytes: Sequence[int]) -> int:
    return settings.n_jobs or min(MOST_JOBS, len(memory_bytes))


def _local(
    kind: ClusterKind,
    settings: ClusterSettings,
    memory_bytes: Sequence[int],
    *,
    needs: Needs | None,
    report: Report,
) -> Any:
    """Start the processes, once more where one ends while it starts: another program may have ended it."""
    import dask  # noqa: PLC0415
    from distributed import LocalCluster  # noqa: PLC0415

    n = local_workers(kind.n_workers, memory_bytes, needs)
    if kind.n_workers is not None and n < min(kind.n_workers, len(memory_bytes)):
        largest = max(memory_bytes) / GIB
        text = (
            f"--cluster {kind.word}: {n} at once, because tasks are estimated to need up to "
            f"{largest:.1f} GiB each and {memory_share() / GIB:.1f} GiB may be used"
        )
        report(NoteEvent(text=text))
    start_tracker()
    with dask.config.set(
        {
            **{
                f"distributed.nanny.pre-spawn-environ.{name}": value
                for name, value in _OF_LOCAL_WORKERS.items()
            },
            # Sampling the stack all the time costs a session of large arrays a part of its time.
            "distributed.worker.profile.enabled": False,
        }
    ):
        start = partial(
            LocalCluster,
            n_workers=n,
            threads_per_worker=1 if needs is None else max(1, available_cores() // n),
            resources=None if needs is None else needs.resources,
            processes=True,
            # Sessions differ in size: together they fit, and equal shares would end the largest of them.
            memory_limit=machine.memory_bytes(),
            dashboard_address=_ANY_PORT,
            local_directory=settings.local_directory,
            silence_logs=logging.CRITICAL,
            preload=[_IGNORE_INTERRUPTS],
        )
        for _ in range(_STARTS - 1):
            try:
                return start()
            except RuntimeError as error:
                text = f"--cluster {kind.word}: a process ended as it started ({error}): once more"
                report(NoteEvent(text=text))
        return start()


_STARTS = 5
"""Times the processes of this machine are started before that is given up."""

_ANY_PORT = "127.0.0.1:0"
"""Where a scheduler shows its dashboard, or its numbers: dask says which port is in use otherwise."""


def _batch(
    kind: ClusterKind,
    settings: ClusterSettings,
    memory_bytes: Sequence[int],
    *,
    needs: Needs | None,
    watch: JobWatch,
    report: Report,
) -> Any:
    try:
        import dask_jobqueue  # noqa: PLC0415
    except ImportError as error:
        raise MachineError(
            f"--cluster {kind.word} needs the package dask-jobqueue, which is not installed. Install it with "
            "pip install 'nwb-latents[cluster]'."
        ) from error
    if shutil.which(_SUBMIT[kind.word]) is None:
        raise MachineError(
            f"--cluster {kind.word}: the command {_SUBMIT[kind.word]} is not on this machine. Run this on a "
            "machine that may submit jobs, or use --cluster local."
        )
    words = job_words(kind, settings, memory_bytes=memory_bytes, needs=needs)
    n_jobs = _n_jobs(settings, memory_bytes)
    try:
        queue = getattr(dask_jobqueue, JOB_QUEUES[kind.word])
        scheduler = {"dashboard_address": _ANY_PORT, **(words.get("scheduler_options") or {})}
        own = {"job_cls": watch.watched(queue.job_cls), **words, "scheduler_options": scheduler}
        cluster = queue(**own)
    except (TypeError, ValueError) as error:
        raise SettingsError(
            f"--cluster-config: dask-jobqueue does not take these settings for {kind.word}: {error}. Mend "
            "the key it names; keys under options are handed on as they are."
        ) from error
    if settings.adaptive:
        cluster.adapt(minimum_jobs=0, maximum_jobs=n_jobs)
    else:
        cluster.scale(jobs=n_jobs)
    each = f"{words['processes']} × {words['memory']} / {words['processes']}, {settings.walltime}"
    report(NoteEvent(text=f"{n_jobs} {kind.word} jobs submitted, each of {each}"))
    return cluster
