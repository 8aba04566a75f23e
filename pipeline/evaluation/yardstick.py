"""One session as every source of rates is measured on it: the same trials, units, bins and resamples.

What the answers hold (held-out spikes, forward spikes, velocity, truth) stays here; a source is given a
`SpikeTask` and returns rates.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import DataError
from pipeline.evaluation.nlb_velocity import fit_nlb_velocity
from pipeline.evaluation.pairing import lag_in_bins, pair_velocity
from pipeline.evaluation.psth import PsthSums
from pipeline.evaluation.r2 import R2Sums
from pipeline.evaluation.resampling import Interval, bootstrap
from pipeline.evaluation.session_forecast import prepare_forecast
from pipeline.evaluation.spike_scores import SpikeSums
from pipeline.evaluation.spike_task import SPLITS, spike_task
from pipeline.evaluation.state_r2 import affine_map, state_r2
from pipeline.stores.export_nlb import condition_psths
from pipeline.stores.export_windows import heldout_units
from schemas.forecasting import ForecastSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr
    from numpy.typing import ArrayLike, NDArray

    from pipeline.evaluation.resampling import Statistic
    from pipeline.evaluation.session_forecast import ForecastTask
    from pipeline.evaluation.spike_task import RatePrediction, SpikeAnswers, SpikeTask
    from pipeline.sources.simulator.truth import Truth
    from schemas.evaluation import EvaluateSettings, MetricName

    FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Scored:
    """Metrics of one source on one session.

    Attributes
    ----------
    metrics
        Those it has.
    missing
        Those asked for that it cannot have, and why.
    """

    metrics: Mapping[MetricName, Interval]
    missing: Mapping[MetricName, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RatioSums:
    """1 − Σ error / Σ total as a statistic of trials; NaN where nothing varies.

    Attributes
    ----------
    error, total
        Shape ``(trial,)``.
    """

    error: FloatArray
    total: FloatArray

    @property
    def n_trials(self) -> int:
        """Number of trials."""
        return len(self.error)

    def value(self, weights: FloatArray) -> FloatArray:
        """Return the ratio with each trial counted `weight` times. Shape ``(resample,)``."""
        error, total = weights @ self.error, weights @ self.total
        values: FloatArray = 1.0 - np.divide(error, total, out=np.full(len(total), np.nan), where=total > 0)
        return values
