"""Maps from a latent state to the next: what `models.parts.rollout.rollout` iterates."""

from __future__ import annotations

from importlib import import_module
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor, nn

from nwb_latents.models.parts.integrators import runge_kutta_step
from nwb_latents.models.parts.recurrent import GRUParameters, Reset, gru_sequence, gru_step
from nwb_latents.models.parts.weight_changes import Weights, apply_linear


class Dynamics(Protocol):
    """One step of a latent system."""

    def __call__(self, z: Tensor, inp: Tensor | None, weights: Weights | None) -> Tensor:
        """Return the expected next state.

        Parameters
        ----------
        z
            States. Shape ``(session, ..., D)``.
        inp
            Inputs. Shape ``(session, ..., U)``.
        weights
            Changes of weights, one for each session.
        """
        ...


class MLPMap(nn.Module):
    """``W_o σ(W_hh σ(W_in z + b) + b') + b''`` with ``σ = tanh`` (Vermani et al. 2025, eq. 13).

    Layers are called ``layer0``, ``layer1``, ``layer2``; `weights` may change any of them.

    Parameters
    ----------
    dim, width
        D and the width of the hidden layers.
    residual
        Whether the map is ``z + f(z)``.
    extra_inputs
        Width of inputs or of a `Concat` beside the state.
    hidden_layers
        Number of hidden layers.
    step
        Scale of ``f`` in a residual map: an Euler step.

    Examples
    --------
    >>> tuple(MLPMap(3, 8)(torch.zeros(2, 5, 3), None, None).shape)
    (2, 5, 3)
    """

    def __init__(
        self,
        dim: int,
        width: int,
        *,
        residual: bool = True,
        extra_inputs: int = 0,
        hidden_layers: int = 2,
        step: float = 1.0,
    ) -> None:
        super().__init__()
        sizes = [dim + extra_inputs, *[width] * hidden_layers, dim]
        self.layers = nn.ModuleList(nn.Linear(i, o) for i, o in pairwise(sizes))
        self.residual, self.step = residual, step

    def shapes(self) -> dict[str, tuple[int, int]]:
        """Return layer name → ``(n_out, n_in)``."""
        return {f"layer{k}": (m.weight.shape[0], m.weight.shape[1]) for k, m in enumerate(self.linears())}

    def linears(self) -> list[nn.Linear]:
        """Return the layers, first to last."""
        return [layer for layer in self.layers if isinstance(layer, nn.Linear)]

    def forward(self, z: Tensor, inp: Tensor | None, weights: Weights | None) -> Tensor:
        """Return the next state; shapes as in `Dynamics`."""
        weights = weights or {}
        x = z if inp is None else torch.cat([z, inp], -1)
        *hidden, last = self.linears()
        for k, layer in enumerate(hidden):
            x = torch.tanh(apply_linear(x, layer.weight, layer.bias, weights.get(f"layer{k}")))
        x = apply_linear(x, last.weight, last.bias, weights.get(f"layer{len(hidden)}"))
        return torch.add(z, x, alpha=self.step) if self.residual else x


class GRUCell(nn.Module):
    """A GRU as dynamics: the generator of LFADS with ``reset="before"`` and ``clip=5``.

    Examples
    --------
    >>> cell = GRUCell(4, n_in=2, reset="before", clip=5.0)
    >>> tuple(cell(torch.zeros(2, 3, 4), torch.zeros(2, 3, 2), None).shape)
    (2, 3, 4)
    """

    def __init__(
        self,
        dim: int,
        *,
        n_in: int = 0,
        reset: Reset = "after",
        clip: float | None = None,
        update_bias: float = 0.0,
    ) -> None:
        super().__init__()
        self.gru = GRUParameters(n_in, dim, update_bias=update_bias)
        self.n_in, self.reset, self.clip = n_in, reset, clip

    def forward(self, z: Tensor, inp: Tensor | None, weights: Weights | None) -> Tensor:
        """Return the next state; shapes as in `Dynamics`. Changes of weights are not used."""
        del weights
        inp = z.new_zeros(*z.shape[:-1], self.n_in) if inp is None else inp
        return gru_step(inp, z, self.gru(), reset=self.reset, clip=self.clip)

    def run(self, z0: Tensor, steps: int, inputs: Tensor | None = None) -> Tensor:
        """Take steps one after the other, as `parts.rollout.rollout` would, but in the loop of a sequence.

        Parameters
        ----------
        z0
            State ahead of the first step. Shape ``(session, trial, D)``.
        steps
            Number of steps.
        inputs
            Input of each step. Shape ``(session, trial, steps, U)``; None: zeros.

        Returns
        -------
        states
            State after each step. Shape ``(session, trial, steps, D)``.
        """
        lead, weights = z0.shape[:2], self.gru()
        if inputs is None:
            inputs = z0.new_zeros(*lead, steps, 0)
            weights = weights._replace(w_ih=weights.w_ih[..., :0])
        states, _ = gru_sequence(
            inputs.flatten(0, 1), weights, z0.reshape(1, -1, z0.shape[-1]), reset=self.reset, clip=self.clip
        )
        return states.reshape(*lead, *states.shape[1:])


class Euler(nn.Module):
    """Euler step ``z + Δt f(z)`` of a neural differential equation.

    Parameters
    ----------
    field
        ``f``: velocity of states, a map as `Dynamics` has them; it may change with the session.
    dt
        Time between two bins, in the field's own unit.

    Examples
    --------
    >>> flow = Euler(MLPMap(3, 8, residual=False), 0.1)
    >>> tuple(flow(torch.zeros(2, 5, 3), None, None).shape)
    (2, 5, 3)
    """

    def __init__(self, field: Dynamics, dt: float) -> None:
        super().__init__()
        self.field, self.dt = field, dt

    def forward(self, z: Tensor, inp: Tensor | None, weights: Weights | None) -> Tensor:
        """Return the next state; shapes as in `Dynamics`."""
        return torch.add(z, self.field(z, inp, weights), alpha=self.dt)


class RK4(nn.Module):
    """Classical Runge-Kutta step of a neural differential equation; inputs are constant within a bin.

    Parameters
    ----------
    field, dt
        As of `Euler`.

    Examples
    --------
    >>> flow = RK4(MLPMap(3, 8, residual=False), 0.1)
    >>> tuple(flow(torch.zeros(2, 5, 3), None, None).shape)
    (2, 5, 3)
    """

    def __init__(self, field: Dynamics, dt: float) -> None:
        super().__init__()
        self.field, self.dt = field, dt

    def forward(self, z: Tensor, inp: Tensor | None, weights: Weights | None) -> Tensor:
        """Return the next state; shapes as in `Dynamics`."""
        return runge_kutta_step(lambda state: self.field(state, inp, weights), z, self.dt)


class Adaptive(nn.Module):
    """Solution of a neural differential equation to a tolerance (Dormand and Prince, by torchdiffeq).

    Parameters
    ----------
    field, dt
        As of `Euler`.
    tolerance
        Of the error of a step of the solver, both relative and absolute.

    Raises
    ------
    ModuleNotFoundError
        If the package torchdiffeq is not installed.
    """

    def __init__(self, field: Dynamics, dt: float, *, tolerance: float = 1e-5) -> None:
        super().__init__()
        try:
            self._solve = import_module("torchdiffeq").odeint
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "the package torchdiffeq is not installed, which the adaptive solver needs. Install it with "
                "pip install 'nwb-latents[ode]', or solve with fixed steps, e.g. dynamics: node_rk4."
            ) from error
        self.field, self.dt, self.tolerance = field, dt, tolerance

    def forward(self, z: Tensor, inp: Tensor | None, weights: Weights | None) -> Tensor:
        """Return the next state; shapes as in `Dynamics`."""
        return self._path(z, 1, inp, weights)[1]

    def run(self, z0: Tensor, steps: int) -> Tensor:
        """Take steps one after the other, as `models.parts.rollout.rollout` would, but solve once.

        Parameters
        ----------
        z0
            State ahead of the first step. Shape ``(session, trial, D)``.
        steps
            Number of steps.

        Returns
        -------
        states
            State after each step. Shape ``(session, trial, steps, D)``.
        """
        return self._path(z0, steps, None, None)[1:].movedim(0, -2)

    def _path(self, z: Tensor, steps: int, inp: Tensor | None, weights: Weights | None) -> Tensor:
        times = self.dt * torch.arange(steps + 1, device=z.device, dtype=z.dtype)
        path: Tensor = self._solve(
            lambda t, state: self.field(state, inp, weights),
            z, times, rtol=self.tolerance, atol=self.tolerance, method="dopri5",
        )  # fmt: skip
        return path


class RateRNN(nn.Module):
    """Euler step of ``τ dr/dt = −r + J φ(r) + input``; ``J`` comes from weights named ``recurrent``.

    Parameters
    ----------
    dim
        Number of rate units.
    dt_over_tau
        Step in units of the time constant.

    Examples
    --------
    >>> tuple(RateRNN(4, dt_over_tau=0.1)(torch.zeros(2, 3, 4), None, None).shape)
    (2, 3, 4)
    """

    def __init__(self, dim: int, *, dt_over_tau: float) -> None:
        super().__init__()
        self.recurrent = nn.Parameter(torch.zeros(dim, dim))
        self.dt_over_tau = dt_over_tau

    def forward(self, z: Tensor, inp: Tensor | None, weights: Weights | None) -> Tensor:
        """Return the next rates; shapes as in `Dynamics`."""
        drive = apply_linear(torch.tanh(z), self.recurrent, None, (weights or {}).get("recurrent"))
        if inp is not None:
            drive = drive + inp
        return torch.lerp(z, drive.to(z.dtype), self.dt_over_tau)
