"""What can go wrong between an archive and its client, one fault for each way."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Literal

Kind = Literal[
    "status",
    "reset",
    "drop",
    "short",
    "flip",
    "stall",
    "ignore_range",
    "wrong_etag",
    "no_etag",
    "wrong_range",
    "surplus",
    "body",
]


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong with one answer."""

    kind: Kind
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    n_bytes: int = 0
    body: bytes = b""


def status(code: int, **headers: str) -> Fault:
    """Answer with this status; header names are given with underscores."""
    return Fault("status", status=code, headers={k.replace("_", "-"): v for k, v in headers.items()})


def too_many_requests(retry_after: int) -> Fault:
    """Answer 429 and ask to wait so many seconds."""
    return status(429, Retry_After=str(retry_after))


def reset() -> Fault:
    """Break the connection before anything is answered."""
    return Fault("reset")


def drop(*, after: int) -> Fault:
    """Close the connection after so many bytes of the body; the promised length is the whole."""
    return Fault("drop", n_bytes=after)


def short_body(*, by: int) -> Fault:
    """Serve the file as if its last `by` bytes did not exist; the stated length agrees with what is sent."""
    return Fault("short", n_bytes=by)


def flip_byte(*, at: int) -> Fault:
    """Serve the file with all bits of one byte flipped."""
    return Fault("flip", n_bytes=at)


def stall(*, after: int) -> Fault:
    """Send so many bytes of the body and then nothing, with the connection open."""
    return Fault("stall", n_bytes=after)


def ignore_range() -> Fault:
    """Answer a request for a range with the whole file and status 200."""
    return Fault("ignore_range")


def wrong_etag() -> Fault:
    """State another ETag than the file's."""
    return Fault("wrong_etag")


def wrong_range() -> Fault:
    """Answer a request for a range with the one after its first byte."""
    return Fault("wrong_range")


def no_etag() -> Fault:
    """State no ETag."""
    return Fault("no_etag")


def surplus(*, n_bytes: int) -> Fault:
    """Send so many bytes more than the range that was asked for and stated."""
    return Fault("surplus", n_bytes=n_bytes)


def body(content: bytes, **headers: str) -> Fault:
    """Answer 200 with this body; header names are given with underscores."""
    named = {"Content-Type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}}
    return Fault("body", status=200, headers=named, body=content)


class FaultPlan:
    """Queues of faults, one for each pattern of request paths."""

    def __init__(self) -> None:
        self._queues: list[tuple[str, str | None, deque[Fault], Fault | None]] = []
        self._lock = threading.Lock()

    def add(self, pattern: str, fault: Fault, *, times: int | None = 1, method: str | None = None) -> None:
        """Let the next `times` requests to paths like `pattern` fail so; None: all of them.

        A pattern with a question mark is held against path and query.
        """
        queue = deque([fault] * times) if times is not None else deque()
        with self._lock:
            self._queues.append((pattern, method, queue, fault if times is None else None))

    def next(self, method: str, target: str) -> Fault | None:
        """Return what goes wrong with this request, or None."""
        path = target.partition("?")[0]
        with self._lock:
            for pattern, only, queue, always in self._queues:
                asked = target if "?" in pattern else path
                if fnmatchcase(asked, pattern.replace("?", "[?]")) and only in {None, method}:
                    if queue:
                        return queue.popleft()
                    if always is not None:
                        return always
        return None
