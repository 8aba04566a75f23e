"""Settings of `pipeline run evaluate`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from nwb_latents.schemas import task
from nwb_latents.schemas.base import Frozen
from nwb_latents.schemas.baselines import BaselineSettings
from nwb_latents.schemas.bounds import MOST_DRAWS, MOST_ITEMS, MOST_SEED
from nwb_latents.schemas.digest import AddedLater, FormerlyApart, NeverCounts
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
    heldout_fraction: task.HeldoutFraction = task.HELDOUT_FRACTION
    forward_ms: task.ForwardMs = task.FORWARD_MS
    lag_ms: task.LagMs = task.LAG_MS
    psth_sigma_ms: task.PsthSigmaMs = task.PSTH_SIGMA_MS
    forecast: Annotated[task.ForecastWindow, FormerlyApart(task.FORMER_FORECAST)] = Field(
        default_factory=task.ForecastWindow, description="What a forecast is shown, and how far it goes."
    )
    held_out_days: Annotated[int, AddedLater(0)] = Field(
        0,
        ge=0,
        le=MOST_ITEMS,
        description="Days held out of each subject, its last ones: these sessions alone are measured, and "
        "decoders of the days before are applied to them (held_out_day_r2); 0: none.",
    )
    n_resamples: int = Field(1000, ge=1, le=MOST_DRAWS, description="Bootstrap resamples of the trials.")
    level: float = Field(0.95, gt=0, lt=1, description="Share of resamples an interval holds.")
    folds: task.Folds = task.N_FOLDS
    seed: int = Field(0, ge=0, le=MOST_SEED, description="Seed of resamples and folds.")

    @field_validator("metrics")
    @classmethod
    def _are_known(cls, names: tuple[str, ...] | None, info: ValidationInfo) -> tuple[str, ...] | None:
        # What was written may name metrics of other versions and distributions; what is typed may not.
        if names is None or info.context is not None:
            return names
        return tuple(dict.fromkeys(METRICS.check(name) for name in names))

    @field_validator("baselines", mode="before")
    @classmethod
    def _null_is_a_name(cls, names: object) -> object:
        # To YAML the name of the baseline is no word.
        if isinstance(names, list | tuple):
            return ["null" if name is None else name for name in names]
        return names
