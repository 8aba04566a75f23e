"""Trial stores as zarr sees them, with errors a user can act on wherever a value is read.

A dataset reads its values when they are used, long after it was opened: the store may be gone by then. To
zarr a chunk that is missing is one of fill values, and a file of no bytes, which a power cut leaves, is one
of zeros; here every chunk was written, so both are faults. A file in a folder is held against size and
SHA-256 of the manifest when it is first read, and not looked at before; of objects the size is, and the
SHA-256 of those that are read whole, such as metadata.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from stat import S_ISREG
from typing import TYPE_CHECKING, Any

from zarr.storage import LocalStore, ObjectStore

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.stores.manifest import file_digest, wrong_content, wrong_size
from nwb_latents.pipeline.stores.object_storage import storage_errors

if TYPE_CHECKING:
    from nwb_latents.pipeline.stores.object_storage import ObjectFolder
    from nwb_latents.schemas.manifest import FileDigest, Manifest

_REMEDY = (
    "the store is damaged, or was removed or written again while it was read. Run the same command again; if "
    "that does not help, run ingest again with --force."
)

_WHOLE: set[tuple[str, str, int, int, int]] = set()
"""Files that this process has found whole: path, SHA-256, size, time of the last change, number.

A store is opened many times, by each stage and for each group; its bytes are summed up once.
"""


class WholeFolder(LocalStore):  # type: ignore[misc] # zarr is not typed for us
    """A read-only zarr store in a folder of this machine, which lacks no chunk and no byte.

    Parameters
    ----------
    path
        The folder.
    manifest
        What its files have to be; None: not known.
    """

    def __init__(self, path: Path, manifest: Manifest | None = None) -> None:
        super().__init__(path, read_only=True)
        self._manifest = manifest
        self._seen: set[str] = set()

    async def get(self, key: str, *args: Any, **kwargs: Any) -> Any:
        """Return a file or a part of it; None if it is metadata that are not there.

        Raises
        ------
        DataError
            If values are not there, or a file is not what was written.
        """
        self._check(key)
        return _there(await super().get(key, *args, **kwargs), key, str(self.root))

    async def get_partial_values(self, prototype: Any, key_ranges: Any) -> Any:
        """Return parts of files."""
        wanted = list(key_ranges)
        for key, _ in wanted:
            self._check(key)
        return await super().get_partial_values(prototype, wanted)

    def _check(self, key: str) -> None:
        if key in self._seen:
            return
        path = Path(self.root, key)
        try:
            found = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return
        if not S_ISREG(found.st_mode):
            raise DataError(f"{self.root}: {key} is no file: {_REMEDY}")
        _require_size(found.st_size, key, str(self.root), self._manifest)
        listed = self._manifest.files.get(key) if self._manifest else None
        if listed is not None:
            mark = (str(path), listed.sha256, found.st_size, found.st_mtime_ns, found.st_ino)
            if mark not in _WHOLE:
                _require_content(file_digest(path).sha256, key, str(self.root), listed)
                _WHOLE.add(mark)
        self._seen.add(key)


class WholeObjects(ObjectStore):  # type: ignore[misc] # zarr is not typed for us
    """A read-only zarr store on object storage, which lacks no chunk and no byte.

    Sizes are those of one listing: asking for each object would take as long as reading it.

    Parameters
    ----------
    folder
        Where it lies.
    manifest
        What its objects have to be; None: not known.

    Raises
    ------
    MachineError
        If the storage cannot be reached or refuses.
    """

    def __init__(self, folder: ObjectFolder, manifest: Manifest | None = None) -> None:
        super().__init__(folder.client, read_only=True)
        self._url = folder.url
        self._manifest = manifest
        self._sizes = folder.sizes()

    async def get(self, key: str, prototype: Any = None, byte_range: Any = None) -> Any:
        """Return an object or a part of it; None if it is metadata that are not there.

        Raises
        ------
        DataError
            If values are not there, or an object is not what was written.
        MachineError
            If the storage cannot be reached or refuses.
        """
        self._check(key)
        with storage_errors(self._url, doing="read"):
            found = await super().get(key, prototype, byte_range)
        listed = self._manifest.files.get(key) if self._manifest else None
        if found is not None and listed is not None and byte_range is None:
            _require_content(hashlib.sha256(found.to_bytes()).hexdigest(), key, self._url, listed)
        return _there(found, key, self._url)

    async def get_partial_values(self, prototype: Any, key_ranges: Any) -> Any:
        """Return parts of objects."""
        wanted = list(key_ranges)
        for key, _ in wanted:
            self._check(key)
        with storage_errors(self._url, doing="read"):
            return await super().get_partial_values(prototype, wanted)

    async def exists(self, key: str) -> Any:
        """Whether there is an object of this name."""
        with storage_errors(self._url, doing="read"):
            return await super().exists(key)

    def _check(self, key: str) -> None:
        if key in self._sizes:
            _require_size(self._sizes[key], key, self._url, self._manifest)


def _require_size(size: int, key: str, where: str, manifest: Manifest | None) -> None:
    listed = manifest.files.get(key) if manifest else None
    if listed is not None and listed.size != size:
        raise DataError(f"{where}: {wrong_size(key, expected=listed.size, found=size)}: {_REMEDY}")
    if listed is None and not size and _holds_values(key):
        raise DataError(
            f"{where}: {key} has 0 bytes, expected values: it was cut short, as by a power cut or a full "
            f"disk: {_REMEDY}"
        )


def _require_content(digest: str, key: str, where: str, listed: FileDigest) -> None:
    if digest != listed.sha256:
        raise DataError(f"{where}: {wrong_content(key, expected=listed.sha256, found=digest)}: {_REMEDY}")


def _holds_values(key: str) -> bool:
    return "/c/" in key or key.endswith("/c")


def _there(found: Any, key: str, where: str) -> Any:
    if found is None and _holds_values(key):
        raise DataError(f"{where}: {key} is not there: {_REMEDY}")
    return found
