"""A linear dynamical system whose state is corrected by each bin, as a Kalman filter of fixed gain does."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from nwb_latents.models.batching.tensors import Batch
from nwb_latents.models.batching.views import View, encoder_input, session_means
from nwb_latents.models.interface import Model, Output, Term
from nwb_latents.models.losses.likelihoods import likelihood_of
from nwb_latents.models.parts.distributions import DiagGaussian
from nwb_latents.models.parts.session_maps import ReadIn, ReadOut, SessionNames, checked_units
from toylab.lds_settings import ToyLDSSettings


class ToyLDS(Model):
    """``z_t = F z_{t−1} + K u_t``, ``log λ_t = C z_t + d``; ``u_t`` is the session's read-in of bin t."""

    def __init__(self, settings: ToyLDSSettings, units: Mapping[str, int]) -> None:
        super().__init__()
        n_units = checked_units(units)
        self.settings = settings
        self.names = SessionNames(list(units))
        self.read_in = ReadIn(n_units, settings.read_in)
        self.gain = nn.Linear(settings.read_in.width, settings.latent_dim)
        self.step_matrix = nn.Parameter(0.9 * torch.eye(settings.latent_dim))
        self.likelihood = likelihood_of(settings.likelihood, n_units)
        self.read_out = ReadOut(n_units, n_factors=settings.latent_dim)

    def forward(
        self, batch: Batch, view: View, step: int = 0, generator: torch.Generator | None = None
    ) -> Output:
        """Return reconstruction and loss of a masked batch."""
        del step, generator
        output = self._read(view.x, batch, view.target.shape[2] - view.x.shape[2])
        sessions = self.names.index(batch.sessions, batch.y.device)
        nll = session_means(self.likelihood.nll(output.params, view.target, sessions), view)
        return replace(output, terms=(Term("nll", nll.sum()),))

    def predict(
        self,
        batch: Batch,
        *,
        n_samples: int = 0,
        generator: torch.Generator | None = None,
        embedding: DiagGaussian | None = None,
    ) -> Output:
        """Return the reconstruction: nothing is sampled, and there is no embedding."""
        del n_samples, generator, embedding
        return self._read(encoder_input(batch), batch, batch.target.shape[2] - batch.y.shape[2])

    def forecast(self, batch: Batch, t0: int, k: int, *, embedding: DiagGaussian | None = None) -> Output:
        """Let the state run on by itself after the first `t0` bins."""
        del embedding
        batch.check_forecast(t0, k)
        return self._read(encoder_input(batch, t0), batch, k).from_bin(t0)

    def start_from(self, means: Mapping[str, Tensor]) -> None:
        """Let every unit start at its mean."""
        for name, mean in means.items():
            self.read_out.bias.set_row(self.names.position[name], self.likelihood.bias(mean))

    def stream(self, session: str) -> ToyStream:
        """Return the session bin by bin: a bin needs none after it."""
        self.names.index([session])
        return ToyStream(copy.deepcopy(self).cpu().eval(), session)

    def _read(self, x: Tensor, batch: Batch, n_more: int) -> Output:
        """Filter the bins of `x`, and `n_more` after them that are not seen."""
        sessions = self.names.index(batch.sessions, batch.y.device)
        inputs = self.gain(self.read_in(x, sessions))
        z = torch.zeros_like(inputs[:, :, 0])
        states = []
        for t in range(x.shape[2] + n_more):
            z = z @ self.step_matrix.T
            z = z + inputs[:, :, t] if t < x.shape[2] else z
            states.append(z)
        latents = torch.stack(states, dim=2)
        params = self.read_out(latents, sessions, batch.target.shape[-1])
        return Output(params=params, mean=self.likelihood.mean(params), factors=latents, latents=latents)


class ToyStream:
    """One session of a `ToyLDS`, bin by bin."""

    def __init__(self, model: ToyLDS, session: str) -> None:
        self.model, self.session = model, model.names.index([session])
        self.reset()

    def reset(self) -> None:
        """Begin a trial."""
        self.z = torch.zeros(1, 1, self.model.settings.latent_dim)

    def step(self, x: Tensor) -> Tensor:
        """Take one bin and return its expected counts, both of shape ``(unit,)``."""
        model = self.model
        with torch.inference_mode():
            seen = model.gain(model.read_in(x[None, None, None], self.session))[:, :, 0]
            self.z = self.z @ model.step_matrix.T + seen
            params = model.read_out(self.z[:, :, None], self.session, len(x))
            return model.likelihood.mean(params)[0, 0, 0]
