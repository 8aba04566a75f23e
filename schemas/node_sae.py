"""Settings of the neural ODE sequential autoencoder."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from nwb_latents.schemas.bounds import MOST_BINS, MOST_LAYERS, MOST_STEPS, MOST_WIDTH
from nwb_latents.schemas.digest import AddedLater
from nwb_latents.schemas.mdssm import ReadInSettings
from nwb_latents.schemas.models import CutProbability, ModelSettings, RateLink


class NODESAEReadInSettings(ReadInSettings):
    """From the units of one session to the width all sessions share, both maps linear."""

    hidden: int = Field(32, ge=1, le=MOST_WIDTH, description="Width of the per-session linear map (P0).")
    width: int = Field(16, ge=1, le=MOST_WIDTH, description="Width all sessions share (P).")
    layernorm: bool = Field(default=False, description="Normalise after the shared head.")


class NODESAESettings(ModelSettings):
    """Neural ODE sequential autoencoder: a vector field runs on from the first state an encoder infers."""

    implementation: ClassVar[str] = "nwb_latents.models.families.node_sae:NODESAE"
    reads_counts: ClassVar[bool] = True
    scores_forward_bins: ClassVar[bool] = True
    paper: ClassVar[str] = "Sedler et al., arXiv 2212.03771, 2023"
    main_settings: ClassVar[tuple[str, ...]] = ("dynamics", "latent_dim", "field_width", "horizon_every")

    name: Literal["node_sae"] = Field("node_sae", description="Name of the model.")
    dynamics: Literal["node_euler", "node_rk4", "node_adaptive", "gru"] = Field(
        "node_euler",
        description="What makes a state of the one before: a vector field, stepped by Euler, Runge-Kutta or "
        "an adaptive solver (needs the extra ode), or the gated recurrent unit it is held against.",
    )
    latent_dim: int = Field(3, ge=1, le=MOST_WIDTH, description="Dimension of the latent state z (D).")
    field_width: int = Field(
        128, ge=1, le=MOST_WIDTH, description="Width of the hidden layers of the vector field."
    )
    field_layers: int = Field(1, ge=1, le=MOST_LAYERS, description="Hidden layers of the vector field.")
    bin_time: float = Field(
        0.1,
        gt=0,
        description="Time between two bins in the unit of the vector field; 0.1 of the discrete twin, 1/69 "
        "where a trial of 70 bins takes one unit.",
    )
    tolerance: float = Field(1e-5, gt=0, description="Tolerance of the adaptive solver.")
    encoder_dim: int = Field(64, ge=1, le=MOST_WIDTH, description="State of the encoder, per direction.")
    dropout: float = Field(0.05, ge=0, lt=1, description="Dropout of what the encoder makes of a trial.")
    read_in: NODESAEReadInSettings = Field(default_factory=NODESAEReadInSettings, description="Read-in.")
    likelihood: Literal["poisson", "gaussian", "mse"] = Field(
        "poisson", description="Poisson for spike counts, Gaussian or squared error for smoothed rates."
    )
    rate_link: Annotated[RateLink, AddedLater("exp")] = "exp"
    cut_probability: Annotated[CutProbability, AddedLater(0.0)] = 0.0
    horizon_block: int = Field(
        5, ge=1, le=MOST_BINS, description="Bins by which the part of the trial that is run and scored grows."
    )
    horizon_every: int = Field(
        50,
        ge=0,
        le=MOST_STEPS,
        description="Training steps after which it grows; 0: whole trials from the start, as published for "
        "the gated recurrent unit.",
    )
