"""Meta-dynamical state-space model (Vermani, Nassar, Jeon, Dowling and Park, ICLR 2025).

One nonlinear dynamics map serves all recordings; a low-dimensional embedding of each recording makes a
low-rank change of its weights. Equation numbers are those of the paper.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from nwb_latents.models.batching.views import View, encoder_input, weighted
from nwb_latents.models.interface import Output, Term
from nwb_latents.models.kernels.products import linear
from nwb_latents.models.losses.likelihoods import Gaussian, Poisson
from nwb_latents.models.losses.schedules import constant, linear_ramp
from nwb_latents.models.parts.behaviour_head import BehaviourHead
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
from nwb_latents.models.parts.started_sessions import StartedSessions
from nwb_latents.models.randomness import deciding_generator, listed, placed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nwb_latents.models.batching.tensors import Batch
    from nwb_latents.schemas.mdssm import MDSSMSettings

INITIAL_STATE_NOISE = 0.1


class MDSSM(StartedSessions):
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
    >>> from nwb_latents.schemas.mdssm import MDSSMSettings, ReadInSettings
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
            Gaussian(n_units) if settings.likelihood == "gaussian" else Poisson(settings.rate_link)
        )
        self.read_out = ReadOut(n_units, n_factors=D, n_params=self.likelihood.n_params)
        self.behaviour: BehaviourHead | None = None
        if settings.trains_on_velocity:
            self.behaviour = BehaviourHead(settings, n_sessions=len(n_units), width=D)

    @property
    def computes_trials_apart(self) -> bool:
        """False where an embedding is inferred from all trials of a session together."""
        return isinstance(self.embedding, Fixed)

    def add_sessions(self, units: Mapping[str, int]) -> None:
        """Make room for further sessions; see `Model.add_sessions`."""
        n_units = checked_units(units)
        self.names.add(list(units))
        self.read_in.add_sessions(n_units)
        self.read_out.add_sessions(n_units)
        self.likelihood.add_sessions(n_units)
        if self.behaviour is not None:
            self.behaviour.add_sessions(len(n_units))
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

    def forward(
        self, batch: Batch, view: View, step: int = 0, generator: torch.Generator | None = None
    ) -> Output:
        """Return the masked evidence lower bound of a batch, one sample of e and of z (eq. 15).

        Bins are masked with probability ``mask_probability``, the same for all trials: their state is what
        the dynamics make of the bin before, and their KL is not counted. The first bin is never masked.
        Where the view is cut, the encoders see only the first bins, as in a forecast, and all later bins are
        masked; a lower bound it remains.

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
            Terms ``nll``, ``kl_initial``, ``kl_transition``, ``kl_embedding``, ``weight_change`` and, with
            a behaviour head, ``velocity``, each summed over sessions; the first three and the last are
            means over the trials of a session. ``kl_embedding`` is logged in nats per session whatever its
            weight.
        """
        del step
        sessions = self.names.index(batch.sessions, batch.y.device)
        n_bins = view.samples.shape[2]
        shared = self.read_in(view.x, sessions)
        n_seen = shared.shape[2]
        q_e = self.embedding(shared, batch.trial_mask, sessions)
        e = q_e.rsample(generator)
        weights = self.conditioner(e)
        q_z = self._encode(shared, e)
        sample = q_z.rsample(generator)
        taught = [*self._draw_mask(n_seen, generator), *[False] * (n_bins - n_seen)]
        inferred = placed(taught, sample.device)
        path = rollout(
            self.dynamics,
            sample[:, :, 0],
            n_bins,
            weights=weights,
            teacher=pad(sample, (0, 0, 0, n_bins - n_seen)),
            use_teacher=taught,
        )
        output = self._read(path.z, sessions, view.target.shape[-1])
        nll = weighted(self.likelihood.nll(output.params, view.target, sessions), view).sum((2, 3))
        kl_initial, kl_transition = self._state_kl(q_z, path, inferred, batch, sessions)
        trial = batch.trial_mask / batch.n_trials[:, None]
        share = 1 / batch.n_trials if self.settings.embedding_kl == "trial" else 1.0
        kl_embedding, steps = self.embedding_prior.penalty(q_e, e, PriorContext()), self.settings.kl_warmup
        warmup = linear_ramp(0, steps) if steps else constant(1.0)
        terms = [
            Term("nll", (nll * trial).sum()),
            Term("kl_initial", (kl_initial * trial).sum(), warmup),
            Term("kl_transition", (kl_transition * trial).sum(), warmup),
            Term("kl_embedding", (kl_embedding * share).sum(), warmup, logged=kl_embedding.sum()),
            Term(
                "weight_change",
                self.conditioner.penalty(weights, e).sum(),
                constant(self.settings.weight_change_penalty),
            ),
        ]
        if self.behaviour is not None and output.velocity is not None:
            terms.append(self.behaviour.term(output.velocity, batch))
        aux = {"embedding_mean": q_e.mean, "embedding_var": q_e.var, "inferred": inferred}
        return replace(output, terms=tuple(terms), aux=aux)

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
        sessions = self.names.index(batch.sessions, batch.y.device)
        shared = self.read_in(encoder_input(batch, t0), sessions)
        q_e = embedding or self.embedding(shared, batch.trial_mask, sessions)
        last = self._encode(shared, q_e.mean).mean[:, :, -1]
        path = rollout(self.dynamics, last, k + 1, weights=self.conditioner(q_e.mean))
        output = self._read(path.z[:, :, 1:], sessions, batch.target.shape[-1])
        return replace(output, aux={"embedding_mean": q_e.mean, "embedding_var": q_e.var})

    def state_size(self) -> int:
        """Return the dimension of the state."""
        return self.settings.latent_dim

    def embedding_size(self) -> int:
        """Return the dimension of the embedding; 0 where sessions share the dynamics."""
        return 0 if isinstance(self.embedding, Fixed) else self.settings.embedding_dim

    def run_free(
        self, sessions: Sequence[str], z0: Tensor, *, n_bins: int, embedding: Tensor, n_units: int
    ) -> Output:
        """Roll states out along the mean dynamics, and read them out; see `RunsFree`.

        References
        ----------
        Vermani et al. 2025, eqs 11-14 (the weights an embedding stands for) and eq. 10 (the read-out).

        Examples
        --------
        >>> from nwb_latents.schemas.mdssm import MDSSMSettings
        >>> model = MDSSM(MDSSMSettings(latent_dim=2, embedding_dim=1, rank=1), {"a": 3})
        >>> e = torch.zeros(4, 1)
        >>> output = model.run_free(["a"] * 4, torch.zeros(4, 5, 2), n_bins=6, embedding=e, n_units=3)
        >>> tuple(output.latents.shape), tuple(output.mean.shape)
        ((4, 5, 6, 2), (4, 5, 6, 3))
        """
        path = rollout(self.dynamics, z0, n_bins, weights=self.conditioner(embedding))
        return self._read(path.z, self.names.index(list(sessions), z0.device), n_units)

    def _encode(self, shared: Tensor, e: Tensor) -> DiagGaussian:
        """Posterior of the states, eq. 18."""
        shown = e.detach() if self.settings.detach_embedding else e
        read = self.state_encoder(shared, shown[:, None])
        return from_raw(linear(read.seq, self.state_head.weight, self.state_head.bias))

    def _draw_mask(self, n_bins: int, generator: torch.Generator | None) -> list[bool]:
        p = self.settings.mask_probability
        if generator is None or p == 0:
            return [True] * n_bins
        drawn = torch.rand(n_bins, generator=deciding_generator(generator, "mask"))
        return [True, *listed(drawn >= p)[1:]]

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
        velocity = None if self.behaviour is None else self.behaviour(z, sessions)
        return Output(
            params=params, mean=self.likelihood.mean(params), factors=z, latents=z, velocity=velocity
        )


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
