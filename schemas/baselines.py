"""Settings of the baselines runs are held against."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from nwb_latents.schemas.base import Frozen
from nwb_latents.schemas.bounds import MOST_ITEMS, MOST_SEED, MOST_STEPS, MOST_WIDTH, WIDEST_KERNEL_S
from nwb_latents.schemas.digest import AddedLater


class BaselineSettings(Frozen):
    """What the rates a run is held against are chosen from; every choice sees training trials alone."""

    sigmas_ms: tuple[float, ...] = Field(
        (20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 100.0),
        min_length=1,
        description="Standard deviations tried for the Gaussian the counts are smoothed with, ms.",
    )
    penalties: tuple[float, ...] = Field(
        (1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0),
        min_length=1,
        description="Penalties tried for the Poisson regressions, on the mean over bins as in scikit-learn.",
    )
    latents: tuple[int, ...] = Field(
        (2, 4, 8, 12, 16, 24, 32),
        min_length=1,
        description="Numbers of latent dimensions tried for factor analysis and principal components; those "
        "that are not below the number of held-in units are left out.",
    )
    folds: int = Field(
        5, ge=2, le=MOST_ITEMS, description="Folds of the cross-validation; whole trials stay together."
    )
    choice_trials: int = Field(
        200,
        ge=2,
        le=MOST_ITEMS,
        description="Most trials that cross-validation looks at, drawn at random; the fit sees all.",
    )
    gpfa_latents: int | None = Field(
        None,
        ge=1,
        le=MOST_WIDTH,
        description="Latent dimensions of GPFA. Default: as many as factor analysis is best with.",
    )
    gpfa_trials: int = Field(
        100,
        ge=2,
        le=MOST_ITEMS,
        description="Most trials the parameters of GPFA are learnt from, drawn at random.",
    )
    gpfa_iterations: int = Field(
        100, ge=1, le=MOST_STEPS, description="Most iterations of expectation maximisation of GPFA."
    )
    trial_factors: Annotated[tuple[int, ...], AddedLater((2, 3, 4, 6, 8, 12, 16))] = Field(
        (2, 3, 4, 6, 8, 12, 16),
        min_length=1,
        description="Numbers of factors of a whole trial tried for trial_factors.",
    )
    library_factors: Annotated[int, AddedLater(16)] = Field(
        16, ge=1, le=MOST_WIDTH, description="Factors by which the trials of trial_library are denoised."
    )
    library_temperatures: Annotated[tuple[float, ...], AddedLater((1.0, 2.0, 4.0, 8.0))] = Field(
        (1.0, 2.0, 4.0, 8.0),
        min_length=1,
        description="Temperatures tried for trial_library: likelihoods count to the power of one over it.",
    )
    course_sigma_ms: Annotated[float, AddedLater(40.0)] = Field(
        40.0,
        gt=0,
        le=WIDEST_KERNEL_S * 1e3,
        description="Standard deviation of the Gaussian that courses of whole trials are smoothed with, ms.",
    )
    course_latents: Annotated[int, AddedLater(8)] = Field(
        8, ge=1, le=MOST_WIDTH, description="Latent variables of a bin that courses of whole trials have."
    )
    course_penalty: Annotated[float, AddedLater(1e-2)] = Field(
        1e-2, gt=0, description="Penalty of the Poisson regression from courses of whole trials to counts."
    )
    seed: int = Field(0, ge=0, le=MOST_SEED, description="Seed of folds, draws of trials and random starts.")

    @field_validator("sigmas_ms", "penalties", "latents", "trial_factors", "library_temperatures")
    @classmethod
    def _positive(cls, values: tuple[float, ...]) -> tuple[float, ...]:
        if any(not value > 0 for value in values):
            msg = f"must all be above 0, found {list(values)}"
            raise ValueError(msg)
        return tuple(sorted(set(values)))
