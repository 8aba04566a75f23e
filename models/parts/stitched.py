"""Models whose sessions have a read-in and a read-out of their own, and share everything in between."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nwb_latents.models.interface import Model
from nwb_latents.models.parts.per_session import load_shared, names_of_sessions, per_session_parts
from nwb_latents.models.parts.session_maps import checked_units

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

    from nwb_latents.models.losses.likelihoods import Likelihood
    from nwb_latents.models.parts.session_maps import ReadIn, ReadOut, SessionNames


class StitchedModel(Model):
    """Sessions are added, aligned and started through what each has of its own.

    Attributes
    ----------
    names
        Order of the sessions.
    read_in, read_out, likelihood
        What sessions have of their own.

    References
    ----------
    Pandarinath et al. 2018 stitch sessions this way. Karpowicz et al. 2022 (NoMAD) keep the dynamics and
    train what maps a new day onto them; here by the likelihood of the new day's trials.
    """

    names: SessionNames
    read_in: ReadIn
    read_out: ReadOut
    likelihood: Likelihood

    def add_sessions(self, units: Mapping[str, int]) -> None:
        """Make room for further sessions; see `Model.add_sessions`."""
        n_units = checked_units(units)
        self.names.add(list(units))
        self.read_in.add_sessions(n_units)
        self.read_out.add_sessions(n_units)
        self.likelihood.add_sessions(n_units)

    def alignable_parameters(self, sessions: Sequence[str]) -> frozenset[str]:
        """Return read-in, read-out and likelihood of the sessions; what they share stays as it is."""
        return names_of_sessions(per_session_parts(self), self.names.index(sessions).tolist())

    def start_aligned(self, pretrained: Mapping[str, Tensor]) -> None:
        """Take over what sessions share."""
        load_shared(self, pretrained, per_session_parts(self))

    def start_from(self, means: Mapping[str, Tensor]) -> None:
        """Let every unit start at its mean, which the read-out would be slow to reach."""
        for name, mean in means.items():
            self.read_out.bias.set_row(self.names.position[name], self.likelihood.bias(mean))
