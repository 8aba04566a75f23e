"""Ways through codes and noise."""

from __future__ import annotations

import torch

from nwb_latents.models.parts.traversal import between_codes, between_noises, swept


def test_a_sweep_changes_one_dimension() -> None:
    code = torch.tensor([0.3, -0.2, 0.5])
    made = swept(code, 1, [-1.0, 2.0])
    assert torch.equal(made, torch.tensor([[0.3, -1.0, 0.5], [0.3, 2.0, 0.5]]))
    assert torch.equal(code, torch.tensor([0.3, -0.2, 0.5]))


def test_ends_are_what_they_are_between() -> None:
    source = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 30, 20, generator=source, dtype=torch.float64)
    made = between_noises(a, b, [0.0, 0.5, 1.0])
    torch.testing.assert_close(made[0], a)
    torch.testing.assert_close(made[2], b)
    torch.testing.assert_close(between_codes(a[0], b[0], [0.0, 0.5, 1.0])[1], (a[0] + b[0]) / 2)


def test_noise_half_way_is_as_large_as_at_the_ends() -> None:
    source = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 60, 50, generator=source, dtype=torch.float64)
    half = between_noises(a, b, [0.5])[0]
    assert 0.97 < float(half.std()) < 1.03
    assert float(between_codes(a.flatten(), b.flatten(), [0.5]).std()) < 0.75


def test_a_noise_and_itself_have_nothing_between_them() -> None:
    a = torch.ones(3, 2)
    torch.testing.assert_close(between_noises(a, a, [0.3])[0], a)
