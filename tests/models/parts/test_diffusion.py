"""Noise schedule, DDIM and the conditional denoiser against what is known exactly."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch

from nwb_latents.models.parts.denoiser import ConditionalDenoiser
from nwb_latents.models.parts.diffusion import NoiseSchedule, ddim_decode, ddim_encode
from nwb_latents.models.parts.distributions import DiagGaussian
from nwb_latents.models.parts.priors import MMD, PriorContext


def schedule(steps: int = 200) -> NoiseSchedule:
    return NoiseSchedule(steps, first=1e-4, last=0.04).double()


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def discrepancy(codes: torch.Tensor, weight: torch.Tensor | None = None, **options: float) -> torch.Tensor:
    prior = MMD(codes.shape[-1], **options)
    return prior.penalty(DiagGaussian(codes, codes), codes, PriorContext(weight=weight))


def test_what_a_step_keeps_is_the_product_of_what_each_step_keeps() -> None:
    kept = schedule().kept
    expected = 1.0
    assert float(kept[0]) == 1
    for step in range(1, 201):
        expected *= 1 - (1e-4 + (0.04 - 1e-4) * (step - 1) / 199)
        assert float(kept[step]) == pytest.approx(expected, rel=1e-5)


def test_noise_and_data_are_told_apart_again() -> None:
    x0, noise = normal(2, 3, 4, 5), normal(2, 3, 4, 5, seed=1)
    step = torch.tensor([[1, 50, 200], [7, 100, 3]])
    noisy = schedule().noisy(x0, noise, step)
    torch.testing.assert_close(schedule().noise_in(noisy, x0, step), noise)
    torch.testing.assert_close(schedule().data_in(noisy, noise, step), x0)


@pytest.mark.parametrize("n_steps", [1, 7, 200])
def test_an_exact_denoiser_brings_every_noise_and_every_encoding_back_to_the_data(n_steps: int) -> None:
    x0 = normal(1, 4, 6, 3)
    found = ddim_decode(schedule(), lambda x, step: x0, normal(1, 4, 6, 3, seed=1), n_steps=n_steps)
    torch.testing.assert_close(found, x0)
    noise = ddim_encode(schedule(), lambda x, step: x0, x0, n_steps=n_steps)
    torch.testing.assert_close(ddim_decode(schedule(), lambda x, step: x0, noise, n_steps=n_steps), x0)


def test_encoding_and_decoding_normal_data_come_back_the_closer_the_more_steps() -> None:
    kept = schedule(1000)
    x0 = normal(1, 4, 6, 3)

    def exact(x: torch.Tensor, step: int) -> torch.Tensor:
        return kept.kept[step].sqrt() * x

    errors = []
    for n_steps in (25, 50, 100):
        noise = ddim_encode(kept, exact, x0, n_steps=n_steps)
        back = ddim_decode(kept, exact, noise, n_steps=n_steps)
        errors.append(float((back - x0).abs().max()))
    assert errors[0] > 1.7 * errors[1] > 2.9 * errors[2]
    assert errors[2] < 0.2


def test_the_way_of_normal_data_is_a_turn_of_known_angle() -> None:
    kept = schedule()
    noise = normal(1, 2, 3, 2)
    expected, angle = noise.clone(), [math.acos(math.sqrt(float(value))) for value in kept.kept]
    for a, b in pairwise([200, 100, 1, 0]):
        expected = expected * math.cos(angle[a] - angle[b])
    found = ddim_decode(kept, lambda x, step: kept.kept[step].sqrt() * x, noise, n_steps=3)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_discrepancy_of_a_point_at_zero() -> None:
    assert float(discrepancy(torch.zeros(7, 4, dtype=torch.float64))) == pytest.approx(0.05975, abs=5e-6)


def test_discrepancy_is_that_of_samples_of_the_prior() -> None:
    codes, prior = 0.3 + 0.5 * normal(40, 2), normal(4000, 2, seed=1)

    def kernel(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.exp(-torch.cdist(a, b).square() / 3.0).mean()

    drawn = kernel(codes, codes) + kernel(prior, prior) - 2 * kernel(codes, prior)
    assert float(discrepancy(codes, bandwidth=3.0)) == pytest.approx(float(drawn), abs=0.01)


def test_discrepancy_of_fresh_samples_is_its_bias() -> None:
    found = discrepancy(normal(2000, 64, 4)).mean()
    assert float(found) == pytest.approx((1 - 0.64) / 64, abs=3e-4)


def test_trials_without_weight_do_not_count() -> None:
    codes = normal(2, 5, 3)
    weight = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]])
    found = discrepancy(codes, weight)
    torch.testing.assert_close(found[0], discrepancy(codes[0]))
    torch.testing.assert_close(found[1], discrepancy(codes[1, :2]))


def test_step_and_code_reach_every_bin() -> None:
    torch.manual_seed(0)
    denoiser = ConditionalDenoiser(3, code_dim=2, channels=8, blocks=2, kernel=3, groups=4).double()
    for parameter in denoiser.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    x, code = normal(1, 1, 12, 3), normal(1, 1, 2)
    step = torch.ones(1, 1, dtype=torch.int64)
    made = denoiser(x, step, code)
    for other in (denoiser(x, step + 50, code), denoiser(x, step, code + 1)):
        assert ((made - other).abs().amax(-1) > 1e-6).all()


def test_trials_are_denoised_apart() -> None:
    torch.manual_seed(0)
    denoiser = ConditionalDenoiser(3, code_dim=2, channels=8, blocks=2, kernel=3, groups=4).double()
    x, code = normal(2, 3, 9, 3), normal(2, 3, 2)
    step = torch.tensor([[1, 5, 9], [2, 100, 50]])
    made = denoiser(x, step, code)
    torch.testing.assert_close(made[1:, 2:], denoiser(x[1:, 2:], step[1:, 2:], code[1:, 2:]))
