"""NWB-Zarr: the directories hdmf-zarr writes, read array by array.

Groups, attributes and links are read from their JSON files, arrays by zarr. The hierarchy is never opened as
a whole: hdmf-zarr gives the fill value 0 to some arrays of text, which zarr 3 refuses together with the
consolidated metadata they stand in.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.nwb.hdf5_tree import decoded
from nwb_latents.pipeline.nwb.zarr_chunks import cut_chunk, lost_chunks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import zarr
    from numpy.typing import NDArray

_LINKS = "zarr_link"
_MAX_LINKS = 8
_NEVER_FILL = re.compile(r"(^|_)(times?|timestamps)$")
"""Names of arrays that hold times."""


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
            links = {} if parent is None else _links(parent)
            if parts[n - 1] not in links:
                return None
            link = links[parts[n - 1]]
            where = link.get("source", ".")
            outside = "" if where in {".", ""} else f" in {where}"
            return f"/{here} is a link to {link['path']}{outside}"
        return None

    def broken_links(self, root: str) -> list[str]:
        """Say of every link below `root` that leads nowhere where it leads."""
        found = []
        for path in (root, *self.groups(root)):
            folder = self._find(path)
            names = [] if folder is None else list(_links(folder))
            said = (self.broken_link(f"{path}/{name}") for name in names)
            found += [text for text in said if text is not None]
        return found

    def shape(self, path: str) -> tuple[int, ...] | None:
        """Return the shape of an array without reading it; None where there is none."""
        folder = self._array_folder(path)
        if folder is None:
            return None
        if _attributes(folder).get("zarr_dtype") == "scalar":
            return ()
        described = folder / (".zarray" if (folder / ".zarray").is_file() else "zarr.json")
        shape = _json(described).get("shape")
        if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
            raise DataError(
                f"{self._root.name}: /{path}: {described.name} has the shape {shape!r:.60}, expected the "
                "length of each axis. Fetch the directory again."
            )
        return tuple(shape)

    def read(self, path: str) -> NDArray[Any]:
        """Return an array whole; text as str objects."""
        folder = self._array_folder(path)
        if folder is None:
            raise KeyError(path)
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
        return values.reshape(self.shape(path) or ()) if values.size == 1 else values

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
        return None if folder is None else _attributes(folder).get(name)

    def absent_part(self, path: str) -> str | None:
        """Say which chunks are lost of an array that cannot have any of its fill alone; None: none.

        Chunks that are not there are the array's fill, 0: times of spikes, samples and trials hold no such
        run.
        """
        folder = self._array_folder(path)
        if folder is None or not _NEVER_FILL.search(path.rsplit("/", 1)[-1]):
            return None
        return lost_chunks(folder)

    def groups(self, *roots: str) -> Iterator[str]:
        """Yield the path of every group below the roots, in order."""
        for root in roots:
            folder = self._find(root)
            if folder is None or _is_array(folder):
                continue
            for child in sorted(p for p in folder.iterdir() if p.is_dir()):
                if not _is_array(child):
                    path = f"{root}/{child.name}"
                    yield path
                    yield from self.groups(path)

    def arrays(self, root: str) -> list[str]:
        """Return the names of the arrays directly in a group."""
        folder = self._find(root)
        if folder is None or _is_array(folder):
            return []
        linked = list(_links(folder))
        names = [p.name for p in folder.iterdir() if p.is_dir()] + linked
        return sorted(name for name in names if self._array_folder(f"{root}/{name}") is not None)

    def stored_bytes(self, path: str) -> int:
        """Return the bytes an array takes on disk, compressed as it is; 0 where there is none."""
        folder = self._array_folder(path)
        return 0 if folder is None else _folder_bytes(folder)

    def _open(self, folder: Path, path: str) -> zarr.Array[Any]:
        import zarr  # noqa: PLC0415

        try:
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
        return folder if folder is not None and _is_array(folder) else None

    def _find(self, path: str, *, depth: int = 0) -> Path | None:
        """Return the folder of a group or array, through links anywhere on the way."""
        folder = self._root
        parts = [part for part in path.split("/") if part]
        for i, part in enumerate(parts):
            links = _links(folder)
            if part in links and not (folder / part).is_dir():
                link = links[part]
                if link.get("source", ".") not in {".", ""} or depth == _MAX_LINKS:
                    return None
                return self._find("/".join([link["path"], *parts[i + 1 :]]), depth=depth + 1)
            folder /= part
            if not (_is_array(folder) or is_zarr(folder)):
                return None
        return folder


def _text_with_a_number_for_its_fill(folder: Path) -> zarr.Array[Any] | None:
    """Return an array of text that hdmf-zarr gave the fill value 0, such as ``session_start_time``."""
    import zarr  # noqa: PLC0415
    from zarr.core.buffer import default_buffer_prototype  # noqa: PLC0415

    described = folder / ".zarray"
    content = _json(described) if described.is_file() else {}
    if not re.fullmatch(r"[|<>]([SU]\d+|O)", str(content.get("dtype"))) or content.get("fill_value") != 0:
        return None
    as_bytes = default_buffer_prototype().buffer.from_bytes
    files = {
        path.name: as_bytes(path.read_bytes()) for path in folder.iterdir() if not path.name.startswith(".")
    }
    files[".zarray"] = as_bytes(json.dumps(content | {"fill_value": None}).encode())
    return zarr.open_array(zarr.storage.MemoryStore(files), mode="r")


def _is_array(folder: Path) -> bool:
    if (folder / ".zarray").is_file():
        return True
    described = folder / "zarr.json"
    return described.is_file() and _json(described).get("node_type") == "array"


def _attributes(folder: Path) -> dict[str, Any]:
    for name in (".zattrs", "zarr.json"):
        if (folder / name).is_file():
            content = _json(folder / name)
            found = content.get("attributes", {}) if name == "zarr.json" else content
            if not isinstance(found, dict):
                raise DataError(
                    f"{folder / name}: attributes is {found!r:.60}, expected an object. Fetch the "
                    "directory again."
                )
            return dict(found)
    return {}


def _links(folder: Path) -> dict[str, dict[str, str]]:
    """Return the links of a group by their names."""
    found = _attributes(folder).get(_LINKS, [])
    names = {"name", "path"}
    if not isinstance(found, list) or not all(isinstance(k, dict) and names <= k.keys() for k in found):
        raise DataError(
            f"{folder}: {_LINKS} among the attributes is {found!r:.60}, expected a list of links, each with "
            "name and path. Fetch the directory again."
        )
    return {str(link["name"]): {key: str(value) for key, value in link.items()} for link in found}


def _json(path: Path) -> dict[str, Any]:
    # Python's reader takes NaN and Infinity, which such files hold as bare words.
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not readable as JSON: {error}. Fetch the directory again.") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: not metadata of zarr: expected an object. Fetch the directory again.")
    return content


def _folder_bytes(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
