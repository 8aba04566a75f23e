"""Settings of `pipeline run align`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from nwb_latents.schemas.base import Frozen
from nwb_latents.schemas.bounds import MOST_ITEMS, MOST_SEED, MOST_STEPS
from nwb_latents.schemas.digest import AddedLater
from nwb_latents.schemas.training import Device, OptimiserSettings

SEVERAL_STARTS = 4
"""Starts where none comes from known conditions."""

MOST_STARTS = 64
"""Starts that are sessions of one model."""


class AlignOptimiserSettings(OptimiserSettings):
    """AdamW with a cosine learning rate, for the parameters of one session."""

    lr: float = Field(1e-2, gt=0, le=10, description="Learning rate at the start.")
    warmup_steps: int | None = Field(
        0, ge=0, le=MOST_STEPS, description="Steps over which the learning rate rises from zero."
    )


class ScratchOptimiserSettings(OptimiserSettings):
    """AdamW with a cosine learning rate, for all parameters."""

    lr: float = Field(3e-3, gt=0, le=10, description="Learning rate at the start.")
    warmup_steps: int | None = Field(
        0, ge=0, le=MOST_STEPS, description="Steps over which the learning rate rises from zero."
    )


class ScratchSettings(Frozen):
    """The baseline without pre-training: all parameters are trained on the same few trials."""

    optimiser: ScratchOptimiserSettings = Field(
        default_factory=ScratchOptimiserSettings, description="Optimiser of the baseline."
    )
    max_steps: int = Field(1000, ge=1, le=MOST_STEPS, description="Training steps of the baseline at most.")


class AlignSettings(Frozen):
    """Few-shot alignment: which trials of a new session, and how its own parameters are trained on them."""

    choice: Literal["stratified", "first"] = Field(
        "stratified",
        description="Which trials of the training split: 'stratified' draws them by the seed, the conditions "
        "as even as they can be; 'first' takes the earliest. More trials always include the fewer.",
    )
    start: Literal["conditions", "random"] = Field(
        "conditions",
        description="Where read-in and read-out start: 'conditions' fits them by least squares to what the "
        "run's own sessions read in under the same conditions, where there are such; 'random' does not.",
    )
    starts: Annotated[int | None, AddedLater(1)] = Field(
        None,
        ge=1,
        le=MOST_STARTS,
        description="Starts of an alignment, trained side by side as one batch; the one with the least loss "
        "on its training trials is kept, and the losses of all are said. None: 4, but 1 where the start "
        "comes from known conditions, which others were never better than.",
    )
    start_steps: Annotated[int, AddedLater(100)] = Field(
        100, ge=1, le=MOST_STEPS, description="Steps all starts take before one is kept and goes on alone."
    )
    optimiser: AlignOptimiserSettings = Field(
        default_factory=AlignOptimiserSettings, description="Optimiser of the alignment."
    )
    max_steps: int = Field(600, ge=1, le=MOST_STEPS, description="Training steps at most.")
    scratch: ScratchSettings = Field(
        default_factory=ScratchSettings, description="The baseline of --from-scratch."
    )
    trials_per_step: int = Field(
        64, ge=1, le=MOST_ITEMS, description="Trials drawn for a step; all where there are fewer."
    )
    mask_probability: float = Field(
        0.2, ge=0, lt=1, description="Share of time bins whose state is rolled out instead of inferred."
    )
    validation_share: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Share of the few trials held back to stop early and to choose the best step, rounded "
        "down; with none held back, all steps are taken and the last is used.",
    )
    validate_every: int = Field(25, ge=1, le=MOST_STEPS, description="Steps between two validations.")
    checkpoint_every: int = Field(100, ge=1, le=MOST_STEPS, description="Steps between two checkpoints.")
    patience: int = Field(
        8,
        ge=1,
        le=MOST_STEPS,
        description="Training stops after this many validations without a better loss.",
    )
    seed: int = Field(
        0, ge=0, le=MOST_SEED, description="Seed of the choice of trials, initial weights, batches and noise."
    )
    device: Device = Field("auto", description="Where to train; auto: a GPU if there is one.")
