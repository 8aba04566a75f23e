"""What a run hands out, and what comes back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from nwb_latents.schemas.events import Event

Report = Callable[[Event], None]
"""Receives one event."""

Shared = TypeVar("Shared")
Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Needs:
    """What each task takes of its worker, which is a process with all its threads, as a training needs it.

    Attributes
    ----------
    gpus
        GPUs.
    memory_bytes
        Memory of the largest task.
    gpus_here
        GPUs of this machine, for workers that are started on it.
    """

    gpus: int = 0
    memory_bytes: int = 0
    gpus_here: int = 0

    @property
    def resources(self) -> dict[str, int]:
        """Return dask's resources a task asks for.

        Examples
        --------
        >>> Needs(gpus=1).resources
        {'training': 1, 'GPU': 1}
        """
        return {TRAINING: 1} | ({GPU: self.gpus} if self.gpus else {})

    def words(self) -> str:
        """Return in words what a worker has to have.

        Examples
        --------
        >>> Needs(gpus=1, memory_bytes=3_100_000_000).words()
        'a worker with 3.1 GB of memory and 1 GPU (dask worker ... --resources GPU=1)'
        """
        more = f" and {self.gpus} GPU (dask worker ... --resources GPU={self.gpus})" if self.gpus else ""
        return f"a worker with {self.memory_bytes / 1e9:,.1f} GB of memory{more}"

    def fit(self, memory_limit: int | None, resources: Mapping[str, float]) -> bool:
        """Whether a worker of this memory (None or 0: no limit) and these resources will do.

        Examples
        --------
        >>> Needs(memory_bytes=100).fit(50, {}), Needs(memory_bytes=100).fit(0, {})
        (False, True)
        """
        return resources.get(GPU, 0) >= self.gpus and (not memory_limit or memory_limit >= self.memory_bytes)


TRAINING, GPU = "training", "GPU"
"""Resources of dask: a worker has one of the first, so that it trains one model at a time."""


MOST_ATTEMPTS = 3
"""A task that fails for a passing reason is tried at most this often."""


class WithdrawnError(BaseException):
    """Nobody waits for this task any more; it ends at its next word, whatever it is in the middle of."""


@dataclass(frozen=True)
class Work(Generic[Shared, Task, Result]):
    """A function and what it needs to be run for many tasks, in other processes as well.

    Attributes
    ----------
    do
        Function of the shared part, a task and a receiver of events. Importable by name; must not raise.
    shared
        What all tasks have in common.
    lost
        Result for a task whose worker did not answer, from the task and the reason.
    is_transient
        Whether a result is a failure that another machine might not meet.
    """

    do: Callable[[Shared, Task, Report], Result]
    shared: Shared
    lost: Callable[[Task, str], Result]
    is_transient: Callable[[Result], bool]


@dataclass(frozen=True)
class Attempted(Generic[Task, Result]):
    """One attempt at one task.

    Attributes
    ----------
    task, result
        What was tried, and what came of it.
    attempt
        1 for the first attempt.
    is_final
        Whether no other attempt follows.
    host, pid
        Machine and process it ran in, as far as known.
    """

    task: Task
    result: Result
    attempt: int
    is_final: bool
    host: str
    pid: int | None
