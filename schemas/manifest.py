"""The manifest of a store or a run: what its files have to be, to the byte."""

from __future__ import annotations

from pydantic import Field

from nwb_latents.schemas.base import Frozen, Record


class FileDigest(Frozen):
    """What one file has to be."""

    size: int = Field(ge=0, description="Size, bytes.")
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="SHA-256 of its content, in hexadecimal.")


class Manifest(Record):
    """The file `manifest.json` of a trial store or of the directory of a run."""

    files: dict[str, FileDigest] = Field(
        description="Name relative to the manifest, with slashes → what the file has to be."
    )
