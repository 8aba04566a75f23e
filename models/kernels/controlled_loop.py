"""Time loop of a controller and the generator it drives, on a CPU, with the gradient written out.

Products that need no state of the bin before (what the controller sees of the data, external inputs) come
ready made, and gradients of weights are one product each after the loop; within it, neither cell copies.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, cast

import torch
from torch import Tensor

from nwb_latents.models.kernels.compiled import kernels_for
from nwb_latents.models.kernels.gru_loops import Trace, acts

if TYPE_CHECKING:
    from collections.abc import Sequence


class Cell(NamedTuple):
    """A gated recurrent unit as the loop wants it.

    Attributes
    ----------
    given
        What gates and candidate (in the order reset, update, candidate) are given from outside the loop,
        biases included. Shape ``(time, sequence, 3 H)``.
    h0
        State ahead of the first bin. Shape ``(sequence, H)``.
    w_beside, w_hh
        Weights of what comes from inside the loop beside the state, P wide, and of the state. Shapes
        ``(3 H, P)`` and ``(3 H, H)``.
    """

    given: Tensor
    h0: Tensor
    w_beside: Tensor
    w_hh: Tensor

    def joined(self) -> tuple[Tensor, Tensor]:
        """Return the weights as the bins are read: of the gates, beside first, and of the candidate, last.

        Shapes ``(2 H, P + H)`` and ``(H, H + P)``.
        """
        n = 2 * self.h0.shape[-1]
        return (
            torch.cat([self.w_beside[:n], self.w_hh[:n]], 1),
            torch.cat([self.w_hh[n:], self.w_beside[n:]], 1),
        )


class Posterior(NamedTuple):
    """From the controller's state to the inputs.

    Attributes
    ----------
    weight, bias
        Of the mean and, where inputs have a variance, of its logarithm. Shapes ``(C or 2 C, K)`` and
        ``(C or 2 C,)``.
    noise
        Standard normal. Shape ``(time, sequence, C)``; None: inputs are means.
    """

    weight: Tensor
    bias: Tensor
    noise: Tensor | None


class Feedback(NamedTuple):
    """From the generator's state to the factors that the controller sees in the next bin.

    Attributes
    ----------
    rows
        Matrix of the factors. Shape ``(F, G)``.
    keep_state, keep_factors
        Dropout of the states that factors read and of the factors that the controller sees. Shapes
        ``(time + 1, sequence, G)`` and ``(time, sequence, F)``; None: none.
    """

    rows: Tensor
    keep_state: Tensor | None
    keep_factors: Tensor | None


class Driven(NamedTuple):
    """What came of a run.

    Attributes
    ----------
    states
        States of the generator. Shape ``(time, sequence, G)``.
    moments
        Means and log variances of the inputs, side by side. Shape ``(time, sequence, C or 2 C)``.
    inputs
        Shape ``(time, sequence, C)``.
    factors
        Shape ``(time, sequence, F)``; None where they were not kept on the way.
    """

    states: Tensor
    moments: Tensor
    inputs: Tensor
    factors: Tensor | None


def run_controlled(
    controller: Cell,
    generator: Cell,
    posterior: Posterior,
    feedback: Feedback | None = None,
    *,
    clip: float | None = None,
) -> Driven:
    """Step a controller and a generator together.

    In every bin the controller is shown the factors of the bin before (with `feedback`), an input is drawn
    from what it makes of them, and the generator takes a step with that input.

    Parameters
    ----------
    controller, generator
        Cells; what comes in beside the state are factors (nothing without `feedback`) and inputs.
    posterior
        What inputs are drawn from.
    feedback
        What the controller sees of the generator; None: nothing.
    clip
        Largest absolute value of a state; None: no limit.

    Returns
    -------
    driven
        States, inputs and their moments.

    Examples
    --------
    >>> controller = Cell(torch.zeros(7, 2, 9), torch.zeros(2, 3), torch.zeros(9, 0), torch.zeros(9, 3))
    >>> generator = Cell(torch.zeros(7, 2, 15), torch.zeros(2, 5), torch.zeros(15, 1), torch.zeros(15, 5))
    >>> driven = run_controlled(controller, generator, Posterior(torch.zeros(2, 3), torch.zeros(2), None))
    >>> tuple(driven.states.shape), tuple(driven.inputs.shape)
    ((7, 2, 5), (7, 2, 1))
    """
    drops = feedback is not None and (feedback.keep_state is not None or feedback.keep_factors is not None)
    if not drops:
        rows = None if feedback is None else feedback.rows
        kernels = kernels_for(len(controller.h0), *controller, *generator, *posterior, rows)
        if kernels is not None:
            return Driven(*kernels.controlled(controller, generator, posterior, feedback, clip=clip))
    made = ControlledLoop.apply(  # type: ignore[no-untyped-call]
        *controller, *generator, *posterior, *(feedback or (None, None, None)), clip, torch.is_grad_enabled()
    )
    return Driven(*cast("tuple[Tensor, ...]", made))


class ControlledLoop(torch.autograd.Function):
    """`run_controlled` on the fields of its arguments, one after the other."""

    @staticmethod
    @torch.amp.custom_fwd(device_type="cpu", cast_inputs=torch.float32)  # type: ignore[untyped-decorator]
    def forward(ctx: Any, *arguments: Any) -> tuple[Tensor | None, ...]:
        """Return the fields of `Driven`."""
        *fields, clip, recorded = arguments
        controller, generator, posterior, feedback = _named(fields)
        T, M, _ = controller.given.shape
        kept = recorded and any(ctx.needs_input_grad)
        k, g = (
            Trace.blank(cell.h0[None], T, n_beside=cell.w_beside.shape[1], kept=kept)
            for cell in (controller, generator)
        )
        moments = k.read.new_empty(1, T, M, len(posterior.weight))
        links = _Links(k, g, posterior, feedback, moments=moments)
        k_steps, g_steps = (
            trace.steps(cell.given[None], *(w.T[None] for w in cell.joined()), clip=clip)
            for trace, cell in ((k, controller), (g, generator))
        )
        for t in range(T):
            links.feed_back(t)
            next(k_steps)
            links.draw(t)
            next(g_steps)
        links.feed_back(T)
        ctx.save_for_backward(*fields, links.moments, links.factors, *k.tensors, *g.tensors)
        ctx.set_materialize_grads(False)
        ctx.clip = clip
        factors = None if links.factors is None else links.factors[0, 1:]
        return g.states[0], *links.drawn(), factors

    @staticmethod
    @torch.amp.custom_bwd(device_type="cpu")  # type: ignore[untyped-decorator]
    def backward(ctx: Any, *upstream: Tensor | None) -> tuple[Tensor | None, ...]:
        """Return the gradients of the arguments of `forward`."""
        *fields, moments, factors = ctx.saved_tensors[:-6]
        controller, generator, posterior, feedback = _named(fields)
        k, g = Trace(*ctx.saved_tensors[-6:-3]), Trace(*ctx.saved_tensors[-3:])
        links = _Links(k, g, posterior, feedback, moments=moments, factors=factors)
        T, M = k.n_bins, k.read.shape[2]
        d_states, d_moments, d_inputs, d_factors = (None if d is None else d[None] for d in upstream)
        links.start_back(d_moments, d_factors)
        k_given, g_given = (each.read.new_empty(1, T, M, 3 * each.n_hidden) for each in (k, g))
        k_weights, g_weights = ([w[None] for w in cell.joined()] for cell in (controller, generator))
        dk, dh = torch.zeros_like(k.state[0]), torch.zeros_like(g.state[0])
        for t in range(T - 1, -1, -1):
            if d_states is not None:
                dh.add_(d_states[:, t])
            links.feed_back_back(t + 1, dh)
            if acts(ctx.clip, t):
                dh.masked_fill_(g.state[t + 1].abs() >= ctx.clip, 0)
            flow = g.step_back(t, dh, g_given[:, t], *g_weights)
            du, dh = flow[..., g.n_hidden : -g.n_hidden], flow[..., -g.n_hidden :]
            if d_inputs is not None:
                du.add_(d_inputs[:, t])
            links.draw_back(t, du, dk)
            if acts(ctx.clip, t):
                dk.masked_fill_(k.state[t + 1].abs() >= ctx.clip, 0)
            flow = k.step_back(t, dk, k_given[:, t], *k_weights)
            dk = flow[..., -k.n_hidden :]
            links.take_feedback(t, flow[..., k.n_hidden : -k.n_hidden])
        links.feed_back_back(0, dh)
        needs = ctx.needs_input_grad
        return (
            k_given[0], dk[0], *_weight_gradients(k, k_given, wanted=needs[2] or needs[3]),
            g_given[0], dh[0], *_weight_gradients(g, g_given, wanted=needs[6] or needs[7]),
            *links.weight_gradients(),
            None, None,
        )  # fmt: skip


class _Links:
    """What links the two cells: factors fed back to the controller, inputs drawn for the generator."""

    def __init__(
        self,
        k: Trace,
        g: Trace,
        posterior: Posterior,
        feedback: Feedback | None,
        *,
        moments: Tensor,
        factors: Tensor | None = None,
    ) -> None:
        C, kept = g.read.shape[-1] - 2 * g.n_hidden, g.read.stride(1) > 0
        self.k, self.g, self.posterior, self.feedback = k, g, posterior, feedback
        self.moments, self.n_inputs = moments, C
        self.weight, self.bias = posterior.weight[None], posterior.bias
        self._moments = moments.unbind(1)
        if posterior.noise is None:
            self._to_input, self._input_bias = self.weight[:, :C].transpose(1, 2), self.bias[:C]
        else:
            self._noise = posterior.noise[None].unbind(1)
            self._means, self._logs = moments[..., :C].unbind(1), moments[..., C:].unbind(1)
            self._spread = torch.empty_like(self._means[0])
        self.factors, self._factors = factors, k.beside
        if feedback is None:
            return
        self._rows = feedback.rows[None]
        self._columns = self._rows.transpose(1, 2)
        if kept and self.factors is None:
            K, F = k.n_hidden, len(feedback.rows)
            self.factors = k.read[..., K:-K]
            if feedback.keep_factors is not None:
                self.factors = k.read.new_empty(*k.read.shape[:3], F)
        if self.factors is not None:
            self._factors = self.factors.unbind(1)

    def feed_back(self, t: int) -> None:
        """Show the controller, in bin `t`, the factors of the bin before."""
        if self.feedback is None:
            return
        _, keep_state, keep_factors = self.feedback
        h = self.g.state[t] if keep_state is None else self.g.state[t] * keep_state[t]
        torch.bmm(h, self._columns, out=self._factors[t])
        if keep_factors is not None and t < self.k.n_bins:
            torch.mul(self._factors[t], keep_factors[t], out=self.k.beside[t])

    def draw(self, t: int) -> None:
        """Draw the input of bin `t`."""
        k, u = self.k.state[t + 1], self.g.beside[t]
        if self.posterior.noise is None:
            torch.baddbmm(self._input_bias, k, self._to_input, out=u)
            return
        torch.baddbmm(self.bias, k, self.weight.transpose(1, 2), out=self._moments[t])
        torch.mul(self._logs[t], 0.5, out=self._spread).exp_()
        torch.addcmul(self._means[t], self._spread, self._noise[t], out=u)

    def drawn(self) -> tuple[Tensor, Tensor]:
        """Return moments and inputs of all bins."""
        C, noise = self.n_inputs, self.posterior.noise
        if noise is None:
            torch.matmul(self.k.states, self.weight.transpose(1, 2), out=self.moments)
            moments = self.moments.add_(self.bias)[0]
            return moments, moments[..., :C].clone()
        moments = self.moments[0]
        return moments, torch.addcmul(moments[..., :C], (moments[..., C:] / 2).exp(), noise)

    def start_back(self, d_moments: Tensor | None, d_factors: Tensor | None) -> None:
        """Take the gradients that come from outside."""
        C, noise = self.n_inputs, self.posterior.noise
        self.d_moments = torch.zeros_like(self.moments) if d_moments is None else d_moments.clone()
        self._d_means = self.d_moments[..., :C].unbind(1)
        if noise is not None:
            # The input moves with the log variance by half of what the noise made of it.
            self._slopes = ((self.moments[..., C:] / 2).exp() * noise / 2).unbind(1)
            self._d_logs = self.d_moments[..., C:].unbind(1)
        if self.factors is not None:
            self.d_factors = torch.zeros_like(self.factors)
            if d_factors is not None:
                self.d_factors[:, 1:] = d_factors

    def draw_back(self, t: int, du: Tensor, dk: Tensor) -> None:
        """Bring the gradient of the input of bin `t` to the controller's state."""
        self._d_means[t].add_(du)
        if self.posterior.noise is not None:
            self._d_logs[t].addcmul_(du, self._slopes[t])
        dk.baddbmm_(self.d_moments[:, t], self.weight)

    def take_feedback(self, t: int, d_factors: Tensor) -> None:
        """Take the gradient of the factors that the controller was shown in bin `t`."""
        if self.feedback is None:
            return
        keep = self.feedback.keep_factors
        if keep is None:
            self.d_factors[:, t].add_(d_factors)
        else:
            self.d_factors[:, t].addcmul_(d_factors, keep[t])

    def feed_back_back(self, t: int, dh: Tensor) -> None:
        """Bring the gradient of the factors shown in bin `t` to the generator's state before it."""
        if self.feedback is None:
            return
        keep = self.feedback.keep_state
        if keep is None:
            dh.baddbmm_(self.d_factors[:, t], self._rows)
        else:
            dh.addcmul_(torch.bmm(self.d_factors[:, t], self._rows), keep[t])

    def weight_gradients(self) -> tuple[Tensor | None, ...]:
        """Return the gradients of the fields of `Posterior` and `Feedback`."""
        flat = self.d_moments.flatten(0, 2)
        weight, bias = flat.T @ self.k.states.flatten(0, 2), flat.sum(0)
        if self.feedback is None:
            return weight, bias, None, None, None, None
        h = self.g.read[0, :, :, -self.g.n_hidden :]
        if self.feedback.keep_state is not None:
            h = h * self.feedback.keep_state
        rows = self.d_factors.flatten(0, 2).T @ h.flatten(0, 1)
        return weight, bias, None, rows, None, None


def _weight_gradients(trace: Trace, d_given: Tensor, *, wanted: bool) -> tuple[Tensor | None, Tensor | None]:
    """Return the gradients of the weights of what comes beside the state, and of the state."""
    if not wanted:
        return None, None
    H, width = trace.n_hidden, trace.read.shape[-1] - trace.n_hidden
    of_gates, of_candidate = d_given.new_zeros(1, width, 2 * H), d_given.new_zeros(1, width, H)
    trace.add_weights(of_gates, of_candidate, d_given.flatten(1, 2), slice(trace.n_bins))
    gates, candidate = of_gates[0].T, of_candidate[0].T
    beside = torch.cat([gates[:, :-H], candidate[:, H:]])
    return beside, torch.cat([gates[:, -H:], candidate[:, :H]])


def _named(fields: Sequence[Any]) -> tuple[Cell, Cell, Posterior, Feedback | None]:
    feedback = None if fields[11] is None else Feedback(*fields[11:])
    return Cell(*fields[:4]), Cell(*fields[4:8]), Posterior(*fields[8:11]), feedback
