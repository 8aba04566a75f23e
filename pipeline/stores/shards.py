"""Arrays of a store written and read a block of rows at a time: zarr shards, to the byte what zarr writes.

zarr makes a shard in memory, whole. A shard is its chunks one after the other, then where each lies: it can
be written as its rows are made. It is read back here too, for trials are cut out of what was written.
"""

from __future__ import annotations

import hashlib
import shutil
from collections import OrderedDict, deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import google_crc32c
import numpy as np
from numcodecs.zstd import Zstd

from nwb_latents.pipeline.machine import available_cores
from nwb_latents.pipeline.scratch import IN_MEMORY, Scratch
from nwb_latents.pipeline.signals.rows import BLOCK_CELLS
from nwb_latents.pipeline.stores.atomic import leftovers, machine_error, temporary_name
from nwb_latents.pipeline.stores.disk_names import flush_file, make_folder
from nwb_latents.schemas.manifest import FileDigest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import DTypeLike, NDArray

CHUNK_BYTES = 1 << 20
"""A chunk of an array is so large, more or less: so much has to be read for one value."""

ZSTD_LEVEL = 1
_KEPT_CHUNKS = 4
"""Chunks that stay unpacked: windows that overlap ask for the same one."""

_MAX_THREADS = 4


class Shard(NamedTuple):
    """A shard that is whole.

    Attributes
    ----------
    path
        Where it lies.
    digest
        Size and sum.
    """

    path: Path
    digest: FileDigest


def chunk_rows(shape: tuple[int, ...], dtype: DTypeLike) -> int:
    """Return how many rows of an array a chunk holds.

    Examples
    --------
    >>> chunk_rows((1000, 36, 200), np.float32), chunk_rows((10, 2), np.float32), chunk_rows((5, 10**7), "u1")
    (36, 10, 1)
    """
    row_bytes = np.dtype(dtype).itemsize * int(np.prod(shape[1:]))
    return max(1, min(shape[0], CHUNK_BYTES // max(1, row_bytes)))


class ShardRows:
    """The rows of an array that lies in a shard (see `pipeline.signals.rows.Rows`).

    Parameters
    ----------
    path
        The shard.
    shape, dtype
        Of the array.
    ends
        Where each chunk ends in the file. Shape ``(n_chunks,)``.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: DTypeLike, ends: NDArray[np.int64]) -> None:
        self.path, self.shape, self.dtype = path, shape, np.dtype(dtype)
        self._starts = np.concatenate([[0], ends]).tolist()
        self._rows = chunk_rows(shape, dtype)
        self._unpacked: OrderedDict[int, NDArray[Any]] = OrderedDict()

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, at: Any, /) -> NDArray[Any]:
        numbers = np.arange(*at.indices(len(self))) if isinstance(at, slice) else np.asarray(at)
        out = np.empty((numbers.size, *self.shape[1:]), self.dtype)
        flat = numbers.ravel()
        chunk_of = flat // self._rows
        for chunk in np.unique(chunk_of).tolist():
            mine = np.flatnonzero(chunk_of == chunk)
            out[mine] = self._chunk(chunk)[flat[mine] - chunk * self._rows]
        return out.reshape(*numbers.shape, *self.shape[1:])

    def _chunk(self, number: int) -> NDArray[Any]:
        if number not in self._unpacked:
            with self.path.open("rb") as file:
                file.seek(self._starts[number])
                packed = file.read(self._starts[number + 1] - self._starts[number])
            values = np.frombuffer(Zstd().decode(packed), self.dtype).reshape(self._rows, *self.shape[1:])
            self._unpacked[number] = values
            if len(self._unpacked) > _KEPT_CHUNKS:
                self._unpacked.popitem(last=False)
        self._unpacked.move_to_end(number)
        return self._unpacked[number]


class ShardSink:
    """Takes an array block by block and writes it as one shard (see `pipeline.signals.rows.Sink`).

    Parameters
    ----------
    path
        The shard.
    shape, dtype
        Of the array; neither may be empty.
    packing
        Threads that pack chunks.
    """

    def __init__(
        self, path: Path, shape: tuple[int, ...], dtype: DTypeLike, packing: ThreadPoolExecutor
    ) -> None:
        self.path, self._shape, self._dtype = path, shape, np.dtype(dtype)
        self.ndim = len(shape)
        self._rows = chunk_rows(shape, dtype)
        self._packing = packing
        self._codec = Zstd(level=ZSTD_LEVEL, checksum=True)
        self._open = path.open("wb")
        self._sum = hashlib.sha256()
        self._ends: list[int] = []
        self._left: list[NDArray[Any]] = []
        self._n_left = 0
        self._packed: deque[Future[bytes]] = deque()
        self.digest: FileDigest | None = None

    def append(self, block: NDArray[Any], /) -> None:
        """Take the next rows, which may be changed afterwards.

        Raises
        ------
        OSError
            If the disk refuses.
        """
        at = 0
        while at < len(block):
            n = min(self._rows - self._n_left, len(block) - at)
            self._left.append(block[at : at + n].copy())
            self._n_left, at = self._n_left + n, at + n
            if self._n_left == self._rows:
                self._pack()

    def finished(self) -> ShardRows:
        """Return the rows of the shard, which is whole then.

        Raises
        ------
        OSError
            If the disk refuses.
        """
        if self._n_left:
            # The last chunk is as large as the others: numbers that are not there are NaN, counts are 0.
            fill = np.nan if self._dtype.kind == "f" else 0
            self._left.append(np.full((self._rows - self._n_left, *self._shape[1:]), fill, self._dtype))
            self._pack()
        while self._packed:
            self._write(self._packed.popleft().result())
        ends = np.array(self._ends, dtype=np.int64)
        starts = np.concatenate([[0], ends[:-1]])
        index = np.column_stack([starts, ends - starts]).astype("<u8").tobytes()
        size = self._ends[-1]
        for part in (index, google_crc32c.value(index).to_bytes(4, "little")):
            self._open.write(part)
            self._sum.update(part)
            size += len(part)
        self._open.close()
        flush_file(self.path)
        self.digest = FileDigest(size=size, sha256=self._sum.hexdigest())
        return ShardRows(self.path, self._shape, self._dtype, ends)

    def _pack(self) -> None:
        chunk = self._left[0] if len(self._left) == 1 else np.concatenate(self._left)
        self._left, self._n_left = [], 0
        self._packed.append(self._packing.submit(self._codec.encode, np.ascontiguousarray(chunk)))
        # What waits to be written is bounded, and what is ready goes to the disk meanwhile.
        while self._packed and (len(self._packed) > 2 * _MAX_THREADS or self._packed[0].done()):
            self._write(self._packed.popleft().result())

    def _write(self, packed: bytes) -> None:
        self._open.write(packed)
        self._sum.update(packed)
        self._ends.append((self._ends[-1] if self._ends else 0) + len(packed))


@dataclass
class ShardShelf:
    """Puts the large arrays of a session into shards in a folder (see `pipeline.signals.rows.Shelf`).

    Attributes
    ----------
    folder
        Where they lie until they have their place in a store.
    packing
        Threads that pack chunks.
    scratch, block_cells
        As of `Shelf`.
    sinks
        Arrays so far, by name: ``trials/counts`` …
    """

    folder: Path
    packing: ThreadPoolExecutor
    scratch: Scratch = IN_MEMORY
    block_cells: int = BLOCK_CELLS
    sinks: dict[str, ShardSink] = field(default_factory=dict)

    def sink(self, name: str, shape: tuple[int, ...], dtype: DTypeLike) -> ShardSink:
        """Begin an array.

        Raises
        ------
        OSError
            If the disk refuses.
        """
        self.sinks[name] = ShardSink(self.folder / name.replace("/", "-"), shape, dtype, self.packing)
        return self.sinks[name]

    def shards(self) -> dict[str, Shard]:
        """Return the shards that are whole by their places in a store, as ``trials/counts/c/0/0/0``."""
        return {
            f"{name}/c/{'/'.join('0' * sink.ndim)}": Shard(sink.path, sink.digest)
            for name, sink in self.sinks.items()
            if sink.digest is not None
        }


@contextmanager
def shard_shelf(path: Path, scratch: Scratch, *, block_cells: int = BLOCK_CELLS) -> Iterator[ShardShelf]:
    """Yield a shelf in a hidden folder beside `path`, which goes with what is left in it.

    One writer at a time is the caller's business.

    Parameters
    ----------
    path
        Where a store will lie.
    scratch, block_cells
        As of `Shelf`.

    Raises
    ------
    MachineError
        If the disk refuses.
    """
    near = path.with_name(f"shards-{path.name}")
    folder = temporary_name(near)
    try:
        make_folder(path.parent)
        for stale in leftovers(near):
            shutil.rmtree(stale, ignore_errors=True)
        folder.mkdir()
        with ThreadPoolExecutor(min(_MAX_THREADS, available_cores())) as packing:
            yield ShardShelf(folder, packing, scratch, block_cells)
    except OSError as error:
        raise machine_error(error, path, doing="write this store") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
