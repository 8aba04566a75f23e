"""Elementwise losses against the distributions of scipy and torch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import special, stats

from nwb_latents.models.losses.likelihoods import MSE, Gamma, Gaussian, Likelihood, Poisson, ZeroInflatedGamma

SESSION = torch.tensor([0])
SHAPE = (1, 4, 5, 3)


def draw(n_params: int) -> torch.Tensor:
    source = torch.Generator().manual_seed(n_params)
    return torch.randn(*SHAPE[:-1], SHAPE[-1] * n_params, generator=source, dtype=torch.float64)


def split(params: torch.Tensor, n_params: int) -> list[np.ndarray]:
    """Return one array per parameter: those of a unit lie side by side."""
    return [params[..., k::n_params].numpy() for k in range(n_params)]


def test_poisson_without_its_constant() -> None:
    params = draw(1)
    counts = torch.poisson(torch.full(SHAPE, 2.0)).double()
    nll = Poisson().nll(params, counts, SESSION).numpy()
    expected = -stats.poisson.logpmf(counts.numpy(), np.exp(params.numpy()))
    assert nll + special.gammaln(counts.numpy() + 1) == pytest.approx(expected, abs=1e-6)
    assert Poisson().mean(params).numpy() == pytest.approx(stats.poisson.mean(np.exp(params.numpy())))


def test_gaussian_and_squared_error() -> None:
    params, y = draw(1), draw(1) + 0.3
    nll = Gaussian([3], variance=0.7).double().nll(params, y, SESSION).detach().numpy()
    assert nll == pytest.approx(-stats.norm.logpdf(y.numpy(), params.numpy(), np.sqrt(0.7)), abs=1e-6)
    assert MSE().nll(params, y, SESSION).numpy() == pytest.approx(((y - params) ** 2).numpy())
    for likelihood in (Gaussian([3]), MSE()):
        assert torch.equal(likelihood.mean(params), params)


def test_gamma() -> None:
    params, y = draw(2), torch.rand(SHAPE, dtype=torch.float64) + 0.1
    a, b = (np.exp(part) + 1e-5 for part in split(params, 2))
    nll = Gamma().nll(params, y, SESSION).numpy()
    assert nll == pytest.approx(-stats.gamma.logpdf(y.numpy(), a, scale=1 / b), abs=1e-6)
    reference = torch.distributions.Gamma(torch.tensor(a), torch.tensor(b))
    assert nll == pytest.approx(-reference.log_prob(y).numpy(), abs=1e-6)
    assert Gamma().mean(params).numpy() == pytest.approx(reference.mean.numpy(), abs=1e-6)


def test_zero_inflated_gamma() -> None:
    params = draw(3)
    y = torch.rand(SHAPE, dtype=torch.float64) + 0.15
    y[..., ::2, :] = 0
    gate, a, b = split(params, 3)
    gate, a, b = special.expit(gate), np.exp(a) + 1e-5, np.exp(b) + 1e-5
    nll = ZeroInflatedGamma(loc=0.1).nll(params, y, SESSION).numpy()
    event = -np.log(gate) - stats.gamma.logpdf(np.maximum(y.numpy(), 0.15), a, loc=0.1, scale=1 / b)
    assert nll == pytest.approx(np.where(y.numpy() > 0, event, -np.log(1 - gate)), abs=1e-6)
    expected = gate * stats.gamma.mean(a, loc=0.1, scale=1 / b)
    assert ZeroInflatedGamma(loc=0.1).mean(params).numpy() == pytest.approx(expected, abs=1e-6)


def test_zero_inflated_gamma_is_a_distribution() -> None:
    """Probability of a zero and density of events add up to 1."""
    params = torch.tensor([0.4, 0.7, 0.2], dtype=torch.float64).expand(1, 1, 200_001, 3)
    y = torch.linspace(0.1, 40, 200_001, dtype=torch.float64).reshape(1, 1, -1, 1)
    y[0, 0, 0] = 0
    mass = ZeroInflatedGamma(loc=0.1).nll(params, y, SESSION).neg().exp().flatten()
    density = torch.trapezoid(mass[1:], y.flatten()[1:])
    assert float(mass[0] + density) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("likelihood", [Poisson(), Gaussian([3]), MSE(), Gamma(), ZeroInflatedGamma()])
def test_a_read_out_can_start_at_the_mean_of_its_unit(likelihood: Likelihood) -> None:
    mean = torch.tensor([0.4, 1.5, 7.0])
    bias = likelihood.bias(mean)
    assert bias.shape == (3, likelihood.n_params)
    assert torch.allclose(likelihood.mean(bias.reshape(1, 1, 1, -1))[0, 0, 0], mean, rtol=1e-4)


@pytest.mark.parametrize("likelihood", [Gamma(), ZeroInflatedGamma()])
@pytest.mark.parametrize("value", [0.0, 1e-9, 0.05, 50.0])
def test_no_value_or_parameter_makes_a_loss_or_gradient_that_is_not_finite(
    likelihood: Likelihood, value: float
) -> None:
    params = torch.linspace(-12, 12, likelihood.n_params * 25).reshape(1, 1, 25, -1).requires_grad_()
    nll = likelihood.nll(params, torch.full((1, 1, 25, 1), value), SESSION)
    nll.sum().backward()
    assert nll.isfinite().all()
    assert params.grad.isfinite().all()
