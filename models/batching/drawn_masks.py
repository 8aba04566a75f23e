"""From settings to masks: what is drawn anew in every step, and what is drawn once for a training."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nwb_latents.models.batching.augmentation import spike_jitter, temporal_shift
from nwb_latents.models.batching.views import (
    Change,
    Masker,
    compose,
    coordinated_dropout,
    hide_held_back,
    observe,
    scale_held_in,
    score_held_back,
)
from nwb_latents.models.randomness import derived_generator

if TYPE_CHECKING:
    from nwb_latents.models.batching.tensors import TrialTensors
    from nwb_latents.schemas.masks import MaskSettings


def training_masker(settings: MaskSettings) -> Masker:
    """Return what a training step shows and scores.

    Missing samples come first, then those held back, then changes of timing, then coordinated dropout: what
    is hidden by one is not brought back by the next.

    Examples
    --------
    >>> from nwb_latents.schemas.masks import MaskSettings
    >>> training_masker(MaskSettings()) is observe
    True
    """
    changes: list[Change] = []
    if settings.sample_validation:
        changes.append(hide_held_back)
    if settings.spike_jitter:
        changes.append(spike_jitter(settings.spike_jitter))
    if settings.temporal_shift:
        changes.append(temporal_shift(settings.temporal_shift, settings.temporal_shift_max))
    if settings.sample_validation:
        changes.append(scale_held_in(settings.sample_validation))
    if settings.coordinated_dropout:
        changes.append(coordinated_dropout(settings.coordinated_dropout, settings.pass_rate))
    return compose(observe, *changes) if changes else observe


def held_back_masker(settings: MaskSettings) -> Masker | None:
    """Return what scores the held-back samples alone; None where there are none.

    Examples
    --------
    >>> from nwb_latents.schemas.masks import MaskSettings
    >>> held_back_masker(MaskSettings()) is None
    True
    """
    rate = settings.sample_validation
    return compose(observe, score_held_back(rate)) if rate else None


def mask_once(trials: TrialTensors, settings: MaskSettings, *, seed: int, part: str) -> TrialTensors:
    """Take out samples that are missing throughout a training, and mark those held back.

    Parameters
    ----------
    trials
        Trials of one session.
    settings
        Shares.
    seed, part
        Decide the draw, with the session's id. Samples that are held back already stay so.

    Returns
    -------
    trials
        NaN in `y` and `target` where nothing counts as recorded; ``held_back`` filled in.

    Examples
    --------
    >>> from nwb_latents.models.batching.tensors import TrialTensors
    >>> from nwb_latents.schemas.masks import MaskSettings
    >>> trials = TrialTensors("a", torch.ones(2, 5, 10))
    >>> few = mask_once(trials, MaskSettings(observed_share=0.3), seed=0, part="train")
    >>> few.y.isfinite().sum(2).unique().tolist()
    [3]
    """
    generator = derived_generator(seed, "mask", part, trials.session)
    if settings.observed_share < 1:
        keep = _random_units(trials.scored, settings.observed_share, generator)
        T, N = trials.y.shape[1:]
        trials = replace(
            trials,
            y=trials.y.masked_fill(~keep[:, :T, :N], float("nan")),
            target=None if trials.target is None else trials.target.masked_fill(~keep, float("nan")),
        )
    if settings.sample_validation and trials.held_back is None:
        drawn = torch.rand(trials.y.shape, generator=generator)
        # A sample that is not shown anyhow, as of a held-out unit, is none to hold back.
        held_back = (drawn < settings.sample_validation) & trials.y.isfinite()
        trials = replace(trials, held_back=held_back)
    return trials


def _random_units(like: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Draw the same number of units in every bin. Shape of `like`, bool."""
    n_kept = max(1, round(share * like.shape[2]))
    order = torch.rand(like.shape, generator=generator).argsort(2)
    return torch.zeros(like.shape, dtype=torch.bool).scatter_(2, order[:, :, :n_kept], value=True)
