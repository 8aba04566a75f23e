"""Hand velocity read out of what a source makes, as in `pipeline run decode`.

Reconstructions have one decoder for all sources, fitted on the recorded smoothed rates of training trials: it
is not fitted to the source, so that a difference between two sources is a difference between two signals.
Forecasts of runs have read-outs of their own, fitted on forecasts of training trials
(`pipeline.evaluation.forecasting.read_outs`).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.evaluation.decoding.measured import RECORDED_RATES
from nwb_latents.pipeline.evaluation.metrics.metric import CannotBeHadError, Found, Metric
from nwb_latents.pipeline.evaluation.metrics.r2 import R2Sums, r2, r2_per_output
from nwb_latents.schemas.decoding import DEFAULT_DECODER

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nwb_latents.pipeline.evaluation.decoding.decoder import DecoderDescription
    from nwb_latents.pipeline.evaluation.scored_session import ScoredSession
    from nwb_latents.pipeline.evaluation.source_output import SourceOutput

    FloatArray = NDArray[np.float64]

NO_VELOCITY = "no hand velocity was recorded"


def _of_reconstruction(session: ScoredSession, made: SourceOutput) -> Found:
    decoder = session.velocity_decoder
    if decoder is None or session.velocity is None:
        raise CannotBeHadError(NO_VELOCITY)
    if made.rates_hz is None:
        raise CannotBeHadError(made.lacks("reconstruction"))
    described = session.describe_decoder(decoder)
    return velocity_found(session.velocity[1], decoder.predict(made.rates_hz), described)


def _of_forecast(session: ScoredSession, made: SourceOutput) -> Found:
    task = session.forecast
    if task is None or made.forecast is None:
        raise CannotBeHadError(made.lacks("forecast"))
    if task.true is None or made.forecast.velocity is None:
        raise CannotBeHadError(NO_VELOCITY)
    found = velocity_found(task.true, made.forecast.velocity, None)
    details = {k: v for k, v in made.forecast.details.get("velocity", {}).items() if k != "told"}
    read_by = made.forecast.read_by
    if read_by is None:
        return replace(found, details=details)
    return replace(
        found,
        decoder=read_by.name,
        decoder_settings=dict(read_by.settings),
        fitted_on=read_by.fitted_on,
        details=details,
    )


def velocity_found(
    true: FloatArray,
    predicted: FloatArray,
    decoder: DecoderDescription | None,
    *,
    fitted_on: str = RECORDED_RATES,
) -> Found:
    """Return the R² of velocity with what is to be said about it.

    Parameters
    ----------
    true
        Recorded velocity, NaN where not known. Shape ``(trial, time, axis)``.
    predicted
        Shape of `true`.
    decoder
        Decoder it was predicted by; None: the source gave it itself.
    fitted_on
        Signal the decoder was fitted on.

    Raises
    ------
    CannotBeHadError
        If no scored bin has a recorded velocity.
    """
    known: NDArray[np.bool_] = np.all(np.isfinite(true), axis=-1)
    if not known.any():
        raise CannotBeHadError("no scored bin has a recorded hand velocity")
    per_axis = (float(value) for value in r2_per_output(true, predicted, mask=known))
    return Found(
        statistic=R2Sums.of(true, predicted, definition="r2_uniform", mask=known),
        value=r2(true, predicted, definition="r2_uniform", mask=known),
        per_axis=tuple(None if np.isnan(value) else value for value in per_axis),
        n_samples=int(known.sum()),
        decoder="" if decoder is None else decoder.name,
        decoder_settings={} if decoder is None else {**decoder.settings, **decoder.chosen},
        fitted_on="" if decoder is None else fitted_on,
    )


METRIC = Metric(
    name="velocity_r2",
    title="velocity",
    definition="r2_uniform",
    meaning="Hand velocity. Of a reconstruction: by the decoder fitted on recorded smoothed rates of train "
    "trials, given the rates of the source. Of a run's forecast: by a read-out fitted on its forecasts of "
    "train trials. A baseline that forecasts velocity itself is not decoded.",
    source="Vermani et al. 2025 (MDSSM) for reconstructions; read-outs of forecasts are this project's",
    needs=("velocity",),
    decoder=DEFAULT_DECODER,
    fitted_on=RECORDED_RATES,
    has_lag=True,
    order=30,
    compute={"reconstruction": _of_reconstruction, "forecast": _of_forecast},
)
