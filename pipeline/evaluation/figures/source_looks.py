"""How sources of decoded velocity look and are called, the same in all pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nwb_latents.pipeline.evaluation.decoding.decoder import DecoderDescription

COLOURS: dict[str, str] = {
    "rates": "#0072b2",
    "reconstruction": "#d55e00",
    "forecast": "#009e73",
    "ensemble": "#aa3377",
    "forecast_decoded": "#56b4e9",
    "linear_forecast": "#e69f00",
    "condition_mean": "#b0b0b0",
}
"""One for each source; colour-blind readers tell them apart too, and from the black of what was recorded."""

OTHER_COLOUR = "#404040"

LEAST_R2_SHOWN = -0.5


def colour_of(source: str) -> str:
    """Return the colour of a source.

    Examples
    --------
    >>> colour_of("rates"), colour_of("a baseline of another distribution")
    ('#0072b2', '#404040')
    """
    return COLOURS.get(source, OTHER_COLOUR)


def source_words(source: str) -> str:
    """Return what a source is called.

    Examples
    --------
    >>> source_words("forecast_decoded"), source_words("rates")
    ('forecast decoded as rates are', 'recorded rates')
    """
    known = {"rates": "recorded rates", "forecast_decoded": "forecast decoded as rates are"}
    return known.get(source, source.replace("_", " "))


def signal_label(source: str, run: str | None, decoder: DecoderDescription) -> str:
    """Return what a legend calls a signal.

    Examples
    --------
    >>> from nwb_latents.pipeline.evaluation.decoding.decoder import described
    >>> signal_label("forecast", "mdssm-1", described("wiener"))
    'forecast of mdssm-1, wiener'
    >>> signal_label("rates", None, described("ridge"))
    'rates'
    """
    plain = source.replace("_", " ")
    words = f"{plain} of {run}" if run else plain
    return f"{words}{decoder.tag}"
