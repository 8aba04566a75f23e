"""Closed forms against torch.distributions, penalties against full matrices."""

from __future__ import annotations

import torch
from torch.distributions import Independent, Normal, Poisson, kl_divergence

from nwb_latents.models.losses.likelihoods import Gaussian
from nwb_latents.models.losses.likelihoods import Poisson as PoissonLikelihood
from nwb_latents.models.parts.distributions import DiagGaussian, from_raw, inverse_positive, positive
from nwb_latents.models.parts.priors import DynamicsPrior, Learned, Null, PriorContext, Standard
from nwb_latents.models.parts.weight_changes import Full, LowRank, apply_linear


def _gaussian(*shape: int, seed: int) -> DiagGaussian:
    generator = torch.Generator().manual_seed(seed)
    return from_raw(torch.randn(*shape[:-1], 2 * shape[-1], generator=generator, dtype=torch.float64))


def _torch(q: DiagGaussian) -> Independent:
    return Independent(Normal(q.mean, q.var.sqrt()), 1)


def test_kl_and_log_density_equal_those_of_torch() -> None:
    q, p = _gaussian(4, 3, seed=0), _gaussian(4, 3, seed=1)
    torch.testing.assert_close(q.kl(p), kl_divergence(_torch(q), _torch(p)))
    torch.testing.assert_close(q.log_prob(p.mean), _torch(q).log_prob(p.mean))


def test_samples_have_the_moments_they_should() -> None:
    q = DiagGaussian(
        torch.tensor([1.0, -2.0]).expand(200_000, 2), torch.tensor([0.25, 4.0]).expand(200_000, 2)
    )
    sample = q.rsample(torch.Generator().manual_seed(0))
    torch.testing.assert_close(sample.mean(0), torch.tensor([1.0, -2.0]), atol=0.02, rtol=0)
    torch.testing.assert_close(sample.var(0), torch.tensor([0.25, 4.0]), atol=0.05, rtol=0)
    assert torch.equal(q.rsample(None), q.mean)


def test_priors_are_kl_divergences() -> None:
    q, none = _gaussian(4, 3, seed=0), PriorContext()
    zero, one = torch.zeros(3, dtype=torch.float64), torch.ones(3, dtype=torch.float64)
    standard = Independent(Normal(zero, one), 1)
    torch.testing.assert_close(Standard().penalty(q, q.mean, none), kl_divergence(_torch(q), standard))
    learned = Learned(3, variance=0.1).double()
    expected = kl_divergence(_torch(q), Independent(Normal(zero, one * 0.1**0.5), 1))
    torch.testing.assert_close(learned.penalty(q, q.mean, none), expected)
    assert torch.equal(Null().penalty(q, q.mean, none), torch.zeros(4, dtype=torch.float64))


def test_the_dynamics_prior_sums_weighted_bins() -> None:
    q, p = _gaussian(2, 5, 3, seed=0), _gaussian(2, 5, 3, seed=1)
    weight = torch.tensor([[1.0, 0, 1, 1, 0], [0, 0, 0, 0, 0]], dtype=torch.float64)
    got = DynamicsPrior().penalty(q, q.mean, PriorContext(predicted=p, weight=weight))
    torch.testing.assert_close(got[0], kl_divergence(_torch(q), _torch(p))[0, [0, 2, 3]].sum())
    assert got[1] == 0


def test_likelihoods_equal_those_of_torch() -> None:
    params = torch.randn(2, 3, 4, 5)
    sessions = torch.tensor([1, 0])
    gaussian = Gaussian([5, 4], variance=0.3)
    with torch.no_grad():
        gaussian.raw_variance.blocks[0] += torch.randn(2, 5)
    std = positive(gaussian.raw_variance(sessions)).sqrt()[:, None, None]
    target = torch.randn(2, 3, 4, 5)
    torch.testing.assert_close(gaussian.nll(params, target, sessions), -Normal(params, std).log_prob(target))
    counts = torch.poisson(torch.full((2, 3, 4, 5), 2.0))
    mine = PoissonLikelihood().nll(params, counts, sessions) + torch.lgamma(counts + 1)
    torch.testing.assert_close(mine, -Poisson(params.exp()).log_prob(counts))


def test_a_variance_starts_where_it_was_asked_to() -> None:
    for value in (1e-3, 0.1, 1.0, 30.0):
        assert abs(float(positive(torch.tensor(inverse_positive(value)))) / value - 1) < 1e-3


def test_low_rank_changes_equal_the_full_matrix() -> None:
    torch.manual_seed(0)
    u, v = torch.randn(3, 6, 2, dtype=torch.float64), torch.randn(3, 4, 2, dtype=torch.float64)
    full = u @ v.transpose(1, 2)
    torch.testing.assert_close(LowRank(u, v).norm(), torch.linalg.matrix_norm(full))
    torch.testing.assert_close(Full(full).norm(), torch.linalg.matrix_norm(full))
    x = torch.randn(3, 2, 7, 4, dtype=torch.float64)
    weight, bias = torch.randn(6, 4, dtype=torch.float64), torch.randn(6, dtype=torch.float64)
    expected = torch.einsum("sbti,soi->sbto", x, weight + full) + bias
    torch.testing.assert_close(apply_linear(x, weight, bias, LowRank(u, v)), expected)
    torch.testing.assert_close(apply_linear(x, weight, bias, Full(full)), expected)
    replaced = torch.einsum("sbti,soi->sbto", x, full)
    torch.testing.assert_close(apply_linear(x, weight, None, LowRank(u, v, replace=True)), replaced)
    torch.testing.assert_close(apply_linear(x, weight, bias, LowRank(u, v, replace=True)), replaced + bias)
