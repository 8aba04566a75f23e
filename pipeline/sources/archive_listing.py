"""What the archive lists in one version of a dandiset, held against the pins of the catalog."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nwb_latents.pipeline.sources.archive_answers import AssetAnswer
    from nwb_latents.schemas.catalog import AssetPin


@dataclass(frozen=True)
class Listed:
    """A file as the archive lists it.

    Attributes
    ----------
    path
        Path in the dandiset.
    size
        Bytes.
    asset_id
        Id in the archive; a file whose metadata was edited has another one.
    sha256
        SHA-256, or None while the archive has not computed it, and of a Zarr.
    is_blob
        Whether it is a file, not a Zarr.
    zarr_checksum
        Digest of a Zarr, or None while the archive has not computed it, and of a file.
    """

    path: str
    size: int
    asset_id: str
    sha256: str | None
    is_blob: bool = True
    zarr_checksum: str | None = None

    @property
    def digest(self) -> str | None:
        """What says whether two listings mean the same content; None while it is not computed."""
        return self.sha256 if self.is_blob else self.zarr_checksum

    @classmethod
    def of(cls, answer: AssetAnswer) -> Listed:
        """Return a file as the archive answers of it."""
        digests = answer.digests
        return cls(
            path=answer.path,
            size=answer.size,
            asset_id=answer.asset_id,
            sha256=digests.sha256,
            is_blob=not answer.is_zarr,
            zarr_checksum=digests.zarr_checksum,
        )

    @classmethod
    def of_pin(cls, pin: AssetPin, asset_id: str | None = None) -> Listed:
        """Return a file as it was pinned, perhaps under another id."""
        return cls(
            path=pin.path,
            size=pin.size,
            asset_id=asset_id or pin.asset_id,
            sha256=pin.sha256,
            is_blob=pin.zarr_checksum is None,
            zarr_checksum=pin.zarr_checksum,
        )


def choose_recordings(listed: Iterable[Listed]) -> tuple[list[Listed], list[str]]:
    """Return what is NWB by its name, as a file or in Zarr, and a note on Zarrs that are not.

    Examples
    --------
    >>> image = Listed("a.ome.zarr", 3, "1", None, is_blob=False)
    >>> choose_recordings([image, Listed("b.nwb.zarr", 3, "2", None, is_blob=False)])[1]
    ['1 Zarr assets are not named .nwb or .nwb.zarr and left out: a.ome.zarr.']
    """
    found, left_out = [], []
    for file in listed:
        if file.path.lower().endswith(".nwb" if file.is_blob else (".nwb", ".nwb.zarr")):
            found.append(file)
        elif not file.is_blob:
            left_out.append(file.path)
    if not left_out:
        return found, []
    names = ", ".join(left_out[:5])
    return found, [f"{len(left_out)} Zarr assets are not named .nwb or .nwb.zarr and left out: {names}."]


def hold_against_pins(pins: Iterable[AssetPin], listed: Iterable[Listed]) -> tuple[list[Listed], list[str]]:
    """Return the pinned files, and what has happened to them in the draft.

    Parameters
    ----------
    pins
        Pinned files of the catalog.
    listed
        Files of the draft as it is.

    Returns
    -------
    files
        One for each pin, with the pin's content. The id is the pin's unless the same content goes by
        another one by now.
    notes
        One sentence for each pinned file that was replaced or removed, and one for files without a pin.

    Examples
    --------
    >>> from nwb_latents.schemas.catalog import AssetPin
    >>> pin = AssetPin(path="a.nwb", asset_id="1", sha256="a" * 64, size=3)
    >>> files, notes = hold_against_pins([pin], [Listed("a.nwb", 3, "2", "a" * 64)])
    >>> files[0].asset_id, notes
    ('2', [])
    >>> hold_against_pins([pin], [Listed("a.nwb", 3, "2", "b" * 64)])[1]
    ['a.nwb was replaced in the draft since it was pinned.']
    """
    current = {file.path: file for file in listed}
    files, notes = [], []
    for pin in pins:
        file = current.pop(pin.path, None)
        is_same = file is not None and file.digest == pin.content_digest
        if file is None:
            notes.append(f"{pin.path} was removed from the draft since it was pinned.")
        elif not is_same and file.asset_id != pin.asset_id:
            notes.append(f"{pin.path} was replaced in the draft since it was pinned.")
        files.append(Listed.of_pin(pin, file.asset_id if file is not None and is_same else None))
    if current:
        names = ", ".join(sorted(current)[:5])
        notes.append(f"{len(current)} files of the draft are not pinned and left out: {names}.")
    return files, notes
