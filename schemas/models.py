"""Settings of the models: sizes and choices, no training schedule (that is `schemas.training`)."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from schemas.base import Frozen


class ReadInSettings(Frozen):
    """From the units of one session to the width all sessions share."""

    hidden: int = Field(64, ge=1, description="Width of the per-session linear map (P0).")
    width: int = Field(32, ge=1, description="Width after the shared head (P).")
    activation: Literal["none", "silu"] = Field(
        "none", description="Between the per-session map and the head."
    )
    layernorm: bool = Field(default=True, description="Normalise after the shared head.")


class MDSSMSettings(Frozen):
    """Meta-dynamical state-space model (Vermani et al., ICLR 2025, equations 8-18)."""

    name: Literal["mdssm"] = Field("mdssm", description="Name of the model.")
    latent_dim: int = Field(30, ge=1, description="Dimension of the latent state z (D).")
    embedding_dim: int = Field(2, ge=1, description="Dimension of the dynamical embedding e (E).")
    rank: int = Field(6, ge=1, description="Rank of the change of weights made from e (R).")
    dynamics_width: int = Field(128, ge=1, description="Width of the dynamics map's two hidden layers.")
    hyper_width: int = Field(64, ge=1, description="Width of the hypernetwork.")
    residual: bool = Field(
        default=True,
        description="z + f(z) instead of f(z); eq. 13 is not residual, but the residual map trains faster.",
    )
    encoder_width: int = Field(128, ge=1, description="Width of the recurrent encoders, per direction (H).")
    embedding_bidirectional: bool = Field(
        default=True, description="Embedding encoder reads in both directions."
    )
    state_bidirectional: bool = Field(default=True, description="State encoder reads in both directions.")
    read_in: ReadInSettings = Field(default_factory=ReadInSettings, description="Read-in.")
    start: Literal["random", "principal"] = Field(
        "random",
        description="Where read-in and read-out of a session start: at random as in the paper, or "
        "'principal': at its principal components, turned to slow features.",
    )
    likelihood: Literal["gaussian", "poisson"] = Field(
        "gaussian", description="Gaussian for smoothed rates (the paper), Poisson for spike counts."
    )
    per_session_noise: bool = Field(
        default=True, description="One process noise Q per session instead of one for all."
    )
    embedding_pooling: Literal["last", "mean"] = Field(
        "last",
        description="What the embedding is read from: the encoder's last state (the paper) or the mean of "
        "its states over time.",
    )
    embedding_start_variance: float | None = Field(
        None,
        gt=0,
        description="Variance the embedding's posterior starts with; default: that of a random head, "
        "about 0.7.",
    )
    embedding_kl: Literal["session", "trial"] = Field(
        "session",
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
    cut_probability: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Share of steps in which the encoders see only the first bins, as in a forecast, and all "
        "later bins are rolled out; 0 is the paper's objective, which forecasts less well.",
    )
    kl_warmup_steps: int | None = Field(
        None,
        ge=0,
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

    def _undigested(self) -> set[str]:
        """Choices that came later, where they are what there was before: runs keep their keys."""
        before = {
            "start": "random",
            "embedding_pooling": "last",
            "embedding_start_variance": None,
            "embedding_kl": "session",
        }
        return {name for name, value in before.items() if getattr(self, name) == value}

    @property
    def kl_warmup(self) -> int:
        """Steps over which the weight of the KL terms rises, the default resolved."""
        if self.kl_warmup_steps is not None:
            return self.kl_warmup_steps
        return 400 if self.likelihood == "poisson" else 0


class LFADSReadInSettings(ReadInSettings):
    """From the units of one session to the width all sessions share, both maps linear."""

    hidden: int = Field(32, ge=1, description="Width of the per-session linear map (P0).")
    layernorm: bool = Field(default=False, description="Normalise after the shared head.")
    start: Literal["random", "pcr"] = Field(
        "random",
        description="Where the per-session maps start: 'pcr' by principal-component regression on the mean "
        "activity of the conditions all sessions have in common.",
    )
    learned: bool = Field(
        default=True, description="Whether the per-session maps are trained, or stay where they start."
    )


LFADSLikelihood = Literal["poisson", "gaussian", "mse", "gamma", "zero_inflated_gamma"]


class LFADSSettings(Frozen):
    """Latent factor analysis via dynamical systems (LFADS; Pandarinath et al., Nature Methods 2018)."""

    name: Literal["lfads"] = Field("lfads", description="Name of the model.")
    generator_dim: int = Field(
        64, ge=1, description="State of the generator (G); 200 in the original code and for maze reaches."
    )
    ic_dim: int = Field(32, ge=1, description="Dimension of the initial condition g_0; 64 in the original.")
    factor_dim: int = Field(
        32, ge=1, description="Factors (F); 50 in the original code, 100 in lfads-torch for maze reaches."
    )
    encoder_dim: int = Field(
        64, ge=1, description="State of each encoder, per direction; 128 in the original, 64 in lfads-torch."
    )
    controller_encoder_dim: int | None = Field(
        None, ge=1, description="State of the controller's encoder, per direction; none: encoder_dim."
    )
    controller_dim: int = Field(
        64,
        ge=0,
        description="State of the controller (K); 128 in the original, 64 in lfads-torch. 0: autonomous.",
    )
    input_dim: int = Field(
        2, ge=0, description="Inferred inputs u_t (C); 0 to 4 in the publications. 0: autonomous."
    )
    input_bias: bool = Field(
        default=False,
        description="Mean and log variance of the inferred inputs have a bias, as in lfads-torch; in the "
        "original code they have none.",
    )
    external_inputs: int = Field(0, ge=0, description="Known inputs beside the inferred ones (U).")
    controller_lag: int = Field(
        1, ge=0, description="Bins the controller's view of the past and of the future is set back by."
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
        "calcium events, Gaussian or squared error for smoothed rates.",
    )
    ic_prior: Literal["normal", "none"] = Field(
        "normal",
        description="Prior of the initial condition: normal with learned mean, or none: a plain autoencoder.",
    )
    ic_prior_variance: float = Field(0.1, gt=0, description="Variance of that prior, which is not learned.")
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
    kl_initial_weight: float = Field(
        1.0,
        ge=0,
        description="Weight of the KL of g_0; lfads-torch averages the loss over bins and units, which makes "
        "its weights smaller by their number.",
    )
    kl_input_weight: float = Field(1.0, ge=0, description="Weight of the KL of the inferred inputs.")
    kl_warmup_steps: int = Field(
        400, ge=0, description="Steps over which the KL weights rise from 0; 2000 in the original code."
    )
    l2_generator: float = Field(
        2000.0,
        ge=0,
        description="Weight of half the mean square of the recurrent weights; 2000 in the original code.",
    )
    l2_controller: float = Field(0.0, ge=0, description="The same of the controller; 0 in the original code.")
    l2_warmup_steps: int = Field(
        400, ge=0, description="Steps over which the L2 weights rise from 0; 2000 in the original code."
    )

    @property
    def n_inferred(self) -> int:
        """Inferred inputs; 0 of an autonomous generator."""
        return self.input_dim if self.controller_dim else 0

    @property
    def controller_encoder_width(self) -> int:
        """State of the controller's encoder, per direction, the default resolved."""
        return self.controller_encoder_dim or self.encoder_dim

    def _undigested(self) -> set[str]:
        plain = {"controller_encoder_dim": None, "input_bias": False}
        return {name for name, value in plain.items() if getattr(self, name) == value}


ModelSettings = MDSSMSettings | LFADSSettings

MODELS: dict[str, type[MDSSMSettings | LFADSSettings]] = {"mdssm": MDSSMSettings, "lfads": LFADSSettings}
"""Settings class of every model, by name; the first line of its docstring presents it."""

SCALED_LIKELIHOODS = frozenset({"gaussian", "mse"})
"""Likelihoods that score standardised values, where a training standardises; the others score what was
recorded."""
