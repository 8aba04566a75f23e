"""How the program reads files of its own, and what it says of what stands in the place of one.

A pipe in the place of a file would be waited for without a word and without end, and a link that leads
nowhere would count as a file that was never there, so that another is begun in its place. Both are told apart
from a file here, before anything is read.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from typing import TYPE_CHECKING

from nwb_latents.pipeline.nwb.file_kinds import kind_of_no_file

if TYPE_CHECKING:
    from pathlib import Path

_AT_ONCE = getattr(os, "O_NONBLOCK", 0)
_MOVE_IT = "Move it away, and put the file back where there was one."


class NoPlainFileError(OSError):
    """What has the name of a file is none; `strerror` says what it is, and what to do."""


def read_file(path: Path) -> bytes:
    """Return the content of a file that the program wrote.

    Parameters
    ----------
    path
        Links are followed.

    Raises
    ------
    FileNotFoundError
        If nothing has this name.
    NoPlainFileError
        If a pipe, a socket or a device has it, or a link that leads nowhere or back to itself.
    OSError
        If it cannot be read.

    Examples
    --------
    >>> from pathlib import Path
    >>> try:
    ...     read_file(Path("/dev/null"))
    ... except OSError as error:
    ...     print(why_unreadable(error))
    it is a device, and a file belongs there. Move it away, and put the file back where there was one.
    """
    with open_file(path) as file:
        return file.read()


def read_text(path: Path, *, errors: str = "strict") -> str:
    """Return the UTF-8 text of a file that the program wrote (see `read_file`); lines end in a newline.

    Raises
    ------
    OSError
        As `read_file`.
    UnicodeDecodeError
        If it is no text.
    """
    with io.TextIOWrapper(open_file(path), encoding="utf-8", errors=errors) as file:
        return file.read()


def open_file(path: Path) -> io.BufferedReader:
    """Open a file that the program wrote, to be read (see `read_file`); nothing is waited for.

    Raises
    ------
    OSError
        As `read_file`.
    """
    try:
        file = open(path, "rb", opener=_open_at_once)  # noqa: SIM115 - it is handed on
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket, which cannot be opened
            require_file(path.stat().st_mode, path)
        if why := _why_nothing_there(path, error):
            raise NoPlainFileError(error.errno, why, str(path)) from error
        raise
    try:
        require_file(os.fstat(file.fileno()).st_mode, path)
    except OSError:
        file.close()
        raise
    return file


def require_file(mode: int, path: Path) -> None:
    """Refuse what is no file, by the mode the operating system gives of it.

    Raises
    ------
    NoPlainFileError
        If it is a pipe, a socket or a device.
    IsADirectoryError
        If it is a folder.
    """
    if (kind := kind_of_no_file(mode)) is not None:
        why = f"it is {kind}, and a file belongs there. {_MOVE_IT}"
        raise NoPlainFileError(errno.EINVAL, why, str(path))
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))


def nothing_has_the_name(path: Path) -> bool:
    """Whether nothing is at a path: no link that leads nowhere either, nor one on the way to it.

    Examples
    --------
    >>> from pathlib import Path
    >>> nothing_has_the_name(Path("nowhere/catalog.yaml")), nothing_has_the_name(Path("/dev/null"))
    (True, False)
    """
    return not os.path.lexists(path) and link_to_nowhere(path) is None


def link_to_nowhere(path: Path) -> Path | None:
    """Return the link because of which there is nothing at a path: the path itself, or a folder above it.

    Examples
    --------
    >>> from pathlib import Path
    >>> print(link_to_nowhere(Path("nowhere/catalog.yaml")))
    None
    """
    return next((one for one in (path, *path.parents) if one.is_symlink() and not one.exists()), None)


def behind_links(path: Path) -> Path:
    """Return the file or folder that a link stands for, to be locked and written anew; others as they are.

    Parameters
    ----------
    path
        What is written; nothing need be there.

    Raises
    ------
    NoPlainFileError
        If it is a link that leads nowhere or back to itself.

    Examples
    --------
    >>> from pathlib import Path
    >>> print(behind_links(Path("nowhere/catalog.yaml")))
    nowhere/catalog.yaml
    """
    if not path.is_symlink():
        return path
    try:
        return path.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        # Where a link leads back to itself, some versions of Python raise the latter.
        number = errno.ENOENT if isinstance(error, FileNotFoundError) else errno.ELOOP
        raise NoPlainFileError(number, link_words(path), str(path)) from error


def link_words(link: Path) -> str:
    """Say of a link where it leads, and what to do: sentences without the path.

    Parameters
    ----------
    link
        A link that cannot be followed, or was not to be.
    """
    try:
        link.stat()
    except OSError as error:
        if error.errno == errno.ELOOP:
            return (
                "it is a link that leads back to itself. Put the file it stands for in its place, or remove "
                "it."
            )
        return (
            f"it is a link to {link.readlink()}, which is not there. Bring back what it stands for (a disk "
            "that is not mounted, a file that was not fetched), or remove the link."
        )
    return f"it is a link to {link.readlink()}, and a file belongs there. Remove the link."


def why_unreadable(error: Exception) -> str:
    """Say why a file of the program cannot be read, and what to do: sentences without the path.

    Parameters
    ----------
    error
        What was raised by `read_file` or `read_text`.

    Examples
    --------
    >>> why_unreadable(PermissionError(13, "Permission denied"))
    'Permission denied. Change its permissions, or name another file.'
    """
    if isinstance(error, NoPlainFileError):
        return str(error.strerror)
    if isinstance(error, IsADirectoryError):
        return f"it is a folder, and a file belongs there. {_MOVE_IT}"
    if isinstance(error, PermissionError):
        return f"{error.strerror}. Change its permissions, or name another file."
    if isinstance(error, UnicodeDecodeError):
        return f"it is no text in UTF-8 ({error}). Put back a copy of it."
    said = error.strerror if isinstance(error, OSError) and error.strerror else error
    return f"{said}. Check the disk and run the same command again."


def _open_at_once(name: str, flags: int) -> int:
    return os.open(name, flags | _AT_ONCE)


def _why_nothing_there(path: Path, error: OSError) -> str:
    """Say which link is why there is nothing at a path; empty: none is."""
    if error.errno not in {errno.ENOENT, errno.ELOOP}:
        return ""
    link = link_to_nowhere(path)
    if link is None:
        return ""
    said = link_words(link)
    return said if link == path else f"{link} is no folder: {said}"
