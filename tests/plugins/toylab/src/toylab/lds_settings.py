"""Settings of the toy linear dynamical system."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from nwb_latents.schemas.mdssm import ReadInSettings
from nwb_latents.schemas.models import ModelSettings


class ToyLDSSettings(ModelSettings):
    """Linear dynamical system with a fixed gain: z ← F z + K u, log rates linear in z."""

    implementation: ClassVar[str] = "toylab.lds:ToyLDS"
    main_settings: ClassVar[tuple[str, ...]] = ("latent_dim",)
    reads_counts: ClassVar[bool] = True

    name: Literal["toy_lds"] = "toy_lds"
    latent_dim: int = Field(4, ge=1, description="Dimension of the state.")
    likelihood: Literal["poisson"] = Field("poisson", description="Likelihood of the spikes.")
    read_in: ReadInSettings = Field(
        default_factory=lambda: ReadInSettings(hidden=8, width=4), description="Read-in of each session."
    )
