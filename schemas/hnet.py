"""Settings of the hypernetwork recurrent network."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from nwb_latents.schemas.bounds import MOST_BINS, MOST_STEPS, MOST_WIDTH
from nwb_latents.schemas.digest import AddedLater
from nwb_latents.schemas.mdssm import ReadInSettings
from nwb_latents.schemas.models import CutProbability, ModelSettings


class HNETReadInSettings(ReadInSettings):
    """From the units of one session to the width all sessions share, both maps linear."""

    hidden: int = Field(32, ge=1, le=MOST_WIDTH, description="Width of the per-session linear map (P0).")
    width: int = Field(16, ge=1, le=MOST_WIDTH, description="Width all sessions share (P).")
    layernorm: bool = Field(default=False, description="Normalise after the shared head.")


class HNETSettings(ModelSettings):
    """Hypernetwork recurrent network: an embedding per session writes its recurrent weights."""

    implementation: ClassVar[str] = "nwb_latents.models.families.hnet:HNET"
    paper: ClassVar[str] = "HNET, JEDI"
    main_settings: ClassVar[tuple[str, ...]] = ("recurrent_dim", "embedding_dim", "rank", "start_bins")

    name: Literal["hnet"] = Field("hnet", description="Name of the model.")
    observed: Literal["linear", "units"] = Field(
        "linear",
        description="'linear': every session reads its units out of a network of recurrent_dim units; "
        "'units': the recorded units are the network's own, the same in every session, as in the poster.",
    )
    recurrent_dim: int = Field(
        64, ge=1, le=MOST_WIDTH, description="Units of the network (N); with observed: units, those recorded."
    )
    embedding_dim: int = Field(2, ge=1, le=MOST_WIDTH, description="Dimension of the embedding e (E).")
    rank: int = Field(5, ge=1, le=MOST_WIDTH, description="Rank of the recurrent weights (R).")
    hyper_width: int = Field(
        128, ge=1, le=MOST_WIDTH, description="Width of the hypernetwork's two hidden layers."
    )
    dt_over_tau: float = Field(0.2, gt=0, le=1, description="Bin width over the network's time constant.")
    start_bins: int = Field(
        13,
        ge=1,
        le=MOST_BINS,
        description="Bins the state of the first of them is read from; with observed: units 1, the state.",
    )
    read_in: HNETReadInSettings = Field(default_factory=HNETReadInSettings, description="Read-in.")
    likelihood: Literal["mse"] = Field("mse", description="Squared error, of a network that runs freely.")
    cut_probability: Annotated[CutProbability, AddedLater(0.0)] = 0.0
    process_noise: float = Field(
        0.1, ge=0, description="Deviation of the noise added to the state of each bin of a training step."
    )
    horizon_block: int = Field(
        5, ge=1, le=MOST_BINS, description="Bins by which the part of the trial that is run and scored grows."
    )
    horizon_every: int = Field(
        50,
        ge=0,
        le=MOST_STEPS,
        description="Training steps after which it grows; 0: whole trials from the start.",
    )
    embedding_penalty: float = Field(1e-3, ge=0, description="Weight of the squared norm of the embedding.")
    weight_penalty: float = Field(
        0.0, ge=0, description="Weight of the Frobenius norm of the recurrent weights."
    )

    @model_validator(mode="after")
    def _observed_units_start_the_network(self) -> Self:
        if self.observed == "units" and self.start_bins != 1:
            raise ValueError(
                "with observed: units the first bin is the network's state; set start_bins to 1, found "
                f"{self.start_bins}"
            )
        return self
