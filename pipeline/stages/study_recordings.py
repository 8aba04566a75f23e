"""The sessions of a study: ingested from what it names, or those the catalog has."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from nwb_latents.pipeline.errors import DataError, PartialFailure, SettingsError
from nwb_latents.pipeline.stages.ingest import ingest
from nwb_latents.pipeline.stages.ingest_plan import Selection
from nwb_latents.pipeline.stages.ingest_words import archive_source, folder_source
from nwb_latents.pipeline.stages.report import noted
from nwb_latents.pipeline.stages.simulate import simulate
from nwb_latents.pipeline.stores.catalog import read_catalog, select_sessions
from nwb_latents.schemas.events import NoteEvent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nwb_latents.pipeline.sources.asset import Source
    from nwb_latents.pipeline.stages.report import Report
    from nwb_latents.pipeline.stages.session_tasks import Where
    from nwb_latents.schemas.catalog import SessionEntry
    from nwb_latents.schemas.study import StudyRecordings, StudySettings

RECORDINGS = "recordings"
"""Folder of a study that holds its simulated sessions."""


def study_entries(
    catalog_path: Path,
    settings: StudySettings,
    folder: Path,
    *,
    base: Path,
    where: Where,
    dry_run: bool,
    report: Report,
) -> tuple[list[SessionEntry], list[tuple[str, str]]]:
    """Return the sessions of a study, ingested first where it names recordings.

    Parameters
    ----------
    catalog_path, settings, base, where, dry_run, report
        As in `pipeline.stages.study.run_study`.
    folder
        Of the study.

    Returns
    -------
    entries
        Sessions, of one recipe.
    failures
        Name and reason of recordings that failed.

    Raises
    ------
    DataError
        If there are none.
    PartialFailure
        If some cannot be ingested, and the study is not to go on without them.
    """
    wanted = settings.recordings
    if wanted is None:
        catalog = read_catalog(catalog_path)
        return select_sessions(catalog, ("*",), settings.recipe_id, say=noted(report)), []
    if dry_run:
        return _there(catalog_path, wanted, folder, base=base, report=report), []
    entries: dict[str, SessionEntry] = {}
    failures: list[tuple[str, str]] = []
    for source in _sources(wanted, catalog_path, folder, base=base, report=report):
        try:
            done = ingest(
                catalog_path,
                source,
                wanted.recipe,
                selection=Selection(sessions=wanted.sessions, task=wanted.task, exclude=wanted.exclude),
                cluster=where.cluster,
                cluster_settings=where.settings,
                report=report,
            )
        except PartialFailure as failure:
            failures += failure.failures
            done = list(failure.results)  # type: ignore[arg-type]
        entries |= {entry.session: entry for entry in done}
    if any("--session-id" in reason for _, reason in failures):
        text = "recordings of this study have session ids that others of this catalog have: "
        report(NoteEvent(stage="study", text=f"{text}give the study a catalog of its own (--catalog)"))
    reasons = "; ".join(f"{name}: {reason}".rstrip(".") for name, reason in failures[:3])
    if not entries:
        raise DataError(f"recordings: none of them could be ingested. {reasons}")
    if failures and wanted.on_failed == "stop":
        raise PartialFailure(
            f"{len(failures)} of {len(failures) + len(entries)} recordings could not be ingested, and "
            f"nothing was trained on the others alone. {reasons}. Mend the cause and run the same command, "
            "leave these out with recordings.exclude, or whatever fails with recordings.on_failed=leave_out.",
            results=[],
            failures=failures,
        )
    return list(entries.values()), failures


def _there(
    catalog_path: Path, wanted: StudyRecordings, folder: Path, *, base: Path, report: Report
) -> list[SessionEntry]:
    """Return the sessions that were ingested before; a plan reads no recording, and asks no archive."""
    catalog, recipe_id = read_catalog(catalog_path), wanted.recipe.recipe_id
    chosen = Selection(sessions=wanted.sessions, exclude=wanted.exclude)
    names = {name.partition("@")[0] for name in wanted.dandisets}
    # Where a file lies within a folder depends on the folder that is named.
    ingested = [
        (PurePosixPath(entry.source).name, entry)
        for entry in catalog.sessions.values()
        if entry.recipe_id == recipe_id
    ]
    files = set() if names else _names_of_files(wanted, folder, base)
    found = [
        entry
        for name, entry in ingested
        if chosen.takes(entry.session)
        and wanted.task in {None, entry.task}
        and ((entry.dandiset or "").partition("@")[0] in names if names else name in files)
    ]
    n_others = len(files - {name for name, _ in ingested})
    if found and n_others:
        text = f"{n_others} of {len(files)} recordings are not ingested by this recipe; they are left out"
        report(NoteEvent(stage="study", text=f"{text} of this plan"))
    if not found:
        raise DataError(
            f"None of the study's recordings is in the catalog by its recipe {recipe_id}: what it costs is "
            "told from a few steps on the sessions themselves. Ingest them first (the same command without "
            "--dry-run begins with that), or `pipeline run ingest --dry-run` for what that costs."
        )
    return found


def _names_of_files(wanted: StudyRecordings, folder: Path, base: Path) -> set[str]:
    places = [base / Path(path).expanduser() for path in wanted.paths]
    if wanted.simulate is not None:
        places = [folder / RECORDINGS]
        if not places[0].exists():
            return set()
    return {PurePosixPath(asset.path).name for asset in folder_source(places).assets()}


def _sources(
    wanted: StudyRecordings, catalog_path: Path, folder: Path, *, base: Path, report: Report
) -> Iterator[Source]:
    if wanted.simulate is not None:
        place = folder / RECORDINGS
        try:
            simulate(place, wanted.simulate, report=report)
        except SettingsError as error:
            raise SettingsError(
                f"recordings.simulate: the study was begun with other settings of its simulation. Give it "
                f"another name, or remove {place}. ({error})"
            ) from error
        yield folder_source([place])
    if wanted.paths:
        yield folder_source([base / Path(path).expanduser() for path in wanted.paths])
    for dandiset in wanted.dandisets:
        yield archive_source(dandiset, catalog_path, instance=wanted.instance)
