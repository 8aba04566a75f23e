"""Worker processes of Ray: tasks side by side, each tried again where its process dies.

Ray's tasks rather than the trials of Ray Tune: a population needs its decisions on file before the next
generation begins, and the caller writes that file. Tune keeps a second record of the same experiment, which
would have to agree with it after a crash, and starts a process per trial, where these processes, with torch
imported and the sessions read, stay from one generation to the next.
"""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
import threading
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from pipeline.errors import MachineError, PipelineError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

Task = TypeVar("Task")
Result = TypeVar("Result")

_log = logging.getLogger(__name__)

RETRIES = 3
"""Times a task is begun again after its process died."""
POLL_SECONDS = 0.5
OBJECT_STORE_BYTES = 100 << 20
"""Tasks and results are small; Ray would set aside a third of the memory."""


def require_ray() -> None:
    """Refuse to begin where Ray is missing.

    Raises
    ------
    MachineError
        With the command that installs it.
    """
    if find_spec("ray") is None:
        raise MachineError(
            "A sweep trains its members on Ray, which is not installed here. Install it with "
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


@dataclass(frozen=True)
class RayWorkers:
    """Processes that do tasks; made by `ray_workers`.

    Attributes
    ----------
    n
        Tasks done at once, at most.
    gpu_share
        GPUs each task gets; 0: it runs on the CPU.
    report
        Told of every task that is begun again.
    """

    n: int
    gpu_share: float
    report: Callable[[dict[str, object]], None]

    def each(self, work: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[tuple[Task, Result]]:
        """Do every task, and yield each with its result as it is done.

        Parameters
        ----------
        work
            Function of a module. Its process may die at any point and the task be begun again.
        tasks
            Small enough to be sent; their text names them.

        Raises
        ------
        PipelineError
            What `work` raised; tasks that were under way are stopped.
        MachineError
            If the process of a task died more than `RETRIES` times, or Ray is lost.
        """
        import ray  # noqa: PLC0415

        # Ray would begin a task again itself, but nobody would be told.
        remote: Any = ray.remote(num_cpus=1, num_gpus=self.gpu_share, max_retries=0)(work)
        waiting = [(task, 0) for task in reversed(tasks)]
        running: dict[Any, tuple[Task, int]] = {}
        try:
            while waiting or running:
                while waiting and len(running) < self.n:
                    task, deaths = waiting.pop()
                    running[remote.remote(task)] = (task, deaths)
                done, _ = ray.wait(list(running), timeout=POLL_SECONDS)
                for reference in done:
                    task, deaths = running.pop(reference)
                    try:
                        result = _result(reference)
                    except _WorkerDiedError as death:
                        waiting.append((task, deaths + 1))
                        self._tell(task, deaths + 1, death)
                    else:
                        yield task, result
        finally:
            for reference in running:
                with suppress(Exception):
                    ray.cancel(reference, force=True)

    def _tell(self, task: object, deaths: int, death: _WorkerDiedError) -> None:
        if deaths > RETRIES:
            raise MachineError(
                f"{task}: its worker process died {deaths} times ({death}): it was killed, or ran out of "
                "memory. Use fewer --workers or a smaller model; the same command goes on where it was."
            ) from death
        text = f"{task}: its worker process died, begun again ({deaths} of {RETRIES}; {death})"
        self.report({"event": "note", "status": "begun again", "reason": str(death), "text": text})


@contextmanager
def ray_workers(
    workers: int, *, gpus: bool, report: Callable[[dict[str, object]], None]
) -> Iterator[RayWorkers]:
    """Start Ray on this machine, or connect to the cluster that ``RAY_ADDRESS`` names.

    Parameters
    ----------
    workers
        Tasks at once, each with one core.
    gpus
        Whether tasks use GPUs where there are any.
    report
        Receives a note with what is used.

    Raises
    ------
    MachineError
        If Ray is missing, or does not start or answer.
    """
    require_ray()
    # Ray reads these when it is imported.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    import ray  # noqa: PLC0415

    address = os.environ.get("RAY_ADDRESS", "local")
    options: dict[str, Any] = {}
    if address == "local":
        options = {"num_cpus": workers, "include_dashboard": False, "object_store_memory": OBJECT_STORE_BYTES}
        options |= {} if gpus else {"num_gpus": 0}
    with _own_signals():
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, **options)
        except Exception as error:
            raise MachineError(
                f"Ray does not start (address {address}): {error}. Check the machine's memory and /tmp, or "
                "the address in RAY_ADDRESS and the token the cluster asks for (RAY_AUTH_TOKEN)."
            ) from error
    # What Ray has to say of a worker may come as late as its own end.
    with _no_output_of_other_threads():
        try:
            n_gpus = int(ray.cluster_resources().get("GPU", 0)) if gpus else 0
            share = share_of_gpu(workers, n_gpus)
            where = "" if address == "local" else f" of {address}"
            on = f", {n_gpus} GPUs, {share:g} of one each" if share else ""
            report({"event": "note", "text": f"{workers} workers{where}{on}"})
            yield RayWorkers(workers, share, report)
        finally:
            # It prints what it held back of such messages.
            with redirect_stdout(io.StringIO()):
                ray.shutdown()


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

    What went wrong with a task is reported; ``--json`` promises that nothing else is on standard output.
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


class _WorkerDiedError(Exception):
    """The process of a task is gone, its result with it."""


def _result(reference: Any) -> Any:
    import ray  # noqa: PLC0415

    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        cause = error.cause
        if isinstance(cause, PipelineError):
            raise cause from error
        raise
    except ray.exceptions.OutOfMemoryError as error:
        raise _WorkerDiedError("out of memory") from error
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError) as error:
        raise _WorkerDiedError("killed from outside, or a crash") from error
    except ray.exceptions.RayError as error:
        raise MachineError(f"Ray lost a task: {error}. The same command goes on where it was.") from error
