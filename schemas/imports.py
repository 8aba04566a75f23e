"""Settings of `pipeline import`: what files of other programs leave open."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from nwb_latents.schemas.base import Frozen
from nwb_latents.schemas.bounds import WIDEST_KERNEL_S
from nwb_latents.schemas.digest import AddedLater

IMPORT_VERSION = 1
"""Raised when the same file and settings give another store or run than before."""


class LfadsH5Import(Frozen):
    """What an HDF5 dataset of lfads-torch does not say of itself."""

    bin_ms: float | None = Field(
        None,
        gt=0,
        le=10_000,
        description="Width of a bin, ms; needed unless the file is an export of this program.",
    )
    subject: str | None = Field(
        None, description="Subject id; default: what an export of this program states, else unknown."
    )
    task: str | None = Field(
        None, description="Task, e.g. CO; default: what an export of this program states, else unknown."
    )
    velocity_key: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9._-]+$",
        description="Datasets of the hand velocity, cm/s, by their name after train_ and valid_, e.g. "
        "behavior; none: the store has no kinematics, and velocity cannot be decoded from it.",
    )
    valid_split: Literal["val", "test"] = Field(
        "val",
        description="What the valid_ trials become: 'val' to stop training by, as in lfads-torch, or 'test' "
        "to score decoders on, which need test trials; training is then not stopped early.",
    )
    test: bool = Field(True, description="Take test trials too, where the file has them.")
    smooth_sigma_ms: float = Field(
        25.0,
        ge=0,
        le=WIDEST_KERNEL_S * 1e3,
        description="Standard deviation of the Gaussian that turns counts into rates, ms; 0 = none.",
    )


class LfadsCheckpointImport(Frozen):
    """What a checkpoint of lfads-torch does not say of itself."""

    likelihood: Literal["poisson", "mse", "gaussian", "gamma"] = Field(
        "poisson",
        description="Reconstruction the model was trained with, which the file does not hold: poisson (also "
        "for PoissonBPS), mse, gaussian or gamma; the zero-inflated gamma of lfads-torch is not there here.",
    )
    input_prior_df: float | None = Field(
        None,
        gt=0,
        description="Degrees of freedom of a Student-t prior of the inferred inputs, which the file often "
        "does not hold.",
    )
    ic_prior_df: Annotated[float | None, AddedLater(None)] = Field(
        None,
        gt=0,
        description="Degrees of freedom of a Student-t prior of the initial condition, which the file does "
        "not hold.",
    )
