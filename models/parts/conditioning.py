"""Conditioners: from an embedding per session to changes of weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from nwb_latents.models.parts.weight_changes import Concat, Full, LowRank, Weights

Layers = Mapping[str, tuple[int, int]]
"""Layer name → ``(n_out, n_in)`` of its shared weight."""


class Conditioner(nn.Module):
    """From embeddings to changes of weights; by itself it changes nothing.

    Examples
    --------
    >>> Conditioner()(torch.zeros(2, 1))
    {}
    """

    extra_inputs = 0

    def forward(self, embedding: Tensor) -> Weights:
        """Return the changes for embeddings of shape ``(session, E)``."""
        del embedding
        return {}

    def penalty(self, weights: Weights, embedding: Tensor) -> Tensor:
        """Return ``Σ_layers ‖ΔW‖_F``. Shape ``(session,)``; `embedding` gives dtype and device."""
        total = embedding.new_zeros(embedding.shape[0])
        for delta in weights.values():
            total = total + delta.norm()
        return total


class Shared(Conditioner):
    """All sessions share all weights."""


class ConcatInput(Conditioner):
    """The embedding is an input of one layer (CAVIA, DYNAMO).

    Examples
    --------
    >>> list(ConcatInput("layer0", 2)(torch.zeros(3, 2)))
    ['layer0']
    """

    def __init__(self, layer: str, embedding_dim: int) -> None:
        super().__init__()
        self.layer = layer
        self.extra_inputs = embedding_dim

    def forward(self, embedding: Tensor) -> Weights:
        """Return the embedding for the layer's input."""
        return {self.layer: Concat(embedding)}


class LinearAdapter(Conditioner):
    """Weights change linearly with the embedding, at full rank (CoDA).

    Examples
    --------
    >>> adapter = LinearAdapter({"layer0": (3, 4)}, embedding_dim=2)
    >>> tuple(adapter(torch.zeros(5, 2))["layer0"].weight.shape)
    (5, 3, 4)
    """

    def __init__(self, layers: Layers, *, embedding_dim: int) -> None:
        super().__init__()
        self.layers = dict(layers)
        self.maps = nn.ParameterDict(
            {
                name: nn.Parameter(torch.randn(o, i, embedding_dim) / (10 * math.sqrt(i)))
                for name, (o, i) in layers.items()
            }
        )

    def forward(self, embedding: Tensor) -> Weights:
        """Return ``ΔW = A e`` of every layer."""
        return {name: Full(torch.einsum("oie,se->soi", self.maps[name], embedding)) for name in self.layers}


class LowRankHyper(Conditioner):
    """A hypernetwork writes a low-rank change of some layers (Vermani et al. 2025, eqs 11-14).

    Parameters
    ----------
    layers
        Layer name → ``(n_out, n_in)``.
    embedding_dim, rank, width
        E, R and the width of the two hidden layers.
    mode
        ``"add"`` changes the shared weight, ``"replace"`` stands in for it (HNET).
    gain
        Factor of the product ``u vᵀ``.

    Examples
    --------
    >>> hyper = LowRankHyper({"layer0": (3, 4)}, embedding_dim=2, rank=1, width=8)
    >>> delta = hyper(torch.zeros(5, 2))["layer0"]
    >>> tuple(delta.u.shape), tuple(delta.v.shape)
    ((5, 3, 1), (5, 4, 1))
    """

    def __init__(
        self,
        layers: Layers,
        *,
        embedding_dim: int,
        rank: int,
        width: int,
        mode: Literal["add", "replace"] = "add",
        gain: float = 1.0,
    ) -> None:
        super().__init__()
        self.layers = dict(layers)
        self.rank, self.gain = rank, gain
        self.replace = mode == "replace"
        self.trunk = nn.Sequential(
            nn.Linear(embedding_dim, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh()
        )
        self.heads = nn.ModuleDict(
            {name: nn.Linear(width, rank * (n_out + n_in)) for name, (n_out, n_in) in layers.items()}
        )

    def forward(self, embedding: Tensor) -> Weights:
        """Return ``u`` and ``v`` of every layer."""
        hidden = self.trunk(embedding)
        weights = {}
        for name, (n_out, _) in self.layers.items():
            raw = self.heads[name](hidden).reshape(embedding.shape[0], -1, self.rank)
            u = raw[:, :n_out] if self.gain == 1 else self.gain * raw[:, :n_out]
            weights[name] = LowRank(u, raw[:, n_out:], replace=self.replace)
        return weights
