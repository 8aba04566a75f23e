"""What one source forecasts of a session: velocity of test and validation trials, and rates."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nwb_latents.pipeline.evaluation.forecasting.conformal import Band, conformal_band

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from nwb_latents.schemas.forecasting import ForecastQuantity

    FloatArray = NDArray[np.float64]

MODEL = "forecast"
"""Source of a run's forecast, velocity by a read-out that was fitted on forecasts of training trials."""

DECODED = "forecast_decoded"
"""Source of the same forecast, its rates given to the decoder of recorded rates, as in the literature."""

LEAKY = "forecast_leaky"
"""Source of that again, of a run that is shown recorded rates, which hold spikes after the bins seen."""

ENSEMBLE = "ensemble"
"""Source of the mean of a run's forecast and others."""

RECORDED = "rates"
"""Source of no forecast at all: the decoder on the rates recorded there."""

SHOWN = "spikes of the bins seen alone"
"""What a forecast of a run is shown; forecasts that do not say so were measured as was done before."""

SHOWN_RECORDED = "recorded rates, which hold spikes after the bins seen"

OF_RUNS = (MODEL, DECODED, LEAKY, ENSEMBLE)
"""Sources that belong to a run."""


@dataclass(frozen=True)
class VelocityMap:
    """How velocity came out of what was forecast.

    Attributes
    ----------
    name
        The read-out or decoder.
    settings
        Its settings, and what was chosen on training trials.
    fitted_on
        Signal it was fitted on.
    """

    name: str
    settings: Mapping[str, Any]
    fitted_on: str


@dataclass(frozen=True, eq=False)
class SourceForecast:
    """The bins ahead, as one source forecasts them.

    Attributes
    ----------
    source
        Who forecasts: one of `OF_RUNS`, or a baseline by its name.
    rates
        Of the test trials, Hz; None where it forecasts velocity alone. Shape ``(test trial, bin, unit)``.
    velocity
        Of the test trials, cm/s; None where there is none in the session. Shape ``(test trial, bin, axis)``.
    calibration
        The same of the validation trials, which nothing of it was fitted to; None where there are none. Shape
        ``(val trial, bin, axis)``.
    read_by
        Read-out or decoder of the velocity; None where the source forecasts velocity itself.
    run
        Run that forecasts; None: a baseline.
    details
        What was chosen and what it is told, by quantity.
    """

    source: str
    rates: FloatArray | None = None
    velocity: FloatArray | None = None
    calibration: FloatArray | None = None
    read_by: VelocityMap | None = None
    run: str | None = None
    details: Mapping[ForecastQuantity, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What it is called among others: its run, or itself.

        Examples
        --------
        >>> SourceForecast("forecast", run="mdssm-1").name, SourceForecast("trial_factors").name
        ('mdssm-1', 'trial_factors')
        """
        return self.run or self.source

    def band(self, true: FloatArray | None) -> Band | None:
        """Return the band that its errors in validation trials say; None where some bin has none.

        Parameters
        ----------
        true
            Velocity of the validation trials, NaN where not known. Shape of `calibration`.
        """
        import numpy as np  # noqa: PLC0415

        if true is None or self.calibration is None:
            return None
        errors = true - self.calibration
        if errors.size == 0 or not np.isfinite(errors).any(axis=0).all():
            return None
        return conformal_band(errors)
