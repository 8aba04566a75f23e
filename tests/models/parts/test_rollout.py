"""Identities of the time loop, and equality of its parallel form with the plain one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from nwb_latents.models.parts.conditioning import LowRankHyper
from nwb_latents.models.parts.dynamics import MLPMap
from nwb_latents.models.parts.rollout import rollout


def _plain(dynamics, teacher: Tensor, taught: Tensor, weights, noise: Tensor | None) -> tuple[Tensor, Tensor]:
    z, states, predicted = teacher[:, :, 0], [teacher[:, :, 0]], [teacher[:, :, 0]]
    for t in range(1, teacher.shape[2]):
        expected = dynamics(z, None, weights)
        free = expected if noise is None else expected + noise[:, :, t]
        z = teacher[:, :, t] if taught[t] else free
        states.append(z)
        predicted.append(expected)
    return torch.stack(states, 2), torch.stack(predicted, 2)


@pytest.mark.parametrize("probability", [0.0, 0.2, 0.6, 1.0])
@pytest.mark.parametrize("noisy", [False, True])
def test_parallel_runs_equal_the_plain_loop(probability: float, noisy: bool) -> None:
    torch.manual_seed(0)
    dynamics = MLPMap(3, 8).double()
    hyper = LowRankHyper(
        {k: v for k, v in dynamics.shapes().items() if k != "layer2"}, embedding_dim=2, rank=2, width=5
    ).double()
    weights = hyper(torch.randn(2, 2, dtype=torch.float64))
    taught = torch.rand(15) >= probability
    taught[0] = True
    teacher = torch.randn(2, 4, 15, 3, dtype=torch.float64, requires_grad=True)
    noise = torch.randn(2, 4, 15, 3, dtype=torch.float64) if noisy else None
    path = rollout(
        dynamics, teacher[:, :, 0], 15, weights=weights, teacher=teacher, use_teacher=taught, noise=noise
    )
    z, predicted = _plain(dynamics, teacher, taught, weights, noise)
    torch.testing.assert_close(path.z, z, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(path.predicted, predicted, rtol=1e-12, atol=1e-12)

    wanted = [teacher, *dynamics.parameters()]
    mine = torch.autograd.grad(path.z.square().sum() + path.predicted.sin().sum(), wanted, retain_graph=True)
    plain = torch.autograd.grad(z.square().sum() + predicted.sin().sum(), wanted)
    for a, b in zip(mine, plain, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_a_teacher_everywhere_is_the_path() -> None:
    teacher = torch.randn(1, 2, 6, 3)
    path = rollout(
        MLPMap(3, 4), teacher[:, :, 0], 6, teacher=teacher, use_teacher=torch.ones(6, dtype=torch.bool)
    )
    assert torch.equal(path.z, teacher)


def test_a_teacher_in_the_first_bin_is_a_free_run() -> None:
    dynamics, teacher = MLPMap(3, 4), torch.randn(1, 2, 6, 3)
    taught = torch.zeros(6, dtype=torch.bool)
    taught[0] = True
    path = rollout(dynamics, teacher[:, :, 0], 6, teacher=teacher, use_teacher=taught)
    torch.testing.assert_close(path.z, rollout(dynamics, teacher[:, :, 0], 6).z)


def test_teacher_may_differ_from_trial_to_trial() -> None:
    dynamics, teacher = MLPMap(3, 4), torch.randn(2, 2, 6, 3)
    use = torch.rand(2, 2, 6, 1) > 0.5
    path = rollout(dynamics, teacher[:, :, 0], 6, teacher=teacher, use_teacher=use)
    mask = use.expand_as(teacher)
    assert torch.equal(path.z[mask], teacher[mask])
    torch.testing.assert_close(path.predicted[:, :, 1:], dynamics(path.z[:, :, :-1], None, None))


def test_a_hook_makes_inputs_from_the_state_it_drives() -> None:
    dynamics = MLPMap(2, 4, extra_inputs=2)
    z0 = torch.randn(1, 3, 2)
    hooked = rollout(dynamics, z0, 5, step_hook=lambda t, z: t * z)
    inputs = torch.stack([t * z for t, z in enumerate([z0, *hooked.z.unbind(2)])], 2)[:, :, :5]
    shown = torch.cat([inputs[:, :, :1] * 0, hooked.z[:, :, :-1] * torch.arange(1, 5)[:, None]], 2)
    torch.testing.assert_close(rollout(dynamics, z0, 5, inputs=shown).z, hooked.z)
    with pytest.raises(ValueError, match="not both"):
        rollout(dynamics, z0, 5, inputs=shown, step_hook=lambda t, z: z)
