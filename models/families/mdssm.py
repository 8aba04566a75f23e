"""Meta-dynamical state-space model (Vermani, Nassar, Jeon, Dowling and Park, ICLR 2025).

One nonlinear dynamics map serves all recordings; a low-dimensional embedding of each recording makes a
low-rank change of its weights. Equation numbers are those of the paper.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from nwb_latents.models.batching.masks import View, encoder_input, observe, weighted
from nwb_latents.models.interface import Model, Output, Term
from nwb_latents.models.kernels.products import linear
from nwb_latents.models.losses.likelihoods import Gaussian, Poisson
from nwb_latents.models.losses.schedules import constant, linear_ramp
from nwb_latents.models.parts.conditioning import (
    ConcatInput,
    Conditioner,
    LinearAdapter,
    LowRankHyper,
    Shared,
)
from nwb_latents.models.parts.distributions import DiagGaussian, from_raw, inverse_positive, positive
from nwb_latents.models.parts.dynamics import MLPMap
from nwb_latents.models.parts.embedding import Encoded, Fixed
from nwb_latents.models.parts.encoders import GRUEncoder
from nwb_latents.models.parts.per_session import PerSession, load_shared, names_of_sessions, per_session_parts
from nwb_latents.models.parts.priors import DynamicsPrior, Learned, PriorContext, Standard
from nwb_latents.models.parts.rollout import Path, rollout
from nwb_latents.models.parts.session_maps import ReadIn, ReadOut, SessionNames, checked_units

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nwb_latents.models.batching.tensors import Batch
    from nwb_latents.models.parts.principal_frame import Frame
    from nwb_latents.schemas.models import MDSSMSettings

INITIAL_STATE_NOISE = 0.1
ENTRY_GAIN = 2.0
LEAST_VARIANCE = 1e-4
MIN_BINS_TO_CUT = 4


class MDSSM(Model):
    """Meta-dynamical state-space model.

    Parameters
    ----------
    settings
        Sizes and choices.
    units
        Session id → number of units.

    Examples
    --------
    >>> from nwb_latents.models.batching.tensors import TrialTensors, pack
    >>> from nwb_latents.schemas.models import MDSSMSettings, ReadInSettings
    >>> small = MDSSMSettings(latent_dim=2, dynamics_width=8, hyper_width=8, encoder_width=8,
    ...                       read_in=ReadInSettings(hidden=8, width=4), rank=1, embedding_dim=1)
    >>> model = MDSSM(small, {"a": 3, "b": 5})
    >>> batch = pack([TrialTensors("a", torch.zeros(4, 6, 3)), TrialTensors("b", torch.zeros(2, 6, 5))])
    >>> tuple(model.predict(batch).mean.shape)
    (2, 4, 6, 5)
    """

    def __init__(self, settings: MDSSMSettings, units: Mapping[str, int]) -> None:
        super().__init__()
        n_units = checked_units(units)
        D, E = settings.latent_dim, 0 if settings.conditioner == "shared" else settings.embedding_dim
        width = settings.read_in.width
        self.settings = settings
        self.names = SessionNames(list(units))
        self.read_in = ReadIn(n_units, settings.read_in)
        self.embedding: Encoded | Fixed = Fixed(0)
        if E:
            reader = GRUEncoder(width, settings.encoder_width, bidirectional=settings.embedding_bidirectional)
            self.embedding = Encoded(
                reader,
                E,
                pooling=settings.embedding_pooling,
                start_variance=settings.embedding_start_variance,
            )
        self.state_encoder = GRUEncoder(
            width + E, settings.encoder_width, bidirectional=settings.state_bidirectional
        )
        self.state_head = nn.Linear(self.state_encoder.width, 2 * D)
        extra = E if settings.conditioner == "concat" else 0
        self.dynamics = MLPMap(D, settings.dynamics_width, residual=settings.residual, extra_inputs=extra)
        self.conditioner = _conditioner(settings, self.dynamics)
        self.initial = Learned(D)
        self.embedding_prior = Standard()
        self.transition_prior = DynamicsPrior()
        rows = len(n_units) if settings.per_session_noise else 1
        self.state_noise = PerSession(torch.full((rows, D), inverse_positive(INITIAL_STATE_NOISE)))
        self.likelihood: Gaussian | Poisson = (
            Gaussian(n_units) if settings.likelihood == "gaussian" else Poisson()
        )
        self.read_out = ReadOut(n_units, n_factors=D, n_params=self.likelihood.n_params)

    def add_sessions(self, units: Mapping[str, int]) -> None:
        """Make room for further sessions; see `Model.add_sessions`."""
        n_units = checked_units(units)
        self.names.add(list(units))
        self.read_in.add_sessions(n_units)
        self.read_out.add_sessions(n_units)
        self.likelihood.add_sessions(n_units)
        if self.settings.per_session_noise:
            shared = self.state_noise.blocks[0].detach().mean(0, keepdim=True)
            self.state_noise.add(shared.expand(len(n_units), -1).clone())

    def alignable_parameters(self, sessions: Sequence[str]) -> frozenset[str]:
        """Return read-in, read-out, likelihood and state noise of the sessions (Vermani et al., appendix D).

        A process noise that all sessions share (``per_session_noise: false``) is not among them.
        """
        return names_of_sessions(self._per_session(), self.names.index(sessions).tolist())

    def start_aligned(self, pretrained: Mapping[str, Tensor]) -> None:
        """Take over all shared parameters; the state noise starts at the mean over the known sessions."""
        load_shared(self, pretrained, self._per_session())
        if self.settings.per_session_noise:
            rows = [value for name, value in pretrained.items() if name.startswith("state_noise.")]
            mean = torch.cat(rows).mean(0)
            for position in self.names.position.values():
                self.state_noise.set_row(position, mean)

    def _per_session(self) -> dict[str, PerSession]:
        found = per_session_parts(self)
        if not self.settings.per_session_noise:
            del found["state_noise"]
        return found

    def start_at(self, frames: Mapping[str, Frame], entry: Entry | None = None) -> None:
        """Start sessions in coordinates of their own data.

        Read-out, read-in and the variance of a Gaussian likelihood are set so that states are coordinates
        of the frame, and all sessions of a frame's kind are read in alike.

        Parameters
        ----------
        frames
            Session id → frame of `latent_dim` axes (`models.parts.principal_frame.principal_frame`).
        entry
            How known sessions are read in (`mean_entry`); None: by a random map, the same for all.
        """
        weight = self.read_in.weight.blocks[0]
        if entry is None:
            start = torch.empty(self.settings.latent_dim, weight.shape[-1])
            nn.init.orthogonal_(start, gain=ENTRY_GAIN, generator=torch.Generator().manual_seed(0))
            entry = Entry(start, torch.zeros(weight.shape[-1]))
        for name, frame in frames.items():
            row = self.names.position[name]
            read_in = frame.projection @ entry.weight.to(frame.axes)
            self.read_in.weight.set_row(row, read_in)
            self.read_in.bias.set_row(row, entry.bias.to(frame.axes) - frame.mean @ read_in)
            self.read_out.weight.set_row(row, frame.axes[:, None])
            self.read_out.bias.set_row(row, frame.mean[:, None])
            if isinstance(self.likelihood, Gaussian):
                # Between what the frame leaves over and everything: states are not that good at once.
                variance = (frame.left_over * frame.total).sqrt().clamp_min(LEAST_VARIANCE)
                raw = torch.tensor([inverse_positive(float(value)) for value in variance])
                self.likelihood.raw_variance.set_row(row, raw)

    def start_from(self, means: Mapping[str, Tensor]) -> None:
        """Let Poisson rates start at the mean rate of each unit, which they would be slow to reach."""
        if self.settings.likelihood != "poisson":
            return
        for name, mean in means.items():
            self.read_out.bias.set_row(self.names.position[name], self.likelihood.bias(mean))

    def forward(
        self, batch: Batch, view: View, step: int = 0, generator: torch.Generator | None = None
    ) -> Output:
        """Return the masked evidence lower bound of a batch, one sample of e and of z (eq. 15).

        Bins are masked with probability ``mask_probability``, the same for all trials: their state is what
        the dynamics make of the bin before, and their KL is not counted. The first bin is never masked.
        With probability ``cut_probability`` the encoders see only the first bins, as in a forecast, and all
        later bins are masked; a lower bound it remains.

        Parameters
        ----------
        batch
            The sessions of a step.
        view
            What is shown and scored.
        step
            Training step.
        generator
            Source of noise and masks; None: posterior means, no masks.

        Returns
        -------
        output
            Terms ``nll``, ``kl_initial``, ``kl_transition``, ``kl_embedding`` and ``weight_change``, each
            summed over sessions; the first three are means over the trials of a session.
        """
        del step
        sessions = self.names.index(batch.sessions, batch.y.device)
        n_bins = view.x.shape[2]
        n_seen = self._draw_seen(n_bins, generator)
        shared = self.read_in(view.x[:, :, :n_seen], sessions)
        q_e = self.embedding(shared, batch.trial_mask, sessions)
        e = q_e.rsample(generator)
        weights = self.conditioner(e)
        q_z = self._encode(shared, e)
        sample = q_z.rsample(generator)
        inferred = pad(self._draw_mask(n_seen, generator, sample.device), (0, n_bins - n_seen))
        path = rollout(
            self.dynamics,
            sample[:, :, 0],
            n_bins,
            weights=weights,
            teacher=pad(sample, (0, 0, 0, n_bins - n_seen)),
            use_teacher=inferred,
        )
        params = self.read_out(path.z, sessions, view.target.shape[-1])
        nll = weighted(self.likelihood.nll(params, view.target, sessions), view).sum((2, 3))
        kl_initial, kl_transition = self._state_kl(q_z, path, inferred, batch, sessions)
        trial = batch.trial_mask / batch.n_trials[:, None]
        share = 1 / batch.n_trials if self.settings.embedding_kl == "trial" else 1.0
        ctx, steps = PriorContext(), self.settings.kl_warmup
        warmup = linear_ramp(0, steps) if steps else constant(1.0)
        terms = (
            Term("nll", (nll * trial).sum()),
            Term("kl_initial", (kl_initial * trial).sum(), warmup),
            Term("kl_transition", (kl_transition * trial).sum(), warmup),
            Term("kl_embedding", (self.embedding_prior.penalty(q_e, e, ctx) * share).sum(), warmup),
            Term(
                "weight_change",
                self.conditioner.penalty(weights, e).sum(),
                constant(self.settings.weight_change_penalty),
            ),
        )
        return Output(
            params=params,
            mean=self.likelihood.mean(params),
            factors=path.z,
            latents=path.z,
            terms=terms,
            aux={"embedding_mean": q_e.mean, "embedding_var": q_e.var, "inferred": inferred},
        )

    def embed(self, batch: Batch) -> DiagGaussian | None:
        """Return the posterior of the embedding given all trials of the batch (eq. 17), if there is one."""
        if isinstance(self.embedding, Fixed):
            return None
        sessions = self.names.index(batch.sessions, batch.y.device)
        q_e: DiagGaussian = self.embedding(
            self.read_in(encoder_input(batch), sessions), batch.trial_mask, sessions
        )
        return q_e

    def predict(
        self,
        batch: Batch,
        *,
        n_samples: int = 0,
        generator: torch.Generator | None = None,
        embedding: DiagGaussian | None = None,
    ) -> Output:
        """Reconstruct a batch from the posterior of its states.

        Parameters
        ----------
        batch
            What to reconstruct; only ``batch.y`` is read.
        n_samples
            Samples averaged; 0: the posterior mean.
        generator
            Source of the samples.
        embedding
            Posterior of the embeddings; None: from the trials of the batch.

        Returns
        -------
        output
            No terms.
        """
        sessions = self.names.index(batch.sessions, batch.y.device)
        shared = self.read_in(encoder_input(batch), sessions)
        q_e = embedding or self.embedding(shared, batch.trial_mask, sessions)
        q_z = self._encode(shared, q_e.mean)
        n_units = batch.target.shape[-1]
        output = self._read(q_z.mean, sessions, n_units)
        if n_samples:
            draws = [self._read(q_z.rsample(generator), sessions, n_units).mean for _ in range(n_samples)]
            output = replace(output, mean=torch.stack(draws).mean(0))
        return replace(output, aux={"embedding_mean": q_e.mean, "embedding_var": q_e.var})

    def forecast(self, batch: Batch, t0: int, k: int, *, embedding: DiagGaussian | None = None) -> Output:
        """Forecast bins ``t0 … t0 + k − 1`` along the mean dynamics.

        Parameters
        ----------
        batch
            Trials; only their first `t0` bins are read.
        t0
            Bins the encoders see.
        k
            Bins forecast.
        embedding
            Posterior of the embeddings; None: from the first `t0` bins of the batch's trials.

        Returns
        -------
        output
            Of the `k` forecast bins, no terms.

        Raises
        ------
        ValueError
            If `t0` is not between 1 and the number of bins, or `k` is below 1.
        """
        batch.check_forecast(t0, k)
        seen = replace(
            batch, y=batch.y[:, :, :t0], target=batch.y[:, :, :t0], time_mask=batch.time_mask[:, :, :t0]
        )
        sessions = self.names.index(batch.sessions, batch.y.device)
        shared = self.read_in(observe(seen).x, sessions)
        q_e = embedding or self.embedding(shared, batch.trial_mask, sessions)
        last = self._encode(shared, q_e.mean).mean[:, :, -1]
        path = rollout(self.dynamics, last, k + 1, weights=self.conditioner(q_e.mean))
        output = self._read(path.z[:, :, 1:], sessions, batch.target.shape[-1])
        return replace(output, aux={"embedding_mean": q_e.mean, "embedding_var": q_e.var})

    def _encode(self, shared: Tensor, e: Tensor) -> DiagGaussian:
        """Posterior of the states, eq. 18."""
        shown = e.detach() if self.settings.detach_embedding else e
        read = self.state_encoder(shared, shown[:, None])
        return from_raw(linear(read.seq, self.state_head.weight, self.state_head.bias))

    def _draw_mask(self, n_bins: int, generator: torch.Generator | None, device: torch.device) -> Tensor:
        p = self.settings.mask_probability
        if generator is None or p == 0:
            return torch.ones(n_bins, dtype=torch.bool, device=device)
        inferred = torch.rand(n_bins, generator=generator, device=generator.device) >= p
        inferred[0] = True
        return inferred.to(device)

    def _draw_seen(self, n_bins: int, generator: torch.Generator | None) -> int:
        """Draw how many bins the encoders see: all, or of a cut trial between a quarter and all but one."""
        p = self.settings.cut_probability
        if generator is None or p == 0 or n_bins < MIN_BINS_TO_CUT or not self.training:
            return n_bins
        cut, where = torch.rand(2, generator=generator, device=generator.device).tolist()
        least = n_bins // 4
        return least + int(where * (n_bins - least)) if cut < p else n_bins

    def _state_kl(
        self, q: DiagGaussian, path: Path, inferred: Tensor, batch: Batch, sessions: Tensor
    ) -> tuple[Tensor, Tensor]:
        """KL of the first bin and of all later ones, each of shape ``(session, trial)``."""
        rows = sessions if self.settings.per_session_noise else torch.zeros_like(sessions)
        noise = positive(self.state_noise(rows))[:, None, None]
        T = q.mean.shape[2]
        weight = (inferred[:T] & batch.time_mask[:, :, :T]).to(q.mean.dtype)
        later = DiagGaussian(q.mean[:, :, 1:], q.var[:, :, 1:])
        ctx = PriorContext(predicted=DiagGaussian(path.predicted[:, :, 1:T], noise), weight=weight[:, :, 1:])
        transition = self.transition_prior.penalty(later, path.z[:, :, 1:T], ctx)
        first = DiagGaussian(q.mean[:, :, 0], q.var[:, :, 0])
        return self.initial.penalty(first, path.z[:, :, 0], PriorContext()), transition

    def _read(self, z: Tensor, sessions: Tensor, n_units: int) -> Output:
        params = self.read_out(z, sessions, n_units)
        return Output(params=params, mean=self.likelihood.mean(params), factors=z, latents=z)


class Entry(NamedTuple):
    """What a unit of latent state is read in as.

    Attributes
    ----------
    weight, bias
        Shapes ``(D, P0)`` and ``(P0,)``.
    """

    weight: Tensor
    bias: Tensor


def mean_entry(weights: Mapping[str, Tensor]) -> Entry:
    """Return how the sessions of a trained model read in their own read-outs, averaged over sessions.

    Parameters
    ----------
    weights
        State dict of an `MDSSM` with a Gaussian likelihood.
    """

    def blocks(name: str) -> list[Tensor]:
        return [value for key, value in weights.items() if key.startswith(f"{name}.blocks.")]

    maps, biases = [], []
    for w, b, c, d in zip(
        blocks("read_in.weight"), blocks("read_in.bias"), blocks("read_out.weight"), blocks("read_out.bias"),
        strict=True,
    ):  # fmt: skip
        maps.append(torch.einsum("snd,snh->sdh", c[:, :, 0], w))
        biases.append(b + torch.einsum("sn,snh->sh", d[:, :, 0], w))
    return Entry(torch.cat(maps).mean(0), torch.cat(biases).mean(0))


def _conditioner(settings: MDSSMSettings, dynamics: MLPMap) -> Conditioner:
    """Return the low-rank hypernetwork of eqs 11-14, or what a baseline has in its place."""
    shapes = dynamics.shapes()
    adapted = {name: shapes[name] for name in ("layer0", "layer1")}
    E = settings.embedding_dim
    if settings.conditioner == "shared":
        return Shared()
    if settings.conditioner == "concat":
        return ConcatInput("layer0", E)
    if settings.conditioner == "linear":
        return LinearAdapter(adapted, embedding_dim=E)
    return LowRankHyper(adapted, embedding_dim=E, rank=settings.rank, width=settings.hyper_width)
