"""Whether counts scatter around predicted rates as they should: calibration of Poisson predictions.

A rate per bin says more than what is expected: it says how often 0, 1, 2, … spikes are to be seen. Where
the prediction is right, the probability integral transform (PIT) of the counts is uniform; rates that are
too high or too low tilt it, rates that do not follow what the counts share make both its ends too full.

Counts are discrete, so that their PIT jumps: a count n covers the stretch from F(n − 1) to F(n). Instead of
a random point of it, the whole stretch is counted, which gives the mean over all such draws. Single bins
hold so few spikes that nearly all of it would be chance: counts are summed in windows of `WINDOW_S` within
the trial, and so are rates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import pdtr

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.metrics.metric import CannotBeHadError, Found, Metric
from nwb_latents.pipeline.evaluation.metrics.spike_scores import LEAST_RATE

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from nwb_latents.pipeline.evaluation.scored_session import ScoredSession
    from nwb_latents.pipeline.evaluation.source_output import SourceOutput

    FloatArray = NDArray[np.float64]

WINDOW_S = 0.1
"""Counts are summed over windows as long as this, or as the whole number of bins nearest to it."""
LEVELS = np.linspace(0.05, 0.95, 19)
"""Where the distribution of the PIT is held against the uniform one; they hold the ends of the intervals."""
N_DRAWS = 20
"""Data sets drawn from the prediction, to say what it would score if it were right."""


@dataclass(frozen=True)
class PitSums:
    """Distance of the PIT of counts from uniform, as a `Statistic`, from sums over each trial.

    Of each unit the distribution function of the PIT is taken over all trials and windows; its distance is
    the mean of ``|F(u) − u|`` over `LEVELS`, and the metric the mean over units.

    Attributes
    ----------
    below
        Share of each count's stretch below each level, summed over windows. Shape ``(trial, unit, level)``.
    number
        Windows recorded. Shape ``(trial, unit)``.
    """

    below: FloatArray
    number: FloatArray

    @classmethod
    def of(cls, rates: ArrayLike, counts: ArrayLike) -> PitSums:
        """Sum over each trial.

        Parameters
        ----------
        rates
            Expected spikes per window, at least 0. Shape ``(trial, window, unit)``; not looked at where
            `counts` is NaN.
        counts
            Spikes, NaN where not recorded. Shape of `rates`.

        Raises
        ------
        DataError
            If the shapes differ, or a rate or count is negative or not finite.

        References
        ----------
        Czado, Gneiting and Held 2009, "Predictive model assessment for count data", section 2.1.

        Examples
        --------
        >>> rng = np.random.default_rng(0)
        >>> rates = rng.gamma(4.0, 0.5, size=(200, 6, 3))
        >>> sums = PitSums.of(rates, rng.poisson(rates))
        >>> round(float(sums.value(np.ones((1, 200)))[0]), 2)
        0.01
        """
        expected, spikes = (np.asarray(values, dtype=np.float64) for values in (rates, counts))
        if expected.shape != spikes.shape or expected.ndim != 3:
            raise DataError(
                f"calibration: rates have shape {expected.shape}, counts {spikes.shape}; expected "
                "(trial, window, unit) twice"
            )
        known = ~np.isnan(spikes)
        if not np.all((expected[known] >= 0) & np.isfinite(expected[known])) or not np.all(
            (spikes[known] >= 0) & np.isfinite(spikes[known])
        ):
            raise DataError(
                "calibration: a rate or count is negative or not finite; expected spikes per window, at "
                "least 0. Counts may be NaN where nothing was recorded"
            )
        lam, n = np.where(known, np.maximum(expected, LEAST_RATE), 1.0), np.where(known, spikes, 0.0)
        high = pdtr(n, lam)
        low = np.where(n > 0, pdtr(np.maximum(n - 1, 0), lam), 0.0)
        # A count the prediction holds to be impossible has no stretch: it lies above every level but 1.
        width = np.maximum(high - low, np.finfo(float).tiny)
        number = known.sum(axis=1).astype(np.float64)
        below = np.empty((len(n), n.shape[2], len(LEVELS)))
        for place, level in enumerate(LEVELS):
            share = np.where(known, np.clip((level - low) / width, 0.0, 1.0), 0.0)
            below[..., place] = share.sum(axis=1)
        return cls(below, number)

    @property
    def n_trials(self) -> int:
        """Number of trials."""
        return len(self.number)

    def value(self, weights: FloatArray) -> FloatArray:
        """Return the distance with each trial counted `weight` times (`Statistic.value`)."""
        n_units = self.number.shape[1]
        flat = self.below.reshape(self.n_trials, -1)
        below = (weights @ flat).reshape(len(weights), n_units, len(LEVELS))
        number = weights @ self.number
        found = np.full(number.shape, np.nan)
        seen = number > 0
        found[seen] = np.abs(below[seen] / number[seen, None] - LEVELS).mean(axis=1)
        n_seen = seen.sum(axis=1)
        mean: FloatArray = np.full(len(weights), np.nan)
        np.divide(np.nansum(found, axis=1), n_seen, out=mean, where=n_seen > 0)
        return mean

    def coverage(self, level: float) -> float:
        """Return the share of counts in the central interval of that level, all units pooled.

        Examples
        --------
        >>> rng = np.random.default_rng(0)
        >>> rates = rng.gamma(4.0, 0.5, size=(200, 6, 3))
        >>> sums = PitSums.of(rates, rng.poisson(rates))
        >>> round(sums.coverage(0.5), 1), round(sums.coverage(0.9), 1)
        (0.5, 0.9)
        """
        ends = [int(np.argmin(np.abs(LEVELS - end))) for end in ((1 - level) / 2, (1 + level) / 2)]
        pooled = self.below.sum(axis=(0, 1)) / self.number.sum()
        return float(pooled[ends[1]] - pooled[ends[0]])


def in_windows(per_bin: FloatArray, *, bin_size_s: float) -> FloatArray:
    """Sum bins to windows; bins left over at the end of a trial are left out, NaN stays NaN.

    Parameters
    ----------
    per_bin
        Spikes, counted or expected, per bin. Shape ``(trial, time, unit)``.
    bin_size_s
        Width of a bin, s.

    Returns
    -------
    summed
        Shape ``(trial, window, unit)``; of trials shorter than a window, one window.

    Examples
    --------
    >>> in_windows(np.ones((1, 11, 1)), bin_size_s=0.02)[0, :, 0].tolist()
    [5.0, 5.0]
    """
    n_bins = min(max(1, round(WINDOW_S / bin_size_s)), per_bin.shape[1])
    n_windows = per_bin.shape[1] // n_bins
    kept = per_bin[:, : n_windows * n_bins]
    summed: FloatArray = kept.reshape(len(kept), n_windows, n_bins, -1).sum(axis=2)
    return summed


def _of_heldout_units(session: ScoredSession, made: SourceOutput) -> Found:
    if made.rates is None:
        raise CannotBeHadError(made.lacks("reconstruction"))
    return _found(session, made.rates.eval[..., session.n_heldin :], session.answers.eval_heldout)


def _of_forecast(session: ScoredSession, made: SourceOutput) -> Found:
    if made.forecast is None:
        raise CannotBeHadError(made.lacks("forecast"))
    if made.forecast.rates is None:
        raise CannotBeHadError("it forecasts velocity alone")
    window = session.settings.forecast
    counts = session.session.trials["counts"].values[session.answers.eval_rows].astype(np.float64)
    ahead = counts[:, window.seen_bins : window.end]
    # Linear forecasts go below 0: there no spike is expected.
    return _found(session, np.maximum(made.forecast.rates, 0.0) * session.task.bin_size_s, ahead)


def _found(session: ScoredSession, rates: FloatArray, counts: FloatArray) -> Found:
    bin_size_s = session.task.bin_size_s
    expected, spikes = (in_windows(each, bin_size_s=bin_size_s) for each in (rates, counts))
    sums = PitSums.of(expected, spikes)
    if not sums.number.any():
        raise CannotBeHadError("nothing was recorded of the units scored")
    rng, every = np.random.default_rng(session.settings.seed), np.ones((1, sums.n_trials))
    unknown = np.isnan(spikes)
    drawn = [
        PitSums.of(expected, np.where(unknown, np.nan, rng.poisson(np.where(unknown, 0.0, expected))))
        for _ in range(N_DRAWS)
    ]
    return Found(
        statistic=sums,
        n_samples=int(sums.number.sum()),
        details={
            "coverage_50": sums.coverage(0.5),
            "coverage_90": sums.coverage(0.9),
            "if_calibrated": float(np.mean([one.value(every)[0] for one in drawn])),
        },
    )


METRIC = Metric(
    name="calibration",
    title="calibration error",
    meaning="Distance of the probability integral transform of the counts of held-out units, in windows of "
    "100 ms, from uniform under Poisson distributions of their rates, mean over units; 0 is best. What rates "
    "that are right would have, and how many counts lie in central intervals of 50 and 90 %, stands with it.",
    source="Czado, Gneiting and Held 2009, 'Predictive model assessment for count data'",
    needs=("heldout",),
    better="less",
    units="heldout",
    order=14,
    compute={"reconstruction": _of_heldout_units},
)

FORECAST = Metric(
    name="forecast_calibration",
    title="calibration error, forecast",
    meaning="The same of all units in the bins ahead, under the rates forecast.",
    source=METRIC.source,
    better="less",
    order=41,
    compute={"forecast": _of_forecast},
)
