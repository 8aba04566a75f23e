"""Rates and forecasts from a few factors of the whole trial, inferred from whatever of it was seen.

Where trials are repetitions of alike movements, most of what tells one from another is said by a handful of
numbers for the whole trial. They are inferred from the counts seen: of held-in units for co-smoothing, of the
first bins for forecasts (`baselines.trial_courses`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.evaluation.baselines.baseline import Baseline
from nwb_latents.pipeline.evaluation.baselines.forecasts import read_out_forecasts
from nwb_latents.pipeline.evaluation.baselines.rate_regression import (
    draw_trials,
    forward_rates,
    log_likelihood,
    shown_and_wanted,
)
from nwb_latents.pipeline.evaluation.baselines.trial_courses import fit_courses
from nwb_latents.pipeline.evaluation.forecasting.forecast_problem import Forecasts
from nwb_latents.pipeline.evaluation.spike_task import RatePrediction
from nwb_latents.pipeline.signals.folds import group_folds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from nwb_latents.pipeline.evaluation.baselines.trial_courses import TrialCourses
    from nwb_latents.pipeline.evaluation.forecasting.forecast_problem import ForecastProblem
    from nwb_latents.pipeline.evaluation.spike_task import SpikeTask
    from nwb_latents.schemas.baselines import BaselineSettings

    FloatArray = NDArray[np.float64]


def trial_factors(task: SpikeTask, settings: BaselineSettings) -> RatePrediction:
    """Predict rates of all units from the trial's factors, inferred from its held-in counts.

    Parameters
    ----------
    task
        What may be seen.
    settings
        Numbers of factors tried; width, latent variables and penalty of the courses; folds and seed.

    Returns
    -------
    prediction
        Bins ahead are predicted from the latent variables of the last bin, as those of factor analysis are.

    Raises
    ------
    DataError
        If there are fewer training trials than folds, no unit to predict from another, or no two trials
        differ.
    """
    shown, wanted = shown_and_wanted(task, settings)
    n_shown = shown.shape[2]
    courses = choose_courses(
        np.concatenate([shown, wanted], axis=2),
        settings,
        bin_size_s=task.bin_size_s,
        seen=(slice(None), slice(None, n_shown)),
        scored=(slice(None), slice(n_shown, None)),
        fit=task.train,
    )
    known = courses.posterior(task.train_heldin).mean
    new = courses.posterior(task.eval_heldin).mean
    latents = courses.latents(known), courses.latents(new)
    return RatePrediction(
        train=courses.rates(known),
        eval=courses.rates(new),
        eval_forward=forward_rates(*latents, task, settings),
        latents=latents,
    )


def forecast_by_factors(problem: ForecastProblem, settings: BaselineSettings) -> Forecasts:
    """Forecast from the trial's factors, inferred from the counts of the bins seen.

    Parameters
    ----------
    problem
        What may be seen.
    settings
        As for `trial_factors`.

    Returns
    -------
    forecasts
        Rates are those of the factors. Velocity is read out by ridge regression from the factors, which is
        fitted on factors that were inferred of training trials from their bins seen alone.

    Raises
    ------
    DataError
        As for `trial_factors`.
    """
    chosen = problem.settings
    courses = choose_courses(
        problem.train_counts,
        settings,
        bin_size_s=problem.bin_size_s,
        seen=(slice(None, chosen.seen_bins), slice(None)),
        scored=(chosen.ahead, slice(None)),
        fit=problem.train_counts,
    )
    known, new = (
        courses.posterior(counts).mean
        for counts in (problem.train_counts[:, : chosen.seen_bins], problem.counts)
    )
    made = read_out_forecasts(problem, known[:, None], new[:, None], alphas=chosen.alphas)
    details = {"factors": len(courses.deviation)}
    return Forecasts(
        rates=courses.rates(new)[:, chosen.ahead] / problem.bin_size_s,
        velocity=made.velocity,
        details={"rates": details, "velocity": {**made.details.get("velocity", {}), **details}},
    )


def choose_courses(
    counts: FloatArray,
    settings: BaselineSettings,
    *,
    bin_size_s: float,
    seen: tuple[slice, slice],
    scored: tuple[slice, slice],
    fit: FloatArray,
) -> TrialCourses:
    """Learn as many courses as foretell best what is scored of trials left out, from what is seen of them.

    Parameters
    ----------
    counts
        Training trials by which the number is chosen. Shape ``(trial, time, unit)``.
    settings
        Numbers tried, folds, seed, at most how many trials are looked at.
    bin_size_s
        Width of a bin, s.
    seen, scored
        Bins and units of a trial left out that factors are inferred from, and whose likelihood is taken.
    fit
        Training trials the courses are learnt from then. Shape ``(trial, time, unit')``.

    Raises
    ------
    DataError
        If there are fewer trials than folds, or no two differ.
    """
    numbers: Sequence[int] = settings.trial_factors
    best = 0
    if len(numbers) > 1:
        rows = draw_trials(len(counts), settings.choice_trials, seed=settings.seed)
        fold_of = group_folds(rows, folds=settings.folds, seed=settings.seed)
        scores = np.zeros(len(numbers))
        for fold in range(settings.folds):
            left_out = counts[rows[fold_of == fold]]
            learnt = learn_courses(counts[rows[fold_of != fold]], settings, numbers, bin_size_s=bin_size_s)
            for index, courses in enumerate(learnt):
                factors = courses.posterior(left_out[:, seen[0], seen[1]]).mean
                rates = courses.rates(factors)[:, scored[0], scored[1]]
                scores[index] += log_likelihood(rates, left_out[:, scored[0], scored[1]])
        best = int(np.argmax(scores))
    return learn_courses(fit, settings, [numbers[best]], bin_size_s=bin_size_s)[0]


def learn_courses(
    counts: FloatArray, settings: BaselineSettings, factors: Sequence[int], *, bin_size_s: float
) -> list[TrialCourses]:
    """Learn courses with the width, latent variables and penalty of the settings (`fit_courses`)."""
    return fit_courses(
        counts,
        sigma_bins=settings.course_sigma_ms / 1e3 / bin_size_s,
        latents=settings.course_latents,
        factors=factors,
        penalty=settings.course_penalty,
    )


TRIAL_FACTORS = Baseline(
    name="trial_factors",
    meaning="low-rank courses of whole trials with Poisson counts: a trial's factors have a posterior given "
    "the counts seen of it, of held-in units or of the bins seen alone; their number by cross-validation; "
    "velocity by ridge regression from them",
    rates=trial_factors,
    forecast=forecast_by_factors,
    order=22,
)
