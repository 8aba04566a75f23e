"""``pipeline run report``: one page of HTML of what a catalog holds, to be looked at, sent and printed.

Catalog, stores, runs, measurements and ledgers → page. Nothing that is damaged or missing ends it: what
cannot be shown is said on the page, with what to do.
"""

from __future__ import annotations

import fnmatch
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING

from nwb_latents.pipeline.errors import DataError, PipelineError
from nwb_latents.pipeline.stages.leaderboard import leaderboard
from nwb_latents.pipeline.stages.report import Report, ignore
from nwb_latents.pipeline.stages.report_asked import ReportWork, Section, Wholeness
from nwb_latents.pipeline.stages.trained_runs import FAILURES, unread_words, words_of
from nwb_latents.pipeline.stages.verify import verify
from nwb_latents.pipeline.stores.atomic import write_text
from nwb_latents.pipeline.stores.catalog import read_catalog, require_catalog, some_of
from nwb_latents.pipeline.stores.measurements import read_measurements, why_stale
from nwb_latents.schemas.events import FaultEvent, NoteEvent, PageEvent, RunEvent, SessionEvent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from nwb_latents.pipeline.evaluation.report.content import BoardPart, FailurePart, Missing, Page
    from nwb_latents.schemas.catalog import Catalog, RunEntry, SessionEntry
    from nwb_latents.schemas.events import Event
    from nwb_latents.schemas.report import ReportSettings
    from nwb_latents.schemas.training import Device

PAGE = "report.html"
"""Name of the page beside the catalog."""


@dataclass(frozen=True)
class ReportFile:
    """A page that was written.

    Attributes
    ----------
    path
        The file.
    n_bytes
        Its size.
    not_drawn
        Sessions and runs without drawings, for the size of the page.
    missing
        What is said on it to be missing or damaged.
    """

    path: Path
    n_bytes: int
    not_drawn: tuple[str, ...]
    missing: tuple[Missing, ...]


def report_page(
    catalog_path: Path,
    settings: ReportSettings,
    *,
    sessions: Sequence[str] = ("*",),
    runs: Sequence[str] = (),
    out: Path | None = None,
    device: Device = "auto",
    report: Report | None = None,
) -> ReportFile:
    """Write a page of what a catalog holds.

    Parameters
    ----------
    catalog_path
        Catalog file.
    settings
        How much is drawn.
    sessions
        Shell patterns for session ids, of all recipes.
    runs
        Names of the runs shown, or shell patterns; none: all that were trained on a session shown.
    out
        The page; None: ``report.html`` beside the catalog.
    device
        Where models run.
    report
        Told how far it is, what is missing, and at the end where the page is.

    Returns
    -------
    written
        The page.

    Raises
    ------
    DataError
        If there is no catalog, or nothing in it matches.
    MachineError
        If the page cannot be written.

    Examples
    --------
    >>> from pathlib import Path
    >>> from nwb_latents.schemas.report import ReportSettings
    >>> report_page(Path("nowhere/catalog.yaml"), ReportSettings())
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.DataError: nowhere/catalog.yaml: no such catalog. ...
    """
    from nwb_latents.pipeline.evaluation.report.page import page_html  # noqa: PLC0415

    say = report or ignore
    require_catalog(catalog_path)
    where = out or catalog_path.parent / PAGE
    with _warnings_heard() as told:
        work = _work(catalog_path, settings, sessions, runs, device=device, report=say)
        page = _page(work, sessions)
    page = _with_warnings(page, told)
    written = page_html(page, max_mb=settings.max_mb)
    write_text(where, written.html)
    for lost in page.missing:
        remedy = f". {lost.remedy.rstrip('.')}." if lost.remedy else ""
        say(NoteEvent(text=f"{lost.what}: {lost.why}{remedy}", stage="report", status="missing"))
    if written.n_bytes > settings.max_mb * 1e6:
        too_large = (
            f"the page is {written.n_bytes / 1e6:.1f} MB, more than the {settings.max_mb:g} MB asked for"
        )
        mend = "its tables alone are as large. Choose sessions with --session, or fewer --set numbers=…"
        say(NoteEvent(text=f"{too_large}: {mend}", stage="report"))
    say(
        PageEvent(
            path=str(where),
            bytes=written.n_bytes,
            n_sessions=len(page.sessions),
            n_runs=len(page.runs),
            not_drawn=written.not_drawn,
            n_missing=len(page.missing),
        )
    )
    return ReportFile(where, written.n_bytes, written.not_drawn, page.missing)


@contextmanager
def _warnings_heard() -> Iterator[list[str]]:
    """Give a list that holds at the end what was warned of; where an error ends it, it is warned of again."""
    told: list[str] = []
    warned: list[warnings.WarningMessage] = []
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            yield told
    except BaseException:
        for each in warned:
            warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)
        raise
    told += dict.fromkeys(str(each.message) for each in warned if issubclass(each.category, UserWarning))


def _work(
    catalog_path: Path,
    settings: ReportSettings,
    sessions: Sequence[str],
    runs: Sequence[str],
    *,
    device: Device,
    report: Report,
) -> ReportWork:
    from nwb_latents.pipeline.evaluation.report.content import Missing  # noqa: PLC0415

    catalog = read_catalog(catalog_path)
    entries = _chosen_sessions(catalog, sessions)
    chosen = _chosen_runs(catalog, runs, entries)
    files, said = _files(catalog_path, catalog)
    names = () if tuple(sessions) == ("*",) else tuple(sessions)
    table = read_measurements(catalog_path, sessions=names)
    work = ReportWork(
        catalog_path=catalog_path,
        catalog=catalog,
        settings=settings,
        entries=entries,
        runs=chosen,
        table=table,
        why=why_stale(table, catalog),
        files=files,
        device=device,
        report=report,
    )
    work.missing += said
    for kind, unread in catalog.unread.items():
        for name in unread:
            what = f"The entry {name} of {kind} in the catalog"
            work.missing.append(
                Missing(what, "this version cannot read it", "Mend the entry, or make it again")
            )
    return work


def _chosen_sessions(catalog: Catalog, patterns: Sequence[str]) -> dict[str, SessionEntry]:
    found = {
        key: entry
        for key, entry in sorted(catalog.sessions.items())
        if any(fnmatch.fnmatchcase(entry.session, pattern) for pattern in patterns)
    }
    if not found and tuple(patterns) != ("*",):
        known = some_of(sorted({entry.session for entry in catalog.sessions.values()})) or "none"
        unread = unread_words(catalog, "sessions", patterns)
        raise DataError(f"No session matches {', '.join(patterns)}. The catalog holds: {known}.{unread}")
    return found


def _chosen_runs(
    catalog: Catalog, patterns: Sequence[str], entries: dict[str, SessionEntry]
) -> list[RunEntry]:
    known = {(entry.session, entry.recipe_id) for entry in entries.values()}
    if not patterns:
        is_all = len(entries) == len(catalog.sessions)
        of_them = (
            run
            for run in catalog.runs.values()
            if any((session, run.recipe_id) in known for session in run.sessions)
        )
        return list(catalog.runs.values() if is_all else of_them)
    found = [
        run
        for name, run in catalog.runs.items()
        if any(name == pattern or fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
    ]
    lost = [p for p in patterns if not any(run.run == p or fnmatch.fnmatchcase(run.run, p) for run in found)]
    if lost:
        there = some_of(sorted(catalog.runs)) or "none; train one with `pipeline run train`"
        unread = unread_words(catalog, "runs", lost)
        raise DataError(f"No run is called {', '.join(lost)}. Complete runs in the catalog: {there}.{unread}")
    return found


def _files(catalog_path: Path, catalog: Catalog) -> tuple[Wholeness, list[Missing]]:
    """Return what is known of the files, by entry, and what is said besides: sizes and keys are looked at."""
    from nwb_latents.pipeline.evaluation.report.content import Missing  # noqa: PLC0415

    faults: dict[tuple[Section, str], list[FaultEvent]] = {}
    looked_at: set[tuple[Section, str]] = set()
    said: list[Missing] = []

    def told(event: Event) -> None:
        match event:
            case FaultEvent() if (owner := _owner(event, catalog)) is not None:
                faults.setdefault(owner, []).append(event)
            case FaultEvent() if not _is_unread(event, catalog):
                said.append(Missing(event.path, event.text.rstrip("."), event.remedy))
            case SessionEvent():
                looked_at.update(
                    ("sessions", name) for name, of in catalog.sessions.items() if of.store == event.store
                )
            case RunEvent() if event.run in catalog.runs:
                looked_at.add(("runs", event.run))

    why_not = "it was not looked at"
    try:
        verify(catalog_path, quick=True, report=told)
    except PipelineError as error:
        why_not = str(error).rstrip(".")
    n_others = len(catalog.sessions) + len(catalog.runs) - len(looked_at)
    if n_others:
        what = f"Whether {n_others} stores and runs are whole"
        said.append(Missing(what, why_not, "Mend that, and make the report again"))
    return Wholeness(faults, frozenset(looked_at), why_not), said


def _owner(fault: FaultEvent, catalog: Catalog) -> tuple[Section, str] | None:
    """Return the entry a fault is of; None where the catalog has no such entry."""
    if fault.session is not None and fault.entry in catalog.sessions:
        return ("sessions", fault.entry)
    if fault.run is not None and fault.entry in catalog.runs:
        return ("runs", fault.entry)
    return None


def _is_unread(fault: FaultEvent, catalog: Catalog) -> bool:
    """Whether a fault is that an entry cannot be read, which stands on the page by the entry's name."""
    return fault.kind == "catalog" and any(
        fault.entry == str(name) for part in catalog.unread.values() for name in part
    )


def _page(work: ReportWork, sessions: Sequence[str]) -> Page:
    from nwb_latents.pipeline.evaluation.report.bibliography import bibtex  # noqa: PLC0415
    from nwb_latents.pipeline.evaluation.report.content import Missing, Page  # noqa: PLC0415
    from nwb_latents.pipeline.evaluation.report.heat_maps import heat_maps  # noqa: PLC0415
    from nwb_latents.pipeline.evaluation.report.number_table import number_table  # noqa: PLC0415
    from nwb_latents.pipeline.stages.report_commands import commands_of, dandisets_of, packages_of  # noqa: PLC0415
    from nwb_latents.pipeline.stages.report_methods import methods_of, papers_of  # noqa: PLC0415
    from nwb_latents.pipeline.stages.report_runs import run_parts  # noqa: PLC0415
    from nwb_latents.pipeline.stages.report_sessions import session_parts  # noqa: PLC0415

    parts = session_parts(work)
    runs = run_parts(work)
    boards, stale = _boards(work, sessions)
    dandisets = dandisets_of(work)
    failures = _failures(work)
    maps, left_out = heat_maps(work.table, work.why)
    if left_out:
        work.missing.append(Missing("Some maps of sessions and runs", left_out.rstrip(".")))
    return Page(
        catalog=str(work.catalog_path),
        made=datetime.now(UTC).isoformat(timespec="seconds")[:19].replace("T", " "),
        program=version("nwb-latents"),
        sessions=parts,
        runs=runs,
        dandisets=tuple(
            (name, entry.title if entry else "not known here", entry.license if entry else "", number,
             entry.citation if entry else "")
            for name, (entry, number) in dandisets.items()
        ),
        packages=packages_of(work),
        commands=commands_of(work),
        boards=boards,
        heat_maps=tuple(maps),
        stale=stale,
        numbers=number_table(work.table, work.why, most=work.settings.numbers),
        failures=failures,
        methods=methods_of(work),
        bibtex=bibtex(papers_of(work), {name: entry for name, (entry, _) in dandisets.items()}),
        missing=tuple(work.missing),
    )  # fmt: skip


def _boards(work: ReportWork, sessions: Sequence[str]) -> tuple[tuple[BoardPart, ...], str]:
    """Return the leaderboards, of current numbers alone, and what is said of stale ones."""
    from nwb_latents.pipeline.evaluation.report.board_tables import board_part  # noqa: PLC0415
    from nwb_latents.pipeline.evaluation.report.content import Missing  # noqa: PLC0415

    said: list[str] = []

    def told(event: Event) -> None:
        if isinstance(event, NoteEvent):
            said.append(event.text)

    try:
        made = leaderboard(work.catalog_path, sessions=sessions, report=told)
    except DataError as error:
        stale = str(error) if "stale" in str(error) else ""
        return (), stale.rstrip(".")
    except FAILURES as error:
        work.missing.append(Missing("The leaderboard", words_of(error, "leaderboard")[0].rstrip(".")))
        return (), ""
    return tuple(board_part(board) for board in made), "; ".join(said)


def _failures(work: ReportWork) -> tuple[FailurePart, ...]:
    """Return the sessions whose last attempt failed; a ledger that cannot be read is said to be so."""
    from nwb_latents.pipeline.cluster.ledger import (  # noqa: PLC0415
        ledgers_beside,
        read_ledger,
        stage_of,
        standing_failures,
    )
    from nwb_latents.pipeline.evaluation.report.content import FailurePart, Missing  # noqa: PLC0415

    found = []
    for path in ledgers_beside(work.catalog_path):
        try:
            standing = standing_failures(read_ledger(path))
        except PipelineError as error:
            work.missing.append(Missing(f"Failures of {stage_of(path)}", str(error).rstrip(".")))
            continue
        found += [
            FailurePart(
                stage=stage_of(path),
                session=failure.last.session,
                source=failure.last.source,
                time=failure.last.time,
                attempts=failure.n_attempts,
                kind=failure.kind,
                message=failure.message,
                remedy=failure.remedy,
            )
            for failure in standing
        ]
    return tuple(found)


def _with_warnings(page: Page, told: Sequence[str]) -> Page:
    """Return the page with what was warned of while its parts were read."""
    from dataclasses import replace  # noqa: PLC0415

    from nwb_latents.pipeline.evaluation.report.content import Missing  # noqa: PLC0415

    said = tuple(Missing("A warning", text.rstrip(".")) for text in told)
    return replace(page, missing=(*page.missing, *said))
