"""In which formats pictures are written, and what is drawn where a person chooses."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from nwb_latents.schemas import task
from nwb_latents.schemas.base import Frozen
from nwb_latents.schemas.decoding import DEFAULT_DECODER, DecoderName

PictureFormat = Literal["png", "pdf", "svg"]

DEFAULT_DPI, LEAST_DPI, MOST_DPI = 300, 50, 1200


class PictureSettings(Frozen):
    """Files a picture is written to. None of it changes what is drawn."""

    formats: tuple[PictureFormat, ...] = Field(
        ("png",), min_length=1, description="Formats each picture is written in: png, pdf, svg."
    )
    dpi: int = Field(
        DEFAULT_DPI,
        ge=LEAST_DPI,
        le=MOST_DPI,
        description="Resolution of PNG, and of what is an image within PDF and SVG, dots per inch.",
    )

    @field_validator("formats")
    @classmethod
    def _each_once(cls, formats: tuple[PictureFormat, ...]) -> tuple[PictureFormat, ...]:
        return tuple(dict.fromkeys(formats))


class PlotSettings(Frozen):
    """What `pipeline plot` draws of a session or run, where there is a choice."""

    units: tuple[int, ...] = Field(
        (), description="Ids of the units of a raster or PSTH; none: the n_units of the highest rates."
    )
    n_units: int = Field(
        6,
        ge=1,
        le=24,
        description="Units of a raster or PSTH, where none are named: those of the highest rates.",
    )
    split: Literal["train", "val", "test", "all"] = Field("all", description="Trials that are drawn.")
    lag_ms: task.LagMs = task.LAG_MS
    decoder: DecoderName = Field(
        DEFAULT_DECODER, description="Decoder of velocity pictures: ridge, or another that is installed."
    )
