"""Masked modelling: whole bins are hidden from the input, and they alone are scored."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nwb_latents.models.batching.views import Change, View, on_target
from nwb_latents.models.randomness import deciding_generator, listed

if TYPE_CHECKING:
    from nwb_latents.models.batching.tensors import Batch
    from nwb_latents.models.losses.schedules import Schedule


def mask_bins(
    ratio: float,
    *,
    max_span: int = 1,
    expand: Schedule | None = None,
    zero: float = 1.0,
    random: float = 0.5,
) -> Change:
    """Hide whole bins from the input and score only those: masked modelling (Ye and Pandarinath 2021).

    What is never shown, held-out units, bins after a cut and forward bins, is always scored.

    Parameters
    ----------
    ratio
        Share of the bins of every trial that is masked; a little less where runs overlap.
    max_span
        Longest run of bins masked as one. The length of a batch is drawn evenly from 1 to this.
    expand
        Step → probability that a batch is masked in runs; None: every batch is.
    zero
        Share of the masked samples that are shown as 0.
    random
        Share of the other masked samples that are shown as a random value of the session: its least value
        and a whole number more, below its largest. The rest is shown as it is.

    Examples
    --------
    >>> from nwb_latents.models.batching.tensors import TrialTensors, pack
    >>> from nwb_latents.models.batching.views import compose, observe
    >>> masker = compose(observe, mask_bins(0.5))
    >>> view = masker(pack([TrialTensors("a", torch.ones(1, 6, 2))]), torch.Generator().manual_seed(0), 0)
    >>> bool((view.samples + view.weight == 1).all())
    True
    """

    def change(view: View, batch: Batch, generator: torch.Generator | None, step: int) -> View:
        if generator is None:
            return view
        span = _span(max_span, 1.0 if expand is None else expand(step), generator)
        shown = view.samples
        hidden = _hidden_bins(shown.shape[:3], ratio, span, generator)
        samples = torch.where(hidden, 0.0, shown)
        if zero < 1:
            share = torch.rand(shown.shape, generator=generator, device=shown.device)
            kept = hidden & (share >= zero)
            samples = torch.where(kept, shown, samples)
            drawn = kept & (share < zero + random * (1 - zero))
            samples = torch.where(drawn, _random_values(shown, generator), samples)
        T = batch.y.shape[2]
        unseen = hidden[:, :, :T] | ~batch.y.isfinite()
        if view.n_shown is not None:
            unseen[:, :, view.n_shown :] = True
        scored = on_target(unseen, view, outside=True)
        return replace(
            view,
            samples=samples,
            weight=view.weight * scored,
            sg=None if view.sg is None else view.sg * scored,
        )

    return change


def _span(longest: int, probability: float, generator: torch.Generator) -> int:
    """Draw the length of the runs of a batch."""
    if longest == 1:
        return 1
    expanded, length = listed(torch.rand(2, generator=deciding_generator(generator, "span")))
    return 1 + int(length * longest) if expanded < probability else 1


def _hidden_bins(shape: tuple[int, ...], ratio: float, span: int, generator: torch.Generator) -> Tensor:
    """Draw runs of `span` bins, some begun before the trial. Shape ``(session, trial, time, 1)``."""
    S, B, T = shape
    draw = torch.rand(S, B, T + span - 1, generator=generator, device=generator.device)
    seeds = (draw < ratio / span).float()
    runs: Tensor = torch.nn.functional.max_pool1d(seeds, span, stride=1)
    return runs[..., None] > 0


def _random_values(x: Tensor, generator: torch.Generator) -> Tensor:
    """Draw whole steps from the least value of each session, evenly below its largest. Shape of `x`."""
    low, high = x.amin((1, 2, 3), keepdim=True), x.amax((1, 2, 3), keepdim=True)
    draw = torch.rand(x.shape, generator=generator, device=x.device, dtype=x.dtype)
    return low + (draw * (high - low)).floor()
