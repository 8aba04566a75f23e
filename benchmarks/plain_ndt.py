"""The neural data transformer written plainly: `torch.nn.TransformerEncoder` between two linear maps.

What a user would write for one session. Weights can be taken over from `models.families.ndt.NDT`, and then it
has the same loss; attention weights are not dropped, as there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, poisson_nll_loss

if TYPE_CHECKING:
    from nwb_latents.models.families.ndt import NDT


class PlainNDT(nn.Module):
    """The same model, weights taken over from `model`; all sessions but the first are left out."""

    def __init__(self, model: NDT, n_units: int) -> None:
        super().__init__()
        settings, encoder = model.settings, model.encoder
        self.settings = settings
        width = settings.read_in.width
        self.read = nn.Linear(n_units, settings.read_in.hidden)
        self.head = nn.Linear(settings.read_in.hidden, width)
        self.position = nn.Parameter(encoder.position.detach().clone())
        layer = nn.TransformerEncoderLayer(
            width, settings.heads, settings.hidden, settings.dropout, batch_first=True, norm_first=True
        )
        layer.self_attn.dropout = 0.0
        self.encoder = nn.TransformerEncoder(
            layer, settings.layers, norm=nn.LayerNorm(width), enable_nested_tensor=False
        )
        self.rate = nn.Linear(width, n_units)
        self.register_buffer("hides", ~encoder.mask)
        self._take_over(model, n_units)

    def _take_over(self, model: NDT, n_units: int) -> None:
        with torch.no_grad():
            self.read.weight.copy_(model.read_in.weight.blocks[0][0, :n_units].T)
            self.read.bias.copy_(model.read_in.bias.blocks[0][0])
            self.rate.weight.copy_(model.read_out.weight.blocks[0][0, :n_units, 0])
            self.rate.bias.copy_(model.read_out.bias.blocks[0][0, :n_units, 0])
        self.head.load_state_dict(model.read_in.head.state_dict())
        self.encoder.norm.load_state_dict(model.encoder.norm.state_dict())
        for theirs, ours in zip(self.encoder.layers, model.encoder.layers, strict=True):
            theirs.norm1.load_state_dict(ours.attention_norm.state_dict())
            theirs.norm2.load_state_dict(ours.network_norm.state_dict())
            theirs.linear1.load_state_dict(ours.up.state_dict())
            theirs.linear2.load_state_dict(ours.down.state_dict())
            theirs.self_attn.out_proj.load_state_dict(ours.mix.state_dict())
            with torch.no_grad():
                theirs.self_attn.in_proj_weight.copy_(ours.query_key_value.weight)
                theirs.self_attn.in_proj_bias.copy_(ours.query_key_value.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return log rates of trials ``(trial, time, unit)``."""
        settings, T = self.settings, x.shape[1]
        bins = self.head(self.read(x)) + self.position[:T]
        bins = dropout(bins, settings.input_dropout, self.training)
        limited = settings.context_back is not None or settings.context_forward is not None
        seq = self.encoder(bins, mask=self.hides[:T, :T] if limited else None)
        return self.rate(dropout(seq, settings.rate_dropout, self.training))

    def masked(self, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Draw bins to mask. Returns what is shown, and which elements are scored."""
        mask = self.settings.mask
        hidden = torch.bernoulli(torch.full(counts.shape[:2], mask.ratio)).bool()
        hidden = hidden[..., None].expand_as(counts)
        shown = counts.clone()
        zero = torch.bernoulli(torch.full(counts.shape, mask.zero)).bool() & hidden
        shown[zero] = 0
        random = torch.bernoulli(torch.full(counts.shape, mask.random)).bool() & hidden & ~zero
        shown[random] = torch.randint(int(counts.max()), counts.shape, dtype=counts.dtype)[random]
        return shown, hidden

    def loss(self, shown: Tensor, counts: Tensor, scored: Tensor) -> Tensor:
        """Return the mean over the scored elements."""
        return poisson_nll_loss(self(shown), counts, reduction="none")[scored].mean()
