"""Ctrl-C and the signal of a batch system wait while processes start.

An interruption in the midst of starting leaves processes that nobody ends, and the tracebacks of what was
half up. Processes that start meanwhile never hear a Ctrl-C at the terminal: who started them ends them.
"""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from nwb_latents.pipeline.cluster.safe_path import start_tracker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def held_interruptions(*, hold: bool = True) -> Iterator[Callable[[], None]]:
    """Hold interruptions back until they are let through, or to the end of the block.

    Only the main thread can; elsewhere, and for signals that are not handled in Python, nothing is held.

    Parameters
    ----------
    hold
        Whether to.

    Yields
    ------
    let_through
        Interrupts where it is called if an interruption came, and holds no more.

    Examples
    --------
    >>> with held_interruptions() as let_through:
    ...     started = True
    ...     let_through()
    """
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    held = {number: each for number, each in before.items() if callable(each)}
    if not hold or not held or threading.current_thread() is not threading.main_thread():
        yield lambda: None
        return
    came: list[int] = []
    for number in held:
        signal.signal(number, lambda number, _: came.append(number))
    # A blocked signal stays blocked in processes that are started; one that is handled does not stay so. The
    # first of them has a tracker started, which unblocks signals: it is there before.
    start_tracker()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT} & held.keys())
    holding = True

    def let_through() -> None:
        nonlocal holding
        if not holding:
            return
        holding = False
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in held.items():
            signal.signal(number, handler)
        if came:
            signal.raise_signal(came[0])

    try:
        yield let_through
    finally:
        let_through()
