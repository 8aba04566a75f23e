"""One NWB file that a source can deliver."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path

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
        Size in bytes.
    digest
        ``sha256:<hex>`` where the source knows it, else None.
    dandiset, version, asset_id
        Where in the archive it lies; None for files of a folder.
    """

    path: str
    size: int
    digest: str | None = None
    dandiset: str | None = None
    version: str | None = None
    asset_id: str | None = None


class Source(Protocol):
    """Where NWB files come from."""

    def assets(self) -> list[Asset]:
        """List the NWB files, in order of their path."""

    def fetch(self, asset: Asset, progress: BytesProgress | None = None) -> Path:
        """Return a local, verified copy of `asset`."""
