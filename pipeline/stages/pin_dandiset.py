"""Pinning a version of a dandiset in the catalog: which one is meant wherever only the id is given."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.stages.ingest_words import pinned_dandisets
from nwb_latents.pipeline.stages.report import Report, ignore
from nwb_latents.pipeline.stores.catalog import read_catalog, update_catalog
from nwb_latents.schemas.catalog import AssetPin, Catalog, DandisetEntry
from nwb_latents.schemas.events import NoteEvent, PinEvent

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from nwb_latents.pipeline.sources.archive_answers import VersionAnswer
    from nwb_latents.pipeline.sources.archive_listing import Listed
    from nwb_latents.pipeline.sources.retry_policy import RetryPolicy

_DRAFT = "draft"


def pin_dandiset(
    catalog_path: Path,
    dandiset: str,
    *,
    instance: str = "dandi",
    token_env: str | None = None,
    policy: RetryPolicy | None = None,
    report: Report = ignore,
) -> DandisetEntry:
    """Enter a version of a dandiset in the catalog, which is taken from then on where only the id is given.

    A published version never changes, so its number is the pin. Of a draft, each recording is pinned by its
    digest. Nothing is downloaded.

    Parameters
    ----------
    catalog_path
        Catalog file; made if missing.
    dandiset
        ``ID`` or ``ID@VERSION``; without a version, the latest published one.
    instance
        Archive: its URL, or a name the dandi client knows. The pin counts for this archive alone.
    token_env
        Environment variable with the archive's key; None: that of the archive.
    policy
        Patience with the server.
    report
        Receives events (`schemas.events`).

    Returns
    -------
    entry
        The entry of the catalog.

    Raises
    ------
    DataError
        If there is no such dandiset or version, it holds no recordings, or the archive has not computed the
        digests of a draft yet.
    SettingsError
        If the name is none, a key is missing or refused, or the catalog cannot be read.
    MachineError
        If the archive cannot be reached or the catalog not written.

    Examples
    --------
    >>> from pathlib import Path
    >>> from nwb_latents.pipeline.sources.retry_policy import RetryPolicy
    >>> pin_dandiset(
    ...     Path("catalog.yaml"), "000688", instance="http://127.0.0.1:9", policy=RetryPolicy(attempts=1)
    ... )
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.MachineError: Archive: the archive http://127.0.0.1:9 cannot be reached ...
    """
    from nwb_latents.pipeline.sources.archive_access import Access  # noqa: PLC0415
    from nwb_latents.pipeline.sources.archive_api import ArchiveApi  # noqa: PLC0415
    from nwb_latents.pipeline.sources.archive_listing import Listed, choose_recordings  # noqa: PLC0415
    from nwb_latents.pipeline.sources.archive_paths import parse_dandiset  # noqa: PLC0415
    from nwb_latents.pipeline.sources.archive_version import take_version  # noqa: PLC0415
    from nwb_latents.pipeline.sources.known_dandisets import pin_key  # noqa: PLC0415
    from nwb_latents.pipeline.sources.retry_policy import RetryPolicy  # noqa: PLC0415

    name, asked = parse_dandiset(dandiset)
    access = Access(instance, variable=token_env)
    known = pinned_dandisets(catalog_path, instance, [name]).get(name)
    api = ArchiveApi(access, policy=policy or RetryPolicy()).connect()
    taken = take_version(api, access, name, asked=asked, pinned=None)
    with access.asking_for(f"Dandiset {name}@{taken.version}"):
        listed = [Listed.of(each) for each in api.files(name, taken.version)]
        head = api.version(name, taken.version)
    files, notes = choose_recordings(listed)
    if not files:
        raise DataError(
            f"Dandiset {name}@{taken.version} holds {len(listed)} files, none of them an NWB file this "
            "program can read. Nothing was pinned. Choose another dandiset or version."
        )
    entry = _entry(known, head, files, archive=taken.archive)
    key = pin_key(taken.archive, name)
    previous = read_catalog(catalog_path).dandisets.get(key)
    update_catalog(catalog_path, lambda catalog: _with(catalog, key, entry))
    for note in notes:
        report(NoteEvent(text=note))
    report(
        PinEvent(
            dandiset=name,
            version=entry.version,
            archive=entry.archive,
            previous=previous.version if previous else None,
            n_files=len(files),
            n_bytes=sum(file.size for file in files),
            n_pins=len(entry.pins),
        )
    )
    return entry


def _entry(
    known: DandisetEntry | None, head: VersionAnswer, files: Sequence[Listed], *, archive: str
) -> DandisetEntry:
    about = head.metadata
    licenses = [each.removeprefix("spdx:") for each in about.license] if about else []
    measured = {
        "version": head.version,
        "archive": archive,
        "n_files": len(files),
        "n_bytes": sum(file.size for file in files),
        "pins": _pins(files, head) if head.version == _DRAFT else (),
    }
    if known is not None:
        # What people wrote of it holds for its other versions too; what was counted does not.
        return known.model_copy(update=measured)
    return DandisetEntry(
        title=head.name or "(no title)",
        layout="generic",
        tasks=(),
        citation=about.citation if about else "",
        license=", ".join(licenses),
        **measured,
    )


def _pins(files: Sequence[Listed], head: VersionAnswer) -> tuple[AssetPin, ...]:
    missing = [file.path for file in files if file.digest is None]
    if missing:
        raise DataError(
            f"The archive has not computed the digests of {len(missing)} of {len(files)} recordings of the "
            f"draft of {head.name or 'this dandiset'} yet, by which they are pinned: "
            f"{', '.join(missing[:5])}. Nothing was pinned. Try again in some minutes."
        )
    return tuple(
        AssetPin(
            path=file.path,
            asset_id=file.asset_id,
            sha256=file.sha256 if file.is_blob else None,
            zarr_checksum=None if file.is_blob else file.zarr_checksum,
            size=file.size,
        )
        for file in files
    )


def _with(catalog: Catalog, key: str, entry: DandisetEntry) -> Catalog:
    return catalog.model_copy(update={"dandisets": dict(sorted({**catalog.dandisets, key: entry}.items()))})
