"""One gated recurrent unit for every model: encoders, generators, controllers.

Input products of many bins are one matrix product ahead of the time loop, both directions run as one
batched product, and the gradient of the recurrent weights is one product after it. Which backend runs is
a matter of speed only (`models.kernels.switch`); they agree in value and gradient
(``tests/models/parts/test_recurrent.py``).
"""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING, Literal, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from nwb_latents.models.kernels.compiled import kernels_for
from nwb_latents.models.kernels.gru_loops import ResetAfterLoop, ResetBeforeLoop
from nwb_latents.models.kernels.gru_wide import WideLoop
from nwb_latents.models.kernels.products import is_faster
from nwb_latents.models.kernels.switch import is_fast

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nwb_latents.models.kernels.compiled import Kernels

Reset = Literal["before", "after"]


class GRUWeights(NamedTuple):
    """Weights of a GRU layer, gates in the order reset, update, candidate.

    Attributes
    ----------
    w_ih
        Input weights. Shape ``(direction, 3 H, P)``.
    w_hh
        Recurrent weights. Shape ``(direction, 3 H, H)``.
    b_ih, b_hh
        Biases. Shape ``(direction, 3 H)``. With ``reset="after"`` the candidate part of `b_hh` is inside
        the reset gate (``torch.nn.GRU``), with ``"before"`` it is added outside.
    """

    w_ih: Tensor
    w_hh: Tensor
    b_ih: Tensor
    b_hh: Tensor


class GRUParameters(nn.Module):
    """Learned `GRUWeights`.

    Parameters
    ----------
    n_in, n_hidden
        Width of the input and of the state, per direction.
    directions
        1, or 2 where the second reads backwards.
    update_bias
        Added to the update gate's bias at the start; LFADS starts at 1.
    """

    def __init__(self, n_in: int, n_hidden: int, *, directions: int = 1, update_bias: float = 0.0) -> None:
        super().__init__()
        bound = 1 / math.sqrt(n_hidden)

        def uniform(*shape: int) -> nn.Parameter:
            return nn.Parameter(torch.empty(shape).uniform_(-bound, bound))

        self.w_ih = uniform(directions, 3 * n_hidden, n_in)
        self.w_hh = uniform(directions, 3 * n_hidden, n_hidden)
        self.b_ih = uniform(directions, 3 * n_hidden)
        self.b_hh = uniform(directions, 3 * n_hidden)
        with torch.no_grad():
            self.b_ih[:, n_hidden : 2 * n_hidden] += update_bias

    def forward(self) -> GRUWeights:
        """Return the weights."""
        return GRUWeights(self.w_ih, self.w_hh, self.b_ih, self.b_hh)


def gru_sequence(
    x: Tensor,
    weights: GRUWeights,
    h0: Tensor | None = None,
    *,
    context: Tensor | None = None,
    reset: Reset = "after",
    clip: float | None = None,
) -> tuple[Tensor, Tensor]:
    """Run a GRU over sequences.

    ``r, z = σ(W_x x + W_h h + b)``; ``c = tanh(W_cx x + b + r ∘ (W_ch h + b'))`` for ``reset="after"``
    (Cho et al. 2014 as cuDNN computes it) or ``tanh(W_cx x + b + W_ch (r ∘ h) + b')`` for ``"before"``
    (LFADS, Pandarinath et al. 2018); ``h' = z ∘ h + (1 − z) ∘ c``, clipped to ``±clip``.

    Parameters
    ----------
    x
        Input. Shape ``(sequence, time, P)``, finite.
    weights
        One or two directions, for inputs of width P + C.
    h0
        Initial states. Shape ``(direction, sequence, H)``; None: zeros.
    context
        Shown beside the input in every bin. Shape ``(sequence, C)``; None: nothing.
    reset
        One of ``"before"``, ``"after"``: where the reset gate acts.
    clip
        Largest absolute value of a state; None: no limit.

    Returns
    -------
    sequence
        States of every bin, directions side by side. Shape ``(sequence, time, direction * H)``.
    last
        Last state read in each direction. Shape ``(sequence, direction * H)``.

    Examples
    --------
    >>> weights = GRUParameters(3, 5, directions=2)()
    >>> sequence, last = gru_sequence(torch.zeros(4, 7, 3), weights)
    >>> tuple(sequence.shape), tuple(last.shape)
    ((4, 7, 10), (4, 10))
    """
    D, _, H = weights.w_hh.shape
    if h0 is None:
        h0 = x.new_zeros(D, x.shape[0], H)
    n_free = x.shape[-1]
    if context is not None:
        n_free += context.shape[-1] if context.requires_grad else 0
        x = torch.cat([x, context[:, None].expand(-1, x.shape[1], -1)], -1)
    if x.is_cuda and reset == "after" and clip is None:
        return cudnn_gru(x, weights, h0)
    fast = is_fast()
    if fast and reset == "after" and clip is None:
        return _reset_after(x, weights, h0, n_free=n_free)
    if fast and reset == "before" and not x.is_cuda:
        kernels = kernels_for(len(x), x, *weights, h0)
        if kernels is not None and x.shape[1]:
            return _compiled(kernels, x, weights, h0, clip=clip)
        return _reset_before(x, weights, h0, clip=clip, n_free=n_free)[0]
    read = _as_read(x, D)
    gates = torch.baddbmm(weights.b_ih[:, None], read.flatten(1, 2), weights.w_ih.transpose(1, 2))
    states = _stepwise(gates.reshape(*read.shape[:3], -1), weights, h0, reset=reset, clip=clip)
    last = states[:, -1].transpose(0, 1).reshape(x.shape[0], D * H)
    if D == 1:
        return states[0].transpose(0, 1), last
    return torch.cat([states[0], states[1].flip(0)], -1).transpose(0, 1), last


def _reset_after(x: Tensor, weights: GRUWeights, h0: Tensor, *, n_free: int) -> tuple[Tensor, Tensor]:
    D, M, H = h0.shape
    if is_faster(M * 3 * H * H, x, *weights, h0):
        made = WideLoop.apply(x.transpose(0, 1).contiguous(), *weights, h0, n_free)  # type: ignore[no-untyped-call]
        return cast("tuple[Tensor, Tensor]", made)
    # Both biases of the gates in one column of the input product; that of the candidate stays inside.
    bias = weights.b_ih + pad(weights.b_hh[:, : 2 * H], (0, H))
    w_in = torch.cat([weights.w_ih, bias[:, :, None]], 2).roll(H, 1)
    read = _as_read(pad(x, (0, 1), value=1.0), D)
    made = ResetAfterLoop.apply(  # type: ignore[no-untyped-call]
        read, w_in, weights.w_hh, weights.b_hh[:, None, 2 * H :], h0, n_free
    )
    return cast("tuple[Tensor, Tensor]", made)


def gru_sequences(
    x: Tensor, layers: Sequence[GRUWeights], h0: Sequence[Tensor], *, clip: float | None = None
) -> list[tuple[Tensor, Tensor]]:
    """Run GRUs with ``reset="before"`` over the same sequences, in one time loop where they are alike.

    Parameters
    ----------
    x
        Input. Shape ``(sequence, time, P)``, finite.
    layers
        Weights of each.
    h0
        Initial states of each. Shapes ``(direction, sequence, H)``.
    clip
        Largest absolute value of a state; None: no limit.

    Returns
    -------
    made
        Sequence and last state of each layer, as of `gru_sequence`.

    Examples
    --------
    >>> x, h0 = torch.ones(4, 7, 3), torch.zeros(2, 4, 5)
    >>> layers = [GRUParameters(3, 5, directions=2)() for _ in range(2)]
    >>> made = gru_sequences(x, layers, [h0, h0])
    >>> alone, _ = gru_sequence(x, layers[1], h0, reset="before")
    >>> torch.allclose(made[1][0], alone, atol=1e-6)
    True
    """
    alike = len({layer.w_hh.shape for layer in layers}) == 1
    if x.is_cuda or not alike or not is_fast() or kernels_for(len(x), x):
        pairs = zip(layers, h0, strict=True)
        return [gru_sequence(x, layer, start, reset="before", clip=clip) for layer, start in pairs]
    joined = layers[0]
    if len(layers) > 1:
        joined = GRUWeights(*(torch.cat(parts) for parts in zip(*layers, strict=True)))
    return _reset_before(x, joined, torch.cat(list(h0)), clip=clip, n_free=x.shape[-1], directions=len(h0[0]))


def _reset_before(
    x: Tensor,
    weights: GRUWeights,
    h0: Tensor,
    *,
    clip: float | None,
    n_free: int,
    directions: int | None = None,
) -> list[tuple[Tensor, Tensor]]:
    """Run layers of as many `directions` each, one after the other in `weights`; None: one layer."""
    n = directions or len(h0)
    bias = (weights.b_ih + weights.b_hh)[:, :, None]
    if x.shape[-1]:
        w_in = torch.cat([weights.w_ih, bias], 2)
        read = _as_read(pad(x, (0, 1), value=1.0), len(h0))
    else:
        w_in, read = bias, x.new_ones(1, 1, 1, 1).expand(len(h0), x.shape[1], len(x), 1)
    last, *states = ResetBeforeLoop.apply(  # type: ignore[no-untyped-call]
        read, w_in, weights.w_hh, h0, clip, n_free, torch.is_grad_enabled()
    )
    made = []
    for first in range(0, len(h0), n):
        sides = [
            states[first].transpose(0, 1),
            *(side.flip(0).transpose(0, 1) for side in states[first + 1 : first + n]),
        ]
        sequence = torch.cat(sides, -1) if n == 2 else sides[0]
        made.append((sequence, last[first : first + n].transpose(0, 1).reshape(x.shape[0], -1)))
    return made


def _compiled(
    kernels: Kernels, x: Tensor, weights: GRUWeights, h0: Tensor, *, clip: float | None
) -> tuple[Tensor, Tensor]:
    (M, T, P), (D, _, H) = x.shape, weights.w_hh.shape
    bias = (weights.b_ih + weights.b_hh).flatten()
    given = nn.functional.linear(x, weights.w_ih.flatten(0, 1), bias) if P else bias.expand(M, T, -1)
    sequence = x.new_empty(M, T, D * H)
    for d, (shown, w_hh, start, out) in enumerate(
        zip(given.chunk(D, -1), weights.w_hh, h0, sequence.chunk(D, -1), strict=True)
    ):
        kernels.gru(shown, w_hh, start, out, clip=clip, backwards=d == 1)
    if D == 1:
        return sequence, sequence[:, -1].clone()
    return sequence, torch.cat([sequence[:, -1, :H], sequence[:, 0, H:]], -1)


def _as_read(x: Tensor, directions: int) -> Tensor:
    """Return the input as each direction reads it, every second backwards.

    Shape ``(direction, time, sequence, P)``.
    """
    time_major = x.transpose(0, 1)
    if directions == 1:
        return time_major[None].contiguous()
    return torch.stack([time_major, time_major.flip(0)] * (directions // 2))


def gru_step(
    x: Tensor, h: Tensor, weights: GRUWeights, *, reset: Reset = "after", clip: float | None = None
) -> Tensor:
    """Advance a one-direction GRU by one bin.

    Parameters
    ----------
    x, h
        Input and state. Shapes ``(..., P)`` and ``(..., H)``.

    Returns
    -------
    state
        Shape ``(..., H)``.

    Examples
    --------
    >>> tuple(gru_step(torch.zeros(2, 3), torch.zeros(2, 4), GRUParameters(3, 4)()).shape)
    (2, 4)
    """
    gates = nn.functional.linear(x, weights.w_ih[0], weights.b_ih[0])
    H = h.shape[-1]
    w_hh, b_hh = weights.w_hh[0], weights.b_hh[0]
    r, z = torch.sigmoid(gates[..., : 2 * H] + nn.functional.linear(h, w_hh[: 2 * H], b_hh[: 2 * H])).chunk(
        2, -1
    )
    if reset == "after":
        candidate = r * nn.functional.linear(h, w_hh[2 * H :], b_hh[2 * H :])
    else:
        candidate = nn.functional.linear(r * h, w_hh[2 * H :], b_hh[2 * H :])
    c = torch.tanh(gates[..., 2 * H :] + candidate)
    h = c + z * (h - c)
    return h if clip is None else h.clamp(-clip, clip)


def _stepwise(gates: Tensor, weights: GRUWeights, h: Tensor, *, reset: Reset, clip: float | None) -> Tensor:
    H = h.shape[-1]
    w, b = weights.w_hh.transpose(1, 2), weights.b_hh[:, None]
    w_gates, w_candidate = w[..., : 2 * H], w[..., 2 * H :]
    b_gates, b_candidate = b[..., : 2 * H], b[..., 2 * H :]
    states = []
    for t in range(gates.shape[1]):
        r, z = torch.sigmoid(gates[:, t, :, : 2 * H] + torch.baddbmm(b_gates, h, w_gates)).chunk(2, -1)
        if reset == "after":
            candidate = r * torch.baddbmm(b_candidate, h, w_candidate)
        else:
            candidate = torch.baddbmm(b_candidate, r * h, w_candidate)
        c = torch.tanh(gates[:, t, :, 2 * H :] + candidate)
        h = c + z * (h - c)
        if clip is not None:
            h = h.clamp(-clip, clip)
        states.append(h)
    return torch.stack(states, 1)


def cudnn_gru(x: Tensor, weights: GRUWeights, h0: Tensor) -> tuple[Tensor, Tensor]:
    """Return what `torch.nn.GRU` does; cuDNN keeps what the gradient needs only where it is told to train."""
    flat = [part[d] for d in range(len(h0)) for part in weights]
    trains = torch.is_grad_enabled()
    with warnings.catch_warnings():
        # The weights of a session's directions lie apart; cuDNN copies them together, which costs little.
        warnings.filterwarnings("ignore", message="RNN module weights are not part of single contiguous")
        sequence, last = torch.gru(
            x, h0.contiguous(), flat, True, 1, 0.0, trains, len(h0) == 2, True  # noqa: FBT003
        )  # fmt: skip
    return sequence, last.transpose(0, 1).reshape(x.shape[0], -1)
