"""One NWB file that a source can deliver."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from nwb_latents.pipeline.sources.remote_file import RemoteFile
    from nwb_latents.schemas.recipe import IngestRecipe

Mode = Literal["download", "stream", "auto"]
"""Whether a file of an archive is fetched whole, read where it lies, or whichever brings fewer bytes."""

BytesProgress = Callable[[int, int], None]
"""Called with bytes done and bytes in all while a file is fetched."""


@dataclass(frozen=True)
class Asset:
    """An NWB file, before it is read.

    Attributes
    ----------
    path
        Path in the dandiset, or the file's name within the folder it was found in.
    size
        Size in bytes; of NWB in Zarr, that of all its files.
    digest
        ``sha256:<hex>`` where the source knows it, else None.
    dandiset, version, asset_id
        Where in the archive it lies; None for files of a folder.
    archive
        Address of the archive.
    is_zarr
        Whether it is NWB in Zarr: a folder of many files.
    zarr_checksum
        The archive's digest of such a folder, where the archive states it.
    """

    path: str
    size: int
    digest: str | None = None
    dandiset: str | None = None
    version: str | None = None
    asset_id: str | None = None
    archive: str | None = None
    is_zarr: bool = False
    zarr_checksum: str | None = None


class Source(Protocol):
    """Where NWB files come from."""

    def assets(self) -> list[Asset]:
        """List the NWB files, in order of their path."""

    def fetch(self, asset: Asset, progress: BytesProgress | None = None) -> Path:
        """Return a local, verified copy of `asset`."""

    def open(
        self, asset: Asset, *, mode: Mode, recipe: IngestRecipe, progress: BytesProgress | None = None
    ) -> AbstractContextManager[tuple[Path | RemoteFile, str]]:
        """Give the content of `asset`, and its digest ``sha256:<hex>``, for a ``with`` block.

        What is made of the content must be written after the block has ended without an error: a stream
        that failed says so at its end at the latest.
        """
