"""Settings of the neural data transformer."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from nwb_latents.schemas.base import Frozen
from nwb_latents.schemas.bounds import MOST_BINS, MOST_LAYERS, MOST_STEPS, MOST_WIDTH
from nwb_latents.schemas.digest import AddedLater
from nwb_latents.schemas.mdssm import ReadInSettings
from nwb_latents.schemas.models import CutProbability, ModelSettings, RateLink


class NDTReadInSettings(ReadInSettings):
    """From the units of one session to the width all sessions share, both maps linear."""

    hidden: int = Field(64, ge=1, le=MOST_WIDTH, description="Width of the per-session linear map (P0).")
    width: int = Field(
        64, ge=1, le=MOST_WIDTH, description="Width of a bin within the transformer (P), as for all sessions."
    )
    layernorm: bool = Field(default=False, description="Normalise after the shared head.")


class NDTMaskSettings(Frozen):
    """Masked modelling: which bins a step hides, how, and that they alone are scored."""

    ratio: float = Field(0.25, gt=0, le=1, description="Share of the bins of each trial that is masked.")
    max_span: int = Field(
        1,
        ge=1,
        le=MOST_BINS,
        description="Longest run of bins that is masked as one; searched from 1 to 7 in the original.",
    )
    span_ramp_start: int = Field(
        500,
        ge=0,
        le=MOST_STEPS,
        description="Step until which bins are masked singly; 8000 epochs in the original.",
    )
    span_ramp_steps: int = Field(
        500,
        ge=0,
        le=MOST_STEPS,
        description="Steps over which the share of batches masked in runs rises from 0 to 1.",
    )
    zero: float = Field(
        0.8,
        ge=0,
        le=1,
        description="Share of the masked samples that are shown as 0; searched from 0.5 to 1 originally.",
    )
    random: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Share of the other masked samples that are shown as a random count, the rest as they "
        "are; searched from 0.6 to 1 in the original.",
    )


class NDTSettings(ModelSettings):
    """Neural data transformer: rates of all bins at once, by masked modelling of spike counts."""

    implementation: ClassVar[str] = "nwb_latents.models.families.ndt:NDT"
    reads_counts: ClassVar[bool] = True
    scores_forward_bins: ClassVar[bool] = True
    paper: ClassVar[str] = "Ye and Pandarinath 2021"
    main_settings: ClassVar[tuple[str, ...]] = ("layers", "hidden", "context_back", "context_forward")

    name: Literal["ndt"] = Field("ndt", description="Name of the model.")
    layers: int = Field(
        4, ge=1, le=MOST_LAYERS, description="Layers (L); 6 in the original, 4 for maze reaches."
    )
    heads: int = Field(
        2, ge=1, le=MOST_LAYERS, description="Heads of the attention; the width is a multiple of them."
    )
    hidden: int = Field(128, ge=1, le=MOST_WIDTH, description="Width of the hidden layer within each layer.")
    context_back: int | None = Field(
        10, ge=0, le=MOST_BINS, description="Bins before a bin that it attends to in each layer; none: all."
    )
    context_forward: int | None = Field(
        10,
        ge=0,
        le=MOST_BINS,
        description="Bins after it; none: all. 0: causal, as decoding bin by bin needs it.",
    )
    max_bins: int = Field(
        512,
        ge=1,
        le=MOST_BINS,
        description="Most bins of a trial, those that are forecast or scored after it included.",
    )
    input_dropout: float = Field(0.2, ge=0, lt=1, description="Dropout of what the first layer is given.")
    dropout: float = Field(0.1, ge=0, lt=1, description="Dropout within the layers.")
    rate_dropout: float = Field(0.2, ge=0, lt=1, description="Dropout of what the read-out is given.")
    read_in: NDTReadInSettings = Field(default_factory=NDTReadInSettings, description="Read-in.")
    mask: NDTMaskSettings = Field(default_factory=NDTMaskSettings, description="What a training step hides.")
    likelihood: Literal["poisson"] = Field("poisson", description="Poisson, for spike counts.")
    rate_link: Annotated[RateLink, AddedLater("exp")] = "exp"
    cut_probability: Annotated[CutProbability, AddedLater(0.0)] = 0.5

    @model_validator(mode="after")
    def _heads_share_the_width(self) -> Self:
        if self.read_in.width % self.heads:
            raise ValueError(
                f"heads: a read-in of width {self.read_in.width} cannot be shared out over {self.heads} "
                f"heads. Set read_in.width to {self.heads * (self.read_in.width // self.heads + 1)}"
            )
        return self

    @property
    def ramp_steps(self) -> int:
        """Steps until bins are masked as they stay."""
        return self.mask.span_ramp_start + self.mask.span_ramp_steps if self.mask.max_span > 1 else 0
