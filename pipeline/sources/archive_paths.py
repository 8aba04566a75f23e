"""Where a file of an archive goes on this machine.

Paths in an archive are written by strangers. One that leaves its folder, or that means something else on
another operating system, is refused rather than repaired.
"""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from nwb_latents.pipeline.errors import DataError, SettingsError

_DANDISET = re.compile(r"(?:DANDI:)?(?P<id>\d{6})(?:[@/](?P<version>draft|\d+\.\d+\.\d+))?", re.IGNORECASE)
_MAX_NAME_BYTES = 240


def parse_dandiset(text: str) -> tuple[str, str | None]:
    """Split ``ID`` or ``ID@VERSION`` into its two words.

    Parameters
    ----------
    text
        Six digits, with or without ``DANDI:`` before and ``@VERSION`` or ``/VERSION`` after.

    Returns
    -------
    dandiset, version
        Version is None where none was given.

    Raises
    ------
    SettingsError
        If `text` is no such name.

    Examples
    --------
    >>> parse_dandiset("000688@0.250122.1735")
    ('000688', '0.250122.1735')
    >>> parse_dandiset("DANDI:000070")
    ('000070', None)
    """
    match = _DANDISET.fullmatch(text.strip())
    if match is None:
        raise SettingsError(
            f"'{text}' is not a dandiset. Give six digits and, if need be, a version: "
            "000688, 000688@0.250122.1735 or 000070@draft."
        )
    version = match["version"]
    return match["id"], version.lower() if version else None


def local_path(root: Path, archive_path: str) -> Path:
    """Return where below `root` a file of the archive is kept.

    Parameters
    ----------
    root
        Folder of one version of one dandiset.
    archive_path
        The file's path in the dandiset, with forward slashes.

    Raises
    ------
    DataError
        If the path is absolute, holds ``..``, a colon, a backslash or a control character, or leads out of
        `root` through a link.

    Examples
    --------
    >>> local_path(Path("d"), "sub-C/sub-C_ses-CO-20131003.nwb").as_posix()
    'd/sub-C/sub-C_ses-CO-20131003.nwb'
    >>> local_path(Path("d"), "../a.nwb")
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.DataError: The archive lists a file at '../a.nwb', which ...
    """
    parts = archive_path.split("/")
    complaint = None
    if archive_path.startswith("/"):
        complaint = "is an absolute path"
    elif any(ord(letter) < 32 or ord(letter) == 127 for letter in archive_path):
        complaint = "holds a control character"
    elif "\\" in archive_path or ":" in archive_path:
        complaint = "holds a backslash, colon or drive letter"
    elif any(part in {"", ".", ".."} for part in parts):
        complaint = "has an empty, '.' or '..' part"
    elif any(len(part.encode()) > _MAX_NAME_BYTES for part in parts):
        complaint = f"has a part longer than {_MAX_NAME_BYTES} bytes"
    if complaint is None:
        path = root.joinpath(*PurePosixPath(archive_path).parts)
        if path.resolve().is_relative_to(root.resolve()):
            return path
        complaint = f"leads out of {root} through a link"
    raise DataError(
        f"The archive lists a file at {archive_path!r}, which {complaint}; nothing was written. "
        "Report it to the dandiset's owners."
    )
