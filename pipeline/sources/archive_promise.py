"""What a file of the archive must be: what the archive states of it, which must be what was pinned."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nwb_latents.pipeline.errors import DataError

if TYPE_CHECKING:
    from nwb_latents.pipeline.sources.archive_answers import AssetAnswer
    from nwb_latents.pipeline.sources.asset import Asset
    from nwb_latents.pipeline.sources.checksums import Digests
    from nwb_latents.schemas.catalog import AssetPin

_NAMES = {"sha256": "sha256", "dandi_etag": "dandi-etag", "zarr_checksum": "zarr checksum", "md5": "md5"}


@dataclass(frozen=True)
class Expected:
    """What the archive promises of a file or folder; a digest it does not state is None.

    Attributes
    ----------
    size, sha256, dandi_etag, zarr_checksum, md5
        As in `Digests`.

    Examples
    --------
    >>> from nwb_latents.pipeline.sources.checksums import Digests
    >>> found = Digests(size=3, sha256="ab", dandi_etag="cd-1")
    >>> Expected(size=3, sha256=None, dandi_etag="cd-1").complaint(found) is None
    True
    >>> Expected(size=3, sha256="ff", dandi_etag=None).complaint(found)
    'its sha256 is ab, expected ff'
    """

    size: int
    sha256: str | None = None
    dandi_etag: str | None = None
    zarr_checksum: str | None = None
    md5: str | None = None

    @classmethod
    def of(cls, asset: Asset, pin: AssetPin | None) -> Expected:
        """Return what a file was when it was pinned, else when it was listed."""
        if pin is not None:
            return cls(asset.size, sha256=pin.sha256, zarr_checksum=pin.zarr_checksum)
        if asset.is_zarr:
            return cls(asset.size, zarr_checksum=asset.zarr_checksum)
        return cls(asset.size, sha256=(asset.digest or "").removeprefix("sha256:") or None)

    @property
    def is_verifiable(self) -> bool:
        """Whether there is a digest to hold the content against."""
        return any(getattr(self, name) is not None for name in _NAMES)

    def complaint(self, found: Digests) -> str | None:
        """Return how a file differs from what was promised, or None."""
        if found.size != self.size:
            return f"it has {found.size} bytes, expected {self.size}"
        for name, shown in _NAMES.items():
            promise, computed = getattr(self, name), getattr(found, name)
            if promise is not None and promise != computed:
                return f"its {shown} is {computed}, expected {promise}"
        return None


def promised(remote: AssetAnswer, *, name: str, known: Expected, pin: AssetPin | None = None) -> Expected:
    """Return size and digests to hold the content of a file against.

    Parameters
    ----------
    remote
        The file, as the archive answers of it.
    name
        What to call it in messages.
    known
        What it was when it was listed or pinned.
    pin
        Its pin in the catalog.

    Raises
    ------
    DataError
        If the archive states something else than was pinned or listed, or nothing at all.
    """
    digests = remote.digests
    stated = Expected(
        size=remote.size,
        sha256=digests.sha256,
        dandi_etag=digests.dandi_etag,
        zarr_checksum=digests.zarr_checksum,
    )
    for wanted, found in ((known.sha256, stated.sha256), (known.zarr_checksum, stated.zarr_checksum)):
        if wanted and found and wanted != found:
            raise _replaced(name, wanted, found)
    if pin and pin.size != stated.size:
        raise _replaced(name, f"{pin.size} bytes", f"{stated.size} bytes")
    expected = replace(
        stated,
        sha256=known.sha256 or stated.sha256,
        zarr_checksum=known.zarr_checksum or stated.zarr_checksum,
    )
    if not expected.is_verifiable:
        raise DataError(
            f"{name}: the archive states no digest, so a download cannot be verified. Try again when the "
            "archive has computed it."
        )
    return expected


def gone(name: str, pin: AssetPin) -> DataError:
    """Return the error for a pinned file that the archive has no more."""
    return DataError(
        f"{name}: the pinned file (asset {pin.asset_id}, digest {pin.content_digest}) is no longer in the "
        "archive; it was replaced or removed. Leave the session out, or update its pin in the catalog."
    )


def _replaced(name: str, wanted: str, stated: str) -> DataError:
    return DataError(
        f"{name}: the file was replaced in the archive since it was pinned: pinned {wanted}, the archive "
        f"holds {stated}. Leave the session out, or update its pin in the catalog."
    )
