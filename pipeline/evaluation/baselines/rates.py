"""Rates that need no trained model: what a run is held against.

Every baseline turns a `SpikeTask` into a `RatePrediction`. Whatever is fitted or chosen sees training trials
alone, and every trial is predicted on its own, from its counts of held-in units (and, for the mean of
conditions, its condition).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.evaluation.baselines.baseline import Baseline
from nwb_latents.pipeline.evaluation.baselines.forecasts import forecast_condition
from nwb_latents.pipeline.evaluation.baselines.rate_regression import (
    RATE_FLOOR,
    choose,
    draw_trials,
    fit_rates,
    forward_mean,
    forward_rates,
    log_likelihood,
    mean_counts,
    predict_rates,
)
from nwb_latents.pipeline.evaluation.spike_task import RatePrediction
from nwb_latents.pipeline.signals.folds import group_folds
from nwb_latents.pipeline.signals.smoothing import smooth_trials

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from nwb_latents.pipeline.evaluation.baselines.rate_regression import Learn, Transform
    from nwb_latents.pipeline.evaluation.spike_task import SpikeTask
    from nwb_latents.schemas.baselines import BaselineSettings

    FloatArray = NDArray[np.float64]

_LOG_OFFSET = 1e-4
"""Added to smoothed counts before their logarithm is taken, spikes per bin."""


def null(task: SpikeTask, settings: BaselineSettings) -> RatePrediction:
    """Predict the mean of each unit over the training trials, everywhere.

    Parameters
    ----------
    task
        What may be seen.
    settings
        Without effect.

    Returns
    -------
    prediction
        Bins ahead have the mean over the bins ahead of the training trials.
    """
    del settings
    (n_train, n_time), n_eval = task.train_heldin.shape[:2], len(task.eval_heldin)
    mean = mean_counts(task.train)
    ahead = np.tile(forward_mean(task), (n_eval, task.n_forward, 1)) if task.n_forward else None
    return RatePrediction(np.tile(mean, (n_train, n_time, 1)), np.tile(mean, (n_eval, n_time, 1)), ahead)


def condition_mean(task: SpikeTask, settings: BaselineSettings) -> RatePrediction:
    """Predict the smoothed mean course of the training trials of the condition.

    To the trials of a condition comes one with the mean course of all trials, so that a condition with few
    trials stays close to what is known of the others; a condition without training trials has that course.
    The width of the Gaussian is the one that predicts all units of training trials left out best.

    Parameters
    ----------
    task
        What may be seen; of the trials to predict, their condition.
    settings
        Widths tried, folds and seed.

    Returns
    -------
    prediction
        Bins ahead have the course of the bins ahead of the training trials, smoothed with the window.

    Raises
    ------
    DataError
        If there are fewer training trials than folds.
    """
    conditions, counts = task.train_condition, task.train
    rows = draw_trials(len(counts), settings.choice_trials, seed=settings.seed)
    fold_of = group_folds(rows, folds=settings.folds, seed=settings.seed)

    def score(sigma_ms: float) -> float:
        total = 0.0
        for fold in range(settings.folds):
            fitted, left_out = rows[fold_of != fold], rows[fold_of == fold]
            course = _courses(counts[fitted], conditions[fitted], _bins(sigma_ms, task))
            total += log_likelihood(_follow(course, conditions[left_out]), counts[left_out])
        return total

    sigma_bins = _bins(max(settings.sigmas_ms, key=score), task)
    course = _courses(counts, conditions, sigma_bins)
    ahead = None
    if task.train_forward is not None:
        longer = _courses(np.concatenate([counts, task.train_forward], axis=1), conditions, sigma_bins)
        ahead = _follow(longer, task.eval_condition)[:, counts.shape[1] :]
    return RatePrediction(_follow(course, conditions), _follow(course, task.eval_condition), ahead)


def smoothing(task: SpikeTask, settings: BaselineSettings) -> RatePrediction:
    """Smooth held-in units with a Gaussian, and predict held-out units from the logarithm of that.

    Held-out units, and all units in the bins ahead, have Poisson regressions on ``log(smoothed + 1e-4)`` of
    the held-in units: of the same bin, or of the last bin of the window. Held-in units have their smoothed
    counts. Width and penalty are those that predict held-out units of training trials left out best.

    Parameters
    ----------
    task
        What may be seen.
    settings
        Widths and penalties tried, folds and seed.

    Raises
    ------
    DataError
        If there are fewer training trials than folds, or no unit to predict from another.

    References
    ----------
    Pei et al. 2021, "Neural Latents Benchmark '21", section 4, "spike smoothing".
    """

    def learner(sigma_ms: float, latents: int) -> Learn:
        del latents
        return lambda counts: _log_smoothed(mean_counts(counts), _bins(sigma_ms, task))

    choice = choose(learner, task, settings)
    features = learner(choice.sigma_ms, 0)(task.train_heldin)
    train, new = features(task.train_heldin), features(task.eval_heldin)
    fit = fit_rates(train, task.train_heldout, penalty=choice.penalty)
    return RatePrediction(
        train=np.concatenate([_unlog(train), predict_rates(fit, train)], axis=2),
        eval=np.concatenate([_unlog(new), predict_rates(fit, new)], axis=2),
        eval_forward=forward_rates(train, new, task, settings),
    )


def _bins(sigma_ms: float, task: SpikeTask) -> float:
    return sigma_ms / 1e3 / task.bin_size_s


def _log_smoothed(mean: FloatArray, sigma_bins: float) -> Transform:
    def transform(counts: FloatArray) -> FloatArray:
        smoothed = smooth_trials(counts, sigma_bins=sigma_bins)
        return np.log(np.where(np.isfinite(smoothed), smoothed, mean) + _LOG_OFFSET)

    return transform


def _unlog(features: FloatArray) -> FloatArray:
    return np.maximum(np.exp(features) - _LOG_OFFSET, RATE_FLOOR)


def _courses(counts: FloatArray, conditions: NDArray[np.object_], sigma_bins: float) -> dict[str, FloatArray]:
    """Mean course of each condition, and of all trials under the empty name. Shapes ``(time, unit)``."""
    known = np.isfinite(counts)
    filled = np.where(known, counts, 0.0)
    total, number = filled.sum(axis=0), known.sum(axis=0)
    with np.errstate(invalid="ignore"):
        overall = smooth_trials((total / number)[None], sigma_bins=sigma_bins)[0]
    overall = np.where(np.isfinite(overall), overall, mean_counts(counts))
    found = {"": overall}
    for name in sorted(set(conditions) - {""}):
        mine = conditions == name
        course = (filled[mine].sum(axis=0) + overall) / (known[mine].sum(axis=0) + 1.0)
        found[name] = smooth_trials(course[None], sigma_bins=sigma_bins)[0]
    return found


def _follow(courses: Mapping[str, FloatArray], conditions: NDArray[np.object_]) -> FloatArray:
    followed = np.stack([courses.get(name, courses[""]) for name in conditions])
    return np.maximum(followed, RATE_FLOOR)


NULL = Baseline(name="null", meaning="the mean of each unit", rates=null, order=10)
CONDITION_MEAN = Baseline(
    name="condition_mean",
    meaning="the smoothed mean course of the trial's condition: it is told the target",
    rates=condition_mean,
    forecast=forecast_condition,
    told="the target",
    order=12,
)
SMOOTHING = Baseline(
    name="smoothing",
    meaning="held-in units smoothed with a Gaussian; held-out ones by Poisson regression on them; width and "
    "penalty by cross-validation",
    rates=smoothing,
    order=14,
)
