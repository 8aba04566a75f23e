"""Consolidated metadata of zarr: a copy of all descriptions in one file, held against those it was made of.

What is read is what stands beside the arrays. The copy tells of what was there and is no more; and other
programs read nothing but the copy, so that where the two disagree they see another recording.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.nwb.zarr_metadata import FILES, read_json

_AGAIN = "consolidate it anew with zarr.consolidate_metadata"
_SCHEMAS = "specifications/"
_SHOWN = 3


def disagreements(root: Path, name: str) -> list[str]:
    """Say where the consolidated metadata of a directory differ from what is there; empty: nowhere.

    Parameters
    ----------
    root
        The directory.
    name
        What it is called in messages.

    Raises
    ------
    DataError
        If they are damaged, or name what is not there: then a part of the directory is lost.
    """
    where, copied = _copied(root, name)
    if copied is None:
        return []
    lost = [path for path in copied if not (root / path).is_file()]
    if lost:
        raise DataError(
            f"{name}: {where} names what is not there: {_listed(lost)}. Fetch the "
            f"directory again; if they were taken out on purpose, {_AGAIN}."
        )
    said = []
    other = [path for path in copied if _plain(read_json(root / path)) != _plain(copied[path])]
    if other:
        said.append(
            f"{where} says other things than {_listed(other)}: these files are read; programs that read "
            f"{where} see another recording; {_AGAIN}"
        )
    unlisted = [path for path in _described(root) if path not in copied]
    if unlisted:
        said.append(
            f"{where} does not list {_listed(unlisted)}: they are read; programs that read {where} do not "
            f"see them; {_AGAIN}"
        )
    return said


def _copied(root: Path, name: str) -> tuple[str, dict[str, Any] | None]:
    """Return where the copy stands, and what it says of each file; None where there is no copy."""
    if (root / ".zmetadata").is_file():
        where, found = ".zmetadata", read_json(root / ".zmetadata").get("metadata")
    elif (root / "zarr.json").is_file():
        where = "consolidated_metadata of zarr.json"
        inside = read_json(root / "zarr.json").get("consolidated_metadata")
        if inside is None:
            return where, None
        found = inside.get("metadata") if isinstance(inside, dict) else None
        found = (
            {f"{path}/zarr.json": node for path, node in found.items()} if isinstance(found, dict) else found
        )
    else:
        return "", None
    if not isinstance(found, dict):
        raise DataError(
            f"{name}: {where} has {found!r:.60} for metadata, expected an object with an entry for each "
            f"group and array. Fetch the directory again, or {_AGAIN}."
        )
    # A name may be anything; what is no description within the directory is none of these. The schemas that a
    # file carries are never read.
    return where, {
        path: node
        for path, node in found.items()
        if path.rpartition("/")[2] in FILES
        and ".." not in path.split("/")
        and not path.startswith(("/", _SCHEMAS))
    }


def _described(root: Path) -> list[str]:
    """Return the files of format 2 or 3 that describe something, but for that of the root of format 3."""
    found = []
    for folder, names, files in os.walk(root):
        if ".zarray" in files or ("zarr.json" in files and "c" in names):
            names.clear()
        at = Path(folder).relative_to(root)
        found += [(at / name).as_posix() for name in files if name in FILES]
    return sorted(path for path in found if path != "zarr.json" and not path.startswith(_SCHEMAS))


def _plain(content: Any) -> str:
    """Return a description as text: without what it leaves out at will, NaN as a word."""
    if isinstance(content, dict):
        content = {key: value for key, value in content.items() if key != "consolidated_metadata"}
        content = {key: value for key, value in content.items() if value not in ({}, None)}
    return json.dumps(content, sort_keys=True)


def _listed(paths: list[str]) -> str:
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return ", ".join(sorted(paths)[:_SHOWN]) + more
