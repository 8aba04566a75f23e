"""Measurements as they are written down: JSON lines, one file for each process that writes.

Nobody writes into another's file, so that nothing has to be locked, and a disk shared by many machines loses
nothing. Adding costs one write and one flush to the disk, however many measurements there are. The files are
the truth: whatever else lies in the folder (`measurement_index`) is made of them and may be deleted.
"""

from __future__ import annotations

import itertools
import json
import os
import threading
import time
import uuid
import warnings
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from pydantic_core import from_json

from nwb_latents.pipeline.errors import CatalogWarning
from nwb_latents.pipeline.stores.atomic import machine_error, machine_name
from nwb_latents.pipeline.stores.plain_files import open_file
from nwb_latents.schemas.measurement import MEASUREMENT_VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from nwb_latents.schemas.measurement import Measurement

SUFFIX = ".jsonl"
BOM = b"\xef\xbb\xbf"
"""What some editors put before everything else."""

BLOCK = 5_000
"""Lines read at once. The more, the more memory, and the longer Python looks for what may be freed."""

STREAK_S = 6 * 3600.0
"""A process that writes for longer than this goes on in another file, so that files stay of a size."""

_CHECK = b',"crc32":"'
"""What comes before the checksum of a line, which is its end; earlier versions wrote none."""

_writers: dict[tuple[int, str], Writer] = {}
_turn = threading.Lock()


def measurement_folder(catalog_path: Path) -> Path:
    """Return the folder of a catalog's measurements, which lies beside it and is called after it.

    Examples
    --------
    >>> from pathlib import Path
    >>> measurement_folder(Path("work/catalog.yaml")).name
    'catalog.measurements'
    """
    return catalog_path.with_name(f"{catalog_path.stem}.measurements")


def as_record(measurement: Measurement) -> dict[str, object]:
    """Return a measurement as it is written; fields at their default are left out, but for the version."""
    return {
        "schema_version": MEASUREMENT_VERSION,
        **measurement.model_dump(mode="json", exclude_defaults=True),
    }


def as_line(measurement: Measurement) -> bytes:
    """Return a measurement as one line.

    Its end is the CRC-32 of what stands before it: a bit that a disk has turned is not read as another
    number.

    Examples
    --------
    >>> from nwb_latents.schemas.measurement import Measurement
    >>> as_line(Measurement(name="co_bps", value=0.1, session="s", recipe_id="r", split="test", n_trials=1,
    ...                     source="reconstruction"))[:45]
    b'{"schema_version":1,"name":"co_bps","value":0'
    """
    content = _content(as_record(measurement))
    return content + _CHECK + b'%08x"}\n' % zlib.crc32(content)


def _content(record: Mapping[str, object]) -> bytes:
    """Return what the checksum of a record is of."""
    return json.dumps(record, separators=(",", ":")).encode().removesuffix(b"}")


def check_appendable(folder: Path) -> None:
    """Raise before hours of work where what is measured could not be written down after them.

    Raises
    ------
    MachineError
        If the folder, or where there is none yet the one it will be in, cannot be written to.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as catalogs:
    ...     check_appendable(Path(catalogs, "catalog.measurements"))
    """
    there = folder if folder.is_dir() else next(one for one in folder.absolute().parents if one.is_dir())
    trial = there / f".{folder.name}.{machine_name()}-{os.getpid()}-{uuid.uuid4().hex[:8]}.tmp"
    try:
        os.close(os.open(trial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        trial.unlink()
    except OSError as error:
        raise machine_error(error, folder, doing="write the measurements") from error


def append_lines(folder: Path, lines: Iterable[bytes]) -> None:
    """Write lines, all at once, into this process's own file of a folder, and flush them to the disk.

    Raises
    ------
    MachineError
        If the folder cannot be made or written to. Some of the lines may be there, and the last of them torn;
        adding the same again does no harm.
    """
    content = b"".join(lines)
    if not content:
        return
    folder = folder.absolute()
    with _turn:
        place = os.getpid(), str(folder)
        try:
            writer = _writers.pop(place, None)
            if writer is None or not writer.append(content):
                writer = Writer.begin(folder)
                if not writer.append(content):
                    raise FileNotFoundError(2, "was taken away while it was written", str(writer.path))
        except OSError as error:
            raise machine_error(error, folder, doing="write the measurements") from error
        # Only a writer that has never failed is kept: behind a torn line there is no going on.
        _writers[place] = writer


@dataclass
class Writer:
    """One process's file: nobody else writes into it.

    Attributes
    ----------
    path
        The file.
    size
        Bytes written.
    until
        When it is to be left for another, by the monotonic clock, s.
    """

    path: Path
    size: int
    until: float

    @classmethod
    def begin(cls, folder: Path) -> Writer:
        """Make a file of a name that no other writer has."""
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        path = folder / f"{now}-{machine_name()}-{os.getpid()}-{uuid.uuid4().hex[:8]}{SUFFIX}"
        folder.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        flush_folder(folder)
        return cls(path, 0, time.monotonic() + STREAK_S)

    def append(self, content: bytes) -> bool:
        """Write at the end; False if the file is not as this process left it, and nothing was written."""
        if time.monotonic() > self.until:
            return False
        try:
            file = self.path.open("r+b", buffering=0)
        except FileNotFoundError:
            return False
        with file:
            there = os.fstat(file.fileno())
            if there.st_size != self.size:
                return False
            file.seek(self.size)
            view = memoryview(content)
            while view:
                view = view[file.write(view) :]
            os.fsync(file.fileno())
        self.size += len(content)
        return True


def flush_folder(folder: Path) -> None:
    """Have a new name in a folder outlive a power cut, where the system can do that."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError:
        return
    finally:
        os.close(handle)


@dataclass(frozen=True)
class Lines:
    """A block of lines of one file.

    Attributes
    ----------
    records
        The records, as JSON objects.
    numbers
        Line of each, counted from 0 at the beginning of the file.
    spoilt
        Lines that are neither records nor empty, counted from 1.
    n_bytes
        Bytes up to the end of the block, from the beginning of the file.
    n_lines
        Lines up to there, those that cannot be read among them.
    """

    records: list[dict[str, object]]
    numbers: list[int]
    spoilt: list[int]
    n_bytes: int
    n_lines: int


def read_lines(path: Path, *, n_bytes: int = 0, n_lines: int = 0, block: int = BLOCK) -> Iterator[Lines]:
    """Read the records of one file, block by block.

    What is no record, or does not fit its checksum, is passed over: a line that a disk has spoilt or somebody
    has changed (`Lines.spoilt`), or the last one, torn when its writer was killed, which is said
    (`CatalogWarning`). A last line that lacks its end alone counts, for a record whose brackets close is
    whole. Empty lines are nothing.

    Parameters
    ----------
    path
        The file.
    n_bytes, n_lines
        How much of it to leave out.
    block
        Lines of a block.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    with open_file(path) as file:
        file.seek(max(0, n_bytes - 1))
        if n_bytes and file.read(1) != b"\n" and file.read(1) == b"\n":
            # The line read last then lacked its end, which has come since.
            n_bytes += 1
        file.seek(n_bytes)
        while lines := list(itertools.islice(file, block)):
            torn = not lines[-1].endswith(b"\n") and _record(lines[-1]) is None
            if torn:
                lines.pop()
            found = list(map(_record, lines))
            records = [record for record in found if record is not None]
            numbers = [number for number, record in enumerate(found, start=n_lines) if record is not None]
            spoilt = [
                number
                for number, (record, line) in enumerate(zip(found, lines, strict=True), start=n_lines + 1)
                if record is None and line.strip()
            ]
            n_bytes += sum(map(len, lines))
            n_lines += len(lines)
            yield Lines(records, numbers, spoilt, n_bytes, n_lines)
            if torn:
                _say_torn(path)
                break


def say_spoilt(path: Path, spoilt: Sequence[int]) -> None:
    """Say which lines of a file were passed over, counted from 1 (`CatalogWarning`); none: nothing."""
    if not spoilt:
        return
    named = ", ".join(map(str, spoilt[:5])) + (" …" if len(spoilt) > 5 else "")
    what = (
        "one of its lines is no measurement, or not as it was written, and was"
        if len(spoilt) == 1
        else (f"{len(spoilt)} of its lines are no measurements, or not as they were written, and were")
    )
    it = "it" if len(spoilt) == 1 else "them"
    _say(
        f"{path}: {what} passed over: {named}. Measure again, and delete {it}; of a line that was changed on "
        "purpose, take the crc32 out."
    )


def _record(line: bytes) -> dict[str, object] | None:
    """Return the record of a line, None where it is none, or is not as it was written."""
    line = line.removeprefix(BOM)
    content, is_checked, end = line.rpartition(_CHECK)
    if is_checked and end.rstrip() != b'%08x"}' % zlib.crc32(content):
        return None
    try:
        # Several times quicker than `json`, which makes every text anew.
        found = from_json(content + b"}" if is_checked else line, cache_strings="all")
    except ValueError:
        return None
    if not isinstance(found, dict):
        return None
    if "crc32" in found:  # written anew by another program, with spaces or in another order
        check = found.pop("crc32")
        if check != f"{zlib.crc32(_content(found)):08x}":
            return None
    is_record = isinstance(found.get("name"), str) and isinstance(found.get("session"), str)
    return found if is_record else None


def _still_writes(path: Path) -> bool:
    """Whether a file's writer is a process of this machine that lives: its last line may be on its way."""
    machine, _, process = path.name.partition("Z-")[2].rpartition("-")[0].rpartition("-")
    if machine != machine_name() or not process.isdigit():
        return False
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _say_torn(path: Path) -> None:
    if not _still_writes(path):
        _say(
            f"{path}: the last line is torn, because its writer was stopped; it was passed over. If that "
            "command was not run again, run it again."
        )


def _say(text: str) -> None:
    warnings.warn(text, CatalogWarning, stacklevel=3)
