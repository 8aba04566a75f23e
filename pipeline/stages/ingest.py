"""``pipeline run ingest``: NWB files → trial stores.

One session is one task with one writer. A store whose key is up to date is left alone, so that the same
command run again does only what is missing.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

from nwb_latents.pipeline.cluster.cluster_option import parse_cluster
from nwb_latents.pipeline.cluster.estimate import MEMORY_BYTES
from nwb_latents.pipeline.cluster.ledger import LEDGER_NAME, AttemptLog
from nwb_latents.pipeline.cluster.runner import run_tasks
from nwb_latents.pipeline.cluster.task_batch import Attempted, Work
from nwb_latents.pipeline.errors import DataError, MachineError, PartialFailure, PipelineError
from nwb_latents.pipeline.nwb.recognition import require_layouts
from nwb_latents.pipeline.stages.catalog_batch import CatalogBatch
from nwb_latents.pipeline.stages.ingest_drops import summed_drops
from nwb_latents.pipeline.stages.ingest_memory import memory_asked, require_plan_fits
from nwb_latents.pipeline.stages.ingest_plan import (
    Selection,
    estimate_asset,
    plan_assets,
    planned_events,
    stated_sizes,
)
from nwb_latents.pipeline.stages.ingest_session import (
    IngestJob,
    SessionOutcome,
    ingest_session,
    is_transient,
    lost_session,
)
from nwb_latents.pipeline.stages.ingest_versions import gone_sessions, other_version, require_known_version
from nwb_latents.pipeline.stages.recording_identity import require_pattern
from nwb_latents.pipeline.stages.report import Report, ignore
from nwb_latents.pipeline.stages.seen_stores import comes_into_sight
from nwb_latents.pipeline.stores.atomic import machine_error
from nwb_latents.pipeline.stores.catalog import read_catalog
from nwb_latents.pipeline.stores.location import StoreLocation, store_path
from nwb_latents.schemas.events import NoteEvent, PlanEvent, ReadEvent, RetryEvent, SessionEvent
from nwb_latents.schemas.recipe import IngestRecipe

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from nwb_latents.pipeline.cluster.estimate import Estimate
    from nwb_latents.pipeline.sources.archive_version import VersionTaken
    from nwb_latents.pipeline.sources.asset import Asset, Mode, Source
    from nwb_latents.schemas.catalog import Catalog, SessionEntry
    from nwb_latents.schemas.cluster import ClusterSettings
    from nwb_latents.schemas.store import DropCounts, StoreAttributes

__all__ = ["Selection", "ingest", "ledger_path"]


def ingest(
    catalog_path: Path,
    source: Source,
    recipe: IngestRecipe | None = None,
    *,
    selection: Selection | None = None,
    cluster: str = "serial",
    cluster_settings: ClusterSettings | None = None,
    stores: str | None = None,
    mode: Mode = "download",
    retry_failed: bool = False,
    dry_run: bool = False,
    force: bool = False,
    session_id: str | None = None,
    memory_gb: float = MEMORY_BYTES / 1e9,
    report: Report = ignore,
) -> list[SessionEntry]:
    """Turn every selected NWB file of a source into a trial store and enter it in the catalog.

    Parameters
    ----------
    catalog_path
        Catalog file.
    source
        `FolderSource`, `DandiSource`, or anything else that is a `Source`.
    recipe
        Default: 20 ms bins, 25 ms Gaussian, units ≥ 0.1 Hz, −260…+460 ms around movement onset.
    selection
        Which sessions; default all.
    cluster, cluster_settings
        Where to run (see `run_tasks`).
    stores
        Folder, or ``s3://bucket/prefix``, in which the stores lie as ``<recipe id>/<session>.zarr``; default:
        ``stores/`` beside the catalog.
    mode
        How files of an archive are read: downloaded whole, streamed, or whichever moves fewer bytes.
    retry_failed
        Only the files whose last attempt failed, as the ledger has it.
    dry_run
        Only report the plan.
    force
        Make stores again that are up to date, replace those that other recordings have under the same id, and
        begin sessions that are estimated not to fit this machine's memory.
    session_id
        What sessions are called in place of what their files say: text with ``{folder}``, ``{file}``,
        ``{session}``, ``{subject}`` and ``{date}``, or without any of them for a single file.
    memory_gb
        Memory a session may take, GB; what is larger lies on the disk. What is written does not depend on it.
    report
        Receives events (`schemas.events`).

    Returns
    -------
    entries
        Catalog entries of all sessions that are up to date at the end.

    Raises
    ------
    PartialFailure
        If a session failed; the others were finished first. Its exit code is 3 where others succeeded, else
        that of the failures.
    DataError
        If nothing is selected.
    SettingsError
        If the recipe names a layout there is not, or the latest version of a dandiset would be mixed with
        sessions of another one.
    MachineError
        If a session is estimated not to fit this machine's memory; if a layout cannot be loaded; or if the
        disk, or the cluster as a whole, does not do its part. What was done before is kept.
    """
    recipe = recipe or IngestRecipe()
    selection = selection or Selection()
    parse_cluster(cluster)
    require_layouts(recipe.layout)
    if session_id is not None:
        require_pattern(session_id)
    memory = memory_asked(memory_gb)
    catalog = read_catalog(catalog_path)
    place = StoreLocation.parse(stores or "stores", base=catalog_path.parent.resolve()) / recipe.recipe_id
    ledger = AttemptLog(ledger_path(catalog_path, recipe), recipe.recipe_id, report)
    assets = plan_assets(source, selection, only=ledger.failed if retry_failed else None)
    sizes = stated_sizes(source, [one for one in assets if one.path not in _known(catalog, recipe)])
    costs = [estimate_asset(asset, recipe, sizes.get(asset.path), memory_bytes=memory) for asset in assets]
    taken: VersionTaken | None = getattr(source, "taken", None)
    report(_plan_event(assets, costs, recipe, place.in_catalog(catalog_path), taken=taken))
    for note in (*getattr(source, "notes", ()), *_version_notes(source, taken, catalog, recipe)):
        report(NoteEvent(text=note))
    if taken is not None and not dry_run:
        require_known_version(taken, catalog)
    if dry_run:
        for event in planned_events(assets, costs, known=_known(catalog, recipe)):
            report(event)
        return []
    if not assets:
        report(NoteEvent(text=_nothing_left(selection, retry_failed=retry_failed)))
        return []
    _require_writable(ledger.path.parent)
    if not force and parse_cluster(cluster).name in {"serial", "local"}:
        known = _known(catalog, recipe)
        new = [(a, c) for a, c in zip(assets, costs, strict=True) if a.path not in known]
        require_plan_fits(new, sizes, recipe, memory_bytes=memory)
    job = IngestJob(
        source, recipe, selection, catalog_path.absolute(), place, mode, force, session_id, memory
    )
    attempts = run_tasks(
        Work(ingest_session, job, lost_session, is_transient),
        assets,
        report=report,
        cluster=cluster,
        settings=cluster_settings,
        memory_bytes=[cost.memory_bytes for cost in costs],
    )
    with CatalogBatch(catalog_path, catalog) as batch:
        entries, failed = _collect(attempts, batch=batch, ledger=ledger, report=report)
    if failed:
        raise _failure(failed, entries, n_tasks=len(assets))
    if not entries and selection.shard.count == 1:
        raise DataError(
            f"None of the {len(assets)} files fits {selection.words()}. Leave the selection out to see what "
            "there is with --dry-run."
        )
    return sorted(entries, key=lambda e: e.session)


def ledger_path(catalog_path: Path, recipe: IngestRecipe) -> Path:
    """Return where the attempts at a recipe's sessions are written down, wherever the stores lie.

    Examples
    --------
    >>> from pathlib import Path
    >>> ledger_path(Path("demo/catalog.yaml"), IngestRecipe()).name
    'ledger.jsonl'
    """
    return catalog_path.parent / "stores" / recipe.recipe_id / LEDGER_NAME


def _write_down(log: AttemptLog, attempted: Attempted[Asset, SessionOutcome]) -> None:
    outcome, source = attempted.result, attempted.task.path
    if outcome.status in ("skipped", "unselected") and source not in log.failed:
        return
    log.add(
        attempted,
        session=outcome.name,
        source=source,
        status=outcome.status,
        reason=outcome.reason,
        exit_code=outcome.exit_code,
        seconds=outcome.seconds,
    )


def _collect(
    attempts: Iterable[Attempted[Asset, SessionOutcome]],
    *,
    batch: CatalogBatch,
    ledger: AttemptLog,
    report: Report,
) -> tuple[list[SessionEntry], list[SessionOutcome]]:
    entries: list[SessionEntry] = []
    failed: list[SessionOutcome] = []
    stores: list[tuple[SessionEntry, DropCounts]] = []
    for said in attempts:
        attempted = _looked_at(said, batch.path)
        outcome = attempted.result
        _write_down(ledger, attempted)
        if not attempted.is_final:
            report(
                RetryEvent(
                    session=outcome.name,
                    source=attempted.task.path,
                    attempt=attempted.attempt,
                    host=attempted.host,
                    reason=outcome.reason,
                )
            )
            continue
        if outcome.entry is not None:
            batch.add(outcome.entry)
            entries.append(outcome.entry)
        elif outcome.status == "failed":
            failed.append(outcome)
        report(_session_event(attempted))
        if outcome.entry is not None and outcome.attributes is not None:
            stores.append((outcome.entry, outcome.attributes.dropped))
            if outcome.status == "done":
                report(_read_event(outcome.attributes))
    if stores:
        report(summed_drops(stores))
    return entries, failed


def _looked_at(
    attempted: Attempted[Asset, SessionOutcome], catalog_path: Path
) -> Attempted[Asset, SessionOutcome]:
    """Return an attempt as it is seen from here: a store that a worker made elsewhere is none."""
    entry = attempted.result.entry
    if entry is None or attempted.pid == os.getpid():
        return attempted
    store = store_path(catalog_path, entry.store)
    if comes_into_sight(store.exists):
        return attempted
    reason = (
        f"{attempted.host} says that it made {store}, which is not to be seen here. Workers have to see the "
        "folder of the stores under the same path; or put the stores where all see them (--stores)."
    )
    lost = replace(
        attempted.result, status="failed", entry=None, reason=reason, exit_code=MachineError.exit_code
    )
    return replace(attempted, result=lost)


def _plan_event(
    assets: Sequence[Asset],
    costs: Sequence[Estimate],
    recipe: IngestRecipe,
    stores: str,
    *,
    taken: VersionTaken | None,
) -> PlanEvent:
    return PlanEvent(
        stage="ingest",
        n_sessions=len(assets),
        bytes=sum(asset.size for asset in assets),
        seconds=round(sum(cost.seconds for cost in costs), 1),
        memory_bytes=max((cost.memory_bytes for cost in costs), default=0),
        recipe=recipe.recipe_id,
        stores=stores,
        dandiset=taken.dandiset if taken else None,
        version=taken.version if taken else None,
        version_from=taken.why if taken else None,
        archive=taken.archive if taken else None,
    )


def _version_notes(
    source: Source, taken: VersionTaken | None, catalog: Catalog, recipe: IngestRecipe
) -> list[str]:
    """Return what a version means for the sessions that the catalog has; a source of files has none."""
    if taken is None:
        return []
    listed: frozenset[str] = getattr(source, "listed", frozenset())
    found = (
        other_version(taken, catalog),
        gone_sessions(taken, catalog, listed, recipe_id=recipe.recipe_id),
    )
    return [note for note in found if note]


def _known(catalog: Catalog, recipe: IngestRecipe) -> set[str]:
    return {e.source for e in catalog.sessions.values() if e.recipe_id == recipe.recipe_id}


def _nothing_left(selection: Selection, *, retry_failed: bool) -> str:
    of = f" in shard {selection.shard}" if selection.shard.count > 1 else ""
    return f"no session has failed{of}" if retry_failed else f"no file{of}"


def _require_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        test = folder / ".write-test"
        test.touch()
        test.unlink(missing_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise machine_error(error, folder, doing="write trial stores") from error
    if free < 1 << 20:
        raise MachineError(
            f"{folder}: less than 1 MiB is free. Free some space and run the same command again."
        )


def _failure(failed: list[SessionOutcome], entries: list[SessionEntry], *, n_tasks: int) -> PipelineError:
    names = [outcome.name for outcome in failed]
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    error = PartialFailure(
        f"{len(failed)} of {n_tasks} sessions failed: {', '.join(names[:8])}{more}. The reasons stand above "
        f"and in the ledger{'; the other sessions are done' if entries else ''}. Run the same command again "
        "after mending them, or with --retry-failed to do only these.",
        results=entries,
        failures=[(f.name, f.reason) for f in failed],
    )
    codes = {f.exit_code for f in failed}
    if not entries and len(codes) == 1:
        error.exit_code = codes.pop()
    return error


def _read_event(attributes: StoreAttributes) -> ReadEvent:
    origin = attributes.provenance
    return ReadEvent(
        session=attributes.session,
        source=origin.source,
        layout=origin.layout,
        kinematics_unit=attributes.kinematics_unit,
        choices=origin.choices,
        warnings=origin.warnings,
        dropped=attributes.dropped,
    )


def _session_event(attempted: Attempted[Asset, SessionOutcome]) -> SessionEvent:
    outcome = attempted.result
    entry = outcome.entry
    return SessionEvent(
        session=outcome.name,
        status=outcome.status,
        store=entry.store if entry else None,
        n_trials=entry.n_trials if entry else None,
        n_units=entry.n_units if entry else None,
        seconds=round(outcome.seconds, 3),
        reason=outcome.reason,
        source=attempted.task.path,
    )
