"""Priors: anything that turns a posterior into a penalty, one number for each leading index."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from models.distributions import DiagGaussian, inverse_positive, positive


@dataclass(frozen=True)
class PriorContext:
    """What a prior may look at besides the posterior.

    Attributes
    ----------
    predicted
        What the dynamics expect of each bin. Shape of the posterior.
    weight
        How much each bin counts. Shape ``(..., time)``.
    """

    predicted: DiagGaussian | None = None
    weight: Tensor | None = None


class Prior(Protocol):
    """Penalty of a posterior."""

    def penalty(self, q: DiagGaussian, sample: Tensor, ctx: PriorContext) -> Tensor:
        """Return the penalty in nats, the event axis (and time, where there is one) summed out."""
        ...


class Standard:
    """Standard normal.

    Examples
    --------
    >>> q = DiagGaussian(torch.ones(1, 2), torch.ones(1, 2))
    >>> Standard().penalty(q, q.mean, PriorContext()).tolist()
    [1.0]
    """

    def penalty(self, q: DiagGaussian, sample: Tensor, ctx: PriorContext) -> Tensor:
        """Return ``KL(q || N(0, I))``."""
        del sample, ctx
        one = torch.ones((), dtype=q.mean.dtype, device=q.mean.device)
        return q.kl(DiagGaussian(0 * one, one))


class Learned(nn.Module):
    """Normal with a learned mean, and a variance that is learned or fixed.

    Parameters
    ----------
    dim
        Dimension of the event.
    variance
        Variance at the start.
    fixed_variance
        Whether the variance stays as it is (the initial condition of LFADS).
    """

    def __init__(self, dim: int, *, variance: float = 1.0, fixed_variance: bool = False) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(dim))
        self.raw_variance = nn.Parameter(
            torch.full((dim,), inverse_positive(variance)), requires_grad=not fixed_variance
        )

    def distribution(self) -> DiagGaussian:
        """Return the prior itself. Shapes ``(D,)``."""
        return DiagGaussian(self.mean, positive(self.raw_variance))

    def penalty(self, q: DiagGaussian, sample: Tensor, ctx: PriorContext) -> Tensor:
        """Return ``KL(q || prior)``."""
        del sample, ctx
        return q.kl(self.distribution())


class DynamicsPrior:
    """Each bin is expected where the dynamics carry the sampled state of the bin before.

    ``Σ_t κ_t KL(q(z_t) || N(f(z̃_{t−1}), Q))`` (Vermani et al. 2025, eq. 15): analytic in ``z_t``, one
    sample in ``z_{t−1}``.
    """

    def penalty(self, q: DiagGaussian, sample: Tensor, ctx: PriorContext) -> Tensor:
        """Return the weighted sum over bins. Shape ``(...)`` for posteriors of shape ``(..., time, D)``.

        Raises
        ------
        ValueError
            If `ctx` holds no prediction.
        """
        del sample
        if ctx.predicted is None:
            raise ValueError("the dynamics prior needs ctx.predicted, the transition's mean and variance")
        kl = q.kl(ctx.predicted)
        return (kl if ctx.weight is None else kl * ctx.weight).sum(-1)


class Null:
    """No prior: the penalty is exactly 0, and the model is a plain autoencoder.

    Examples
    --------
    >>> q = DiagGaussian(torch.ones(3, 2), torch.ones(3, 2))
    >>> Null().penalty(q, q.mean, PriorContext()).tolist()
    [0.0, 0.0, 0.0]
    """

    def penalty(self, q: DiagGaussian, sample: Tensor, ctx: PriorContext) -> Tensor:
        """Return zeros."""
        del sample, ctx
        return q.mean.new_zeros(q.mean.shape[:-1])
