"""Settings of `pipeline run train`."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from schemas.base import Frozen
from schemas.models import MDSSMSettings


class BatchSettings(Frozen):
    """How many trials of how many sessions make one step."""

    trials_per_session: int = Field(64, ge=1, description="Trials drawn from each session of a step.")
    sessions_per_step: int = Field(20, ge=1, description="Sessions drawn for each step; fewer if there are fewer.")
    sessions_per_block: int = Field(
        10, ge=1, description="Sessions packed into one block; small blocks stay in the processor's cache."
    )


class OptimiserSettings(Frozen):
    """AdamW with a cosine learning rate."""

    lr: float = Field(1e-3, gt=0, description="Learning rate at the start.")
    final_lr: float = Field(0.0, ge=0, description="Learning rate at the end of the cosine.")
    weight_decay: float = Field(1e-3, ge=0, description="Decoupled weight decay.")
    clip_norm: float = Field(200.0, gt=0, description="Gradients are scaled down to this global norm.")
    warmup_steps: int = Field(0, ge=0, description="Steps over which the learning rate rises from zero.")


class TrainSettings(Frozen):
    """A whole training: model, data, optimiser, stopping."""

    model: MDSSMSettings = Field(default_factory=MDSSMSettings, description="The model.")
    batch: BatchSettings = Field(default_factory=BatchSettings, description="Batches.")
    optimiser: OptimiserSettings = Field(default_factory=OptimiserSettings, description="Optimiser.")
    signal: Literal["rates", "counts"] = Field(
        "rates", description="What the model is shown and scored on: smoothed rates or spike counts."
    )
    standardise: bool = Field(
        True, description="Scale each unit by its mean and deviation over training trials (rates only)."
    )
    max_steps: int = Field(2000, ge=1, description="Training steps at most.")
    validate_every: int = Field(50, ge=1, description="Steps between two validations.")
    checkpoint_every: int = Field(50, ge=1, description="Steps between two checkpoints.")
    patience: int = Field(
        20, ge=1, description="Training stops after this many validations without a better loss."
    )
    seed: int = Field(0, ge=0, description="Seed of initial weights, batches and noise.")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where to train; auto: a GPU if there is one.")
    devices: int = Field(1, ge=1, description="Number of devices.")
    precision: Literal["32-true", "bf16-mixed", "16-mixed", "64-true"] = Field(
        "32-true", description="Arithmetic of the training step."
    )
