"""Rates and forecasts from a library of denoised training trials, by the likelihood of the counts seen.

As in MINT (Perkins et al.), rates along every trajectory of a library are known beforehand, and the Poisson
likelihood of the counts seen is looked up for each of them. Here trajectories are single training trials,
denoised by their courses (`baselines.trial_courses`), instead of means over the trials of a condition; trials
are cut at their events, so that no search over time is needed; and what a trial is expected to do is the mean
over the library, weighted by tempered likelihoods, in place of a point between the two likeliest states.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.evaluation.baselines.baseline import Baseline
from nwb_latents.pipeline.evaluation.baselines.rate_regression import (
    forward_rates,
    log_likelihood,
    shown_and_wanted,
)
from nwb_latents.pipeline.evaluation.baselines.trial_factors import learn_courses
from nwb_latents.pipeline.evaluation.forecasting.forecast_problem import Forecasts
from nwb_latents.pipeline.evaluation.spike_task import RatePrediction

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike, NDArray

    from nwb_latents.pipeline.evaluation.forecasting.forecast_problem import ForecastProblem
    from nwb_latents.pipeline.evaluation.spike_task import SpikeTask
    from nwb_latents.schemas.baselines import BaselineSettings

    FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class TrialLibrary:
    """Denoised training trials.

    Attributes
    ----------
    rates
        Spikes per bin, above 0. Shape ``(library trial, time, unit)``.
    latents
        The same trials without units. Shape ``(library trial, time, latent)``.
    """

    rates: FloatArray
    latents: FloatArray

    def log_likelihood(self, counts: ArrayLike) -> FloatArray:
        """Return how likely trials are, given each trial of the library.

        Parameters
        ----------
        counts
            Spikes per bin of the first bins and units, NaN where not recorded. Shape
            ``(trial, bin, unit)``.

        Returns
        -------
        log_likelihood
            Poisson, but for what does not depend on the library, nats. Shape ``(trial, library trial)``.
        """
        seen = np.asarray(counts, dtype=np.float64)
        rates = self.rates[:, : seen.shape[1], : seen.shape[2]].reshape(len(self.rates), -1)
        flat = seen.reshape(len(seen), -1)
        known = np.isfinite(flat)
        found: FloatArray = np.where(known, flat, 0.0) @ np.log(rates).T - known.astype(np.float64) @ rates.T
        return found


def weights_of(log_likelihood: FloatArray, *, temperature: float) -> FloatArray:
    """Return the weight of each trial of a library: its likelihood to the power 1 / temperature.

    Parameters
    ----------
    log_likelihood
        Nats; −inf for what is to have no weight. Shape ``(trial, library trial)``.
    temperature
        Above 1, neighbouring bins and units are taken to say less than independent ones would.

    Returns
    -------
    weights
        Rows sum to 1. Shape of `log_likelihood`.

    Examples
    --------
    >>> weights_of(np.log([[1.0, 3.0]]), temperature=1.0).round(6).tolist()
    [[0.25, 0.75]]
    """
    power = log_likelihood / temperature
    weights = np.exp(power - power.max(axis=1, keepdims=True))
    normed: FloatArray = weights / weights.sum(axis=1, keepdims=True)
    return normed


def trial_library(task: SpikeTask, settings: BaselineSettings) -> RatePrediction:
    """Predict rates of all units as those of the training trials whose held-in rates fit best.

    Parameters
    ----------
    task
        What may be seen. A training trial is predicted from the others.
    settings
        Factors of the courses training trials are denoised by, and temperatures: that which foretells
        held-out units of training trials best, each from the others, is taken.

    Raises
    ------
    DataError
        If there are fewer than two training trials, no unit to predict from another, or no two trials differ.
    """
    shown, wanted = shown_and_wanted(task, settings)
    n_shown = shown.shape[2]
    chosen = _library(np.concatenate([shown, wanted], axis=2), settings, bin_size_s=task.bin_size_s)
    temperature = _temperature(
        _without_itself(chosen.log_likelihood(shown)), chosen.rates[..., n_shown:], wanted, settings
    )
    library = _library(task.train, settings, bin_size_s=task.bin_size_s)
    of_train = weights_of(_without_itself(library.log_likelihood(task.train_heldin)), temperature=temperature)
    of_new = weights_of(library.log_likelihood(task.eval_heldin), temperature=temperature)
    latents = np.tensordot(of_train, library.latents, 1), np.tensordot(of_new, library.latents, 1)
    return RatePrediction(
        train=np.tensordot(of_train, library.rates, axes=1),
        eval=np.tensordot(of_new, library.rates, axes=1),
        eval_forward=forward_rates(*latents, task, settings),
        latents=latents,
    )


def forecast_by_library(problem: ForecastProblem, settings: BaselineSettings) -> Forecasts:
    """Forecast the mean of the training trials whose first bins fit best: their rates and their velocity.

    Parameters
    ----------
    problem
        What may be seen.
    settings
        As for `trial_library`; the temperature is the one that foretells the bins ahead of training trials
        best, each from the others.

    Returns
    -------
    forecasts
        Rates are denoised ones; velocity is the recorded one of the library's trials.

    Raises
    ------
    DataError
        As for `trial_library`.
    """
    chosen = problem.settings
    library = _library(problem.train_counts, settings, bin_size_s=problem.bin_size_s)
    among = _without_itself(library.log_likelihood(problem.train_counts[:, : chosen.seen_bins]))
    ahead = library.rates[:, chosen.ahead]
    temperature = _temperature(among, ahead, problem.train_counts[:, chosen.ahead], settings)
    weights = weights_of(library.log_likelihood(problem.counts), temperature=temperature)
    velocity = None
    if problem.train_velocity is not None:
        velocity = _mean_of_known(problem.train_velocity[:, chosen.ahead], weights)
    return Forecasts(
        rates=np.tensordot(weights, ahead, axes=1) / problem.bin_size_s,
        velocity=velocity,
        details={quantity: {"temperature": temperature} for quantity in problem.targets()},
    )


def _library(counts: FloatArray, settings: BaselineSettings, *, bin_size_s: float) -> TrialLibrary:
    (courses,) = learn_courses(counts, settings, [settings.library_factors], bin_size_s=bin_size_s)
    factors = courses.posterior(counts).mean
    return TrialLibrary(courses.rates(factors), courses.latents(factors))


def _temperature(
    among: FloatArray, rates: FloatArray, counts: FloatArray, settings: BaselineSettings
) -> float:
    """Return the temperature under which training trials foretell each other best."""

    def score(temperature: float) -> float:
        weights = weights_of(among, temperature=temperature)
        return log_likelihood(np.tensordot(weights, rates, axes=1), counts)

    return max(settings.library_temperatures, key=score)


def _without_itself(log_likelihood: FloatArray) -> FloatArray:
    apart = log_likelihood.copy()
    np.fill_diagonal(apart, -np.inf)
    return apart


def _mean_of_known(values: Sequence[FloatArray] | FloatArray, weights: FloatArray) -> FloatArray:
    """Return weighted means over the library of what is known; where nothing is, the plain mean of all."""
    library = np.asarray(values, dtype=np.float64)
    known = np.isfinite(library)
    total = np.tensordot(weights, np.where(known, library, 0.0), axes=1)
    number = np.tensordot(weights, known.astype(np.float64), axes=1)
    n_known = np.maximum(known.sum(axis=(0, 1)), 1)
    otherwise = np.where(known, library, 0.0).sum(axis=(0, 1)) / n_known
    mean: FloatArray = np.where(number > 0, total / np.where(number > 0, number, 1.0), otherwise)
    return mean


TRIAL_LIBRARY = Baseline(
    name="trial_library",
    meaning="mean of denoised training trials, weighted by the Poisson likelihood of the counts seen under "
    "each, of held-in units or of the bins seen alone, as in MINT; velocity is the recorded one of these "
    "trials",
    rates=trial_library,
    forecast=forecast_by_library,
    order=24,
)
