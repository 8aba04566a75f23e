"""Observation models: elementwise negative log likelihoods that never reduce.

Parameters of ``N`` units lie side by side on the last axis, ``n_params`` for each unit.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

from models.distributions import inverse_positive, positive
from models.per_session import PerSession

if TYPE_CHECKING:
    from collections.abc import Sequence


class Likelihood(Protocol):
    """Distribution of what was recorded, given the read-out."""

    n_params: int

    def nll(self, params: Tensor, target: Tensor, sessions: Tensor) -> Tensor:
        """Return the negative log likelihood of each element, nats. Shape of `target`.

        Parameters
        ----------
        params
            Shape ``(session, trial, time, unit * n_params)``.
        target
            Shape ``(session, trial, time, unit)``, finite.
        sessions
            Position of each session among the model's sessions. Shape ``(session,)``, int64.
        """
        ...

    def mean(self, params: Tensor) -> Tensor:
        """Return the expected value of each element. Shape ``(session, trial, time, unit)``."""
        ...

    def add_sessions(self, n_units: Sequence[int]) -> None:
        """Make room for further sessions."""
        ...


class Poisson(nn.Module):
    """Counts, from the logarithm of the expected count per bin; the constant ``log n!`` is left out.

    Examples
    --------
    >>> one = torch.zeros(1, 1, 1, 1)
    >>> float(Poisson().nll(one, 2 + one, torch.tensor([0])))
    1.0
    """

    n_params = 1

    def nll(self, params: Tensor, target: Tensor, sessions: Tensor) -> Tensor:
        """Return ``exp(ρ) − n ρ``."""
        del sessions
        return params.exp() - target * params

    def mean(self, params: Tensor) -> Tensor:
        """Return ``exp(ρ)``, expected spikes per bin."""
        return params.exp()

    def add_sessions(self, n_units: Sequence[int]) -> None:
        """Do nothing: there are no parameters per session."""
        del n_units


class Gaussian(nn.Module):
    """Real values with one learned variance per unit (the diagonal ``R`` of a session).

    Parameters
    ----------
    n_units
        Units of each session.
    variance
        Variance at the start.

    Examples
    --------
    >>> zero = torch.zeros(1, 1, 1, 2)
    >>> [round(v, 3) for v in Gaussian([2]).nll(zero, zero, torch.tensor([0])).flatten().tolist()]
    [0.919, 0.919]
    """

    n_params = 1

    def __init__(self, n_units: Sequence[int], *, variance: float = 1.0) -> None:
        super().__init__()
        self.start = inverse_positive(variance)
        self.raw_variance = PerSession(torch.full((len(n_units), max(n_units)), self.start))

    def nll(self, params: Tensor, target: Tensor, sessions: Tensor) -> Tensor:
        """Return ``½ [log 2πR + (y − μ)²/R]``."""
        var = positive(self.raw_variance(sessions, params.shape[-1]))
        constant = 0.5 * (var.log() + math.log(2 * math.pi))
        return torch.addcmul(constant[:, None, None], (target - params).square(), (0.5 / var)[:, None, None])

    def mean(self, params: Tensor) -> Tensor:
        """Return the parameters, which are the means."""
        return params

    def add_sessions(self, n_units: Sequence[int]) -> None:
        """Add variances for further sessions, at their starting value."""
        self.raw_variance.add(torch.full((len(n_units), max(n_units)), self.start))


class MSE(nn.Module):
    """Squared error.

    Examples
    --------
    >>> zero = torch.zeros(1, 1, 1, 1)
    >>> float(MSE().nll(zero, 2 + zero, torch.tensor([0])))
    4.0
    """

    n_params = 1

    def nll(self, params: Tensor, target: Tensor, sessions: Tensor) -> Tensor:
        """Return ``(y − ŷ)²``."""
        del sessions
        return (target - params).square()

    def mean(self, params: Tensor) -> Tensor:
        """Return the parameters, which are the predictions."""
        return params

    def add_sessions(self, n_units: Sequence[int]) -> None:
        """Do nothing: there are no parameters per session."""
        del n_units
