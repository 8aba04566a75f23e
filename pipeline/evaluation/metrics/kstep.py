"""Forecasts of observations, bin by bin: how good they are after ``k`` steps, and what bounds them.

The forecast of Vermani et al. (ICLR 2025): a model sees the first ``t0`` bins of a trial and forecasts the
next ones along its mean dynamics. Row ``k − 1`` of every array here is the forecast ``k`` steps ahead, of
bin ``t0 + k − 1`` counted from 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.metrics.r2 import R2Sums

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    FloatArray = NDArray[np.float64]

LEAK_TOLERANCE = 0.03
"""How far ahead of the best possible forecast a model may be by chance."""


def kstep_r2(observed: ArrayLike, forecast: ArrayLike, *, t0: int) -> FloatArray:
    """Return the R² of a forecast at every step.

    ``R²_k = 1 − Σ‖y_{t0+k} − ŷ_{t0+k}‖² / Σ‖y_{t0+k} − ȳ‖²``, sums over trials and units, ``ȳ`` each trial's
    own mean over all its bins. It is ``r2_trialmean`` bin by bin.

    Parameters
    ----------
    observed
        Whole trials. Shape ``(trial, time, unit)``. NaN where not recorded: left out, a trial's mean too.
    forecast
        Of bins ``t0 …``. Shape ``(trial, k, unit)``, unit of `observed`; bins beyond the trial are not
        scored. Finite where scored.
    t0
        Bins the model saw.

    Returns
    -------
    curve
        Shape ``(k,)``, at most 1. NaN where nothing was recorded, or where every value is its trial's mean.

    Raises
    ------
    DataError
        If the shapes do not fit, no forecast bin lies within the trials, or a scored value is not finite.

    Examples
    --------
    >>> observed = [[[0.0], [2.0], [4.0]]]
    >>> kstep_r2(observed, [[[2.0], [3.0]]], t0=1).tolist()
    [nan, 0.75]
    """
    differences = _Differences.of(observed, forecast, t0=t0)
    error, total = (np.square(part).sum((0, 2)) for part in (differences.error, differences.deviation))
    curve = np.full(total.shape, np.nan)
    np.divide(error, total, out=curve, where=total > 0)
    return 1.0 - curve


def kstep_sums(observed: ArrayLike, forecast: ArrayLike, *, t0: int, step: int | None = None) -> R2Sums:
    """Return the R² of a forecast as a `pipeline.evaluation.metrics.resampling.Statistic`.

    Parameters
    ----------
    observed, forecast, t0
        As for `kstep_r2`.
    step
        Bins ahead, from 1: the statistic is the value of `kstep_r2` there. None: one ratio over all steps.

    Returns
    -------
    sums
        ``r2_trialmean``; the trial's mean is over all its bins, those before the forecast too.

    Raises
    ------
    DataError
        As for `kstep_r2`, and if the forecast has no such step.

    Examples
    --------
    >>> observed = [[[0.0], [2.0], [4.0]], [[0.0], [3.0], [3.0]]]
    >>> sums = kstep_sums(observed, [[[2.0], [3.0]], [[3.0], [2.0]]], t0=1)
    >>> sums.value(np.array([[1.0, 1.0], [1.0, 0.0]])).round(4).tolist()
    [0.6667, 0.75]
    """
    differences = _Differences.of(observed, forecast, t0=t0)
    n_steps = differences.error.shape[1]
    if step is not None and not 1 <= step <= n_steps:
        raise DataError(f"k-step R²: step {step} of a forecast of {n_steps} bins; expected 1 to {n_steps}")
    steps = slice(None) if step is None else slice(step - 1, step)
    second = np.square(differences.deviation[:, steps]).sum(1)
    return R2Sums(
        definition="r2_trialmean",
        squared_error=np.square(differences.error[:, steps]).sum(1),
        number=differences.scored[:, steps].sum(1, dtype=np.float64),
        first=np.zeros_like(second),
        second=second,
    )


def leaked_steps(curve: ArrayLike, ceiling: ArrayLike, *, tolerance: float = LEAK_TOLERANCE) -> list[int]:
    """Return the steps at which a forecast is better than the best possible one.

    Parameters
    ----------
    curve
        R² of a model at steps 1, 2, …. Shape ``(k,)``.
    ceiling
        R² of the true map from the true state, on the same trials. Shape ``(k,)``.
    tolerance
        How far ahead is still chance.

    Returns
    -------
    steps
        Counted from 1; empty where nothing speaks for a leak. Steps where either is NaN are not counted.

    Examples
    --------
    >>> leaked_steps([0.9, 0.9], [0.95, 0.8])
    [2]
    """
    ahead = np.asarray(curve, dtype=np.float64) - np.asarray(ceiling, dtype=np.float64)
    return [int(step) + 1 for step in np.flatnonzero(ahead > tolerance)]


@dataclass(frozen=True)
class _Differences:
    """Observed bins ahead minus their forecast, and minus the mean of their trial; 0 where not recorded."""

    error: FloatArray
    deviation: FloatArray
    scored: NDArray[np.bool_]

    @classmethod
    def of(cls, observed: ArrayLike, forecast: ArrayLike, *, t0: int) -> _Differences:
        truth = np.asarray(observed, dtype=np.float64)
        guess = np.asarray(forecast, dtype=np.float64)
        truth, guess = _aligned(truth, guess, t0=t0)
        kept = np.isfinite(truth)
        scored = kept[:, t0 : t0 + guess.shape[1]]
        bad = int((scored & ~np.isfinite(guess)).sum())
        if bad:
            raise DataError(
                f"k-step R²: {bad} of {int(scored.sum())} forecast values are not finite. A model whose "
                "dynamics diverge has no forecast: lower its learning rate, or forecast fewer bins."
            )
        number = np.maximum(kept.sum(1, keepdims=True), 1)
        mean = np.where(kept, truth, 0.0).sum(1, keepdims=True) / number
        ahead = truth[:, t0 : t0 + guess.shape[1]]
        return cls(
            error=np.where(scored, ahead - guess, 0.0),
            deviation=np.where(scored, ahead - mean, 0.0),
            scored=scored,
        )


def _aligned(truth: FloatArray, guess: FloatArray, *, t0: int) -> tuple[FloatArray, FloatArray]:
    fits = truth.ndim == guess.ndim == 3 and truth.shape[::2] == guess.shape[::2]
    if not fits or not 1 <= t0 < truth.shape[1]:
        raise DataError(
            f"k-step R²: observed trials of shape {truth.shape} and a forecast of shape {guess.shape} after "
            f"{t0} bins; expected (trial, time, unit) and (trial, k, unit) with t0 from 1 to time − 1"
        )
    return truth, guess[:, : truth.shape[1] - t0]
