"""The rates simulated spikes were drawn from: the best any predictor of them can do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import DataError
from pipeline.evaluation.rate_regression import RATE_FLOOR
from pipeline.evaluation.spike_task import RatePrediction

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

    from pipeline.evaluation.spike_task import SpikeAnswers
    from pipeline.sources.simulator.truth import Truth

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]

_ROUNDING_S = 1e-6


def oracle_rates(
    truth: Truth, trials: xr.Dataset, continuous: xr.Dataset, answers: SpikeAnswers
) -> RatePrediction:
    """Return the mean of the true rates over every bin.

    Rates of reaches are linear between the times they are known at; those of a system are constant within its
    bins.

    Parameters
    ----------
    truth
        Truth of the session.
    trials, continuous
        The groups of its store: units are matched by their ids, bins by their time in the session.
    answers
        Order of the units, rows of the trials and number of bins ahead.

    Returns
    -------
    prediction
        Held-in units first. Bins ahead that lie after the session's end have the last rates.

    Raises
    ------
    DataError
        If a unit of the store, or the time of one of its windows, is not in the truth.
    """
    columns = _columns(truth, trials["unit"].values[answers.order])
    bin_size_s, n_time = float(trials.attrs["bin_size_s"]), trials.sizes["time"]
    n_ahead = 0 if answers.eval_forward is None else answers.eval_forward.shape[1]
    first = continuous["time"].values[trials["start_bin"].values.astype(np.int64)]
    course = _Course.of(truth, columns)
    train, scored = first[answers.train_rows], first[answers.eval_rows]
    for start in (train, scored):
        course.check(truth.session, start, start + n_time * bin_size_s)
    found = course.means(scored, bin_size_s, n_time + n_ahead)
    return RatePrediction(
        train=course.means(train, bin_size_s, n_time),
        eval=found[:, :n_time],
        eval_forward=found[:, n_time:] if n_ahead else None,
    )


@dataclass(frozen=True)
class _Course:
    """Rates of a session and their integral from its start."""

    time_s: FloatArray
    rates_hz: FloatArray
    expected: FloatArray
    """Spikes before each time. Shape ``(n_times, unit)``."""
    is_constant: bool
    """Whether rates are constant from one time to the next, instead of linear."""

    @classmethod
    def of(cls, truth: Truth, columns: IntArray) -> _Course:
        time, rates = truth.latent_time_s, truth.rates_hz[:, columns].astype(np.float64)
        is_constant = truth.system is not None
        between = rates[:-1] if is_constant else 0.5 * (rates[:-1] + rates[1:])
        expected = np.zeros_like(rates)
        np.cumsum(between * np.diff(time)[:, None], axis=0, out=expected[1:])
        return cls(time, rates, expected, is_constant)

    def check(self, session: str, start_s: FloatArray, end_s: FloatArray) -> None:
        last = self.time_s[-1] + (self.time_s[-1] - self.time_s[-2] if self.is_constant else 0.0)
        outside = int(((start_s < self.time_s[0] - _ROUNDING_S) | (end_s > last + _ROUNDING_S)).sum())
        if outside:
            raise DataError(
                f"{session}: {outside} of {len(start_s)} windows are not within the truth, "
                f"{self.time_s[0]:g} to {last:g} s. The store is not of this simulation: ingest the session "
                "again."
            )

    def means(self, start_s: FloatArray, bin_size_s: float, n_bins: int) -> FloatArray:
        """Return expected spikes per bin. Shape ``(trial, bin, unit)``."""
        edges = start_s[:, None] + np.arange(n_bins + 1) * bin_size_s
        return np.maximum(np.diff(self._before(edges), axis=1), RATE_FLOOR)

    def _before(self, at_s: FloatArray) -> FloatArray:
        index = np.clip(np.searchsorted(self.time_s, at_s, side="right") - 1, 0, len(self.time_s) - 1)
        following = np.minimum(index + 1, len(self.time_s) - 1)
        past = (at_s - self.time_s[index])[..., None]
        expected = self.expected[index] + past * self.rates_hz[index]
        if not self.is_constant:
            step = np.maximum(self.time_s[following] - self.time_s[index], _ROUNDING_S)[..., None]
            expected += np.square(past) / (2 * step) * (self.rates_hz[following] - self.rates_hz[index])
        return expected


def _columns(truth: Truth, units: IntArray) -> IntArray:
    at = {int(unit): column for column, unit in enumerate(truth.unit_ids)}
    missing = [int(unit) for unit in units if int(unit) not in at]
    if missing:
        raise DataError(
            f"{truth.session}: {len(missing)} of {len(units)} units of the store, such as {missing[0]}, are "
            "not in the truth. The store is not of this simulation: ingest the session again."
        )
    return np.array([at[int(unit)] for unit in units], dtype=np.int64)
