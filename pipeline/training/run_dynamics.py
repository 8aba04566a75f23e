"""The dynamics of a trained run, let run by themselves from given states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from nwb_latents.models.interface import RunsFree
from nwb_latents.models.registry import models_that
from nwb_latents.pipeline.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

    from nwb_latents.models.interface import Model
    from nwb_latents.pipeline.training.feed import Scaling
    from nwb_latents.schemas.training import TrainSettings


@dataclass(frozen=True)
class RunDynamics:
    """A trained model with the scaling of its sessions, without their trials.

    Attributes
    ----------
    name
        Name of the run.
    settings
        What it was trained with.
    model
        In evaluation mode, with the best weights.
    scalings
        Session id → scaling of its units.
    device
        Where it computes.
    """

    name: str
    settings: TrainSettings
    model: Model
    scalings: Mapping[str, Scaling]
    device: torch.device

    @property
    def sessions(self) -> tuple[str, ...]:
        """Sessions the model knows."""
        return tuple(self.scalings)

    @property
    def embedding_dim(self) -> int:
        """Dimension of the embedding; 0 where it changes nothing, because the dynamics are shared."""
        return self._generative().embedding_size()

    @property
    def latent_dim(self) -> int:
        """Dimension of the latent state."""
        return self._generative().state_size()

    def roll_out(
        self, session: str, z0: ArrayLike, *, n_bins: int, embeddings: ArrayLike
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Let the dynamics of given embeddings run from given states.

        Parameters
        ----------
        session
            Session whose read-out and scaling are used.
        z0
            States of the first bin. Shape ``(start, D)``.
        n_bins
            Bins, the first included.
        embeddings
            Shape ``(embedding, E)``; where the dynamics are shared, only their number counts.

        Returns
        -------
        latents
            From every start under every embedding. Shape ``(embedding, start, n_bins, D)``, float32.
        rates
            Hz. Shape ``(embedding, start, n_bins, unit)``, float32.

        Raises
        ------
        DataError
            If the model does not know the session, or the shapes do not fit it.
        """
        self._known(session)
        model = self._generative()
        start, given = np.atleast_2d(z0), np.atleast_2d(embeddings)
        if start.shape[1:] != (self.latent_dim,) or n_bins < 1:
            raise DataError(
                f"Run {self.name}: cannot roll {n_bins} bins out of states of shape {start.shape}; expected "
                f"at least 1 bin and the shape (start, {self.latent_dim})."
            )
        expected = model.embedding_size()
        if not expected:
            given = np.zeros((len(given), 0))
        if given.shape[1:] != (expected,):
            raise DataError(
                f"Run {self.name}: embeddings have shape {given.shape}; expected (embedding, {expected})."
            )
        n_units = len(self.scalings[session].units)
        parameter = next(self.model.parameters())
        with torch.inference_mode():
            states = torch.as_tensor(start, dtype=parameter.dtype, device=self.device)
            e = torch.as_tensor(given, dtype=parameter.dtype, device=self.device)
            output = model.run_free(
                [session] * len(e),
                states.expand(len(e), -1, -1),
                n_bins=n_bins,
                embedding=e,
                n_units=n_units,
            )
        rates = self.scalings[session].to_hz(output.mean.cpu().numpy())
        return output.latents.cpu().numpy(), rates

    def step(self, states: ArrayLike, embedding: ArrayLike) -> NDArray[np.float32]:
        """Return ``f(z, e)``, the expected next state of each state.

        Parameters
        ----------
        states
            Shape ``(state, D)``.
        embedding
            Shape ``(E,)``; not used where the dynamics are shared.

        Returns
        -------
        next
            Shape of `states`, float32.

        Raises
        ------
        DataError
            If the shapes do not fit the model.
        """
        latents, _ = self.roll_out(self.sessions[0], states, n_bins=2, embeddings=np.atleast_2d(embedding))
        return latents[0, :, 1]

    def _generative(self) -> RunsFree:
        if not isinstance(self.model, RunsFree):
            raise DataError(
                f"Run {self.name}: the model {self.settings.model.name} has no dynamics that run by "
                f"themselves. Choose a run of {' or '.join(models_that(RunsFree))}."
            )
        return self.model

    def _known(self, session: str) -> None:
        if session not in self.scalings:
            raise DataError(
                f"Run {self.name} was not trained on {session}; it knows {', '.join(self.sessions)}. "
                "Choose one of these, or train a run on that session too."
            )
