"""Time loops of gated recurrent units on a CPU, with the gradient written out.

Autograd would record a dozen nodes per bin and add up the weight gradient bin by bin. Products of the input
and of the weight gradient are made for a few bins at a time, so that they are still in the cache when they
are used. Of the input only the first `n_free` columns are given a gradient. Many sequences have a loop of
their own, `models.kernels.gru_wide`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeGuard

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

CACHED_VALUES = 1 << 21
"""Gate values made at a time: 8 MiB in single precision."""

FEW_VALUES = 1 << 11
"""Below this, the number of operations counts and not what they do."""

sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input
tanh_backward = torch.ops.aten.tanh_backward.grad_input


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
        for bins in chunks(T, 3 * h0.numel()):
            gates = torch.bmm(read[:, bins].flatten(1, 2), w_in.transpose(1, 2)).view(D, -1, M, 3 * H)
            for t in range(bins.start, bins.stop):
                torch.bmm(h, w, out=product)
                given, gate, c, inner = gates[:, t - bins.start], rz[:, t], candidate[:, t], recurrent[:, t]
                torch.add(given[..., H:], product[..., : 2 * H], out=gate)
                gate.sigmoid_()
                torch.add(product[..., 2 * H :], b_candidate, out=inner)
                torch.addcmul(given[..., :H], gate[..., :H], inner, out=c)
                tanh_(c)
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
        d_read = torch.zeros_like(read) if of_read else None
        # Transposed: thin products are faster this way round.
        d_w_in, d_w_hh = (torch.zeros_like(w.transpose(1, 2)) for w in (w_in, w_hh))
        d_bias = states.new_zeros(D, 1, H)
        dh = d_last.reshape(M, D, H).transpose(0, 1).contiguous()
        work, kept = torch.empty_like(dh), torch.empty_like(dh)
        for bins in reversed(chunks(T, 4 * h0.numel())):
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
                sigmoid_backward(work, z, grad_input=dz)
                torch.mul(dh, z, out=kept)
                tanh_backward(dh.sub_(kept), c, grad_input=dc)
                sigmoid_backward(torch.mul(dc, recurrent[:, t], out=work), r, grad_input=dr)
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

    The last column of what is read is 1 in every bin, so that its weights are the biases. A state that was
    cut at `clip` passes no gradient on.
    """

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)  # type: ignore[untyped-decorator]
    def forward(  # noqa: PLR0917
        ctx: Any,
        read: Tensor,
        w_in: Tensor,
        w_hh: Tensor,
        h0: Tensor,
        clip: float | None,
        n_free: int,
        recorded: bool,  # noqa: FBT001
    ) -> tuple[Tensor, ...]:
        """Return the last state read in each direction, and the states of all bins of each.

        Whether gradients are `recorded` is not known in here.
        """
        D, T, M, P = read.shape
        H = h0.shape[-1]
        trace = Trace.blank(h0, T, kept=recorded and any(ctx.needs_input_grad))
        weights = w_hh[:, : 2 * H].transpose(1, 2), w_hh[:, 2 * H :].transpose(1, 2)
        for bins in chunks(T, 3 * h0.numel()):
            n = bins.stop - bins.start
            if P == 1:
                given = w_in.transpose(1, 2)[:, None].expand(D, n, M, 3 * H)
            else:
                given = torch.bmm(read[:, bins].flatten(1, 2), w_in.transpose(1, 2)).view(D, n, M, 3 * H)
            for _ in trace.steps(given, *weights, first=bins.start, clip=clip):
                pass
        ctx.save_for_backward(read, w_in, w_hh, *trace.tensors)
        ctx.set_materialize_grads(False)
        ctx.clip, ctx.n_free = clip, n_free
        return trace.state[T].clone(), *trace.states.unbind(0)

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def backward(ctx: Any, d_last: Tensor | None, *d_states: Tensor | None) -> tuple[Tensor | None, ...]:
        """Return the gradients of the arguments of `forward`."""
        read, w_in, w_hh, *tensors = ctx.saved_tensors
        of_read, of_w_in, of_w_hh = ctx.needs_input_grad[:3]
        trace = Trace(*tensors)
        D, T, M, H = trace.candidates.shape
        w_gates, w_candidate = w_hh[:, : 2 * H], w_hh[:, 2 * H :]
        d_read = torch.zeros_like(read) if of_read else None
        # Transposed: thin products are faster this way round.
        d_w_in, d_w_hh = (torch.zeros_like(w.transpose(1, 2)) for w in (w_in, w_hh))
        dh = read.new_zeros(D, M, H) if d_last is None else d_last.clone()
        given = [(d, each) for d, each in enumerate(d_states) if each is not None]
        for bins in reversed(chunks(T, 4 * dh.numel())):
            d_all = read.new_empty(D, bins.stop - bins.start, M, 3 * H)
            for t in range(bins.stop - 1, bins.start - 1, -1):
                for d, each in given:
                    dh[d].add_(each[t])
                if acts(ctx.clip, t):
                    dh = dh.masked_fill(trace.state[t + 1].abs() >= ctx.clip, 0)
                dh = trace.step_back(t, dh, d_all[:, t - bins.start], w_gates, w_candidate)[..., H:]
            flat = d_all.flatten(1, 2)
            if d_read is not None:
                d_free = torch.bmm(flat, w_in[..., : ctx.n_free])
                d_read[:, bins, :, : ctx.n_free] = d_free.view(D, -1, M, ctx.n_free)
            if of_w_in:
                d_w_in.baddbmm_(read[:, bins].flatten(1, 2).transpose(1, 2), flat)
            if of_w_hh:
                trace.add_weights(d_w_hh[..., : 2 * H], d_w_hh[..., 2 * H :], flat, bins)
        return d_read, d_w_in.transpose(1, 2), d_w_hh.transpose(1, 2), dh, None, None, None


class Trace:
    """What gated recurrent units with ``reset="before"`` read and made in every bin.

    Of every bin, `read` holds side by side ``r ∘ h``, what comes in beside the state, and the state ``h`` of
    the bin before. The candidate reads the first two of them, the gates the last two, and the state of a bin
    is written where the next one reads it: nothing is copied, and the weight gradients are two products.

    Parameters
    ----------
    read
        Shape ``(direction, time + 1, sequence, H + P + H)``; of the last bin, only the state is made.
    gates, candidates
        Shapes ``(direction, time, sequence, 2 H)``, reset before update, and
        ``(direction, time, sequence, H)``.
    """

    def __init__(self, read: Tensor, gates: Tensor, candidates: Tensor) -> None:
        H = candidates.shape[-1]
        self.read, self.gates, self.candidates = read, gates, candidates
        self.n_hidden, self.n_bins = H, candidates.shape[1]
        self.state, self._reset_state = by_bin(read[..., -H:]), by_bin(read[..., :H])
        self._for_gates, self._for_candidate = self.state, self._reset_state
        self.beside: tuple[Tensor, ...] = ()
        if read.shape[-1] > 2 * H:
            self._for_gates, self._for_candidate = by_bin(read[..., H:]), by_bin(read[..., :-H])
            self.beside = by_bin(read[..., H:-H])
        self._gate, self._candidate = by_bin(gates), by_bin(candidates)
        self._r, self._z = by_bin(gates[..., :H]), by_bin(gates[..., H:])
        self._made: list[Tensor] | None = [] if read.stride(1) == 0 else None
        self._flow: list[Tensor] = []

    @classmethod
    def blank(cls, h0: Tensor, n_bins: int, *, n_beside: int = 0, kept: bool = True) -> Trace:
        """Make room for a run from states `h0` of shape ``(direction, sequence, H)``.

        Parameters
        ----------
        h0
            States ahead of the first bin.
        n_bins, n_beside
            Bins, and width P of what comes in beside the state.
        kept
            Whether the gradient needs everything afterwards; else all bins lie in one place, one after the
            other, and only the states are put by, unless a bin is so small that copies cost more than room.
        """
        D, M, H = h0.shape
        room = [
            h0.new_empty(D, n if in_full else 1, M, width).expand(-1, n, -1, -1)
            for width, n, in_full in (
                (2 * H + n_beside, n_bins + 1, kept or h0.numel() < FEW_VALUES),
                (2 * H, n_bins, kept),
                (H, n_bins, kept),
            )
        ]
        room[0][:, 0, :, -H:].copy_(h0)
        return cls(*room)

    @property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        """What the trace is made of, to be saved."""
        return self.read, self.gates, self.candidates

    @property
    def states(self) -> Tensor:
        """States of all bins. Shape ``(direction, time, sequence, H)``."""
        return self.read[:, 1:, :, -self.n_hidden :] if self._made is None else torch.stack(self._made, 1)

    def steps(
        self,
        given: Tensor,
        w_gates: Tensor,
        w_candidate: Tensor,
        *,
        first: int = 0,
        clip: float | None = None,
    ) -> Iterator[None]:
        """Make one bin after the other, as they are asked for.

        Parameters
        ----------
        given
            What gates and candidate are given besides, bins from `first` on, biases included. Shape
            ``(direction, time, sequence, 3 H)``.
        w_gates, w_candidate
            Weights of what they read. Shapes ``(direction, P + H, 2 H)`` and ``(direction, H + P, H)``.
        first
            Bin to start at.
        clip
            Largest absolute value of a state; None: no limit.
        """
        t, H, few = first, self.n_hidden, self.candidates[:, 0].numel() < FEW_VALUES
        bins, after = slice(first, first + given.shape[1]), slice(first + 1, first + given.shape[1] + 1)
        read = (self._for_gates, self._for_candidate, self._reset_state, self.state)
        room = (self._gate, self._candidate, self._r, self._z)
        for gates, candidate, for_gates, for_candidate, reset_state, h, gate, c, r, z, following in zip(
            by_bin(given[..., : 2 * H]),
            by_bin(given[..., 2 * H :]),
            *(part[bins] for part in (*read, *room)),
            self.state[after],
            strict=True,
        ):
            torch.baddbmm(gates, for_gates, w_gates, out=gate)
            gate.sigmoid_()
            torch.mul(r, h, out=reset_state)
            torch.baddbmm(candidate, for_candidate, w_candidate, out=c)
            if few:
                c.tanh_()
            else:
                tanh_(c)
            made = torch.lerp(c, h, z, out=following)
            if acts(clip, t):
                made.clamp_(-clip, clip)
            if self._made is not None:
                self._made.append(made.clone())
            t += 1
            yield

    def step_back(self, t: int, dh: Tensor, d_given: Tensor, w_gates: Tensor, w_candidate: Tensor) -> Tensor:
        """Bring the gradient through bin `t`.

        Parameters
        ----------
        t
            Bin; the one after it went before.
        dh
            Gradient of its state; changed. Shape ``(direction, sequence, H)``.
        d_given
            Takes the gradient of what was given. Shape ``(direction, sequence, 3 H)``.
        w_gates, w_candidate
            Weights. Shapes ``(direction, 2 H, P + H)`` and ``(direction, H, H + P)``.

        Returns
        -------
        flow
            Gradient of what the bin read, as in `read`; only what came in beside the state and the state are
            of use. Good until the bin before the next is brought through.
        """
        H = self.n_hidden
        if not self._flow:
            self._flow = [torch.empty_like(self.read[:, 0]) for _ in range(2)]
        flow = self._flow[t % 2]
        h, c, r, z = self.state[t], self._candidate[t], self._r[t], self._z[t]
        dr, dz, dc = d_given.chunk(3, -1)
        d_reset, kept = flow[..., :H], flow[..., -H:]
        torch.mul(torch.sub(h, c), dh, out=dz)
        sigmoid_backward(dz, z, grad_input=dz)
        torch.mul(dh, z, out=kept)
        tanh_backward(dh.sub_(kept), c, grad_input=dc)
        torch.bmm(dc, w_candidate, out=flow[..., :-H])
        torch.mul(d_reset, h, out=dr)
        sigmoid_backward(dr, r, grad_input=dr)
        kept.addcmul_(d_reset, r)
        flow[..., H:].baddbmm_(d_given[..., : 2 * H], w_gates)
        return flow

    def add_weights(self, of_gates: Tensor, of_candidate: Tensor, d_given: Tensor, bins: slice) -> None:
        """Add the gradients of the weights, transposed.

        Parameters
        ----------
        of_gates, of_candidate
            Take the sums. Shapes ``(direction, P + H, 2 H)`` and ``(direction, H + P, H)``.
        d_given
            Gradient of what was given to `bins`. Shape ``(direction, bins * sequence, 3 H)``.
        bins
            Bins.
        """
        H = self.n_hidden
        read = self.read[:, bins].flatten(1, 2).transpose(1, 2)
        of_gates.baddbmm_(read[:, H:], d_given[..., : 2 * H])
        of_candidate.baddbmm_(read[:, :-H], d_given[..., 2 * H :])


def by_bin(x: Tensor) -> tuple[Tensor, ...]:
    """Part ``(direction, time, ...)`` by bins; where all bins lie in one place, there is one part to make."""
    return (x[:, 0],) * x.shape[1] if x.stride(1) == 0 else x.unbind(1)


def acts(clip: float | None, t: int) -> TypeGuard[float]:
    """Say whether a limit of states can act in bin `t`.

    States move towards candidates within ±1: beyond the first bin, none is further out than the one before
    or 1, and a limit of 1 or more has nothing left to cut.

    Examples
    --------
    >>> acts(5.0, 0), acts(5.0, 1), acts(0.5, 1), acts(None, 0)
    (True, False, True, False)
    """
    return clip is not None and (t == 0 or clip < 1)


def tanh_(x: Tensor) -> None:
    """``tanh x = 2 σ(2x) − 1`` in place; of many values, it is three times as fast."""
    x.mul_(2).sigmoid_().mul_(2).sub_(1)


def chunks(n_bins: int, values_per_bin: int) -> list[slice]:
    """Share bins out into runs of at most `CACHED_VALUES`, or of one bin.

    Examples
    --------
    >>> chunks(5, CACHED_VALUES // 2)
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    size = max(1, CACHED_VALUES // values_per_bin)
    return [slice(t, min(t + size, n_bins)) for t in range(0, n_bins, size)]
