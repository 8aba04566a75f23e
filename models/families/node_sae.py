"""Neural ODE sequential autoencoder (NODE-SAE; Sedler, Versteeg and Pandarinath 2023).

An encoder reads a trial and gives the state of its first bin; a vector field takes it from there. How rich
the dynamics are is up to the width of the field, not to the dimension of the state, which can then be as
small as that of the system.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from nwb_latents.models.batching.views import View, encoder_input, session_means
from nwb_latents.models.interface import Output, Term
from nwb_latents.models.losses.likelihoods import likelihood_of
from nwb_latents.models.losses.schedules import horizon
from nwb_latents.models.parts.distributions import full_precision
from nwb_latents.models.parts.dropout import dropout
from nwb_latents.models.parts.dynamics import RK4, Adaptive, Dynamics, Euler, GRUCell, MLPMap
from nwb_latents.models.parts.encoders import GRUEncoder
from nwb_latents.models.parts.rollout import rollout
from nwb_latents.models.parts.session_maps import ReadIn, ReadOut, SessionNames, checked_units
from nwb_latents.models.parts.stitched import StitchedModel

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nwb_latents.models.batching.tensors import Batch
    from nwb_latents.models.parts.distributions import DiagGaussian
    from nwb_latents.schemas.node_sae import NODESAESettings


class NODESAE(StitchedModel):
    """``z_1 = A enc(y)``, ``ż = f(z)``, ``log λ = C z + d``: deterministic, with no prior.

    Parameters
    ----------
    settings
        Sizes and choices.
    units
        Session id → number of units that are scored; the encoder may be shown the first of them only.

    Raises
    ------
    ModuleNotFoundError
        If the adaptive solver is asked for and its package is not installed.

    Examples
    --------
    >>> from nwb_latents.models.batching.tensors import TrialTensors, pack
    >>> from nwb_latents.schemas.node_sae import NODESAESettings
    >>> model = NODESAE(NODESAESettings(field_width=8, encoder_dim=5), {"a": 3, "b": 5})
    >>> batch = pack([TrialTensors("a", torch.zeros(4, 6, 3)), TrialTensors("b", torch.zeros(2, 6, 5))])
    >>> tuple(model.predict(batch).mean.shape)
    (2, 4, 6, 5)
    """

    def __init__(self, settings: NODESAESettings, units: Mapping[str, int]) -> None:
        super().__init__()
        n_units = checked_units(units)
        self.settings = settings
        self.names = SessionNames(list(units))
        self.read_in = ReadIn(n_units, settings.read_in)
        self.encoder = GRUEncoder(settings.read_in.width, settings.encoder_dim)
        self.start = nn.Linear(self.encoder.width, settings.latent_dim)
        self.dynamics = _dynamics(settings)
        self.likelihood = likelihood_of(settings.likelihood, n_units, rate_link=settings.rate_link)
        self.read_out = ReadOut(n_units, n_factors=settings.latent_dim)

    @property
    def computes_trials_apart(self) -> bool:
        """True: trials share parameters, and nothing that is inferred."""
        return True

    def forward(
        self, batch: Batch, view: View, step: int = 0, generator: torch.Generator | None = None
    ) -> Output:
        """Run the dynamics from the first bin, and score what they make.

        Parameters
        ----------
        batch
            The sessions of a step.
        view
            What is shown and scored.
        step
            Training step: decides how many bins are run, of which the encoder is shown all; outside training
            all are run.
        generator
            Source of dropout; None: no dropout.

        Returns
        -------
        output
            Of the bins that were run. Term ``nll``, the mean over a session's elements, summed over sessions.
        """
        settings = self.settings
        sessions = self.names.index(batch.sessions, batch.y.device)
        n_bins = view.target.shape[2]
        if settings.horizon_every and self.training:
            n_bins = int(horizon(settings.horizon_block, settings.horizon_every, longest=n_bins)(step))
        first = self._first(view.x, sessions, generator if self.training else None)
        output = self._run(first, n_bins, sessions, view.target.shape[-1])
        scored = view.first_bins(n_bins)
        nll = session_means(self.likelihood.nll(output.params, scored.target, sessions), scored)
        return replace(output, terms=(Term("nll", nll.sum()),))

    def predict(
        self,
        batch: Batch,
        *,
        n_samples: int = 0,
        generator: torch.Generator | None = None,
        embedding: DiagGaussian | None = None,
    ) -> Output:
        """Reconstruct a batch, ``batch.target``'s bins and units from ``batch.y``.

        Parameters
        ----------
        batch
            What to reconstruct; only ``batch.y`` is read.
        n_samples, generator
            Not used: nothing is sampled.
        embedding
            Not used: there is none.

        Returns
        -------
        output
            No terms.
        """
        del n_samples, generator, embedding
        sessions = self.names.index(batch.sessions, batch.y.device)
        n_bins, n_units = batch.target.shape[2:]
        return self._run(self._first(encoder_input(batch), sessions, None), n_bins, sessions, n_units)

    def forecast(self, batch: Batch, t0: int, k: int, *, embedding: DiagGaussian | None = None) -> Output:
        """Forecast bins ``t0 … t0 + k − 1``: encode the first `t0` bins and let the dynamics run on.

        Parameters
        ----------
        batch
            Trials; only their first `t0` bins are read.
        t0
            Bins the encoder sees.
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
            If `t0` is not between 1 and the number of bins, or `k` is below 1.
        """
        del embedding
        batch.check_forecast(t0, k)
        sessions = self.names.index(batch.sessions, batch.y.device)
        first = self._first(encoder_input(batch, t0), sessions, None)
        return self._run(first, t0 + k, sessions, batch.target.shape[-1], skip=t0)

    def step(self, z: Tensor) -> Tensor:
        """Return the states one bin on: the map whose fixed points are those of the model.

        Parameters
        ----------
        z
            Shape ``(n, D)``.

        Examples
        --------
        >>> from nwb_latents.schemas.node_sae import NODESAESettings
        >>> tuple(NODESAE(NODESAESettings(), {"a": 3}).step(torch.zeros(4, 3)).shape)
        (4, 3)
        """
        return self.dynamics(z[None], None, None)[0]

    def _first(self, x: Tensor, sessions: Tensor, generator: torch.Generator | None) -> Tensor:
        """State of the first bin. Shape ``(session, trial, D)``."""
        last = self.encoder(self.read_in(x, sessions)).last
        return full_precision(self.start(dropout(last, self.settings.dropout, generator)))

    def _run(self, first: Tensor, n_bins: int, sessions: Tensor, n_units: int, *, skip: int = 0) -> Output:
        """Run `n_bins` bins from their first state and read all but the first `skip` of them out."""
        if n_bins > 1 and isinstance(self.dynamics, GRUCell | Adaptive):
            states = torch.cat([first[:, :, None], self.dynamics.run(first, n_bins - 1)], 2)
        else:
            states = rollout(self.dynamics, first, n_bins).z
        states = states[:, :, skip:]
        params = self.read_out(states, sessions, n_units)
        return Output(params=params, mean=self.likelihood.mean(params), factors=states, latents=states)


def _dynamics(settings: NODESAESettings) -> Dynamics:
    if settings.dynamics == "gru":
        return GRUCell(settings.latent_dim)
    field = MLPMap(
        settings.latent_dim, settings.field_width, residual=False, hidden_layers=settings.field_layers
    )
    if settings.dynamics == "node_euler":
        return Euler(field, settings.bin_time)
    if settings.dynamics == "node_rk4":
        return RK4(field, settings.bin_time)
    return Adaptive(field, settings.bin_time, tolerance=settings.tolerance)
