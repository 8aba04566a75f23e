"""Forecasts as numbers: R² over the steps ahead, slope of the truth on them, and what their bands hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nwb_latents.pipeline.evaluation.decoding.measured import RECORDED_RATES
from nwb_latents.pipeline.evaluation.forecasting.conformal import why_lower
from nwb_latents.pipeline.evaluation.forecasting.curves import COVERAGE, SLOPE, STAGE, WIDTH, Curve
from nwb_latents.pipeline.evaluation.forecasting.kstep_scores import (
    rates_kstep_r2,
    velocity_kstep_r2,
    velocity_slope,
)
from nwb_latents.pipeline.evaluation.forecasting.source_forecast import RECORDED, SourceForecast, VelocityMap
from nwb_latents.schemas.measurement import Measurement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from nwb_latents.pipeline.evaluation.forecasting.kstep_scores import KStep
    from nwb_latents.pipeline.evaluation.forecasting.session_forecast import ForecastTask
    from nwb_latents.schemas.forecasting import ForecastQuantity

    FloatArray = NDArray[np.float64]


def recorded_signal(task: ForecastTask) -> SourceForecast | None:
    """Return what is no forecast at all: the decoder on the rates recorded there; None without velocity."""
    if task.decoder is None or task.description is None:
        return None
    described = task.description
    return SourceForecast(
        RECORDED,
        velocity=task.decoder.predict(task.rates[:, task.settings.ahead]),
        read_by=VelocityMap(described.name, {**described.settings, **described.chosen}, RECORDED_RATES),
    )


def curves_of_forecast(task: ForecastTask, made: SourceForecast) -> list[Curve]:
    """Return the curves of a forecast, velocity first."""
    curves = []
    if made.velocity is not None and task.true is not None:
        curves.append(_curve("velocity", made, velocity_kstep_r2(task.true, made.velocity)))
    if made.rates is not None:
        found = rates_kstep_r2(task.rates, made.rates, first_bin=task.settings.seen_bins)
        curves.append(_curve("rates", made, found))
    return curves


def measurements_of(task: ForecastTask, made: Sequence[SourceForecast]) -> list[Measurement]:
    """Return every number of forecasts with its protocol: their curves, then slope, coverage and width.

    Parameters
    ----------
    task
        The session they are of.
    made
        What sources forecast of it.
    """
    about = {
        **task.facts,
        "split": "test",
        "n_trials": len(task.test),
        "seen_bins": task.settings.seen_bins,
        "bins": task.settings.bins,
        "settings_digest": task.settings.digest()[:16],
    }
    found: list[Measurement] = []
    for each in made:
        for curve in curves_of_forecast(task, each):
            found += curve.measurements(run=each.run, **about, **_protocol(task, each, curve.quantity))
        if each.source != RECORDED and each.velocity is not None and task.true is not None:
            said = {**about, **_protocol(task, each, "velocity"), **_owner(each), "stage": STAGE}
            found += _of_velocity(task, each, task.true, each.velocity, said)
    return found


def _of_velocity(
    task: ForecastTask, made: SourceForecast, true: FloatArray, velocity: FloatArray, about: dict[str, Any]
) -> list[Measurement]:
    slope, per_axis = velocity_slope(true, velocity)
    found = [
        Measurement.model_validate({
            **about, "name": SLOPE, "unit": "1", "value": _defined(slope),
            "per_axis": tuple(_defined(each) for each in per_axis),
            "reason": "the forecast does not vary" if np.isnan(slope) else "",
        })
    ]  # fmt: skip
    band = made.band(task.val_true)
    reason, values = why_lower(band), {}
    if band is not None:
        known = np.isfinite(true)
        held = (known & band.holds(true, velocity)).sum(axis=(0, 1))
        number = known.sum(axis=(0, 1))
        covered, width = held.sum() / max(number.sum(), 1), 2.0 * band.half_width
        values = {COVERAGE: (float(covered), tuple(held / np.maximum(number, 1)))}
        values[WIDTH] = (float(width.mean()), tuple(width.mean(axis=0)))
    lower = {} if band is None or not reason else {"level": round(band.level, 6)}
    lower |= {f"{name} there": round(value, 6) for name, (value, _) in values.items() if lower}
    trials = {} if band is None else {"val_trials": band.n_trials}
    for name, unit in ((COVERAGE, "1"), (WIDTH, "cm/s")):
        value, axes = values.get(name, (None, ())) if not reason else (None, ())
        found.append(
            Measurement.model_validate({
                **about, "name": name, "unit": unit, "value": value, "per_axis": axes, "reason": reason,
                "details": {**about.get("details", {}), **trials, **lower},
            })
        )  # fmt: skip
    return found


def _protocol(task: ForecastTask, made: SourceForecast, quantity: ForecastQuantity) -> dict[str, Any]:
    """Return what was fitted, and on what, for the numbers of a forecast."""
    about: dict[str, Any] = {"lag_ms": task.settings.lag_ms} if quantity == "velocity" else {}
    details = dict(made.details.get(quantity, {}))
    if details:
        about["details"] = details
    if quantity == "velocity" and made.read_by is not None:
        about |= {
            "decoder": made.read_by.name,
            "decoder_settings": dict(made.read_by.settings),
            "fitted_on": made.read_by.fitted_on,
        }
    return about


def _owner(made: SourceForecast) -> dict[str, Any]:
    return {
        "source": made.source,
        "run": made.run,
        "is_baseline": made.run is None and made.source != RECORDED,
    }


def _curve(quantity: ForecastQuantity, made: SourceForecast, found: KStep) -> Curve:
    steps = tuple(_defined(float(value)) for value in found.per_step)
    return Curve(quantity, made.source, steps, _defined(found.pooled), dict(made.details.get(quantity, {})))


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else value
