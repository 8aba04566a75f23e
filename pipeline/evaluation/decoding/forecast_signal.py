"""Forecasts of velocity as signals of a session, scored and drawn beside what is decoded from rates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.evaluation.decoding.measured import settings_digest
from nwb_latents.pipeline.evaluation.decoding.session_decoder import DecodedSignal
from nwb_latents.pipeline.evaluation.forecasting.conformal import LEVEL
from nwb_latents.pipeline.evaluation.metrics.permutation import permutation_p_value
from nwb_latents.pipeline.evaluation.metrics.r2 import r2, r2_per_output
from nwb_latents.schemas.forecasting import ForecastSettings
from nwb_latents.schemas.measurement import Measurement

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nwb_latents.pipeline.evaluation.forecasting.session_forecast import ForecastTask
    from nwb_latents.pipeline.evaluation.forecasting.source_forecast import SourceForecast
    from nwb_latents.schemas.decoding import DecodeSettings


def forecast_settings(settings: DecodeSettings) -> ForecastSettings:
    """Return the settings under which `pipeline run forecast` has the same numbers.

    Examples
    --------
    >>> from nwb_latents.schemas.decoding import DecodeSettings
    >>> forecast_settings(DecodeSettings(lag_ms=60.0)).lag_ms
    60.0
    """
    return ForecastSettings(
        **dict(settings.forecast),
        lag_ms=settings.lag_ms,
        alphas=settings.alphas,
        folds=settings.folds,
        seed=settings.seed,
    )


def as_signal(task: ForecastTask, made: SourceForecast, settings: DecodeSettings) -> DecodedSignal | None:
    """Return a forecast of velocity as a scored signal; None where there is no velocity to score.

    Parameters
    ----------
    task
        The session's test trials.
    made
        What a source forecasts of them.
    settings
        Of the decoding: permutations, seed.
    """
    true, velocity = task.true, made.velocity
    if true is None or velocity is None:
        return None
    known: NDArray[np.bool_] = np.all(np.isfinite(true), axis=-1)
    if not known.any():
        return None
    value = r2(true, velocity, definition="r2_uniform", mask=known)
    per_axis = tuple(float(each) for each in r2_per_output(true, velocity, mask=known))
    p_value = None
    if settings.n_permutations and not np.isnan(value):
        p_value = permutation_p_value(
            true, velocity, n_permutations=settings.n_permutations, seed=settings.seed
        )
    read_by = made.read_by
    score = Measurement.model_validate({
        **task.facts,
        "name": "velocity_r2",
        "unit": "1",
        "definition": "r2_uniform",
        "value": None if np.isnan(value) else value,
        "reason": "an axis of the velocity does not vary" if np.isnan(value) else "",
        "per_axis": tuple(None if np.isnan(each) else each for each in per_axis),
        "p_value": p_value,
        "n_trials": int(np.any(known, axis=1).sum()),
        "n_samples": int(known.sum()),
        "stage": "decode",
        "split": "test",
        "source": made.source,
        "is_baseline": made.run is None,
        "run": made.run,
        "decoder": None if read_by is None else read_by.name,
        "decoder_settings": {} if read_by is None else dict(read_by.settings),
        "fitted_on": "" if read_by is None else read_by.fitted_on,
        "lag_ms": settings.lag_ms,
        "seen_bins": task.settings.seen_bins,
        "bins": task.settings.bins,
        "settings_digest": settings_digest(settings),
        "details": dict(made.details.get("velocity", {})),
    })  # fmt: skip
    band = made.band(task.val_true)
    half_width = None if band is None or band.level < LEVEL else band.half_width
    return DecodedSignal(score, task.settings.seen_bins, velocity, half_width)
