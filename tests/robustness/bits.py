"""Bytes of any file: cut, flipped, zeroed, added to, or something else altogether."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def flip(path: Path, rng: np.random.Generator) -> str:
    """Flip one to eight bits anywhere."""
    data = bytearray(path.read_bytes())
    if not data:
        return "nothing to flip"
    places = sorted(rng.integers(len(data) * 8, size=int(rng.integers(1, 9))).tolist())
    for place in places:
        data[place // 8] ^= 1 << (place % 8)
    path.write_bytes(data)
    return f"bits flipped: {', '.join(str(place) for place in places)}"


def flip_head(path: Path, rng: np.random.Generator) -> str:
    """Flip one to four bits of what lies first."""
    data = bytearray(path.read_bytes())
    if not data:
        return "nothing to flip"
    first = min(len(data), 4096)
    places = sorted(rng.integers(first * 8, size=int(rng.integers(1, 5))).tolist())
    for place in places:
        data[place // 8] ^= 1 << (place % 8)
    path.write_bytes(data)
    return f"bits flipped at the head: {', '.join(str(place) for place in places)}"


def cut(path: Path, rng: np.random.Generator) -> str:
    """Cut the end off."""
    size = path.stat().st_size
    left = int(size * rng.random()) if rng.random() < 0.7 else max(size - int(rng.integers(1, 65)), 0)
    with path.open("r+b") as file:
        file.truncate(left)
    return f"cut to {left} of {size} bytes"


def emptied(path: Path, rng: np.random.Generator) -> str:
    """Leave no byte."""
    path.write_bytes(b"")
    return "emptied"


def zeroed(path: Path, rng: np.random.Generator) -> str:
    """Write zeros over a block, as a power cut may."""
    data = bytearray(path.read_bytes())
    start = int(rng.integers(max(len(data), 1)))
    size = int(rng.integers(1, 4097))
    data[start : start + size] = bytes(len(data[start : start + size]))
    path.write_bytes(data)
    return f"zeros from {start}, {size} bytes"


def added(path: Path, rng: np.random.Generator) -> str:
    """Add noise at the end."""
    size = int(rng.integers(1, 5000))
    with path.open("ab") as file:
        file.write(rng.bytes(size))
    return f"{size} bytes added"


def other(path: Path, rng: np.random.Generator) -> str:
    """Put something else in its place."""
    kinds: dict[str, bytes] = {
        "a web page": b"<!doctype html><html><body>503</body></html>",
        "noise": rng.bytes(2000),
        "a pointer of Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        "text that is no UTF-8": b"a: \xff\xfe\x00\xd8\n",
        "null": b"null",
    }
    kind = str(rng.choice(list(kinds)))
    path.write_bytes(kinds[kind])
    return f"replaced by {kind}"


_UNREAD = (
    "acquisition", "stimulus", "scratch", "specifications", "processing/behavior/Position/Cursor",
    "processing/behavior/cursor_pos", "processing/behavior/eye_pos",
)  # fmt: skip
"""Nothing of this is read of the files there are: all of them hold the hand's position or velocity too."""

_MARGIN = 0.25
"""Numbers so near to the range of the others, as a share of it, are as likely."""

SPOILING: dict[str, Callable[[Path, np.random.Generator], str]] = {
    "flip": flip,
    "flip_head": flip_head,
    "cut": cut,
    "emptied": emptied,
    "zeroed": zeroed,
    "added": added,
    "other": other,
}


def other_data(whole: str, path: str) -> str:
    """Say why an HDF5 file with other bytes holds data as good as before; nothing: it does not.

    HDF5 has no checksum of contiguous data: a number in the range of the others is another number.
    """
    try:
        with h5py.File(whole, "r") as one, h5py.File(path, "r") as two:
            old, new = _content(one), _content(two)
            if old.keys() != new.keys():
                return ""
            # Names of rows may be any.
            if all(is_as_good(old[name], new[name]) for name in old if not name.endswith("/id")):
                return "HDF5 has no checksum of its numbers; those that changed are as likely as before"
    except Exception:
        return ""
    return ""


def _content(h5: h5py.File) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def visit(name: str, item: Any) -> None:
        if name.startswith(_UNREAD):
            return
        found[f"{name}@"] = repr(sorted((k, str(v)) for k, v in item.attrs.items()))
        if isinstance(item, h5py.Dataset):
            found[name] = item[()]

    h5.visititems(visit)
    return found


def is_as_good(old: Any, new: Any) -> bool:
    """Whether values are as they were, or numbers in the range of those before."""
    if isinstance(old, str) or np.asarray(old).dtype.kind not in "fiu":
        return repr(old) == repr(new)
    a, b = np.asarray(old), np.asarray(new)
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if not a.size or np.array_equal(a, b, equal_nan=a.dtype.kind == "f"):
        return True
    changed = b[~((a == b) | ((a != a) & (b != b)))].astype(float)
    low, high = float(np.nanmin(a)), float(np.nanmax(a))
    margin = _MARGIN * (high - low)
    is_near = (changed >= low - margin).all() and (changed <= high + margin).all()
    return bool(np.isfinite(changed).all() and is_near)
