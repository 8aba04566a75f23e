"""A part of the work for each job of a plain job array."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field

from nwb_latents.pipeline.errors import UsageError

_WORD = re.compile(r"(\d+)/(\d+)")


@dataclass(frozen=True)
class Shard:
    """One of `count` parts.

    A path belongs to exactly one shard, whatever else is listed: files that come or go between the start of
    two jobs move no other file from one shard to another.

    Attributes
    ----------
    index
        Which part, 0 … count − 1.
    count
        Number of parts.
    typed
        What it was called by who asked for it.

    Examples
    --------
    >>> paths = [f"sub-{i}.nwb" for i in range(100)]
    >>> parts = [[p for p in paths if Shard(i, 3).holds(p)] for i in range(3)]
    >>> sorted(sum(parts, [])) == sorted(paths)
    True
    """

    index: int = 0
    count: int = 1
    typed: str = field(default="", compare=False, repr=False)

    def __str__(self) -> str:
        return self.typed or f"{self.index}/{self.count}"

    def holds(self, path: str) -> bool:
        """Whether an asset's path belongs to this shard."""
        digest = hashlib.sha256(path.encode("utf-8", "surrogateescape")).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.index


def parse_shard(word: str) -> Shard:
    """Read ``i/n``. Arrays may count from 0 or from 1: ``n/n`` is the same shard as ``0/n``.

    Raises
    ------
    UsageError
        If it is not of this form, or i is greater than n.

    Examples
    --------
    >>> parse_shard("2/8")
    Shard(index=2, count=8)
    >>> parse_shard("8/8") == parse_shard("0/8"), str(parse_shard("8/8"))
    (True, '8/8')
    """
    found = _WORD.fullmatch(word.strip())
    if found is None or int(found[2]) < 1 or int(found[1]) > int(found[2]):
        raise UsageError(f"--shard {word}: expected i/n with i from 1 to n (or from 0 to n − 1), e.g. 3/16.")
    return Shard(int(found[1]) % int(found[2]), int(found[2]), typed=found[0])
