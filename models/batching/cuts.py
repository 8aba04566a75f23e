"""Cut trials: encoders are shown the first bins alone, and the bins after them are scored all the same.

That is what a forecast asks of a model. A mask like the others, laid over all of them: no model draws a cut,
each goes by how many bins its view shows. A training cuts a share of its steps at random; validations cut at
the same places every time, so that their losses compare.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from nwb_latents.models.randomness import deciding_generator, listed

if TYPE_CHECKING:
    from nwb_latents.models.batching.tensors import Batch
    from nwb_latents.models.batching.views import Change, View

MIN_BINS_TO_CUT = 4
"""Trials of fewer bins are never cut."""


def cut_at(n_bins: int) -> Change:
    """Show the first `n_bins` bins, smoothed from themselves alone, and nothing of later ones.

    What is not shown cannot be copied: where another mask lets elements count without a gradient, those after
    the cut drive it.

    Examples
    --------
    >>> from nwb_latents.models.batching.tensors import TrialTensors, pack
    >>> from nwb_latents.models.batching.views import compose, observe
    >>> view = compose(observe, cut_at(2))(pack([TrialTensors("a", torch.ones(1, 5, 3))]), None, 0)
    >>> tuple(view.x.shape), tuple(view.target.shape)
    ((1, 1, 2, 3), (1, 1, 5, 3))
    """

    def change(view: View, batch: Batch, generator: torch.Generator | None, step: int) -> View:
        del batch, generator, step
        if n_bins >= view.samples.shape[2]:
            return view
        if view.sg is None:
            return replace(view, n_shown=n_bins)
        weight, silent = view.weight.clone(), view.sg.clone()
        weight[:, :, n_bins:] += silent[:, :, n_bins:]
        silent[:, :, n_bins:] = 0
        return replace(view, n_shown=n_bins, weight=weight, sg=silent)

    return change


def cut_some(probability: float) -> Change:
    """Cut all trials of a step with a probability, at one bin drawn evenly between a quarter and the last.

    Parameters
    ----------
    probability
        Share of the steps that are cut; 0: none is, and nothing is drawn.

    Examples
    --------
    >>> from nwb_latents.models.batching.tensors import TrialTensors, pack
    >>> from nwb_latents.models.batching.views import compose, observe
    >>> masker, batch = compose(observe, cut_some(0.5)), pack([TrialTensors("a", torch.ones(1, 8, 3))])
    >>> [masker(batch, torch.Generator().manual_seed(seed), 0).n_shown for seed in range(6)]
    [6, None, None, 2, None, None]
    """

    def change(view: View, batch: Batch, generator: torch.Generator | None, step: int) -> View:
        n_bins = view.samples.shape[2]
        if generator is None or probability == 0 or n_bins < MIN_BINS_TO_CUT:
            return view
        cut, where = listed(torch.rand(2, generator=deciding_generator(generator, "cut")))
        least = n_bins // 4
        shown = least + int(where * (n_bins - least)) if cut < probability else n_bins
        return cut_at(shown)(view, batch, generator, step)

    return change


def fixed_cuts(n_bins: int, n_cuts: int) -> tuple[int, ...]:
    """Return bins to cut at, spread over those `cut_some` draws; empty for trials that are never cut.

    Examples
    --------
    >>> fixed_cuts(36, 3), fixed_cuts(5, 9), fixed_cuts(3, 3)
    ((13, 22, 31), (1, 2, 3, 4), ())
    """
    if n_bins < MIN_BINS_TO_CUT:
        return ()
    least = n_bins // 4
    step = (n_bins - least) / n_cuts if n_cuts else 0.0
    return tuple(dict.fromkeys(least + int(step * (k + 0.5)) for k in range(n_cuts)))
