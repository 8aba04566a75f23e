"""Priors: anything that turns a posterior into a penalty, one number for each leading index."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from nwb_latents.models.parts.distributions import (
    DiagGaussian,
    inverse_positive,
    positive,
    student_t_log_prob,
)


@dataclass(frozen=True)
class PriorContext:
    """What a prior may look at besides the posterior.

    Attributes
    ----------
    predicted
        What the dynamics expect of each bin. Shape of the posterior.
    weight
        How much each bin counts, shape ``(..., time)``; to a prior over trials, how much each trial does.
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


class MMD:
    """All samples together are held against the standard normal by their maximum mean discrepancy.

    ``mean_ij k(c_i, c_j) + E k(c̃, c̃′) − 2 mean_i E k(c_i, c̃)`` with ``k(a, b) = exp(−‖a − b‖² / h)`` and
    ``c̃, c̃′ ~ N(0, I)``. Both expectations have a closed form, so that nothing is drawn. Unlike a divergence
    of each sample, it leaves a sample free to say which trial it is of.

    Parameters
    ----------
    dim
        Dimension L of the event.
    bandwidth
        h; None: ``L²``, which for a large L sees little beyond mean and variance.

    References
    ----------
    Gretton et al. 2012 (biased estimate); Wang et al. 2023 (InfoDiffusion) for the kernel.

    Examples
    --------
    >>> c = torch.zeros(5, 4)
    >>> round(float(MMD(4).penalty(DiagGaussian(c, c), c, PriorContext())), 5)
    0.05975
    """

    def __init__(self, dim: int, *, bandwidth: float | None = None) -> None:
        self.dim = dim
        self.bandwidth = float(dim * dim) if bandwidth is None else bandwidth

    def penalty(self, q: DiagGaussian, sample: Tensor, ctx: PriorContext) -> Tensor:
        """Return the discrepancy of the samples along the last but one axis.

        Parameters
        ----------
        q
            Not used.
        sample
            Shape ``(..., trial, L)``.
        ctx
            ``weight``: how much each sample counts. Shape ``(..., trial)``; None: all the same.

        Returns
        -------
        discrepancy
            0 or more, by ``1/n`` above 0 for n fresh samples of the prior. Shape ``(...)``.
        """
        del q
        weight = torch.ones_like(sample[..., 0]) if ctx.weight is None else ctx.weight.to(sample.dtype)
        weight = weight / weight.sum(-1, keepdim=True).clamp_min(torch.finfo(sample.dtype).tiny)
        h, half = self.bandwidth, self.dim / 2
        apart = (sample.unsqueeze(-2) - sample.unsqueeze(-3)).square().sum(-1)
        pairs = weight.unsqueeze(-1) * weight.unsqueeze(-2)
        own = ((-apart / h).exp() * pairs).sum((-1, -2))
        to_prior = (h / (h + 2)) ** half * (-sample.square().sum(-1) / (h + 2)).exp()
        discrepancy: Tensor = own + (h / (h + 4)) ** half - 2 * (weight * to_prior).sum(-1)
        return discrepancy


class SequencePrior(Prior, Protocol):
    """Prior of a sequence that can also be carried on."""

    def expected_next(self, last: Tensor) -> Tensor:
        """Return the prior mean of a bin, given the value of the bin before. Shapes ``(..., D)``."""
        ...


class AR1(nn.Module):
    """Autoregressive prior of inferred inputs, each dimension by itself (Pandarinath et al. 2018).

    ``u_1 ~ N(0, n / (1 − α²))`` and ``u_t ~ N(α u_{t−1}, n)`` with ``α = exp(−1/τ)``; ``log τ`` and
    ``log n`` are learned.

    Parameters
    ----------
    dim
        Dimension of the inputs.
    tau
        Time constant τ at the start, bins.
    variance
        Innovation variance n at the start.

    Examples
    --------
    >>> prior = AR1(2, tau=10.0, variance=0.1)
    >>> q = DiagGaussian(torch.zeros(3, 7, 2), torch.ones(3, 7, 2))
    >>> tuple(prior.penalty(q, torch.zeros(3, 7, 2), PriorContext()).shape)
    (3,)
    """

    def __init__(self, dim: int, *, tau: float = 10.0, variance: float = 0.1) -> None:
        super().__init__()
        self.log_tau = nn.Parameter(torch.full((dim,), math.log(tau)))
        self.log_variance = nn.Parameter(torch.full((dim,), math.log(variance)))

    def log_prob(self, sample: Tensor) -> Tensor:
        """Return the log density of each bin given the one before, nats. Shape ``(..., time)``."""
        alpha, innovation = self._coefficients()
        stationary = innovation / (1 - alpha.square())
        first = DiagGaussian(torch.zeros_like(stationary), stationary).log_prob(sample[..., :1, :])
        later = DiagGaussian(alpha * sample[..., :-1, :], innovation).log_prob(sample[..., 1:, :])
        return torch.cat([first, later], -1)

    def penalty(self, q: DiagGaussian, sample: Tensor, ctx: PriorContext) -> Tensor:
        """Return ``Σ_t [log q(u_t) − log p(u_t | u_{t−1})]``, a one-sample estimate of the KL.

        Parameters
        ----------
        q
            Posterior. Shapes ``(..., time, D)``.
        sample
            One draw of it. Shape ``(..., time, D)``.
        ctx
            ``weight``: how much each bin counts.
        """
        return _over_time(q.log_prob(sample) - self.log_prob(sample), ctx)

    def expected_next(self, last: Tensor) -> Tensor:
        """Return ``α u``."""
        return self._coefficients()[0] * last

    def _coefficients(self) -> tuple[Tensor, Tensor]:
        return torch.exp(-torch.exp(-self.log_tau)), self.log_variance.exp()


class StudentT(nn.Module):
    """Independent Student-t distributions with learned location and scale: sparse inferred inputs.

    Parameters
    ----------
    dim
        Dimension of the event.
    df
        Degrees of freedom.
    scale
        Scale at the start.
    posterior
        Whether posteriors are Student-t of the same degrees of freedom, their variance standing for the
        squared scale (lfads-torch); otherwise they are normal.

    Examples
    --------
    >>> q = DiagGaussian(torch.zeros(3, 2), torch.ones(3, 2))
    >>> tuple(StudentT(2).penalty(q, torch.zeros(3, 2), PriorContext()).shape)
    (3,)
    """

    def __init__(self, dim: int, *, df: float = 5.0, scale: float = 1.0, posterior: bool = False) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(dim))
        self.log_scale = nn.Parameter(torch.full((dim,), math.log(scale)))
        self.df, self.posterior = df, posterior

    def log_prob(self, sample: Tensor) -> Tensor:
        """Return the log density in nats, summed over the last axis."""
        return student_t_log_prob(sample, self.mean, self.log_scale.exp(), self.df)

    def penalty(self, q: DiagGaussian, sample: Tensor, ctx: PriorContext) -> Tensor:
        """Return ``log q(u) − log p(u)``, a one-sample estimate of the KL."""
        del ctx
        if self.posterior:
            return student_t_log_prob(sample, q.mean, q.var.sqrt(), self.df) - self.log_prob(sample)
        return q.log_prob(sample) - self.log_prob(sample)


class EachBin(nn.Module):
    """One prior for every bin of a sequence, bins independent.

    Parameters
    ----------
    prior
        Prior of a bin; one with a learned ``mean`` of shape ``(D,)``, or with mean 0.

    Examples
    --------
    >>> q = DiagGaussian(torch.ones(3, 7, 2), torch.ones(3, 7, 2))
    >>> EachBin(Standard()).penalty(q, q.mean, PriorContext()).tolist()
    [7.0, 7.0, 7.0]
    """

    def __init__(self, prior: Prior) -> None:
        super().__init__()
        self.prior = prior

    def penalty(self, q: DiagGaussian, sample: Tensor, ctx: PriorContext) -> Tensor:
        """Return the penalties of all bins, weighted by ``ctx.weight`` and summed. Shape ``(...)``."""
        return _over_time(self.prior.penalty(q, sample, PriorContext()), ctx)

    def expected_next(self, last: Tensor) -> Tensor:
        """Return the mean of the prior, whatever came before."""
        mean = getattr(self.prior, "mean", None)
        return torch.zeros_like(last) if mean is None else mean.expand_as(last)


def _over_time(per_bin: Tensor, ctx: PriorContext) -> Tensor:
    return (per_bin if ctx.weight is None else per_bin * ctx.weight).sum(-1)
