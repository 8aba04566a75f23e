"""One gated recurrent unit for every model: encoders, generators, controllers.

Input products of all bins are one matrix product ahead of the time loop, both directions run as one
batched product, and the gradient of the recurrent weights is one product after it. Which backend runs is
a matter of speed only; they agree in value and gradient (``tests/models/test_recurrent.py``).
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple, cast

import torch
from torch import Tensor, nn

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
        One or two directions.
    h0
        Initial states. Shape ``(direction, sequence, H)``; None: zeros.
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
    if x.is_cuda and reset == "after" and clip is None:
        return _cudnn(x, weights, h0)
    M, T, P = x.shape
    time_major = x.transpose(0, 1)
    both = torch.stack([time_major, time_major.flip(0)]) if D == 2 else time_major[None]
    gates = torch.baddbmm(weights.b_ih[:, None], both.reshape(D, T * M, P), weights.w_ih.transpose(1, 2))
    gates = gates.reshape(D, T, M, 3 * H)
    if reset == "after" and clip is None:
        states = cast("Tensor", _GRULoop.apply(gates, weights.w_hh, weights.b_hh, h0))  # type: ignore[no-untyped-call]
    else:
        states = _stepwise(gates, weights, h0, reset=reset, clip=clip)
    last = states[:, -1].transpose(0, 1).reshape(M, D * H)
    if D == 1:
        return states[0].transpose(0, 1), last
    return torch.cat([states[0], states[1].flip(0)], -1).transpose(0, 1), last


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


def _cudnn(x: Tensor, weights: GRUWeights, h0: Tensor) -> tuple[Tensor, Tensor]:
    flat = [part[d] for d in range(len(h0)) for part in weights]
    sequence, last = torch.gru(x, h0, flat, True, 1, 0.0, False, len(h0) == 2, True)  # noqa: FBT003
    return sequence, last.transpose(0, 1).reshape(x.shape[0], -1)


class _GRULoop(torch.autograd.Function):
    """The time loop of ``reset="after"`` with its gradient written out.

    Autograd would record a dozen nodes per bin and add up the weight gradient bin by bin.
    """

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)  # type: ignore[untyped-decorator]
    def forward(ctx: Any, gates: Tensor, w_hh: Tensor, b_hh: Tensor, h0: Tensor) -> Tensor:
        D, T, M, _ = gates.shape
        H = h0.shape[-1]
        w = w_hh.transpose(1, 2)
        bias = b_hh[:, None]
        states = gates.new_empty(D, T, M, H)
        rz = gates.new_empty(D, T, M, 2 * H)
        candidate = gates.new_empty(D, T, M, H)
        recurrent = gates.new_empty(D, T, M, H)
        h = h0
        for t in range(T):
            product = torch.baddbmm(bias, h, w)
            gate = rz[:, t]
            torch.add(gates[:, t, :, : 2 * H], product[..., : 2 * H], out=gate)
            gate.sigmoid_()
            recurrent[:, t] = product[..., 2 * H :]
            c = candidate[:, t]
            torch.addcmul(gates[:, t, :, 2 * H :], gate[..., :H], product[..., 2 * H :], out=c)
            c.tanh_()
            h = torch.lerp(c, h, gate[..., H:])
            states[:, t] = h
        ctx.save_for_backward(states, rz, candidate, recurrent, w_hh, h0)
        return states

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        states, rz, candidate, recurrent, w_hh, h0 = ctx.saved_tensors
        (d_states,) = upstream
        D, T, M, H = states.shape
        d_gates = torch.empty_like(states, memory_format=torch.contiguous_format).new_empty(D, T, M, 3 * H)
        d_product = d_gates.new_empty(D, T, M, 3 * H)
        dh = torch.zeros_like(h0)
        for t in range(T - 1, -1, -1):
            dh = dh + d_states[:, t]
            h = states[:, t - 1] if t else h0
            r, z, c = rz[:, t, :, :H], rz[:, t, :, H:], candidate[:, t]
            dz = torch.ops.aten.sigmoid_backward(dh * (h - c), z)
            kept = dh * z
            dc = torch.ops.aten.tanh_backward(dh - kept, c)
            dr = torch.ops.aten.sigmoid_backward(dc * recurrent[:, t], r)
            d_gates[:, t, :, :H] = dr
            d_gates[:, t, :, H : 2 * H] = dz
            d_gates[:, t, :, 2 * H :] = dc
            step = torch.cat([dr, dz, dc * r], -1)
            d_product[:, t] = step
            dh = torch.baddbmm(kept, step, w_hh)
        before = torch.cat([h0[:, None], states[:, :-1]], 1).reshape(D, T * M, H)
        flat = d_product.reshape(D, T * M, 3 * H)
        return d_gates, torch.bmm(flat.transpose(1, 2), before), flat.sum(1), dh
