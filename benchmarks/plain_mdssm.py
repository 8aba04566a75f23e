"""MDSSM as one would write it: `torch.nn` modules, a loop over sessions, a loop over bins.

The reference of ``benchmarks/train.py``: same equations, same parameters, same noise, loss equal to 1e-5.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, softplus

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nwb_latents.models.families.mdssm import MDSSM


@dataclass(frozen=True)
class Noise:
    """Random numbers of one session's step.

    Attributes
    ----------
    embedding, state
        Standard normal. Shapes ``(E,)`` and ``(trial, time, D)``.
    inferred
        Bins whose state is inferred and not rolled out. Shape ``(time,)``, bool.
    """

    embedding: Tensor
    state: Tensor
    inferred: Tensor


class PlainMDSSM(nn.Module):
    """The model of `models.families.mdssm.MDSSM` with a Gaussian likelihood and the objective of the paper.

    Parameters
    ----------
    model
        Where sizes and initial parameters come from; its ``cut_probability`` is not looked at.
    units
        Session → number of units, as the model was built with them.
    """

    def __init__(self, model: MDSSM, units: Mapping[str, int]) -> None:
        super().__init__()
        s, n_units = model.settings, list(units.values())
        self.settings = s
        D, E, P, H = s.latent_dim, s.embedding_dim, s.read_in.width, s.encoder_width
        self.read_in = nn.ModuleList(nn.Linear(n, s.read_in.hidden) for n in n_units)
        self.head = nn.Linear(s.read_in.hidden, P)
        self.norm = nn.LayerNorm(P)
        self.embedding_encoder = nn.GRU(P, H, batch_first=True, bidirectional=True)
        self.embedding_head = nn.Linear(2 * H, 2 * E)
        self.state_encoder = nn.GRU(P + E, H, batch_first=True, bidirectional=True)
        self.state_head = nn.Linear(2 * H, 2 * D)
        self.layers = nn.ModuleList(
            [nn.Linear(D, s.dynamics_width), nn.Linear(s.dynamics_width, s.dynamics_width),
             nn.Linear(s.dynamics_width, D)]
        )  # fmt: skip
        width = s.hyper_width
        self.trunk = nn.Sequential(nn.Linear(E, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh())
        self.heads = nn.ModuleList(
            nn.Linear(width, s.rank * (n_in + s.dynamics_width)) for n_in in (D, s.dynamics_width)
        )
        self.prior_mean = nn.Parameter(torch.zeros(D))
        self.prior_raw = nn.Parameter(torch.zeros(D))
        self.read_out = nn.ModuleList(nn.Linear(D, n) for n in n_units)
        self.variance_raw = nn.ParameterList(torch.zeros(n) for n in n_units)
        self.noise_raw = nn.ParameterList(torch.zeros(D) for _ in n_units)
        self._copy(model, n_units)

    def loss(self, trials: list[Tensor], noise: list[Noise], positions: list[int] | None = None) -> Tensor:
        """Return the loss of a step: for each session its trials, shape ``(trial, time, unit)``."""
        total = torch.zeros(())
        for row, (y, draw) in enumerate(zip(trials, noise, strict=True)):
            total = total + self._session(y, draw, row if positions is None else positions[row])
        return total

    def _session(self, y: Tensor, noise: Noise, i: int) -> Tensor:
        s = self.settings
        B, T, _ = y.shape
        hidden = self.read_in[i](y)
        if s.read_in.activation == "silu":
            hidden = nn.functional.silu(hidden)
        shared = self.norm(self.head(hidden))
        last = self.embedding_encoder(shared)[1].transpose(0, 1).reshape(B, -1)
        mean, raw = self.embedding_head(last).chunk(2, -1)
        e_mean, e_var = mean.mean(0), _positive(raw).mean(0)
        e = e_mean + e_var.sqrt() * noise.embedding
        weights, change = self._weights(e)
        shown = e.detach().expand(B, T, -1)
        raw_state = self.state_head(self.state_encoder(torch.cat([shared, shown], -1))[0])
        z_mean, z_raw = raw_state.chunk(2, -1)
        z_var = _positive(z_raw)
        sample = z_mean + z_var.sqrt() * noise.state
        states, predicted = [sample[:, 0]], []
        for t in range(1, T):
            expected = self._advance(states[-1], weights)
            predicted.append(expected)
            states.append(torch.where(noise.inferred[t], sample[:, t], expected))
        z = torch.stack(states, 1)
        y_mean = self.read_out[i](z)
        var = _positive(self.variance_raw[i])
        nll = 0.5 * ((y - y_mean) ** 2 / var + var.log() + math.log(2 * math.pi)).sum((1, 2))
        kl_initial = _kl(z_mean[:, 0], z_var[:, 0], self.prior_mean, _positive(self.prior_raw))
        q = _positive(self.noise_raw[i])
        kl = _kl(z_mean[:, 1:], z_var[:, 1:], torch.stack(predicted, 1), q)
        kl_transition = (kl * noise.inferred[1:].to(kl.dtype)).sum(1)
        kl_embedding = _kl(e_mean, e_var, torch.zeros_like(e_mean), torch.ones_like(e_var))
        bound = (nll + kl_initial + kl_transition).mean() + kl_embedding
        return bound + s.weight_change_penalty * change

    def _weights(self, e: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return the weights of the two adapted layers, and the norm of what was changed."""
        hidden = self.trunk(e)
        weights, change = [], torch.zeros(())
        for layer, head in zip(self.layers, self.heads, strict=False):
            raw = head(hidden).reshape(-1, self.settings.rank)
            delta = raw[: layer.out_features] @ raw[layer.out_features :].T
            weights.append(layer.weight + delta)
            change = change + (delta**2).sum().clamp_min(1e-12).sqrt()
        return weights, change

    def _advance(self, z: Tensor, weights: list[Tensor]) -> Tensor:
        x = torch.tanh(linear(z, weights[0], self.layers[0].bias))
        x = torch.tanh(linear(x, weights[1], self.layers[1].bias))
        x = self.layers[2](x)
        return z + x if self.settings.residual else x

    @torch.no_grad()
    def _copy(self, model: MDSSM, n_units: list[int]) -> None:
        """Take the parameters of the packed model over."""
        for i, n in enumerate(n_units):
            self.read_in[i].weight.copy_(model.read_in.weight.blocks[0][i, :n].T)
            self.read_in[i].bias.copy_(model.read_in.bias.blocks[0][i])
            self.read_out[i].weight.copy_(model.read_out.weight.blocks[0][i, :n, 0])
            self.read_out[i].bias.copy_(model.read_out.bias.blocks[0][i, :n, 0])
            self.variance_raw[i].copy_(model.likelihood.raw_variance.blocks[0][i, :n])
            self.noise_raw[i].copy_(model.state_noise.blocks[0][i])
        pairs = [(self.head, model.read_in.head), (self.norm, model.read_in.norm),
                 (self.embedding_head, model.embedding.head), (self.state_head, model.state_head),
                 (self.trunk, model.conditioner.trunk)]  # fmt: skip
        pairs += list(zip(self.layers, model.dynamics.linears(), strict=True))
        pairs += list(zip(self.heads, model.conditioner.heads.values(), strict=True))
        for mine, theirs in pairs:
            mine.load_state_dict(theirs.state_dict())
        self.prior_mean.copy_(model.initial.mean)
        self.prior_raw.copy_(model.initial.raw_variance)
        for mine, theirs in ((self.embedding_encoder, model.embedding.encoder.gru),
                             (self.state_encoder, model.state_encoder.gru)):  # fmt: skip
            for direction, suffix in enumerate(("", "_reverse")):
                for name in ("w_ih", "w_hh", "b_ih", "b_hh"):
                    kind = "weight" if name[0] == "w" else "bias"
                    parameter = getattr(mine, f"{kind}_{name[2:]}_l0{suffix}")
                    parameter.copy_(getattr(theirs, name)[direction])


def _positive(raw: Tensor) -> Tensor:
    return softplus(raw) + 1e-6


def _kl(mean: Tensor, var: Tensor, other_mean: Tensor, other_var: Tensor) -> Tensor:
    return 0.5 * ((other_var / var).log() + (var + (mean - other_mean) ** 2) / other_var - 1).sum(-1)
