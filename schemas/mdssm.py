"""Settings of the meta-dynamical state-space model and its baselines."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from nwb_latents.schemas.base import Frozen
from nwb_latents.schemas.bounds import MOST_STEPS, MOST_WIDTH
from nwb_latents.schemas.digest import AddedLater, DefaultBefore
from nwb_latents.schemas.models import BehaviourSettings, RateLink


class ReadInSettings(Frozen):
    """From the units of one session to the width all sessions share."""

    hidden: int = Field(64, ge=1, le=MOST_WIDTH, description="Width of the per-session linear map (P0).")
    width: int = Field(32, ge=1, le=MOST_WIDTH, description="Width after the shared head (P).")
    activation: Literal["none", "silu"] = Field(
        "none", description="Between the per-session map and the head."
    )
    layernorm: bool = Field(default=True, description="Normalise after the shared head.")


class MDSSMSettings(BehaviourSettings):
    """Meta-dynamical state-space model: an embedding per session changes shared dynamics at low rank."""

    implementation: ClassVar[str] = "nwb_latents.models.families.mdssm:MDSSM"
    paper: ClassVar[str] = "Vermani et al., ICLR 2025"
    main_settings: ClassVar[tuple[str, ...]] = ("latent_dim", "embedding_dim", "rank", "conditioner")

    name: Literal["mdssm"] = Field("mdssm", description="Name of the model.")
    latent_dim: int = Field(30, ge=1, le=MOST_WIDTH, description="Dimension of the latent state z (D).")
    embedding_dim: int = Field(
        2, ge=1, le=MOST_WIDTH, description="Dimension of the dynamical embedding e (E)."
    )
    rank: int = Field(6, ge=1, le=MOST_WIDTH, description="Rank of the change of weights made from e (R).")
    dynamics_width: int = Field(
        128, ge=1, le=MOST_WIDTH, description="Width of the dynamics map's two hidden layers."
    )
    hyper_width: int = Field(64, ge=1, le=MOST_WIDTH, description="Width of the hypernetwork.")
    residual: bool = Field(
        default=True,
        description="z + f(z) instead of f(z); eq. 13 is not residual, but the residual map trains faster.",
    )
    encoder_width: int = Field(
        128, ge=1, le=MOST_WIDTH, description="Width of the recurrent encoders, per direction (H)."
    )
    embedding_bidirectional: bool = Field(
        default=True, description="Embedding encoder reads in both directions."
    )
    state_bidirectional: bool = Field(default=True, description="State encoder reads in both directions.")
    read_in: ReadInSettings = Field(default_factory=ReadInSettings, description="Read-in.")
    start: Annotated[Literal["random", "principal"], AddedLater("random")] = Field(
        "random",
        description="Where read-in and read-out of a session start: at random as in the paper, or "
        "'principal': at its principal components, turned to slow features.",
    )
    likelihood: Literal["gaussian", "poisson"] = Field(
        "gaussian", description="Gaussian for smoothed rates (the paper), Poisson for spike counts."
    )
    rate_link: Annotated[RateLink, AddedLater("exp")] = "exp"
    per_session_noise: bool = Field(
        default=True, description="One process noise Q per session instead of one for all."
    )
    embedding_pooling: Annotated[Literal["last", "mean"], AddedLater("last")] = Field(
        "mean",
        description="What the embedding is read from: the encoder's last state (the paper) or the mean of "
        "its states over time.",
    )
    embedding_start_variance: Annotated[float | None, AddedLater(None)] = Field(
        0.01,
        gt=0,
        description="Variance the embedding's posterior starts with; none: that of a random head, about 0.7, "
        "beside which the dynamics often learn not to listen to the embedding.",
    )
    embedding_kl: Annotated[Literal["session", "trial"], AddedLater("session")] = Field(
        "trial",
        description="Weight of the embedding's KL beside the mean over trials: 'session' is 1, as in the "
        "paper; 'trial' is 1 / trials, the lower bound of all trials of the step together.",
    )
    detach_embedding: bool = Field(
        default=True,
        description="The state encoder sees e without passing gradients back (the authors' code).",
    )
    mask_probability: float = Field(
        0.2,
        ge=0,
        lt=1,
        description="Share of time bins whose state is rolled out instead of inferred (p_mask).",
    )
    cut_probability: Annotated[float, DefaultBefore(0.5)] = Field(
        0.8,
        ge=0,
        le=1,
        description="Share of steps in which the encoders see only the first bins, as in a forecast, and all "
        "later bins are rolled out; 0 is the paper's objective, which forecasts less well.",
    )
    kl_warmup_steps: int | None = Field(
        None,
        ge=0,
        le=MOST_STEPS,
        description="Steps over which the weight of the KL terms rises from 0 to 1; default: 400 for a "
        "Poisson likelihood, which without it often leaves the latent state unused, and none for a Gaussian.",
    )
    conditioner: Literal["low_rank", "linear", "concat", "shared"] = Field(
        "low_rank",
        description="What the embedding changes: 'low_rank' weights (MDSSM), or a baseline: 'linear' (CoDA), "
        "'concat' (the embedding as an input), 'shared' (nothing: there is no embedding).",
    )
    weight_change_penalty: float = Field(
        0.1, ge=0, description="Weight of the Frobenius norm of the weight changes (lambda)."
    )

    @model_validator(mode="after")
    def _frames_need_real_values(self) -> Self:
        if self.start == "principal" and self.likelihood != "gaussian":
            raise ValueError(
                "start: 'principal' starts a linear read-out of real values, and the likelihood is "
                f"{self.likelihood}. Use likelihood gaussian, or start random."
            )
        return self

    def aligned(self, *, mask_probability: float) -> Self:
        """Return the settings of few-shot alignment: a share of bins of its own is rolled out."""
        return self.model_copy(update={"mask_probability": mask_probability})

    @property
    def kl_warmup(self) -> int:
        """Steps over which the weight of the KL terms rises, the default resolved."""
        if self.kl_warmup_steps is not None:
            return self.kl_warmup_steps
        return 400 if self.likelihood == "poisson" else 0

    @property
    def ramp_steps(self) -> int:
        """Steps until every weight of the loss is what it stays."""
        return self.kl_warmup
