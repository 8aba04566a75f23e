"""Settings of the information-maximising diffusion model."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from nwb_latents.schemas.bounds import MOST_BINS, MOST_LAYERS, MOST_STEPS, MOST_WIDTH
from nwb_latents.schemas.digest import AddedLater
from nwb_latents.schemas.mdssm import ReadInSettings
from nwb_latents.schemas.models import CutProbability, ModelSettings


class GNOCCHIReadInSettings(ReadInSettings):
    """From the units of one session to the width all sessions share, both maps linear."""

    hidden: int = Field(32, ge=1, le=MOST_WIDTH, description="Width of the per-session linear map (P0).")
    layernorm: bool = Field(default=False, description="Normalise after the shared head.")


class GNOCCHISettings(ModelSettings):
    """Information-maximising diffusion: a small code per trial, and diffusion that makes a trial of it."""

    implementation: ClassVar[str] = "nwb_latents.models.families.gnocchi:GNOCCHI"
    paper: ClassVar[str] = "GNOCCHI, after InfoDiffusion (Wang et al., ICML 2023)"
    main_settings: ClassVar[tuple[str, ...]] = ("code_dim", "mmd_weight", "predict", "noise_steps")

    name: Literal["gnocchi"] = Field("gnocchi", description="Name of the model.")
    code_dim: int = Field(
        8,
        ge=1,
        le=MOST_WIDTH,
        description="Dimension of the code of a trial (L); at least as many as behaviour has factors.",
    )
    encoder_width: int = Field(64, ge=1, le=MOST_WIDTH, description="State of the encoder, per direction.")
    channels: int = Field(
        64, ge=2, le=MOST_WIDTH, description="Width of the denoiser, even; a multiple of groups."
    )
    blocks: int = Field(
        3,
        ge=1,
        le=MOST_LAYERS,
        description="Residual blocks of the denoiser; each sees twice as far as the one before.",
    )
    kernel: int = Field(5, ge=1, le=MOST_BINS, description="Bins of a convolution, odd.")
    groups: int = Field(
        8, ge=1, le=MOST_LAYERS, description="Groups of channels that are normalised together."
    )
    noise_steps: int = Field(
        200, ge=1, le=MOST_STEPS, description="Steps of the diffusion (S); 1000 in InfoDiffusion."
    )
    first_noise: float = Field(
        1e-4, gt=0, lt=1, description="Variance of the noise of the first step; 1e-5 in InfoDiffusion."
    )
    last_noise: float = Field(
        0.04, gt=0, lt=1, description="Variance of the noise of the last step; 0.01 in InfoDiffusion."
    )
    predict: Literal["x0", "eps"] = Field(
        "x0",
        description="What the denoiser estimates and is scored on: the data, or the noise as in "
        "InfoDiffusion, which leaves the code less to say.",
    )
    mmd_weight: float = Field(
        0.1, ge=0, description="Weight of the discrepancy between the codes and a standard normal (ζ)."
    )
    mmd_bandwidth: float | None = Field(
        None, gt=0, description="Squared width of its kernel; none: the square of code_dim."
    )
    sampling_steps: int = Field(
        50,
        ge=1,
        le=MOST_STEPS,
        description="Calls of the denoiser from noise to data (DDIM), at most noise_steps.",
    )
    read_in: GNOCCHIReadInSettings = Field(default_factory=GNOCCHIReadInSettings, description="Read-in.")
    likelihood: Literal["mse"] = Field("mse", description="Squared error, of data or noise.")
    cut_probability: Annotated[CutProbability, AddedLater(0.0)] = 0.0

    @model_validator(mode="after")
    def _sizes_fit(self) -> Self:
        if self.channels % self.groups or self.channels % 2:
            raise ValueError(
                f"channels must be even and a multiple of groups, found {self.channels} channels and "
                f"{self.groups} groups"
            )
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel must be odd, found {self.kernel}; set it to {self.kernel + 1}")
        return self
