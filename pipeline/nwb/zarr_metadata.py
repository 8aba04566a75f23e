"""What describes groups and arrays of zarr on disk: JSON files of format 2 or 3, held against the format."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from nwb_latents.pipeline.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

FILES = (".zarray", ".zgroup", ".zattrs", "zarr.json")
"""Names of the files that describe what is in a folder."""

UNDESCRIBED = (
    "Copy or fetch the directory again, with its files whose names begin with a dot, which some programs "
    "leave out; or leave the session out."
)
"""What mends a folder whose description is lost."""

_LINKS = "zarr_link"
_CHUNK = re.compile(r"c|\d+(\.\d+)*")
_NEEDED = {
    ".zarray": ("zarr_format", "shape", "chunks", "dtype", "compressor", "fill_value", "order"),
    "zarr.json": ("zarr_format", "shape", "chunk_grid", "data_type", "codecs", "fill_value"),
}
_KINDS: dict[str, type] = {"codecs": list, "chunk_grid": dict, "chunk_key_encoding": dict}


def is_array(folder: Path) -> bool:
    """Whether a folder is described as an array."""
    if (folder / ".zarray").is_file():
        return True
    return (folder / "zarr.json").is_file() and read_json(folder / "zarr.json").get("node_type") == "array"


def is_group(folder: Path) -> bool:
    """Whether a folder is described as a group."""
    described = [folder / name for name in (".zgroup", "zarr.json") if (folder / name).is_file()]
    return any(read_json(path).get("node_type", "group") == "group" for path in described)


def lost_description(folder: Path) -> str | None:
    """Say what a folder holds that nothing describes, in words that follow its name; None: nothing.

    Parameters
    ----------
    folder
        One that is described neither as an array nor as a group.

    Examples
    --------
    >>> folder = getfixture("tmp_path")
    >>> lost_description(folder)
    >>> _ = (folder / "0.0").write_bytes(b"")
    >>> lost_description(folder)
    'holds chunks of an array but no .zarray (or zarr.json) that says their shape and type'
    """
    if not folder.is_dir():
        return None
    if any((child / name).is_file() for child in folder.iterdir() for name in FILES):
        return "holds groups or arrays but no .zgroup (or zarr.json)"
    if any(_CHUNK.fullmatch(child.name) for child in folder.iterdir()):
        return "holds chunks of an array but no .zarray (or zarr.json) that says their shape and type"
    if (folder / ".zattrs").is_file():
        return "holds attributes (.zattrs) but neither a .zarray nor a .zgroup"
    return None


def array_description(folder: Path) -> tuple[str, dict[str, Any]]:
    """Return the name of the file that describes an array, and what it says."""
    name = ".zarray" if (folder / ".zarray").is_file() else "zarr.json"
    return name, read_json(folder / name)


def why_no_array(name: str, stored: dict[str, Any]) -> str | None:
    """Say what in the description of an array does not fit the format; None where all does.

    Parameters
    ----------
    name
        ``.zarray`` or ``zarr.json``.
    stored
        What the file says.

    Examples
    --------
    >>> why_no_array(".zarray", {"zarr_format": 2, "shape": [3], "chunks": [3]})
    '.zarray lacks dtype, compressor, fill_value, order'
    """
    shape = stored.get("shape")
    if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
        return f"{name} has the shape {shape!r:.60}, expected the length of each axis"
    if lacking := [key for key in _NEEDED[name] if key not in stored]:
        return f"{name} lacks {', '.join(lacking)}"
    if (other := _of_another_kind(stored)) is not None:
        return f"{name} has {other}"
    chunks = chunk_shape(stored)
    if chunks is None and "chunk_grid" in stored:
        return None
    is_list = isinstance(chunks, list) and len(chunks) == len(shape)
    if not is_list or any(type(n) is not int or n < min(of, 1) for n, of in zip(chunks, shape, strict=True)):
        return f"{name} has chunks of {chunks!r:.60}, expected a length for each of {len(shape)} axes"
    return None


def _of_another_kind(stored: dict[str, Any]) -> str | None:
    """Say what of format 3 is no list or object where the format has one; None: all is."""
    for key, kind in _KINDS.items():
        if key in stored and not isinstance(stored[key], kind):
            return f"{stored[key]!r:.60} for {key}, expected {'a list' if kind is list else 'an object'}"
        within = stored[key].get("configuration", {}) if kind is dict and key in stored else {}
        if not isinstance(within, dict):
            return f"{within!r:.60} for the configuration of {key}, expected an object"
    return None


def chunk_shape(stored: dict[str, Any]) -> Any:
    """Return what is said of the shape of chunks; None of a grid of another kind than the regular one."""
    if "chunk_grid" not in stored:
        return stored.get("chunks")
    return stored["chunk_grid"].get("configuration", {}).get("chunk_shape")


def attributes(folder: Path) -> dict[str, Any]:
    """Return the attributes of a group or array."""
    for name in (".zattrs", "zarr.json"):
        if (folder / name).is_file():
            content = read_json(folder / name)
            found = content.get("attributes", {}) if name == "zarr.json" else content
            if not isinstance(found, dict):
                raise DataError(
                    f"{folder / name}: attributes is {found!r:.60}, expected an object. Fetch the "
                    "directory again."
                )
            return dict(found)
    return {}


def links(folder: Path) -> dict[str, dict[str, str]]:
    """Return the links of a group by their names."""
    found = attributes(folder).get(_LINKS, [])
    names = {"name", "path"}
    if not isinstance(found, list) or not all(isinstance(k, dict) and names <= k.keys() for k in found):
        raise DataError(
            f"{folder}: {_LINKS} among the attributes is {found!r:.60}, expected a list of links, each with "
            "name and path. Fetch the directory again."
        )
    return {str(link["name"]): {key: str(value) for key, value in link.items()} for link in found}


def read_json(path: Path) -> dict[str, Any]:
    """Return what a file of metadata says.

    Raises
    ------
    DataError
        If it is no object of JSON.
    """
    # Python's reader takes NaN and Infinity, which such files hold as bare words.
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not readable as JSON: {error}. Fetch the directory again.") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: not metadata of zarr: expected an object. Fetch the directory again.")
    return content
