"""Linear decoding of hand velocity from firing rates, on plain arrays.

One sample is one bin of one trial. Features are the rates of all units, held-in and held-out; the targets
are the velocities at the lag. Bins without a recorded velocity count neither in the fit nor in the score.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.decoding.ridge import fit_ridge_cv_each
from nwb_latents.pipeline.evaluation.metrics.r2 import r2, r2_per_output

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from nwb_latents.pipeline.evaluation.decoding.decoder import FittedDecoder
    from nwb_latents.pipeline.evaluation.decoding.ridge import Ridge

    FloatArray = NDArray[np.float64]
    BoolArray = NDArray[np.bool_]


class PredictionError(DataError):
    """What a decoder predicted is no velocity."""


@dataclass(frozen=True)
class VelocityR2:
    """R² of decoded hand velocity and what it was taken over.

    Attributes
    ----------
    value
        ``r2_uniform``: R² of each axis over all trials and bins, then the mean over axes; None if an axis
        has no variance.
    per_axis
        R² of each axis, None where the velocity does not vary.
    n_trials, n_samples
        Trials with at least one bin scored, and bins scored.
    """

    value: float | None
    per_axis: tuple[float | None, ...]
    n_trials: int
    n_samples: int


def fit_velocity_decoder(
    rates: ArrayLike, velocity: ArrayLike, *, alphas: Sequence[float], folds: int = 5, seed: int = 0
) -> Ridge:
    """Fit a ridge decoder from rates to the velocity that goes with each bin.

    Parameters
    ----------
    rates
        Rates of the training trials, Hz. Shape ``(trial, time, unit)``.
    velocity
        Velocity at the lag, cm/s; NaN on any axis leaves the bin out. Shape ``(trial, time, axis)``.
    alphas
        Penalties to choose from by cross-validation over trials (`pipeline.evaluation.decoding.ridge`).
    folds
        Folds of the cross-validation; whole trials stay together.
    seed
        Seed of the fold assignment.

    Returns
    -------
    decoder
        Its ``predict`` takes rates of shape ``(…, unit)`` in Hz to velocities in cm/s.

    Raises
    ------
    DataError
        If no bin has a velocity, fewer trials than `folds` have one, or the rates are not finite where
        there is one.

    References
    ----------
    Pei et al. 2021, "Neural Latents Benchmark '21", velocity decoding: ridge regression with a
    cross-validated penalty from the rates of all units. There the features are not scaled
    (`pipeline.evaluation.nlb.velocity`); here they are standardised by the training trials.

    Examples
    --------
    >>> rates = np.random.default_rng(0).gamma(2.0, 5.0, size=(20, 30, 4))
    >>> velocity = rates[..., :2] - rates[..., 2:]
    >>> decoder = fit_velocity_decoder(rates, velocity, alphas=(1e-3, 1e3))
    >>> np.abs(decoder.coefficients - [[1, 0], [0, 1], [-1, 0], [0, -1]]).max() < 1e-3
    np.True_
    """
    [decoder] = fit_velocity_decoders(rates, [velocity], alphas=alphas, folds=folds, seed=seed)
    return decoder


def fit_velocity_decoders(
    rates: ArrayLike,
    velocities: Sequence[ArrayLike],
    *,
    alphas: Sequence[float],
    folds: int = 5,
    seed: int = 0,
) -> tuple[Ridge, ...]:
    """Fit one decoder for each of several velocities, such as those at several lags, on the same bins.

    Parameters
    ----------
    rates, alphas, folds, seed
        As for `fit_velocity_decoder`.
    velocities
        Each as for `fit_velocity_decoder`; a bin that is not known in one of them is left out of all.

    Returns
    -------
    decoders
        One for each velocity.

    Raises
    ------
    DataError
        As for `fit_velocity_decoder`.

    Examples
    --------
    >>> rates = np.random.default_rng(0).gamma(2.0, 5.0, size=(20, 30, 2))
    >>> fits = fit_velocity_decoders(rates, [rates, -rates], alphas=(1e-6,))
    >>> [fit.coefficients.round(3).diagonal().tolist() for fit in fits]
    [[1.0, 1.0], [-1.0, -1.0]]
    """
    samples = training_samples(rates, velocities, folds=folds)
    return fit_ridge_cv_each(
        samples.features, samples.velocities, groups=samples.trial, alphas=alphas, folds=folds, seed=seed
    )


@dataclass(frozen=True)
class TrainingSamples:
    """Bins of the training trials with a known velocity, one after the other.

    Attributes
    ----------
    features
        Shape ``(sample, feature)``, float64.
    velocities
        One for each velocity asked for, cm/s. Shape ``(sample, axis)``, finite, float64.
    trial
        Trial each bin belongs to. Shape ``(sample,)``.
    """

    features: FloatArray
    velocities: list[FloatArray]
    trial: NDArray[np.int64]


def training_samples(
    features: ArrayLike, velocities: Sequence[ArrayLike], *, folds: int = 1
) -> TrainingSamples:
    """Return the bins a decoder is fitted on: those where every velocity is known.

    Parameters
    ----------
    features
        Of the training trials. Shape ``(trial, time, feature)``.
    velocities
        At least one, cm/s, NaN where not known. Shape ``(trial, time, axis)``.
    folds
        Trials needed at least, such as one for each fold of a cross-validation.

    Raises
    ------
    DataError
        If shapes do not fit, or fewer trials than `folds` have a velocity.

    Examples
    --------
    >>> samples = training_samples([[[1.0], [2.0]]], [[[[np.nan], [5.0]]]])
    >>> samples.features.tolist(), samples.velocities[0].tolist(), samples.trial.tolist()
    ([[2.0]], [[5.0]], [0])
    """
    x, first = _paired(features, velocities[0])
    sets = [first, *(_paired(features, velocity)[1] for velocity in velocities[1:])]
    valid = np.logical_and.reduce([_is_known(y) for y in sets])
    n_trials = int(valid.any(axis=1).sum())
    if n_trials == 0:
        msg = (
            f"none of the {len(x)} training trials has a recorded hand velocity at the lag. Check the "
            f"velocity series of the recording (recipe: velocity_series), or leave the session out"
        )
        raise DataError(msg)
    if n_trials < folds:
        msg = (
            f"{n_trials} of {len(x)} training trials have a recorded hand velocity, {folds} folds need at "
            f"least {folds}. Use fewer folds (--set folds=2 at the least), or ingest with a larger share of "
            f"training trials"
        )
        raise DataError(msg)
    trial = np.broadcast_to(np.arange(len(x))[:, None], valid.shape)
    return TrainingSamples(x[valid], [y[valid] for y in sets], trial[valid])


def hand_velocity_r2(decoder: FittedDecoder, rates: ArrayLike, velocity: ArrayLike) -> VelocityR2:
    """Score decoded against recorded velocity.

    Parameters
    ----------
    decoder
        Fitted on other trials (`fit_velocity_decoder`).
    rates
        Rates to decode, recorded or from a model, Hz, finite. Shape ``(trial, time, unit)``.
    velocity
        Recorded velocity at the lag, cm/s; NaN on any axis leaves the bin out. Shape ``(trial, time, axis)``.

    Returns
    -------
    score
        Pooled over trials and bins, uniform average over axes.

    Raises
    ------
    DataError
        If shapes do not fit, no bin has a velocity, or rates are not finite.

    References
    ----------
    Pei et al. 2021, "Neural Latents Benchmark '21" (uniform average over outputs, bins without behaviour
    dropped on both sides). Decoding a model's reconstruction and forecast with the decoder fitted on
    observed rates is the protocol of the meta-dynamical state-space model (MDSSM).

    Examples
    --------
    >>> rates = np.random.default_rng(0).gamma(2.0, 5.0, size=(20, 30, 4))
    >>> decoder = fit_velocity_decoder(rates, rates[..., :2], alphas=(1e-6,))
    >>> hand_velocity_r2(decoder, rates, rates[..., :2])
    VelocityR2(value=1.0..., per_axis=(1.0..., 1.0...), n_trials=20, n_samples=600)
    """
    x, y = _paired(rates, velocity)
    if (x.shape[-1], y.shape[-1]) != (decoder.n_features, decoder.n_outputs):
        msg = (
            f"rates of {x.shape[-1]} units and velocity of {y.shape[-1]} axes do not fit a decoder of "
            f"{decoder.n_features} units and {decoder.n_outputs} axes; use the same session"
        )
        raise DataError(msg)
    valid = _is_known(y)
    if not valid.any():
        msg = (
            f"none of the {len(x)} trials to score has a recorded hand velocity at the lag. Check the "
            f"velocity series of the recording, or leave the session out"
        )
        raise DataError(msg)
    if not np.isfinite(x[valid]).all():
        bad = int((~np.isfinite(x[valid])).any(axis=-1).sum())
        msg = (
            f"rates to decode are not finite in {bad} of {int(valid.sum())} bins; a model that gives NaN has "
            f"to be trained again"
        )
        raise DataError(msg)
    predicted = np.asarray(decoder.predict(x))
    if predicted.shape != y.shape or not np.issubdtype(predicted.dtype, np.number):
        raise PredictionError(
            f"it predicted {predicted.dtype} of shape {predicted.shape}, expected numbers of shape "
            f"{y.shape}, (trial, time, axis); mend it"
        )
    if not np.isfinite(predicted[valid]).all():
        bad = int((~np.isfinite(predicted[valid])).any(axis=-1).sum())
        raise PredictionError(
            f"it predicted values that are not finite in {bad} of {int(valid.sum())} bins, whose "
            "rates are; mend it or choose other settings of it"
        )
    value = r2(y, predicted, definition="r2_uniform", mask=valid)
    return VelocityR2(
        value=_defined(value),
        per_axis=tuple(_defined(float(v)) for v in r2_per_output(y, predicted, mask=valid)),
        n_trials=int(valid.any(axis=1).sum()),
        n_samples=int(valid.sum()),
    )


def _is_known(velocity: FloatArray) -> BoolArray:
    """Whether the velocity is finite on all axes. Shape ``(trial, time)``."""
    known: BoolArray = np.all(np.isfinite(velocity), axis=-1)
    return known


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else value


def _paired(rates: ArrayLike, velocity: ArrayLike) -> tuple[FloatArray, FloatArray]:
    x = np.asarray(rates, dtype=np.float64)
    y = np.asarray(velocity, dtype=np.float64)
    if x.ndim != 3 or y.ndim != 3 or x.shape[:2] != y.shape[:2]:
        msg = (
            f"rates have shape {x.shape}, velocity {y.shape}; expected (trial, time, unit) and "
            f"(trial, time, axis) with the same trials and bins"
        )
        raise DataError(msg)
    return x, y
