"""What is at a path if it is no file: a pipe would be waited for, a device never ends."""

from __future__ import annotations

import errno
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

_KINDS = {
    stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device",
}  # fmt: skip


def kind_of_no_file(mode: int) -> str | None:
    """Return what a mode of the operating system is of, with its article; None: a file or a folder.

    Examples
    --------
    >>> from pathlib import Path
    >>> kind_of_no_file(Path("/dev/null").stat().st_mode)
    'a device'
    """
    return _KINDS.get(stat.S_IFMT(mode))


def why_no_file(path: Path) -> str | None:
    """Say what is at a path where it is neither a file nor a folder; None where it is, or may not be asked.

    Parameters
    ----------
    path
        Links are followed.

    Returns
    -------
    said
        A sentence or two without the path, with what to do.

    Examples
    --------
    >>> from pathlib import Path
    >>> why_no_file(Path("/dev/null"))
    'a device, and no file. Write the recording to a file and name that.'
    """
    try:
        kind = kind_of_no_file(path.stat().st_mode)
    except FileNotFoundError:
        if path.is_symlink():
            return f"a link to {path.readlink()}, a file that is not there. Fetch it first (datalad get)."
        return "no such file. Check the path."
    except PermissionError:
        return None
    except OSError as error:
        if error.errno == errno.ELOOP:
            return "a link that leads to itself. Name the file itself."
        return f"cannot be opened: {error.strerror or error}. Check the path."
    return None if kind is None else f"{kind}, and no file. Write the recording to a file and name that."
