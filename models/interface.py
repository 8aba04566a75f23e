"""What a model returns, and what every model can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from nwb_latents.models.losses.schedules import Schedule, constant

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nwb_latents.models.batching.masks import View
    from nwb_latents.models.batching.tensors import Batch
    from nwb_latents.models.parts.distributions import DiagGaussian


@dataclass(frozen=True)
class Term:
    """One part of the loss.

    Attributes
    ----------
    name
        Name under which it is logged.
    value
        Scalar, summed over sessions.
    weight
        Factor as a function of the step.
    """

    name: str
    value: Tensor
    weight: Schedule = field(default_factory=lambda: constant(1.0))


@dataclass(frozen=True)
class Output:
    """What a model makes of a batch.

    Attributes
    ----------
    params
        Parameters of the likelihood. Shape ``(session, trial, time, unit * n_params)``.
    mean
        Expected value of each element. Shape ``(session, trial, time, unit)``.
    factors
        What the read-out reads. Shape ``(session, trial, time, F)``.
    latents
        Latent states. Shape ``(session, trial, time, D)``.
    terms
        Parts of the loss; empty outside training.
    aux
        Anything else worth looking at, by name.
    """

    params: Tensor
    mean: Tensor
    factors: Tensor
    latents: Tensor
    terms: tuple[Term, ...] = ()
    aux: Mapping[str, Tensor] = field(default_factory=dict)

    def from_bin(self, t0: int) -> Output:
        """Return what was made of bin `t0` (negative: counted from the end) and later ones, without terms."""
        return Output(
            params=self.params[:, :, t0:],
            mean=self.mean[:, :, t0:],
            factors=self.factors[:, :, t0:],
            latents=self.latents[:, :, t0:],
            aux=self.aux,
        )


def total_loss(output: Output, step: int) -> Tensor:
    """Return ``Σ weight(step) · value``, a scalar.

    Examples
    --------
    >>> zero = torch.zeros(1)
    >>> terms = (Term("a", torch.tensor(2.0)), Term("b", torch.tensor(3.0), constant(0.1)))
    >>> round(float(total_loss(Output(zero, zero, zero, zero, terms), 0)), 4)
    2.3
    """
    return torch.stack([term.weight(step) * term.value for term in output.terms]).sum()


class Model(nn.Module, ABC):
    """A latent-variable model of several sessions.

    Randomness enters only through the generators it is handed; without one it uses posterior means.
    """

    @abstractmethod
    def forward(
        self, batch: Batch, view: View, step: int = 0, generator: torch.Generator | None = None
    ) -> Output:
        """Return reconstruction and loss terms of a masked batch."""

    @abstractmethod
    def predict(
        self,
        batch: Batch,
        *,
        n_samples: int = 0,
        generator: torch.Generator | None = None,
        embedding: DiagGaussian | None = None,
    ) -> Output:
        """Return the reconstruction along the posterior mean, or averaged over `n_samples` samples."""

    @abstractmethod
    def forecast(self, batch: Batch, t0: int, k: int, *, embedding: DiagGaussian | None = None) -> Output:
        """Return bins ``t0 … t0 + k − 1`` from a model that was shown only the first `t0` bins."""

    @property
    def rate_samples(self) -> int:
        """Samples of the posterior whose average are the model's rates; 0: those along the posterior mean."""
        return 0

    def embed(self, batch: Batch) -> DiagGaussian | None:
        """Return the embedding of each session, shapes ``(session, E)``; None where there is none."""
        del batch
        return None

    def start_from(self, means: Mapping[str, Tensor]) -> None:
        """Set initial read-out biases from the mean of each session's targets; by itself does nothing.

        Parameters
        ----------
        means
            Session id → mean target of each unit. Shape ``(unit,)``.
        """
        del means

    def add_sessions(self, units: Mapping[str, int]) -> None:
        """Make room for further sessions, session id → number of units.

        Raises
        ------
        ValueError
            If the model cannot take further sessions.
        """
        del units
        raise ValueError(f"{type(self).__name__} takes no further sessions")

    def alignable_parameters(self, sessions: Sequence[str]) -> frozenset[str]:
        """Return the names of the parameters that belong to these sessions alone.

        They are what few-shot alignment to the sessions trains; all others it leaves as they are.

        Parameters
        ----------
        sessions
            Session ids; all sessions of a block that was added at once.

        Raises
        ------
        ValueError
            If the model cannot be aligned, or other sessions share one of the parameters.
        """
        del sessions
        raise ValueError(f"{type(self).__name__} cannot be aligned to further sessions")

    def start_aligned(self, pretrained: Mapping[str, Tensor]) -> None:
        """Take over what sessions share from the weights of a trained model of the same settings.

        Parameters
        ----------
        pretrained
            State dict of the trained model, which knows other sessions.

        Raises
        ------
        ValueError
            If the model cannot be aligned.
        """
        del pretrained
        raise ValueError(f"{type(self).__name__} cannot be aligned to further sessions")
