"""The table of an ingest on a terminal: what is worked on at the moment, and how much is done."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nwb_latents.pipeline.cli.visible_text import visible
from nwb_latents.pipeline.stages.event_text import duration
from nwb_latents.schemas.events import BytesEvent, PhaseEvent, RetryEvent, SessionEvent

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.live import Live

    from nwb_latents.schemas.events import Event

REFRESH_HZ = 4.0
MOST_ROWS = 12
LEAVES = ("done", "skipped", "unselected", "failed")


@dataclass
class Row:
    """One session that is worked on."""

    session: str
    phase: str = ""
    done: int = 0
    total: int = 0
    began: float = 0.0


class IngestTable:
    """Live table of sessions, fed with events.

    Parameters
    ----------
    console
        Terminal.
    planned
        How many sessions there are.
    """

    def __init__(self, console: Console, *, planned: int) -> None:
        self._console = console
        self._live: Live | None = None
        self._rows: dict[str, Row] = {}
        self._planned = planned
        self._counts: dict[str, int] = {}
        self._began = time.monotonic()

    def take(self, event: Event) -> bool:
        """Take an event; True if it is for the table alone."""
        match event:
            case SessionEvent():
                self._rows.pop(event.source or event.session, None)
                self._counts[event.status] = self._counts.get(event.status, 0) + 1
                return False
            case RetryEvent():
                self._rows.pop(event.source, None)
                return False
            case BytesEvent():
                row = self._row(event.source)
                row.done, row.total = event.done, event.total
                row.phase = "fetching" if row.done < row.total else row.phase or "fetched"
            case PhaseEvent():
                row = self._row(event.source)
                row.session, row.phase = event.session, event.phase
            case _:
                return False
        self._show()
        return True

    def print(self, text: str) -> bool:
        """Print a line above the table; False if the table is not shown."""
        if self._live is None:
            return False
        self._live.console.print(text, highlight=False, markup=False)
        return True

    def close(self) -> None:
        """Take the table off the terminal."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.table import Table

        table = Table(box=None, pad_edge=False, show_header=bool(self._rows), header_style="dim")
        table.add_column("session", overflow="ellipsis", no_wrap=True)
        table.add_column("stage", no_wrap=True)
        table.add_column("MB", justify="right", no_wrap=True)
        table.add_column("s", justify="right", no_wrap=True)
        now = time.monotonic()
        shown = list(self._rows.values())[: max(1, min(MOST_ROWS, (options.max_height or 24) - 4))]
        for row in shown:
            size = f"{row.done / 1e6:.0f}/{row.total / 1e6:.0f}" if row.total else ""
            table.add_row(visible(row.session), visible(row.phase), size, f"{now - row.began:.0f}")
        if len(self._rows) > len(shown):
            table.add_row(f"and {len(self._rows) - len(shown)} more", "", "", "")
        yield table
        yield self._summary(now)

    def _row(self, source: str) -> Row:
        return self._rows.setdefault(source, Row(source, began=time.monotonic()))

    def _summary(self, now: float) -> str:
        finished = sum(self._counts.values())
        counts = ", ".join(f"{self._counts[s]} {s}" for s in LEAVES if self._counts.get(s))
        left = ""
        if finished and finished < self._planned:
            seconds = (now - self._began) / finished * (self._planned - finished)
            left = f", about {duration(seconds)} left"
        return f"{finished}/{self._planned} sessions" + (f" ({counts})" if counts else "") + left

    def _show(self) -> None:
        if self._live is None:
            from rich.live import Live

            self._live = Live(self, console=self._console, refresh_per_second=REFRESH_HZ, transient=True)
            self._live.start()
