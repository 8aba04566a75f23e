"""A measurement as the catalog holds it today."""

from __future__ import annotations

from pydantic import Field

from nwb_latents.schemas.measurement import Measurement


class KeptMeasurement(Measurement):
    """One number with its whole protocol, and whether what it was measured of is still there."""

    is_current: bool | None = Field(
        None,
        description="Whether store and run are those of the catalog; none: it does not say which they were.",
    )
    why_stale: str = Field("", description="What became of store or run since; empty: nothing, or not known.")
