"""An R² of decoded hand velocity as the record that says what it means."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nwb_latents.schemas.measurement import Measurement

if TYPE_CHECKING:
    from nwb_latents.pipeline.evaluation.decoding.decoder import DecoderDescription
    from nwb_latents.pipeline.evaluation.decoding.velocity import VelocityR2
    from nwb_latents.pipeline.stores.session import Session
    from nwb_latents.schemas.decoding import DecodeSettings

RECORDED_RATES = "recorded rates"
"""What a decoder is fitted on that decodes recorded rates, reconstructions and forecasts alike."""

LATENTS = "latents"
"""What a decoder is fitted on that is carried from session to session."""

_WHICH_NUMBERS = ("sources", "decoders", "lag_scan_ms", "transfer")
"""Settings that choose what is decoded; a number says itself what it is of."""


def facts_of(session: Session) -> dict[str, object]:
    """Return what a measurement says of the session it is of."""
    return {
        "session": session.name,
        "recipe_id": session.recipe_id,
        "store_key": session.store_key,
        "n_units": session.n_units,
    }


def facts_of_decoding(session: Session, settings: DecodeSettings) -> dict[str, object]:
    """Return what a measurement of decoded velocity says of its session and of the settings."""
    return {**facts_of(session), "settings_digest": settings_digest(settings)}


def settings_digest(settings: DecodeSettings) -> str:
    """Return what has to agree for two numbers to be comparable: all but the choice of what is decoded.

    Examples
    --------
    >>> from nwb_latents.schemas.decoding import DecodeSettings
    >>> settings_digest(DecodeSettings(sources=("rates",))) == settings_digest(DecodeSettings(transfer=True))
    True
    >>> settings_digest(DecodeSettings(folds=3)) == settings_digest(DecodeSettings())
    False
    """
    fields = type(settings).model_fields
    choice = {name: fields[name].get_default() for name in _WHICH_NUMBERS}
    return settings.model_copy(update=choice).digest()[:16]


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
