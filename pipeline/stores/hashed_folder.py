"""A zarr store in a folder that sums up what is written to it while the next array is made."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from zarr.storage import LocalStore

from nwb_latents.pipeline.stores.disk_names import flush_file
from nwb_latents.schemas.manifest import FileDigest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future
    from pathlib import Path

FLUSHED_AT_ONCE_BYTES = 8 << 20
"""Files of this size are sent to the disk as soon as they are written; small ones all together in the end."""

_THREADS = 4


class HashedFolder(LocalStore):  # type: ignore[misc] # zarr is not typed for us
    """A zarr store that hashes and flushes files beside the writing of others (see `hashed_folder`).

    Parameters
    ----------
    path
        The folder.
    pool
        Threads to do it in.
    """

    def __init__(self, path: Path, pool: ThreadPoolExecutor) -> None:
        super().__init__(path)
        self._pool = pool
        self._digests: dict[str, Future[FileDigest]] = {}
        self._flushes: list[Future[None]] = []

    def with_read_only(self, read_only: bool = False) -> Any:  # noqa: FBT001, FBT002 - as in zarr
        """Return a store of the same files that can be read, or this one."""
        return LocalStore(self.root, read_only=True) if read_only else self

    async def set(self, key: str, value: Any) -> None:
        """Write a file."""
        # The bytes that were meant are summed up, not those that came to lie on the disk.
        self._digests[key] = self._pool.submit(_digest, value)
        await super().set(key, value)
        if len(value) >= FLUSHED_AT_ONCE_BYTES:
            self._flushes.append(self._pool.submit(flush_file, self.root / key))

    async def set_if_not_exists(self, key: str, value: Any) -> None:
        """Write a file that is not there; its digest is for others to take."""
        self._digests.pop(key, None)
        await super().set_if_not_exists(key, value)

    def digests(self) -> dict[str, FileDigest]:
        """Return size and SHA-256 of files as they were written last, by name.

        Raises
        ------
        OSError
            If one of them cannot be brought to the disk.
        """
        for flush in self._flushes:
            flush.result()
        return {key: digest.result() for key, digest in self._digests.items()}


@contextmanager
def hashed_folder(path: Path) -> Iterator[HashedFolder]:
    """Yield a store to write into a folder; its threads end with the body."""
    with ThreadPoolExecutor(_THREADS) as pool:
        yield HashedFolder(path, pool)


def _digest(value: Any) -> FileDigest:
    # The interpreter is free while a large buffer is summed up.
    return FileDigest(size=len(value), sha256=hashlib.sha256(value.as_buffer_like()).hexdigest())
