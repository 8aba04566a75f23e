"""The loss of MDSSM as paper and authors' code have it: one recording, one bin, one product at a time.

A function of the parameters of the packed model by their names, so that gradients are compared name by name.
Nothing of the package is used. Where paper and code differ, the shapes of the parameters say which it is: how
many directions an encoder has, whether process noise is of each recording.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence
from torch.distributions import Poisson as Counts
from torch.nn.functional import layer_norm, silu, softplus

if TYPE_CHECKING:
    from collections.abc import Mapping


class Draw(NamedTuple):
    """Random numbers of a step of one recording: of e, of z, and which bins are inferred."""

    embedding: Tensor
    state: Tensor
    inferred: Tensor


class Variant(NamedTuple):
    """What the shapes of the parameters do not say."""

    silu: bool
    softplus_rates: bool
    penalty: float


def loss_of(w: Mapping[str, Tensor], trials: list[Tensor], draws: list[Draw], variant: Variant) -> Tensor:
    """Return the loss of recordings, each of the shape ``(trial, time, unit)``."""
    each = [_loss(w, i, y, draw, variant) for i, (y, draw) in enumerate(zip(trials, draws, strict=True))]
    return torch.stack(each).sum()


def _loss(w: Mapping[str, Tensor], i: int, y: Tensor, draw: Draw, variant: Variant) -> Tensor:
    n_trials, n_bins, n_units = y.shape
    # Read-in: a layer of the recording, one all share, layer normalisation.
    hidden = y @ w["read_in.weight.blocks.0"][i, :n_units] + w["read_in.bias.blocks.0"][i]
    shared = _layer(w, "read_in.head", silu(hidden) if variant.silu else hidden)
    shared = layer_norm(shared, shared.shape[-1:], w["read_in.norm.weight"], w["read_in.norm.bias"])
    # Embedding (eq. 17): the last state of every direction; means over trials of mean and variance.
    ways = _recurrent(w, "embedding.encoder.gru", shared)
    last = torch.cat([way[:, end] for end, way in zip((-1, 0), ways, strict=False)], -1)
    mean, raw = _layer(w, "embedding.head", last).chunk(2, -1)
    q_e = Normal(mean.mean(0), (softplus(raw) + 1e-6).mean(0).sqrt())
    e = q_e.mean + q_e.stddev * draw.embedding
    # States (eq. 18), given an embedding that sends no gradient back.
    told = torch.cat([shared, e.detach().expand(n_trials, n_bins, -1)], -1)
    mean, raw = _layer(w, "state_head", torch.cat(_recurrent(w, "state_encoder.gru", told), -1)).chunk(2, -1)
    q_z = Normal(mean, (softplus(raw) + 1e-6).sqrt())
    # The hypernetwork's changes of the first two weights (eqs 11-14), as whole matrices (in, out).
    changes = _changes(w, e)
    z = [q_z.mean[:, 0] + q_z.stddev[:, 0] * draw.state[:, 0]]
    expected = []
    for t in range(1, n_bins):
        expected.append(_advance(w, z[-1], changes))
        sample = q_z.mean[:, t] + q_z.stddev[:, t] * draw.state[:, t]
        z.append(sample if draw.inferred[t] else expected[-1])
    told_by = _log_likelihood(w, i, torch.stack(z, 1), y, variant).sum((1, 2))
    noise = w["state_noise.blocks.0"]
    spread = (softplus(noise[i if len(noise) > 1 else 0]) + 1e-6).sqrt()
    later = kl_divergence(
        Normal(q_z.mean[:, 1:], q_z.stddev[:, 1:]), Normal(torch.stack(expected, 1), spread)
    )
    counted = draw.inferred[1:].to(later.dtype)
    first = kl_divergence(
        Normal(q_z.mean[:, 0], q_z.stddev[:, 0]),
        Normal(w["initial.mean"], (softplus(w["initial.raw_variance"]) + 1e-6).sqrt()),
    )
    of_e = kl_divergence(q_e, Normal(torch.zeros_like(e), torch.ones_like(e))).sum()
    bound = (told_by - first.sum(-1) - (later.sum(-1) * counted).sum(-1)).mean() - of_e
    return -bound + variant.penalty * sum(torch.linalg.matrix_norm(change) for change in changes)


def _layer(w: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def _recurrent(w: Mapping[str, Tensor], name: str, x: Tensor) -> list[Tensor]:
    """States of a GRU, forth and, where there are weights for it, back. Shapes ``(trial, time, H)``."""
    ways = []
    for way in range(len(w[f"{name}.w_ih"])):
        w_in, w_on, b_in, b_on = (w[f"{name}.{part}"][way] for part in ("w_ih", "w_hh", "b_ih", "b_hh"))
        h, states = x.new_zeros(len(x), w_on.shape[1]), []
        for t in range(x.shape[1])[:: -1 if way else 1]:
            (r, u, n), (hr, hu, hn) = (x[:, t] @ w_in.T + b_in).chunk(3, -1), (h @ w_on.T + b_on).chunk(3, -1)
            keep = torch.sigmoid(u + hu)
            h = (1 - keep) * torch.tanh(n + torch.sigmoid(r + hr) * hn) + keep * h
            states.append(h)
        ways.append(torch.stack(states[::-1] if way else states, 1))
    return ways


def _changes(w: Mapping[str, Tensor], e: Tensor) -> list[Tensor]:
    hidden = torch.tanh(_layer(w, "conditioner.trunk.0", e))
    hidden = torch.tanh(_layer(w, "conditioner.trunk.2", hidden))
    changes = []
    for k in (0, 1):
        n_out, n_in = w[f"dynamics.layers.{k}.weight"].shape
        columns = _layer(w, f"conditioner.heads.layer{k}", hidden).reshape(n_out + n_in, -1)
        changes.append(columns[n_out:] @ columns[:n_out].T)
    return changes


def _advance(w: Mapping[str, Tensor], z: Tensor, changes: list[Tensor]) -> Tensor:
    for k, change in enumerate(changes):
        z = torch.tanh(_layer(w, f"dynamics.layers.{k}", z) + z @ change)
    return _layer(w, "dynamics.layers.2", z)


def _log_likelihood(w: Mapping[str, Tensor], i: int, z: Tensor, y: Tensor, variant: Variant) -> Tensor:
    n_units = y.shape[-1]
    read = z @ w["read_out.weight.blocks.0"][i, :n_units, 0].T + w["read_out.bias.blocks.0"][i, :n_units, 0]
    if variant.softplus_rates:
        told: Tensor = Counts(softplus(read) + 1e-6).log_prob(y)
        return told
    variance = softplus(w["likelihood.raw_variance.blocks.0"][i, :n_units]) + 1e-6
    return Normal(read, variance.sqrt()).log_prob(y)
