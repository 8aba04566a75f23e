"""Settings of the masks: what of a training trial is hidden from the encoders, and what is scored."""

from __future__ import annotations

from pydantic import Field

from nwb_latents.schemas.base import Frozen
from nwb_latents.schemas.bounds import MOST_BINS


class MaskSettings(Frozen):
    """What training hides; by default nothing. Reconstructions and forecasts are shown all there is."""

    coordinated_dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Share of samples hidden from the encoders in a step, and alone scored, so that no "
        "sample is copied to its own rate (Keshtkaran and Pandarinath 2019); 0.3 in lfads-torch, 0: off.",
    )
    pass_rate: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Share of the shown samples that coordinated dropout scores all the same.",
    )
    sample_validation: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Share of samples, the same in every step, that training neither shows nor scores: "
        "val_held_nll is the loss of those of validation trials, and picks the best checkpoint; 0.2 in the "
        "publication, 0: off.",
    )
    observed_share: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Share of the units that count as recorded in a bin, drawn for every bin of every trial: "
        "what fewer channels would have seen (selective backpropagation through time). 1: all that was "
        "recorded.",
    )
    spike_jitter: int = Field(
        0,
        ge=0,
        le=MOST_BINS,
        description="Bins a spike is moved by at most; needs counts that are not standardised.",
    )
    temporal_shift: float = Field(
        0.0, ge=0, description="Deviation of the shift of each unit's trial, bins; 3 for EMG, 0: off."
    )
    temporal_shift_max: int = Field(6, ge=1, le=MOST_BINS, description="Largest shift, bins.")
