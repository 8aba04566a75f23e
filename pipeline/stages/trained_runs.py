"""What the stages that use trained runs share: which runs, loading them, and what failed."""

from __future__ import annotations

import difflib
import fnmatch
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from nwb_latents.pipeline.errors import DataError, PartialFailure, PipelineError, is_interruption
from nwb_latents.pipeline.stages.report import noted
from nwb_latents.pipeline.stores.catalog import select_sessions, some_of
from nwb_latents.schemas.events import RunEvent, SessionEvent

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from nwb_latents.pipeline.stages.report import Report
    from nwb_latents.pipeline.training.inference import TrainedRun
    from nwb_latents.schemas.catalog import Catalog, RunEntry, SessionEntry
    from nwb_latents.schemas.events import DecoderEvent, MetricEvent, PictureEvent, SourceEvent
    from nwb_latents.schemas.training import Device

_log = logging.getLogger(__name__)

_NAMED_IN_MESSAGE = 5

FAILURES = (Exception,)
"""What is a failure of one session or run alone: whatever a broken store or checkpoint makes zarr and torch
raise, or a part of another distribution does wrong."""


@dataclass
class Failures:
    """What failed while the rest went on.

    Attributes
    ----------
    report
        Told of every failure.
    found
        Name and reason of each.
    exit_codes
        What each of them stands for.
    """

    report: Report
    found: list[tuple[str, str]] = field(default_factory=list)
    exit_codes: list[int] = field(default_factory=list)

    def add(
        self,
        error: Exception,
        *,
        event: SessionEvent | RunEvent | SourceEvent | MetricEvent | DecoderEvent | PictureEvent,
        name: str,
    ) -> None:
        """Remember a failure, and report `event` as failed with its reason."""
        reason, exit_code = words_of(error, name)
        self.take(name, reason, exit_code)
        self.report(event.model_copy(update={"status": "failed", "reason": reason}))

    def take(self, name: str, reason: str, exit_code: int) -> None:
        """Remember a failure that was reported elsewhere; the same of several sessions is one."""
        if (name, reason) not in self.found:
            self.found.append((name, reason))
            self.exit_codes.append(exit_code)

    def error(self, summary: str, results: Sequence[object]) -> PartialFailure:
        """Return the error that tells of all of them.

        Parameters
        ----------
        summary
            How many failed, and what was done.
        results
            What was done; if nothing, the exit code is that of the failures, where they agree.
        """
        shown = "; ".join(f"{name}: {reason}" for name, reason in self.found[:_NAMED_IN_MESSAGE])
        more = len(self.found) - _NAMED_IN_MESSAGE
        tail = f"; and {more} more" if more > 0 else ""
        failure = PartialFailure(f"{summary} Failed: {shown}{tail}", results=results, failures=self.found)
        codes = set(self.exit_codes)
        if not results and len(codes) == 1:
            failure.exit_code = codes.pop()
        return failure


def words_of(error: Exception, of: str) -> tuple[str, int]:
    """Return what is said of a failure of something, and the exit code it stands for.

    Raises
    ------
    KeyboardInterrupt
        If the error was made of an interruption.

    Examples
    --------
    >>> words_of(ValueError("odd"), "mdssm-1")
    ('ValueError: odd', 4)
    """
    if is_interruption(error):
        raise KeyboardInterrupt from error
    _log.debug("%s failed", of, exc_info=error)
    if isinstance(error, PipelineError):
        return str(error), error.exit_code
    return f"{type(error).__name__}: {error}", DataError.exit_code


def unread_words(catalog: Catalog, section: Literal["sessions", "runs"], patterns: Sequence[str]) -> str:
    """Return what is said of entries that cannot be read and are called as one asks; empty: there is none.

    Parameters
    ----------
    catalog
        The catalog.
    section
        Which of its entries.
    patterns
        Shell patterns for names, which an entry has outside or inside.

    Examples
    --------
    >>> from nwb_latents.schemas.catalog import Catalog
    >>> unread_words(Catalog(unread={"runs": {"mine": {"run": "yours"}}}), "runs", ["yours"])
    ' The entry mine is called so, but cannot be read. Mend it, or make it again; `pipeline catalog list`...
    """
    field = section.removesuffix("s")
    found = []
    for name, entry in catalog.unread.get(section, {}).items():
        inside = entry.get(field) if isinstance(entry, dict) else None
        names = (name, name.partition("@")[0], str(inside))
        if any(fnmatch.fnmatchcase(each, pattern) for each in names for pattern in patterns):
            found.append(name)
    if not found:
        return ""
    entries = "The entry {} is" if len(found) == 1 else "The entries {} are"
    return (
        f" {entries.format(some_of(found))} called so, but cannot be read. Mend it, or make it again; "
        "`pipeline catalog list` says what is wrong."
    )


def named_runs(catalog: Catalog, names: Sequence[str]) -> list[RunEntry]:
    """Return the runs of these names, each once.

    Raises
    ------
    DataError
        If one of them is not in the catalog.
    """
    unknown = [name for name in names if name not in catalog.runs]
    if unknown:
        known = some_of(sorted(catalog.runs)) or "none; train one with `pipeline run train`"
        close = difflib.get_close_matches(unknown[0], catalog.runs, n=1)
        hint = f" Did you mean {close[0]}?" if close else ""
        raise DataError(
            f"No run is called {', '.join(unknown)}.{hint} Complete runs in the catalog: {known}."
            f"{unread_words(catalog, 'runs', unknown)}"
        )
    return [catalog.runs[name] for name in dict.fromkeys(names)]


def matching_runs(catalog: Catalog, named: list[RunEntry], entries: list[SessionEntry]) -> list[RunEntry]:
    """Return the runs of the sessions' recipe that were trained on at least one of them.

    Parameters
    ----------
    catalog
        The catalog.
    named
        Runs asked for by name; none: all that match.
    entries
        Sessions, of one recipe.

    Raises
    ------
    DataError
        If a run that was asked for does not match.
    """
    recipe_id, ids = entries[0].recipe_id, {entry.session for entry in entries}
    for run in named:
        if run.recipe_id != recipe_id:
            msg = (
                f"Run {run.run} was trained on stores of recipe {run.recipe_id}, the sessions are of "
                f"{recipe_id}. Take it by itself, or choose its recipe."
            )
            raise DataError(msg)
        if not ids & set(run.sessions):
            msg = (
                f"Run {run.run} was trained on none of the chosen sessions; it knows "
                f"{', '.join(run.sessions)}. Choose from these, or align it to others first."
            )
            raise DataError(msg)
    if named:
        return named
    return [r for r in catalog.runs.values() if r.recipe_id == recipe_id and ids & set(r.sessions)]


def choose(
    catalog: Catalog,
    names: Sequence[str],
    sessions: Sequence[str],
    recipe_id: str | None,
    *,
    report: Report,
) -> tuple[list[SessionEntry], list[RunEntry]]:
    """Return the sessions and runs a stage works on.

    Parameters
    ----------
    catalog
        The catalog.
    names
        Names of runs; none: all that match the sessions (`matching_runs`).
    sessions
        Shell patterns for session ids.
    recipe_id
        Recipe of the stores, or its beginning; None: that of the first run named, else that of the matching
        session ingested last.
    report
        Told which recipe that is, where there are several.

    Raises
    ------
    DataError
        If no session matches, or a named run is not there or does not match.
    """
    named = named_runs(catalog, names)
    if recipe_id is None and named:
        recipe_id = named[0].recipe_id
    entries = select_sessions(catalog, sessions, recipe_id, say=noted(report))
    return entries, matching_runs(catalog, named, entries)


def load_runs(
    catalog_path: Path, runs: Sequence[RunEntry], *, device: Device, failures: Failures
) -> dict[str, TrainedRun]:
    """Load every run; one that cannot be read, or whose model is not installed, is a failure of that run.

    Raises
    ------
    MachineError
        If the device is not there.
    """
    from nwb_latents.pipeline.training.device import resolve_device  # noqa: PLC0415
    from nwb_latents.pipeline.training.inference import load_run  # noqa: PLC0415

    if runs:
        resolve_device(device)
    trained = {}
    for run in runs:
        try:
            path = catalog_path.parent / run.path
            trained[run.run] = load_run(path, run_key=run.run_key, device=device)
        except FAILURES as error:
            failures.add(error, event=RunEvent(run=run.run, model=run.model, status="failed"), name=run.run)
    return trained
