"""Where the sessions of a state-space model start: their own coordinates, or those of known conditions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from nwb_latents.models.interface import Model
from nwb_latents.models.losses.likelihoods import Gaussian, Poisson
from nwb_latents.models.parts.distributions import inverse_positive
from nwb_latents.models.parts.principal_frame import Entry, mean_entry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nwb_latents.models.parts.principal_frame import Frame
    from nwb_latents.models.parts.session_maps import ReadIn, ReadOut, SessionNames
    from nwb_latents.schemas.mdssm import MDSSMSettings

ENTRY_GAIN = 2.0
LEAST_VARIANCE = 1e-4


class StartedSessions(Model):
    """Sessions with a linear read-in and a read-out of their own, which can be set before training.

    Attributes
    ----------
    settings
        Dimension of the state, and whether sessions start at their principal components.
    names
        Order of the sessions.
    read_in, read_out, likelihood
        What sessions have of their own.
    """

    settings: MDSSMSettings
    names: SessionNames
    read_in: ReadIn
    read_out: ReadOut
    likelihood: Gaussian | Poisson

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

    def frame_dim(self) -> int | None:
        """Return the dimension of the state, where sessions start at their principal components."""
        return self.settings.latent_dim if self.settings.start == "principal" else None

    def start_in_frames(
        self, frames: Mapping[str, Frame], *, pretrained: Mapping[str, Tensor] | None = None
    ) -> None:
        """Start sessions in their frames, read in as the sessions of a trained model are (`start_at`)."""
        self.start_at(frames, None if pretrained is None else mean_entry(pretrained))

    def read_in_alone(self, session: str, y: Tensor) -> Tensor:
        """Return what the session's own map makes of activity. Shape ``(trial, time, P0)``."""
        row = self.names.index([session])
        hidden: Tensor = y @ self.read_in.weight(row, y.shape[2])[0] + self.read_in.bias(row)[0]
        return hidden

    def set_read_in(self, session: str, weight: Tensor, bias: Tensor) -> None:
        """Set the session's own map. Shapes ``(unit, P0)`` and ``(P0,)``."""
        row, dtype = self.names.position[session], self.read_in.weight.blocks[0].dtype
        self.read_in.weight.set_row(row, weight.to(dtype))
        self.read_in.bias.set_row(row, bias.to(dtype))

    def reads_out_values(self) -> bool:
        """Whether the likelihood is Gaussian."""
        return isinstance(self.likelihood, Gaussian)

    def set_read_out(self, session: str, weight: Tensor, bias: Tensor, variance: Tensor) -> None:
        """Set read-out and variance of a session. Shapes ``(D, unit)``, ``(unit,)`` and ``(unit,)``."""
        row, dtype = self.names.position[session], self.read_out.weight.blocks[0].dtype
        self.read_out.weight.set_row(row, weight.T[:, None].to(dtype))
        self.read_out.bias.set_row(row, bias[:, None].to(dtype))
        if isinstance(self.likelihood, Gaussian):
            raw = torch.tensor([inverse_positive(float(value)) for value in variance], dtype=dtype)
            self.likelihood.raw_variance.set_row(row, raw)

    def start_from(self, means: Mapping[str, Tensor]) -> None:
        """Let Poisson rates start at the mean rate of each unit, which they would be slow to reach."""
        if isinstance(self.likelihood, Gaussian):
            return
        for name, mean in means.items():
            self.read_out.bias.set_row(self.names.position[name], self.likelihood.bias(mean))
