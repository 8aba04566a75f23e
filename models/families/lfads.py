"""Latent factor analysis via dynamical systems (LFADS; Pandarinath et al., Nature Methods 2018).

A recurrent generator makes a trial from an inferred initial condition and, where there is a controller, from
inferred inputs. Variants of the family (plain autoencoder, other likelihoods and priors, stitched sessions)
are settings; what is hidden from the encoders and what is scored is the mask's business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from nwb_latents.models.batching.views import View, encoder_input, weighted
from nwb_latents.models.interface import Output, Term
from nwb_latents.models.losses.likelihoods import likelihood_of
from nwb_latents.models.losses.schedules import constant, linear_ramp
from nwb_latents.models.parts.controlled import ControlledGenerator, lfads_linear, start_gru
from nwb_latents.models.parts.distributions import DiagGaussian, full_precision
from nwb_latents.models.parts.encoders import GRUEncoder, encode_together
from nwb_latents.models.parts.generated import Generated, Noise
from nwb_latents.models.parts.priors import (
    AR1,
    EachBin,
    Learned,
    Null,
    Prior,
    PriorContext,
    SequencePrior,
    StudentT,
)
from nwb_latents.models.parts.session_maps import ReadIn, ReadOut, SessionNames, checked_units
from nwb_latents.models.parts.stitched import StitchedModel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nwb_latents.models.batching.tensors import Batch
    from nwb_latents.models.losses.schedules import Schedule
    from nwb_latents.models.parts.principal_regression import RegressedMap
    from nwb_latents.schemas.lfads import LFADSSettings

RATE_SAMPLES = 50
"""Samples whose rates are averaged, as in the publications."""

SAMPLED_VALUES = 1 << 24
"""Values of the largest array in one pass of posterior averaging: 64 MiB in single precision."""


class LFADS(StitchedModel):
    """Generator, encoders of initial condition and inferred inputs, read-in and read-out per session.

    Parameters
    ----------
    settings
        Sizes and choices.
    units
        Session id → number of units that are scored; the encoders may be shown the first of them only.

    References
    ----------
    Pandarinath et al. 2018, online methods; Sedler and Pandarinath 2023 (lfads-torch) for the variants.

    Examples
    --------
    >>> from nwb_latents.models.batching.tensors import TrialTensors, pack
    >>> from nwb_latents.schemas.lfads import LFADSSettings
    >>> small = LFADSSettings(generator_dim=8, ic_dim=4, factor_dim=3, encoder_dim=5, controller_dim=5)
    >>> model = LFADS(small, {"a": 3, "b": 5})
    >>> batch = pack([TrialTensors("a", torch.zeros(4, 6, 3)), TrialTensors("b", torch.zeros(2, 6, 5))])
    >>> tuple(model.predict(batch).mean.shape)
    (2, 4, 6, 5)
    """

    def __init__(self, settings: LFADSSettings, units: Mapping[str, int]) -> None:
        super().__init__()
        n_units = checked_units(units)
        self.settings = settings
        self.names = SessionNames(list(units))
        self.read_in = ReadIn(n_units, settings.read_in)
        if not settings.read_in.learned:
            self.read_in.weight.requires_grad_(requires_grad=False)
            self.read_in.bias.requires_grad_(requires_grad=False)
        self.ic_encoder = _encoder(settings, settings.encoder_dim)
        self.ic_mean = lfads_linear(self.ic_encoder.width, settings.ic_dim)
        self.ic_log_variance = (
            None if settings.ic_prior == "none" else lfads_linear(self.ic_encoder.width, settings.ic_dim)
        )
        self.ic_prior = _ic_prior(settings)
        self.controller_encoder: GRUEncoder | None = None
        self.input_prior: SequencePrior | None = None
        if settings.n_inferred:
            width = settings.controller_encoder_width
            self.controller_encoder = _encoder(settings, width, bidirectional=not settings.causal_controller)
            self.input_prior = _input_prior(settings)
        n_seen = self.controller_encoder.width if self.controller_encoder else 0
        self.decoder = ControlledGenerator(settings, n_seen=n_seen)
        self.likelihood = likelihood_of(settings.likelihood, n_units, rate_link=settings.rate_link)
        self.read_out = ReadOut(n_units, n_factors=settings.factor_dim, n_params=self.likelihood.n_params)

    @property
    def rate_samples(self) -> int:
        """50 as in the publications, and none of a plain autoencoder, which has nothing to sample."""
        inferred = self.settings.n_inferred and self.settings.input_prior != "none"
        return RATE_SAMPLES if inferred or self.settings.ic_prior != "none" else 0

    @property
    def computes_trials_apart(self) -> bool:
        """True: trials share parameters, and nothing that is inferred."""
        return True

    def regressed_width(self) -> int | None:
        """Return the width of the per-session maps, where they start by regression."""
        return self.settings.read_in.hidden if self.settings.read_in.start == "pcr" else None

    def start_maps(self, maps: Mapping[str, RegressedMap]) -> None:
        """Let read-in and read-out start where principal-component regression puts them.

        The read-out follows only where factors are as wide as the read-in and the likelihood has one
        parameter per unit. Its bias is that of `start_from`.

        Parameters
        ----------
        maps
            Session id → its map, as wide as ``read_in.hidden``.
        """
        settings = self.settings
        if settings.read_in.hidden == settings.read_in.width:
            nn.init.eye_(self.read_in.head.weight)
        paired = settings.factor_dim == settings.read_in.hidden and self.likelihood.n_params == 1
        for name, found in maps.items():
            row, kind = self.names.position[name], self.read_in.head.weight.dtype
            self.read_in.weight.set_row(row, found.weight.to(kind))
            self.read_in.bias.set_row(row, found.bias.to(kind))
            if paired:
                self.read_out.weight.set_row(row, found.back[:, None].to(kind))

    def forward(
        self, batch: Batch, view: View, step: int = 0, generator: torch.Generator | None = None
    ) -> Output:
        """Return the evidence lower bound of a batch, one sample of initial condition and inputs.

        ``nll + κ(s) [w_ic KL(q(g_0) || p(g_0)) + w_co Σ_t (log q(u_t) − log p(u_t | u_{t−1}))] + λ(s) L2``,
        with the inputs that drove the generator in the KL. Where `view` scores bins that were not recorded to
        be shown, the controller goes on without a view of the data; where it is cut, inputs go on at their
        prior mean, as in a forecast, and only those before have a KL.

        Parameters
        ----------
        batch
            The sessions of a step.
        view
            What is shown and scored.
        step
            Training step.
        generator
            Source of samples and dropout; None: posterior means, no dropout.

        Returns
        -------
        output
            Terms ``nll``, ``kl_initial``, with inferred inputs ``kl_input``, and ``l2``, each summed over
            sessions; all but the last are means over the trials of a session. ``aux``: mean and variance of
            ``g_0`` and the inferred inputs.

        Raises
        ------
        ValueError
            If the batch has no external inputs of the width the settings name.
        """
        del step
        sessions = self.names.index(batch.sessions, batch.y.device)
        n_bins = view.target.shape[2]
        q, seen = self._encode(view.x, sessions)
        prior = self.input_prior
        if view.n_shown is None:
            seen, prior = _padded(seen, n_bins), None
        noise = self.decoder.draw(q.mean, n_bins, generator, dropout=self.training)
        initial = q.mean if noise.initial is None else torch.addcmul(q.mean, q.var.sqrt(), noise.initial)
        external = self._external(batch, n_bins)
        made = self.decoder(initial, n_bins, seen=seen, external=external, noise=noise, prior=prior)
        params = self.read_out(made.factors, sessions, view.target.shape[-1])
        nll = weighted(self.likelihood.nll(params, view.target, sessions), view).sum((2, 3))
        trial = batch.trial_mask / batch.n_trials[:, None]
        terms = [
            Term("nll", (nll * trial).sum()),
            Term(
                "kl_initial",
                (self.ic_prior.penalty(q, initial, PriorContext()) * trial).sum(),
                self._kl_weight(self.settings.kl_initial_weight),
            ),
        ]
        if made.posterior is not None and self.input_prior is not None:
            n_inferred = made.posterior.mean.shape[2]
            ctx = PriorContext(weight=batch.time_mask[:, :, :n_inferred].to(made.inputs.dtype))
            kl = self.input_prior.penalty(made.posterior, made.inputs[:, :, :n_inferred], ctx)
            terms.append(Term("kl_input", (kl * trial).sum(), self._kl_weight(self.settings.kl_input_weight)))
        steps = self.settings.l2_warmup_steps
        ramp = linear_ramp(0, steps) if steps else constant(1.0)
        terms.append(Term("l2", len(batch.sessions) * self._l2(), ramp))
        return self._output(params, made, q, terms=tuple(terms))

    def predict(
        self,
        batch: Batch,
        *,
        n_samples: int = 0,
        generator: torch.Generator | None = None,
        embedding: DiagGaussian | None = None,
    ) -> Output:
        """Reconstruct a batch, ``batch.target``'s bins and units from ``batch.y``.

        Posterior averaging runs the encoders once and all samples as further trials of one batch.

        Parameters
        ----------
        batch
            What to reconstruct; only ``batch.y`` and ``batch.ext`` are read.
        n_samples
            Samples averaged (50 in the publications); 0: the posterior mean.
        generator
            Source of the samples.
        embedding
            Not used: there is none.

        Returns
        -------
        output
            No terms. With samples, the average of each of them.
        """
        del embedding
        sessions = self.names.index(batch.sessions, batch.y.device)
        n_bins, n_units = batch.target.shape[2:]
        q, seen = self._encode(encoder_input(batch), sessions)
        seen = _padded(seen, n_bins)
        external = self._external(batch, n_bins)
        if not n_samples or generator is None:
            made = self.decoder(q.mean, n_bins, seen=seen, external=external)
            return self._output(self.read_out(made.factors, sessions, n_units), made, q)
        widest = max(self.settings.generator_dim, n_units * self.likelihood.n_params)
        at_once = max(1, SAMPLED_VALUES // (q.mean[..., 0].numel() * n_bins * widest))
        sums: list[Tensor] = []
        for first in range(0, n_samples, at_once):
            n = min(at_once, n_samples - first)
            draws = [self.decoder.draw(q.mean, n_bins, generator) for _ in range(n)]
            parts = self._sampled(q, seen, external, draws, sessions, n_bins=n_bins, n_units=n_units)
            sums = [old + new for old, new in zip(sums, parts, strict=True)] if sums else parts
        params, mean, factors, states, inputs = (part / n_samples for part in sums)
        aux = {"inputs": inputs, "ic_mean": q.mean, "ic_var": q.var}
        return Output(params=params, mean=mean, factors=factors, latents=states, aux=aux)

    def forecast(self, batch: Batch, t0: int, k: int, *, embedding: DiagGaussian | None = None) -> Output:
        """Forecast bins ``t0 … t0 + k − 1``: encode the first `t0` bins and let the generator run on.

        Inferred inputs go on at their prior mean: ``α u`` of the bin before under an AR(1) prior.

        Parameters
        ----------
        batch
            Trials; only their first `t0` bins and ``batch.ext`` are read.
        t0
            Bins the encoders see.
        k
            Bins forecast.
        embedding
            Not used: there is none.

        Returns
        -------
        output
            Of the `k` forecast bins, no terms.

        Raises
        ------
        ValueError
            If `t0` is not between 1 and the number of bins, `k` is below 1, or external inputs do not reach.
        """
        del embedding
        batch.check_forecast(t0, k)
        sessions = self.names.index(batch.sessions, batch.y.device)
        q, seen = self._encode(encoder_input(batch, t0), sessions)
        made = self.decoder(
            q.mean, t0 + k, seen=seen, external=self._external(batch, t0 + k), prior=self.input_prior
        )
        states, factors, inputs = (part[:, :, t0:] for part in made[:3])
        ahead = Generated(states, factors, inputs, None)
        params = self.read_out(ahead.factors, sessions, batch.target.shape[-1])
        return self._output(params, ahead, q)

    def _encode(self, x: Tensor, sessions: Tensor) -> tuple[DiagGaussian, Tensor | None]:
        """Posterior of the initial condition, and what the controller sees in each bin."""
        shared = self.read_in(x, sessions)
        encoders = [self.ic_encoder, *([self.controller_encoder] if self.controller_encoder else [])]
        encodings = encode_together(encoders, shared)
        last = encodings[0].last
        mean = full_precision(self.ic_mean(last))
        var = torch.zeros_like(mean)
        if self.ic_log_variance is not None:
            var = full_precision(self.ic_log_variance(last)).exp() + self.settings.ic_min_variance
        q = DiagGaussian(mean, var)
        if self.controller_encoder is None:
            return q, None
        states = encodings[1].seq
        T, H, lag = states.shape[2], self.settings.controller_encoder_width, self.settings.controller_lag
        past = pad(states[..., :H], (0, 0, lag, 0))[:, :, :T]
        future = pad(states[..., H:], (0, 0, 0, lag))[:, :, lag:]
        return q, torch.cat([past, future], -1)

    def _external(self, batch: Batch, n_bins: int) -> Tensor | None:
        wanted = self.settings.external_inputs
        if not wanted:
            return None
        shape = None if batch.ext is None else tuple(batch.ext.shape[2:])
        if batch.ext is None or shape is None or shape[0] < n_bins or shape[1] != wanted:
            raise ValueError(f"expected {wanted} external inputs in {n_bins} bins, found {shape}")
        return batch.ext[:, :, :n_bins]

    def _sampled(
        self,
        q: DiagGaussian,
        seen: Tensor | None,
        external: Tensor | None,
        draws: Sequence[Noise],
        sessions: Tensor,
        *,
        n_bins: int,
        n_units: int,
    ) -> list[Tensor]:
        """Sum parameters, means, factors, states and inputs over samples, each sample as further trials."""
        n = len(draws)

        def repeated(x: Tensor | None) -> Tensor | None:
            return None if x is None else x.repeat(1, n, *[1] * (x.ndim - 2))

        def joined(parts: list[Tensor | None]) -> Tensor | None:
            given = [part for part in parts if part is not None]
            return torch.cat(given, 1) if given else None

        noise = Noise(joined([d.initial for d in draws]), joined([d.inputs for d in draws]))
        initial = q.mean.repeat(1, n, 1)
        if noise.initial is not None:
            initial = torch.addcmul(initial, q.var.sqrt().repeat(1, n, 1), noise.initial)
        made = self.decoder(initial, n_bins, seen=repeated(seen), external=repeated(external), noise=noise)
        params = self.read_out(made.factors, sessions, n_units)
        parts = (params, self.likelihood.mean(params), made.factors, made.states, made.inputs)
        return [part.unflatten(1, (n, -1)).sum(1) for part in parts]

    def _l2(self) -> Tensor:
        """``½ Σ weight · mean square`` of the recurrent weights of generator and controller."""
        options = self.settings
        loss = 0.5 * options.l2_generator * self.decoder.generator.gru.w_hh.square().mean()
        if options.n_inferred:
            loss = loss + 0.5 * options.l2_controller * self.decoder.controller.w_hh.square().mean()
        return loss

    def _kl_weight(self, weight: float) -> Schedule:
        steps = self.settings.kl_warmup_steps
        return linear_ramp(0, steps, final=weight) if steps else constant(weight)

    def _output(
        self, params: Tensor, made: Generated, q: DiagGaussian, *, terms: tuple[Term, ...] = ()
    ) -> Output:
        return Output(
            params=params,
            mean=self.likelihood.mean(params),
            factors=made.factors,
            latents=made.states,
            terms=terms,
            aux={"inputs": made.inputs, "ic_mean": q.mean, "ic_var": q.var},
        )


def _padded(seen: Tensor | None, n_bins: int) -> Tensor | None:
    """Let the controller go on, with nothing to see."""
    return None if seen is None else pad(seen, (0, 0, 0, n_bins - seen.shape[2]))


def _encoder(settings: LFADSSettings, n_hidden: int, *, bidirectional: bool = True) -> GRUEncoder:
    encoder = GRUEncoder(
        settings.read_in.width,
        n_hidden,
        bidirectional=bidirectional,
        learned_start=True,
        reset="before",
        clip=settings.clip,
    )
    start_gru(encoder.gru)
    return encoder


def _ic_prior(settings: LFADSSettings) -> Prior:
    dim, variance = settings.ic_dim, settings.ic_prior_variance
    if settings.ic_prior == "normal":
        return Learned(dim, variance=variance, fixed_variance=True)
    if settings.ic_prior == "student_t":
        posterior = settings.student_t_posterior
        return StudentT(dim, df=settings.ic_prior_df, scale=variance**0.5, posterior=posterior)
    return Null()


def _input_prior(settings: LFADSSettings) -> SequencePrior:
    C, variance, fixed = settings.n_inferred, settings.input_prior_variance, settings.input_prior_fixed
    if settings.input_prior == "ar1":
        ar1 = AR1(C, tau=settings.input_prior_tau, variance=variance)
        ar1.log_variance.requires_grad_(not fixed)
        return ar1
    if settings.input_prior == "normal":
        return EachBin(Learned(C, variance=variance, fixed_variance=fixed))
    if settings.input_prior == "student_t":
        posterior, df = settings.student_t_posterior, settings.input_prior_df
        sparse = StudentT(C, df=df, scale=variance**0.5, posterior=posterior)
        sparse.log_scale.requires_grad_(not fixed)
        return EachBin(sparse)
    return EachBin(Null())
