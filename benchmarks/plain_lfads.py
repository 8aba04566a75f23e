"""LFADS written plainly: a cell of three gates, and a Python loop over bins wherever there is time.

What a user would write from the equations of Pandarinath et al. (2018), for one session. It has the names and
shapes of `models.families.lfads.LFADS`, so that weights can be taken over, and draws no noise itself.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from nwb_latents.models.families.lfads import LFADS
    from nwb_latents.models.parts.generated import Noise

CLIP = 5.0


def cell(x: Tensor, h: Tensor, w_ih: Tensor, w_hh: Tensor, bias: Tensor) -> Tensor:
    """Return the next state: the reset gate acts ahead of the product, the state is clipped."""
    H = h.shape[-1]
    r = torch.sigmoid(x @ w_ih[:H].T + h @ w_hh[:H].T + bias[:H])
    z = torch.sigmoid(x @ w_ih[H : 2 * H].T + h @ w_hh[H : 2 * H].T + bias[H : 2 * H])
    c = torch.tanh(x @ w_ih[2 * H :].T + (r * h) @ w_hh[2 * H :].T + bias[2 * H :])
    return (z * h + (1 - z) * c).clamp(-CLIP, CLIP)


class PlainLFADS(nn.Module):
    """The same model, weights taken over from `model`; all sessions but the first are left out."""

    def __init__(self, model: LFADS) -> None:
        super().__init__()
        self.settings = model.settings
        self.p = nn.ParameterDict(
            {name.replace(".", "/"): nn.Parameter(value.clone()) for name, value in model.named_parameters()}
        )

    def of(self, name: str) -> Tensor:
        """Return a parameter by the name it has in ours."""
        return self.p[name.replace(".", "/")]

    def gru(self, name: str, direction: int = 0) -> tuple[Tensor, Tensor, Tensor]:
        """Return the weights of a cell."""
        bias = (self.of(f"{name}.b_ih") + self.of(f"{name}.b_hh"))[direction]
        return self.of(f"{name}.w_ih")[direction], self.of(f"{name}.w_hh")[direction], bias

    def encode(self, name: str, x: Tensor, direction: int) -> list[Tensor]:
        """Return the states of an encoder for all bins, in their order."""
        weights = self.gru(f"{name}.gru", direction)
        h = self.of(f"{name}.start")[direction].expand(len(x), -1)
        states = []
        for t in range(x.shape[1]) if direction == 0 else reversed(range(x.shape[1])):
            h = cell(x[:, t], h, *weights)
            states.append(h)
        return states if direction == 0 else states[::-1]

    def forward(self, y: Tensor, noise: Noise) -> dict[str, Tensor]:
        """Return log rates, inputs and the moments of the posteriors of trials ``(trial, time, unit)``."""
        n_units, T = y.shape[2], y.shape[1]
        hidden = y @ self.of("read_in.weight.blocks.0")[0, :n_units] + self.of("read_in.bias.blocks.0")[0]
        x = hidden @ self.of("read_in.head.weight").T + self.of("read_in.head.bias")
        e = torch.cat([self.encode("ic_encoder", x, 0)[-1], self.encode("ic_encoder", x, 1)[0]], -1)
        mean = e @ self.of("ic_mean.weight").T + self.of("ic_mean.bias")
        var = (e @ self.of("ic_log_variance.weight").T + self.of("ic_log_variance.bias")).exp() + 1e-4
        initial = mean if noise.initial is None else mean + var.sqrt() * noise.initial[0]
        h = initial @ self.of("decoder.start.weight").T + self.of("decoder.start.bias")
        rows = self.of("decoder.read") / self.of("decoder.read").norm(dim=1, keepdim=True)
        generator = self.gru("decoder.generator.gru")
        controlled = self.settings.n_inferred > 0
        if controlled:
            forward, backward = (self.encode("controller_encoder", x, d) for d in (0, 1))
            nothing = torch.zeros_like(forward[0])
            controller = self.gru("decoder.controller")
            k = self.of("decoder.controller_start").expand(len(y), -1)
        out: dict[str, list[Tensor]] = {"rates": [], "inputs": [], "input_mean": [], "input_var": []}
        weight, bias = self.of("read_out.weight.blocks.0")[0, :n_units, 0], self.of("read_out.bias.blocks.0")
        for t in range(T):
            u = h.new_zeros(len(h), 0)
            if controlled:
                past = forward[t - 1] if t else nothing
                future = backward[t + 1] if t + 1 < T else nothing
                k = cell(torch.cat([past, future, h @ rows.T], -1), k, *controller)
                u_mean = k @ self.of("decoder.input_mean.weight").T
                u_var = (k @ self.of("decoder.input_log_variance.weight").T).exp()
                if "decoder/input_mean/bias" in self.p:
                    u_mean = u_mean + self.of("decoder.input_mean.bias")
                    u_var = u_var * self.of("decoder.input_log_variance.bias").exp()
                u = u_mean if noise.inputs is None else u_mean + u_var.sqrt() * noise.inputs[0, :, t]
                out["input_mean"].append(u_mean)
                out["input_var"].append(u_var)
            h = cell(u, h, *generator)
            out["rates"].append((h @ rows.T) @ weight.T + bias[0, :n_units, 0])
            out["inputs"].append(u)
        made = {name: torch.stack(parts, 1) for name, parts in out.items() if parts}
        return made | {"mean": mean, "var": var, "initial": initial}

    def loss(self, y: Tensor, noise: Noise) -> Tensor:
        """Return the negative lower bound after all ramps, with Poisson counts and an AR(1) prior."""
        made = self(y, noise)
        nll = (made["rates"].exp() - y * made["rates"]).sum((1, 2)).mean()
        prior_var = self.settings.ic_prior_variance
        off = made["mean"] - self.of("ic_prior.mean")
        kl = 0.5 * (math.log(prior_var) - made["var"].log() + (made["var"] + off**2) / prior_var - 1)
        w_hh = self.of("decoder.generator.gru.w_hh")
        loss = nll + self.settings.kl_initial_weight * kl.sum(1).mean()
        loss = loss + 0.5 * self.settings.l2_generator * w_hh.square().mean()
        if self.settings.n_inferred:
            u, m, v = made["inputs"], made["input_mean"], made["input_var"]
            alpha = torch.exp(-1 / self.of("input_prior.log_tau").exp())
            innovation = self.of("input_prior.log_variance").exp()
            log_q = -0.5 * (math.log(2 * math.pi) + v.log() + (u - m) ** 2 / v)
            stationary = innovation / (1 - alpha**2)
            log_p = [-0.5 * (math.log(2 * math.pi) + stationary.log() + u[:, 0] ** 2 / stationary)]
            for t in range(1, u.shape[1]):
                step = u[:, t] - alpha * u[:, t - 1]
                log_p.append(-0.5 * (math.log(2 * math.pi) + innovation.log() + step**2 / innovation))
            kl_input = (log_q - torch.stack(log_p, 1)).sum((1, 2)).mean()
            controller = self.of("decoder.controller.w_hh")
            loss = loss + self.settings.kl_input_weight * kl_input
            loss = loss + 0.5 * self.settings.l2_controller * controller.square().mean()
        return loss
