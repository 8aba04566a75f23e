"""R² of forecasts, step by step and over all steps: of rates, and of hand velocity."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.metrics.kstep import kstep_r2, kstep_sums
from nwb_latents.pipeline.evaluation.metrics.r2 import r2

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class KStep:
    """R² by steps ahead.

    Attributes
    ----------
    per_step
        Shape ``(step,)``, NaN where not defined.
    pooled
        One ratio over all steps, NaN where not defined.
    """

    per_step: FloatArray
    pooled: float


def rates_kstep_r2(true: ArrayLike, predicted: ArrayLike, *, first_bin: int) -> KStep:
    """Return the R² of forecast observations, each trial held against its own mean over time.

    Step by step as in `kstep_r2`; for ``pooled``, both sums run over the steps too (``r2_trialmean``).

    Parameters
    ----------
    true
        Whole trials. Shape ``(trial, time, unit)``, finite.
    predicted
        Bins ``first_bin`` and on. Shape ``(trial, step, unit)``, finite.
    first_bin
        Bin of `true` the forecast begins at.

    Raises
    ------
    DataError
        If the shapes do not fit.

    References
    ----------
    Vermani et al. 2025 (MDSSM), k-step forecast.

    Examples
    --------
    >>> found = rates_kstep_r2([[[0.0], [1.0], [2.0]]], [[[1.0], [1.0]]], first_bin=1)
    >>> found.per_step.tolist(), found.pooled
    ([nan, 0.0], 0.0)
    """
    y, guess = np.asarray(true, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    if guess.ndim != 3 or y.ndim != 3:
        raise DataError(f"k-step R²: shapes {y.shape} and {guess.shape}; expected (trial, time, unit) twice")
    window = y[:, first_bin : first_bin + guess.shape[1]]
    if window.shape != guess.shape or first_bin < 0:
        raise DataError(
            f"k-step R²: a forecast of shape {guess.shape} from bin {first_bin} on does not fit into trials "
            f"of shape {y.shape}"
        )
    over_all = kstep_sums(y, guess, t0=first_bin).value(np.ones((1, len(y))))
    return KStep(kstep_r2(y, guess, t0=first_bin), float(over_all[0]))


def velocity_kstep_r2(true: ArrayLike, predicted: ArrayLike) -> KStep:
    """Return the R² of forecast velocity, step by step and over all: ``r2_uniform`` of the axes.

    Step by step, the deviation in the denominator is that of the trials at this step; over all steps, it is
    that of all trials and bins, as in decoding.

    Parameters
    ----------
    true
        Recorded velocity, cm/s; NaN on any axis leaves the bin out. Shape ``(trial, step, axis)``.
    predicted
        Shape of `true`, finite.

    Raises
    ------
    DataError
        If the shapes do not fit.

    Examples
    --------
    >>> true = [[[0.0, 0.0], [1.0, 1.0]], [[2.0, 4.0], [3.0, 7.0]]]
    >>> velocity_kstep_r2(true, true).per_step.tolist()
    [1.0, 1.0]
    """
    y, guess, known = _with_known_bins(true, predicted)
    steps = [
        r2(y[:, k : k + 1], guess[:, k : k + 1], definition="r2_uniform", mask=known[:, k : k + 1])
        for k in range(y.shape[1])
    ]
    return KStep(np.array(steps), r2(y, guess, definition="r2_uniform", mask=known))


def _with_known_bins(
    true: ArrayLike, predicted: ArrayLike
) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
    """Return both as numbers, and the bins whose truth is known on every axis."""
    y, guess = np.asarray(true, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    known: NDArray[np.bool_] = np.all(np.isfinite(y), axis=-1)
    return y, guess, known


def velocity_slope(true: ArrayLike, predicted: ArrayLike) -> tuple[float, tuple[float, ...]]:
    """Return how much the truth changes where a prediction changes by 1: 1 where its size can be believed.

    The slope of the regression of the truth on the prediction, with an intercept. Above 1 the prediction is
    too small, as that of a decoder which was fitted on other signals than it reads.

    Parameters
    ----------
    true
        Recorded velocity, cm/s; NaN on any axis leaves the bin out. Shape ``(trial, step, axis)``.
    predicted
        Shape of `true`, finite.

    Returns
    -------
    slope, per_axis
        Of all axes, each around its mean, and of each; NaN where the prediction does not vary.

    Examples
    --------
    >>> predicted = np.random.default_rng(0).normal(size=(9, 4, 2))
    >>> round(velocity_slope(2.0 * predicted + 7.0, predicted)[0], 9)
    2.0
    """
    y, guess, known = _with_known_bins(true, predicted)
    y, guess = y[known], guess[known]
    if len(y) == 0:
        return float("nan"), (float("nan"),) * guess.shape[-1]
    around = guess - guess.mean(axis=0)
    shared, own = (around * (y - y.mean(axis=0))).sum(axis=0), np.square(around).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        slope = shared.sum() / own.sum() if own.sum() > 0 else np.nan
        per_axis = np.where(own > 0, shared / np.where(own > 0, own, 1.0), np.nan)
    return float(slope), tuple(float(value) for value in per_axis)
