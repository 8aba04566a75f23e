"""Whether the parts that were read of a file are those of the file its digest is of.

A digest is of the whole. So the whole is read once more, in order, and kept nowhere: it must have the digest
that was promised, and each part must come as it came before.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nwb_latents.pipeline.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from typing_extensions import Buffer

_DIGEST_BYTES = 16


@dataclass(frozen=True)
class _Part:
    start: int
    stop: int
    digest: bytes


class PartsRead:
    r"""Digests of the parts that were read of one file.

    Parameters
    ----------
    name
        Name of the file, for messages.

    Examples
    --------
    >>> import hashlib
    >>> content = b"0123456789"
    >>> parts = PartsRead("a.nwb")
    >>> parts.note(2, content[2:5])
    >>> parts.require_same([content[:4], content[4:]], sha256=hashlib.sha256(content).hexdigest())
    >>> parts.note(7, b"7?9")
    >>> parts.require_same([content], sha256=hashlib.sha256(content).hexdigest())
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.DataError: a.nwb: bytes 7 to 10 came otherwise ...
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._parts: list[_Part] = []

    def note(self, start: int, content: Buffer) -> None:
        """Remember what was read from a byte on."""
        view = memoryview(content)
        self._parts.append(_Part(start, start + view.nbytes, _digest(view)))

    def require_same(self, blocks: Iterable[Buffer], *, sha256: str) -> None:
        """Hold the whole file against its digest and the parts.

        Parameters
        ----------
        blocks
            The whole file, in order.
        sha256
            What the archive states of it.

        Raises
        ------
        DataError
            If a byte differs.
        """
        whole = hashlib.sha256()
        waiting = sorted(self._parts, key=lambda part: part.start, reverse=True)
        begun: list[tuple[_Part, hashlib.blake2b]] = []
        start = 0
        for block in blocks:
            view = memoryview(block)
            whole.update(view)
            stop = start + view.nbytes
            while waiting and waiting[-1].start < stop:
                begun.append((waiting.pop(), hashlib.blake2b(digest_size=_DIGEST_BYTES)))
            for part, digest in begun:
                digest.update(view[max(part.start - start, 0) : part.stop - start])
                if part.stop <= stop and digest.digest() != part.digest:
                    raise self._differs(
                        f"bytes {part.start} to {part.stop} came otherwise when they were read again"
                    )
            begun = [(part, digest) for part, digest in begun if part.stop > stop]
            start = stop
        if whole.hexdigest() != sha256:
            raise self._differs(f"its SHA-256 is {whole.hexdigest()}, expected {sha256}")

    def _differs(self, why: str) -> DataError:
        return DataError(
            f"{self._name}: {why}: something between the archive and this machine changes bytes. Nothing was "
            "made of it. Fetch the file with --download, and use https where the archive offers it."
        )


def _digest(view: memoryview) -> bytes:
    return hashlib.blake2b(view, digest_size=_DIGEST_BYTES).digest()
