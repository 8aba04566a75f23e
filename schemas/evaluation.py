"""Settings of `pipeline run evaluate`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from nwb_latents.schemas.base import Frozen
from nwb_latents.schemas.baselines import BaselineSettings
from nwb_latents.schemas.digest import NeverCounts
from nwb_latents.schemas.registry import METRICS

_WHICH_NUMBERS = "which numbers are measured does not change them"


class EvaluateSettings(Frozen):
    """What is measured of runs and baselines, and on what."""

    metrics: Annotated[tuple[str, ...] | None, NeverCounts(_WHICH_NUMBERS)] = Field(
        None,
        min_length=1,
        description="Metrics; default: all there are. Those a source cannot have are left out, and why.",
    )
    baselines: Annotated[tuple[str, ...] | None, NeverCounts(_WHICH_NUMBERS)] = Field(
        None,
        description="Baselines; default: all, the oracle where the truth of simulated sessions is at hand.",
    )
    baseline: Annotated[BaselineSettings, NeverCounts("it is said with the numbers of baselines")] = Field(
        default_factory=BaselineSettings, description="What the baselines choose from."
    )
    phase: Annotated[Literal["test", "val"], NeverCounts("every number says its split")] = Field(
        "test",
        description="'test': baselines and decoders of own rates are fitted on train and val trials, test "
        "trials are scored; 'val': train and val, and test trials are not looked at. Decoders of recorded "
        "rates and forecasts that need no model are fitted on train trials in both.",
    )
    heldout_fraction: float = Field(
        0.25,
        ge=0,
        lt=1,
        description="Share of units held out for co-smoothing where a store marks none; runs that hide the "
        "same units in training (co_smoothing, heldout_fraction) are scored on them.",
    )
    forward_ms: float = Field(
        200.0, ge=0, description="Time after the window for forward prediction, ms; 0: none."
    )
    lag_ms: float = Field(
        100.0, description="Velocity is read this long after the neural activity, ms; a whole number of bins."
    )
    psth_sigma_ms: float = Field(
        70.0, ge=0, description="Standard deviation of the Gaussian laid over the spikes of the PSTHs, ms."
    )
    forecast_seen_bins: int = Field(13, ge=1, description="Bins a forecast is shown.")
    forecast_bins: int = Field(20, ge=1, description="Bins forecast and scored.")
    n_resamples: int = Field(1000, ge=1, description="Bootstrap resamples of the trials.")
    level: float = Field(0.95, gt=0, lt=1, description="Share of resamples an interval holds.")
    folds: int = Field(5, ge=2, description="Folds of the cross-validation of the decoders.")
    seed: int = Field(0, ge=0, description="Seed of resamples and folds.")

    @field_validator("metrics")
    @classmethod
    def _are_known(cls, names: tuple[str, ...] | None, info: ValidationInfo) -> tuple[str, ...] | None:
        # What was written may name metrics of other versions and distributions; what is typed may not.
        if names is None or info.context is not None:
            return names
        return tuple(dict.fromkeys(METRICS.check(name) for name in names))
