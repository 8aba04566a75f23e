"""A hypernetwork that writes the recurrent weights of a rate network (HNET, JEDI).

Every session has a learned embedding; the hypernetwork turns it into the whole recurrent matrix of a network
that runs freely from its first state. What tells sessions apart is the embedding alone.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from nwb_latents.models.batching.views import View, encoder_input, session_means
from nwb_latents.models.interface import Model, Output, Term
from nwb_latents.models.losses.likelihoods import MSE
from nwb_latents.models.losses.schedules import constant, horizon
from nwb_latents.models.parts.conditioning import LowRankHyper
from nwb_latents.models.parts.distributions import DiagGaussian
from nwb_latents.models.parts.dynamics import RateRNN
from nwb_latents.models.parts.embedding import Table
from nwb_latents.models.parts.per_session import load_shared, names_of_sessions, per_session_parts
from nwb_latents.models.parts.rollout import rollout
from nwb_latents.models.parts.session_maps import ReadIn, ReadOut, SessionNames, checked_units

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nwb_latents.models.batching.tensors import Batch
    from nwb_latents.models.parts.weight_changes import LowRank
    from nwb_latents.schemas.hnet import HNETSettings

EMBEDDING_GAIN = 10.0
"""Embeddings are this times their parameters, so that they learn as much faster than all else."""

START_SPREAD = 0.1
"""Deviation of the first embeddings: far apart, they would stay in the order they were drawn in."""


class HNET(Model):
    """``r_{t+1} = r_t + (Δt/τ) (−r_t + J(e) tanh r_t)``, where a network writes ``J(e) = U(e) V(e)ᵀ / √N``.

    Parameters
    ----------
    settings
        Sizes and choices.
    units
        Session id → number of units.

    Raises
    ------
    ValueError
        If the recorded units are to be the network's own, and sessions differ in their number.

    Examples
    --------
    >>> from nwb_latents.models.batching.tensors import TrialTensors, pack
    >>> from nwb_latents.schemas.hnet import HNETSettings
    >>> model = HNET(HNETSettings(recurrent_dim=8, rank=2), {"a": 3, "b": 5})
    >>> batch = pack([TrialTensors("a", torch.zeros(4, 6, 3)), TrialTensors("b", torch.zeros(2, 6, 5))])
    >>> tuple(model.predict(batch).mean.shape)
    (2, 4, 6, 5)
    """

    def __init__(self, settings: HNETSettings, units: Mapping[str, int]) -> None:
        super().__init__()
        n_units = checked_units(units)
        self.settings = settings
        self.names = SessionNames(list(units))
        self.size = settings.recurrent_dim
        self.read_in: ReadIn | None = None
        self.read_out: ReadOut | None = None
        if settings.observed == "units":
            self.size = _same(units)
        else:
            self.read_in = ReadIn(n_units, settings.read_in)
            self.start = nn.Linear(settings.start_bins * settings.read_in.width, self.size)
            self.read_out = ReadOut(n_units, n_factors=self.size)
        self.embedding = Table(len(n_units), settings.embedding_dim, scale=START_SPREAD / EMBEDDING_GAIN)
        self.hyper = LowRankHyper(
            {"recurrent": (self.size, self.size)},
            embedding_dim=settings.embedding_dim,
            rank=settings.rank,
            width=settings.hyper_width,
            mode="replace",
            gain=1 / math.sqrt(self.size),
        )
        self.dynamics = RateRNN(self.size, dt_over_tau=settings.dt_over_tau)
        # The hypernetwork stands in for the shared matrix, which has nothing to learn.
        self.dynamics.recurrent.requires_grad_(False)  # noqa: FBT003
        self.likelihood = MSE()

    def add_sessions(self, units: Mapping[str, int]) -> None:
        """Make room for further sessions; see `Model.add_sessions`."""
        n_units = checked_units(units)
        if self.read_in is None or self.read_out is None:
            _same({"the network": self.size, **units})
        self.names.add(list(units))
        self.embedding.vectors.add(torch.zeros(len(n_units), self.settings.embedding_dim))
        if self.read_in is not None and self.read_out is not None:
            self.read_in.add_sessions(n_units)
            self.read_out.add_sessions(n_units)

    @property
    def computes_trials_apart(self) -> bool:
        """True: trials share parameters, and nothing that is inferred."""
        return True

    def alignable_parameters(self, sessions: Sequence[str]) -> frozenset[str]:
        """Return the embeddings of the sessions, and their read-ins and read-outs if they have any."""
        return names_of_sessions(per_session_parts(self), self.names.index(sessions).tolist())

    def start_aligned(self, pretrained: Mapping[str, Tensor]) -> None:
        """Take over the hypernetwork; embeddings start at the mean over the known sessions."""
        load_shared(self, pretrained, per_session_parts(self))
        known = [value for name, value in pretrained.items() if name.startswith("embedding.vectors.")]
        for position in self.names.position.values():
            self.embedding.vectors.set_row(position, torch.cat(known).mean(0))

    def start_from(self, means: Mapping[str, Tensor]) -> None:
        """Let every unit start at its mean."""
        if self.read_out is not None:
            for name, mean in means.items():
                self.read_out.bias.set_row(self.names.position[name], self.likelihood.bias(mean))

    def recurrent_weights(self, embedding: Tensor) -> Tensor:
        """Return the matrices that embeddings stand for.

        Parameters
        ----------
        embedding
            Shape ``(session, E)``.

        Returns
        -------
        weights
            Shape ``(session, N, N)``.
        """
        delta = cast("LowRank", self.hyper(embedding)["recurrent"])
        return torch.bmm(delta.u, delta.v.transpose(1, 2))

    def forward(
        self, batch: Batch, view: View, step: int = 0, generator: torch.Generator | None = None
    ) -> Output:
        """Run the network freely from the first bins, or from the last ones before a cut, and score it.

        Parameters
        ----------
        batch
            The sessions of a step.
        view
            What is shown and scored.
        step
            Training step: decides how many bins are run; outside training all are.
        generator
            Source of the process noise; None: no noise.

        Returns
        -------
        output
            Of the bins that were run: all, or where the view is cut those from ``start_bins`` before the cut
            on, as in a forecast. Terms ``nll``, the mean squared error of a session's elements,
            ``embedding`` and ``weights``, each summed over sessions.
        """
        settings = self.settings
        sessions = self.names.index(batch.sessions, batch.y.device)
        shown, first = self._shown(view)
        scored = view.from_bin(first)
        n_bins = scored.target.shape[2]
        if settings.horizon_every and self.training:
            n_bins = int(horizon(settings.horizon_block, settings.horizon_every, longest=n_bins)(step))
        e = self._embedding(sessions)
        weights = self.hyper(e)
        noise = None
        if generator is not None and self.training and settings.process_noise:
            shape = (*view.samples.shape[:2], n_bins, self.size)
            noise = settings.process_noise * torch.randn(
                shape, generator=generator, device=generator.device, dtype=view.samples.dtype
            ).to(view.samples.device)
        start = self._first(shown, sessions)
        states = rollout(self.dynamics, start, n_bins, weights=weights, noise=noise).z
        params = self._read(states, sessions, view.target.shape[-1])
        scored = scored.first_bins(n_bins)
        nll = session_means(self.likelihood.nll(params, scored.target, sessions), scored)
        terms = (
            Term("nll", nll.sum()),
            Term("embedding", e.square().sum(), constant(settings.embedding_penalty)),
            Term("weights", self.hyper.penalty(weights, e).sum(), constant(settings.weight_penalty)),
        )
        return Output(params=params, mean=params, factors=states, latents=states, terms=terms)

    def embed(self, batch: Batch) -> DiagGaussian:
        """Return the embeddings of the sessions, without variance. Shapes ``(session, E)``."""
        e = self._embedding(self.names.index(batch.sessions, batch.y.device))
        return DiagGaussian(e, torch.zeros_like(e))

    def predict(
        self,
        batch: Batch,
        *,
        n_samples: int = 0,
        generator: torch.Generator | None = None,
        embedding: DiagGaussian | None = None,
    ) -> Output:
        """Run the network freely from the first bins of the trials, without noise.

        Parameters
        ----------
        batch
            What to reconstruct; only the first ``start_bins`` bins of ``batch.y`` are read, and with
            ``observed: units`` those its first bin is smoothed with.
        n_samples, generator
            Not used: nothing is sampled.
        embedding
            Embeddings; None: those of the sessions.

        Returns
        -------
        output
            No terms.
        """
        del n_samples, generator
        shown = encoder_input(batch, self._whole_start)[:, :, : self.settings.start_bins]
        return self._run(batch, shown, batch.target.shape[2], embedding)

    def forecast(self, batch: Batch, t0: int, k: int, *, embedding: DiagGaussian | None = None) -> Output:
        """Forecast bins ``t0 … t0 + k − 1`` from the last ``start_bins`` bins before them, smoothed from all.

        Parameters
        ----------
        batch
            Trials; only bins before `t0` are read.
        t0
            Bins seen.
        k
            Bins forecast.
        embedding
            Embeddings; None: those of the sessions.

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
        seen = encoder_input(batch, t0)[:, :, -self.settings.start_bins :]
        output = self._run(batch, seen, seen.shape[2] + k, embedding)
        return output.from_bin(-k)

    def _run(self, batch: Batch, x: Tensor, n_bins: int, embedding: DiagGaussian | None) -> Output:
        sessions = self.names.index(batch.sessions, batch.y.device)
        e = self._embedding(sessions) if embedding is None else embedding.mean
        first = self._first(x, sessions)
        states = rollout(self.dynamics, first, n_bins, weights=self.hyper(e)).z
        params = self._read(states, sessions, batch.target.shape[-1])
        return Output(params=params, mean=params, factors=states, latents=states)

    def _shown(self, view: View) -> tuple[Tensor, int]:
        """Return the bins the first state is read from, and which bin of the trial that state is of."""
        n_start = self.settings.start_bins
        if view.n_shown is None:
            return view.shown(self._whole_start)[:, :, :n_start], 0
        return view.x[:, :, -n_start:], max(0, view.n_shown - n_start)

    @property
    def _whole_start(self) -> int | None:
        """Bins of a whole trial the first state may be told by; None: all that smoothing reaches.

        A map reads the state from all its bins as they come, and a forecast has no later ones. Where the bin
        is the state itself, smoothed from itself alone it would be no more than its own few spikes.
        """
        return None if self.read_in is None else self.settings.start_bins

    def _embedding(self, sessions: Tensor) -> Tensor:
        vectors: Tensor = self.embedding.vectors(sessions)
        return EMBEDDING_GAIN * vectors

    def _first(self, x: Tensor, sessions: Tensor) -> Tensor:
        """State of the first of some bins; where there are too few, the first stands in for those before."""
        if self.read_in is None:
            return x[:, :, 0]
        short = self.settings.start_bins - x.shape[2]
        if short:
            x = torch.cat([x[:, :, :1].expand(-1, -1, short, -1), x], 2)
        first: Tensor = self.start(self.read_in(x, sessions).flatten(2))
        return first

    def _read(self, states: Tensor, sessions: Tensor, n_units: int) -> Tensor:
        if self.read_out is None:
            return states
        params: Tensor = self.read_out(states, sessions, n_units)
        return params


def _same(units: Mapping[str, int]) -> int:
    """Return the number of units all sessions have."""
    sizes = set(units.values())
    if len(sizes) > 1:
        listed = ", ".join(f"{name}: {n}" for name, n in units.items())
        raise ValueError(
            f"with observed: units all sessions record the same units, found {listed}. Use observed: linear."
        )
    return sizes.pop()
