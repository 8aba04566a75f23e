"""Writing whole or not at all: temporary name, flush to disk, rename, flush the name.

Whenever a writer is killed or the power fails, what has the name is the old content or the new one. A link
stays one: what it stands for is written anew, where that lies. One that leads nowhere is refused.
"""

from __future__ import annotations

import errno
import glob
import os
import platform
import re
import shutil
import time
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from nwb_latents.pipeline.errors import DataError, MachineError, PipelineError
from nwb_latents.pipeline.stores.disk_names import exchange, flush_file, flush_folder, flush_tree, make_folder
from nwb_latents.pipeline.stores.plain_files import (
    NoPlainFileError,
    behind_links,
    link_to_nowhere,
    link_words,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

ABANDONED_AFTER_S = 86_400.0
"""A temporary file of another machine is taken for abandoned after this long."""

_OF_HDF5 = re.compile(r"errno = (\d+), error message = '([^']*)'")

_ASIDE = ".aside.tmp"
"""End of the name of a directory that made room for its successor."""


def machine_error(error: OSError, path: Path, *, doing: str) -> PipelineError:
    """Turn an operating-system error into one that says what to do.

    Parameters
    ----------
    error
        What the operating system said.
    path
        File or folder it happened at.
    doing
        What was being done, e.g. ``"write the trial store"``.

    Examples
    --------
    >>> from pathlib import Path
    >>> print(machine_error(OSError(28, "No space left on device"), Path("a.zarr"), doing="write the store"))
    a.zarr: cannot write the store: No space left on device. Free some space and run the same command again.
    """
    number, said = _told(error)
    remedies = {
        errno.ENOSPC: "Free some space and run the same command again.",
        errno.EDQUOT: "Free some of your quota and run the same command again.",
        errno.EACCES: "Choose a folder you may write to, or change its permissions.",
        errno.EPERM: "Choose a folder you may write to, or change its permissions.",
        errno.EROFS: "Choose a folder on a writable disk.",
        errno.ENOTDIR: "A part of this path is a file; choose another folder.",
    }
    # What a link stands for may lie on a disk that is not mounted; all else is for a person to mend.
    wrong = MachineError if error.errno in {errno.ENOENT, errno.EEXIST} else DataError
    if isinstance(error, NoPlainFileError):
        return wrong(f"{path}: cannot {doing}: {error.strerror}")
    if number in {errno.ELOOP, errno.ENOENT, errno.EEXIST} and (link := _link_in_the_way(error, path)):
        said = link_words(link)
        return wrong(f"{path}: cannot {doing}: {said if link == path else f'{link}: {said}'}")
    if number == errno.EISDIR:
        # Of a file that was to take another's name, the second is the one in the way.
        there = error.filename2 or error.filename or path
        return DataError(
            f"{path}: cannot {doing}: {there} is a folder, and a file belongs there. Move it away, and run "
            "the same command again."
        )
    remedy = remedies.get(number, "Check the disk and run the same command again.")
    return MachineError(f"{path}: cannot {doing}: {said}. {remedy}")


def _link_in_the_way(error: OSError, path: Path) -> Path | None:
    """Return the link that leads nowhere, or was not to be followed, at or above what an error is about."""
    places = dict.fromkeys(Path(name) for name in (error.filename, error.filename2) if isinstance(name, str))
    for place in (*places, path):
        if (link := link_to_nowhere(place)) is not None:
            return link
    # A lock is not taken through a link, wherever that leads.
    refused = (one for one in (*places, path) if one.is_symlink())
    return next(refused, None) if error.errno == errno.ELOOP else None


def _told(error: OSError) -> tuple[int, str]:
    """Return number and words of an error; HDF5 wraps those of the system in a paragraph of its own."""
    text = " ".join((error.strerror or str(error)).split())
    inner = _OF_HDF5.search(text)
    return (int(inner[1]), inner[2]) if inner else (error.errno or 0, text)


def temporary_name(path: Path) -> Path:
    """Return a hidden sibling of `path` that no other writer uses; it says whose it is."""
    return path.with_name(f".{path.name}.{machine_name()}-{os.getpid()}-{uuid.uuid4().hex[:8]}.tmp")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a path to write a file to; give the file its own name at the end.

    The path ends as `path` does, for there are writers that append a suffix they miss. It lies in a hidden
    folder beside `path` that goes with whatever is left in it. If the body raises, an existing file stays as
    it was; what a killed writer left is removed by the next one.

    Yields
    ------
    temporary
        Where to write.

    Raises
    ------
    MachineError
        If the disk refuses.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     with whole_file(Path(folder) / "a.csv") as temporary:
    ...         _ = temporary.write_text("1, 2")
    ...     [path.name for path in Path(folder).iterdir()]
    ['a.csv']
    """
    try:
        path = behind_links(path)
    except OSError as error:
        raise machine_error(error, path, doing="write this file") from error
    folder = temporary_name(path)
    try:
        make_folder(path.parent)
        for stale in leftovers(path):
            _remove_abandoned(stale)
        folder.mkdir()
        temporary = folder / path.name
        yield temporary
        flush_file(temporary)
        temporary.replace(path)
        flush_folder(path.parent)
    except OSError as error:
        raise machine_error(error, path, doing="write this file") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all.

    Raises
    ------
    MachineError
        If the folder cannot be made or written to; nothing is left behind.
    """
    try:
        path = behind_links(path)
    except OSError as error:
        raise machine_error(error, path, doing="write this file") from error
    temporary = temporary_name(path)
    try:
        make_folder(path.parent)
        for stale in leftovers(path):
            _remove_abandoned(stale)
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        flush_folder(path.parent)
    except OSError as error:
        raise machine_error(error, path, doing="write this file") from error
    finally:
        # An interruption leaves nothing either.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file whole or not at all (see `write_bytes`)."""
    write_bytes(path, text.encode())


def leftovers(path: Path) -> list[Path]:
    """Return temporary siblings of `path` that a killed writer left behind."""
    if not path.parent.is_dir():
        return []
    return sorted(path.parent.glob(f".{glob.escape(path.name)}.*.tmp"))


def machine_name() -> str:
    """Return the name of this machine as it stands in names of files: letters and digits alone."""
    return "".join(c for c in platform.node() if c.isalnum()) or "machine"


def _is_abandoned(temporary: Path) -> bool:
    """Whether the writer of a temporary file is gone: its process has ended, or a day has passed."""
    machine, _, rest = temporary.name.removesuffix(".tmp").rpartition(".")[2].partition("-")
    process = rest.partition("-")[0]
    if machine == machine_name() and process.isdigit():
        try:
            os.kill(int(process), 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
    return time.time() - temporary.stat().st_mtime > ABANDONED_AFTER_S


def _remove_abandoned(temporary: Path) -> None:
    if not _is_abandoned(temporary):
        return
    if temporary.is_dir():
        shutil.rmtree(temporary, ignore_errors=True)
    else:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_directory(path: Path) -> Iterator[Path]:
    """Build a directory under a temporary name and give it its own name at the end.

    Every file in it is on the disk before it gets the name. If the body raises, nothing is left; if the
    process is killed, only a hidden ``.tmp`` directory is, which the next writer of `path` removes. One
    writer at a time is the caller's business.

    Yields
    ------
    temporary
        Folder to write into.

    Raises
    ------
    MachineError
        If the disk refuses.
    """
    try:
        path = behind_links(path)
        make_folder(path.parent)
        put_back(path)
        for stale in leftovers(path):
            shutil.rmtree(stale, ignore_errors=True)
        temporary = temporary_name(path)
        temporary.mkdir()
    except OSError as error:
        raise machine_error(error, path, doing="make this folder") from error
    try:
        yield temporary
        flush_tree(temporary)
        _take_place(temporary, path)
        flush_folder(path.parent)
    except OSError as error:
        raise machine_error(error, path, doing="write this folder") from error
    finally:
        with suppress(OSError):
            put_back(path)
        for stale in leftovers(path):
            shutil.rmtree(stale, ignore_errors=True)


def put_back(path: Path) -> None:
    """Give a directory its name again that stepped aside for one which then did not come.

    That can only be where the file system cannot let two directories change places. One writer at a time is
    the caller's business.
    """
    if path.exists():
        return
    for aside in leftovers(path):
        if aside.name.endswith(_ASIDE):
            aside.rename(path)
            flush_folder(path.parent)
            return


def _take_place(temporary: Path, path: Path) -> None:
    if not path.exists():
        temporary.rename(path)
    elif not exchange(temporary, path):
        # The old one steps aside first, under a name from which it can be put back.
        aside = temporary_name(path)
        path.rename(aside.with_name(aside.name.removesuffix(".tmp") + _ASIDE))
        temporary.rename(path)
