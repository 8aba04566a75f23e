"""What a person or a machine sees: progress and tables on a terminal, plain lines in a log, or JSON lines.

With ``--json`` standard output holds one JSON object per line and nothing else; everything meant for people
goes to standard error.
"""

from __future__ import annotations

import json
import math
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from nwb_latents.pipeline.cli.live_table import duration

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from nwb_latents.pipeline.cli.live_table import IngestTable

QUIET_EVENTS = {"progress", "bytes", "phase"}
LOG_SECONDS = 10.0


class Output:
    """Receiver of a stage's events.

    Parameters
    ----------
    json_lines
        Print every event but the fast ones as a JSON line on standard output.
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

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
        if self._table is not None:
            self._table.close()
            self._table = None

    def __call__(self, event: dict[str, object]) -> None:
        """Show one event."""
        if self.json_lines and event["event"] not in QUIET_EVENTS:
            sys.stdout.write(json.dumps(_finite(event), default=str) + "\n")
            sys.stdout.flush()
        if not self.quiet:
            self._show(event)

    def say(self, text: str) -> None:
        """Write one line for people to standard error, or nothing under ``--quiet``."""
        if not self.quiet:
            self._line(text)

    def result(self, text: str) -> None:
        """Write a result for people to standard output; nothing under ``--json``."""
        if not self.json_lines:
            sys.stdout.write(text + "\n")

    def table(self, title: str, columns: list[str], rows: list[list[str]]) -> None:
        """Print a table of results to standard output; nothing under ``--json``."""
        if self.json_lines:
            return
        from rich.console import Console
        from rich.table import Table

        grid = Table(title=title, title_justify="left", header_style="bold")
        for number, column in enumerate(columns):
            is_number = all(row[number][:1].isdigit() or row[number][:1] in "-−" for row in rows)
            grid.add_column(column, justify="right" if is_number else "left", overflow="fold")
        for row in rows:
            grid.add_row(*row)
        width = None if sys.stdout.isatty() else 140
        Console(file=sys.stdout, width=width, highlight=False).print(grid)

    def _show(self, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "plan":
            self._plan(event)
        elif kind == "planned":
            self._line(_planned_line(event))
        elif kind == "session":
            self._session(event)
        elif kind == "retry":
            if self._table is not None:
                self._table.take(event)
            self._line(
                f"{event['session']}: attempt {event['attempt']} failed, again elsewhere ({event['reason']})"
            )
        elif kind == "run":
            self._line(_run_line(event))
        elif kind == "generation":
            self._line(_generation_line(event))
        elif kind == "source":
            self._line(f"{event['source']}: {event['status']} ({event['reason']})")
        elif kind in QUIET_EVENTS:
            self._advance(event)
        elif kind == "note":
            self._line(f"note: {event['text']}")
        elif self.verbose:
            self._line(json.dumps(_finite(event), default=str))

    def _plan(self, event: dict[str, Any]) -> None:
        self._planned, self._done = int(event["n_sessions"]), 0
        words = [f"{event['n_sessions']} files"]
        if event.get("bytes"):
            words.append(f"{event['bytes'] / 1e6:.1f} MB")
        if event.get("seconds"):
            words.append(f"about {duration(event['seconds'])} of work")
        if event.get("memory_bytes"):
            words.append(f"up to {event['memory_bytes'] / 1e9:.1f} GB of memory each")
        self._line(f"{', '.join(words)}; recipe {event['recipe']}, stores in {event['stores']}")
        if event.get("stage") == "ingest" and sys.stderr.isatty():
            from nwb_latents.pipeline.cli.live_table import IngestTable

            self._table = IngestTable(_stderr())
            self._table.plan(event)

    def _session(self, event: dict[str, Any]) -> None:
        self._done += 1
        if self._table is not None:
            self._table.take(event)
        of = f"[{self._done}/{self._planned}] " if self._planned else ""
        made = f"{event['n_trials']} trials, {event['n_units']} units" if event.get("n_trials") else ""
        took = f"{event['seconds']:.1f} s" if event.get("seconds") else ""
        words = [w for w in (made, took, str(event.get("reason") or "")) if w]
        self._line(f"{of}{event['session']}: {event['status']}" + (f" ({'; '.join(words)})" if words else ""))

    def _advance(self, event: dict[str, Any]) -> None:
        if self._table is not None and event.get("stage") == "ingest":
            self._table.take(event)
            return
        if event["event"] == "phase":
            if self.verbose:
                self._line(f"{event['session']}: {event['phase']}")
            return
        total, done = event.get("total"), event.get("done", event.get("step", 0))
        name = str(event.get("source") or event.get("run") or event.get("stage") or "")
        detail = "".join(
            f"  {k} {event[k]:.4g}" for k in ("loss", "val_loss") if isinstance(event.get(k), int | float)
        )
        if not sys.stderr.isatty():
            if time.monotonic() - self._last_line > LOG_SECONDS:
                self._last_line = time.monotonic()
                self._line(f"{name}: {done}/{total}{detail}")
            return
        progress = self._bar()
        if name not in self._bars:
            self._bars[name] = progress.add_task(name, total=total, detail="")
        progress.update(self._bars[name], completed=done, total=total, detail=detail)

    def _bar(self) -> Progress:
        if self._progress is None:
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            self._progress = Progress(
                TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
                TextColumn("{task.fields[detail]}"), console=_stderr(), transient=True,
            )  # fmt: skip
            self._progress.start()
        return self._progress

    def _line(self, text: str) -> None:
        if self._table is not None and self._table.print(text):
            return
        if self._progress is not None:
            self._progress.console.print(text, highlight=False, markup=False)
        else:
            sys.stderr.write(text + "\n")
            sys.stderr.flush()


def _stderr() -> Console:
    from rich.console import Console

    return Console(stderr=True)


def _planned_line(event: dict[str, Any]) -> str:
    words = [f"{event['bytes'] / 1e6:.1f} MB"]
    if "seconds" in event:
        words += [f"{duration(event['seconds'])}", f"{event['memory_bytes'] / 1e9:.1f} GB of memory"]
    known = ", in the catalog" if event.get("in_catalog") else ""
    return f"  {event['session']}  {', '.join(words)}{known}  {event['source']}"


def _run_line(event: dict[str, Any]) -> str:
    metrics = event.get("metrics") or {}
    shown = ", ".join(f"{k} {v:.4g}" for k, v in metrics.items() if isinstance(v, int | float))
    words = [
        str(event.get("status", "")),
        f"{event['steps']} steps" if event.get("steps") is not None else "",
        shown,
    ]
    words.append(str(event.get("reason") or ""))
    return f"run {event.get('run')}: " + ", ".join(w for w in words if w)


def _generation_line(event: dict[str, Any]) -> str:
    words = [f"best {event['metric']} {event['value']:.5g} (member {event['member']})"]
    if event["best_generation"] != event["generation"]:
        words.append(f"lowest so far {event['best_value']:.5g} in generation {event['best_generation']}")
    words += [f"{event[what]} {what}" for what in ("copied", "diverged") if event[what]]
    if event["stopped"]:
        words.append(f"ends: {event['stopped']}" if event["stopped"] != "generations" else "ends")
    return f"generation {event['generation']}/{event['generations']}: " + ", ".join(words)


def _finite(value: Any) -> Any:
    """Replace NaN and infinities, which JSON does not know, by null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return value
