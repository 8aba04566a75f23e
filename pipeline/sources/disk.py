"""The disk that downloads go to: its errors in words, its space, and names given once and for all."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from filelock import FileLock

from nwb_latents.pipeline.errors import MachineError
from nwb_latents.pipeline.sources.long_waits import said_if_long

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Turn what the disk refuses, around `path`, into an error that says what to do.

    Raises
    ------
    MachineError
        If the disk refuses.

    Examples
    --------
    >>> from pathlib import Path
    >>> with disk_errors(Path("a.nwb")):
    ...     Path("no such folder/a.nwb").touch()
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.MachineError: no such folder/a.nwb: No such file or directory. ...
    """
    try:
        yield
    except OSError as error:
        raise MachineError(
            f"{error.filename or path}: {error.strerror or error}. Check that the download folder lies on "
            "a disk you may write to."
        ) from error


@contextmanager
def one_at_a_time(lock: Path, *, name: str) -> Iterator[None]:
    """Hold a lock file; a long wait for another process that holds it is said.

    Parameters
    ----------
    lock
        Path of the lock.
    name
        What it is for, for messages.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder, one_at_a_time(Path(folder, "lock"), name="a.nwb"):
    ...     pass
    """
    held = FileLock(lock)
    with said_if_long(f"{name}: waiting for another process that downloads it ({lock})"):
        held.acquire()
    try:
        yield
    finally:
        held.release()


def require_space(folder: Path, n_bytes: int, *, name: str) -> None:
    """Refuse to begin what the disk has no room for.

    Parameters
    ----------
    folder
        Where the bytes go.
    n_bytes
        How many are still to come.
    name
        What they are of, for the message.

    Raises
    ------
    MachineError
        If fewer bytes are free.
    """
    free = shutil.disk_usage(folder).free
    if free < n_bytes:
        raise no_space(folder, n_bytes, free=free, name=name)


def no_space(folder: Path, n_bytes: int, *, free: int, name: str) -> MachineError:
    """Return the error for a disk that is full.

    Examples
    --------
    >>> from pathlib import Path
    >>> print(no_space(Path("downloads"), 9, free=1, name="a.nwb"))
    a.nwb: the disk of downloads is full: 9 bytes more are needed, 1 are free. ...
    """
    return MachineError(
        f"{name}: the disk of {folder} is full: {n_bytes} bytes more are needed, {free} are free. Free some "
        "space or choose another download folder; the download goes on from where it stopped."
    )


def put_in_place(part: Path, path: Path) -> None:
    """Give a finished file or folder its name, so that not even a power cut leaves half of it there.

    The files of a folder must have been put in place themselves.

    Raises
    ------
    MachineError
        If the disk refuses.
    """
    try:
        for folder, _, _ in os.walk(part):
            _flush(folder)
        if part.is_file():
            _flush(part)
        part.replace(path)
        _flush(path.parent)
    except OSError as error:
        raise MachineError(
            f"{path}: the finished download cannot be put in place: {error.strerror or error}. "
            "Check the disk."
        ) from error


def _flush(path: str | Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
