"""What a stage says while it works: plain event dictionaries, the same that ``--json`` prints."""

from __future__ import annotations

from collections.abc import Callable

Report = Callable[[dict[str, object]], None]
"""Receives one event; every event has the key ``event``."""


def ignore(event: dict[str, object]) -> None:
    """Take an event and do nothing.

    Examples
    --------
    >>> ignore({"event": "progress"})
    """
