"""From features of the held-in units to rates: Poisson regressions, their settings by cross-validation.

Features are learnt from training trials and then applied to any trial (`Learn`), so that cross-validation can
learn them without the trials it leaves out. What is compared is the Poisson likelihood of held-out units on
trials left out, which puts settings in the same order as their bits per spike. In a session without held-out
units half of its units, drawn at random, play that part; the settings found are then used with all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.baselines.poisson_regression import fit_poisson
from nwb_latents.pipeline.evaluation.decoding.ridge_samples import CONSTANT_BELOW
from nwb_latents.pipeline.signals.folds import group_folds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from nwb_latents.pipeline.evaluation.baselines.poisson_regression import PoissonRegression
    from nwb_latents.pipeline.evaluation.spike_task import SpikeTask
    from nwb_latents.schemas.baselines import BaselineSettings

    FloatArray = NDArray[np.float64]

    Transform: TypeAlias = Callable[[FloatArray], FloatArray]
    """Counts of held-in units ``(trial, time, n_in)`` → features ``(trial, time, feature)``."""
    Learn: TypeAlias = Callable[[FloatArray], Transform]
    """Counts of training trials → what is done to any trials."""

RATE_FLOOR = 1e-4
"""Smallest rate of any prediction, spikes per bin: also where a unit never fired in the training trials."""
_ROUGH = 1e-7
"""Tolerance of fits that are only compared, nats per spike."""


@dataclass(frozen=True)
class Choice:
    """Settings found by cross-validation.

    Attributes
    ----------
    sigma_ms
        Standard deviation of the Gaussian, ms.
    latents
        Latent dimensions; 0 where there are none.
    penalty
        Of the Poisson regressions.
    """

    sigma_ms: float
    latents: int
    penalty: float


def choose(
    learner: Callable[[float, int], Learn],
    task: SpikeTask,
    settings: BaselineSettings,
    *,
    latents: Sequence[int] = (0,),
) -> Choice:
    """Choose width, latent dimensions and penalty by what predicts held-out units of trials left out best.

    One setting after the other, the others at the middle of what is tried: first the width, then the number
    of latent dimensions, then the penalty.

    Parameters
    ----------
    learner
        Width of the Gaussian in ms and number of latent dimensions → how features are learnt.
    task
        Only its training trials are looked at.
    settings
        What is tried.
    latents
        Numbers of latent dimensions tried; those that are not below the number of units are left out, and if
        none is left, the one just below it is taken.

    Raises
    ------
    DataError
        If there is no unit to predict from another, or there are fewer trials than folds.
    """
    shown, wanted = shown_and_wanted(task, settings)
    rows = draw_trials(len(shown), settings.choice_trials, seed=settings.seed)
    shown, wanted = shown[rows], wanted[rows]
    fold_of = group_folds(np.arange(len(rows)), folds=settings.folds, seed=settings.seed)
    n_units = shown.shape[2]
    possible = [number for number in latents if number < n_units] or [max(1, n_units - 1)]
    latest: dict[int, tuple[tuple[float, int], tuple[FloatArray, FloatArray]]] = {}

    def features(choice: Choice, fold: int) -> tuple[FloatArray, FloatArray]:
        key = (choice.sigma_ms, choice.latents)
        if fold not in latest or latest[fold][0] != key:
            fitted = shown[fold_of != fold]
            transform = learner(*key)(fitted)
            latest[fold] = key, (transform(fitted), transform(shown[fold_of == fold]))
        return latest[fold][1]

    def score(choice: Choice) -> float:
        total = 0.0
        for fold in range(settings.folds):
            known, new = features(choice, fold)
            fit = fit_rates(known, wanted[fold_of != fold], penalty=choice.penalty, tolerance=_ROUGH)
            total += log_likelihood(predict_rates(fit, new), wanted[fold_of == fold])
        return total

    best = Choice(
        sigma_ms=settings.sigmas_ms[(len(settings.sigmas_ms) - 1) // 2],
        latents=possible[(len(possible) - 1) // 2],
        penalty=settings.penalties[(len(settings.penalties) - 1) // 2],
    )
    best = max((replace(best, sigma_ms=value) for value in settings.sigmas_ms), key=score)
    if len(possible) > 1:
        best = max((replace(best, latents=value) for value in possible), key=score)
    # Of penalties that predict equally well, the largest: it is tried first.
    return max((replace(best, penalty=value) for value in settings.penalties[::-1]), key=score)


def forward_rates(
    train: FloatArray, new: FloatArray, task: SpikeTask, settings: BaselineSettings
) -> FloatArray | None:
    """Predict the bins after the window from the features of its last bin.

    Every bin ahead of every unit has a Poisson regression of its own; the penalty is chosen by
    cross-validation over training trials. Beside them stands one more trial, with mean features and the mean
    count of each unit, so that a bin in which a unit did not fire is not held to be impossible.

    Parameters
    ----------
    train, new
        Features of the training trials and of those to predict. Shapes ``(trial, time, feature)``.
    task
        Only its training trials are looked at.
    settings
        Penalties, folds and seed.

    Returns
    -------
    rates
        Spikes per bin, of all units, held-in first; None where `task` asks for no bins ahead. Shape
        ``(new trial, forward bin, n_in + n_out)``.
    """
    if task.train_forward is None:
        return None
    shape = task.train_forward.shape[1:]
    known, targets = train[:, -1], task.train_forward.reshape(len(train), -1)
    prior = np.broadcast_to(forward_mean(task), shape).reshape(1, -1)

    def fit(rows: NDArray[np.int64], penalty: float, start: PoissonRegression | None) -> PoissonRegression:
        x = np.concatenate([known[rows], known[rows].mean(axis=0, keepdims=True)])
        return fit_poisson(
            x, np.concatenate([targets[rows], prior]), penalty=penalty, start=start, tolerance=_ROUGH
        )

    rows = draw_trials(len(known), settings.choice_trials, seed=settings.seed)
    fold_of = group_folds(rows, folds=settings.folds, seed=settings.seed)
    penalties = settings.penalties[::-1]
    scores = np.zeros(len(penalties))
    for fold in range(settings.folds):
        found: PoissonRegression | None = None
        left_out = rows[fold_of == fold]
        for index, penalty in enumerate(penalties):
            found = fit(rows[fold_of != fold], penalty, found)
            scores[index] += log_likelihood(predict_rates(found, known[left_out]), targets[left_out])
    last = fit(np.arange(len(known)), penalties[int(np.argmax(scores))], None)
    return predict_rates(last, new[:, -1]).reshape(len(new), *shape)


def fit_rates(
    features: FloatArray, counts: FloatArray, *, penalty: float, tolerance: float = 1e-14
) -> PoissonRegression:
    """Fit a Poisson regression of counts on the features of the same bin.

    Parameters
    ----------
    features, counts
        Shapes ``(trial, time, feature)`` and ``(trial, time, unit)``.
    penalty, tolerance
        As for `fit_poisson`.
    """
    n_rows = features.shape[0] * features.shape[1]
    x, y = features.reshape(n_rows, -1), counts.reshape(n_rows, counts.shape[2])
    return fit_poisson(x, y, penalty=penalty, tolerance=tolerance)


def predict_rates(fit: PoissonRegression, features: FloatArray) -> FloatArray:
    """Return the rates `fit` expects, at least `RATE_FLOOR`. Shape ``(…, unit)``."""
    return np.maximum(fit.predict(features), RATE_FLOOR)


def log_likelihood(rates: FloatArray, counts: FloatArray) -> float:
    """Return the Poisson log-likelihood of the known counts, but for what does not depend on the rates.

    Examples
    --------
    >>> log_likelihood(np.array([1.0, 2.0]), np.array([3.0, np.nan]))
    -1.0
    """
    return float(np.nansum(counts * np.log(rates) - np.where(np.isfinite(counts), rates, 0.0)))


def mean_counts(counts: FloatArray) -> FloatArray:
    """Return the mean of each unit over the bins known, at least `RATE_FLOOR`. Shape ``(unit,)``."""
    known = np.isfinite(counts)
    number = np.maximum(known.sum(axis=(0, 1)), 1)
    mean: FloatArray = np.where(known, counts, 0.0).sum(axis=(0, 1)) / number
    return np.maximum(mean, RATE_FLOOR)


def feature_scale(features: FloatArray) -> FloatArray:
    """Return the standard deviation of each feature; 1 where a feature is constant but for rounding.

    Examples
    --------
    >>> feature_scale(np.array([[[0.0, 3.0], [4.0, 3.0]]])).tolist()
    [2.0, 1.0]
    """
    deviation = features.std(axis=(0, 1))
    return np.where(deviation > CONSTANT_BELOW * np.max(deviation, initial=0.0), deviation, 1.0)


def forward_mean(task: SpikeTask) -> FloatArray:
    """Return the mean of each unit over the bins ahead of training trials; of the window where none is known.

    Returns
    -------
    mean
        Spikes per bin, at least `RATE_FLOOR`. Shape ``(n_in + n_out,)``.
    """
    within = mean_counts(task.train)
    if task.train_forward is None:
        return within
    known = np.isfinite(task.train_forward).any(axis=(0, 1))
    return np.where(known, mean_counts(task.train_forward), within)


def draw_trials(n_trials: int, most: int, *, seed: int) -> NDArray[np.int64]:
    """Return at most `most` of the trials, drawn at random, ascending. Shape ``(n,)``."""
    if n_trials <= most:
        return np.arange(n_trials)
    return np.sort(np.random.default_rng(seed).permutation(n_trials)[:most])


def shown_and_wanted(task: SpikeTask, settings: BaselineSettings) -> tuple[FloatArray, FloatArray]:
    """Return training counts of units that are shown, and of units to predict.

    Parameters
    ----------
    task
        Its held-in and held-out units; without held-out units, half of the held-in ones play that part.
    settings
        Seed of their draw.

    Raises
    ------
    DataError
        If there is but one unit.
    """
    if task.train_heldout.shape[2]:
        return task.train_heldin, task.train_heldout
    n_units = task.train_heldin.shape[2]
    if n_units < 2:
        raise DataError(
            f"{task.session}: has {n_units} unit, expected at least 2 to predict one from another. Leave the "
            "session out."
        )
    drawn = np.random.default_rng(settings.seed).permutation(n_units)
    shown, wanted = np.sort(drawn[n_units // 2 :]), np.sort(drawn[: n_units // 2])
    return task.train_heldin[..., shown], task.train_heldin[..., wanted]
