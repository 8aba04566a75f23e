"""Waits for a server or another process that take long are said: what for, and how long already.

One thread looks after all waits of a process; it ends when none is left.
"""

from __future__ import annotations

import itertools
import logging
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING

from nwb_latents.pipeline.sources.interruptions import SAID_WAIT_S

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger(__name__)

_SAID_AGAIN_S = 60.0
_LOOKED_EVERY_S = 1.0


@dataclass
class _Wait:
    what: str
    since: float
    said_at: float | None = None


class LongWaits:
    """The waits under way.

    Examples
    --------
    >>> waits = LongWaits()
    >>> _ = waits.begin("a.nwb: waiting for an answer", now=0.0)
    >>> waits.overdue(now=9.0), waits.overdue(now=10.0), waits.overdue(now=11.0)
    ([], ['a.nwb: waiting for an answer (10 s so far)'], [])
    >>> waits.overdue(now=71.0)
    ['a.nwb: waiting for an answer (71 s so far)']
    """

    def __init__(self) -> None:
        self._waits: dict[int, _Wait] = {}
        self._numbers = itertools.count()

    def begin(self, what: str, *, now: float) -> int:
        """Enter a wait, and return the number it goes by."""
        number = next(self._numbers)
        self._waits[number] = _Wait(what, now)
        return number

    def end(self, number: int) -> None:
        """Take a wait out."""
        self._waits.pop(number, None)

    def overdue(self, *, now: float) -> list[str]:
        """Return what is to be said: of each wait after 10 s, and again after each minute."""
        said = []
        for wait in list(self._waits.values()):
            last = wait.said_at
            if now - (wait.since if last is None else last) >= (
                SAID_WAIT_S if last is None else _SAID_AGAIN_S
            ):
                wait.said_at = now
                said.append(f"{wait.what} ({now - wait.since:.0f} s so far)")
        return said

    @property
    def is_empty(self) -> bool:
        """Whether nothing is waited for."""
        return not self._waits


_waits = LongWaits()
_lock = threading.Lock()
_watch: threading.Thread | None = None


@contextmanager
def said_if_long(what: str) -> Iterator[None]:
    """Say what is waited for within the ``with`` block, if that takes more than 10 s.

    Parameters
    ----------
    what
        Whose name, and what is waited for.

    Examples
    --------
    >>> with said_if_long("a.nwb: waiting for another process"):
    ...     pass
    """
    number = _waits.begin(what, now=monotonic())
    _look_after()
    try:
        yield
    finally:
        _waits.end(number)


def _look_after() -> None:
    global _watch  # noqa: PLW0603 - one thread for the process
    if _watch is not None and _watch.is_alive():
        return
    with _lock:
        if _watch is None or not _watch.is_alive():
            _watch = threading.Thread(target=_look, name="long waits", daemon=True)
            _watch.start()


def _look() -> None:
    idle = 0
    tick = threading.Event()
    while idle < 5:
        tick.wait(_LOOKED_EVERY_S)
        for said in _waits.overdue(now=monotonic()):
            logger.warning("%s", said)
        idle = idle + 1 if _waits.is_empty else 0
