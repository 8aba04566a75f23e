"""Settings of LFADS and its variants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from nwb_latents.schemas.bounds import MOST_BINS, MOST_STEPS, MOST_WIDTH
from nwb_latents.schemas.digest import AddedLater
from nwb_latents.schemas.mdssm import ReadInSettings
from nwb_latents.schemas.models import CutProbability, ModelSettings, RateLink


class LFADSReadInSettings(ReadInSettings):
    """From the units of one session to the width all sessions share, both maps linear."""

    hidden: int = Field(32, ge=1, le=MOST_WIDTH, description="Width of the per-session linear map (P0).")
    layernorm: bool = Field(default=False, description="Normalise after the shared head.")
    start: Literal["random", "pcr"] = Field(
        "random",
        description="Where the per-session maps start: 'pcr' by principal-component regression on the mean "
        "activity of the conditions all sessions have in common.",
    )
    learned: bool = Field(
        default=True, description="Whether the per-session maps are trained, or stay where they start."
    )


LFADSLikelihood = Literal["poisson", "gaussian", "gaussian_per_bin", "mse", "gamma", "zero_inflated_gamma"]


def _drawn(low: float, high: float, explore: float, **more: Any) -> dict[str, Any]:
    return {"low": low, "high": high, "explore": explore, **more}


AUTO_LFADS: Mapping[str, Mapping[str, Any]] = {
    "optimiser.lr": _drawn(1e-5, 5e-3, 0.3, scale="log", start=4e-3),
    "model.dropout": _drawn(0.0, 0.6, 0.3),
    "masks.coordinated_dropout": _drawn(0.01, 0.7, 0.3, start=0.5),
    "model.kl_initial_weight": _drawn(1e-6, 1e-3, 0.8, scale="log", per_element=True),
    "model.kl_input_weight": _drawn(1e-6, 1e-4, 0.8, scale="log", per_element=True),
    "model.l2_generator": _drawn(1e-4, 1.0, 0.8, scale="log", per_element=True),
    "model.l2_controller": _drawn(1e-4, 1.0, 0.8, scale="log", per_element=True),
}
"""What a sweep searches: the space of AutoLFADS (Keshtkaran et al. 2022; lfads-torch)."""


class LFADSSettings(ModelSettings):
    """LFADS: a recurrent generator, its initial condition and its inputs inferred trial by trial."""

    implementation: ClassVar[str] = "nwb_latents.models.families.lfads:LFADS"
    reads_counts: ClassVar[bool] = True
    scores_forward_bins: ClassVar[bool] = True
    paper: ClassVar[str] = "Pandarinath et al., Nature Methods 2018"
    main_settings: ClassVar[tuple[str, ...]] = ("generator_dim", "factor_dim", "input_dim", "likelihood")
    sweep_space: ClassVar[Mapping[str, Mapping[str, Any]]] = AUTO_LFADS

    name: Literal["lfads"] = Field("lfads", description="Name of the model.")
    generator_dim: int = Field(
        64,
        ge=1,
        le=MOST_WIDTH,
        description="State of the generator (G); 200 in the original code and for maze reaches.",
    )
    ic_dim: int = Field(
        32, ge=1, le=MOST_WIDTH, description="Dimension of the initial condition g_0; 64 in the original."
    )
    factor_dim: int = Field(
        32,
        ge=1,
        le=MOST_WIDTH,
        description="Factors (F); 50 in the original code, 100 in lfads-torch for maze reaches.",
    )
    encoder_dim: int = Field(
        64,
        ge=1,
        le=MOST_WIDTH,
        description="State of each encoder, per direction; 128 in the original, 64 in lfads-torch.",
    )
    controller_encoder_dim: Annotated[int | None, AddedLater(None)] = Field(
        None,
        ge=1,
        le=MOST_WIDTH,
        description="State of the controller's encoder, per direction; none: encoder_dim.",
    )
    controller_dim: int = Field(
        64,
        ge=0,
        le=MOST_WIDTH,
        description="State of the controller (K); 128 in the original, 64 in lfads-torch. 0: autonomous.",
    )
    input_dim: int = Field(
        2,
        ge=0,
        le=MOST_WIDTH,
        description="Inferred inputs u_t (C); 0 to 4 in the publications. 0: autonomous.",
    )
    input_bias: Annotated[bool, AddedLater(False)] = Field(
        default=False,
        description="Mean and log variance of the inferred inputs have a bias, as in lfads-torch; in the "
        "original code they have none.",
    )
    external_inputs: int = Field(
        0, ge=0, le=MOST_WIDTH, description="Known inputs beside the inferred ones (U)."
    )
    controller_lag: int = Field(
        1,
        ge=0,
        le=MOST_BINS,
        description="Bins the controller's view of the past and of the future is set back by.",
    )
    causal_controller: bool = Field(
        default=False,
        description="The controller sees the past only, and not the factors of the bin before.",
    )
    clip: float = Field(5.0, gt=0, description="Largest absolute value of a recurrent state.")
    dropout: float = Field(
        0.05,
        ge=0,
        lt=1,
        description="Dropout; 0.05 in the original code, 0.3 in lfads-torch for maze reaches.",
    )
    read_in: LFADSReadInSettings = Field(default_factory=LFADSReadInSettings, description="Read-in.")
    likelihood: LFADSLikelihood = Field(
        "poisson",
        description="Poisson for spike counts, gamma for rectified EMG, zero-inflated gamma for deconvolved "
        "calcium events, Gaussian or squared error for smoothed rates; gaussian_per_bin infers the variance "
        "of each bin, as in lfads-torch.",
    )
    rate_link: Annotated[RateLink, AddedLater("exp")] = "exp"
    cut_probability: Annotated[CutProbability, AddedLater(0.0)] = 0.5
    ic_prior: Literal["normal", "student_t", "none"] = Field(
        "normal",
        description="Prior of the initial condition: normal with learned mean, Student-t with learned "
        "location and scale, or none: a plain autoencoder.",
    )
    ic_prior_variance: float = Field(
        0.1, gt=0, description="Variance of a normal prior, which is not learned; squared scale of another."
    )
    ic_prior_df: Annotated[float, AddedLater(5.0)] = Field(
        5.0, gt=0, description="Degrees of freedom of a Student-t prior of the initial condition."
    )
    ic_min_variance: float = Field(1e-4, gt=0, description="Least variance of the posterior of g_0.")
    input_prior: Literal["ar1", "normal", "student_t", "none"] = Field(
        "ar1",
        description="Prior of inferred inputs: autoregressive, normal or Student-t per bin, or none.",
    )
    input_prior_tau: float = Field(10.0, gt=0, description="Time constant the AR(1) prior starts with, bins.")
    input_prior_variance: float = Field(
        0.1, gt=0, description="Variance a prior of inputs starts with; of an AR(1) that of its innovations."
    )
    input_prior_df: float = Field(5.0, gt=0, description="Degrees of freedom of the Student-t prior.")
    input_prior_fixed: Annotated[bool, AddedLater(False)] = Field(
        default=False,
        description="The variance of the prior of inputs stays where it starts, as that of a normal one does "
        "in lfads-torch.",
    )
    student_t_posterior: Annotated[bool, AddedLater(False)] = Field(
        default=False,
        description="What has a Student-t prior has a Student-t posterior of the same degrees of freedom, as "
        "in lfads-torch, instead of a normal one.",
    )
    kl_initial_weight: float = Field(
        1.0,
        ge=0,
        description="Weight of the KL of g_0; lfads-torch averages the loss over bins and units, which makes "
        "its weights smaller by their number.",
    )
    kl_input_weight: float = Field(1.0, ge=0, description="Weight of the KL of the inferred inputs.")
    kl_warmup_steps: int = Field(
        400,
        ge=0,
        le=MOST_STEPS,
        description="Steps over which the KL weights rise from 0; 2000 in the original code.",
    )
    l2_generator: float = Field(
        2000.0,
        ge=0,
        description="Weight of half the mean square of the recurrent weights; 2000 in the original code.",
    )
    l2_controller: float = Field(0.0, ge=0, description="The same of the controller; 0 in the original code.")
    l2_warmup_steps: int = Field(
        400,
        ge=0,
        le=MOST_STEPS,
        description="Steps over which the L2 weights rise from 0; 2000 in the original code.",
    )

    @model_validator(mode="after")
    def _priors_are_there(self) -> Self:
        drawn = [self.ic_prior, self.input_prior if self.n_inferred else "none"]
        if self.student_t_posterior and "student_t" not in drawn:
            raise ValueError(
                "student_t_posterior is for what has a Student-t prior, and nothing has. Set input_prior or "
                "ic_prior to student_t, or leave student_t_posterior out."
            )
        if self.input_prior_fixed and drawn[1] == "none":
            raise ValueError(
                "input_prior_fixed fixes the variance of a prior of inputs, and there is none. Leave it out, "
                "or set input_prior."
            )
        return self

    @property
    def initial_noise_df(self) -> float | None:
        """Degrees of freedom of what the initial condition is drawn from; None: it is normal."""
        return self.ic_prior_df if self.student_t_posterior and self.ic_prior == "student_t" else None

    @property
    def input_noise_df(self) -> float | None:
        """Degrees of freedom of what the inputs are drawn from; None: it is normal."""
        return self.input_prior_df if self.student_t_posterior and self.input_prior == "student_t" else None

    @property
    def n_inferred(self) -> int:
        """Inferred inputs; 0 of an autonomous generator."""
        return self.input_dim if self.controller_dim else 0

    @property
    def controller_encoder_width(self) -> int:
        """State of the controller's encoder, per direction, the default resolved."""
        return self.controller_encoder_dim or self.encoder_dim

    @property
    def ramp_steps(self) -> int:
        """Steps until every weight of the loss is what it stays."""
        return max(self.kl_warmup_steps, self.l2_warmup_steps)
