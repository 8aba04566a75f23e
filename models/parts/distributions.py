"""Diagonal Gaussians: the only posterior of this package.

``softplus+`` of the papers, ``softplus(x) + 1e-6``, keeps every variance above zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn.functional import softplus

if TYPE_CHECKING:
    from collections.abc import Sequence

MIN_VARIANCE = 1e-6


def positive(raw: Tensor) -> Tensor:
    """Return ``softplus(raw) + 1e-6``.

    Examples
    --------
    >>> round(float(positive(torch.tensor(inverse_positive(0.25)))), 6)
    0.25
    """
    return softplus(raw) + MIN_VARIANCE


def inverse_positive(value: float) -> float:
    """Return the raw number that `positive` turns into `value`, for initial values."""
    return math.log(math.expm1(value - MIN_VARIANCE))


@dataclass(frozen=True)
class DiagGaussian:
    """Gaussian with a diagonal covariance; the last axis is the event.

    Attributes
    ----------
    mean
        Shape ``(..., D)``.
    var
        Variance, above 0. Shape broadcasts with `mean`.
    """

    mean: Tensor
    var: Tensor

    def rsample(self, generator: torch.Generator | None) -> Tensor:
        """Draw one reparametrised sample; the mean where `generator` is None. Shape of `mean`."""
        if generator is None:
            return self.mean
        noise = torch.randn(
            self.mean.shape, generator=generator, device=self.mean.device, dtype=self.mean.dtype
        )
        return torch.addcmul(self.mean, self.var.sqrt(), noise)

    def kl(self, other: DiagGaussian) -> Tensor:
        """Return ``KL(self || other)`` in nats, summed over the last axis.

        ``½ Σ [log(s/v) + (v + (m − μ)²)/s − 1]`` for ``N(m, v)`` against ``N(μ, s)``.

        Examples
        --------
        >>> one = DiagGaussian(torch.ones(2), torch.ones(2))
        >>> float(one.kl(DiagGaussian(torch.zeros(2), torch.ones(2))))
        1.0
        """
        ratio = self.var / other.var
        distance = (self.mean - other.mean).square() / other.var
        return 0.5 * (ratio + distance - ratio.log() - 1).sum(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log density in nats, summed over the last axis."""
        distance = (value - self.mean).square() / self.var
        return -0.5 * (distance + self.var.log() + math.log(2 * math.pi)).sum(-1)


def draw_noise(
    shape: Sequence[int],
    df: float | None = None,
    *,
    generator: torch.Generator,
    device: torch.device,
    dtype: torch.dtype,
) -> Tensor:
    """Draw from the standard normal distribution, or from Student's.

    Parameters
    ----------
    shape
        Shape of what is drawn.
    df
        Degrees of freedom; None: normal.
    generator, device, dtype
        Source, place and precision.

    References
    ----------
    Bailey 1994, Mathematics of Computation 62: the polar form of the t distribution, exact for every `df`.

    Examples
    --------
    >>> source, cpu = torch.Generator().manual_seed(0), torch.device("cpu")
    >>> x = draw_noise([200_000], 5.0, generator=source, device=cpu, dtype=torch.float64)
    >>> round(float(x.var()), 1)  # df / (df − 2)
    1.7
    """
    if df is None:
        return torch.randn(*shape, generator=generator, device=device, dtype=dtype)
    first, second = (torch.rand(*shape, generator=generator, device=device, dtype=dtype) for _ in range(2))
    radius = (df * torch.expm1(-2 / df * torch.log1p(-first))).sqrt()
    return radius * torch.cos(2 * math.pi * second)


def student_t_log_prob(value: Tensor, mean: Tensor, scale: Tensor, df: float) -> Tensor:
    """Return the log density of Student's t distribution, nats, summed over the last axis."""
    half = 0.5 * df
    log_norm = math.lgamma(half + 0.5) - math.lgamma(half) - 0.5 * math.log(math.pi * df)
    z = (value - mean) / scale
    return (log_norm - scale.log() - (half + 0.5) * torch.log1p(z.square() / df)).sum(-1)


def full_precision(x: Tensor) -> Tensor:
    """Return `x` in at least float32: likelihoods and variances lose too much in half precision."""
    return x.float() if x.dtype in {torch.float16, torch.bfloat16} else x


def from_raw(raw: Tensor) -> DiagGaussian:
    """Split a network output into mean and variance.

    Parameters
    ----------
    raw
        Shape ``(..., 2D)``: means, then what `positive` makes variances.

    Examples
    --------
    >>> tuple(from_raw(torch.zeros(3, 4)).mean.shape)
    (3, 2)
    """
    mean, spread = full_precision(raw).chunk(2, -1)
    return DiagGaussian(mean, positive(spread))
