"""NWB in HDF5: a path, or anything binary that can be read and sought."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Protocol

import h5py
import numpy as np

from nwb_latents.pipeline.nwb.compression import (
    UnknownCompressionError,
    filters_lacking,
    lacking_words,
)
from nwb_latents.pipeline.nwb.outside_data import absent_part, what_lies_at
from nwb_latents.pipeline.scratch import give_back

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

_TOGETHER_BYTES = 8 << 20
"""So much of a large array is read together."""


class Readable(Protocol):
    """What HDF5 needs of an object to read a file through it."""

    def read(self, size: int = -1, /) -> bytes | None:
        """Return up to `size` bytes from here on."""
        ...

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go to a position and return it."""
        ...

    def tell(self) -> int:
        """Return the position."""
        ...


class Hdf5Tree:
    """An open HDF5 file (see `pipeline.nwb.tree.Tree`).

    Parameters
    ----------
    h5
        The open file.
    size
        Bytes of the file.
    """

    def __init__(self, h5: h5py.File, size: int) -> None:
        self.size = size
        self._h5 = h5
        # What was asked for once: tables are looked at by many, and to open an object takes as long as to
        # read a small one. The file does not change while it is open.
        self._objects: dict[str, h5py.Group | h5py.Dataset | None] = {}
        self._attributes: dict[tuple[str, str], Any] = {}

    def has(self, path: str) -> bool:
        """Whether there is a group or an array at `path`; a link that leads nowhere is neither."""
        return self._get(path) is not None

    def broken_link(self, path: str) -> str | None:
        """Say where the link on the way to `path` leads that leads nowhere; None where there is none."""
        here, parts = "", [part for part in path.split("/") if part]
        for part in parts:
            parent = self._get(here) if here else self._h5
            if not isinstance(parent, h5py.Group):
                return None
            link = parent.get(part, getlink=True) if part in parent.keys() else None  # noqa: SIM118
            here = f"{here}/{part}".lstrip("/")
            if link is None:
                return None
            if self._get(here) is None:
                if isinstance(link, h5py.ExternalLink):
                    lies = what_lies_at(self._h5, link.filename)
                    return f"/{here} is a link to {link.path} in the file {link.filename}{lies}"
                return f"/{here} is a link to {getattr(link, 'path', 'an object that cannot be opened')}"
        return None

    def broken_links(self, root: str) -> list[str]:
        """Say of every link below `root` that leads nowhere where it leads."""
        if not self.has(root):
            return [] if (broken := self.broken_link(root)) is None else [broken]
        found = []
        for path in (root, *self.groups(root)):
            group = self._get(path)
            names = _names(group) if isinstance(group, h5py.Group) else []
            gone = [f"{path}/{name}" for name in names if self._get(f"{path}/{name}") is None]
            found += [text for text in map(self.broken_link, gone) if text is not None]
        return found

    def shape(self, path: str) -> tuple[int, ...] | None:
        """Return the shape of an array without reading it; None where there is none."""
        found = self._array(path)
        if found is None:
            return None
        # HDF5 knows arrays without a shape, which hold nothing at all.
        return (0,) if found.shape is None else tuple(found.shape)

    def absent_part(self, path: str) -> str | None:
        """Say which part of an array lies in another file that is not there; None where all is there."""
        found = self._array(path)
        return None if found is None else absent_part(found)

    def filled_part(self, path: str) -> str | None:
        """Return None: HDF5 keeps the parts of an array in one file, and writes them when they are given."""
        return None

    def read(self, path: str) -> NDArray[Any]:
        """Return an array whole; text as str objects, whatever its encoding."""
        found = self._array(path)
        if found is None:
            found = self._h5[path]  # raises what is wrong with it
        if found.shape is None:
            return np.zeros(0, dtype=object if h5py.check_string_dtype(found.dtype) else found.dtype)
        values = np.asarray(_values(found, path, ()))
        if h5py.check_string_dtype(found.dtype):
            return decoded(values)
        names = h5py.check_enum_dtype(found.dtype)
        if names is None or values.dtype.kind == "b":
            return values
        by_code = {code: name for name, code in names.items()}
        named = np.array([by_code.get(code, str(code)) for code in values.ravel().tolist()], dtype=object)
        return named.reshape(values.shape)

    def dtype(self, path: str) -> np.dtype[Any] | None:
        """Return the type of an array of plain numbers; None where there is none, or it is of others."""
        found = self._array(path)
        is_plain = found is not None and found.dtype.kind in "iuf" and not h5py.check_enum_dtype(found.dtype)
        return found.dtype if found is not None and is_plain else None

    def read_into(self, path: str, out: NDArray[Any]) -> None:
        """Read an array of plain numbers into another of its shape and type, in blocks along its first axis.

        Raises
        ------
        UnknownCompressionError, OSError
            As `read` does.
        """
        found = self._array(path)
        if found is None:
            found = self._h5[path]  # raises what is wrong with it
        row_bytes = max(1, found.dtype.itemsize * int(np.prod(found.shape[1:])))
        # Whole chunks: each is unpacked once.
        chunk = found.chunks[0] if found.chunks else 1
        rows = max(chunk, _TOGETHER_BYTES // row_bytes // chunk * chunk)
        for lo in range(0, len(out), rows):
            out[lo : lo + rows] = _values(found, path, slice(lo, lo + rows))
            give_back(out)

    def ends(self, path: str) -> tuple[float, float] | None:
        """Return the first and the last number of a list; None where it is none, or empty."""
        found = self._array(path)
        if found is None or found.dtype.kind not in "iuf" or found.ndim != 1 or not found.size:
            return None
        return float(_values(found, path, 0)), float(_values(found, path, -1))

    def attribute(self, path: str, name: str) -> Any:
        """Return an attribute of a group or array; None where there is none, or it is of an unknown type."""
        if (path, name) not in self._attributes:
            self._attributes[path, name] = self._attribute(path, name)
        return self._attributes[path, name]

    def groups(self, *roots: str) -> Iterator[str]:
        """Yield the path of every group below the roots, in order, through links.

        Each object comes once, by its shortest path, and by the one it lies at before those that link to it.
        Links back to the whole file, or to another root, are not followed.
        """
        starts = [(root, start) for root in roots if isinstance(start := self._get(root), h5py.Group)]
        seen = {_identity(self._h5), *(_identity(start) for _, start in starts)}
        for root, start in starts:
            # Names below a group sort after it and before the group that follows it.
            yield from sorted(_below(root, start, seen), key=lambda path: path.split("/"))

    def arrays(self, root: str) -> list[str]:
        """Return the names of the arrays directly in a group."""
        group = self._get(root)
        if not isinstance(group, h5py.Group):
            return []
        return [name for name in _names(group) if self._array(f"{root}/{name}") is not None]

    def stored_bytes(self, path: str) -> int:
        """Return the bytes an array takes in the file, compressed as it is; 0 where there is none."""
        found = self._array(path)
        return 0 if found is None else int(found.id.get_storage_size())

    def _get(self, path: str) -> h5py.Group | h5py.Dataset | None:
        if path not in self._objects:
            self._objects[path] = _get(self._h5, path)
        return self._objects[path]

    def _attribute(self, path: str, name: str) -> Any:
        found = self._get(path) if path else self._h5
        try:
            value = None if found is None else found.attrs.get(name)
        except (OSError, TypeError, ValueError):
            return None
        return np.zeros(0) if isinstance(value, h5py.Empty) else value

    def _array(self, path: str) -> h5py.Dataset | None:
        found = self._get(path)
        return found if isinstance(found, h5py.Dataset) else None


def _values(found: h5py.Dataset, path: str, at: tuple[()] | int | slice) -> Any:
    try:
        return found[at]
    except OSError as error:
        if lacking := filters_lacking(found):
            raise UnknownCompressionError(lacking_words(path, lacking)) from error
        return found[at]  # the filter was installed, and is loaded by now


def _get(group: h5py.Group, path: str) -> h5py.Group | h5py.Dataset | None:
    try:
        return group.get(path)
    except (KeyError, OSError, RuntimeError, ValueError):
        # What a link to a file that is gone, or a cycle of links, raises.
        return None


def _names(group: h5py.Group) -> list[str]:
    """Return the names in a group; of one that is no UTF-8, as in a damaged file, nothing can be asked."""
    return [name for name in group if isinstance(name, str)]


def _below(root: str, start: h5py.Group, seen: set[tuple[int, int]]) -> list[str]:
    """Return the paths of groups that were not seen, level by level, and note what is seen."""
    found, level = [], [(root, start)]
    while level:
        children: list[tuple[bool, str, h5py.Group]] = []
        for path, group in level:
            for name in _names(group):
                item = _get(group, name)
                if isinstance(item, h5py.Group) and _identity(item) not in seen:
                    is_link = not isinstance(group.get(name, getlink=True), h5py.HardLink)
                    children.append((is_link, f"{path}/{name}", item))
        level = []
        for _, path, item in sorted(children, key=lambda child: child[0]):
            if _identity(item) not in seen:
                seen.add(_identity(item))
                found.append(path)
                level.append((path, item))
    return found


def _identity(item: h5py.Group) -> tuple[int, int]:
    info = h5py.h5o.get_info(item.id)
    return int(info.fileno), int(info.addr)


def decoded(values: NDArray[Any]) -> NDArray[Any]:
    r"""Return text as str objects: UTF-8 or UTF-16, or else Latin-1, which has a character for every byte.

    Examples
    --------
    >>> decoded(np.array([b"25 \xb5m", b"caf\xc3\xa9", b"h\0i\0t"])).tolist()
    ['25 µm', 'café', 'hit']
    """
    out = np.empty(values.shape, dtype=object)
    for at, value in np.ndenumerate(values):
        out[at] = _text(value)
    return out


def _text(value: Any) -> str:
    if not isinstance(value, bytes):
        return str(value)
    for encoding in (_wide_encoding(value), "utf-8"):
        try:
            if encoding:
                # What numpy takes for padding is half of the last character.
                padded = value + b"\0" * (len(value) % 2) if encoding.startswith("utf-16") else value
                return padded.decode(encoding).rstrip("\0")
        except UnicodeDecodeError:
            continue
    return value.decode("latin-1")


def _wide_encoding(value: bytes) -> str:
    """Return the UTF-16 a text is in, by its mark or by every other byte being 0; empty: it is none."""
    if value[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        return "utf-16"
    first, second = value[::2], value[1::2]
    if second and 0 not in first and not any(second):
        return "utf-16-le"
    return "utf-16-be" if second and 0 not in second and not any(first) else ""


def open_hdf5(path: Path) -> h5py.File:
    """Open a file without locks, which network disks often lack.

    Raises
    ------
    OSError
        As `h5py.File` does.
    """
    try:
        return h5py.File(path, "r", locking=False)
    except OSError as error:
        # A file this process has open already, say in a notebook, must be opened with the same locking.
        if "locking flag" not in str(error):
            raise
        return h5py.File(path, "r")


def size_of_stream(stream: Readable) -> int:
    """Return the number of bytes of a stream; its position stays.

    Examples
    --------
    >>> import io
    >>> size_of_stream(io.BytesIO(b"abc"))
    3
    """
    here = stream.tell()
    size = stream.seek(0, os.SEEK_END)
    stream.seek(here)
    return size
