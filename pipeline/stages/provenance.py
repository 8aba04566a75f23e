"""Where the numbers of a store come from: its file, what was read of it and by which packages."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING

from nwb_latents.schemas.store import Provenance

if TYPE_CHECKING:
    from nwb_latents.pipeline.signals.recording import Recording
    from nwb_latents.pipeline.sources.asset import Asset
    from nwb_latents.schemas.store import Verification

PACKAGES = ("nwb-latents", "numpy", "scipy", "h5py", "zarr", "xarray")
"""Packages whose versions a store names."""

UNVERIFIED = (
    "Its bytes were streamed over plain http and held against no digest: one that was changed on the way is "
    "not noticed. Ingest with --download replaces the store; --stream --verify reads all bytes once more."
)
"""What a store says whose bytes were not verified."""


def provenance_of(
    asset: Asset,
    recording: Recording,
    *,
    digest: str,
    verification: Verification,
    notes: tuple[str, ...],
) -> Provenance:
    """Return what a store says of where its numbers come from.

    Parameters
    ----------
    asset
        The file, as its source lists it.
    recording
        What was read of it.
    digest
        Of the bytes that were read.
    verification
        What the digest was held against.
    notes
        What the trials are said to have, beside the warnings of the recording.
    """
    facts = recording.subject_facts
    unverified = (UNVERIFIED,) if verification == "none" else ()
    return Provenance(
        source=asset.path,
        asset_digest=digest,
        dandiset=asset.dandiset,
        dandiset_version=asset.version,
        asset_id=asset.asset_id,
        archive=asset.archive,
        verification=verification,
        identifier=recording.identifier,
        session_start=recording.start,
        layout=recording.layout,
        position_series=recording.position_series,
        velocity_series=recording.velocity_series,
        species=facts.species,
        sex=facts.sex,
        age=facts.age,
        warnings=(*recording.warnings, *notes, *unverified),
        choices=recording.choices,
        packages={name: version(name) for name in PACKAGES},
    )
