"""A file of the archive, opened for reading where it lies: only the bytes that are read are fetched.

HDF5 reads a few hundred bytes of description here and there, and then whole arrays. Small reads are served
from blocks kept in memory, where reads go on from each other more is fetched at a time, and a large array
goes straight into the memory it is read to. Plain `requests` does this: one connection kept open, the same
patience and the same errors as a download. The file systems over HTTP that exist read ahead blindly, give up
at the first status 503, or do not notice when the file changes under them.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Self

from nwb_latents.pipeline.errors import PipelineError
from nwb_latents.pipeline.sources.block_cache import BlockCache, ReadAhead
from nwb_latents.pipeline.sources.byte_ranges import ByteRanges, StreamRefusedError
from nwb_latents.pipeline.sources.stream_check import PartsRead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from typing_extensions import Buffer

    from nwb_latents.pipeline.sources.retry_policy import RetryPolicy
    from nwb_latents.schemas.store import Verification

__all__ = ["BLOCK_BYTES", "RemoteFile", "StreamRefusedError"]

BLOCK_BYTES = 1 << 16
"""Block that a small read fetches; measured with ``benchmarks/stream.py``."""

_DIRECT_BYTES = 1 << 18
_AHEAD_BYTES = 1 << 22
_CACHE_BYTES = 1 << 26


class RemoteFile(io.RawIOBase):
    """A binary file that fetches what is read of it.

    All of it is read from one and the same content: size and ETag are held fixed, and an answer that differs
    ends the reading. A failure stays: nothing more can be read after it, so that no reader takes a file for
    one with less in it.

    Parameters
    ----------
    url_resolver
        Returns the address of the bytes; asked again when an address has expired.
    size
        Bytes the file has.
    etag
        ETag of the content, without quotes; None: that of the first answer.
    policy
        Patience with the server.
    name
        Name of the file: for messages, and for what readers take from file names.
    digest
        What the archive states of the content, ``sha256:<hex>``.
    block_size
        Bytes that a small read fetches.
    cache
        Blocks kept in memory; default: 64 MiB of them.
    progress
        Called with the number of bytes fetched after each fetch.
    verify
        Whether `verify_whole` is to be called at the end.

    Examples
    --------
    >>> from nwb_latents.pipeline.sources.retry_policy import RetryPolicy
    >>> policy = RetryPolicy(attempts=1)
    >>> where = "http://127.0.0.1:9/a"
    >>> with RemoteFile(lambda: where, size=9, etag=None, policy=policy, name="a.nwb") as file:
    ...     file.read(2)
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.MachineError: a.nwb: reading it in the archive broke off at byte 0 of 9: ...
    """

    def __init__(
        self,
        url_resolver: Callable[[], str],
        *,
        size: int,
        etag: str | None,
        policy: RetryPolicy,
        name: str = "remote file",
        digest: str | None = None,
        block_size: int = BLOCK_BYTES,
        cache: BlockCache | None = None,
        progress: Callable[[int], None] | None = None,
        verify: bool = False,
    ) -> None:
        super().__init__()
        self.name = name
        self.size = size
        self.digest = digest
        self._failure: PipelineError | None = None
        self.progress = progress
        self.is_to_be_verified = verify
        self._is_verified = False
        self._parts = PartsRead(name)
        self._ranges = ByteRanges(url_resolver, name=name, size=size, etag=etag, policy=policy)
        self._cache = cache or BlockCache(block_size=block_size, max_bytes=_CACHE_BYTES)
        self._block = self._cache.block_size
        self._ahead = ReadAhead(max_bytes=_AHEAD_BYTES, block_size=self._block)
        self._position = 0

    def __enter__(self) -> Self:
        return self

    @property
    def failure(self) -> PipelineError | None:
        """The error that ended the reading, or None.

        Always a new one, without a traceback: its frames would hold the HDF5 file, which holds this one where
        Python does not see it. Neither would ever be freed, and HDF5 left open crashes the program's exit.
        """
        return None if self._failure is None else type(self._failure)(*self._failure.args)

    @property
    def bytes_fetched(self) -> int:
        """Bytes of content received."""
        return self._ranges.bytes_fetched

    @property
    def n_requests(self) -> int:
        """Requests sent to the storage."""
        return self._ranges.n_requests

    @property
    def verification(self) -> Verification:
        """What the bytes that were read were held against: the digest, a protected connection, or nothing."""
        if self._is_verified:
            return "digest"
        return "connection" if self._ranges.is_protected else "none"

    def verify_whole(self) -> None:
        """Read the whole file once more and hold it, and all that was read of it, against its digest.

        Raises
        ------
        DataError
            If a byte differs.
        MachineError
            If the archive cannot be read.
        """
        sha256 = str(self.digest).removeprefix("sha256:")
        self._parts.require_same(self._blocks(), sha256=sha256)
        self._is_verified = True

    def readable(self) -> bool:
        """Whether the file can be read."""
        return True

    def seekable(self) -> bool:
        """Whether the position can be changed."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Change the position, and return it. Nothing is fetched."""
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        self._position = max(origin + offset, 0)
        return self._position

    def readinto(self, buffer: Buffer) -> int:
        """Fill `buffer` from the position on, up to the end of the file, and return how many bytes that are.

        Raises
        ------
        DataError
            If the file is gone or has changed.
        MachineError
            If the archive cannot be read.
        """
        if self.closed:
            raise ValueError(f"{self.name}: is closed")
        if self.failure is not None:
            raise self.failure
        start = self._position
        stop = max(min(start + memoryview(buffer).nbytes, self.size), start)
        target = memoryview(buffer).cast("B")[: stop - start]
        try:
            while start < stop:
                start += self._take(target[len(target) - (stop - start) :], start)
        except PipelineError as error:
            self._failure = type(error)(*error.args)
            raise
        self._position = stop
        return len(target)

    def close(self) -> None:
        """Close the connection and free the memory."""
        if not self.closed:
            self._ranges.close()
            self._cache.clear()
        super().close()

    def _take(self, target: memoryview, start: int) -> int:
        """Fill the first bytes of `target`, and return how many."""
        kept = self._cache.after(start)
        if kept is not None:
            n_bytes = min(len(kept), len(target))
            target[:n_bytes] = kept[:n_bytes]
            return n_bytes
        needed_stop = self._cache.gap(start, start + len(target))
        first = start // self._block * self._block
        last = -(-needed_stop // self._block) * self._block
        ahead = self._ahead.stop(first, last)
        if ahead == last and needed_stop - start >= _DIRECT_BYTES:
            self._fetch(target[: needed_stop - start], start)
            return needed_stop - start
        last = min(max(ahead, last), self.size)
        content = bytearray(last - first)
        self._fetch(memoryview(content), first)
        self._cache.put(first, content)
        n_bytes = min(last - start, len(target))
        target[:n_bytes] = content[start - first : start - first + n_bytes]
        return n_bytes

    def _blocks(self) -> Iterator[memoryview]:
        block = memoryview(bytearray(min(_AHEAD_BYTES, max(self.size, 1))))
        for start in range(0, self.size, len(block)):
            part = block[: min(len(block), self.size - start)]
            self._ranges.read_into(part, start)
            yield part
            if self.progress:
                self.progress(self.bytes_fetched)

    def _fetch(self, target: memoryview, start: int) -> None:
        self._ranges.read_into(target, start)
        self._parts.note(start, target)
        if self.progress:
            self.progress(self.bytes_fetched)
