"""Diffusion by noise schedule, and the deterministic way from noise to data and back (DDIM).

``x_s = √ᾱ_s x_0 + √(1 − ᾱ_s) ε`` with ``ᾱ_s = Π_{r ≤ s} (1 − β_r)``: step 0 is the data, the last step S
is nearly noise. A denoiser is any function ``(x_s, s) -> x̂_0``; the noise it implies follows.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn

Denoise = Callable[[Tensor, int], Tensor]
"""``(x_s, s) -> x̂_0``; both of shape ``(session, trial, time, unit)``."""


class NoiseSchedule(nn.Module):
    """Noise that grows linearly with the step.

    Parameters
    ----------
    steps
        Steps S.
    first, last
        Variance β of the noise added by step 1 and by step S.

    References
    ----------
    Ho et al. 2020 (diffusion), Song et al. 2021 (DDIM).

    Examples
    --------
    >>> schedule = NoiseSchedule(2, first=0.1, last=0.5)
    >>> [round(value, 3) for value in schedule.kept.tolist()]
    [1.0, 0.9, 0.45]
    """

    kept: Tensor

    def __init__(self, steps: int, *, first: float, last: float) -> None:
        super().__init__()
        self.steps = steps
        beta = torch.linspace(first, last, steps, dtype=torch.float64)
        kept = torch.cat([beta.new_ones(1), (1 - beta).cumprod(0)])
        self.register_buffer("kept", kept.to(torch.get_default_dtype()), persistent=False)

    def noisy(self, x0: Tensor, noise: Tensor, step: Tensor) -> Tensor:
        """Return data under the noise of a step.

        Parameters
        ----------
        x0, noise
            Shape ``(session, trial, time, unit)``.
        step
            Step of each trial, 0 to S. Shape ``(session, trial)``, int64.

        Returns
        -------
        noisy
            Shape of `x0`.
        """
        kept = self.kept[step][..., None, None]
        return kept.sqrt() * x0 + (1 - kept).sqrt() * noise

    def noise_in(self, x: Tensor, x0: Tensor, step: Tensor) -> Tensor:
        """Return the noise ``(x_s − √ᾱ_s x_0) / √(1 − ᾱ_s)``; arguments as in `noisy`, steps from 1 on."""
        kept = self.kept[step][..., None, None]
        return (x - kept.sqrt() * x0) / (1 - kept).sqrt()

    def data_in(self, x: Tensor, noise: Tensor, step: Tensor) -> Tensor:
        """Return the data ``(x_s − √(1 − ᾱ_s) ε) / √ᾱ_s``; arguments as in `noisy`."""
        kept = self.kept[step][..., None, None]
        return (x - (1 - kept).sqrt() * noise) / kept.sqrt()

    def levels(self, n: int) -> list[int]:
        """Return up to `n` steps from S down to 1, evenly spaced.

        Examples
        --------
        >>> NoiseSchedule(10, first=0.1, last=0.2).levels(4)
        [10, 7, 4, 1]
        """
        spaced = torch.linspace(self.steps, 1, min(n, self.steps)).round().long()
        return [int(step) for step in spaced]

    def moved(self, x: Tensor, x0: Tensor, step: int, to: int) -> Tensor:
        """Return `x` of one step at another, for given data: the noise it holds stays, its size changes."""
        if step == to:
            return x
        a, b = self.kept[step], self.kept[to]
        noise = (x - a.sqrt() * x0) / (1 - a).sqrt()
        return b.sqrt() * x0 + (1 - b).sqrt() * noise


def ddim_decode(schedule: NoiseSchedule, denoise: Denoise, noise: Tensor, *, n_steps: int) -> Tensor:
    """Return the data that noise becomes, without further noise (η = 0).

    Parameters
    ----------
    schedule
        The noise schedule.
    denoise
        The denoiser.
    noise
        ``x_S``. Shape ``(session, trial, time, unit)``.
    n_steps
        Calls of the denoiser, at most S.

    Returns
    -------
    x0
        Shape of `noise`.

    References
    ----------
    Song et al. 2021, eq. 12.

    Examples
    --------
    >>> schedule = NoiseSchedule(8, first=0.1, last=0.3)
    >>> ddim_decode(schedule, lambda x, step: torch.ones_like(x), torch.zeros(1, 1, 1, 2), n_steps=4).tolist()
    [[[[1.0, 1.0]]]]
    """
    levels = schedule.levels(n_steps)
    x = noise
    for step, to in zip(levels, [*levels[1:], 0], strict=True):
        x = schedule.moved(x, denoise(x, step), step, to)
    return x


def ddim_encode(schedule: NoiseSchedule, denoise: Denoise, x0: Tensor, *, n_steps: int) -> Tensor:
    """Return the noise that becomes the given data: `ddim_decode` run backwards.

    The data stand for ``x_1``, whose noise is too little to be seen. With finite steps the way there and back
    leaves a difference that falls as 1 over their number.

    Parameters
    ----------
    schedule, denoise, n_steps
        As for `ddim_decode`.
    x0
        Data. Shape ``(session, trial, time, unit)``.

    Returns
    -------
    noise
        ``x_S``. Shape of `x0`.

    Examples
    --------
    >>> schedule = NoiseSchedule(8, first=0.1, last=0.3)
    >>> noise = ddim_encode(schedule, lambda x, step: 0 * x, torch.ones(1, 1, 1, 2), n_steps=4)
    >>> bool((noise > 1).all())
    True
    """
    levels = schedule.levels(n_steps)[::-1]
    x = x0
    for step, to in pairwise(levels):
        x = schedule.moved(x, denoise(x, step), step, to)
    return x
