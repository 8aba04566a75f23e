"""Forecasts from the bins shown: ridge regression, the mean of the condition, the last value held."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.evaluation.baselines.baseline import Baseline
from nwb_latents.pipeline.evaluation.forecasting.forecast_problem import Forecasts
from nwb_latents.pipeline.evaluation.forecasting.simple_forecasts import (
    fit_condition_mean,
    fit_linear_forecast,
    hold_last,
)
from nwb_latents.pipeline.signals.scaling import MIN_DEVIATION_HZ

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from numpy.typing import NDArray

    from nwb_latents.pipeline.evaluation.forecasting.forecast_problem import ForecastProblem
    from nwb_latents.schemas.baselines import BaselineSettings
    from nwb_latents.schemas.forecasting import ForecastQuantity

    FloatArray = NDArray[np.float64]


def forecast_linearly(problem: ForecastProblem, settings: BaselineSettings) -> Forecasts:
    """Forecast by ridge regression from the rates of all bins shown to all bins ahead.

    Parameters
    ----------
    problem
        What may be seen. Rates of the bins shown are smoothed from these bins alone, in training trials and
        in those to forecast; deviations below `MIN_DEVIATION_HZ` are raised to it.
    settings
        Without effect: penalties, folds and seed are those of the forecast.

    Raises
    ------
    DataError
        If there are fewer training trials than folds.
    """
    del settings
    return read_out_forecasts(
        problem,
        problem.train_shown,
        problem.shown,
        alphas=problem.settings.linear_alphas,
        min_deviation=MIN_DEVIATION_HZ,
    )


def read_out_forecasts(
    problem: ForecastProblem,
    known: FloatArray,
    new: FloatArray,
    *,
    alphas: Sequence[float],
    min_deviation: float = 0.0,
) -> Forecasts:
    """Fit what is known of training trials from their bins shown to all bins ahead, rates and velocity.

    Parameters
    ----------
    problem
        What is to be forecast.
    known, new
        Features of the training trials and of those to forecast, from their bins shown. Shapes
        ``(trial, time, feature)``.
    alphas
        Penalties tried.
    min_deviation
        Smallest deviation a feature is divided by.

    Raises
    ------
    DataError
        If there are fewer training trials than folds.
    """
    chosen = problem.settings
    made: dict[ForecastQuantity, FloatArray] = {}
    details: dict[ForecastQuantity, dict[str, Any]] = {}
    for quantity, values in problem.targets().items():
        ahead = values[:, chosen.ahead]
        whole = np.isfinite(ahead).all(axis=(1, 2))
        fit = fit_linear_forecast(
            known[whole],
            ahead[whole],
            alphas=alphas,
            folds=chosen.folds,
            seed=chosen.seed,
            min_deviation=min_deviation,
        )
        made[quantity], details[quantity] = fit.predict(new), {"alpha": fit.alpha}
    return Forecasts(made["rates"], made.get("velocity"), details)


def forecast_condition(problem: ForecastProblem, settings: BaselineSettings) -> Forecasts:
    """Forecast the mean course of the training trials of the trial's condition, which tells the target."""
    del settings
    made = {
        quantity: fit_condition_mean(values, problem.train_condition).predict(problem.condition)[
            :, problem.settings.ahead
        ]
        for quantity, values in problem.targets().items()
    }
    return Forecasts(made["rates"], made.get("velocity"))


def forecast_last(problem: ForecastProblem, settings: BaselineSettings) -> Forecasts:
    """Hold the rates of the last bin shown, and the velocity that goes with it."""
    del settings
    shown: dict[ForecastQuantity, FloatArray | None] = {
        "rates": problem.shown,
        "velocity": problem.velocity_seen,
    }
    made = {}
    for quantity, values in problem.targets().items():
        before = shown[quantity]
        if before is None:
            continue
        course = fit_condition_mean(values, problem.train_condition).overall[: problem.settings.seen_bins]
        made[quantity] = hold_last(before, n_bins=problem.settings.bins, otherwise=course.mean(axis=0))
    return Forecasts(made["rates"], made.get("velocity"))


HOLD_LAST = Baseline(
    name="hold_last",
    meaning="forecast: rates of the last bin seen, smoothed from the bins seen alone; the velocity that goes "
    "with that bin, which it is told",
    forecast=forecast_last,
    told="the velocity that goes with the last bin seen",
    order=30,
)
LINEAR_FORECAST = Baseline(
    name="linear_forecast",
    meaning="forecast: ridge regression from all units in all bins seen, smoothed from the bins seen alone, "
    "to all bins ahead; deviations below 1 Hz are raised to it",
    forecast=forecast_linearly,
    order=32,
)
