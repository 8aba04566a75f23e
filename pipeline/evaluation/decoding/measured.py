"""An R² of decoded hand velocity as the record that says what it means."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nwb_latents.schemas.measurement import Measurement

if TYPE_CHECKING:
    from nwb_latents.pipeline.evaluation.decoding.decoder import DecoderDescription
    from nwb_latents.pipeline.evaluation.decoding.velocity import VelocityR2
    from nwb_latents.pipeline.stores.session import Session

RECORDED_RATES = "recorded rates"
"""What a decoder is fitted on that decodes recorded rates, reconstructions and forecasts alike."""

LATENTS = "latents"
"""What a decoder is fitted on that is carried from session to session."""


def facts_of(session: Session) -> dict[str, object]:
    """Return what a measurement says of the session it is of."""
    return {
        "session": session.name,
        "recipe_id": session.recipe_id,
        "store_key": session.store_key,
        "n_units": session.n_units,
    }


def velocity_measurement(
    name: str, found: VelocityR2, *, decoder: DecoderDescription, **about: object
) -> Measurement:
    """Return a velocity R² with its protocol.

    Parameters
    ----------
    name
        Name of the metric.
    found
        The R² and what it was taken over.
    decoder
        The decoder, fitted.
    about
        The other fields of `schemas.measurement.Measurement`: session, source, split, lag …

    Examples
    --------
    >>> from nwb_latents.pipeline.evaluation.decoding.decoder import described
    >>> from nwb_latents.pipeline.evaluation.decoding.velocity import VelocityR2
    >>> made = velocity_measurement(
    ...     "velocity_r2", VelocityR2(0.5, (0.4, 0.6), 8, 288), decoder=described("ridge"), session="s",
    ...     recipe_id="r", source="rates", split="test", lag_ms=100.0)
    >>> made.value, made.decoder, made.definition, made.n_samples
    (0.5, 'ridge', 'r2_uniform', 288)
    """
    measured: dict[str, object] = {
        "name": name,
        "value": found.value,
        "unit": "1",
        "definition": "r2_uniform",
        "reason": "" if found.value is not None else "an axis of the velocity does not vary",
        "per_axis": found.per_axis,
        "n_trials": found.n_trials,
        "n_samples": found.n_samples,
        "stage": "decode",
        "decoder": decoder.name,
        "decoder_settings": {**decoder.settings, **decoder.chosen},
    }
    return Measurement.model_validate({**about, **measured})
