"""The fixed-point finder on flows whose points and eigenvalues are known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from nwb_latents.models.parts.fixed_points import find_fixed_points

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    Flow = Callable[[Tensor], Tensor]


def lorenz(s: Tensor) -> Tensor:
    x, y, z = s.unbind(-1)
    return torch.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z], -1)


def rossler(s: Tensor) -> Tensor:
    x, y, z = s.unbind(-1)
    return torch.stack([-y - z, x + 0.2 * y, 0.2 + z * (x - 5.7)], -1)


def arneodo(s: Tensor) -> Tensor:
    x, y, z = s.unbind(-1)
    return torch.stack([y, z, 5.5 * x - 4.5 * y - z - x**3], -1)


# Points and eigenvalues of the flows, from their Jacobians by hand.
KNOWN: dict[str, tuple[Flow, float, list[tuple[tuple[float, ...], tuple[complex, ...]]]]] = {
    "lorenz": (lorenz, 0.01501, [
        ((-8.485281, -8.485281, 27.0), (-13.854578, 0.093956 + 10.194505j, 0.093956 - 10.194505j)),
        ((0.0, 0.0, 0.0), (-22.827723, 11.827723, -2.666667)),
        ((8.485281, 8.485281, 27.0), (-13.854578, 0.093956 + 10.194505j, 0.093956 - 10.194505j)),
    ]),
    "rossler": (rossler, 0.16882, [
        ((0.00702, -0.03511, 0.03511), (0.097 + 0.99519j, 0.097 - 0.99519j, -5.68698)),
        ((5.69298, -28.46489, 28.46489), (0.0 + 5.42803j, 0.0 - 5.42803j, 0.19298)),
    ]),
    "arneodo": (arneodo, 0.09040, [
        ((-2.345208, 0.0, 0.0), (-1.82861, 0.41430 + 2.41743j, 0.41430 - 2.41743j)),
        ((0.0, 0.0, 0.0), (0.88991, -0.94495 + 2.30007j, -0.94495 - 2.30007j)),
        ((2.345208, 0.0, 0.0), (-1.82861, 0.41430 + 2.41743j, 0.41430 - 2.41743j)),
    ]),
}  # fmt: skip


@pytest.mark.parametrize("name", KNOWN)
def test_the_points_of_a_flow_are_found_with_their_eigenvalues(name: str) -> None:
    flow, dt, known = KNOWN[name]
    spread = torch.tensor([20.0, 20.0, 20.0]) if name != "arneodo" else torch.tensor([4.0, 4.0, 4.0])
    centre = torch.tensor([0.0, 0.0, 20.0]) if name == "lorenz" else torch.zeros(3)
    if name == "rossler":
        centre = torch.tensor([3.0, -14.0, 14.0])
    starts = centre + spread * torch.randn(256, 3, generator=torch.Generator().manual_seed(0))
    found = find_fixed_points(lambda s: s + dt * flow(s), starts)
    assert found.states.shape == (len(known), 3)
    for (point, rates), state, values in zip(known, found.states, found.eigenvalues, strict=True):
        np.testing.assert_allclose(state.numpy(), point, atol=1e-3)
        expected = np.sort_complex(1 + dt * np.array(rates))
        np.testing.assert_allclose(np.sort_complex(values.numpy()), expected, atol=1e-3)
    assert (found.speeds <= 1e-12).all()


def test_a_map_without_fixed_points_has_none() -> None:
    found = find_fixed_points(lambda z: z + 1, torch.zeros(4, 2))
    assert found.states.shape == (0, 2)
    assert found.eigenvalues.shape == (0, 2)


def test_a_linear_map_has_one_point_whose_eigenvalues_are_its_own() -> None:
    matrix = torch.diag(torch.tensor([0.5, -0.3], dtype=torch.float64))
    found = find_fixed_points(lambda z: z @ matrix.T, torch.randn(8, 2, dtype=torch.float64))
    assert found.states.shape == (1, 2)
    np.testing.assert_allclose(found.eigenvalues[0].abs().numpy(), [0.5, 0.3], atol=1e-9)
