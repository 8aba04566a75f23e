"""``pipeline catalog verify``: every store and every run of a catalog, from its files to its values.

Nothing that is found ends it: each fault is told with its remedy, and the next entry is looked at.
"""

from __future__ import annotations

import platform
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from nwb_latents.pipeline.cluster.runner import run_tasks
from nwb_latents.pipeline.cluster.task_batch import Work
from nwb_latents.pipeline.errors import DataError, MachineError
from nwb_latents.pipeline.stages.report import Report, ignore
from nwb_latents.pipeline.stages.session_tasks import Where
from nwb_latents.pipeline.stores.catalog import read_catalog, require_catalog
from nwb_latents.pipeline.stores.location import COMPLETE_WHEN, StoreLocation, store_path
from nwb_latents.pipeline.stores.manifest import MANIFEST
from nwb_latents.pipeline.stores.store_checks import Fault
from nwb_latents.schemas.catalog import RunEntry, SessionEntry
from nwb_latents.schemas.events import (
    FaultEvent,
    NoteEvent,
    ProgressEvent,
    RunEvent,
    SessionEvent,
    VerifyEvent,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from nwb_latents.schemas.catalog import Catalog
    from nwb_latents.schemas.store import StoreAttributes
    from nwb_latents.schemas.training import RunConfig

NO_MANIFEST = "no manifest: only what can be read was checked"
_GB = 1e9
_MEND_THE_ENTRY = "Mend the entry, or make it again."


@dataclass(frozen=True)
class _Asked:
    """What is looked at alike, whoever looks."""

    catalog_path: Path
    quick: bool


@dataclass(frozen=True)
class _Entry:
    """An entry of the catalog by its name there."""

    name: str
    of: SessionEntry | RunEntry

    @property
    def path(self) -> str:
        """What is looked at, as in the catalog."""
        return self.of.store if isinstance(self.of, SessionEntry) else self.of.path


@dataclass(frozen=True)
class _Looked:
    """What was found of an entry.

    Attributes
    ----------
    faults
        All of them.
    n_bytes
        Size of its files.
    without_manifest
        Whether there are files and no manifest.
    unread
        Why its files alone could be looked at; empty: all could.
    unreachable
        Why nothing is known of it; empty: it was looked at.
    """

    faults: tuple[Fault, ...] = ()
    n_bytes: int = 0
    without_manifest: bool = False
    unread: str = ""
    unreachable: str = ""


@dataclass
class _Work:
    catalog_path: Path
    report: Report
    total: int
    done: int = 0
    n_faults: int = 0
    n_bytes: int = 0
    n_without: int = 0
    damaged: list[str] = field(default_factory=list)


def verify(
    catalog_path: Path, *, quick: bool = False, where: Where | None = None, report: Report = ignore
) -> VerifyEvent:
    """Look at every store and every run of a catalog.

    Files are held against their manifest (size and SHA-256), arrays against the schema, values against each
    other, keys against the catalog and against what they are made of, weights against the settings.

    Parameters
    ----------
    catalog_path
        Catalog file.
    quick
        Sizes and keys alone; no array and no weight is read.
    where
        Which part of the stores and runs is looked at, and who looks; default: all, this process. On a
        cluster each is one task.
    report
        Told of every fault, of every store and run, and at the end of the whole.

    Returns
    -------
    found
        What was found in all.

    Raises
    ------
    DataError
        If anything is missing or damaged, or there is nothing to look at; after all was looked at.
    MachineError
        If an object storage cannot be reached or refuses: nothing is known of its stores then. If the cluster
        cannot be reached, or no worker sees the catalog.

    Examples
    --------
    >>> from pathlib import Path
    >>> verify(Path("nowhere/catalog.yaml"))
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.DataError: nowhere/catalog.yaml: no such catalog. ...
    """
    require_catalog(catalog_path)
    where = where or Where()
    content = read_catalog(catalog_path)
    begin = time.monotonic()
    every = [_Entry(name, each) for part in (content.sessions, content.runs) for name, each in part.items()]
    mine = [entry for entry in every if where.shard.holds(entry.path)]
    work = _Work(catalog_path, report, total=len(mine))
    is_first = not where.shard.index
    if is_first:
        _entries_unread(work, content)
    attempts = run_tasks(
        Work(_look, _Asked(catalog_path.absolute(), quick), _lost, _is_unreachable),
        mine,
        report=report,
        cluster=where.cluster,
        settings=where.settings,
    )
    for attempted in attempts:
        if not attempted.is_final:
            continue
        if attempted.result.unreachable:
            raise MachineError(attempted.result.unreachable)
        _tell(work, attempted.task, attempted.result)
    strangers = _not_entered(work, content) if is_first else 0
    seconds = time.monotonic() - begin
    found = VerifyEvent(
        n_sessions=sum(isinstance(entry.of, SessionEntry) for entry in mine),
        n_runs=sum(isinstance(entry.of, RunEntry) for entry in mine),
        n_damaged=len(work.damaged),
        n_faults=work.n_faults,
        n_without_manifest=work.n_without,
        quick=quick,
        bytes=work.n_bytes,
        seconds=round(seconds, 3),
        seconds_per_gb=round(seconds / work.n_bytes * _GB, 3) if work.n_bytes else None,
    )
    report(found)
    if work.damaged:
        named = ", ".join(work.damaged[:8]) + (", …" if len(work.damaged) > 8 else "")
        raise DataError(
            f"{catalog_path}: {len(work.damaged)} of its entries missing or damaged: {named}. What is wrong "
            "with each, and what to do, stands above."
        )
    if not every:
        beside = f" {strangers} stores and runs lie beside it that it does not name." if strangers else ""
        raise DataError(
            f"{catalog_path}: the catalog holds no sessions and no runs, so there is nothing to verify."
            f"{beside} Run the same `pipeline run ingest` again, which enters what is up to date, put back a "
            "copy of the file, or name another with --catalog FILE."
        )
    return found


def _look(asked: _Asked, entry: _Entry, report: Report) -> _Looked:
    """Look at one entry. Raises nothing but what ends the process."""
    del report
    if not asked.catalog_path.is_file():
        return _Looked(
            unreachable=f"{platform.node()} does not see {asked.catalog_path}. Every worker has to see the "
            "folder of the catalog under the same path."
        )
    try:
        return _session(asked, entry.of) if isinstance(entry.of, SessionEntry) else _run(asked, entry.of)
    except MachineError as error:
        return _Looked(unreachable=str(error))


def _lost(entry: _Entry, reason: str) -> _Looked:
    return _Looked(unreachable=f"{entry.name}: {reason}")


def _is_unreachable(found: _Looked) -> bool:
    return bool(found.unreachable)


def _session(asked: _Asked, entry: SessionEntry) -> _Looked:
    from nwb_latents.pipeline.stores.store_checks import store_faults  # noqa: PLC0415 - imports xarray

    store = store_path(asked.catalog_path, entry.store)
    faults = _all(
        lambda: store_faults(store, entry, expected_key=_key_of_store, quick=asked.quick),
        is_remote=store.is_remote,
    )
    sizes = store.sizes()
    return _Looked(tuple(faults), sum(sizes.values()), bool(sizes) and MANIFEST not in sizes)


def _run(asked: _Asked, entry: RunEntry) -> _Looked:
    from nwb_latents.pipeline.training.run_checks import missing_model, run_faults  # noqa: PLC0415 - imports torch

    run_dir = asked.catalog_path.parent / entry.path
    faults = _all(lambda: run_faults(run_dir, entry, expected_key=_key_of_run, quick=asked.quick))
    sizes = StoreLocation.parse(run_dir).sizes()
    missing = missing_model(run_dir)
    return _Looked(
        tuple(faults),
        sum(sizes.values()),
        bool(sizes) and MANIFEST not in sizes,
        f"its files alone were looked at: {missing}" if missing else "",
    )


def _tell(work: _Work, entry: _Entry, found: _Looked) -> None:
    """Report what was found of an entry, and count it."""
    of, faults = entry.of, list(found.faults)
    if isinstance(of, SessionEntry):
        name, remedy = of.session, _remedy_of_store(of)
        path, about = str(store_path(work.catalog_path, of.store)), {"session": name}
    else:
        name, remedy = entry.name, _remedy_of_run(of)
        path, about = str(work.catalog_path.parent / of.path), {"run": name}
    for fault in faults:
        work.report(_fault(fault, entry=entry.name, path=path, remedy=remedy, **about))
    work.n_bytes += found.n_bytes
    work.n_faults += len(faults)
    work.n_without += found.without_manifest
    if faults:
        work.damaged.append(name)
    reason = _reason(faults) or found.unread or (NO_MANIFEST if found.without_manifest else "")
    status: Literal["damaged", "ok"] = "damaged" if faults else "ok"
    if isinstance(of, SessionEntry):
        work.report(SessionEvent(session=name, store=of.store, status=status, reason=reason))
    else:
        work.report(RunEvent(run=name, model=of.model, path=of.path, status=status, reason=reason))
    work.done += 1
    work.report(ProgressEvent(stage="verify", step=work.done, total=work.total))


def _all(look: Callable[[], Iterable[Fault]], *, is_remote: bool = False) -> list[Fault]:
    """Return all faults; what was not foreseen is one too, and ends nothing but this entry."""
    found: list[Fault] = []
    try:
        found.extend(look())
    except MachineError as error:
        if is_remote:
            raise
        found.append(Fault("unreadable", "", str(error)))
    except Exception as error:
        found.append(Fault("unreadable", "", f"it cannot be read: {type(error).__name__}: {error}"))
    return found


def _entries_unread(work: _Work, content: Catalog) -> None:
    for section, entries in content.unread.items():
        for name in entries:
            fault = Fault("catalog", f"{section}: {name}", f"the entry {name} of {section} cannot be read")
            work.report(_fault(fault, entry=str(name), path=str(work.catalog_path), remedy=_MEND_THE_ENTRY))
            work.n_faults += 1
            work.damaged.append(str(name))


def _not_entered(work: _Work, content: Catalog) -> int:
    """Say what lies beside the catalog in stores/ and runs/ and is not in it; return how much that is."""
    folder = work.catalog_path.parent
    known = {str(store_path(work.catalog_path, entry.store)) for entry in content.sessions.values()}
    stores = [
        path.parent.parent
        for path in sorted(folder.glob(f"stores/*/*.zarr/{COMPLETE_WHEN}"))
        if str(path.parent.parent) not in known and not path.parent.parent.name.startswith(".")
    ]
    runs = {(folder / run.path) for run in content.runs.values()}
    others = [path.parent for path in sorted(folder.glob("runs/*/run.json")) if path.parent not in runs]
    for path in (*stores, *others):
        text = f"{path} is not in the catalog and was not looked at."
        work.report(NoteEvent(text=text, stage="verify", status="not entered"))
    return len(stores) + len(others)


def _fault(
    fault: Fault, *, entry: str, path: str, remedy: str, session: str | None = None, run: str | None = None
) -> FaultEvent:
    about = {"session": session} if session is not None else {"run": run} if run is not None else {}
    mend = _MEND_THE_ENTRY if fault.kind == "catalog" else remedy
    return FaultEvent(
        **about, entry=entry, path=path, where=fault.where, kind=fault.kind, text=fault.text, remedy=mend
    )


def _reason(faults: list[Fault], most: int = 3) -> str:
    shown = "; ".join(fault.text for fault in faults[:most])
    return f"{shown}; and {len(faults) - most} more" if len(faults) > most else shown


def _key_of_store(attributes: StoreAttributes) -> str:
    from nwb_latents.pipeline.stages.ingest_session import store_key  # noqa: PLC0415

    return store_key(
        attributes.provenance.asset_digest,
        attributes.recipe,
        versions=(attributes.schema_version, attributes.transform_version),
    )


def _key_of_run(config: RunConfig) -> str | None:
    """Return the key of a run by its settings and stores; None where more than these decides it."""
    import hashlib  # noqa: PLC0415
    import json  # noqa: PLC0415

    from nwb_latents.schemas.recipe import bin_size_in  # noqa: PLC0415

    if config.alignment or config.imported or config.sweep:
        return None
    stores = sorted(source.store_key for source in config.sessions.values())
    try:
        decisive = config.settings.outcome_digest(bin_size_s=bin_size_in(config.recipe_id))
    except ValueError:
        return None
    return hashlib.sha256(json.dumps([decisive, stores]).encode()).hexdigest()


def _remedy_of_store(entry: SessionEntry) -> str:
    source = f"dandiset {entry.dandiset}" if entry.dandiset else entry.source
    return (
        f"Make the store again: the `pipeline run ingest` of {source}, or the import or recut that made it, "
        "with --force."
    )


def _remedy_of_run(entry: RunEntry) -> str:
    command = "import" if entry.imported else "run align" if entry.alignment else "run train"
    return f"Make the run again: the `pipeline {command}` that made it, with --force."
