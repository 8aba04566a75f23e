"""Changes of timing: spikes or whole units moved by a few bins, input and target independently.

What is shown and what is scored then agree only up to a few bins, so that timing across units finer than that
cannot be learnt by heart (lfads-torch, Sedler and Pandarinath 2023).
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from nwb_latents.models.batching.tensors import Batch
    from nwb_latents.models.batching.views import Change, View


def spike_jitter(width: int) -> Change:
    """Move every spike by up to `width` bins, evenly, and back from the edges of the trial.

    Parameters
    ----------
    width
        Largest move, bins; both directions. Inputs and targets must be counts.

    Examples
    --------
    >>> from nwb_latents.models.batching.tensors import TrialTensors, pack
    >>> from nwb_latents.models.batching.views import compose, observe
    >>> view = compose(observe, spike_jitter(2))(
    ...     pack([TrialTensors("a", torch.ones(1, 9, 4))]), torch.Generator().manual_seed(0), 0)
    >>> view.x.sum(2).flatten().tolist()
    [9.0, 9.0, 9.0, 9.0]
    """

    def change(view: View, batch: Batch, generator: torch.Generator | None, step: int) -> View:
        del step
        if generator is None or width == 0:
            return view
        largest = batch.largest or (int(view.samples.max()), int(view.target.max()))
        return replace(
            view,
            samples=_jittered(view.samples, width, generator, largest=largest[0]),
            target=_jittered(view.target, width, generator, largest=largest[1]),
        )

    return change


def temporal_shift(deviation: float, most: int) -> Change:
    """Shift each unit of each trial by a rounded normal draw; the first or last bin is repeated.

    Parameters
    ----------
    deviation
        Standard deviation, bins; 3 for electromyograms (Wimalasena et al. 2022).
    most
        Largest shift, bins.

    Examples
    --------
    >>> from nwb_latents.models.batching.tensors import TrialTensors, pack
    >>> from nwb_latents.models.batching.views import compose, observe
    >>> ramp = torch.arange(5.0).reshape(1, 5, 1)
    >>> masker = compose(observe, temporal_shift(9.0, 1))
    >>> masker(pack([TrialTensors("a", ramp)]), torch.Generator().manual_seed(0), 0).x.flatten().tolist()
    [0.0, 0.0, 1.0, 2.0, 3.0]
    """

    def change(view: View, batch: Batch, generator: torch.Generator | None, step: int) -> View:
        del batch, step
        if generator is None or deviation == 0:
            return view
        shown, scored = (_shifted(x, deviation, most, generator) for x in (view.samples, view.target))
        return replace(
            view,
            samples=view.samples.gather(2, shown),
            known=None if view.known is None else view.known.gather(2, shown),
            target=view.target.gather(2, scored),
            weight=view.weight.gather(2, scored),
            sg=None if view.sg is None else view.sg.gather(2, scored),
        )

    return change


def _jittered(counts: Tensor, width: int, generator: torch.Generator, *, largest: int) -> Tensor:
    T = counts.shape[2]
    bins = torch.arange(T, device=counts.device)[:, None]
    out = torch.zeros_like(counts)
    for spike in range(largest):
        moved = bins + torch.randint(
            -width, width + 1, counts.shape, generator=generator, device=counts.device
        )
        moved = (T - 1 - (T - 1 - moved.abs()).abs()).clamp(0, T - 1)
        out.scatter_add_(2, moved, (counts > spike).to(counts.dtype))
    return out


def _shifted(x: Tensor, deviation: float, most: int, generator: torch.Generator) -> Tensor:
    """Return the bin each bin is read from. Shape of `x`, int64."""
    S, B, T, N = x.shape
    drawn = torch.randn(S, B, 1, N, generator=generator, device=x.device) * deviation
    shift = drawn.round().clamp(-most, most).long()
    return (torch.arange(T, device=x.device)[:, None] - shift).clamp(0, T - 1)
