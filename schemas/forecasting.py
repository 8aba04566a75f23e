"""Settings of `pipeline run forecast`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from nwb_latents.schemas import task
from nwb_latents.schemas.baselines import BaselineSettings
from nwb_latents.schemas.bounds import MOST_SEED
from nwb_latents.schemas.digest import NeverCounts

ForecastQuantity = Literal["velocity", "rates"]


class ForecastSettings(task.ForecastWindow):
    """How far a run looks ahead, and what it is held against."""

    lag_ms: task.LagMs = task.LAG_MS
    alphas: task.Penalties = task.PENALTIES
    linear_alphas: Annotated[tuple[float, ...], task.Positive] = Field(
        (1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6),
        min_length=1,
        description="Penalties tried for the linear forecast, likewise.",
    )
    baseline: Annotated[BaselineSettings, NeverCounts("it is said with the numbers of baselines")] = Field(
        default_factory=BaselineSettings, description="What forecasts that need no model choose from."
    )
    leaky: Annotated[bool, NeverCounts("which numbers are measured does not change them")] = Field(
        default=False,
        description="Also measure what the literature has: the run is shown recorded rates, which hold "
        "spikes after the bins seen, and velocity is decoded by the decoder of recorded rates (source: "
        "forecast_leaky).",
    )
    folds: task.Folds = task.N_FOLDS
    seed: int = Field(0, ge=0, le=MOST_SEED, description="Seed of the fold assignment.")
