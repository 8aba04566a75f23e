"""What a training step shows to the encoders, and what it scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nwb_latents.models.batching.cuts import cut_some
from nwb_latents.models.batching.drawn_masks import training_masker
from nwb_latents.models.batching.views import compose

if TYPE_CHECKING:
    from nwb_latents.models.batching.views import Masker
    from nwb_latents.schemas.training import TrainSettings


def step_masker(settings: TrainSettings, masker: Masker | None = None) -> Masker:
    """Return what a training step shows and scores, trials cut where the model practises forecasting so.

    Parameters
    ----------
    settings
        Masks, share of steps with cut trials.
    masker
        What is shown and scored before trials are cut; None: as the settings say.
    """
    chosen = masker or training_masker(settings.masks)
    return compose(chosen, cut_some(settings.model.cut_share)) if settings.model.cut_share else chosen
