"""Ray Tune: tasks of a search side by side, each tried again where its process dies.

Each task is a trial, and Tune asks for the next one when there is room. What comes next depends on the
results so far; the search decides it and writes it down, and goes on from what it wrote if the program was
killed. Tune's own snapshot is up to ten seconds behind, and `Tuner.restore` begins with a scheduler that
knows nothing of the population (https://github.com/ray-project/ray/issues/30838).
"""

from __future__ import annotations

import io
import logging
import os
import signal
import socket
import sys
import threading
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TextIO, TypeVar

from nwb_latents.pipeline.cluster.ray_strangers import remedy_for_strange_nodes
from nwb_latents.pipeline.errors import MachineError
from nwb_latents.schemas.events import NoteEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nwb_latents.pipeline.cluster.task_batch import Report

Task = TypeVar("Task")
Result = TypeVar("Result")
Result_contra = TypeVar("Result_contra", contravariant=True)

_log = logging.getLogger(__name__)

ENVIRONMENT = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
}
"""Ray prints, sends and catches nothing by itself, and trials get the share of the processor that other
programs get: at Ray's own niceness of 15 they stand still beside busy ones. It reads some of this when it is
imported."""
OBJECT_STORE_BYTES = 100 << 20
"""Tasks and results are small; Ray would set aside a third of the memory."""


ANSWER_SECONDS = 20.0
"""A machine that does not answer for so long is not there."""


def require_ray() -> None:
    """Refuse to begin where Ray is missing.

    Raises
    ------
    MachineError
        With the command that installs it.
    """
    if any(find_spec(name) is None for name in ("ray", "pandas", "pyarrow")):
        raise MachineError(
            "A sweep trains its members on Ray Tune, which is not installed here. Install it with "
            "`pip install 'nwb-latents[sweep]'`."
        )


def share_of_gpu(workers: int, n_gpus: int) -> float:
    """Return the GPUs each worker gets: a whole one, or the share with which all of them find room.

    Examples
    --------
    >>> share_of_gpu(4, 0), share_of_gpu(2, 4), share_of_gpu(8, 4), share_of_gpu(3, 2)
    (0.0, 1.0, 0.5, 0.5)
    """
    if not n_gpus:
        return 0.0
    return 1.0 / -(-workers // n_gpus)


class Search(Protocol[Task, Result_contra]):
    """What is to be done, decided as results come in."""

    def next_task(self) -> Task | None:
        """Return the next task, or None until another is done; if none is under way, there is no more."""

    def done(self, task: Task, result: Result_contra) -> None:
        """Take what came of a task."""


@dataclass(frozen=True)
class RayWorkers:
    """Room for trials of Ray Tune; made by `ray_workers`.

    Attributes
    ----------
    n
        Trials at once, at most.
    gpu_share
        GPUs each trial gets; 0: it runs on the CPU.
    report
        Told of every trial that is begun again.
    """

    n: int
    gpu_share: float
    report: Report

    def run(self, work: Callable[[Task], Result], search: Search[Task, Result], *, folder: Path) -> None:
        """Do what a search asks for, one trial of Ray Tune for each task, until it asks for no more.

        Parameters
        ----------
        work
            Function of a module. Its process may die at any point and the task be begun again.
        search
            Is asked for the next task whenever there is room, and given every result.
        folder
            Tune keeps its files there.

        Raises
        ------
        Exception
            What `work` or the search raised; trials that were under way are stopped.
        MachineError
            If the process of a trial died again and again.
        """
        from ray import tune  # noqa: PLC0415

        from nwb_latents.pipeline.cluster.tune_trials import RETRIES, Deaths, TuneSearch, WorkTrial  # noqa: PLC0415

        here = str(Path.cwd())
        searched = {str(Path(place or ".").absolute()) for place in sys.path}
        asked = TuneSearch(work, search, unsearched=() if here in searched else (here,))
        # What a Tuner adds to this is a pickled copy of itself for `Tuner.restore`.
        tune.run(
            WorkTrial,
            search_alg=asked,
            num_samples=-1,
            max_concurrent_trials=self.n,
            resources_per_trial={"cpu": 1, "gpu": self.gpu_share},
            reuse_actors=True,
            max_failures=RETRIES,
            raise_on_failed_trial=False,
            callbacks=[Deaths(self.report)],
            storage_path=str(folder.parent.absolute()),
            name=folder.name,
            trial_dirname_creator=lambda trial: trial.trial_id,
            verbose=0,
        )
        if not asked.is_over:  # SIGUSR1: Tune stops and says nothing
            raise KeyboardInterrupt


def named_cluster(address: str | None) -> str | None:
    """Return the address of the cluster that is meant, by an option or by ``RAY_ADDRESS``; None: none is.

    Examples
    --------
    >>> named_cluster("10.0.0.1:6379")
    '10.0.0.1:6379'
    """
    found = address or os.environ.get("RAY_ADDRESS")
    return None if found == "local" else found


@contextmanager
def ray_workers(
    workers: int, *, gpus: bool, address: str | None = None, report: Report
) -> Iterator[RayWorkers]:
    """Start Ray on this machine, or connect to a cluster of it.

    Parameters
    ----------
    workers
        Trials at once, each with one core.
    gpus
        Whether trials use GPUs where there are any.
    address
        ``HOST:PORT`` of a running cluster of Ray; None: what ``RAY_ADDRESS`` says, and this machine where it
        says nothing.
    report
        Receives a note with what is used.

    Raises
    ------
    MachineError
        If Ray is missing, or does not start or answer, or a node of the cluster has not this program.
    """
    require_ray()
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import ray  # noqa: PLC0415

    address = named_cluster(address) or "local"
    options: dict[str, Any] = {}
    if address == "local":
        options = {"num_cpus": workers, "include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
        options |= {} if gpus else {"num_gpus": 0}
    else:
        _require_answer(address)
    with _own_signals():
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **options)
        except Exception as error:
            raise MachineError(
                f"Ray does not start (address {address}): {error}. Check the machine's memory and /tmp, or "
                "the address (--ray-address, RAY_ADDRESS) and the token it asks for (RAY_AUTH_TOKEN)."
            ) from error
    # What Ray has to say of a worker may come as late as its own end.
    with _no_output_of_other_threads():
        try:
            n_gpus = int(ray.cluster_resources().get("GPU", 0)) if gpus else 0
            share = share_of_gpu(workers, n_gpus)
            strange = "" if address == "local" else remedy_for_strange_nodes(address)
            if strange:
                raise MachineError(strange)
            where = "" if address == "local" else f" of {address}"
            on = f", {n_gpus} GPUs, {share:g} of one each" if share else ""
            report(NoteEvent(text=f"{workers} workers{where}{on}"))
            yield RayWorkers(workers, share, report)
        finally:
            # It prints what it held back of such messages.
            with redirect_stdout(io.StringIO()):
                ray.shutdown()


def _require_answer(address: str) -> None:
    """Refuse an address where nobody listens; Ray waits there for minutes, and says so in its own words."""
    host, _, port = address.rpartition(":")
    if not (host and port.isdigit()) or "/" in host:
        return  # "auto", or a form of Ray's own
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_SECONDS):
            return
    except (OSError, OverflowError) as error:
        raise MachineError(
            f"Nothing answers at {address} ({error}). Check the address (--ray-address, RAY_ADDRESS), and "
            "that Ray runs there: `ray start --head` on one machine, `ray start --address` on the others."
        ) from error


@contextmanager
def _own_signals() -> Iterator[None]:
    """Keep Ray from changing what a termination signal does to this program."""
    mine = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, mine)


@contextmanager
def _no_output_of_other_threads() -> Iterator[None]:
    """Keep standard output to what this thread writes: a thread of Ray prints there what went wrong.

    What went wrong with a trial is reported; ``--json`` promises that nothing else is on standard output.
    """
    before = sys.stdout
    guarded = _OfOneThread(before, threading.get_ident())
    sys.stdout = guarded
    try:
        yield
    finally:
        if sys.stdout is guarded:
            sys.stdout = before


class _OfOneThread:
    """A stream that passes on what one thread writes, and is otherwise the stream it stands before."""

    def __init__(self, stream: TextIO, thread: int) -> None:
        self._stream = stream
        self._thread = thread

    def write(self, text: str) -> int:
        if threading.get_ident() == self._thread:
            return self._stream.write(text)
        _log.debug("%s", text)
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)
