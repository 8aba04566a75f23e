"""What a run hands out, and what comes back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from nwb_latents.schemas.events import Event

Report = Callable[[Event], None]
"""Receives one event."""

Shared = TypeVar("Shared")
Task = TypeVar("Task")
Result = TypeVar("Result")

MOST_ATTEMPTS = 3
"""A task that fails for a passing reason is tried at most this often."""


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
