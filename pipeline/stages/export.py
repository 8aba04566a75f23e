"""``pipeline export``: trial stores → files of other programs, by whichever exporter is asked for.

A file that was made from the same store with the same settings is left alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nwb_latents.pipeline.errors import MachineError, SettingsError
from nwb_latents.pipeline.stages.lag_words import say_negative
from nwb_latents.pipeline.stages.report import Report, ignore, noted
from nwb_latents.pipeline.stages.seen_stores import comes_into_sight
from nwb_latents.pipeline.stages.session_tasks import SessionStage, Where, do_sessions
from nwb_latents.pipeline.stages.stage_memory import require_stores_fit
from nwb_latents.pipeline.stages.stage_work import StageWork
from nwb_latents.pipeline.stores.catalog import read_catalog, select_sessions
from nwb_latents.pipeline.stores.exporters.exporter import exporter_named, write_export
from nwb_latents.pipeline.stores.location import store_path
from nwb_latents.pipeline.stores.session import open_session
from nwb_latents.schemas.events import NoteEvent
from nwb_latents.schemas.registry import BrokenPartError, UnknownPartError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from nwb_latents.pipeline.stores.exporters.exporter import Exporter
    from nwb_latents.schemas.base import Frozen
    from nwb_latents.schemas.catalog import RunEntry, SessionEntry

STAGE = "export"


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


@dataclass(frozen=True)
class ExportPlan:
    """What is written of every session: by which exporter, where, and whether it is up to date or not."""

    name: str
    folder: Path
    force: bool


Work = StageWork[Any, Exported]


def export(
    catalog_path: Path,
    name: str,
    *,
    settings: Frozen | None = None,
    sessions: Sequence[str] = ("*",),
    recipe_id: str | None = None,
    out: Path | None = None,
    force: bool = False,
    where: Where | None = None,
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
    where
        Which part of the sessions, and where they are written; default: all, in this process. On a cluster
        one session is one task, and writes its file itself.
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
        If the exporter is there but cannot be loaded, or the cluster cannot be reached or is lost.
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
    where = where or Where()
    _, chosen = _exporter(name, settings)
    lag_ms = getattr(chosen, "lag_ms", None)
    if lag_ms is not None:
        say_negative([lag_ms], report)
    entries = select_sessions(read_catalog(catalog_path), sessions, recipe_id, say=noted(report))
    entries = where.part_of(entries, catalog_path, STAGE, report)
    if not entries:
        return []
    folder = out or catalog_path.parent / "exports" / name / entries[0].recipe_id
    # Relative to where the command runs, which workers elsewhere do not know.
    plan = ExportPlan(name, folder if where.is_here else folder.absolute(), force)
    work = Work(catalog_path, chosen, entries, [], report)
    do_sessions(work, EXPORT, plan, where, device="cpu")
    if work.failures.found:
        n = len(work.failures.found)
        summary = f"{n} of {len(entries)} sessions could not be exported, the others are written."
        raise work.failures.error(summary, work.results)
    return work.results


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


def _export_session(work: Work, plan: ExportPlan, entry: SessionEntry) -> tuple[Exported, tuple[str, ...]]:
    """Write the file of a session, unless it is up to date; return what is to be said of it."""
    exporter, settings = _exporter(plan.name, work.settings)
    store = store_path(work.catalog_path, entry.store)
    session = open_session(store, entry=entry)
    path = plan.folder / f"{store.stem}{exporter.suffix}"
    if not plan.force and exporter.is_current(path, exporter.key(settings, session.store_key)):
        return Exported(entry, path, "skipped"), ()
    require_stores_fit(work.catalog_path, [entry], force=plan.force)
    notes = write_export(exporter, session.loaded(), path, settings=settings)
    return Exported(entry, path, "done"), notes


def _keep(
    work: Work, plan: ExportPlan, entry: SessionEntry, made: tuple[Exported, tuple[str, ...]]
) -> dict[str, object]:
    """Look whether the file is seen from here, and report what was said of it."""
    exported, notes = made
    if not comes_into_sight(exported.path.exists):
        raise MachineError(
            f"{entry.session}: a worker says that it wrote {exported.path}, which is not to be seen here. "
            "Workers have to see the folder of the files under the same path; take one all see (--out)."
        )
    for text in notes:
        work.report(NoteEvent(text=text, session=entry.session))
    work.results.append(exported)
    return {
        "format": plan.name,
        "n_trials": entry.n_trials,
        "n_units": entry.n_units,
        "status": exported.status,
        "path": str(exported.path),
        "reason": "up to date" if exported.status == "skipped" else "",
    }


def _no_runs(work: Work, plan: ExportPlan) -> list[RunEntry]:
    del work, plan
    return []


EXPORT = SessionStage(STAGE, make=_export_session, keep=_keep, runs=_no_runs)
