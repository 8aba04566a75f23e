"""Whether what lies in the download folder is what the archive has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nwb_latents.pipeline.sources.checksums import digest_content, recall_digests, remember_digests

if TYPE_CHECKING:
    from pathlib import Path

    from nwb_latents.pipeline.sources.archive_promise import Expected
    from nwb_latents.pipeline.sources.asset import BytesProgress


def is_remembered(path: Path, expected: Expected) -> bool:
    """Whether a file or folder is known to be the expected one, without reading it or writing beside it.

    Examples
    --------
    >>> from pathlib import Path
    >>> from nwb_latents.pipeline.sources.archive_promise import Expected
    >>> is_remembered(Path("no such file.nwb"), Expected(size=3, sha256="00"))
    False
    """
    digests = recall_digests(path) if expected.is_verifiable else None
    return digests is not None and expected.complaint(digests) is None


def is_verified(path: Path, expected: Expected, progress: BytesProgress | None = None) -> bool:
    """Whether a file is the expected one, by its digests; they are computed where they are not remembered.

    Parameters
    ----------
    path
        The file; a folder is never verified so.
    expected
        What it must be.
    progress
        Called with bytes done and bytes in all.

    Raises
    ------
    DataError
        If the file cannot be read.

    Examples
    --------
    >>> from pathlib import Path
    >>> from nwb_latents.pipeline.sources.archive_promise import Expected
    >>> is_verified(Path("no such file.nwb"), Expected(size=3, sha256="00"))
    False
    """
    if not expected.is_verifiable or not path.is_file() or path.stat().st_size != expected.size:
        return False
    digests = recall_digests(path)
    if digests is None:
        digests = digest_content(path, progress)
        if expected.complaint(digests) is None:
            remember_digests(path, digests)
    return expected.complaint(digests) is None
