"""Names on a disk that last: flushed folders, and two folders that change places in one step.

A file that was flushed can still be lost after a power cut, if the folder that names it was not.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

_UNABLE = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EBADF}
"""What file systems say that do not know the wish, such as many on a network."""

_FLUSHED_AT_ONCE = 16

_AT_FDCWD = {"linux": -100, "darwin": -2}
_RENAME_SWAP = 2


def flush_file(path: Path) -> None:
    """Wait until the content of a file is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk; nothing where the system cannot do that."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _UNABLE:
            raise
    finally:
        os.close(descriptor)


def flush_tree(folder: Path) -> None:
    """Wait until every file below a folder, and every name, is on the disk."""
    files: list[Path] = []
    folders: list[Path] = []
    for place, _, names in os.walk(folder):
        folders.append(Path(place))
        files += [Path(place, name) for name in names]
    # A journal takes many that wait together in one go: one after the other, they take ten times as long.
    with ThreadPoolExecutor(_FLUSHED_AT_ONCE) as pool:
        for flush, paths in ((flush_file, files), (flush_folder, folders)):
            for _ in pool.map(flush, paths):
                pass


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, so that none of them is lost by a power cut."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        if folder.parent == folder:
            break
        folder = folder.parent
    for new in reversed(missing):
        new.mkdir(exist_ok=True)
        flush_folder(new.parent)


def exchange(first: Path, second: Path) -> bool:
    """Let two names change what they stand for, in one step that cannot be seen half done.

    Returns
    -------
    is_done
        False where the system or the file system cannot do it; nothing has changed then.

    Raises
    ------
    OSError
        If one of them is not there, or the disk refuses.
    """
    call = _renamer()
    if call is None:
        return False
    if call(os.fsencode(first), os.fsencode(second)) == 0:
        return True
    number = ctypes.get_errno()
    if number in _UNABLE:
        return False
    raise OSError(number, os.strerror(number), str(first))


@cache
def _renamer() -> Any:
    """Return the call of the system's library that exchanges two names, or None."""
    place = _AT_FDCWD.get(sys.platform)
    library = ctypes.CDLL(None, use_errno=True) if place is not None else None
    function = getattr(library, {"linux": "renameat2", "darwin": "renameatx_np"}.get(sys.platform, ""), None)
    if function is None:
        return None
    function.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint]
    function.restype = ctypes.c_int
    return lambda first, second: function(place, first, place, second, _RENAME_SWAP)
