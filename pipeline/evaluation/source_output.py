"""What a source of rates, a trained run or a baseline, makes of one session."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from nwb_latents.pipeline.evaluation.early_days import StatesOfDays
    from nwb_latents.pipeline.evaluation.forecasting.source_forecast import SourceForecast
    from nwb_latents.pipeline.evaluation.metrics.metric import Need, Part
    from nwb_latents.pipeline.evaluation.spike_task import RatePrediction

    FloatArray = NDArray[np.float64]

WITHOUT: dict[Part, str] = {
    "reconstruction": "it only forecasts",
    "forecast": "it does not forecast",
    "latents": "it has no states",
}
"""Why a source has no metric of a part it does not make."""


@dataclass(frozen=True, kw_only=True)
class SourceOutput:
    """Rates, forecast and states of one source on one session; None where it has none.

    Attributes
    ----------
    rates
        Expected spikes per bin of training and scored trials, held-in units first.
    rates_hz
        The same of the scored trials in Hz, neither raised to a least rate nor reordered. Shape
        ``(eval trial, time, unit)``, units as in the store.
    forecast
        Forecast of the bins ahead, of velocity and rates; None where it does not forecast.
    states
        Latent states of training and scored trials. Shapes ``(trial, time, D')``, ``(eval trial, time, D')``.
    early
        Latent states of earlier days, where the session is a day held out; text: why there are none.
    withheld
        Needs of metrics it cannot meet, and why.
    told
        What it is told of the trials it predicts, beside the spikes it may see, by part.
    """

    rates: RatePrediction | None = None
    rates_hz: FloatArray | None = None
    forecast: SourceForecast | None = None
    states: tuple[FloatArray, FloatArray] | None = None
    early: StatesOfDays | str | None = None
    withheld: Mapping[Need, str] = field(default_factory=dict)
    told: Mapping[Part, str] = field(default_factory=dict)

    def lacks(self, part: Part) -> str:
        """Say why there is nothing of a part to score; empty where there is.

        Examples
        --------
        >>> SourceOutput().lacks("forecast")
        'it does not forecast'
        """
        made = {
            "reconstruction": self.rates,
            "forecast": self.forecast,
            "latents": self.states,
        }
        return WITHOUT[part] if made[part] is None else ""
