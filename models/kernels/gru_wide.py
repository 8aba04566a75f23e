"""Time loop of gated recurrent units over many sequences, each direction by itself.

Bins of many sequences are large products, for which there may be a faster library than torch's own
(`models.kernels.products`). Everything lies in the order of bins, whichever way a direction reads them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from nwb_latents.models.kernels.gru_loops import chunks, sigmoid_backward, tanh_, tanh_backward
from nwb_latents.models.kernels.products import added_product, product

if TYPE_CHECKING:
    from collections.abc import Iterator


class Side(NamedTuple):
    """What one direction made.

    Attributes
    ----------
    states
        State before the first bin that is read and after each. Shape ``(time + 1, sequence, H)``; the
        first direction reads bin ``t`` from state ``t`` to ``t + 1``, the second from ``t + 1`` to ``t``.
    gates
        Reset and update. Shape ``(time, sequence, 2 H)``.
    candidates
        Shape ``(time, sequence, H)``.
    inner
        What the reset gates act on. One for each bin, of shape ``(sequence, H)``.
    """

    states: Tensor
    gates: Tensor
    candidates: Tensor
    inner: tuple[Tensor, ...]


class WideLoop(torch.autograd.Function):
    """Input product and time loop of ``reset="after"``, without clipping, single precision on a CPU."""

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)  # type: ignore[untyped-decorator]
    def forward(  # noqa: PLR0917
        ctx: Any,
        x: Tensor,
        w_ih: Tensor,
        w_hh: Tensor,
        b_ih: Tensor,
        b_hh: Tensor,
        h0: Tensor,
        n_free: int,
    ) -> tuple[Tensor, Tensor]:
        """Return what `parts.recurrent.gru_sequence` does; `x` has the shape ``(time, sequence, P)``."""
        (D, M, H), T = h0.shape, len(x)
        sequence, last = x.new_empty(M, T, D * H), x.new_empty(M, D * H)
        kept: list[Tensor] = []
        for d, (*weights, start, out) in enumerate(
            zip(w_ih, w_hh, b_ih, b_hh, h0, sequence.chunk(D, -1), strict=True)
        ):
            side = _forward(x, weights, start, out, backwards=d == 1)
            last[:, d * H : (d + 1) * H] = side.states[0 if d else T]
            kept += [side.states, side.gates, side.candidates, *side.inner]
        ctx.save_for_backward(x, w_ih, w_hh, *kept)
        ctx.set_materialize_grads(False)
        ctx.n_free = n_free
        return sequence, last

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def backward(ctx: Any, d_sequence: Tensor | None, d_last: Tensor | None) -> tuple[Tensor | None, ...]:
        """Return the gradients of the arguments of `forward`."""
        x, w_ih, w_hh, *kept = ctx.saved_tensors
        D, H = len(w_hh), w_hh.shape[-1]
        T, M, P = x.shape
        d_x = torch.zeros_like(x) if ctx.needs_input_grad[0] else None
        # Rows: the state, 1, the input, which stand for recurrent weights, biases and input weights.
        of_gates = x.new_zeros(D, H + 1 + P, 2 * H) if any(ctx.needs_input_grad[1:5]) else None
        of_inner, of_candidate = x.new_zeros(D, H + 1, H), x.new_zeros(D, P + 1, H)
        d_h0 = x.new_zeros(D, M, H)
        for d in range(D):
            states, gates, candidates, *inner = kept[d * (3 + T) : (d + 1) * (3 + T)]
            side = Side(states, gates, candidates, tuple(inner))
            part = slice(d * H, (d + 1) * H)
            given = None if d_sequence is None else d_sequence[..., part]
            dh = d_h0[d] if d_last is None else d_last[:, part].contiguous()
            walk = _Walk(side, w_hh[d], dh, given, backwards=d == 1)
            w_free = w_ih[d, :, : ctx.n_free].t().contiguous()
            w_gates, w_candidate = w_free[:, : 2 * H].contiguous(), w_free[:, 2 * H :].contiguous()
            for bins, d_gates, d_candidate, d_inner in walk:
                if d_x is not None:
                    d_free = product(d_candidate, w_candidate)
                    d_free = added_product(d_free, d_gates, w_gates)
                    d_x[bins, :, : ctx.n_free] += d_free.view(-1, M, ctx.n_free)
                if of_gates is not None:
                    seen = x.new_empty(H + 1 + P, len(d_gates))
                    before = states[bins.start + d : bins.stop + d]
                    seen[:H], seen[H], seen[H + 1 :] = before.flatten(0, 1).t(), 1, x[bins].flatten(0, 1).t()
                    of_gates[d] += product(seen, d_gates.t())
                    of_inner[d] += product(seen[: H + 1], d_inner.t())
                    of_candidate[d] += product(seen[H:], d_candidate.t())
            d_h0[d] = walk.dh
        if of_gates is None:
            return d_x, None, None, None, None, d_h0, None
        d_w_hh = torch.cat([of_gates[:, :H], of_inner[:, :H]], 2).transpose(1, 2)
        d_w_ih = torch.cat([of_gates[:, H + 1 :], of_candidate[:, 1:]], 2).transpose(1, 2)
        d_b_ih, d_b_hh = (torch.cat([of_gates[:, H], one], 1) for one in (of_candidate[:, 0], of_inner[:, H]))
        return d_x, d_w_ih, d_w_hh, d_b_ih, d_b_hh, d_h0, None


def _forward(x: Tensor, weights: list[Tensor], h0: Tensor, out: Tensor, *, backwards: bool) -> Side:
    """Run one direction; `out` takes the states, shape ``(sequence, time, H)``."""
    w_ih, w_hh, b_ih, b_hh = weights
    T, (M, H) = len(x), h0.shape
    states, gates, candidates = (x.new_empty(n, M, w) for n, w in ((T + 1, H), (T, 2 * H), (T, H)))
    inner: list[Tensor] = [h0] * T
    b_gates = b_ih[: 2 * H] + b_hh[: 2 * H]
    states[T if backwards else 0] = h0
    for bins in _in_order(T, 3 * h0.numel(), backwards=backwards):
        rows = x[bins].flatten(0, 1)
        for_gates = product(rows, w_ih[: 2 * H], b_gates).view(-1, M, 2 * H)
        for_candidate = product(rows, w_ih[2 * H :], b_ih[2 * H :]).view(-1, M, H)
        for t in _walked(bins, backwards=backwards):
            h, gate, c = states[t + backwards], gates[t], candidates[t]
            torch.sigmoid(added_product(for_gates[t - bins.start], h, w_hh[: 2 * H]), out=gate)
            inner[t] = product(h, w_hh[2 * H :], b_hh[2 * H :])
            tanh_(torch.addcmul(for_candidate[t - bins.start], gate[:, :H], inner[t], out=c))
            out[:, t] = torch.lerp(c, h, gate[:, H:], out=states[t + (not backwards)])
    return Side(states, gates, candidates, tuple(inner))


class _Walk:
    """The gradient's way back through one direction, some bins at a time.

    Yields bins and the gradients of what their gates, candidates and the part within the reset gate were
    made of, shapes ``(bins * sequence, 2 H)`` and twice ``(bins * sequence, H)``; `dh` is the gradient of
    the state ahead of all bins that were yielded.
    """

    def __init__(
        self, side: Side, w_hh: Tensor, dh: Tensor, given: Tensor | None, *, backwards: bool
    ) -> None:
        H = w_hh.shape[-1]
        self.side, self.dh, self.given, self.backwards = side, dh.clone(), given, backwards
        self.w_gates, self.w_inner = w_hh[: 2 * H].t(), w_hh[2 * H :].t()

    def __iter__(self) -> Iterator[tuple[slice, Tensor, Tensor, Tensor]]:
        T, M, H = self.side.candidates.shape
        work, kept = torch.empty_like(self.dh), torch.empty_like(self.dh)
        for bins in _in_order(T, 4 * M * H, backwards=not self.backwards):
            n = bins.stop - bins.start
            d_gates, d_candidate, d_inner = (self.dh.new_empty(n, M, w) for w in (2 * H, H, H))
            for t in _walked(bins, backwards=not self.backwards):
                row = t - bins.start
                self._back(t, d_gates[row], d_candidate[row], d_inner[row], work, kept)
            yield bins, d_gates.flatten(0, 1), d_candidate.flatten(0, 1), d_inner.flatten(0, 1)

    def _back(  # noqa: PLR0917
        self, t: int, d_gates: Tensor, dc: Tensor, d_inner: Tensor, work: Tensor, kept: Tensor
    ) -> None:
        states, gates, candidates, inner = self.side
        dh, c = self.dh, candidates[t]
        (r, z), (dr, dz) = gates[t].chunk(2, -1), d_gates.chunk(2, -1)
        if self.given is not None:
            dh += self.given[:, t]
        torch.mul(dh, z, out=kept)
        dh -= kept
        # What is left of the old state, z ∘ (h − c), is the new state without the candidate.
        torch.mul(torch.sub(states[t + (not self.backwards)], c, out=work), dh, out=dz)
        tanh_backward(dh, c, grad_input=dc)
        torch.mul(dc, r, out=d_inner)
        sigmoid_backward(torch.mul(dc, inner[t], out=work), r, grad_input=dr)
        self.dh = added_product(added_product(kept, d_gates, self.w_gates), d_inner, self.w_inner)


def _in_order(n_bins: int, values_per_bin: int, *, backwards: bool) -> list[slice]:
    parts = chunks(n_bins, values_per_bin)
    return parts[::-1] if backwards else parts


def _walked(bins: slice, *, backwards: bool) -> range:
    return range(bins.stop - 1, bins.start - 1, -1) if backwards else range(bins.start, bins.stop)
