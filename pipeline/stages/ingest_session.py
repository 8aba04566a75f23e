"""Ingest of one session: one task, one writer, wherever it runs."""

from __future__ import annotations

import hashlib
import json
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Literal

from nwb_latents.pipeline.cluster.estimate import MEMORY_BYTES
from nwb_latents.pipeline.errors import DataError, MachineError, PipelineError
from nwb_latents.pipeline.stages.ingest_memory import require_memory
from nwb_latents.pipeline.stages.ingest_plan import Selection, session_of_path, stem_of_path
from nwb_latents.pipeline.stages.provenance import provenance_of
from nwb_latents.pipeline.stages.recording_identity import (
    is_same_recording,
    named,
    other_recording,
    replaced,
)
from nwb_latents.pipeline.stages.unforeseen import unforeseen_words
from nwb_latents.pipeline.stores.atomic import machine_error
from nwb_latents.pipeline.stores.location import path_name
from nwb_latents.schemas.catalog import SessionEntry
from nwb_latents.schemas.events import BytesEvent, PhaseEvent
from nwb_latents.schemas.store import STORE_SCHEMA_VERSION, TRANSFORM_VERSION, Provenance, StoreAttributes

if TYPE_CHECKING:
    from collections.abc import Callable

    from nwb_latents.pipeline.scratch import Scratch
    from nwb_latents.pipeline.signals.recording import Recording, RecordingFacts
    from nwb_latents.pipeline.sources.asset import Asset, Mode, Source
    from nwb_latents.pipeline.stages.report import Report
    from nwb_latents.pipeline.stores.location import StoreLocation
    from nwb_latents.schemas.recipe import IngestRecipe
    from nwb_latents.schemas.store import Verification


@dataclass(frozen=True)
class IngestJob:
    """What all sessions of one ingest have in common.

    Attributes
    ----------
    source, recipe, selection
        Where from, how, and which.
    catalog_path
        Absolute path of the catalog.
    stores
        Where the stores of the recipe lie.
    mode
        How files of an archive are read: ``download``, ``stream`` or ``auto``.
    force
        Make stores again that are up to date, and replace those of other recordings.
    session_id
        What sessions are called, with the placeholders of `recording_identity`; None: as their files say.
    memory_bytes
        Memory a session may take; what is larger lies on the disk.
    """

    source: Source
    recipe: IngestRecipe
    selection: Selection
    catalog_path: Path
    stores: StoreLocation
    mode: Mode = "download"
    force: bool = False
    session_id: str | None = None
    memory_bytes: int = MEMORY_BYTES

    def store(self, session: str) -> StoreLocation:
        """Return where the store of a session lies."""
        return self.stores / f"{path_name(session)}.zarr"

    def session_of(self, facts: RecordingFacts, asset: Asset, content: object) -> str:
        """Return the id of a session."""
        if self.session_id is None:
            return facts.session
        folder = (
            content.absolute().parent.name if isinstance(content, Path) and asset.dandiset is None else ""
        )
        return named(self.session_id, facts, asset, folder=folder)


@dataclass(frozen=True)
class SessionOutcome:
    """What became of one file: ``done``, ``skipped``, ``unselected`` or ``failed``."""

    name: str
    status: str
    entry: SessionEntry | None = None
    attributes: StoreAttributes | None = None
    reason: str = ""
    exit_code: int = 0
    seconds: float = 0.0


@dataclass
class _Named:
    """What a session is known by so far."""

    session: str


def ingest_session(job: IngestJob, asset: Asset, report: Report) -> SessionOutcome:
    """Ingest one file; whatever goes wrong becomes a failed outcome.

    Parameters
    ----------
    job
        What all sessions have in common.
    asset
        The file.
    report
        Receives ``bytes`` and ``phase`` events.
    """
    begin = monotonic()
    # By its file's name at first, and by what its metadata say once these are read, whatever becomes of it.
    found = _Named(session_of_path(asset.path))
    try:
        outcome = _ingest_session(job, asset, report, found)
    except PipelineError as error:
        outcome = _failed(found.session, error)
    except MemoryError:
        outcome = _failed(
            found.session,
            MachineError(
                f"{asset.path}: there is not enough memory for this session. Run fewer sessions at once or "
                "use a machine with more, and run the same command again."
            ),
        )
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            outcome = _failed(found.session, machine_error(error, Path(asset.path), doing="ingest this file"))
        else:
            outcome = SessionOutcome(
                found.session,
                "failed",
                reason=unforeseen_words(asset.path, error),
                exit_code=DataError.exit_code,
            )
    return replace(outcome, seconds=monotonic() - begin)


def lost_session(asset: Asset, reason: str) -> SessionOutcome:
    """Return the outcome of a session whose worker never answered."""
    return SessionOutcome(
        session_of_path(asset.path),
        "failed",
        reason=f"{asset.path}: {reason}",
        exit_code=MachineError.exit_code,
    )


def is_transient(outcome: SessionOutcome) -> bool:
    """Whether a session failed because of the machine, so that another one may do it."""
    return outcome.status == "failed" and outcome.exit_code == MachineError.exit_code


def store_key(
    digest: str,
    recipe: IngestRecipe,
    *,
    versions: tuple[int, int] | None = None,
) -> str:
    """Return the key of a store: equal keys mean equal numbers.

    Parameters
    ----------
    digest
        Digest of the NWB file.
    recipe
        The recipe.
    versions
        Of the store's schema and of the signal processing; None: today's.

    Examples
    --------
    >>> from nwb_latents.schemas.recipe import IngestRecipe
    >>> store_key("sha256:00", IngestRecipe()) == store_key("sha256:01", IngestRecipe())
    False
    """
    parts = [digest, recipe.digest(), *(versions or (STORE_SCHEMA_VERSION, TRANSFORM_VERSION))]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _failed(name: str, error: PipelineError) -> SessionOutcome:
    notes = " ".join(getattr(error, "__notes__", ()))
    return SessionOutcome(name, "failed", reason=f"{error} {notes}".strip(), exit_code=error.exit_code)


def _ingest_session(job: IngestJob, asset: Asset, report: Report, found: _Named) -> SessionOutcome:
    from nwb_latents.pipeline.nwb.facts import read_facts  # noqa: PLC0415
    from nwb_latents.pipeline.nwb.file import label  # noqa: PLC0415
    from nwb_latents.pipeline.stores.one_writer import one_writer  # noqa: PLC0415
    from nwb_latents.pipeline.stores.trials import read_attributes  # noqa: PLC0415

    by_name = session_of_path(asset.path)
    if asset.digest is not None and not job.force and job.session_id is None:
        # What the archive states is what was verified when the store was made: nothing needs to be fetched.
        there = read_attributes(job.store(by_name))
        if there is not None and _is_current(job, there, asset.digest) and not _damage(job.store(by_name)):
            return _up_to_date(job, there)
    with ExitStack() as writing:
        with job.source.open(asset, mode=job.mode, recipe=job.recipe, progress=_progress(asset, report)) as (
            content,
            digest,
        ):
            facts = read_facts(content, name=asset.path)
            session = found.session = job.session_of(facts, asset, content)
            subject_fits = job.selection.subject is None or label(job.selection.subject) == facts.subject
            if not subject_fits or not job.selection.takes(session, by_name, stem_of_path(asset.path)):
                return SessionOutcome(session, "unselected")
            store = job.store(session)
            confirm = writing.enter_context(one_writer(store))
            there = read_attributes(store)
            said = ""
            if there is not None:
                damage = ""
                if _is_current(job, there, digest) and not job.force and not (damage := _damage(store)):
                    return _up_to_date(job, there)
                said = (
                    f"made again: {damage}"
                    if damage
                    else _giving_way(
                        job, there.provenance, asset, digest=digest, facts=replace(facts, session=session)
                    )
                )
            # Where nothing is to be done, nothing of this is loaded.
            from nwb_latents.pipeline.nwb.read import read_recording  # noqa: PLC0415
            from nwb_latents.pipeline.nwb.recording_size import size_of, stated_size  # noqa: PLC0415
            from nwb_latents.pipeline.stages.session_shelf import scratch_of  # noqa: PLC0415

            _phase(report, asset, session, "reading")
            require_memory(job, asset, stated_size(content, name=asset.path))
            scratch = scratch_of(job)
            recording = read_recording(content, job.recipe, name=asset.path, scratch=scratch)
        # A stream that failed says so at the end of its block at the latest: nothing is written before.
        if job.selection.task not in (None, recording.task):
            return SessionOutcome(session, "unselected")
        recording = replace(recording, session=session)
        require_memory(job, asset, size_of(recording))
        # Only now is it known what a stream was held against; a file was read whole for its digest.
        verification: Verification = getattr(content, "verification", "digest")
        attributes = _make_store(
            job, asset, report,
            recording=recording, digest=digest, verification=verification, confirm=confirm, scratch=scratch,
        )  # fmt: skip
        if there is not None and there.provenance.verification == "none" != verification:
            said = said or "made again, of verified bytes"
        return SessionOutcome(
            session, "done", entry=_entry(job, attributes), attributes=attributes, reason=said
        )


def _is_current(job: IngestJob, there: StoreAttributes, digest: str) -> bool:
    """Whether a store is the one that would be made; one of unverified bytes is not, where they can be."""
    verifies = job.mode == "download" or getattr(job.source, "verifies_streams", False)
    is_as_good = there.provenance.verification != "none" or not verifies
    return is_as_good and there.store_key == store_key(digest, job.recipe)


def _damage(store: StoreLocation) -> str:
    """Say what of a store's files is not there, or not as long as it was written; nothing: all is.

    The program that makes the stores of today's keys leaves a manifest in each.
    """
    from nwb_latents.pipeline.stores.manifest import MANIFEST, file_faults, read_manifest  # noqa: PLC0415

    try:
        manifest = read_manifest(store, remedy="")
    except DataError as error:
        return str(error).strip()
    if manifest is None:
        return f"{MANIFEST} is not there, without which it cannot be told whether the store is whole"
    return next((fault.text for fault in file_faults(store, manifest, sizes_only=True)), "")


def _giving_way(
    job: IngestJob, there: Provenance, asset: Asset, *, digest: str, facts: RecordingFacts
) -> str:
    """Return what is said of a store that is made anew; refuse to replace that of another recording."""
    if there.asset_digest == digest:
        return ""
    is_same = is_same_recording(there, asset, digest, facts)
    if not is_same and not job.force:

        def is_free(session: str) -> bool:
            return not job.store(session).exists()

        raise other_recording(there, asset, facts, session=facts.session, is_free=is_free)
    return replaced(there, digest, is_same=is_same)


def _up_to_date(job: IngestJob, there: StoreAttributes) -> SessionOutcome:
    if job.selection.task not in (None, there.task):
        return SessionOutcome(there.session, "unselected")
    return SessionOutcome(
        there.session, "skipped", entry=_entry(job, there), attributes=there, reason="up to date"
    )


def _progress(asset: Asset, report: Report) -> Callable[[int, int], None]:
    def progress(done: int, total: int) -> None:
        report(BytesEvent(stage="ingest", source=asset.path, done=done, total=total))

    return progress


def _make_store(
    job: IngestJob,
    asset: Asset,
    report: Report,
    *,
    recording: Recording,
    digest: str,
    verification: Verification,
    confirm: Callable[[], None],
    scratch: Scratch,
) -> StoreAttributes:
    from nwb_latents.pipeline.signals.trials import make_trials  # noqa: PLC0415
    from nwb_latents.pipeline.stages.session_shelf import shelf_of  # noqa: PLC0415
    from nwb_latents.pipeline.stores.trials import to_dataset, write_store  # noqa: PLC0415

    _phase(report, asset, recording.session, "binning")
    with shelf_of(job, recording, scratch) as (shelf, shards):
        made = make_trials(recording, job.recipe, shelf=shelf)
        attributes = StoreAttributes(
            store_key=store_key(digest, job.recipe),
            session=recording.session,
            subject=recording.subject,
            task=recording.task,
            bin_size_s=job.recipe.bin_size_s,
            n_event_bins=-job.recipe.window_bins[0],
            kinematics_unit=recording.kinematics_unit,
            recipe=job.recipe,
            provenance=provenance_of(
                asset, recording, digest=digest, verification=verification, notes=made.notes
            ),
            dropped=made.dropped,
            quality=made.quality,
        )
        _phase(report, asset, recording.session, "writing")
        write_store(
            job.store(recording.session),
            to_dataset("trials", made.trials, attributes),
            to_dataset("continuous", made.continuous, attributes),
            to_dataset("events", made.events, attributes),
            confirm=confirm,
            shards=shards(),
        )
    return attributes


def _entry(job: IngestJob, attributes: StoreAttributes) -> SessionEntry:
    from nwb_latents.pipeline.stores.trials import trial_sizes  # noqa: PLC0415

    store = job.store(attributes.session)
    sizes = trial_sizes(store)
    origin = attributes.provenance
    written = store.modified()
    return SessionEntry(
        session=attributes.session,
        subject=attributes.subject,
        task=attributes.task,
        recipe_id=attributes.recipe.recipe_id,
        store=store.in_catalog(job.catalog_path),
        store_key=attributes.store_key,
        dandiset=f"{origin.dandiset}@{origin.dandiset_version}" if origin.dandiset else None,
        archive=origin.archive,
        source=origin.source,
        n_trials=sizes["trial"],
        n_units=sizes["unit"],
        n_bins=sizes["time"],
        bin_size_s=attributes.bin_size_s,
        created=written.isoformat(timespec="seconds") if written else "",
    )


def _phase(
    report: Report, asset: Asset, session: str, phase: Literal["reading", "binning", "writing"]
) -> None:
    report(PhaseEvent(stage="ingest", source=asset.path, session=session, phase=phase))
