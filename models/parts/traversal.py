"""Ways through the space of codes and of noise, along which a diffusion model makes trials."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

SAME_DIRECTION = 1e-6
"""Sine of an angle below which two noises count as parallel."""


def swept(code: Tensor, dimension: int, values: Sequence[float]) -> Tensor:
    """Return copies of a code of which one dimension takes given values.

    Parameters
    ----------
    code
        Shape ``(L,)``.
    dimension
        Which one.
    values
        What it takes; codes are near a standard normal, so -1.5 to 1.5 is where most trials are.

    Returns
    -------
    codes
        Shape ``(value, L)``.

    Examples
    --------
    >>> swept(torch.zeros(3), 1, [-1.5, 0.0, 1.5])[:, 1].tolist()
    [-1.5, 0.0, 1.5]
    """
    codes = code.repeat(len(values), 1)
    codes[:, dimension] = codes.new_tensor(values)
    return codes


def between_codes(first: Tensor, second: Tensor, shares: Sequence[float]) -> Tensor:
    """Return codes on the line from one code to another.

    Parameters
    ----------
    first, second
        Shape ``(L,)``.
    shares
        0 at the first, 1 at the second; beyond, the line goes on.

    Returns
    -------
    codes
        Shape ``(share, L)``.

    Examples
    --------
    >>> between_codes(torch.zeros(1), torch.ones(1), [0.0, 0.25]).flatten().tolist()
    [0.0, 0.25]
    """
    return torch.lerp(first, second, first.new_tensor(shares)[:, None])


def between_noises(first: Tensor, second: Tensor, shares: Sequence[float]) -> Tensor:
    """Return noises on the arc from one noise to another: on the line between, noise is too small.

    Parameters
    ----------
    first, second
        Shape ``(time, unit)``.
    shares
        0 at the first, 1 at the second.

    Returns
    -------
    noises
        Shape ``(share, time, unit)``.

    References
    ----------
    Song et al. 2021 (DDIM), appendix D.5.

    Examples
    --------
    >>> middle = between_noises(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]), [0.5])
    >>> round(float(middle.norm()), 4)
    1.0
    """
    share = first.new_tensor(shares)[:, None, None]
    cosine = (first * second).sum() / (first.norm() * second.norm()).clamp_min(1e-12)
    angle = cosine.clamp(-1, 1).acos()
    if float(angle.sin()) < SAME_DIRECTION:
        return torch.lerp(first, second, share)
    noises: Tensor = (((1 - share) * angle).sin() * first + (share * angle).sin() * second) / angle.sin()
    return noises
