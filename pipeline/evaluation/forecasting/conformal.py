"""Bands around forecasts that hold the truth as often as they say, whatever made the forecast.

Split-conformal prediction: how far a forecast was from the truth in validation trials, which had no part in
what was fitted, says how far it will be in trials like them. Of ``n`` such errors the one of rank
``⌈(n + 1) · level⌉`` is a bound that a further one of the same kind keeps with a probability of at least
`level`, whatever their distribution. There is such a rank only where ``n ≥ level / (1 − level)``: with fewer
trials, what the largest of all errors bounds is less sure, ``n / (n + 1)``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    FloatArray = NDArray[np.float64]

LEVEL = 0.9
"""Share of trials a band is to hold, at every bin and on every axis."""


def least_trials(level: float = LEVEL) -> int:
    """Return how many trials a band of that level takes.

    Examples
    --------
    >>> least_trials(0.9), least_trials(0.95)
    (9, 19)
    """
    return math.ceil(round(level / (1.0 - level), 9))


@dataclass(frozen=True, eq=False)
class Band:
    """How far the truth is from a forecast, at most, in a share of trials.

    Attributes
    ----------
    half_width
        In the unit of the forecast. Shape ``(bin, axis)``, finite.
    level
        Share of trials that the band holds at each bin and on each axis, or more.
    n_trials
        Trials it was taken from, of the bin with the fewest.
    """

    half_width: FloatArray
    level: float
    n_trials: int

    def holds(self, true: ArrayLike, forecast: ArrayLike) -> NDArray[np.bool_]:
        """Whether the band around a forecast holds the truth; not where that is not known.

        Parameters
        ----------
        true, forecast
            Shapes ``(trial, bin, axis)``.
        """
        error = np.abs(np.asarray(true, dtype=np.float64) - np.asarray(forecast, dtype=np.float64))
        inside: NDArray[np.bool_] = error <= self.half_width
        return inside


def conformal_band(errors: ArrayLike, *, level: float = LEVEL) -> Band:
    """Return the band of a forecast from its errors in trials that nothing was fitted to.

    Parameters
    ----------
    errors
        Truth minus forecast, NaN where the truth is not known. Shape ``(trial, bin, axis)``.
    level
        Share of trials to hold, between 0 and 1.

    Returns
    -------
    band
        Of a lower level, the highest there can be, where there are fewer trials than `least_trials`.

    Raises
    ------
    DataError
        If there is no error at some bin.

    References
    ----------
    Vovk, Gammerman and Shafer 2005, "Algorithmic learning in a random world"; Lei et al. 2018,
    "Distribution-free predictive inference for regression".

    Examples
    --------
    >>> errors = np.arange(1.0, 20.0)[:, None, None] * [[1.0, -2.0]]
    >>> band = conformal_band(errors)
    >>> band.half_width.tolist(), band.level
    ([[18.0, 36.0]], 0.9)
    >>> conformal_band(errors[:4]).level
    0.8
    """
    far = np.abs(np.asarray(errors, dtype=np.float64))
    known = np.isfinite(far)
    number = known.sum(axis=0) if far.ndim == 3 else np.zeros(1, dtype=np.int64)
    if far.ndim != 3 or number.size == 0 or not number.min() > 0:
        raise DataError(
            f"bands: errors of shape {far.shape}; expected (trial, bin, axis) with at least one trial "
            "known at every bin. Ingest with validation trials (recipe: split.val)."
        )
    level_there = np.minimum(level, number / (number + 1.0))
    # Rounded before it is rounded up: 0.9 · 10 is 9, whatever its last digit.
    rank = np.ceil(np.round((number + 1) * level_there, 9)).astype(np.int64)
    ordered = np.sort(np.where(known, far, np.inf), axis=0)
    half_width = np.take_along_axis(ordered, rank[None] - 1, axis=0)[0]
    return Band(half_width=half_width, level=float(level_there.min()), n_trials=int(number.min()))


def why_lower(band: Band | None, *, level: float = LEVEL) -> str:
    """Say why a band is none of `level`, and what can be given instead; empty where it is one.

    Examples
    --------
    >>> why_lower(conformal_band(np.ones((8, 1, 1))))
    '8 validation trials give a band of 88 % at most, one of 90 % takes 9'
    >>> why_lower(None)
    'there are no validation trials to take a band from; one of 90 % takes 9'
    """
    takes = f"one of {level:.0%} takes {least_trials(level)}".replace("%", " %")
    if band is None:
        return f"there are no validation trials to take a band from; {takes}"
    if band.level >= level:
        return ""
    trials = "1 validation trial gives" if band.n_trials == 1 else f"{band.n_trials} validation trials give"
    return f"{trials} a band of {math.floor(100 * band.level)} % at most, {takes}"
