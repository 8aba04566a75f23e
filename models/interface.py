"""What a model returns, what every model can do, and what only some can.

An ability that only some have is a protocol: a model has it by having its methods, and whoever needs it asks
``isinstance(model, RunsFree)``, never for a class of model (`nwb_latents.models.registry.models_that` names
the models that have it).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from nwb_latents.models.losses.schedules import Schedule, constant

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nwb_latents.models.batching.tensors import Batch
    from nwb_latents.models.batching.views import View
    from nwb_latents.models.parts.distributions import DiagGaussian
    from nwb_latents.models.parts.principal_frame import Frame
    from nwb_latents.models.parts.principal_regression import RegressedMap


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
    logged
        What is logged in place of the value, where the value has a share of the batch in it; None: the value.
    """

    name: str
    value: Tensor
    weight: Schedule = field(default_factory=lambda: constant(1.0))
    logged: Tensor | None = None


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
    velocity
        Hand velocity by the model's own head, in deviations of the session. Shape ``(session, trial, time,
        axis)``; None without one.
    """

    params: Tensor
    mean: Tensor
    factors: Tensor
    latents: Tensor
    terms: tuple[Term, ...] = ()
    aux: Mapping[str, Tensor] = field(default_factory=dict)
    velocity: Tensor | None = None

    def from_bin(self, t0: int) -> Output:
        """Return what was made of bin `t0` (negative: counted from the end) and later ones, without terms."""
        return Output(
            params=self.params[:, :, t0:],
            mean=self.mean[:, :, t0:],
            factors=self.factors[:, :, t0:],
            latents=self.latents[:, :, t0:],
            aux=self.aux,
            velocity=None if self.velocity is None else self.velocity[:, :, t0:],
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
    It is built of its settings, an object of a class of `nwb_latents.schemas.models.ModelSettings` that names
    it, and session id → number of units.
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

    @property
    def computes_trials_apart(self) -> bool:
        """Whether no trial has a part in the loss of another, so that they can be computed apart."""
        return False

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


@runtime_checkable
class Aligns(Protocol):
    """Takes further sessions and learns them from few trials, while all it knows stays as it is."""

    def add_sessions(self, units: Mapping[str, int]) -> None:
        """Make room for further sessions, session id → number of units.

        Raises
        ------
        ValueError
            If the model cannot take these sessions.
        """

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
            If the model cannot be aligned as it is set, or other sessions share one of the parameters.
        """

    def start_aligned(self, pretrained: Mapping[str, Tensor]) -> None:
        """Take over what sessions share from the weights of a trained model of the same settings.

        Parameters
        ----------
        pretrained
            State dict of the trained model, which knows other sessions.
        """


@runtime_checkable
class StartsInFrames(Protocol):
    """Can start its sessions in coordinates of their own data (`models.parts.principal_frame`)."""

    def frame_dim(self) -> int | None:
        """Return the number of axes of the frames its settings ask for; None: they ask for none."""

    def start_in_frames(
        self, frames: Mapping[str, Frame], *, pretrained: Mapping[str, Tensor] | None = None
    ) -> None:
        """Start sessions in their frames.

        Parameters
        ----------
        frames
            Session id → frame.
        pretrained
            State dict of the trained model the sessions are aligned to; None: there is none.
        """


@runtime_checkable
class StartsByRegression(Protocol):
    """Can start the maps of its sessions by regression on conditions they have in common."""

    def regressed_width(self) -> int | None:
        """Return the width of the maps its settings ask for; None: they start otherwise."""

    def start_maps(self, maps: Mapping[str, RegressedMap]) -> None:
        """Let the maps of sessions start where principal-component regression puts them, by session id."""


@runtime_checkable
class StartsFromConditions(Protocol):
    """Can start a new session from what known sessions read in under the same conditions."""

    def read_in_alone(self, session: str, y: Tensor) -> Tensor:
        """Return what the session's own map makes of activity, before anything sessions share.

        Parameters
        ----------
        session
            Session id.
        y
            Finite. Shape ``(trial, time, unit)``.

        Returns
        -------
        hidden
            Shape ``(trial, time, P0)``.
        """

    def set_read_in(self, session: str, weight: Tensor, bias: Tensor) -> None:
        """Set that map. Shapes ``(unit, P0)`` and ``(P0,)``."""

    def reads_out_values(self) -> bool:
        """Whether its read-out is linear in what it scores, so that it can be set by regression too."""

    def set_read_out(self, session: str, weight: Tensor, bias: Tensor, variance: Tensor) -> None:
        """Set the read-out from states and its variance. Shapes ``(D, unit)``, ``(unit,)``, ``(unit,)``."""


@runtime_checkable
class RunsFree(Protocol):
    """Has dynamics that run by themselves, from any state and under any embedding."""

    def state_size(self) -> int:
        """Return the dimension of the latent state."""

    def embedding_size(self) -> int:
        """Return the dimension of the embedding; 0 where there is none, because sessions share everything."""

    def run_free(
        self, sessions: Sequence[str], z0: Tensor, *, n_bins: int, embedding: Tensor, n_units: int
    ) -> Output:
        """Return what the dynamics make of given states.

        Parameters
        ----------
        sessions
            Session whose read-out each row uses; one may come several times.
        z0
            States of the first bin. Shape ``(session, trial, D)``.
        n_bins
            Bins, the first included.
        embedding
            Shape ``(session, E)``.
        n_units
            Units of the largest session.
        """


class BinStream(Protocol):
    """One session, bin by bin."""

    def reset(self) -> None:
        """Begin a trial: forget the bins before."""

    def step(self, x: Tensor) -> Tensor:
        """Take one bin and return its expected counts, both of shape ``(unit,)``.

        Raises
        ------
        ValueError
            If the trial has become longer than the model can take.
        """


@runtime_checkable
class Streams(Protocol):
    """Gives the rates of a bin before the next one is known."""

    def stream(self, session: str) -> BinStream:
        """Return the stream of a session, a copy on the CPU whose rates are those of `Model.predict`.

        Raises
        ------
        ValueError
            If the model as it is set needs later bins; the message says which setting to change.
        KeyError
            If it does not know the session.
        """


@runtime_checkable
class MakesTrialsOfCodes(Protocol):
    """Stands a code of a few numbers for a whole trial, and makes trials of codes."""

    def code_size(self) -> int:
        """Return the number of numbers of a code."""

    def decode(self, sessions: Sequence[str], code: Tensor, noise: Tensor) -> Output:
        """Return one trial of each code and noise.

        Parameters
        ----------
        sessions
            Session of each row.
        code
            Shape ``(session, trial, L)``.
        noise
            Standard normal. Shape ``(session, trial, time, unit)``.
        """

    def expected(self, sessions: Sequence[str], code: Tensor, like: Tensor) -> Output:
        """Return the mean of the trials of each code, of the shape and kind of `like`."""
