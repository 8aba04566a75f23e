"""``pipeline export``: trial stores → files of other programs, by whichever exporter is asked for.

A file that was made from the same store with the same settings is left alone.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nwb_latents.pipeline.errors import (
    DataError,
    MachineError,
    PartialFailure,
    PipelineError,
    SettingsError,
)
from nwb_latents.pipeline.stages.lag_words import say_negative
from nwb_latents.pipeline.stages.report import Report, ignore, noted
from nwb_latents.pipeline.stages.stage_memory import require_stores_fit
from nwb_latents.pipeline.stores.catalog import read_catalog, select_sessions
from nwb_latents.pipeline.stores.exporters.exporter import exporter_named, write_export
from nwb_latents.pipeline.stores.location import store_path
from nwb_latents.pipeline.stores.session import open_session
from nwb_latents.schemas.events import NoteEvent, SessionEvent
from nwb_latents.schemas.registry import BrokenPartError, UnknownPartError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from nwb_latents.pipeline.stores.exporters.exporter import Exporter
    from nwb_latents.schemas.base import Frozen
    from nwb_latents.schemas.catalog import SessionEntry

_log = logging.getLogger(__name__)

# A damaged store fails its own session, whatever zarr says of it.
_FAILURES = (Exception,)


@dataclass(frozen=True)
class Exported:
    """One exported session.

    Attributes
    ----------
    entry
        Its catalog entry.
    path
        The file.
    status
        ``done``, or ``skipped`` where the file was up to date.
    """

    entry: SessionEntry
    path: Path
    status: str


def export(
    catalog_path: Path,
    name: str,
    *,
    settings: Frozen | None = None,
    sessions: Sequence[str] = ("*",),
    recipe_id: str | None = None,
    out: Path | None = None,
    force: bool = False,
    report: Report = ignore,
) -> list[Exported]:
    """Write every selected session as a file of another program, one file each.

    Parameters
    ----------
    catalog_path
        Catalog file.
    name
        Name of an exporter: nlb, lfads, nwb, or one of another distribution.
    settings
        What to write, and how: of the class the exporter names; None: its defaults.
    sessions
        Shell patterns for session ids.
    recipe_id
        Recipe of the stores, or its beginning; default: that of the matching session ingested last.
    out
        Folder of the files; default ``exports/<name>/<recipe id>/`` beside the catalog.
    force
        Write files again that are up to date, and begin whatever the size of stores.
    report
        Receives one event per session, and notes.

    Returns
    -------
    exported
        In order of session id.

    Raises
    ------
    SettingsError
        If there is no such exporter, or its settings are of another class.
    MachineError
        If the exporter is there but cannot be loaded.
    DataError
        If nothing is selected.
    PartialFailure
        If a session could not be exported; the others were finished first.

    Examples
    --------
    >>> from pathlib import Path
    >>> export(Path("nowhere/catalog.yaml"), "nlb")
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.DataError: The catalog holds no sessions. Run `pipeline run ingest ...
    """
    exporter, chosen = _exporter(name, settings)
    lag_ms = getattr(chosen, "lag_ms", None)
    if lag_ms is not None:
        say_negative([lag_ms], report)
    entries = select_sessions(read_catalog(catalog_path), sessions, recipe_id, say=noted(report))
    folder = out or catalog_path.parent / "exports" / name / entries[0].recipe_id
    done: list[Exported] = []
    failures: list[tuple[str, str]] = []
    exit_codes: set[int] = set()
    for entry in entries:
        begin = time.perf_counter()
        about = {"session": entry.session, "format": name, "n_trials": entry.n_trials}
        about |= {"n_units": entry.n_units}
        try:
            made, notes = _export_session(
                catalog_path, entry, exporter, settings=chosen, folder=folder, force=force
            )
        except _FAILURES as error:
            _log.debug("%s failed", entry.session, exc_info=error)
            is_known = isinstance(error, PipelineError)
            reason = str(error) if is_known else f"{entry.store}: {type(error).__name__}: {error}"
            failures.append((entry.session, reason))
            exit_codes.add(error.exit_code if isinstance(error, PipelineError) else DataError.exit_code)
            report(SessionEvent(**about, status="failed", reason=reason))
            continue
        for text in notes:
            report(NoteEvent(text=text, session=entry.session))
        done.append(made)
        reason = "up to date" if made.status == "skipped" else ""
        seconds = round(time.perf_counter() - begin, 3)
        report(SessionEvent(**about, status=made.status, path=str(made.path), seconds=seconds, reason=reason))
    if failures:
        raise _failure(failures, done, exit_codes)
    return done


def _exporter(name: str, settings: Frozen | None) -> tuple[Exporter[Frozen], Frozen]:
    try:
        exporter = exporter_named(name)
    except UnknownPartError as error:
        raise SettingsError(str(error)) from error
    except BrokenPartError as error:
        raise MachineError(str(error)) from error
    chosen = exporter.settings_type() if settings is None else settings
    if not isinstance(chosen, exporter.settings_type):
        raise SettingsError(
            f"the exporter {name} takes settings of {exporter.settings_type.__name__}, found "
            f"{type(chosen).__name__}. Give it those, or none for its defaults."
        )
    return exporter, chosen


def _export_session(
    catalog_path: Path,
    entry: SessionEntry,
    exporter: Exporter[Frozen],
    *,
    settings: Frozen,
    folder: Path,
    force: bool,
) -> tuple[Exported, tuple[str, ...]]:
    store = store_path(catalog_path, entry.store)
    session = open_session(store)
    path = folder / f"{store.stem}{exporter.suffix}"
    if not force and exporter.is_current(path, exporter.key(settings, session.store_key)):
        return Exported(entry, path, "skipped"), ()
    require_stores_fit(catalog_path, [entry], force=force)
    notes = write_export(exporter, session.loaded(), path, settings=settings)
    return Exported(entry, path, "done"), notes


def _failure(failures: list[tuple[str, str]], done: list[Exported], exit_codes: set[int]) -> PartialFailure:
    error = PartialFailure(
        f"{len(failures)} of {len(failures) + len(done)} sessions could not be exported: "
        + "; ".join(f"{name}: {reason}" for name, reason in failures[:3])
        + (f"; and {len(failures) - 3} more" if len(failures) > 3 else ""),
        results=done,
        failures=failures,
    )
    if not done and len(exit_codes) == 1:
        error.exit_code = next(iter(exit_codes))
    return error
