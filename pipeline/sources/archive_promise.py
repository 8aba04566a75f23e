"""What a file of the archive must be: what the archive states of it, which must be what was pinned."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.errors import DataError
from pipeline.sources.archive_listing import ETAG, SHA256
from pipeline.sources.transfer import Expected

if TYPE_CHECKING:
    from dandi.dandiapi import BaseRemoteAsset

    from schemas.catalog import AssetPin


def promised(
    remote: BaseRemoteAsset, *, name: str, wanted: str | None, pin: AssetPin | None = None
) -> Expected:
    """Return size and digests to hold the content of a file against.

    Parameters
    ----------
    remote
        The file, as the client knows it.
    name
        What to call it in messages.
    wanted
        SHA-256 it had when it was listed or pinned; None where that is not known.
    pin
        Its pin in the catalog.

    Raises
    ------
    DataError
        If the archive states something else than was pinned or listed, or nothing at all.
    """
    stated = remote.get_raw_metadata().get("digest", {})
    expected = Expected(size=remote.size, sha256=stated.get(SHA256), dandi_etag=stated.get(ETAG))
    if wanted and expected.sha256 and wanted != expected.sha256:
        raise _replaced(name, wanted, expected.sha256)
    if pin and pin.size != expected.size:
        raise _replaced(name, f"{pin.size} bytes", f"{expected.size} bytes")
    if not (wanted or expected.sha256 or expected.dandi_etag):
        raise DataError(
            f"{name}: the archive states no digest, so a download cannot be verified. Try again when the "
            "archive has computed it."
        )
    return Expected(expected.size, wanted or expected.sha256, expected.dandi_etag)


def _replaced(name: str, wanted: str, stated: str) -> DataError:
    return DataError(
        f"{name}: the file was replaced in the archive since it was pinned: pinned {wanted}, the archive "
        f"holds {stated}. Leave the session out, or update its pin in the catalog."
    )
