"""NWB-Zarr: the directories hdmf-zarr writes, read array by array.

Groups, attributes and links are read from their JSON files, arrays by zarr. The hierarchy is never opened as
a whole: hdmf-zarr gives the fill value 0 to some arrays of text, which zarr 3 refuses together with the
consolidated metadata they stand in.
"""

from __future__ import annotations

import json
import re
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.nwb.hdf5_tree import decoded
from nwb_latents.pipeline.nwb.zarr_chunks import cut_chunk, lost_chunks
from nwb_latents.pipeline.nwb.zarr_metadata import (
    UNDESCRIBED,
    array_description,
    attributes,
    is_array,
    is_group,
    links,
    lost_description,
    read_json,
    why_no_array,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import zarr
    from numpy.typing import NDArray

_MAX_LINKS = 8
_NEVER_FILL = re.compile(r"(^|_)(times?|timestamps|intervals)$")
"""Names of arrays that hold times."""
_INDEX = "_index"


def is_zarr(path: Path) -> bool:
    """Whether a path is a zarr directory."""
    return path.is_dir() and any((path / name).is_file() for name in (".zgroup", "zarr.json"))


class ZarrTree:
    """An NWB-Zarr directory (see `pipeline.nwb.tree.Tree`).

    Parameters
    ----------
    root
        The directory.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    @property
    def size(self) -> int:
        """Bytes of all files in the directory."""
        return _folder_bytes(self._root)

    def has(self, path: str) -> bool:
        """Whether there is a group or an array at `path`."""
        return self._find(path) is not None

    def broken_link(self, path: str) -> str | None:
        """Say where a link on the way to `path` leads that leads nowhere; None where there is none."""
        parts = [part for part in path.split("/") if part]
        for n in range(1, len(parts) + 1):
            here = "/".join(parts[:n])
            if self._find(here) is not None:
                continue
            parent = self._find("/".join(parts[: n - 1]))
            linked = {} if parent is None else links(parent)
            if parts[n - 1] not in linked:
                return None
            link = linked[parts[n - 1]]
            where = link.get("source", ".")
            outside = "" if where in {".", ""} else f" in {where}"
            return f"/{here} is a link to {link['path']}{outside}"
        return None

    def broken_links(self, root: str) -> list[str]:
        """Say of every link below `root` that leads nowhere where it leads."""
        if not self.has(root):
            return [] if (broken := self.broken_link(root)) is None else [broken]
        found = []
        for path in (root, *self.groups(root)):
            folder = self._find(path)
            names = [] if folder is None else list(links(folder))
            said = (self.broken_link(f"{path}/{name}") for name in names)
            found += [text for text in said if text is not None]
        return found

    def shape(self, path: str) -> tuple[int, ...] | None:
        """Return the shape of an array without reading it; None where there is none."""
        folder = self._array_folder(path)
        if folder is None:
            return None
        name, stored = array_description(folder)
        if (why := why_no_array(name, stored)) is not None:
            raise DataError(
                f"{self._root.name}: /{path}: {why}. Fetch the directory again, or leave the session out."
            )
        return () if attributes(folder).get("zarr_dtype") == "scalar" else tuple(stored["shape"])

    def read(self, path: str) -> NDArray[Any]:
        """Return an array whole; text as str objects."""
        folder = self._array_folder(path)
        if folder is None:
            raise KeyError(path)
        # Of a description that does not fit, zarr raises anything.
        shape = self.shape(path) or ()
        if (cut := cut_chunk(folder)) is not None:
            raise OSError(cut)
        try:
            values = np.asarray(self._open(folder, path)[...])
        except (ValueError, TypeError, KeyError, IndexError, RuntimeError, MemoryError) as error:
            # What codecs raise of bytes that are not theirs is anything.
            raise OSError(
                f"{type(error).__name__}: {error}" if isinstance(error, KeyError) else error
            ) from error
        if values.dtype.kind in "TUSO":
            values = decoded(values)
        return values.reshape(shape) if values.size == 1 else values

    def dtype(self, path: str) -> np.dtype[Any] | None:
        """Return the type of an array of plain numbers; None where there is none, or it is of others."""
        folder = self._array_folder(path)
        found = None if folder is None else np.dtype(self._open(folder, path).dtype)
        return found if found is not None and found.kind in "iuf" else None

    def read_into(self, path: str, out: NDArray[Any]) -> None:
        """Read an array of plain numbers into another: whole, which its chunks are checked by."""
        out[...] = self.read(path).reshape(out.shape)

    def ends(self, path: str) -> tuple[float, float] | None:
        """Return the first and the last number of a list; None where it is none, or empty."""
        folder, shape = self._array_folder(path), self.shape(path)
        if folder is None or shape is None or len(shape) != 1 or not shape[0]:
            return None
        found = self._open(folder, path)
        return (float(found[0]), float(found[-1])) if found.dtype.kind in "iuf" else None

    def attribute(self, path: str, name: str) -> Any:
        """Return an attribute of a group or array; None where there is none."""
        folder = self._find(path)
        return None if folder is None else attributes(folder).get(name)

    def absent_part(self, path: str) -> str | None:
        """Say which chunks are lost of an array that cannot have any of its fill alone; None: none.

        Chunks that are not there are the array's fill, 0: times of spikes, samples and trials hold no such
        run, nor do the ends of rows that hold something.
        """
        folder = self._array_folder(path)
        return lost_chunks(folder) if folder is not None and self._is_never_fill(path) else None

    def filled_part(self, path: str) -> str | None:
        """Say which chunks are not there of an array that may have been written without them; None: none."""
        folder = self._array_folder(path)
        if folder is None or self._is_never_fill(path) or (lost := lost_chunks(folder)) is None:
            return None
        fill = array_description(folder)[1]["fill_value"]
        return f"{lost}, which are read as {fill!r:.40}, the value it is filled with"

    def _is_never_fill(self, path: str) -> bool:
        if path.endswith(_INDEX):
            # Ends of rows are all 0 where there is nothing in the rows.
            rows = self.shape(path.removesuffix(_INDEX))
            return rows is not None and rows != () and rows[0] > 0
        # A single one, such as when the session began, is no list of times.
        return self.shape(path) != () and _NEVER_FILL.search(path.rsplit("/", 1)[-1]) is not None

    def groups(self, *roots: str) -> Iterator[str]:
        """Yield the path of every group below the roots, in order."""
        for root in roots:
            folder = self._find(root)
            if folder is None or is_array(folder):
                continue
            for child in sorted(p for p in folder.iterdir() if p.is_dir()):
                path = f"{root}/{child.name}"
                if self._find(path) is not None and not is_array(child):
                    yield path
                    yield from self.groups(path)

    def arrays(self, root: str) -> list[str]:
        """Return the names of the arrays directly in a group."""
        folder = self._find(root)
        if folder is None or is_array(folder):
            return []
        linked = list(links(folder))
        names = [p.name for p in folder.iterdir() if p.is_dir()] + linked
        return sorted(name for name in names if self._array_folder(f"{root}/{name}") is not None)

    def stored_bytes(self, path: str) -> int:
        """Return the bytes an array takes on disk, compressed as it is; 0 where there is none."""
        folder = self._array_folder(path)
        return 0 if folder is None else _folder_bytes(folder)

    def _open(self, folder: Path, path: str) -> zarr.Array[Any]:
        import zarr  # noqa: PLC0415

        try:
            with warnings.catch_warnings():
                # Some write none as an empty list.
                warnings.filterwarnings("ignore", message="Found an empty list of filters")
                return zarr.open_array(str(folder), mode="r")
        except (TypeError, ValueError, KeyError) as error:
            text = _text_with_a_number_for_its_fill(folder)
            if text is not None:
                return text
            raise DataError(
                f"{self._root.name}: array {path} is stored in a way zarr {zarr.__version__} does not read "
                f"({error}). Write the file again with a current hdmf-zarr, or convert it to HDF5."
            ) from error

    def _array_folder(self, path: str) -> Path | None:
        folder = self._find(path)
        return folder if folder is not None and is_array(folder) else None

    def _find(self, path: str, *, depth: int = 0) -> Path | None:
        """Return the folder of a group or array, through links anywhere on the way."""
        folder = self._root
        parts = [part for part in path.split("/") if part]
        for i, part in enumerate(parts):
            linked = links(folder)
            if part in linked and not (folder / part).is_dir():
                link = linked[part]
                if link.get("source", ".") not in {".", ""} or depth == _MAX_LINKS:
                    return None
                return self._find("/".join([link["path"], *parts[i + 1 :]]), depth=depth + 1)
            folder /= part
            if not (is_array(folder) or is_group(folder)):
                if (lost := lost_description(folder)) is not None:
                    here = "/".join(parts[: i + 1])
                    raise DataError(f"{self._root.name}: /{here} {lost}. {UNDESCRIBED}")
                return None
        return folder


def _text_with_a_number_for_its_fill(folder: Path) -> zarr.Array[Any] | None:
    """Return an array of text that hdmf-zarr gave the fill value 0, such as ``session_start_time``."""
    import zarr  # noqa: PLC0415
    from zarr.core.buffer import default_buffer_prototype  # noqa: PLC0415

    described = folder / ".zarray"
    content = read_json(described) if described.is_file() else {}
    if not re.fullmatch(r"[|<>]([SU]\d+|O)", str(content.get("dtype"))) or content.get("fill_value") != 0:
        return None
    as_bytes = default_buffer_prototype().buffer.from_bytes
    files = {
        path.name: as_bytes(path.read_bytes()) for path in folder.iterdir() if not path.name.startswith(".")
    }
    files[".zarray"] = as_bytes(json.dumps(content | {"fill_value": None}).encode())
    return zarr.open_array(zarr.storage.MemoryStore(files), mode="r")


def _folder_bytes(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
