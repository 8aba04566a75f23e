"""Tasks on a dask cluster: handed out, watched, retried elsewhere, cancelled."""

from __future__ import annotations

import math
import operator
import os
import pickle
import platform
import queue
import threading
import time
import uuid
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Generic

import cloudpickle
from toolz import pipe

from nwb_latents.pipeline.cluster.dask_strangers import remedy_for_strangers
from nwb_latents.pipeline.cluster.task_batch import (
    MOST_ATTEMPTS,
    TRAINING,
    Attempted,
    Needs,
    Report,
    Result,
    Shared,
    Task,
    WithdrawnError,
    Work,
)
from nwb_latents.pipeline.errors import MachineError
from nwb_latents.schemas.events import NoteEvent, parse_event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from distributed import Client, Future, Worker

    from nwb_latents.schemas.events import Event

POLL_SECONDS = 1.0
WORKERS_SECONDS = 5.0
"""How often to ask how many workers there are."""

TROUBLE_SECONDS = 10.0
"""How often to ask why there are none, where there are none."""

EVENT_SECONDS = 0.5
"""A task reports frequent events at most this often."""

_AGAIN = "Run the same command again: what is done is kept."


@dataclass(frozen=True)
class Answer(Generic[Result]):
    """What a worker sends back."""

    result: Result
    host: str
    pid: int
    worker: str


@dataclass(frozen=True)
class Call(Generic[Shared, Task, Result]):
    """The work as it is sent to a worker."""

    work: Work[Shared, Task, Result]
    topic: str

    def __call__(self, task: Task, index: int) -> Answer[Result]:
        """Do one task on a worker and say who did it."""
        from distributed import get_worker  # noqa: PLC0415

        worker = get_worker()
        host, pid = platform.node(), os.getpid()
        worker.log_event(self.topic, {"index": index, "worker": worker.address, "host": host, "pid": pid})
        last = [0.0]
        key = worker.get_current_task()

        def report(event: Event) -> None:
            # Dask lets what was cancelled run on; a training would hold its folder for hours.
            mine = worker.state.tasks.get(key)
            if mine is None or mine.state == "cancelled":
                raise WithdrawnError
            if event.is_frequent:
                if time.monotonic() - last[0] < EVENT_SECONDS:
                    return
                last[0] = time.monotonic()
            worker.log_event(self.topic, {"line": event.line()})

        return Answer(self.work.do(self.work.shared, task, report), host, pid, worker.address)


@dataclass
class Tried:
    """How often and where one task was tried."""

    attempt: int = 1
    host: str = ""
    pid: int | None = None
    worker: str = ""
    hosts: set[str] = field(default_factory=set)
    workers: set[str] = field(default_factory=set)
    bound_to: set[str] = field(default_factory=set)


class DaskTasks(Generic[Shared, Task, Result]):
    """All tasks of one run on one cluster.

    Parameters
    ----------
    client
        Connected client.
    work, tasks
        What to do.
    word
        The cluster as the user named it, for messages.
    least_at_once
        Tasks to hand out even before the workers are there, so that an adaptive cluster sees the work.
    needs
        What each task takes of its worker; None: a thread.
    patience_s
        Give up after so long without any worker, s; None: wait for ever.
    trouble
        Says why no worker comes, which is not waited for then; empty: nothing is known.
    report
        Receives the workers' events and notes of this class.
    """

    def __init__(
        self,
        client: Client,
        work: Work[Shared, Task, Result],
        *,
        tasks: Sequence[Task],
        word: str,
        least_at_once: int = 1,
        needs: Needs | None = None,
        patience_s: float | None,
        trouble: Callable[[], str] = str,
        report: Report,
    ) -> None:
        self._client = client
        self._work = work
        self._tasks = tasks
        self._word = word
        self._least_at_once = least_at_once
        self._at_once = least_at_once
        self._needs = needs
        self._patience_s = patience_s
        self._trouble = trouble
        self._looked = time.monotonic()
        self._report = report
        self._run = uuid.uuid4().hex[:12]
        self._call = Call(work, f"nwb-latents-{self._run}")
        self._inbox: queue.SimpleQueue[tuple[int | None, Any]] = queue.SimpleQueue()
        self._tried = [Tried() for _ in tasks]
        self._waiting = deque(range(len(tasks)))
        self._futures: dict[int, Future] = {}
        self._heard = self._seen_workers = time.monotonic()
        self._asked = -math.inf
        self._waiting_noted = False

    def results(self) -> Iterator[Attempted[Task, Result]]:
        """Yield every attempt as it ends; an attempt that is not final is followed by another.

        Raises
        ------
        MachineError
            If the scheduler is lost, or there is no worker for too long.
        """
        self._client.subscribe_topic(self._call.topic, self._on_event)
        try:
            while self._futures or self._waiting:
                self._watch()
                self._hand_out()
                try:
                    index, said = self._inbox.get(timeout=POLL_SECONDS)
                except queue.Empty:
                    continue
                if index is None:
                    yield from self._event(said)
                elif self._futures.get(index) is said:
                    yield self._ended(index, said)
        finally:
            self._leave()

    def _hand_out(self) -> None:
        # No more than can run: dask blames a worker's death on all tasks that wait for that worker as well.
        while self._waiting and len(self._futures) < self._at_once:
            self._submit(self._waiting.popleft())

    def _submit(self, index: int, **where: Any) -> None:
        key = f"session-{self._run}-{index}-{self._tried[index].attempt}"
        # As bytes, unpickled where it runs: a worker that unpickles a message of the scheduler and has no
        # module for it dies without a word.
        sent = cloudpickle.dumps(partial(self._call, self._tasks[index], index))
        if self._needs is not None:
            where["resources"] = self._needs.resources
        future = self._client.submit(pipe, sent, pickle.loads, operator.call, key=key, pure=False, **where)
        self._futures[index] = future
        future.add_done_callback(lambda done: self._inbox.put((index, done)))

    def _on_event(self, event: tuple[float, dict[str, Any]]) -> None:
        self._inbox.put((None, event[1]))

    def _event(self, said: dict[str, Any]) -> Iterator[Attempted[Task, Result]]:
        if "line" in said:
            self._report(parse_event(said["line"]))
            return
        index = int(said["index"])
        if index not in self._futures:
            return
        tried = self._tried[index]
        if tried.worker:
            # Dask gives the task of a worker that died to another one without a word.
            reason = f"the worker {tried.worker} was lost while it worked on this session"
            yield self._attempted(index, self._work.lost(self._tasks[index], reason), is_final=False)
            tried.attempt += 1
        tried.host, tried.pid, tried.worker = str(said["host"]), int(said["pid"]), str(said["worker"])

    def _ended(self, index: int, future: Future) -> Attempted[Task, Result]:
        self._heard = time.monotonic()
        tried = self._tried[index]
        if future.status == "finished":
            answer: Answer[Result] = future.result()
            tried.host, tried.pid, tried.worker = answer.host, answer.pid, answer.worker
            result = answer.result
            elsewhere = self._elsewhere(tried) if self._work.is_transient(result) else []
        else:
            self._require_scheduler()
            result, elsewhere = self._work.lost(self._tasks[index], self._fault(future)), []
        attempted = self._attempted(index, result, is_final=not elsewhere)
        del self._futures[index]
        if elsewhere:
            tried.attempt += 1
            tried.worker = ""
            # Bound to them, or work stealing would bring it back to where it failed.
            tried.bound_to = set(elsewhere)
            self._submit(index, workers=elsewhere)
        return attempted

    def _attempted(self, index: int, result: Result, *, is_final: bool) -> Attempted[Task, Result]:
        tried = self._tried[index]
        return Attempted(self._tasks[index], result, tried.attempt, is_final, tried.host, tried.pid)

    def _elsewhere(self, tried: Tried) -> list[str]:
        """Return workers of hosts that have not tried a task, or at least other workers; empty for an end."""
        tried.hosts.add(_host(tried.worker))
        tried.workers.add(tried.worker)
        if tried.attempt >= MOST_ATTEMPTS:
            return []
        workers = list(self._rooms())
        return [w for w in workers if _host(w) not in tried.hosts] or [
            w for w in workers if w not in tried.workers
        ]

    def _fault(self, future: Future) -> str:
        """Return in words why dask gave up; raise where every other task would meet the same."""
        from distributed.scheduler import KilledWorker  # noqa: PLC0415

        if future.status == "cancelled":
            return f"the scheduler forgot this session. {_AGAIN}"
        error = future.exception()
        if isinstance(error, KilledWorker):
            return (
                f"{error.allowed_failures + 1} workers died at this session, mostly for want of memory; "
                f"the last one was {error.last_worker.address}. Use fewer workers or more memory for each. "
                f"{_AGAIN}"
            )
        if isinstance(error, ImportError | AttributeError):
            strangers = remedy_for_strangers(self._client)
            if strangers or isinstance(error, ImportError):
                found = strangers or (
                    f"the workers cannot load this program: {error}. Start them in an environment with the "
                    "same packages."
                )
                raise MachineError(f"--cluster {self._word}: {found} {_AGAIN}") from error
        return f"the worker could not run this session: {type(error).__name__}: {error}. {_AGAIN}"

    def _watch(self) -> None:
        self._require_scheduler()
        now = time.monotonic()
        if now - self._asked < WORKERS_SECONDS:
            return
        self._asked = now
        try:
            rooms = self._rooms()
        except OSError as error:
            raise self._lost_scheduler() from error
        n_threads = sum(rooms.values())
        self._unbind(set(rooms))
        self._at_once = max(n_threads, self._least_at_once)
        if n_threads:
            self._seen_workers, self._waiting_noted = now, False
            return
        if not self._waiting_noted:
            self._waiting_noted = True
            wanted = "a worker" if self._needs is None else self._needs.words()
            self._report(NoteEvent(text=f"--cluster {self._word}: waiting for {wanted}"))
        if now - self._looked > TROUBLE_SECONDS:
            self._looked = now
            if trouble := self._trouble():
                raise MachineError(f"--cluster {self._word}: {trouble} {_AGAIN}")
        if self._patience_s is not None and now - max(self._seen_workers, self._heard) > self._patience_s:
            wanted = "no worker" if self._needs is None else f"not {self._needs.words()}"
            raise MachineError(
                f"--cluster {self._word}: {wanted} for {self._patience_s:g} s. Start workers (dask worker "
                f"{self._client.scheduler.address}) and look at their logs. {_AGAIN}"
            )

    def _rooms(self) -> dict[str, int]:
        """Return how many tasks each worker can do at once; without those that are too small for one.

        Of workers started elsewhere, those that are large enough are made to train one model at a time.
        """
        workers = self._client.scheduler_info(n_workers=-1)["workers"]
        if self._needs is None:
            return {address: int(worker["nthreads"]) for address, worker in workers.items()}
        able = {a: w for a, w in workers.items() if self._needs.fit(w["memory_limit"], w["resources"])}
        if new := [address for address, worker in able.items() if TRAINING not in worker["resources"]]:
            self._client.run(_one_at_a_time, workers=new, on_error="ignore")
        return dict.fromkeys(able, 1)

    def _unbind(self, alive: set[str]) -> None:
        """Let retries run anywhere if the workers they were meant for have gone."""
        for index, future in list(self._futures.items()):
            bound_to = self._tried[index].bound_to
            if bound_to and not bound_to & alive:
                bound_to.clear()
                del self._futures[index]
                self._client.cancel([future])
                self._tried[index].attempt += 1
                self._submit(index)

    def _require_scheduler(self) -> None:
        # A scheduler that was away has forgotten this run's tasks even if it is back.
        if self._client.status != "running":
            raise self._lost_scheduler()

    def _lost_scheduler(self) -> MachineError:
        return MachineError(
            f"--cluster {self._word}: the connection to the scheduler was lost. Check that it runs, start it "
            f"again if it does not, or use --cluster local. {_AGAIN}"
        )

    def _leave(self) -> None:
        if self._client.status != "running":
            return
        # Cancelling waits for the scheduler; a second Ctrl-C should not have to.
        futures = list(self._futures.values())
        ask = threading.Thread(
            target=lambda: self._client.cancel(futures, force=True), name="cancel", daemon=True
        )
        if futures:
            ask.start()
            ask.join(timeout=5)
        self._client.unsubscribe_topic(self._call.topic)


async def _one_at_a_time(dask_worker: Worker) -> None:
    await dask_worker.set_resources(**{**dask_worker.state.total_resources, TRAINING: 1})


def _host(worker: str) -> str:
    return worker.rpartition("://")[2].rpartition(":")[0]
