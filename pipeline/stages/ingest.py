"""``pipeline run ingest``: NWB files → trial stores.

One session is one task with one writer. A store whose key is up to date is left alone, so that the same
command run again does only what is missing.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import shutil
import time
import traceback
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from pipeline.cluster.run import check_cluster, run_tasks
from pipeline.errors import DataError, MachineError, PartialFailure, PipelineError
from pipeline.stages.report import Report, ignore
from pipeline.stores.atomic import machine_error
from pipeline.stores.catalog import add_session, read_catalog
from schemas.catalog import SessionEntry
from schemas.recipe import IngestRecipe
from schemas.store import STORE_SCHEMA_VERSION, TRANSFORM_VERSION, Provenance, StoreAttributes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipeline.signals.recording import Recording
    from pipeline.sources.asset import Asset, Source

LOCK_SECONDS = 3600.0

PACKAGES = ("nwb-latents", "numpy", "scipy", "h5py", "zarr", "xarray")


@dataclass(frozen=True)
class Selection:
    """Which sessions to ingest.

    Attributes
    ----------
    sessions
        Shell patterns for session ids.
    subject, task
        Exact subject id and task; None: all.
    limit
        At most this many files, in order of their path; None: all.
    """

    sessions: tuple[str, ...] = ("*",)
    subject: str | None = None
    task: str | None = None
    limit: int | None = None


@dataclass(frozen=True)
class SessionTask:
    """What one worker needs to ingest one session."""

    asset: Asset
    source: Source
    recipe: IngestRecipe
    selection: Selection
    root: Path
    force: bool
    report: Report


@dataclass(frozen=True)
class SessionOutcome:
    """What became of one file."""

    name: str
    status: str
    entry: SessionEntry | None = None
    reason: str = ""
    exit_code: int = 0
    seconds: float = 0.0


def ingest(
    catalog_path: Path,
    source: Source,
    recipe: IngestRecipe | None = None,
    *,
    selection: Selection | None = None,
    cluster: str = "serial",
    dry_run: bool = False,
    force: bool = False,
    report: Report = ignore,
) -> list[SessionEntry]:
    """Turn every selected NWB file of a source into a trial store and enter it in the catalog.

    Parameters
    ----------
    catalog_path
        Catalog file; stores lie in ``stores/<recipe id>/`` beside it.
    source
        `FolderSource`, `DandiSource`, or anything else with `assets` and `fetch`.
    recipe
        Default: 20 ms bins, 25 ms Gaussian, units ≥ 0.1 Hz, −260…+460 ms around movement onset.
    selection
        Which sessions; default all.
    cluster
        Where to run (see `run_tasks`).
    dry_run
        Only report the plan.
    force
        Make stores again that are up to date.
    report
        Receives events (`docs/reference/cli.md`).

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
    """
    recipe = recipe or IngestRecipe()
    selection = selection or Selection()
    check_cluster(cluster)
    read_catalog(catalog_path)
    assets = _planned(source, selection)
    report({
        "event": "plan", "stage": "ingest", "n_sessions": len(assets), "bytes": sum(a.size for a in assets),
        "recipe": recipe.recipe_id, "stores": str(catalog_path.parent / "stores" / recipe.recipe_id),
    })  # fmt: skip
    for note in getattr(source, "notes", ()):
        report({"event": "note", "text": note})
    if dry_run:
        for asset in assets:
            report(
                {
                    "event": "planned",
                    "session": session_of_path(asset.path),
                    "source": asset.path,
                    "bytes": asset.size,
                }
            )
        return []
    _require_writable(catalog_path.parent)
    in_process = report if cluster == "serial" else ignore
    tasks = [
        SessionTask(asset, source, recipe, selection, catalog_path.parent.resolve(), force, in_process)
        for asset in assets
    ]
    entries: list[SessionEntry] = []
    failed: list[SessionOutcome] = []
    for outcome in run_tasks(ingest_session, tasks, cluster=cluster):
        if outcome.entry is not None:
            add_session(catalog_path, outcome.entry)
            entries.append(outcome.entry)
        elif outcome.status == "failed":
            failed.append(outcome)
        report(_session_event(outcome))
    if failed:
        raise _failure(failed, entries, n_tasks=len(tasks))
    if not entries:
        raise DataError(
            f"None of the {len(tasks)} files fits --session {' '.join(selection.sessions)}"
            + (f" --subject {selection.subject}" if selection.subject else "")
            + (f" --task {selection.task}" if selection.task else "")
            + ". Leave the selection out to see what there is with --dry-run."
        )
    return sorted(entries, key=lambda e: e.session)


def ingest_session(task: SessionTask) -> SessionOutcome:
    """Ingest one file; whatever goes wrong becomes a failed outcome."""
    begin = time.monotonic()
    name = session_of_path(task.asset.path)
    try:
        outcome = _ingest_session(task)
    except PipelineError as error:
        notes = " ".join(getattr(error, "__notes__", ()))
        outcome = SessionOutcome(name, "failed", reason=f"{error} {notes}".strip(), exit_code=error.exit_code)
    except Exception as error:
        trace = traceback.extract_tb(error.__traceback__)[-1]
        outcome = SessionOutcome(
            name, "failed", exit_code=4,
            reason=f"{task.asset.path}: unexpected {type(error).__name__}: {error} "
            f"({Path(trace.filename).name}:{trace.lineno}). Please report it with the file's name; the other "
            "sessions are unharmed.",
        )  # fmt: skip
    return replace(outcome, seconds=time.monotonic() - begin)


def store_key(digest: str, recipe: IngestRecipe) -> str:
    """Return the key of a store: equal keys mean equal numbers.

    Examples
    --------
    >>> store_key("sha256:00", IngestRecipe()) == store_key("sha256:01", IngestRecipe())
    False
    """
    parts = [digest, recipe.digest(), STORE_SCHEMA_VERSION, TRANSFORM_VERSION]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def session_of_path(path: str) -> str:
    """Return the session id a file's name suggests, before the file is opened.

    Examples
    --------
    >>> session_of_path("sub-C/sub-C_ses-CO-20131003_behavior+ecephys.nwb")
    'sub-C_ses-CO-20131003'
    """
    stem = PurePosixPath(path).name.removesuffix(".nwb")
    parts = [p for p in stem.split("_") if p.startswith(("sub-", "ses-", "desc-"))]
    return "_".join(parts) or stem


def _planned(source: Source, selection: Selection) -> list[Asset]:
    assets = source.assets()
    if selection.subject is not None or selection.sessions != ("*",):
        # Names decide for archives, where opening a file means fetching it; the metadata have the last word.
        assets = [a for a in assets if _may_match(a, selection)]
    if not assets:
        raise DataError(
            f"No file fits --session {' '.join(selection.sessions)}"
            + (f" --subject {selection.subject}" if selection.subject else "")
            + ". Run the command without them and with --dry-run to see what there is."
        )
    return assets[: selection.limit]


def _may_match(asset: Asset, selection: Selection) -> bool:
    from pipeline.nwb.file import label  # noqa: PLC0415

    name = session_of_path(asset.path)
    if "sub-" not in name or asset.dandiset is None:
        return True
    by_name = any(fnmatch.fnmatchcase(name, g) for g in selection.sessions)
    subject = next((p.removeprefix("sub-") for p in name.split("_") if p.startswith("sub-")), "")
    return by_name and (selection.subject is None or label(subject) == label(selection.subject))


def _ingest_session(task: SessionTask) -> SessionOutcome:
    from pipeline.nwb.file import label  # noqa: PLC0415
    from pipeline.nwb.read import read_recording, read_session_id  # noqa: PLC0415
    from pipeline.sources.checksums import verified_digest  # noqa: PLC0415
    from pipeline.stores.trials import read_attributes  # noqa: PLC0415

    asset, recipe = task.asset, task.recipe
    if asset.digest is not None and not task.force:
        # What the archive states is what was verified when the store was made: nothing needs to be fetched.
        named = task.root / "stores" / recipe.recipe_id / f"{session_of_path(asset.path)}.zarr"
        there = read_attributes(named)
        if there is not None and there.store_key == store_key(asset.digest, recipe):
            return SessionOutcome(
                there.session, "skipped", entry=_entry(named, task.root, there), reason="up to date"
            )
    path = task.source.fetch(asset, lambda done, total: task.report(_bytes_event(asset, done, total)))
    session, subject = read_session_id(path)
    wanted = any(
        fnmatch.fnmatchcase(session, g) or fnmatch.fnmatchcase(session_of_path(asset.path), g)
        for g in task.selection.sessions
    )
    if not wanted or (task.selection.subject is not None and label(task.selection.subject) != subject):
        return SessionOutcome(session, "unselected")
    digest = verified_digest(path)
    key = store_key(digest, recipe)
    store = task.root / "stores" / recipe.recipe_id / f"{session}.zarr"
    with _one_writer(store):
        there = read_attributes(store)
        if there is not None:
            _refuse_other_file(there, asset, digest, session, force=task.force)
            if there.store_key == key and not task.force:
                if task.selection.task not in (None, there.task):
                    return SessionOutcome(session, "unselected")
                return SessionOutcome(
                    session, "skipped", entry=_entry(store, task.root, there), reason="up to date"
                )
        recording = read_recording(path, recipe)
        if task.selection.task not in (None, recording.task):
            return SessionOutcome(session, "unselected")
        attributes = _make_store(task, recording, store, key, digest)
        return SessionOutcome(session, "done", entry=_entry(store, task.root, attributes))


def _make_store(
    task: SessionTask, recording: Recording, store: Path, key: str, digest: str
) -> StoreAttributes:
    from pipeline.signals.trials import make_trials  # noqa: PLC0415
    from pipeline.stores.trials import to_dataset, write_store  # noqa: PLC0415

    made = make_trials(recording, task.recipe)
    attributes = StoreAttributes(
        store_key=key,
        session=recording.session,
        subject=recording.subject,
        task=recording.task,
        bin_size_s=task.recipe.bin_size_s,
        n_event_bins=-task.recipe.window_bins[0],
        recipe=task.recipe,
        provenance=Provenance(
            source=task.asset.path,
            asset_digest=digest,
            dandiset=task.asset.dandiset,
            dandiset_version=task.asset.version,
            asset_id=task.asset.asset_id,
            layout=recording.layout,
            position_series=recording.position_series,
            velocity_series=recording.velocity_series,
            warnings=(*recording.warnings, *made.notes),
            packages={name: version(name) for name in PACKAGES},
        ),
        dropped=made.dropped,
    )
    write_store(
        store,
        to_dataset("trials", made.trials, attributes),
        to_dataset("continuous", made.continuous, attributes),
    )
    return attributes


def _entry(store: Path, root: Path, attributes: StoreAttributes) -> SessionEntry:
    from pipeline.stores.trials import read_trials  # noqa: PLC0415

    sizes = read_trials(store).sizes
    origin = attributes.provenance
    return SessionEntry(
        session=attributes.session,
        subject=attributes.subject,
        task=attributes.task,
        recipe_id=attributes.recipe.recipe_id,
        store=store.relative_to(root).as_posix(),
        store_key=attributes.store_key,
        dandiset=f"{origin.dandiset}@{origin.dandiset_version}" if origin.dandiset else None,
        source=origin.source,
        n_trials=sizes["trial"],
        n_units=sizes["unit"],
        n_bins=sizes["time"],
        bin_size_s=attributes.bin_size_s,
        created=datetime.fromtimestamp(store.stat().st_mtime, UTC).isoformat(timespec="seconds"),
    )


@contextmanager
def _one_writer(store: Path) -> Iterator[None]:
    lock = FileLock(store.with_name(f".{store.stem}.lock"), timeout=LOCK_SECONDS)
    try:
        store.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout as error:
        raise MachineError(
            f"{store}: another process has been writing this store for {LOCK_SECONDS / 60:g} minutes. Wait "
            "for it or end it."
        ) from error
    except OSError as error:
        raise machine_error(error, store, doing="write this store") from error
    try:
        yield
    finally:
        lock.release()


def _refuse_other_file(
    there: StoreAttributes, asset: Asset, digest: str, session: str, *, force: bool
) -> None:
    origin = there.provenance
    if force or origin.asset_digest == digest or origin.source == asset.path:
        return
    raise DataError(
        f"{asset.path}: its session id {session} is taken by the store made from {origin.source}, a "
        "different file. Give "
        "the file its own subject_id and session_id, or replace the store with --force."
    )


def _require_writable(folder: Path) -> None:
    probe = folder / "stores"
    try:
        probe.mkdir(parents=True, exist_ok=True)
        test = probe / ".write-test"
        test.touch()
        test.unlink(missing_ok=True)
    except OSError as error:
        raise machine_error(error, probe, doing="write trial stores") from error
    if shutil.disk_usage(probe).free < 1 << 20:
        raise MachineError(
            f"{probe}: less than 1 MiB is free. Free some space and run the same command again."
        )


def _failure(failed: list[SessionOutcome], entries: list[SessionEntry], *, n_tasks: int) -> PipelineError:
    error = PartialFailure(
        f"{len(failed)} of {n_tasks} sessions failed: "
        + ", ".join(f.name for f in failed)
        + ". The reasons stand above; "
        "the other sessions are done. Run the same command again after mending them.",
        results=entries,
        failures=[(f.name, f.reason) for f in failed],
    )
    codes = {f.exit_code for f in failed}
    if not entries and len(codes) == 1:
        error.exit_code = codes.pop()
    return error


def _bytes_event(asset: Asset, done: int, total: int) -> dict[str, object]:
    return {"event": "bytes", "stage": "ingest", "source": asset.path, "done": done, "total": total}


def _session_event(outcome: SessionOutcome) -> dict[str, object]:
    entry = outcome.entry
    return {
        "event": "session",
        "session": outcome.name,
        "status": outcome.status,
        "store": entry.store if entry else None,
        "n_trials": entry.n_trials if entry else None,
        "n_units": entry.n_units if entry else None,
        "seconds": round(outcome.seconds, 3),
        "reason": outcome.reason,
    }
