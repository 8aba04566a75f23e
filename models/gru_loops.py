"""Time loops of gated recurrent units on a CPU, with the gradient written out.

Autograd would record a dozen nodes per bin and add up the weight gradient bin by bin. Products of the input
and of the weight gradient are made for a few bins at a time, so that they are still in the cache when they
are used. Of the input only the first `n_free` columns are given a gradient.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

CACHED_VALUES = 1 << 21
"""Gate values made at a time: 8 MiB in single precision."""


class ResetAfterLoop(torch.autograd.Function):
    """Input product and time loop of ``reset="after"``, without clipping.

    The gates of the input product come in the order candidate, reset, update, those of the recurrent one in
    the order reset, update, candidate: their gradients then overlap in one buffer.
    """

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)  # type: ignore[untyped-decorator]
    def forward(  # noqa: PLR0917
        ctx: Any, read: Tensor, w_in: Tensor, w_hh: Tensor, b_candidate: Tensor, h0: Tensor, n_free: int
    ) -> tuple[Tensor, Tensor]:
        """Return states of all bins, directions side by side, and the last state read in each."""
        D, T, M, _ = read.shape
        H = h0.shape[-1]
        w = w_hh.transpose(1, 2)
        states, candidate, recurrent = (read.new_empty(D, T, M, H) for _ in range(3))
        rz = read.new_empty(D, T, M, 2 * H)
        sequence = read.new_empty(M, T, D * H)
        product = read.new_empty(D, M, 3 * H)
        h = h0
        for bins in _chunks(T, 3 * h0.numel()):
            gates = torch.bmm(read[:, bins].flatten(1, 2), w_in.transpose(1, 2)).view(D, -1, M, 3 * H)
            for t in range(bins.start, bins.stop):
                torch.bmm(h, w, out=product)
                given, gate, c, inner = gates[:, t - bins.start], rz[:, t], candidate[:, t], recurrent[:, t]
                torch.add(given[..., H:], product[..., : 2 * H], out=gate)
                gate.sigmoid_()
                torch.add(product[..., 2 * H :], b_candidate, out=inner)
                torch.addcmul(given[..., :H], gate[..., :H], inner, out=c)
                _tanh(c)
                h = torch.lerp(c, h, gate[..., H:], out=states[:, t])
                for d, bin_ in enumerate((t, T - 1 - t)[:D]):
                    sequence[:, bin_, d * H : (d + 1) * H] = h[d]
        ctx.save_for_backward(read, states, rz, candidate, recurrent, w_in, w_hh, h0)
        ctx.n_free = n_free
        return sequence, h.transpose(0, 1).reshape(M, D * H)

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of the arguments of `forward`."""
        read, states, rz, candidate, recurrent, w_in, w_hh, h0 = ctx.saved_tensors
        d_sequence, d_last = upstream
        of_read, of_w_in, of_w_hh, of_bias = ctx.needs_input_grad[:4]
        D, T, M, H = states.shape
        aten = torch.ops.aten
        d_read = torch.zeros_like(read) if of_read else None
        # Transposed: thin products are faster this way round.
        d_w_in, d_w_hh = (torch.zeros_like(w.transpose(1, 2)) for w in (w_in, w_hh))
        d_bias = states.new_zeros(D, 1, H)
        dh = d_last.reshape(M, D, H).transpose(0, 1).contiguous()
        work, kept = torch.empty_like(dh), torch.empty_like(dh)
        for bins in reversed(_chunks(T, 4 * h0.numel())):
            # Side by side: candidate, reset, update of the input product, candidate of the recurrent one.
            d_all = states.new_empty(D, bins.stop - bins.start, M, 4 * H)
            for t in range(bins.stop - 1, bins.start - 1, -1):
                for d, bin_ in enumerate((t, T - 1 - t)[:D]):
                    dh[d] += d_sequence[:, bin_, d * H : (d + 1) * H]
                h = states[:, t - 1] if t else h0
                r, z, c = rz[:, t, :, :H], rz[:, t, :, H:], candidate[:, t]
                here = d_all[:, t - bins.start]
                dc, dr, dz, inner = here.split(H, -1)
                torch.sub(h, c, out=work).mul_(dh)
                aten.sigmoid_backward(work, z, grad_input=dz)
                torch.mul(dh, z, out=kept)
                aten.tanh_backward(dh.sub_(kept), c, grad_input=dc)
                aten.sigmoid_backward(torch.mul(dc, recurrent[:, t], out=work), r, grad_input=dr)
                torch.mul(dc, r, out=inner)
                torch.baddbmm(kept, here[..., H:], w_hh, out=dh)
            flat = d_all.flatten(1, 2)
            d_given, d_product = flat[..., : 3 * H], flat[..., H:]
            if d_read is not None:
                d_free = torch.bmm(d_given, w_in[..., : ctx.n_free])
                d_read[:, bins, :, : ctx.n_free] = d_free.view(D, -1, M, ctx.n_free)
            if of_w_in:
                d_w_in.baddbmm_(read[:, bins].flatten(1, 2).transpose(1, 2), d_given)
            if of_bias:
                d_bias += flat[..., 3 * H :].sum(1, keepdim=True)
            if of_w_hh and bins.start:
                before = states[:, bins.start - 1 : bins.stop - 1].flatten(1, 2)
                d_w_hh.baddbmm_(before.transpose(1, 2), d_product)
            elif of_w_hh:
                d_w_hh.baddbmm_(h0.transpose(1, 2), d_product[:, :M])
                d_w_hh.baddbmm_(states[:, : bins.stop - 1].flatten(1, 2).transpose(1, 2), d_product[:, M:])
        return d_read, d_w_in.transpose(1, 2), d_w_hh.transpose(1, 2), d_bias, dh, None


class ResetBeforeLoop(torch.autograd.Function):
    """Input product and time loop of ``reset="before"``, all gates in the order reset, update, candidate.

    A state at the limit `clip` passes no gradient on.
    """

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)  # type: ignore[untyped-decorator]
    def forward(  # noqa: PLR0917
        ctx: Any, read: Tensor, w_in: Tensor, w_hh: Tensor, h0: Tensor, clip: float | None, n_free: int
    ) -> tuple[Tensor, Tensor]:
        """Return states of all bins, directions side by side, and the last state read in each."""
        D, T, M, _ = read.shape
        H = h0.shape[-1]
        w_gates, w_candidate = w_hh[:, : 2 * H].transpose(1, 2), w_hh[:, 2 * H :].transpose(1, 2)
        states, candidate = (read.new_empty(D, T, M, H) for _ in range(2))
        rz = read.new_empty(D, T, M, 2 * H)
        sequence = read.new_empty(M, T, D * H)
        product, inner = read.new_empty(D, M, 2 * H), read.new_empty(D, M, H)
        h = h0
        for bins in _chunks(T, 3 * h0.numel()):
            gates = torch.bmm(read[:, bins].flatten(1, 2), w_in.transpose(1, 2)).view(D, -1, M, 3 * H)
            for t in range(bins.start, bins.stop):
                given, gate, c = gates[:, t - bins.start], rz[:, t], candidate[:, t]
                torch.bmm(h, w_gates, out=product)
                torch.add(given[..., : 2 * H], product, out=gate)
                gate.sigmoid_()
                torch.mul(gate[..., :H], h, out=inner)
                torch.baddbmm(given[..., 2 * H :], inner, w_candidate, out=c)
                _tanh(c)
                h = torch.lerp(c, h, gate[..., H:], out=states[:, t])
                if clip is not None:
                    h.clamp_(-clip, clip)
                for d, bin_ in enumerate((t, T - 1 - t)[:D]):
                    sequence[:, bin_, d * H : (d + 1) * H] = h[d]
        ctx.save_for_backward(read, states, rz, candidate, w_in, w_hh, h0)
        ctx.clip, ctx.n_free = clip, n_free
        return sequence, h.transpose(0, 1).reshape(M, D * H)

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of the arguments of `forward`."""
        read, states, rz, candidate, w_in, w_hh, h0 = ctx.saved_tensors
        d_sequence, d_last = upstream
        of_read, of_w_in, of_w_hh = ctx.needs_input_grad[:3]
        D, T, M, H = states.shape
        aten = torch.ops.aten
        w_gates, w_candidate = w_hh[:, : 2 * H], w_hh[:, 2 * H :]
        d_read = torch.zeros_like(read) if of_read else None
        d_w_in, d_w_hh = (torch.zeros_like(w.transpose(1, 2)) for w in (w_in, w_hh))
        dh = d_last.reshape(M, D, H).transpose(0, 1).contiguous()
        work, kept, d_inner = (torch.empty_like(dh) for _ in range(3))
        for bins in reversed(_chunks(T, 4 * h0.numel())):
            d_all = states.new_empty(D, bins.stop - bins.start, M, 3 * H)
            for t in range(bins.stop - 1, bins.start - 1, -1):
                for d, bin_ in enumerate((t, T - 1 - t)[:D]):
                    dh[d] += d_sequence[:, bin_, d * H : (d + 1) * H]
                if ctx.clip is not None:
                    dh.masked_fill_(states[:, t].abs() >= ctx.clip, 0)
                h = states[:, t - 1] if t else h0
                r, z, c = rz[:, t, :, :H], rz[:, t, :, H:], candidate[:, t]
                here = d_all[:, t - bins.start]
                dr, dz, dc = here.split(H, -1)
                torch.sub(h, c, out=work).mul_(dh)
                aten.sigmoid_backward(work, z, grad_input=dz)
                torch.mul(dh, z, out=kept)
                aten.tanh_backward(dh.sub_(kept), c, grad_input=dc)
                torch.bmm(dc, w_candidate, out=d_inner)
                aten.sigmoid_backward(torch.mul(d_inner, h, out=work), r, grad_input=dr)
                kept.addcmul_(d_inner, r)
                torch.baddbmm(kept, here[..., : 2 * H], w_gates, out=dh)
            flat = d_all.flatten(1, 2)
            if d_read is not None:
                d_free = torch.bmm(flat, w_in[..., : ctx.n_free])
                d_read[:, bins, :, : ctx.n_free] = d_free.view(D, -1, M, ctx.n_free)
            if of_w_in:
                d_w_in.baddbmm_(read[:, bins].flatten(1, 2).transpose(1, 2), flat)
            if of_w_hh:
                before = states[:, max(bins.start - 1, 0) : bins.stop - 1]
                if not bins.start:
                    before = torch.cat([h0[:, None], before], 1)
                reset = (rz[:, bins, :, :H] * before).flatten(1, 2)
                d_w_hh[..., : 2 * H].baddbmm_(before.flatten(1, 2).transpose(1, 2), flat[..., : 2 * H])
                d_w_hh[..., 2 * H :].baddbmm_(reset.transpose(1, 2), flat[..., 2 * H :])
        return d_read, d_w_in.transpose(1, 2), d_w_hh.transpose(1, 2), dh, None, None


def _tanh(x: Tensor) -> None:
    """``tanh x = 2 σ(2x) − 1`` in place, five times as fast."""
    x.mul_(2).sigmoid_().mul_(2).sub_(1)


def _chunks(n_bins: int, values_per_bin: int) -> list[slice]:
    size = max(1, CACHED_VALUES // values_per_bin)
    return [slice(t, min(t + size, n_bins)) for t in range(0, n_bins, size)]
