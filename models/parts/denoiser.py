"""Denoiser of sequences: convolutions over time, told the step of the diffusion and a code of the trial."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from nwb_latents.models.parts.weight_changes import FiLM

SLOWEST_BINS = 1000.0
"""Longest wavelength of the features of time and step, over 2π."""


def sinusoids(position: Tensor, width: int) -> Tensor:
    """Return sines and cosines of positions at wavelengths from 2π to 2π times `SLOWEST_BINS`.

    Parameters
    ----------
    position
        Shape ``(...)``.
    width
        Number of features, even.

    Returns
    -------
    features
        Shape ``(..., width)``.

    Examples
    --------
    >>> sinusoids(torch.zeros(1), 4).tolist()
    [[0.0, 0.0, 1.0, 1.0]]
    """
    ramp = torch.arange(width // 2, dtype=position.dtype, device=position.device) / max(width // 2 - 1, 1)
    angle = position[..., None] * torch.exp(-math.log(SLOWEST_BINS) * ramp)
    return torch.cat([angle.sin(), angle.cos()], -1)


class _Block(nn.Module):
    """Two convolutions beside a direct path; scale and shift by the step, then by the code."""

    def __init__(self, channels: int, told: int, *, kernel: int, groups: int, dilation: int) -> None:
        super().__init__()
        around = dilation * (kernel // 2)
        self.first_norm = nn.GroupNorm(groups, channels)
        self.first = nn.Conv1d(channels, channels, kernel, padding=around, dilation=dilation)
        self.norm = nn.GroupNorm(groups, channels, affine=False)
        self.by_step = nn.Linear(told, 2 * channels)
        self.by_code = nn.Linear(told, 2 * channels)
        self.second = nn.Conv1d(channels, channels, kernel, padding=around, dilation=dilation)
        # A block begins as the direct path alone.
        nn.init.zeros_(self.second.weight)
        nn.init.zeros_(self.second.bias)  # type: ignore[arg-type]

    def forward(self, h: Tensor, step: Tensor, code: Tensor) -> Tensor:
        made = self.norm(self.first(silu(self.first_norm(h)))).transpose(1, 2)
        made = FiLM(*self.by_step(silu(step)).chunk(2, -1)).on(made)
        made = FiLM(*self.by_code(silu(code)).chunk(2, -1)).on(made)
        changed: Tensor = h + self.second(silu(made.transpose(1, 2)))
        return changed


class ConditionalDenoiser(nn.Module):
    """Residual convolutions over time with adaptive group normalisation.

    Dilation doubles from block to block. Each bin is also told its place in the trial, which convolutions
    alone could only count from the ends.

    Parameters
    ----------
    n_in
        Width of the input.
    code_dim
        Dimension of the code L.
    channels
        Width of the blocks, even.
    blocks
        Residual blocks.
    kernel
        Bins of a convolution, odd.
    groups
        Groups of the normalisation; divides `channels`.

    References
    ----------
    Wang et al. 2023 (InfoDiffusion), for how step and code change a block.

    Examples
    --------
    >>> denoiser = ConditionalDenoiser(3, code_dim=2, channels=8, blocks=2, kernel=3, groups=4)
    >>> x, step, code = torch.zeros(1, 4, 10, 3), torch.ones(1, 4, dtype=torch.int64), torch.zeros(1, 4, 2)
    >>> tuple(denoiser(x, step, code).shape)
    (1, 4, 10, 8)
    """

    def __init__(
        self, n_in: int, *, code_dim: int, channels: int, blocks: int, kernel: int, groups: int
    ) -> None:
        super().__init__()
        told = 4 * channels
        self.channels = channels
        self.enter = nn.Linear(n_in, channels)
        self.place = nn.Linear(channels, channels, bias=False)
        self.step = nn.Sequential(nn.Linear(channels, told), nn.SiLU(), nn.Linear(told, told))
        self.code = nn.Linear(code_dim, told)
        self.blocks = nn.ModuleList([
            _Block(channels, told, kernel=kernel, groups=groups, dilation=2**k) for k in range(blocks)
        ])  # fmt: skip
        self.leave = nn.GroupNorm(groups, channels)

    def forward(self, x: Tensor, step: Tensor, code: Tensor) -> Tensor:
        """Return what a read-out makes data or noise of.

        Parameters
        ----------
        x
            Noisy sequences. Shape ``(session, trial, time, n_in)``.
        step
            Step of each trial. Shape ``(session, trial)``, int64.
        code
            Shape ``(session, trial, L)``.

        Returns
        -------
        factors
            Shape ``(session, trial, time, channels)``.
        """
        S, B, T, _ = x.shape
        bins = torch.arange(T, dtype=x.dtype, device=x.device)
        entered = self.enter(x) + self.place(sinusoids(bins, self.channels))
        h = entered.reshape(S * B, T, -1).transpose(1, 2)
        told = self.step(sinusoids(step.to(x.dtype), self.channels)).reshape(S * B, -1)
        of_code = self.code(code).reshape(S * B, -1)
        for block in self.blocks:
            h = block(h, told, of_code)
        factors: Tensor = silu(self.leave(h)).transpose(1, 2).reshape(S, B, T, -1)
        return factors
