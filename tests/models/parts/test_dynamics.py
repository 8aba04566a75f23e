"""One step of each solver is that of its equation."""

from __future__ import annotations

import pytest
import torch

from nwb_latents.models.parts.dynamics import RK4, Euler, MLPMap


class Growth(torch.nn.Module):
    """``c z + input`` with the rate ``c`` of the session, whose steps can be written down."""

    def forward(
        self, z: torch.Tensor, inp: torch.Tensor | None, weights: dict[str, torch.Tensor] | None
    ) -> torch.Tensor:
        rate = torch.ones(1, dtype=z.dtype) if weights is None else weights["rate"]
        return rate * z + (0 if inp is None else inp)


Z = torch.tensor([[[1.0, -2.0]]], dtype=torch.float64)
INPUT = torch.tensor([[[0.5, 0.25]]], dtype=torch.float64)
RATE = {"rate": torch.tensor([[[-3.0]]], dtype=torch.float64)}


@pytest.mark.parametrize("dt", [0.1, 0.5])
def test_an_euler_step_is_as_long_as_a_bin(dt: float) -> None:
    torch.testing.assert_close(Euler(Growth(), dt)(Z, None, None), Z * (1 + dt))
    torch.testing.assert_close(Euler(Growth(), dt)(Z, INPUT, RATE), Z + dt * (-3 * Z + INPUT))


@pytest.mark.parametrize("dt", [0.1, 0.5])
def test_a_runge_kutta_step_is_the_series_of_the_exponential_to_the_fourth_order(dt: float) -> None:
    x = -3 * dt
    grown = 1 + x + x**2 / 2 + x**3 / 6 + x**4 / 24
    driven = dt * (1 + x / 2 + x**2 / 6 + x**3 / 24)
    torch.testing.assert_close(RK4(Growth(), dt)(Z, INPUT, RATE), grown * Z + driven * INPUT)


@pytest.mark.parametrize("step", [1.0, 0.2])
def test_a_residual_map_adds_a_share_of_what_the_map_gives(step: float) -> None:
    torch.manual_seed(0)
    plain = MLPMap(2, 4, residual=False).double()
    residual = MLPMap(2, 4, residual=True, step=step).double()
    residual.load_state_dict(plain.state_dict())
    torch.testing.assert_close(residual(Z, None, None), Z + step * plain(Z, None, None))
