"""Rates of bins a source was not shown, against the smoothed rates recorded there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nwb_latents.pipeline.evaluation.metrics.kstep import kstep_sums
from nwb_latents.pipeline.evaluation.metrics.metric import CannotBeHadError, Metric

if TYPE_CHECKING:
    from nwb_latents.pipeline.evaluation.metrics.r2 import R2Sums
    from nwb_latents.pipeline.evaluation.scored_session import ScoredSession
    from nwb_latents.pipeline.evaluation.source_output import SourceOutput


def _of_forecast(session: ScoredSession, made: SourceOutput) -> R2Sums:
    task = session.forecast
    if task is None or made.forecast is None:
        raise CannotBeHadError(made.lacks("forecast"))
    if made.forecast.rates is None:
        raise CannotBeHadError("it forecasts velocity alone")
    return kstep_sums(task.rates, made.forecast.rates, t0=task.settings.seen_bins)


METRIC = Metric(
    name="forecast_rates_r2",
    title="forecast rates",
    definition="r2_trialmean",
    meaning="Forecast against recorded smoothed rates, all bins ahead, around the mean of each trial.",
    source="Vermani et al. 2025 (MDSSM), k-step forecast",
    order=60,
    compute={"forecast": _of_forecast},
)
