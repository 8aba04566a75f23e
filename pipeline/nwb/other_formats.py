"""What a file is that is no NWB 2 in HDF5: a pointer, a page of an archive, another format, an older NWB."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import h5py
import numpy as np

from nwb_latents.pipeline.nwb.hdf5_tree import decoded

if TYPE_CHECKING:
    from pathlib import Path

    from nwb_latents.pipeline.nwb.hdf5_tree import Readable

_HEAD = 4096
_PARTIAL = "If it is a partial download, delete it and fetch it again."
_AGAIN = "Look into it, delete it, and fetch the recording again."
_BEGINNINGS = (
    (b"PK\x03\x04", "a ZIP archive", "Unpack it first."),
    (b"\x1f\x8b", "a gzip archive", "Unpack it first (gunzip)."),
    (b"7z\xbc\xaf", "a 7-Zip archive", "Unpack it first."),
    (b"MATLAB 5.0", "a MATLAB file", "Convert it to NWB first (neuroconv, MatNWB)."),
    (b"%PDF", "a PDF", _AGAIN),
    (b"\x93NUMPY", "an array of numpy", "Convert the recording to NWB first (neuroconv)."),
)
_TEXTS = (
    (
        rb"<!doctype html|<html",
        "a web page (HTML), which is what an archive sends in place of a file",
        _AGAIN,
    ),
    (rb"<\?xml|<error", "XML, which is what an archive sends in place of a file", _AGAIN),
    (rb"[\[{]", "JSON, which is what an archive sends in place of a file", _AGAIN),
)


def head_of(source: Path | Readable) -> bytes:
    """Return the first bytes of a file or stream; nothing of one that cannot be read."""
    try:
        if hasattr(source, "open"):
            with source.open("rb") as stream:
                return bytes(stream.read(_HEAD))
        source.seek(0)
        return bytes(source.read(_HEAD) or b"")
    except (OSError, ValueError):
        return b""


def is_pointer(head: bytes) -> bool:
    r"""Whether a file is what Git LFS or git-annex puts in place of one that was not fetched.

    Examples
    --------
    >>> is_pointer(b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 12\n")
    True
    """
    text = head.removeprefix(b"\xef\xbb\xbf")
    is_lfs = text.startswith((b"version https://", b"version http://")) and b"\noid " in text
    return is_lfs or (len(head) < _HEAD and b"/annex/objects/" in text)


def what_it_is(head: bytes, *, reason: str) -> str:
    r"""Say what a file is that HDF5 cannot open, and what to do.

    Parameters
    ----------
    head
        Its first bytes.
    reason
        What HDF5 said.

    Examples
    --------
    >>> what_it_is(b"", reason="file signature not found")
    'found an empty file. Delete it and fetch it again.'
    >>> what_it_is(b"PK\x03\x04...", reason="file signature not found")
    'found a ZIP archive. Unpack it first.'
    """
    if not head:
        return "found an empty file. Delete it and fetch it again."
    if not head.startswith(b"\x89HDF"):
        for start, kind, remedy in _BEGINNINGS:
            if head.startswith(start):
                return f"found {kind}. {remedy}"
        text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
        for pattern, kind, remedy in _TEXTS:
            if re.match(pattern, text, re.IGNORECASE):
                return f"found {kind}. {remedy}"
        if not head.strip(b"\0"):
            return f"found nothing but zeros where it begins. {_PARTIAL}"
    return f"found something HDF5 cannot open ({reason}). {_PARTIAL}"


def older_version(h5: h5py.File) -> str | None:
    """Say which version of NWB before 2 a file is of, and where it says so; None of any other file.

    Examples
    --------
    >>> import h5py
    >>> with h5py.File("old.nwb", "w", driver="core", backing_store=False) as h5:
    ...     h5["nwb_version"] = "NWB-1.0.6"
    ...     older_version(h5)
    'NWB-1.0.6 (/nwb_version is a dataset)'
    """
    for name in ("nwb_version", "neurodata_version"):
        if isinstance(found := h5.get(name), h5py.Dataset):
            version = str(decoded(np.atleast_1d(found[()])).ravel()[0])
            return f"{version} (/{name} is a dataset)"
    stated = decoded(np.atleast_1d(np.asarray(h5.attrs.get("nwb_version", ""), dtype=object))).ravel()
    version = str(stated[0]) if len(stated) else ""
    is_early = re.match(r"(?:NWB-?)?(?:[01]\.|2\.0\.?0?-?[ab])", version, re.IGNORECASE)
    if is_early and "units" not in h5 and "intervals" not in h5:
        return f"{version} (attribute nwb_version; there is neither /units nor /intervals)"
    return None
