"""Sequence encoders: all take ``(..., time, P)`` and give a state per bin and one per sequence."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from nwb_latents.models.parts.recurrent import GRUParameters, Reset, gru_sequence, gru_sequences

if TYPE_CHECKING:
    from collections.abc import Sequence


class Encoding(NamedTuple):
    """What an encoder makes of sequences.

    Attributes
    ----------
    seq
        One vector per bin. Shape ``(..., time, H)``.
    last
        One vector per sequence. Shape ``(..., H)``.
    """

    seq: Tensor
    last: Tensor


class SequenceEncoder(Protocol):
    """From a sequence to one vector per bin and one per sequence."""

    width: int

    def __call__(self, x: Tensor, ctx: Tensor | None = None) -> Encoding:
        """Encode `x` of shape ``(..., time, P)``; `ctx` of shape ``(..., C)`` is shown in every bin."""
        ...


def with_context(x: Tensor, ctx: Tensor | None) -> Tensor:
    """Put a vector per sequence beside every bin.

    Parameters
    ----------
    x
        Shape ``(..., time, P)``.
    ctx
        Shape broadcasts with ``(..., C)``; None: nothing to put.

    Examples
    --------
    >>> tuple(with_context(torch.zeros(2, 3, 5, 4), torch.zeros(2, 1, 6)).shape)
    (2, 3, 5, 10)
    """
    if ctx is None:
        return x
    return torch.cat([x, ctx.unsqueeze(-2).expand(*x.shape[:-1], ctx.shape[-1])], -1)


class GRUEncoder(nn.Module):
    """Gated recurrent encoder.

    Parameters
    ----------
    n_in
        Width of input and context together.
    n_hidden
        Width of the state, per direction.
    bidirectional
        Whether a second network reads backwards.
    learned_start
        Whether the initial states are learned (LFADS) or zero.
    reset, clip
        As in `gru_sequence`.

    Examples
    --------
    >>> encoder = GRUEncoder(6, 8, bidirectional=True)
    >>> tuple(encoder(torch.zeros(2, 3, 5, 4), torch.zeros(2, 3, 2)).last.shape)
    (2, 3, 16)
    """

    def __init__(
        self,
        n_in: int,
        n_hidden: int,
        *,
        bidirectional: bool = True,
        learned_start: bool = False,
        reset: Reset = "after",
        clip: float | None = None,
    ) -> None:
        super().__init__()
        directions = 2 if bidirectional else 1
        self.width = directions * n_hidden
        self.reset, self.clip = reset, clip
        self.gru = GRUParameters(n_in, n_hidden, directions=directions)
        self.start = nn.Parameter(torch.zeros(directions, 1, n_hidden)) if learned_start else None

    def forward(self, x: Tensor, ctx: Tensor | None = None) -> Encoding:
        """Encode sequences. Shapes as in `SequenceEncoder`."""
        lead = x.shape[:-2]
        flat = x.reshape(-1, *x.shape[-2:])
        shown = None if ctx is None else ctx.expand(*lead, ctx.shape[-1]).reshape(flat.shape[0], -1)
        h0 = None if self.start is None else self.start.expand(-1, flat.shape[0], -1).contiguous()
        seq, last = gru_sequence(flat, self.gru(), h0, context=shown, reset=self.reset, clip=self.clip)
        return Encoding(seq.reshape(*lead, *seq.shape[-2:]), last.reshape(*lead, -1))


def encode_together(encoders: Sequence[GRUEncoder], x: Tensor) -> list[Encoding]:
    """Encode the same sequences by several encoders, in one time loop where they are alike.

    Parameters
    ----------
    encoders
        Encoders with ``learned_start``, ``reset="before"`` and one `clip`.
    x
        Shape ``(..., time, P)``.

    Examples
    --------
    >>> encoders = [GRUEncoder(4, 8, learned_start=True, reset="before") for _ in range(2)]
    >>> [tuple(made.last.shape) for made in encode_together(encoders, torch.zeros(2, 3, 5, 4))]
    [(2, 3, 16), (2, 3, 16)]
    """
    lead = x.shape[:-2]
    flat = x.reshape(-1, *x.shape[-2:])
    starts = [each.start.expand(-1, len(flat), -1) for each in encoders if each.start is not None]
    made = gru_sequences(flat, [each.gru() for each in encoders], starts, clip=encoders[0].clip)
    return [Encoding(seq.reshape(*lead, *seq.shape[1:]), last.reshape(*lead, -1)) for seq, last in made]


class Identity(nn.Module):
    """Hands its input on, with the last bin for `last`.

    Examples
    --------
    >>> tuple(Identity(4)(torch.zeros(2, 5, 4)).seq.shape)
    (2, 5, 4)
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, x: Tensor, ctx: Tensor | None = None) -> Encoding:
        """Return the input itself, beside the context where there is one."""
        x = with_context(x, ctx)
        return Encoding(x, x[..., -1, :])
