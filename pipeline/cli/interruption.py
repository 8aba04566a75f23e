"""SIGTERM ends a command as Ctrl-C does, and neither is lost where Python drops what is raised."""

from __future__ import annotations

import signal
import sys
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

_AGAIN_S = 0.05


def hear_interruptions() -> None:
    """Let SIGTERM, with which a batch system ends a job, interrupt as Ctrl-C does.

    An interruption that comes while a callback of a weak reference or a finalizer runs cannot leave it:
    Python drops the exception with a traceback on stderr. It is raised again a moment later.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    if sys.unraisablehook is not _raised_again:
        sys.unraisablehook = _raised_again


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _raised_again(dropped: sys.UnraisableHookArgs) -> None:
    if not issubclass(dropped.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(dropped)
        return
    again = threading.Timer(_AGAIN_S, _interrupt_main)
    again.daemon = True
    again.start()


def _interrupt_main() -> None:
    # At its end a command hears no signal any more; one that waits is woken.
    if callable(signal.getsignal(signal.SIGTERM)):
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
