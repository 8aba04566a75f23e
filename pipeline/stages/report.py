"""What a stage says while it works: events (`schemas.events`), the same that ``--json`` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nwb_latents.pipeline.cluster.task_batch import Report
from nwb_latents.schemas.events import NoteEvent

if TYPE_CHECKING:
    from collections.abc import Callable

    from nwb_latents.schemas.events import Event

__all__ = ["Report", "ignore", "noted"]


def ignore(event: Event) -> None:
    """Take an event and do nothing.

    Examples
    --------
    >>> from nwb_latents.schemas.events import NoteEvent
    >>> ignore(NoteEvent(text="2 workers"))
    """


def noted(report: Report) -> Callable[[str], None]:
    """Return a function that reports a sentence as a note.

    Examples
    --------
    >>> noted(print)("2 recipes")
    event='note' text='2 recipes' stage=None session=None run=None status=None reason=None
    """

    def say(text: str) -> None:
        report(NoteEvent(text=text))

    return say
