"""What a stage says while it works: events (`schemas.events`), the same that ``--json`` prints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nwb_latents.pipeline.cluster.task_batch import Report

if TYPE_CHECKING:
    from nwb_latents.schemas.events import Event

__all__ = ["Report", "ignore"]


def ignore(event: Event) -> None:
    """Take an event and do nothing.

    Examples
    --------
    >>> from nwb_latents.schemas.events import NoteEvent
    >>> ignore(NoteEvent(text="2 workers"))
    """
