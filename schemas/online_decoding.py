"""Settings of `pipeline run stream`."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from nwb_latents.schemas import task
from nwb_latents.schemas.base import Frozen
from nwb_latents.schemas.bounds import MOST_SEED
from nwb_latents.schemas.decoding import DEFAULT_DECODER, DecoderName, DecodeSettings

_DECODE = DecodeSettings.model_fields


class StreamSettings(Frozen):
    """Bin-by-bin decoding: what is given for every bin, and the decoder of hand velocity."""

    rates: bool = Field(default=True, description="Give the rates of the units, Hz.")
    velocity: bool = Field(
        default=True,
        description="Give the hand velocity, cm/s; its decoder is fitted on the training trials first.",
    )
    decoder: DecoderName = Field(
        DEFAULT_DECODER, description="Decoder from the model's rates to hand velocity."
    )
    decoder_settings: dict[DecoderName, dict[str, Any]] = Field(
        default_factory=dict, description=_DECODE["decoder_settings"].description
    )
    lag_ms: task.LagMs = task.LAG_MS
    folds: task.Folds = task.N_FOLDS
    seed: int = Field(0, ge=0, le=MOST_SEED, description="Seed of the fold assignment.")
