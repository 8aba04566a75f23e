"""Rates by linear latent variable models of smoothed counts: factor analysis and principal components.

Square roots of the held-in counts, whose variance depends little on the rate, are smoothed within the trial.
The latent variables of every bin, divided by their standard deviations, are mapped to the rates of all units
by Poisson regression. Width of the Gaussian (or none), number of latent dimensions and penalty are those that
predict held-out units of training trials left out best.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from nwb_latents.pipeline.evaluation.baselines.baseline import Baseline
from nwb_latents.pipeline.evaluation.baselines.factors import fit_factors
from nwb_latents.pipeline.evaluation.baselines.rate_regression import (
    choose,
    feature_scale,
    fit_rates,
    forward_rates,
    predict_rates,
)
from nwb_latents.pipeline.evaluation.spike_task import RatePrediction
from nwb_latents.pipeline.signals.smoothing import smooth_trials

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from nwb_latents.pipeline.evaluation.baselines.rate_regression import Choice, Learn, Transform
    from nwb_latents.pipeline.evaluation.spike_task import SpikeTask
    from nwb_latents.schemas.baselines import BaselineSettings

    FloatArray = NDArray[np.float64]

_UNSMOOTHED_MS = 1e-3
"""Tried beside the widths of the settings: units can share what lasts no longer than a bin."""


class _Model(Protocol):
    """What is used of a decomposition."""

    def transform(self, rows: FloatArray) -> FloatArray: ...


def factor_analysis(task: SpikeTask, settings: BaselineSettings) -> RatePrediction:
    """Predict rates from the latent variables of factor analysis.

    Parameters
    ----------
    task
        What may be seen.
    settings
        Widths, latent dimensions and penalties tried, folds and seed.

    Raises
    ------
    DataError
        If there are fewer training trials than folds, or no unit to predict from another.

    References
    ----------
    Yu et al. 2009, "Gaussian-process factor analysis for low-dimensional single-trial analysis of neural
    population activity", section "Two-stage methods".
    """
    return _predict(fit_factors, choose_factors(task, settings, latents=settings.latents), task, settings)


def pca(task: SpikeTask, settings: BaselineSettings) -> RatePrediction:
    """Predict rates from principal components.

    Parameters and errors are those of `factor_analysis`.
    """
    choice = _choose(_fit_components, task, settings, latents=settings.latents)
    return _predict(_fit_components, choice, task, settings)


def choose_factors(task: SpikeTask, settings: BaselineSettings, *, latents: tuple[int, ...]) -> Choice:
    """Return the settings factor analysis predicts held-out units of training trials left out best with.

    They are remembered: of one task, several baselines ask for them.
    """
    key = ("factors", settings, latents)
    if key not in task.remembered:
        task.remembered[key] = _choose(fit_factors, task, settings, latents=latents)
    found: Choice = task.remembered[key]
    return found


def rates_of_latents(
    train: FloatArray, new: FloatArray, task: SpikeTask, settings: BaselineSettings, *, penalty: float
) -> RatePrediction:
    """Map latent variables to the rates of all units.

    Parameters
    ----------
    train, new
        Latent variables of the training trials and of those to predict. Shapes ``(trial, time, latent)``.
    task
        Only its training trials are looked at.
    settings
        Penalties tried for the bins ahead, folds and seed.
    penalty
        Of the regression within the window.
    """
    fit = fit_rates(train, task.train, penalty=penalty)
    return RatePrediction(
        predict_rates(fit, train),
        predict_rates(fit, new),
        forward_rates(train, new, task, settings),
        latents=(train, new),
    )


def _fit_components(rows: FloatArray, latents: int) -> _Model:
    from sklearn.decomposition import PCA  # noqa: PLC0415 - takes seconds to import

    model: _Model = PCA(latents, svd_solver="covariance_eigh").fit(rows)
    return model


def _choose(
    fit: Callable[[FloatArray, int], _Model],
    task: SpikeTask,
    settings: BaselineSettings,
    *,
    latents: tuple[int, ...],
) -> Choice:
    def learner(sigma_ms: float, number: int) -> Learn:
        return _learn_latents(fit, sigma_ms / 1e3 / task.bin_size_s, number)

    widths = (_UNSMOOTHED_MS, *settings.sigmas_ms)
    return choose(learner, task, settings.model_copy(update={"sigmas_ms": widths}), latents=latents)


def _predict(
    fit: Callable[[FloatArray, int], _Model], choice: Choice, task: SpikeTask, settings: BaselineSettings
) -> RatePrediction:
    learn = _learn_latents(fit, choice.sigma_ms / 1e3 / task.bin_size_s, choice.latents)
    transform = learn(task.train_heldin)
    train, new = transform(task.train_heldin), transform(task.eval_heldin)
    return rates_of_latents(train, new, task, settings, penalty=choice.penalty)


def _learn_latents(fit: Callable[[FloatArray, int], _Model], sigma_bins: float, latents: int) -> Learn:
    def learn(counts: FloatArray) -> Transform:
        smoothed = smooth_trials(np.sqrt(counts), sigma_bins=sigma_bins)
        number = np.isfinite(smoothed).sum(axis=(0, 1))
        mean = np.nansum(smoothed, axis=(0, 1)) / np.maximum(number, 1)

        def rows_of(roots: FloatArray) -> FloatArray:
            centred: FloatArray = np.nan_to_num(roots - mean).reshape(-1, len(mean))
            return centred

        rows = rows_of(smoothed)
        model = fit(rows, latents)
        scale = feature_scale(model.transform(rows)[None])

        def transform(trials: FloatArray) -> FloatArray:
            roots = smooth_trials(np.sqrt(trials), sigma_bins=sigma_bins)
            scaled: FloatArray = model.transform(rows_of(roots)) / scale
            return scaled.reshape(*trials.shape[:2], -1)

        return transform

    return learn


FACTOR_ANALYSIS = Baseline(
    name="factor_analysis",
    meaning="Poisson regression on factors, their number by cross-validation",
    rates=factor_analysis,
    order=16,
)
PCA = Baseline(name="pca", meaning="the same on principal components", rates=pca, order=18)
