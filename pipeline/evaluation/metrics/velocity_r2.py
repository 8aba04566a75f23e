"""Hand velocity read out of what a source makes, by one decoder for all sources.

The decoder is that of `pipeline run decode`: fitted on the recorded smoothed rates of the training trials. It
is not fitted to the source, so that a difference between two sources is a difference between two signals.
"""

from __future__ import annotations

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
    if task is None or made.forecast_hz is None:
        raise CannotBeHadError(made.lacks("forecast"))
    if task.velocity is None or task.decoder is None:
        raise CannotBeHadError(NO_VELOCITY)
    first = task.settings.seen_bins
    true = task.velocity[:, first : first + task.settings.bins]
    if not made.forecasts_velocity:
        described = session.describe_decoder(task.decoder)
        return velocity_found(true, task.decoder.predict(made.forecast_hz), described)
    if made.forecast_velocity is None:
        raise CannotBeHadError(NO_VELOCITY)
    return velocity_found(true, made.forecast_velocity, None)


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
    meaning="Hand velocity by the decoder fitted on recorded smoothed rates of train trials, given the rates "
    "of the source. A baseline that forecasts velocity itself is not decoded.",
    source="Vermani et al. 2025 (MDSSM): one decoder for recorded rates, reconstruction and forecast",
    needs=("velocity",),
    decoder=DEFAULT_DECODER,
    fitted_on=RECORDED_RATES,
    has_lag=True,
    order=30,
    compute={"reconstruction": _of_reconstruction, "forecast": _of_forecast},
)
