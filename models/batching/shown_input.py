"""What encoders are shown of smoothed rates: the bins shown, smoothed from themselves alone.

A rate that was smoothed over the whole recording holds spikes of bins around it: with 20 ms bins and a
Gaussian of 25 ms a third of the last bin shown is spikes of bins after it. Whoever is to forecast these
bins is told of them. Here the Gaussian meets the bins that are shown and nothing else, its weights
renormalised at both ends and beside samples that were not recorded: in the cut steps of training, in
reconstructions and in forecasts.

Smoothing mixes bins of one unit with weights that sum to one. So shifting and scaling a unit may come
before it as well as after it, and what is hidden or moved by a mask is hidden or moved before it: no
neighbour tells what was hidden.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor


@dataclass(frozen=True)
class ShownSmoothing:
    """The Gaussian of a recipe, for bins that are shown.

    Attributes
    ----------
    sigma_bins
        Standard deviation, bins; above 0.
    truncate
        Half width in standard deviations.
    is_causal
        Whether bins after the one that is smoothed have no weight even where they are shown.

    Examples
    --------
    >>> smoothing = ShownSmoothing(1.25)
    >>> ramp = torch.arange(4.0).reshape(1, 1, 4, 1)
    >>> torch.equal(smoothing(ramp[:, :, :2]), smoothing(ramp)[:, :, :2])
    False
    >>> smoothing(torch.ones(1, 1, 3, 1)).flatten().tolist()
    [1.0, 1.0, 1.0]
    """

    sigma_bins: float
    truncate: float = 4.0
    is_causal: bool = False

    def __call__(self, samples: Tensor, known: Tensor | None = None) -> Tensor:
        """Return each bin as the weighted mean of the known bins around it.

        Parameters
        ----------
        samples
            The bins shown, counts or what shifting and scaling made of them; finite. Shape
            ``(..., time, unit)``.
        known
            Samples that were recorded, bool, shape of `samples`; None: all.

        Returns
        -------
        smoothed
            Shape of `samples`; 0 where no bin within reach is known.
        """
        weights = _weights(self, samples.shape[-2], samples.device, samples.dtype)
        if known is None:
            return weights @ samples
        share = weights @ known.to(samples.dtype)
        return torch.where(share > 0, (weights @ torch.where(known, samples, 0.0)) / share, 0.0)


@lru_cache(maxsize=256)
def _weights(smoothing: ShownSmoothing, n_bins: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Return the weight of each bin shown in each smoothed one; rows sum to one. Shape ``(time, time)``."""
    # What is kept here serves trainings too, whoever asked for it first.
    with torch.inference_mode(mode=False):
        reach = math.ceil(smoothing.truncate * smoothing.sigma_bins - 1e-9)
        apart = torch.arange(n_bins)[:, None] - torch.arange(n_bins)
        # Of whole numbers torch takes the default type, which trainings of double precision change: what is
        # kept would hang on who asked first.
        by = apart.to(dtype if dtype == torch.float64 else torch.float32) / smoothing.sigma_bins
        weight = torch.exp(-0.5 * by.double().square()) * (apart.abs() <= reach)
        if smoothing.is_causal:
            weight = weight.tril()
        return (weight / weight.sum(1, keepdim=True)).to(device, dtype)
