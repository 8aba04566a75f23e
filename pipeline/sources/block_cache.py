"""Which bytes of a remote file are kept in memory, and how far ahead of its reader to fetch."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

_MAX_ROWS = 8
_LIKE = 4
_IN_A_ROW = 3


class BlockCache:
    """The blocks of a file that were used last, within a bound on memory.

    Parameters
    ----------
    block_size
        Bytes of a block; the last block of a file may be shorter.
    max_bytes
        Bound on what is kept.

    Examples
    --------
    >>> cache = BlockCache(block_size=4, max_bytes=8)
    >>> cache.put(4, b"efghij")
    >>> bytes(cache.after(5)), cache.after(0), cache.gap(0, 12)
    (b'fgh', None, 4)
    """

    def __init__(self, *, block_size: int, max_bytes: int) -> None:
        self.block_size = block_size
        self._max_blocks = max(max_bytes // block_size, 1)
        self._blocks: OrderedDict[int, memoryview] = OrderedDict()

    def after(self, position: int) -> memoryview | None:
        """Return what the block at `position` holds from there on, or None where it is not kept."""
        index, offset = divmod(position, self.block_size)
        block = self._blocks.get(index)
        if block is None:
            return None
        self._blocks.move_to_end(index)
        return block[offset:]

    def gap(self, start: int, stop: int) -> int:
        """Return where the bytes that are not kept end: the next block that is, or `stop`."""
        index = start // self.block_size
        while index * self.block_size < stop and index not in self._blocks:
            index += 1
        return min(index * self.block_size, stop)

    def put(self, start: int, content: bytes | bytearray) -> None:
        """Keep content that starts at a block's first byte and ends with a block or with the file."""
        for offset in range(0, len(content), self.block_size):
            # Copied, so that one block kept does not keep all that came with it.
            block = bytes(content[offset : offset + self.block_size])
            self._blocks[(start + offset) // self.block_size] = memoryview(block)
            self._blocks.move_to_end((start + offset) // self.block_size)
        while len(self._blocks) > self._max_blocks:
            self._blocks.popitem(last=False)

    def clear(self) -> None:
        """Keep nothing."""
        self._blocks.clear()


class ReadAhead:
    """How much to fetch at a time: what is asked where reads jump, more and more where they go on.

    Reads go on where one of like size starts where another ended; from the fourth in a row on, each fetch is
    twice the one before. Two arrays that happen to lie side by side are no such row. HDF5 goes back and
    forth between the chunks of a dataset and their index, so several places are remembered at which reads
    may go on.

    Parameters
    ----------
    max_bytes
        Bound on one fetch that goes beyond what is asked.
    block_size
        Block of the cache.

    Examples
    --------
    >>> ahead = ReadAhead(max_bytes=400, block_size=10)
    >>> [ahead.stop(at, at + 100) for at in (0, 100, 200, 300, 500, 900, 9000)]
    [100, 200, 300, 500, 900, 1300, 9100]
    """

    def __init__(self, *, max_bytes: int, block_size: int) -> None:
        self._max_bytes = max_bytes
        self._block_size = block_size
        self._rows: OrderedDict[int, _Row] = OrderedDict()

    def stop(self, start: int, needed_stop: int) -> int:
        """Return where a fetch that has to bring the bytes from `start` to `needed_stop` should end."""
        needed = needed_stop - start
        # A row of small chunks goes on behind a block that is kept already, for a piece of their index.
        gap = self._block_size if needed <= self._block_size else 0
        near = [
            end
            for end, row in self._rows.items()
            if -self._block_size <= start - end <= gap and needed <= _LIKE * row.needed <= _LIKE**2 * needed
        ]
        before = self._rows.pop(max(near)) if near else _Row(0, 0, 0)
        ahead = min(2 * before.fetched, self._max_bytes) if before.n_fetches >= _IN_A_ROW else 0
        fetched = max(needed, ahead)
        self._rows[start + fetched] = _Row(before.n_fetches + 1, needed, fetched)
        if len(self._rows) > _MAX_ROWS:
            self._rows.popitem(last=False)
        return start + fetched


class _Row(NamedTuple):
    n_fetches: int
    needed: int
    fetched: int
