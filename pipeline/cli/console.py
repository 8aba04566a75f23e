"""What a person or a machine sees: progress and tables on a terminal, plain lines in a log, or JSON lines.

With ``--json`` standard output holds one JSON object per line and nothing else; everything meant for people
goes to standard error.
"""

from __future__ import annotations

import sys
import time
from contextlib import redirect_stdout
from types import TracebackType
from typing import TYPE_CHECKING, Literal, Self, TextIO

from nwb_latents.pipeline.cli.table_blocks import blocks
from nwb_latents.pipeline.cli.visible_text import visible

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from nwb_latents.pipeline.cli.live_table import IngestTable
    from nwb_latents.pipeline.stages.read_text import ReadText
    from nwb_latents.schemas.events import Event, PlanEvent, ProgressEvent, ReadEvent

LOG_SECONDS = 10.0
NOT_A_TERMINAL = 140
"""Characters of a line that is written to a file or a pipe."""
DRAWN_ROWS = 500
"""Tables of more rows are written without a frame: drawing one takes long."""


class Output:
    """Receiver of a stage's events.

    Parameters
    ----------
    json_lines
        Print every event but those for a screen as a JSON line on standard output.
    quiet
        Show results and errors only.
    verbose
        Show every event.
    """

    def __init__(self, *, json_lines: bool = False, quiet: bool = False, verbose: bool = False) -> None:
        self.json_lines = json_lines
        self.quiet = quiet
        self.verbose = verbose
        self._progress: Progress | None = None
        self._bars: dict[str, TaskID] = {}
        self._table: IngestTable | None = None
        self._last_line = time.monotonic()
        self._done = 0
        self._planned = 0
        self._read: ReadText | None = None
        self._lines = sys.stdout
        self._aside: redirect_stdout[TextIO] | None = None

    def __enter__(self) -> Self:
        if self.json_lines:
            # What a part of another distribution prints is no event.
            self._lines, self._aside = sys.stdout, redirect_stdout(sys.stderr)
            self._aside.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._aside is not None:
            self._aside.__exit__(kind, error, trace)
            self._aside = None
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
        if self._table is not None:
            self._table.close()
            self._table = None

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if event.is_printed:
            self.record(event)
        if not self.quiet:
            self._show(event)

    def record(self, event: Event) -> None:
        """Print an event under ``--json``; a person is told in another way."""
        if self.json_lines:
            self._lines.write(event.line() + "\n")
            self._lines.flush()

    def say(self, text: str) -> None:
        """Write one line for people to standard error, or nothing under ``--quiet``."""
        if not self.quiet:
            self._line(text)

    def result(self, text: str) -> None:
        """Write a result for people to standard output; nothing under ``--json``."""
        if not self.json_lines:
            sys.stdout.write(visible(text) + "\n")

    def table(self, title: str, columns: list[str], rows: list[list[str]]) -> None:
        """Print a table of results to standard output; nothing under ``--json``."""
        if self.json_lines:
            return
        title, columns = visible(title), [visible(column) for column in columns]
        rows = [[visible(cell) for cell in row] for row in rows]
        if len(rows) > DRAWN_ROWS:
            sys.stdout.write(_plain_table(title, columns, rows))
            return
        from rich.console import Console
        from rich.table import Table

        # A setting such as columns.relative=[go] in a cell is no markup.
        width = None if sys.stdout.isatty() else NOT_A_TERMINAL
        console = Console(file=sys.stdout, width=width, highlight=False, markup=False, emoji=False)
        for block in blocks(columns, rows, width=console.width):
            grid = Table(title=title, title_justify="left", header_style="bold")
            for number, chars in zip(block.columns, block.widths, strict=True):
                on_right = all(row[number][:1].isdigit() or row[number][:1] in "-−" for row in rows)
                justify: Literal["left", "right"] = "right" if on_right else "left"
                grid.add_column(columns[number], justify=justify, overflow="fold", width=chars)
            for row in rows:
                grid.add_row(*(row[number] for number in block.columns))
            console.print(grid)
            title = ""

    def _show(self, event: Event) -> None:
        from nwb_latents.pipeline.stages.event_text import event_text
        from nwb_latents.schemas.events import (
            BytesEvent,
            PhaseEvent,
            PlanEvent,
            ProgressEvent,
            ReadEvent,
            SessionEvent,
        )

        if self._table is not None and self._table.take(event):
            return
        match event:
            case BytesEvent():
                self._advance(event.source, event.done, event.total)
            case ProgressEvent():
                self._progressed(event)
            case ReadEvent():
                self._tell_reading(event)
            case PhaseEvent() if not self.verbose:
                return
            case _:
                text = event_text(event)
                if isinstance(event, SessionEvent):
                    self._done += 1
                    # Sessions after those of the plan are those of another stage.
                    is_planned = self._done <= self._planned
                    text = f"[{self._done}/{self._planned}] {text}" if is_planned else text
                if text is not None or self.verbose:
                    self._line(event.line() if text is None else text)
        if isinstance(event, PlanEvent):
            self._plan(event)

    def _plan(self, event: PlanEvent) -> None:
        self._planned, self._done = event.n_sessions, 0
        if sys.stderr.isatty():
            from nwb_latents.pipeline.cli.live_table import IngestTable

            self._table = IngestTable(_stderr(), planned=event.n_sessions)

    def _tell_reading(self, event: ReadEvent) -> None:
        from nwb_latents.pipeline.stages.read_text import ReadText

        self._read = self._read or ReadText()
        for line in self._read.lines(event):
            self._line(line)

    def _progressed(self, event: ProgressEvent) -> None:
        from nwb_latents.pipeline.stages.event_text import measured_text

        self._advance(event.run or event.stage, event.step, event.total, detail=measured_text(event))

    def _advance(self, name: str, done: int, total: int, *, detail: str = "") -> None:
        if not sys.stderr.isatty():
            if time.monotonic() - self._last_line > LOG_SECONDS:
                self._last_line = time.monotonic()
                self._line(f"{name}: {done}/{total}{detail}")
            return
        name, progress = visible(name), self._bar()
        if name not in self._bars:
            self._bars[name] = progress.add_task(name, total=total, detail="")
        progress.update(self._bars[name], completed=done, total=total, detail=detail)

    def _bar(self) -> Progress:
        if self._progress is None:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            self._progress = Progress(
                TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(),
                TimeRemainingColumn(), TextColumn("{task.fields[detail]}", markup=False),
                console=_stderr(), transient=True,
            )  # fmt: skip
            self._progress.start()
        return self._progress

    def _line(self, text: str) -> None:
        text = visible(text)
        if self._table is not None and self._table.print(text):
            return
        if self._progress is not None:
            self._progress.console.print(text, highlight=False, markup=False)
        else:
            sys.stderr.write(text + "\n")
            sys.stderr.flush()


def _plain_table(title: str, columns: list[str], rows: list[list[str]]) -> str:
    """Return a table without a frame, a column as wide as its widest cell: quick, however long it is."""
    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    lines = [title]
    for row in (columns, *rows):
        cells = [cell.replace("\n", " ").ljust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines) + "\n"


def _stderr() -> Console:
    from rich.console import Console

    # Names are text as they stand: [/red] and :smile: are no orders.
    return Console(stderr=True, markup=False, emoji=False)
