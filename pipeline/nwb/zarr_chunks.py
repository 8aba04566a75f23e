"""Chunks of a zarr array on disk: whether they are there, and whole, before anything decodes them."""

from __future__ import annotations

import json
import math
from itertools import product
from typing import TYPE_CHECKING, Any

from nwb_latents.pipeline.nwb.zarr_metadata import array_description, chunk_shape, why_no_array

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_HEADER = 16
"""Bytes of the header of a chunk of Blosc; the last four are its length, little-endian."""

MOST_LOOKED_FOR = 100_000
"""Of arrays with more chunks it is not looked for which are lost."""


def cut_chunk(folder: Path) -> str | None:
    """Say which chunk of an array is shorter than it says of itself; None: none is.

    Blosc reads on behind the end of such a chunk, which ends the whole process.

    Parameters
    ----------
    folder
        Folder of the array.
    """
    name, stored = array_description(folder)
    if why_no_array(name, stored) is not None or not _is_blosc(stored):
        return None
    for chunk in _chunk_files(folder):
        size = chunk.stat().st_size
        with chunk.open("rb") as stream:
            header = stream.read(_HEADER)
        stated = int.from_bytes(header[12:], "little") if len(header) == _HEADER else _HEADER
        if size < stated:
            return f"chunk {chunk.relative_to(folder)} holds {size} of {stated} bytes"
    return None


def lost_chunks(folder: Path) -> str | None:
    """Say how many of the chunks of an array are not there, in words that follow its name; None: all are.

    Parameters
    ----------
    folder
        Folder of the array, of zarr format 2 or 3.
    """
    name, stored = array_description(folder)
    if why_no_array(name, stored) is not None:
        return None
    shape, chunks = stored["shape"], chunk_shape(stored)
    if not shape or chunks is None or 0 in shape or "sharding" in json.dumps(stored):
        return None
    counts = [-(-n // size) for n, size in zip(shape, chunks, strict=True)]
    if math.prod(counts) > MOST_LOOKED_FOR:
        return None
    names = [_key(stored, at) for at in product(*(range(n) for n in counts))]
    lost = [name for name in names if not (folder / name).is_file()]
    if not lost:
        return None
    return f"lacks {len(lost)} of its {len(names)} chunks (the first is {lost[0]})"


def _key(stored: dict[str, Any], at: tuple[int, ...]) -> str:
    if "chunk_grid" in stored:
        encoding = stored.get("chunk_key_encoding", {})
        if encoding.get("name", "default") == "default":
            separator = str(encoding.get("configuration", {}).get("separator", "/"))
            return separator.join(["c", *map(str, at)])
        return str(encoding.get("configuration", {}).get("separator", ".")).join(map(str, at))
    return str(stored.get("dimension_separator", ".")).join(map(str, at))


def _is_blosc(stored: dict[str, Any]) -> bool:
    codecs = [stored.get("compressor") or {}, *(stored.get("codecs") or ())]
    last = codecs[-1]
    return isinstance(last, dict) and "blosc" in (last.get("id"), last.get("name"))


def _chunk_files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith(".") and path.name != "zarr.json":
            yield path
