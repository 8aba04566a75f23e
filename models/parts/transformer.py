"""A transformer encoder with the signature of the other sequence encoders (`models.parts.encoders`).

Pre-norm layers, attention limited to a context of bins before and after, T-Fixup scaling of the initial
weights, learned positions, a last normalisation.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import relu, scaled_dot_product_attention

from nwb_latents.models.kernels.products import linear
from nwb_latents.models.parts.dropout import add_dropped, dropout
from nwb_latents.models.parts.encoders import Encoding, with_context

TFIXUP = 0.67
"""Initial weights are this times ``layers ** -0.25`` times Xavier's (Huang et al. 2020, for encoders)."""

LONG = 256
"""Bins from which on the fused kernel computes attention, whose memory does not grow with their square."""


def context_mask(n_bins: int, back: int | None, forward: int | None) -> Tensor:
    """Return which bins attend to which.

    Parameters
    ----------
    n_bins
        Number of bins, T.
    back, forward
        Bins before and after a bin that it attends to, beside itself; None: all.

    Returns
    -------
    mask
        Row: the bin that attends; column: the bin attended to. Shape ``(T, T)``, bool.

    Examples
    --------
    >>> context_mask(4, 1, 0).int().tolist()
    [[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]]
    """
    bins = torch.arange(n_bins)
    ahead = bins[None, :] - bins[:, None]
    mask = torch.ones(n_bins, n_bins, dtype=torch.bool)
    if back is not None:
        mask &= ahead >= -back
    if forward is not None:
        mask &= ahead <= forward
    return mask


def sinusoids(n_bins: int, width: int) -> Tensor:
    """Return the positions of Vaswani et al. (2017), as a start for learned ones. Shape ``(T, width)``.

    Examples
    --------
    >>> sinusoids(3, 2)[:, 1].tolist() == torch.arange(3).cos().tolist()
    True
    """
    rate = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))
    angle = torch.arange(n_bins)[:, None] * rate
    return torch.stack([angle.sin(), angle.cos()], -1).flatten(1)[:, :width]


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return values averaged by ``softmax(query · key / √width)`` over the bins that `mask` allows.

    Short sequences on a processor are three products where a gradient is wanted: the fused kernel's backward
    pass takes several times as long.

    Parameters
    ----------
    query, key, value
        Shape ``(sequence, head, time, width)``.
    mask
        As in `context_mask`; None: all bins.

    Returns
    -------
    found
        Shape of `query`.

    Examples
    --------
    >>> x = torch.randn(2, 3, 5, 4)
    >>> torch.allclose(attend(x, x, x, context_mask(5, 0, 0)), x)
    True
    """
    if not query.requires_grad or query.device.type != "cpu" or query.shape[-2] > LONG:
        return scaled_dot_product_attention(query, key, value, attn_mask=mask)
    q, k, v = (each.flatten(0, 1) for each in (query, key, value))
    bias = q.new_zeros(1, q.shape[1], q.shape[1])
    if mask is not None:
        bias.masked_fill_(~mask, -math.inf)
    scores = torch.baddbmm(bias, q, k.transpose(1, 2), alpha=q.shape[-1] ** -0.5)
    return torch.bmm(scores.softmax(-1), v).view(query.shape)


class TransformerLayer(nn.Module):
    """Attention, then a network of one hidden layer, each on normalised input and added to it.

    Parameters
    ----------
    width
        Width of a bin, a multiple of `heads`.
    heads
        Heads of the attention.
    hidden
        Width of the hidden layer.
    gain
        Factor of the initial weights of values, of attention's output and of the network.

    Raises
    ------
    ValueError
        If `width` is no multiple of `heads`.
    """

    def __init__(self, width: int, *, heads: int, hidden: int, gain: float = 1.0) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"a width of {width} cannot be shared out over {heads} heads")
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.mix = nn.Linear(width, width)
        self.network_norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width)
        query, key, value = self.query_key_value.weight.chunk(3)
        with torch.no_grad():
            for weight in (query, key, value, self.mix.weight, self.up.weight, self.down.weight):
                nn.init.xavier_uniform_(weight)
            for weight in (value, self.mix.weight, self.up.weight, self.down.weight):
                weight.mul_(gain)
        for part in (self.query_key_value, self.mix, self.up, self.down):
            nn.init.zeros_(part.bias)

    def split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return queries, keys and values of bins ``(..., time, width)``: ``(..., head, time, part)``."""
        three = _apply(self.query_key_value, self.attention_norm(x))
        query, key, value = three.reshape(*three.shape[:-1], 3, self.heads, -1).unbind(-3)
        return query.transpose(-3, -2), key.transpose(-3, -2), value.transpose(-3, -2)

    def forward(
        self, x: Tensor, mask: Tensor | None, rate: float = 0.0, generator: torch.Generator | None = None
    ) -> Tensor:
        """Return bins of the same shape.

        Parameters
        ----------
        x
            Shape ``(sequence, time, width)``.
        mask
            As in `context_mask`; None: every bin attends to all.
        rate, generator
            As in `dropout`; of what attention and network add, and of the hidden layer.
        """
        found = attend(*self.split(x), mask).transpose(-3, -2).flatten(-2)
        x = add_dropped(x, _apply(self.mix, found), rate, generator)
        return add_dropped(x, self.network(x, rate, generator), rate, generator)

    def network(self, x: Tensor, rate: float = 0.0, generator: torch.Generator | None = None) -> Tensor:
        """Return what the network adds to bins ``(..., width)``."""
        hidden = dropout(relu(_apply(self.up, self.network_norm(x))), rate, generator)
        return _apply(self.down, hidden)


def _apply(part: nn.Linear, x: Tensor) -> Tensor:
    return linear(x, part.weight, part.bias)


class TransformerEncoder(nn.Module):
    """Transformer over bins; a `SequenceEncoder`.

    A bin hears of bins up to ``layers · back`` before it and ``layers · forward`` after it.

    Parameters
    ----------
    n_in
        Width of input and context vector together; projected linearly where it is not `width`.
    width
        Width of a bin within the encoder.
    layers, heads, hidden
        Layers, heads of the attention, width of the hidden layer.
    back, forward
        As in `context_mask`.
    max_bins
        Longest sequence.
    input_dropout, layer_dropout
        Share of the input and of what each layer adds that is dropped in training.

    Raises
    ------
    ValueError
        If `width` is no multiple of `heads`.

    References
    ----------
    Ye and Pandarinath 2021 (NDT); Huang et al. 2020 (T-Fixup).

    Examples
    --------
    >>> encoder = TransformerEncoder(6, width=8, layers=2, heads=2, hidden=16, back=3, forward=0)
    >>> tuple(encoder(torch.zeros(2, 3, 5, 4), torch.zeros(2, 3, 2)).seq.shape)
    (2, 3, 5, 8)
    """

    mask: Tensor

    def __init__(
        self,
        n_in: int,
        *,
        width: int,
        layers: int,
        heads: int,
        hidden: int,
        back: int | None = None,
        forward: int | None = None,
        max_bins: int = 512,
        input_dropout: float = 0.0,
        layer_dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.width, self.max_bins = width, max_bins
        self.back, self.ahead = back, forward
        self.input_dropout, self.layer_dropout = input_dropout, layer_dropout
        self.project = nn.Identity() if n_in == width else nn.Linear(n_in, width)
        self.position = nn.Parameter(sinusoids(max_bins, width))
        gain = TFIXUP * layers**-0.25
        self.layers = nn.ModuleList(
            TransformerLayer(width, heads=heads, hidden=hidden, gain=gain) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.register_buffer("mask", context_mask(max_bins, back, forward), persistent=False)

    def forward(
        self, x: Tensor, ctx: Tensor | None = None, *, generator: torch.Generator | None = None
    ) -> Encoding:
        """Encode sequences. Shapes as in `SequenceEncoder`.

        Parameters
        ----------
        x, ctx
            Sequences, and what is shown in every bin of them.
        generator
            Source of dropout; None: there is none.

        Raises
        ------
        ValueError
            If the sequences are longer than `max_bins`.
        """
        x = with_context(x, ctx)
        lead, T = x.shape[:-2], x.shape[-2]
        if self.max_bins < T:
            raise ValueError(
                f"sequences of {T} bins, the encoder has positions for {self.max_bins}; raise max_bins"
            )
        bins = dropout(self.embed(x.reshape(-1, T, x.shape[-1])), self.input_dropout, generator)
        everywhere = self.back is None and self.ahead is None
        mask = None if everywhere else self.mask[:T, :T]
        for layer in self.layers:
            bins = layer(bins, mask, self.layer_dropout, generator)
        seq = self.norm(bins)
        return Encoding(seq.reshape(*lead, T, self.width), seq[:, -1].reshape(*lead, self.width))

    def embed(self, x: Tensor, first: int = 0) -> Tensor:
        """Return what the first layer is given, of bins ``(..., time, n_in)`` from bin `first` on.

        Input that is scaled by √width, as in the original, outweighs in the sum of all layers what they add,
        and so makes masked bins unlike the others.
        """
        shown: Tensor = self.project(x)
        return shown + self.position[first : first + x.shape[-2]]
