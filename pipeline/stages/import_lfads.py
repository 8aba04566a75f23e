"""``pipeline import lfads-h5``: HDF5 datasets of lfads-torch → trial stores in the catalog."""

from __future__ import annotations

import hashlib
import json
import time
from importlib.metadata import version
from typing import TYPE_CHECKING

from nwb_latents.pipeline.errors import DataError, PartialFailure, PipelineError
from nwb_latents.pipeline.stages.provenance import PACKAGES
from nwb_latents.pipeline.stages.report import Report, ignore
from nwb_latents.pipeline.stores.catalog import add_session
from nwb_latents.pipeline.stores.location import StoreLocation, path_name
from nwb_latents.schemas.catalog import SessionEntry
from nwb_latents.schemas.events import SessionEvent
from nwb_latents.schemas.imports import IMPORT_VERSION
from nwb_latents.schemas.store import (
    STORE_SCHEMA_VERSION,
    TRANSFORM_VERSION,
    DropCounts,
    Provenance,
    StoreAttributes,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from nwb_latents.pipeline.stores.importers.lfads_h5 import LfadsDataset
    from nwb_latents.schemas.imports import LfadsH5Import
    from nwb_latents.schemas.recipe import IngestRecipe


def import_lfads(
    catalog_path: Path,
    files: Sequence[Path],
    settings: LfadsH5Import,
    *,
    force: bool = False,
    report: Report = ignore,
) -> list[SessionEntry]:
    """Turn datasets of lfads-torch into trial stores, one for each file, and enter them in the catalog.

    Training, validation and test trials stay what they are in the file. Units that are reconstructed but not
    encoded are marked as held out; bins that are reconstructed but not encoded lie behind the window in the
    continuous group. A file imported before with the same settings is left alone.

    Parameters
    ----------
    catalog_path
        Catalog file; stores lie in ``stores/<recipe>/`` beside it.
    files
        HDF5 files.
    settings
        What the files do not say.
    force
        Make stores again that are up to date, replace those of other files, and read files that may not fit
        the memory.
    report
        Receives one event per file.

    Returns
    -------
    entries
        Catalog entries, in the order of `files`.

    Raises
    ------
    DataError, MachineError
        Of the only file.
    PartialFailure
        If some of several files failed; the others were imported.

    Examples
    --------
    >>> from pathlib import Path
    >>> from nwb_latents.schemas.imports import LfadsH5Import
    >>> import_lfads(Path("catalog.yaml"), [Path("nowhere.h5")], LfadsH5Import(bin_ms=20))
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.DataError: nowhere.h5: there is no such file. Check the path.
    """
    entries: list[SessionEntry] = []
    failed: list[tuple[str, str]] = []
    codes: set[int] = set()
    for path in files:
        begin = time.monotonic()
        try:
            entry, status = _import_file(catalog_path, path, settings, force=force)
        except PipelineError as error:
            report(SessionEvent(session=path.stem, source=path.name, status="failed", reason=str(error)))
            if len(files) == 1:
                raise
            failed.append((path.name, str(error)))
            codes.add(error.exit_code)
            continue
        add_session(catalog_path, entry)
        entries.append(entry)
        took = round(time.monotonic() - begin, 3)
        report(
            SessionEvent(
                session=entry.session,
                source=path.name,
                status=status,
                store=entry.store,
                n_trials=entry.n_trials,
                n_units=entry.n_units,
                seconds=took,
                reason="up to date" if status == "skipped" else "",
            )
        )
    if failed:
        failure = PartialFailure(
            f"{len(failed)} of {len(files)} files could not be imported: "
            + "; ".join(reason for _, reason in failed),
            results=entries,
            failures=failed,
        )
        if not entries and len(codes) == 1:
            failure.exit_code = next(iter(codes))
        raise failure
    return entries


def import_key(
    digest: str, settings: LfadsH5Import, recipe: IngestRecipe, *, with_rates: bool = False
) -> str:
    """Return the key of an imported store: equal keys mean equal numbers.

    Parameters
    ----------
    digest, settings, recipe
        Of the file, and how it is imported.
    with_rates
        Whether rates of a model came with the file; stores made before these were read have another key.

    Examples
    --------
    >>> from nwb_latents.schemas.imports import LfadsH5Import
    >>> from nwb_latents.schemas.recipe import IngestRecipe
    >>> of = lambda digest: import_key(digest, LfadsH5Import(), IngestRecipe())
    >>> of("sha256:00") == of("sha256:01")
    False
    """
    parts = [
        digest,
        settings.digest(),
        recipe.digest(),
        STORE_SCHEMA_VERSION,
        TRANSFORM_VERSION,
        IMPORT_VERSION,
        *(["imported_rates"] if with_rates else []),
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _import_file(
    catalog_path: Path, path: Path, settings: LfadsH5Import, *, force: bool
) -> tuple[SessionEntry, str]:
    from nwb_latents.pipeline.sources.checksums import digest_file  # noqa: PLC0415
    from nwb_latents.pipeline.stores.importers.lfads_h5 import read_lfads  # noqa: PLC0415
    from nwb_latents.pipeline.stores.one_writer import one_writer  # noqa: PLC0415
    from nwb_latents.pipeline.stores.trials import read_attributes  # noqa: PLC0415

    data = read_lfads(path, settings, force=force)
    recipe = data.recipe(settings)
    session, subject = _names(path, data)
    attributes = _attributes(
        path, data, recipe, settings, digest=digest_file(path), session=session, subject=subject
    )
    place = StoreLocation.parse("stores", base=catalog_path.parent.resolve())
    store = place / recipe.recipe_id / f"{path_name(session)}.zarr"
    with one_writer(store) as confirm:
        there = read_attributes(store)
        if there is not None and there.store_key == attributes.store_key and not force:
            return _entry(catalog_path, store, there), "skipped"
        origin = there.provenance if there is not None else None
        if origin is not None and not force and origin.source != path.name:
            raise DataError(
                f"{path}: its session id {session} is taken by the store made from "
                f"{origin.source}, a different file. Rename the file, give another subject with --set "
                "subject=NAME, or replace the store with --force."
            )
        _write(store, data, attributes, confirm=confirm)
    return _entry(catalog_path, store, attributes), "done"


def _names(path: Path, data: LfadsDataset) -> tuple[str, str]:
    """Return session and subject: as stated, else from the name of the file."""
    from nwb_latents.pipeline.nwb.session_ids import session_id, subject_of_name  # noqa: PLC0415

    session = session_id(f"{data.session or path.stem}.nwb", subject=data.subject, session=None)
    return session, subject_of_name(session) or "unknown"


def _attributes(
    path: Path,
    data: LfadsDataset,
    recipe: IngestRecipe,
    settings: LfadsH5Import,
    *,
    digest: str,
    session: str,
    subject: str,
) -> StoreAttributes:
    from nwb_latents.pipeline.stores.importers.lfads_h5 import LAYOUT  # noqa: PLC0415
    from nwb_latents.pipeline.stores.importers.trials import CLOCK_NOTE  # noqa: PLC0415

    key = settings.velocity_key
    return StoreAttributes(
        store_key=import_key(digest, settings, recipe, with_rates=data.model_rates is not None),
        session=session,
        subject=subject,
        task=data.task or "unknown",
        bin_size_s=recipe.bin_size_s,
        n_event_bins=-recipe.window_bins[0],
        recipe=recipe,
        provenance=Provenance(
            source=path.name,
            asset_digest=digest,
            layout=LAYOUT,
            velocity_series=f"…_{key}" if key else None,
            warnings=(CLOCK_NOTE, *data.notes),
            packages={name: version(name) for name in PACKAGES},
        ),
        dropped=DropCounts(),
    )


def _write(
    store: StoreLocation, data: LfadsDataset, attributes: StoreAttributes, *, confirm: Callable[[], None]
) -> None:
    from nwb_latents.pipeline.stores.importers.trials import store_arrays  # noqa: PLC0415
    from nwb_latents.pipeline.stores.trials import to_dataset, write_store  # noqa: PLC0415

    trials, continuous = store_arrays(data, attributes.recipe)
    write_store(
        store,
        to_dataset("trials", trials, attributes),
        to_dataset("continuous", continuous, attributes),
        confirm=confirm,
    )


def _entry(catalog_path: Path, store: StoreLocation, attributes: StoreAttributes) -> SessionEntry:
    from nwb_latents.pipeline.stores.trials import read_trials  # noqa: PLC0415

    trials, written = read_trials(store), store.modified()
    sizes = trials.sizes
    return SessionEntry(
        session=attributes.session,
        subject=attributes.subject,
        task=attributes.task,
        recipe_id=attributes.recipe.recipe_id,
        store=store.in_catalog(catalog_path),
        store_key=attributes.store_key,
        source=attributes.provenance.source,
        n_trials=sizes["trial"],
        n_units=sizes["unit"],
        n_bins=sizes["time"],
        bin_size_s=attributes.bin_size_s,
        imported_rates="imported_rates" in trials,
        created=written.isoformat(timespec="seconds") if written else "",
    )
