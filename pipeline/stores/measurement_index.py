"""A copy of a catalog's measurements that is quick to read: one Parquet file, made of the lines.

The copy says of which files it is made, and how much of each. Lines written after it are read beside it; what
was changed or taken away counts as it stands now. It may be deleted at any time, and is written anew by
whoever reads, once much stands beside it. A folder that may not be written to is read without.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import stat
import time
import zlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nwb_latents.pipeline.errors import MachineError
from nwb_latents.pipeline.nwb.file_kinds import kind_of_no_file
from nwb_latents.pipeline.stores.atomic import machine_error, write_bytes
from nwb_latents.pipeline.stores.lenient import say
from nwb_latents.pipeline.stores.measurement_lines import SUFFIX, read_lines, say_spoilt
from nwb_latents.pipeline.stores.measurement_table import (
    FILE,
    column_types,
    empty_table,
    join_tables,
    make_table,
)
from nwb_latents.pipeline.stores.plain_files import NoPlainFileError, link_to_nowhere, link_words, open_file

if TYPE_CHECKING:
    from os import stat_result
    from typing import BinaryIO

logger = logging.getLogger(__name__)

Where = Mapping[str, Sequence[str]]

INDEX_VERSION = 3
"""Raised when the copy is laid out otherwise."""

LEAST_BYTES = 1_000_000
LEAST_SHARE = 0.25
"""The copy is written anew when so many bytes, and this share of what it holds, stand beside it."""

SORTED_BY = "session"
ROW_GROUP = 32_768
CHECKED_BYTES = 1024
FORGOTTEN_AFTER_S = 30 * 86_400.0
"""The copy of another version of this program is removed when it was not written for this long."""

TRIES = 5
_PARTS = b"nwb_latents.parts"


@dataclass(frozen=True)
class Part:
    """How much of one file the copy holds.

    Attributes
    ----------
    n_bytes, n_lines
        Bytes and whole lines that are in it.
    time
        When the file was last changed then, ns; 0: while it was read.
    check
        Checksum of the last of these bytes.
    spoilt
        Lines among them that are no measurements, counted from 1.
    """

    n_bytes: int
    n_lines: int
    time: int
    check: int
    spoilt: tuple[int, ...] = ()


NOTHING = Part(0, 0, 0, 0)


def read_table(
    folder: Path, columns: Sequence[str] | None = None, where: Mapping[str, Sequence[str]] | None = None
) -> pa.Table:
    """Read the measurements of a folder, in no particular order.

    Parameters
    ----------
    folder
        Folder of the lines; where there is none, there are no measurements.
    columns
        Those wanted (`measurement_table.column_types`), ``file`` among them; default: all.
    where
        Column of text → the texts wanted in it; default: all rows.

    Raises
    ------
    MachineError
        If a file cannot be read.
    """
    for left in reversed(range(TRIES)):
        try:
            return _read(folder, list(columns or column_types()), where or {})
        except OSError as error:
            # On a network disk, a copy that is replaced while it is read goes away under the reader.
            if error.errno not in {errno.ESTALE, errno.ENOENT} or not left:
                place = folder / Path(error.filename).name if isinstance(error.filename, str) else folder
                raise machine_error(error, place, doing="read the measurements") from error
    raise AssertionError


def _read(folder: Path, columns: list[str], where: Where) -> pa.Table:
    files = _files(folder)
    index = folder / index_name()
    with ExitStack() as opened:
        copy = opened.enter_context(open_file(index)) if os.path.lexists(index) else None
        parts = _parts(copy)
        held = {name: _still_holds(folder / name, parts.get(name), there) for name, there in files.items()}
        n_held = sum(part.n_bytes for part in held.values())
        n_beside = sum(there.st_size for there in files.values()) - n_held
        renew = n_beside > max(LEAST_BYTES, LEAST_SHARE * n_held)
        chosen: tuple[list[str], Where] = (list(column_types()), {}) if renew else (columns, where)
        known = _indexed(copy, *chosen, files=[name for name, part in held.items() if part.n_bytes])
    fresh = _beside(folder, files, held)
    for name, part in sorted({**held, **{name: part for name, (part, _) in fresh.items()}}.items()):
        say_spoilt(folder / name, part.spoilt)
    if not renew:
        return join_tables([known, *(_chosen(table, *chosen) for _, table in fresh.values())])
    everything = join_tables([known, *(table for _, table in fresh.values())])
    _write(index, everything, held | {name: part for name, (part, _) in fresh.items()})
    return _chosen(everything, columns, where)


def index_name() -> str:
    """Return the file name of the copy, another one for each set of columns."""
    said = json.dumps([INDEX_VERSION, [(name, str(kind)) for name, kind in column_types().items()]])
    return f".index-{hashlib.sha256(said.encode()).hexdigest()[:8]}.parquet"


def _files(folder: Path) -> dict[str, stat_result]:
    if not folder.is_dir():
        if (link := link_to_nowhere(folder)) is not None:
            said = link_words(link)
            raise MachineError(f"{folder}: cannot be read: {said if link == folder else f'{link}: {said}'}")
        if folder.exists():
            raise MachineError(
                f"{folder}: is a file; expected the folder of the catalog's measurements. Move the file "
                "away, and put the folder back where there was one."
            )
        return {}
    there = sorted(path for path in folder.glob("[!.]*") if SUFFIX in path.name.lower())
    found = {path.name: _stat(path) for path in there if path.name.endswith(SUFFIX)}
    files = {name: one for name, one in found.items() if stat.S_ISREG(one.st_mode)}
    if len(files) < len(there):
        others = ", ".join(
            _named(path.name, found.get(path.name)) for path in there if path.name not in files
        )
        say(
            f"{folder}: {others}: not read. Measurements are in files called *{SUFFIX}, directly in this "
            "folder, not packed."
        )
    return files


def _stat(path: Path) -> stat_result:
    try:
        return path.stat()
    except OSError as error:
        if path.is_symlink():
            raise NoPlainFileError(error.errno, link_words(path), str(path)) from error
        raise


def _named(name: str, found: stat_result | None) -> str:
    kind = kind_of_no_file(found.st_mode) if found is not None else None
    return f"{name} ({kind})" if kind else name


def _parts(copy: BinaryIO | None) -> dict[str, Part]:
    """Return what the copy holds; nothing if there is none that can be read."""
    if copy is None:
        return {}
    try:
        said = json.loads(pq.read_schema(copy).metadata[_PARTS])
        return {name: Part(**{**part, "spoilt": tuple(part["spoilt"])}) for name, part in said.items()}
    except (pa.ArrowException, ValueError, KeyError, TypeError) as error:
        logger.debug("the copy is made anew: %s", error)
        return {}


def _still_holds(path: Path, part: Part | None, there: stat_result) -> Part:
    """Return how much of a file the copy holds as it stands now: all it did, or nothing."""
    if part is None or there.st_size < part.n_bytes:
        return NOTHING
    if there.st_size == part.n_bytes:
        return part if there.st_mtime_ns == part.time else NOTHING
    return part if _check(path, part.n_bytes) == part.check else NOTHING


def _check(path: Path, n_bytes: int) -> int:
    begin = max(0, n_bytes - CHECKED_BYTES)
    with open_file(path) as file:
        file.seek(begin)
        return zlib.crc32(file.read(n_bytes - begin))


def _indexed(
    copy: BinaryIO | None, columns: Sequence[str], where: Where, *, files: Sequence[str]
) -> pa.Table:
    """Read those rows of the copy that stem from `files`."""
    if copy is None or not files:
        return _chosen(empty_table(), columns, {})
    copy.seek(0)
    content = pq.ParquetFile(copy)
    groups = [
        number
        for number in range(content.num_row_groups)
        if _may_hold(content.metadata.row_group(number), where.get(SORTED_BY, ()))
    ]
    needed = [name for name in column_types() if name in {*columns, *where}]
    return _chosen(content.read_row_groups(groups, columns=needed), columns, {**where, FILE: files})


def _may_hold(group: pq.RowGroupMetaData, wanted: Sequence[str]) -> bool:
    """Whether a part of the copy, which says from which session to which it goes, may hold those wanted."""
    columns = [group.column(number) for number in range(group.num_columns)]
    said = next(column.statistics for column in columns if column.path_in_schema == SORTED_BY)
    if not wanted or said is None or not said.has_min_max:
        return True
    return any(said.min <= one <= said.max for one in wanted)


def _beside(
    folder: Path, files: Mapping[str, stat_result], held: Mapping[str, Part]
) -> dict[str, tuple[Part, pa.Table]]:
    """Read what the copy does not hold: of each file how much has been read then, and the rows."""
    found = {}
    for name, there in files.items():
        part, path = held[name], folder / name
        if there.st_size == part.n_bytes:
            continue
        tables, n_bytes, n_lines, spoilt = [empty_table()], part.n_bytes, part.n_lines, list(part.spoilt)
        for lines in read_lines(path, n_bytes=n_bytes, n_lines=n_lines):
            tables.append(make_table(lines.records, file=name, lines=lines.numbers))
            n_bytes, n_lines = lines.n_bytes, lines.n_lines
            spoilt += lines.spoilt
        now = path.stat()
        changed = now.st_mtime_ns if now.st_size == n_bytes else 0
        part = Part(n_bytes, n_lines, changed, _check(path, n_bytes), tuple(spoilt))
        found[name] = part, join_tables(tables)
    return found


def _chosen(table: pa.Table, columns: Sequence[str], where: Where) -> pa.Table:
    for name, wanted in where.items():
        table = table.filter(pc.is_in(table[name], pa.array(wanted, pa.string())))
    return table.select([*columns])


def _write(index: Path, table: pa.Table, parts: Mapping[str, Part]) -> None:
    """Write the copy, if the folder may be written to; others of it that nobody uses any more are removed."""
    said = json.dumps({name: asdict(part) for name, part in parts.items()})
    content = pa.BufferOutputStream()
    in_order = table.take(pc.sort_indices(table[SORTED_BY].cast(pa.string())))
    pq.write_table(
        in_order.replace_schema_metadata({_PARTS: said}),
        content,
        compression="zstd",
        row_group_size=ROW_GROUP,
    )
    try:
        write_bytes(index, content.getvalue().to_pybytes())
        for other in index.parent.glob(".index-*.parquet"):
            if time.time() - other.stat().st_mtime > FORGOTTEN_AFTER_S:
                other.unlink(missing_ok=True)
    except (MachineError, OSError) as error:
        logger.debug("the measurements are read without a copy: %s", error)
