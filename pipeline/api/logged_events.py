"""What a public function says where no receiver of events is given: lines of the log."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from nwb_latents.pipeline.stages.event_text import event_text, measured_text
from nwb_latents.pipeline.stages.read_text import ReadText
from nwb_latents.schemas.events import NoteEvent, ProgressEvent, ReadEvent, RetryEvent

if TYPE_CHECKING:
    from collections.abc import Callable

    from nwb_latents.pipeline.stages.report import Report
    from nwb_latents.schemas.events import Event

logger = logging.getLogger("nwb_latents")

PROGRESS_SECONDS = 10.0
"""How far the work is, is said at most this often."""


def reported_to(report: Callable[[Event], object] | None) -> Report:
    """Return the receiver a caller gave; without one, the log ``nwb_latents``.

    What failed, was left out or replaced is logged as a warning, which Python shows on standard error unless
    it is told otherwise. Results and progress are logged as information:
    ``logging.basicConfig(level="INFO")`` shows them.

    Examples
    --------
    >>> reported_to(print)(NoteEvent(text="2 workers"))
    event='note' text='2 workers' stage=None session=None run=None status=None reason=None
    """
    if report is None:
        return _Logged()

    def pass_on(event: Event) -> None:
        report(event)

    return pass_on


class _Logged:
    def __init__(self) -> None:
        self._last = time.monotonic()
        self._read = ReadText()

    def __call__(self, event: Event) -> None:
        if isinstance(event, ProgressEvent):
            self._progress(event)
        elif isinstance(event, ReadEvent):
            self._reading(event)
        elif event.is_frequent:
            return
        else:
            text = event_text(event)
            if text is not None:
                logger.log(logging.WARNING if _matters(event) else logging.INFO, "%s", text)

    def _progress(self, event: ProgressEvent) -> None:
        if time.monotonic() - self._last > PROGRESS_SECONDS:
            self._last = time.monotonic()
            name = event.run or event.stage
            logger.info("%s: %s/%s%s", name, event.step, event.total, measured_text(event))

    def _reading(self, event: ReadEvent) -> None:
        for line in self._read.lines(event):
            is_warning = line.startswith("  warning")
            logger.log(logging.WARNING if is_warning else logging.INFO, "%s:%s", event.session, line)


def _matters(event: Event) -> bool:
    return isinstance(event, NoteEvent | RetryEvent) or getattr(event, "status", None) == "failed"
