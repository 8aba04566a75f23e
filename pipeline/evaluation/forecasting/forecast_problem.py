"""All that a forecast may see which needs no model, and what it returns.

Of the trials to forecast it holds the counts of the bins shown and nothing after them: a `ForecastProblem`
cannot leak what it does not hold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from nwb_latents.pipeline.signals.smoothing import smooth_trials

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nwb_latents.schemas.baselines import BaselineSettings
    from nwb_latents.schemas.forecasting import ForecastQuantity, ForecastSettings
    from nwb_latents.schemas.recipe_parts import SmoothKernel

    FloatArray = NDArray[np.float64]


def smooth_shown(
    counts: FloatArray, *, sigma_s: float, bin_size_s: float, kernel: SmoothKernel = "gaussian"
) -> FloatArray:
    """Return the rates of bins that are shown, smoothed from these bins alone.

    The weights of the Gaussian are renormalised at the last bin as they are at the first: a constant rate
    stays constant, and no spike after the bins shown comes in.

    Parameters
    ----------
    counts
        Spikes per bin of the bins shown, NaN where not known. Shape ``(trial, seen bin, unit)``.
    sigma_s
        Standard deviation of the Gaussian, s; 0: none.
    bin_size_s
        Width of a bin, s.
    kernel
        Whether bins after the one that is smoothed count, where they are shown.

    Returns
    -------
    rates
        Hz. Shape of `counts`.

    Examples
    --------
    >>> import numpy as np
    >>> smooth_shown(np.ones((1, 3, 1)), sigma_s=0.025, bin_size_s=0.02).ravel().round(9).tolist()
    [50.0, 50.0, 50.0]
    """
    smoothed = smooth_trials(counts, sigma_bins=sigma_s / bin_size_s, kernel=kernel) if sigma_s else counts
    rates: FloatArray = smoothed / bin_size_s
    return rates


@dataclass(frozen=True)
class ForecastProblem:
    """Training trials, and the bins shown of the trials to forecast.

    Attributes
    ----------
    session
        Session id.
    settings
        Bins shown and forecast, penalties, folds, seed.
    bin_size_s
        Width of a bin, s.
    sigma_s
        Standard deviation of the Gaussian the recorded rates were smoothed with, s.
    train_counts
        Spikes per bin of the training trials. Shape ``(trial, time, unit)``, float64.
    train_rates
        Their recorded rates, smoothed over the whole recording, Hz: what is to be forecast. Shape
        ``(trial, time, unit)``.
    train_velocity
        Their velocity at the lag, cm/s, NaN where not known; None where too little is. Shape
        ``(trial, time, axis)``.
    train_condition
        Condition of each; an empty one is none.
    counts
        Spikes per bin of the bins shown. Shape ``(eval trial, seen bin, unit)``.
    velocity_seen
        Velocity that goes with these bins: with a lag, of bins after them. None with `train_velocity`. Shape
        ``(eval trial, seen bin, axis)``.
    condition
        Condition of each trial to forecast: it tells the target.
    smooth_kernel
        Whether bins after the one that is smoothed count, as in the recorded rates.
    """

    session: str
    settings: ForecastSettings
    bin_size_s: float
    sigma_s: float
    train_counts: FloatArray
    train_rates: FloatArray
    train_velocity: FloatArray | None
    train_condition: tuple[str, ...]
    counts: FloatArray
    velocity_seen: FloatArray | None
    condition: tuple[str, ...]
    smooth_kernel: SmoothKernel = "gaussian"

    @cached_property
    def train_shown(self) -> FloatArray:
        """Rates of the bins shown of the training trials, Hz. Shape ``(trial, seen bin, unit)``."""
        return self._smoothed(self.train_counts[:, : self.settings.seen_bins])

    @cached_property
    def shown(self) -> FloatArray:
        """Rates of the bins shown of the trials to forecast, Hz. Shape ``(eval trial, seen bin, unit)``."""
        return self._smoothed(self.counts)

    def targets(self) -> dict[ForecastQuantity, FloatArray]:
        """Return what of the training trials is forecast, whole trials. Shapes ``(trial, time, feature)``."""
        made: dict[ForecastQuantity, FloatArray] = {"rates": self.train_rates}
        if self.train_velocity is not None:
            made["velocity"] = self.train_velocity
        return made

    def _smoothed(self, counts: FloatArray) -> FloatArray:
        return smooth_shown(
            counts, sigma_s=self.sigma_s, bin_size_s=self.bin_size_s, kernel=self.smooth_kernel
        )


@dataclass(frozen=True)
class Forecasts:
    """The bins ahead of the trials to forecast.

    Attributes
    ----------
    rates
        Hz. Shape ``(eval trial, bin, unit)``.
    velocity
        cm/s; None where there is none to learn from. Shape ``(eval trial, bin, axis)``.
    details
        What was chosen, by quantity.
    """

    rates: FloatArray
    velocity: FloatArray | None
    details: Mapping[ForecastQuantity, Mapping[str, Any]] = field(default_factory=dict)


ForecastOf = Callable[[ForecastProblem, "BaselineSettings"], Forecasts]
"""A forecast that needs no model."""
