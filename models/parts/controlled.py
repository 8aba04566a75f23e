"""A generator and the controller that drives it, stepped together (LFADS, Pandarinath et al. 2018).

Bin ``t`` of the trial is made of the generator's state ``h_t``; ``h_0``, before the first bin, comes from the
initial condition. The controller sees the factors of the bin before, so neither can run ahead of the other.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, overload

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from nwb_latents.models.kernels.controlled_loop import Cell, Feedback, Posterior, run_controlled
from nwb_latents.models.kernels.switch import is_fast
from nwb_latents.models.parts.distributions import DiagGaussian, draw_noise, full_precision
from nwb_latents.models.parts.dynamics import GRUCell
from nwb_latents.models.parts.generated import Generated, Noise
from nwb_latents.models.parts.recurrent import GRUParameters, gru_step
from nwb_latents.models.parts.rollout import rollout

if TYPE_CHECKING:
    from nwb_latents.models.parts.priors import SequencePrior
    from nwb_latents.schemas.lfads import LFADSSettings


class ControlledGenerator(nn.Module):
    """Generator, factors, and where there are inferred inputs the controller.

    Parameters
    ----------
    settings
        Sizes.
    n_seen
        Width of the controller's view of the data.

    Examples
    --------
    >>> from nwb_latents.schemas.lfads import LFADSSettings
    >>> small = LFADSSettings(generator_dim=5, ic_dim=3, factor_dim=4, controller_dim=6, input_dim=2)
    >>> made = ControlledGenerator(small, n_seen=8)(torch.zeros(1, 2, 3), 7, seen=torch.zeros(1, 2, 7, 8))
    >>> tuple(made.factors.shape), tuple(made.inputs.shape)
    ((1, 2, 7, 4), (1, 2, 7, 2))
    """

    def __init__(self, settings: LFADSSettings, *, n_seen: int) -> None:
        super().__init__()
        G, C, U = settings.generator_dim, settings.n_inferred, settings.external_inputs
        self.settings = settings
        self.clip, self.feedback = settings.clip, not settings.causal_controller
        self.start = lfads_linear(settings.ic_dim, G)
        self.generator = GRUCell(G, n_in=C + U, reset="before", clip=settings.clip)
        start_gru(self.generator.gru)
        self.read = nn.Parameter(torch.randn(settings.factor_dim, G) / math.sqrt(G))
        self.n_inputs, self.n_external = C, U
        if C:
            n_in = n_seen + (settings.factor_dim if self.feedback else 0)
            self.controller = GRUParameters(n_in, settings.controller_dim)
            start_gru(self.controller)
            self.controller_start = nn.Parameter(torch.zeros(settings.controller_dim))
            bias = settings.input_bias
            self.input_mean = lfads_linear(settings.controller_dim, C, bias=bias)
            self.input_log_variance = (
                None
                if settings.input_prior == "none"
                else lfads_linear(settings.controller_dim, C, bias=bias)
            )

    def factors(self, states: Tensor, keep: Tensor | None = None, *, rows: Tensor | None = None) -> Tensor:
        """Read factors out of states: rows of unit norm, no bias.

        Parameters
        ----------
        states
            Shape ``(..., G)``.
        keep
            Dropout. Shape of `states`; None: none.
        rows
            `unit_rows`, where they are at hand.

        Returns
        -------
        factors
            Shape ``(..., F)``.
        """
        return linear(states if keep is None else states * keep, self.unit_rows() if rows is None else rows)

    def unit_rows(self) -> Tensor:
        """Return the matrix of the factors. Shape ``(F, G)``."""
        length: Tensor = torch.linalg.vector_norm(self.read, dim=1, keepdim=True)
        return self.read / length.clamp_min(1e-12)

    def forward(
        self,
        initial: Tensor,
        n_bins: int,
        *,
        seen: Tensor | None = None,
        external: Tensor | None = None,
        noise: Noise | None = None,
        prior: SequencePrior | None = None,
    ) -> Generated:
        """Generate trials.

        Parameters
        ----------
        initial
            Initial conditions. Shape ``(session, trial, Dic)``.
        n_bins
            Bins.
        seen
            What the controller sees of the data in the bins in which inputs are inferred.
            Shape ``(session, trial, time, ·)``, `n_bins` bins at most; not read without a controller.
        external
            Known inputs. Shape ``(session, trial, n_bins, U)``.
        noise
            Random numbers of this pass; None: none.
        prior
            Carries the inputs on in bins beyond `seen`; None: they are 0.

        Returns
        -------
        generated
            States, factors and inputs of `n_bins` bins.
        """
        noise = noise or Noise()
        h0 = self.start(initial)
        if self.n_inputs and seen is not None:
            n_seen = seen.shape[2]
            if h0.is_cuda or not is_fast():
                return self._stepwise(h0, n_bins, seen, external, noise=noise, prior=prior)
            if n_seen == n_bins:
                return self._at_once(h0, n_bins, seen, external, noise=noise)
            known = None if external is None else external[:, :, :n_seen]
            made = self._at_once(h0, n_seen, seen, known, noise=noise.first_bins(n_seen))
            return self._carried(made, n_bins, external, noise=noise, prior=prior)
        states = self.generator.run(h0, n_bins, external)
        keep = None if noise.keep_state is None else noise.keep_state[..., 1:, :]
        none = states.new_zeros(*states.shape[:-1], 0)
        return Generated(states, self.factors(states, keep), none, None)

    def _stepwise(
        self,
        h0: Tensor,
        n_bins: int,
        seen: Tensor,
        external: Tensor | None,
        *,
        noise: Noise,
        prior: SequencePrior | None = None,
    ) -> Generated:
        """Step controller and generator together, on any device and beyond the bins that are seen."""
        drive = _Drive(self, seen, external, noise, prior)
        path = rollout(self.generator, h0, n_bins + 1, step_hook=drive)
        factors = torch.stack([*drive.factors[1:], drive.read(n_bins, path.z[..., -1, :])], -2)
        return Generated(path.z[..., 1:, :], factors, torch.stack(drive.inputs, -2), drive.posterior())

    def _at_once(
        self, h0: Tensor, n_bins: int, seen: Tensor, external: Tensor | None, *, noise: Noise
    ) -> Generated:
        """Do the same in one loop that has its gradient written out; inputs are inferred in every bin."""
        lead, C = h0.shape[:2], self.n_inputs
        feedback = None
        if self.feedback:
            keep = noise.keep_controller
            keep_factors = None if keep is None else _time_major(keep[..., seen.shape[-1] :])
            feedback = Feedback(self.unit_rows(), _time_major(noise.keep_state), keep_factors)
        driven = run_controlled(
            self._controller_cell(seen, noise),
            self._generator_cell(h0, n_bins, external),
            self._posterior(noise),
            feedback,
            clip=self.clip,
        )

        def trial_major(x: Tensor) -> Tensor:
            return x.transpose(0, 1).reshape(*lead, n_bins, -1)

        states, moments = trial_major(driven.states), full_precision(trial_major(driven.moments))
        if driven.factors is None:
            keep_state = None if noise.keep_state is None else noise.keep_state[:, :, 1:]
            factors = self.factors(states, keep_state)
        else:
            factors = trial_major(driven.factors)
        mean = moments[..., :C]
        var = torch.zeros_like(mean) if self.input_log_variance is None else moments[..., C:].exp()
        return Generated(states, factors, trial_major(driven.inputs), DiagGaussian(mean, var))

    def _carried(
        self,
        made: Generated,
        n_bins: int,
        external: Tensor | None,
        *,
        noise: Noise,
        prior: SequencePrior | None,
    ) -> Generated:
        """Run on after the bins in which inputs were inferred, under what the prior makes of the last."""
        n_seen, carried = made.states.shape[2], [made.inputs[:, :, -1]]
        for _ in range(n_bins - n_seen):
            last = carried[-1]
            carried.append(torch.zeros_like(last) if prior is None else prior.expected_next(last))
        inputs = torch.stack(carried[1:], 2)
        driving = inputs if external is None else torch.cat([inputs, external[:, :, n_seen:]], -1)
        states = self.generator.run(made.states[:, :, -1], n_bins - n_seen, driving)
        keep = None if noise.keep_state is None else noise.keep_state[:, :, n_seen + 1 :]
        pairs = ((made.states, states), (made.factors, self.factors(states, keep)), (made.inputs, inputs))
        joined = [torch.cat(pair, 2) for pair in pairs]
        return Generated(joined[0], joined[1], joined[2], made.posterior)

    def _controller_cell(self, seen: Tensor, noise: Noise) -> Cell:
        n, weights = seen.shape[-1], self.controller()
        if noise.keep_controller is not None:
            seen = seen * noise.keep_controller[..., :n]
        w_seen, w_factors = weights.w_ih[0, :, :n], weights.w_ih[0, :, n:]
        given = linear(seen, w_seen, weights.b_ih[0] + weights.b_hh[0])
        start = self.controller_start.expand(seen.shape[0] * seen.shape[1], -1)
        return Cell(_time_major(given), start, w_factors, weights.w_hh[0])

    def _generator_cell(self, h0: Tensor, n_bins: int, external: Tensor | None) -> Cell:
        weights, C = self.generator.gru(), self.n_inputs
        bias, h0 = weights.b_ih[0] + weights.b_hh[0], h0.flatten(0, 1)
        given = bias.expand(n_bins, len(h0), -1)
        if external is not None:
            given = _time_major(linear(external, weights.w_ih[0, :, C:], bias))
        return Cell(given, h0, weights.w_ih[0, :, :C], weights.w_hh[0])

    def _posterior(self, noise: Noise) -> Posterior:
        heads = [self.input_mean, *([] if self.input_log_variance is None else [self.input_log_variance])]
        weight = torch.cat([head.weight for head in heads])
        bias = weight.new_zeros(len(weight))
        if self.settings.input_bias:
            bias = torch.cat([head.bias for head in heads])
        return Posterior(weight, bias, _time_major(noise.inputs))

    def draw(
        self, initial: Tensor, n_bins: int, generator: torch.Generator | None, *, dropout: bool = False
    ) -> Noise:
        """Draw the random numbers of one pass.

        Parameters
        ----------
        initial
            Initial conditions, for shape, device and precision. Shape ``(session, trial, Dic)``.
        n_bins
            Bins.
        generator
            Source; None: no noise.
        dropout
            Whether there is dropout too.

        Returns
        -------
        noise
            Nothing for what is not sampled, because it has no prior.
        """
        if generator is None:
            return Noise()
        lead = initial.shape[:2]
        options: dict[str, Any] = {
            "generator": generator, "device": initial.device, "dtype": initial.dtype
        }  # fmt: skip
        settings, C = self.settings, self.n_inputs
        noise = Noise()
        if settings.ic_prior != "none":
            noise = noise._replace(initial=draw_noise(initial.shape, settings.initial_noise_df, **options))
        if C and self.input_log_variance is not None:
            inputs = draw_noise((*lead, n_bins, C), settings.input_noise_df, **options)
            noise = noise._replace(inputs=inputs)
        p = settings.dropout if dropout else 0.0
        if p:
            keep = torch.rand(*lead, n_bins + 1, settings.generator_dim, **options) >= p
            noise = noise._replace(keep_state=keep.to(initial.dtype) / (1 - p))
        if p and C:
            keep = torch.rand(*lead, n_bins, self.controller.w_ih.shape[-1], **options) >= p
            noise = noise._replace(keep_controller=keep.to(initial.dtype) / (1 - p))
        return noise


class _Drive:
    """The controller as a step hook: from the state of the bin before to the input of a bin."""

    def __init__(
        self,
        owner: ControlledGenerator,
        seen: Tensor,
        external: Tensor | None,
        noise: Noise,
        prior: SequencePrior | None,
    ) -> None:
        self.owner, self.seen, self.external, self.noise, self.prior = owner, seen, external, noise, prior
        self.weights, self.rows = owner.controller(), owner.unit_rows()
        self.k = owner.controller_start.expand(*seen.shape[:2], -1)
        self.factors: list[Tensor] = []
        self.inputs: list[Tensor] = []
        self.means: list[Tensor] = []
        self.variances: list[Tensor] = []

    def __call__(self, t: int, h: Tensor) -> Tensor:
        """Return the input of bin ``t``, the first being 1; `h` is the state of bin ``t − 1``."""
        self.factors.append(self.read(t - 1, h))
        u = self._infer(t - 1) if t <= self.seen.shape[2] else self._carry(h)
        self.inputs.append(u)
        return u if self.external is None else torch.cat([u, self.external[:, :, t - 1]], -1)

    def read(self, t: int, h: Tensor) -> Tensor:
        """Return the factors of bin ``t``."""
        keep = self.noise.keep_state
        return self.owner.factors(h, None if keep is None else keep[:, :, t], rows=self.rows)

    def posterior(self) -> DiagGaussian:
        """Return the posterior of the inferred bins."""
        return DiagGaussian(torch.stack(self.means, -2), torch.stack(self.variances, -2))

    def _infer(self, row: int) -> Tensor:
        owner = self.owner
        x = self.seen[:, :, row]
        if owner.feedback:
            x = torch.cat([x, self.factors[-1]], -1)
        if self.noise.keep_controller is not None:
            x = x * self.noise.keep_controller[:, :, row]
        self.k = gru_step(x, self.k, self.weights, reset="before", clip=owner.clip)
        mean = full_precision(owner.input_mean(self.k))
        self.means.append(mean)
        if owner.input_log_variance is None:
            self.variances.append(torch.zeros_like(mean))
            return mean
        var = full_precision(owner.input_log_variance(self.k)).exp()
        self.variances.append(var)
        if self.noise.inputs is None:
            return mean
        return torch.addcmul(mean, var.sqrt(), self.noise.inputs[:, :, row])

    def _carry(self, h: Tensor) -> Tensor:
        if self.prior is None or not self.inputs:
            return h.new_zeros(*h.shape[:-1], self.owner.n_inputs)
        return self.prior.expected_next(self.inputs[-1])


@overload
def _time_major(x: Tensor) -> Tensor: ...
@overload
def _time_major(x: None) -> None: ...
@overload
def _time_major(x: Tensor | None) -> Tensor | None: ...
def _time_major(x: Tensor | None) -> Tensor | None:
    """Turn ``(session, trial, time, ·)`` into ``(time, sequence, ·)``."""
    return None if x is None else x.flatten(0, 1).transpose(0, 1)


def lfads_linear(n_in: int, n_out: int, *, bias: bool = True) -> nn.Linear:
    """Return a linear layer with weights ``N(0, 1/n_in)`` and no bias at the start."""
    layer = nn.Linear(n_in, n_out, bias=bias)
    nn.init.normal_(layer.weight, std=1 / math.sqrt(n_in))
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


def start_gru(gru: GRUParameters) -> None:
    """Set weights to ``N(0, 1/fan_in)``, biases to 0 and those of the update gate to 1, as LFADS does."""
    n_hidden = gru.w_hh.shape[-1]
    with torch.no_grad():
        for weight in (gru.w_ih, gru.w_hh):
            weight.normal_(std=1 / math.sqrt(max(weight.shape[-1], 1)))
        gru.b_ih.zero_()
        gru.b_hh.zero_()
        gru.b_ih[:, n_hidden : 2 * n_hidden] += 1
