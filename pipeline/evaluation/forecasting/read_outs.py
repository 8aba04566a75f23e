"""Hand velocity read out of forecasts, by regressions fitted on forecasts of training trials.

A decoder that was fitted on recorded rates is given something else when it is given a forecast, which varies
less and is surer of some directions than of others: what it makes of it is too small. A regression fitted on
forecasts of training trials, made exactly as those of the trials to forecast, knows how far to believe them:
the slope of the truth on what it predicts is 1 but for chance.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.decoding.velocity import fit_velocity_decoder
from nwb_latents.pipeline.evaluation.forecasting.simple_forecasts import (
    RidgeSystem,
    best_penalty,
    fit_linear_forecast,
    left_out_error,
)
from nwb_latents.pipeline.signals.folds import group_folds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from nwb_latents.schemas.task import ReadOutName

    FloatArray = NDArray[np.float64]

OWN_FORECASTS = "forecasts of training trials"
"""What a read-out is fitted on."""


@dataclass(frozen=True, eq=False)
class ReadOut:
    """A map from what a model foresees to hand velocity, fitted on training trials.

    Attributes
    ----------
    name
        Which kind it is.
    predict
        Takes features, shape ``(trial, bin, feature)``, to velocity, cm/s, shape ``(trial, bin, axis)``.
    chosen
        What was chosen on the training trials.
    """

    name: ReadOutName
    predict: Callable[[FloatArray], FloatArray]
    chosen: Mapping[str, Any] = field(default_factory=dict)


def fit_read_out(
    name: ReadOutName,
    features: ArrayLike,
    velocity: ArrayLike,
    *,
    alphas: Sequence[float],
    folds: int = 5,
    seed: int = 0,
) -> ReadOut:
    """Fit a read-out on forecasts of training trials, its penalty chosen by cross-validation over them.

    Parameters
    ----------
    name
        ``all_states``: ridge regression from the states of all bins to the velocities of all bins;
        ``per_bin``: from the states of each bin to its velocity, one regression a bin with one penalty for
        all; ``time_invariant``: one regression for all bins.
    features
        States that were rolled out of training trials, or rates where a model has no states. Shape
        ``(trial, bin, feature)``, finite.
    velocity
        Of the same bins, at the lag, cm/s; NaN where not known. Shape ``(trial, bin, axis)``. But for
        ``time_invariant``, trials with a bin that is not known are left out.
    alphas, folds, seed
        Penalties to try, folds, seed of the fold assignment.

    Raises
    ------
    DataError
        If fewer trials than folds are known, or features are not finite.

    Examples
    --------
    >>> features = np.random.default_rng(0).normal(size=(40, 3, 4))
    >>> fit = fit_read_out("per_bin", features, features[..., :2] * 3 + 1, alphas=(1e-6, 1e3))
    >>> np.abs(fit.predict(features[:2]) - features[:2, :, :2] * 3 - 1).max() < 1e-4, fit.chosen
    (np.True_, {'alpha': 1e-06})
    """
    x, y = (np.asarray(each, dtype=np.float64) for each in (features, velocity))
    if not np.isfinite(x).all():
        raise DataError(
            f"forecasts of training trials hold {int((~np.isfinite(x)).sum())} values that are not finite; a "
            "model that gives NaN has to be trained again."
        )
    if name == "time_invariant":
        decoder = fit_velocity_decoder(x, y, alphas=alphas, folds=folds, seed=seed)
        return ReadOut(name, decoder.predict, {"alpha": decoder.alpha})
    whole = np.isfinite(y).all(axis=(1, 2))
    if np.count_nonzero(whole) < folds:
        raise DataError(
            f"{int(whole.sum())} of {len(y)} training trials have a recorded hand velocity at every bin "
            f"ahead, {folds} folds need at least {folds}. Use fewer folds (--set folds=2 at the least), "
            "fewer bins, or read_out=time_invariant, which takes single bins."
        )
    x, y = x[whole], y[whole]
    if name == "per_bin":
        return _per_bin(x, y, alphas=alphas, folds=folds, seed=seed)
    fit = fit_linear_forecast(x, y, alphas=alphas, folds=folds, seed=seed)
    return ReadOut(name, fit.predict, {"alpha": fit.alpha})


def _per_bin(x: FloatArray, y: FloatArray, *, alphas: Sequence[float], folds: int, seed: int) -> ReadOut:
    penalties = np.unique(np.asarray(alphas, dtype=np.float64))
    fold_of = group_folds(np.arange(len(x)), folds=folds, seed=seed)
    errors = sum(
        left_out_error(x[:, at], y[:, at], fold_of == fold, alphas=penalties, min_deviation=0.0)
        for fold in range(folds)
        for at in range(x.shape[1])
    )
    alpha = best_penalty(penalties, np.asarray(errors))
    systems = [RidgeSystem.of(x[:, at], y[:, at], 0.0) for at in range(x.shape[1])]

    def predict(features: FloatArray) -> FloatArray:
        made = [
            (features[:, at] - each.mean) / each.scale @ each.features.T @ each.weights(alpha)
            + each.target_mean
            for at, each in enumerate(systems)
        ]
        return np.stack(made, axis=1)

    return ReadOut("per_bin", predict, {"alpha": alpha})
