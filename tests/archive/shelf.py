"""What lies in the loopback archive, and its description in the archive's own words.

The shapes of the answers are those of the archive's server 0.27 (schema 0.7), with the fields that clients
do not read left out of the metadata.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dandischema.digests.dandietag import DandiETag
from zarr_checksum.tree import ZarrChecksumTree

ZARR = None
"""Content of an asset that is a Zarr of which nothing is known; a folder is a Zarr with content."""

Files = Mapping[str, Mapping[str, Mapping[str, bytes | Path | None]]]
"""Dandiset id → version → path → content."""

_CREATED = "2024-01-01T08:42:16.014742Z"
_MODIFIED = "2024-01-01T08:42:22.838403Z"


class Held:
    """Bytes in the storage."""

    content: bytes | Path | None

    @property
    def data(self) -> bytes:
        """The whole content."""
        return _bytes(self.content)

    def part(self, start: int, stop: int) -> bytes:
        """Some of the content; of a large file no more is read."""
        if not isinstance(self.content, Path):
            return self.data[start:stop]
        with self.content.open("rb") as file:
            file.seek(start)
            return file.read(stop - start)

    @property
    def held_size(self) -> int:
        """Bytes there are, whatever is stated."""
        return self.content.stat().st_size if isinstance(self.content, Path) else len(self.data)


@dataclass
class ShelvedEntry(Held):
    """One file of a Zarr; its ETag is its MD5."""

    key: str
    content: bytes | Path
    size: int
    dandi_etag: str

    @classmethod
    def of(cls, folder: Path, path: Path) -> ShelvedEntry:
        """Describe a file of a folder as the archive would."""
        data = path.read_bytes()
        return cls(path.relative_to(folder).as_posix(), path, len(data), hashlib.md5(data).hexdigest())

    def item(self) -> dict[str, Any]:
        """The entry as it is listed."""
        return {"Key": self.key, "LastModified": _MODIFIED, "ETag": self.dandi_etag, "Size": self.size}


@dataclass
class ShelvedAsset(Held):
    """One asset. Tests change its fields to let the archive state something else than what it holds."""

    path: str
    content: bytes | Path | None
    asset_id: str
    blob_id: str
    size: int
    sha256: str | None
    dandi_etag: str | None
    zarr_checksum: str | None = None
    entries: list[ShelvedEntry] = field(default_factory=list)

    @classmethod
    def of(cls, dandiset: str, version: str, path: str, content: bytes | Path | None) -> ShelvedAsset:
        """Describe a file, or a folder that is a Zarr, as the archive would."""
        if content is ZARR or (isinstance(content, Path) and content.is_dir()):
            return cls._of_zarr(f"{dandiset}/{version}/{path}", path, content)
        data = _bytes(content)
        etag = DandiETag(file_size=len(data))
        for part in etag.get_parts():
            etag.update(data[part.offset : part.offset + part.size])
        sha256 = hashlib.sha256(data).hexdigest()
        return cls(
            path=path,
            content=content,
            asset_id=str(uuid.uuid5(uuid.NAMESPACE_URL, f"asset/{dandiset}/{version}/{path}/{sha256}")),
            blob_id=str(uuid.uuid5(uuid.NAMESPACE_URL, f"blob/{sha256}")),
            size=len(data),
            sha256=sha256,
            dandi_etag=etag.as_str(),
        )

    @classmethod
    def _of_zarr(cls, name: str, path: str, folder: Path | None) -> ShelvedAsset:
        files = sorted(file for file in folder.rglob("*") if file.is_file()) if folder else []
        entries = sorted((ShelvedEntry.of(folder, file) for file in files), key=lambda entry: entry.key)
        checksum = checksum_of(entries) if folder else None
        return cls(
            path=path,
            content=folder,
            asset_id=str(uuid.uuid5(uuid.NAMESPACE_URL, f"asset/{name}/{checksum}")),
            blob_id=str(uuid.uuid5(uuid.NAMESPACE_URL, f"zarr/{name}")),
            size=sum(entry.size for entry in entries),
            sha256=None,
            dandi_etag=None,
            zarr_checksum=checksum,
            entries=entries,
        )

    @property
    def is_zarr(self) -> bool:
        """Whether it is a folder of files."""
        return self.content is ZARR or bool(self.entries)

    def item(self) -> dict[str, Any]:
        """The asset as it is listed."""
        return {
            "asset_id": self.asset_id,
            "blob": None if self.is_zarr else self.blob_id,
            "zarr": self.blob_id if self.is_zarr else None,
            "path": self.path,
            "size": self.size,
            "created": _CREATED,
            "modified": _MODIFIED,
        }

    def metadata(self, api_url: str, storage_url: str) -> dict[str, Any]:
        """Describe the asset in the words of the DANDI schema."""
        stated = {
            "dandi:dandi-etag": self.dandi_etag,
            "dandi:sha2-256": self.sha256,
            "dandi:dandi-zarr-checksum": self.zarr_checksum,
        }
        return {
            "id": f"dandiasset:{self.asset_id}",
            "path": self.path,
            "access": [{"schemaKey": "AccessRequirements", "status": "dandi:OpenAccess"}],
            "digest": {name: value for name, value in stated.items() if value is not None},
            "schemaKey": "Asset",
            "contentUrl": [
                f"{api_url}/assets/{self.asset_id}/download/",
                f"{storage_url}/zarr/{self.blob_id}/"
                if self.is_zarr
                else f"{storage_url}/blob/{self.blob_id}",
            ],
            "identifier": self.asset_id,
            "contentSize": self.size,
            "dateModified": _MODIFIED,
            "schemaVersion": "0.7.0",
            "encodingFormat": "application/x-zarr" if self.is_zarr else "application/x-nwb",
            "blobDateModified": _CREATED,
        }


@dataclass
class ShelvedDandiset:
    """One dandiset: versions in order of publication, and who may see it."""

    identifier: str
    versions: dict[str, list[ShelvedAsset]]
    is_embargoed: bool = False

    @property
    def published(self) -> list[str]:
        """Versions that are not the draft, oldest first."""
        versions = (version for version in self.versions if version != "draft")
        return sorted(versions, key=lambda version: [int(part) for part in version.split(".")])

    def record(self) -> dict[str, Any]:
        """The dandiset as it is listed."""
        latest = self.version_record(self.published[-1]) if self.published else None
        return {
            **self._identity(),
            "most_recent_published_version": latest,
            "draft_version": self.version_record("draft"),
        }

    def version_record(self, version: str) -> dict[str, Any]:
        """One version within the record of its dandiset."""
        assets = self.versions.get(version, [])
        return {
            "version": version,
            "name": f"Loopback dandiset {self.identifier}",
            "asset_count": len(assets),
            "active_uploads": 0,
            "size": sum(asset.size for asset in assets),
            "status": "Published" if version == "draft" and self.published else "Valid",
            "created": _CREATED,
            "modified": _modified(assets),
            "release_notes": "",
        }

    def version_item(self, version: str) -> dict[str, Any]:
        """One version as it is listed."""
        return {**self.version_record(version), "dandiset": self._identity()}

    def version_info(self, version: str) -> dict[str, Any]:
        """One version, asked for by itself."""
        return {
            **self.version_item(version),
            "asset_validation_errors": [],
            "version_validation_errors": [],
            "metadata": self.version_metadata(version),
            "contact_person": "Doe, Jane",
        }

    def version_metadata(self, version: str) -> dict[str, Any]:
        """Describe the version in the words of the DANDI schema."""
        return {
            "id": f"DEV-DANDI:{self.identifier}/{version}",
            "name": f"Loopback dandiset {self.identifier}",
            "license": ["spdx:CC-BY-4.0"],
            "version": version,
            "schemaKey": "Dandiset",
            "identifier": f"DEV-DANDI:{self.identifier}",
            "schemaVersion": "0.7.0",
        }

    def _identity(self) -> dict[str, Any]:
        return {
            "identifier": self.identifier,
            "created": _CREATED,
            "modified": _MODIFIED,
            "contact_person": "Doe, Jane",
            "embargo_status": "EMBARGOED" if self.is_embargoed else "OPEN",
            "star_count": 0,
            "is_starred": False,
        }


def _modified(assets: list[ShelvedAsset]) -> str:
    """Return when a version was changed last: another moment for each content."""
    ids = ",".join(asset.asset_id for asset in assets)
    return f"2024-01-01T08:42:22.{int(hashlib.sha256(ids.encode()).hexdigest(), 16) % 10**6:06d}Z"


def checksum_of(entries: list[ShelvedEntry]) -> str:
    """Return the archive's digest of a Zarr."""
    tree = ZarrChecksumTree()
    for entry in entries:
        tree.add_leaf(Path(entry.key), entry.size, entry.dandi_etag)
    return str(tree.process())


def server_info(api_url: str) -> dict[str, Any]:
    """Return what the archive says of itself."""
    return {
        "instance_config": {"instance_name": "DEV-DANDI", "instance_identifier": "RRID:ABC_123456"},
        "schema_version": "0.7.0",
        "allowed_schema_versions": ["0.6.9", "0.6.10", "0.7.0"],
        "version": "0.27.0",
        "services": {"api": {"url": api_url}, "jupyterhub": {"url": "https://hub.dandiarchive.org/"}},
        "cli-minimal-version": "0.60.0",
        "cli-requires-python": ">=3.10",
        "cli-bad-versions": [],
    }


def _bytes(content: bytes | Path | None) -> bytes:
    if content is None:
        return b""
    return content.read_bytes() if isinstance(content, Path) else content
