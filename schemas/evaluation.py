"""Settings of `pipeline run evaluate`, and what each of its metrics is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, get_args

from pydantic import Field

from nwb_latents.schemas.base import Frozen
from nwb_latents.schemas.baselines import BaselineSettings
from nwb_latents.schemas.digest import NeverCounts

if TYPE_CHECKING:
    from nwb_latents.schemas.forecasting import ForecastSource

MetricName = Literal[
    "co_bps",
    "fp_bps",
    "velocity_r2",
    "psth_r2",
    "forecast_velocity_r2",
    "forecast_rates_r2",
    "rate_r2",
    "state_r2",
]


class MetricInfo(Frozen):
    """What a metric is, for tables and their legends."""

    title: str = Field(description="Short name, as the field says it.")
    unit: str = Field(description="Unit, or the definition of the R².")
    meaning: str = Field(description="One sentence.")


METRICS: dict[MetricName, MetricInfo] = {
    "co_bps": MetricInfo(
        title="co-smoothing",
        unit="bits/spike",
        meaning="Likelihood of the spikes of held-out units under rates inferred from the other units, above "
        "that of their mean rate.",
    ),
    "fp_bps": MetricInfo(
        title="forward prediction",
        unit="bits/spike",
        meaning="The same of all units in the bins after the window.",
    ),
    "velocity_r2": MetricInfo(
        title="velocity",
        unit="r2_uniform",
        meaning="Hand velocity decoded by ridge regression from the rates; fitted on the rates of the "
        "training trials.",
    ),
    "psth_r2": MetricInfo(
        title="PSTH",
        unit="r2_uniform",
        meaning="Rates averaged by condition against smoothed spikes averaged by condition.",
    ),
    "forecast_velocity_r2": MetricInfo(
        title="forecast velocity",
        unit="r2_uniform",
        meaning="Hand velocity decoded from forecast rates, all bins ahead; the decoder is fitted on the "
        "smoothed rates of the training trials.",
    ),
    "forecast_rates_r2": MetricInfo(
        title="forecast rates",
        unit="r2_trialmean",
        meaning="Forecast against smoothed rates, all bins ahead, around the mean of each trial.",
    ),
    "rate_r2": MetricInfo(
        title="true rates",
        unit="r2_uniform",
        meaning="Rates against the true ones of a simulated session.",
    ),
    "state_r2": MetricInfo(
        title="true states",
        unit="r2_uniform",
        meaning="Latent states explained by the true ones of a simulated session, up to an affine map.",
    ),
}
"""Every metric, in the order of tables. More is better in all of them."""

OF_THE_TRUTH: tuple[MetricName, ...] = ("rate_r2", "state_r2")
"""Metrics that only simulated sessions have."""

OF_FORECASTS: tuple[MetricName, ...] = ("forecast_velocity_r2", "forecast_rates_r2")
"""Metrics of bins of the window that a model was not shown."""

BaselineName = Literal[
    "null",
    "condition_mean",
    "smoothing",
    "factor_analysis",
    "pca",
    "gpfa",
    "hold_last",
    "linear_forecast",
    "oracle",
]

FORECAST_BASELINES: dict[BaselineName, ForecastSource] = {
    "condition_mean": "condition_mean",
    "hold_last": "hold_last",
    "linear_forecast": "linear",
}
"""Baselines that forecast, and what `pipeline run forecast` calls them."""


_WHICH_NUMBERS = "which numbers are measured does not change them"


class EvaluateSettings(Frozen):
    """What is measured of runs and baselines, and on what."""

    metrics: Annotated[tuple[MetricName, ...], NeverCounts(_WHICH_NUMBERS)] = Field(
        tuple(METRICS), min_length=1, description="Metrics; those a source cannot have are left out."
    )
    baselines: Annotated[tuple[BaselineName, ...], NeverCounts(_WHICH_NUMBERS)] = Field(
        get_args(BaselineName),
        description="Baselines; the oracle where the truth of simulated sessions is at hand.",
    )
    baseline: Annotated[BaselineSettings, NeverCounts("it is in the keys of the baselines")] = Field(
        default_factory=BaselineSettings, description="What the baselines choose from."
    )
    phase: Annotated[Literal["test", "val"], NeverCounts("every number says its split")] = Field(
        "test",
        description="'test': baselines and decoders are fitted on train and val trials, test trials are "
        "scored; 'val': train and val, and test trials are not looked at.",
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
