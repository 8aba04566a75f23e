"""NWB in HDF5: a path, or anything binary that can be read and sought."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Protocol

import h5py
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray


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

    def has(self, path: str) -> bool:
        """Whether there is a group or an array at `path`."""
        return path in self._h5

    def shape(self, path: str) -> tuple[int, ...] | None:
        """Return the shape of an array without reading it; None where there is none."""
        found = self._array(path)
        return None if found is None else tuple(found.shape)

    def read(self, path: str) -> NDArray[Any]:
        """Return an array whole; text as str objects."""
        found = self._h5[path]
        if h5py.check_string_dtype(found.dtype):
            return np.asarray(found.asstr()[()], dtype=object)
        return np.asarray(found[()])

    def attribute(self, path: str, name: str) -> Any:
        """Return an attribute of a group or array; None where there is none."""
        found = self._h5.get(path or "/")
        return None if found is None else found.attrs.get(name)

    def groups(self, root: str) -> Iterator[str]:
        """Yield the path of every group below `root`, in order."""
        group = self._h5.get(root)
        if not isinstance(group, h5py.Group):
            return
        found: list[str] = []
        group.visititems(
            lambda name, item: found.append(f"{root}/{name}") if isinstance(item, h5py.Group) else None
        )
        yield from found

    def arrays(self, root: str) -> list[str]:
        """Return the names of the arrays directly in a group."""
        group = self._h5.get(root)
        if not isinstance(group, h5py.Group):
            return []
        return [name for name in group if isinstance(group.get(name), h5py.Dataset)]

    def stored_bytes(self, path: str) -> int:
        """Return the bytes an array takes in the file, compressed as it is; 0 where there is none."""
        found = self._array(path)
        return 0 if found is None else int(found.id.get_storage_size())

    def _array(self, path: str) -> h5py.Dataset | None:
        found = self._h5.get(path)
        return found if isinstance(found, h5py.Dataset) else None


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
