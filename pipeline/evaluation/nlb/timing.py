"""Neural speed against the interval produced: activity should run faster where the interval is shorter.

For tasks in which an interval is to be produced: the speed of the rates between *set* and *go* should
foretell the interval within a condition. The correlation expected of a good model is negative.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.metrics.r2 import ROUNDING_SHARE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    FloatArray = NDArray[np.float64]


def timing_correlation(
    rates: ArrayLike, produced_interval: ArrayLike, conditions: Sequence[str], scored_bins: ArrayLike
) -> float:
    """Return the correlation of neural speed with the interval produced, averaged over conditions.

    The speed of a trial is the mean over the scored bins of ``‖r_{t+1} − r_t‖``. Pearson's correlation with
    the interval is taken within each condition, then the plain mean over conditions.

    Parameters
    ----------
    rates
        Expected spikes per bin of all units, finite where scored. Shape ``(trial, time, unit)``.
    produced_interval
        Interval each trial produced, s or any other unit; NaN leaves the trial out. Shape ``(trial,)``.
    conditions
        Condition of each trial; an empty one leaves it out.
    scored_bins
        True from *set* to *go*. Shape ``(trial, time)``. Gaps are stepped over; a trial with fewer than two
        bins has no speed and is left out.

    Returns
    -------
    correlation
        From −1 to 1; NaN where speed or interval do not vary within a condition.

    Raises
    ------
    DataError
        If shapes do not fit, no trial is left, or a rate is not finite where scored.

    References
    ----------
    Pei et al. 2021, "Neural Latents Benchmark '21", dmfc_rsg. Neural speed and timing: Sohn, Narain,
    Meirhaeghe and Jazayeri 2019, "Bayesian computation through cortical latent dynamics".

    Examples
    --------
    >>> rates = [[[0.0], [1.0], [2.0]], [[0.0], [2.0], [4.0]], [[0.0], [3.0], [6.0]]]
    >>> round(timing_correlation(rates, [0.9, 0.8, 0.7], ["a"] * 3, np.ones((3, 3), bool)), 9)
    -1.0
    """
    sums = TimingSums.of(rates, produced_interval, conditions, scored_bins)
    return float(sums.value(np.ones((1, sums.n_trials)))[0])


@dataclass(frozen=True)
class TimingSums:
    """The timing correlation as a `pipeline.evaluation.metrics.resampling.Statistic`.

    Where no trial of a condition is drawn, or only one, over and over, the resample is undefined.

    Attributes
    ----------
    member
        Which condition each trial is of; trials left out are of none. Shape ``(trial, condition)``.
    speed, interval
        Of each trial, minus the mean of its condition; 0 for trials left out. Shape ``(trial,)``.
    """

    member: FloatArray
    speed: FloatArray
    interval: FloatArray

    @classmethod
    def of(
        cls,
        rates: ArrayLike,
        produced_interval: ArrayLike,
        conditions: Sequence[str],
        scored_bins: ArrayLike,
    ) -> TimingSums:
        """Take the speed of every trial.

        Parameters
        ----------
        rates, produced_interval, conditions, scored_bins
            As for `timing_correlation`.

        Raises
        ------
        DataError
            As for `timing_correlation`.

        Examples
        --------
        >>> rates = [[[0.0], [1.0]], [[0.0], [2.0]], [[0.0], [3.0]]]
        >>> sums = TimingSums.of(rates, [0.9, 0.8, 0.9], ["a"] * 3, np.ones((3, 2), bool))
        >>> sums.value(np.array([[1.0, 1.0, 1.0], [1.0, 2.0, 0.0]])).round(9).tolist()
        [0.0, -1.0]
        """
        x, interval = np.asarray(rates, dtype=np.float64), np.asarray(produced_interval, dtype=np.float64)
        scored = np.asarray(scored_bins, dtype=bool)
        names = np.array([str(name) for name in conditions], dtype=object)
        if x.ndim != 3 or scored.shape != x.shape[:2] or not interval.shape == names.shape == (len(x),):
            raise DataError(
                f"timing correlation: rates of shape {x.shape}, scored bins {scored.shape}, {interval.size} "
                f"intervals and {names.size} conditions; expected (trial, time, unit), (trial, time) and one "
                "of each per trial"
            )
        speed = _speed(x, scored)
        kept = np.isfinite(interval) & np.isfinite(speed) & (names != "")
        if not kept.any():
            raise DataError(
                f"timing correlation: none of {len(x)} trials has a condition, an interval and two scored "
                "bins; check the events of the trials"
            )
        member = (names[:, None] == np.unique(names[kept].astype(str))) & kept[:, None]
        return cls(
            member=member.astype(np.float64),
            speed=_apart(speed, member),
            interval=_apart(interval, member),
        )

    @property
    def n_trials(self) -> int:
        """Number of trials, left out or not."""
        return len(self.speed)

    def value(self, weights: FloatArray) -> FloatArray:
        """Return the correlation with each trial counted `weight` times.

        Parameters
        ----------
        weights
            At least 0. Shape ``(resample, trial)``.

        Returns
        -------
        values
            Shape ``(resample,)``; NaN where speed or interval do not vary within a condition.
        """
        a, b = self.speed[:, None] * self.member, self.interval[:, None] * self.member
        number = weights @ self.member
        whole = np.where(number > 0, number, 1.0)
        mean_a, mean_b = weights @ a / whole, weights @ b / whole
        of_a, of_b = weights @ np.square(a) / whole, weights @ np.square(b) / whole
        spread_a, spread_b = of_a - np.square(mean_a), of_b - np.square(mean_b)
        varies = (spread_a > ROUNDING_SHARE * of_a) & (spread_b > ROUNDING_SHARE * of_b)
        together = weights @ (a * b) / whole - mean_a * mean_b
        scale = np.sqrt(np.where(varies, spread_a * spread_b, np.nan))
        values: FloatArray = np.clip(together / scale, -1.0, 1.0).mean(axis=1)
        return values


def _speed(rates: FloatArray, scored: NDArray[np.bool_]) -> FloatArray:
    """Mean length of the steps from scored bin to scored bin. Shape ``(trial,)``; NaN without a step."""
    trial, bin_ = np.nonzero(scored)
    values = rates[trial, bin_]
    bad = int((~np.isfinite(values)).any(axis=-1).sum())
    if bad:
        raise DataError(
            f"timing correlation: rates are not finite in {bad} of {len(values)} scored bins; a model that "
            "gives NaN has to be trained again"
        )
    inside = trial[1:] == trial[:-1]
    steps = np.linalg.norm(np.diff(values, axis=0), axis=-1)[inside]
    of_trial = trial[1:][inside]
    number = np.bincount(of_trial, minlength=len(rates))
    total = np.bincount(of_trial, weights=steps, minlength=len(rates))
    speed = np.full(len(rates), np.nan)
    np.divide(total, number, out=speed, where=number > 0)
    return speed


def _apart(values: FloatArray, member: NDArray[np.bool_]) -> FloatArray:
    """Values minus the mean of their condition, exactly 0 where all are equal or the trial is left out."""
    known = np.where(member.any(axis=1), values, 0.0)[:, None]
    mean = np.where(member, known, 0.0).sum(axis=0) / member.sum(axis=0)
    low = np.min(np.broadcast_to(known, member.shape), axis=0, where=member, initial=np.inf)
    high = np.max(np.broadcast_to(known, member.shape), axis=0, where=member, initial=-np.inf)
    apart: FloatArray = np.where(member & (high > low), known - mean, 0.0).sum(axis=1)
    return apart
