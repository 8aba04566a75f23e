"""Observation models: elementwise negative log likelihoods that never reduce.

Parameters of ``N`` units lie side by side on the last axis, ``n_params`` for each unit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from nwb_latents.models.parts.distributions import MIN_VARIANCE, inverse_positive, positive
from nwb_latents.models.parts.per_session import PerSession

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nwb_latents.schemas.models import RateLink

MIN_MEAN = 1e-3
"""Least expected value a read-out starts with, for units that are silent in the training trials."""

MIN_POSITIVE = 1e-5
"""Least shape, rate and value of a gamma distribution."""


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

    def bias(self, mean: Tensor) -> Tensor:
        """Return the parameters of units whose expected value is `mean`.

        Parameters
        ----------
        mean
            Shape ``(unit,)``.

        Returns
        -------
        bias
            Shape ``(unit, n_params)``.
        """
        ...

    def add_sessions(self, n_units: Sequence[int]) -> None:
        """Make room for further sessions."""
        ...


class Poisson(nn.Module):
    """Counts; the constant ``log n!`` is left out.

    Parameters
    ----------
    link
        From what the read-out gives, ρ, to the expected count per bin: ``"exp"``, or ``"softplus"``, which is
        linear for large ρ and at least 1e-6 (`RATE_LINKS`).

    Examples
    --------
    >>> one = torch.zeros(1, 1, 1, 1)
    >>> float(Poisson().nll(one, 2 + one, torch.tensor([0])))
    1.0
    >>> round(float(Poisson("softplus").mean(one)), 4)
    0.6931
    """

    n_params = 1

    def __init__(self, link: RateLink = "exp") -> None:
        super().__init__()
        self.rate_link: RateLink = link

    def nll(self, params: Tensor, target: Tensor, sessions: Tensor) -> Tensor:
        """Return ``r − n log r`` of the expected count ``r``."""
        del sessions
        link = RATE_LINKS[self.rate_link]
        return link.mean(params) - target * link.log_mean(params)

    def mean(self, params: Tensor) -> Tensor:
        """Return the expected spikes per bin."""
        return RATE_LINKS[self.rate_link].mean(params)

    def bias(self, mean: Tensor) -> Tensor:
        """Return what gives `mean`, of at least `MIN_MEAN`."""
        return RATE_LINKS[self.rate_link].inverse(mean.clamp_min(MIN_MEAN))[:, None]

    def add_sessions(self, n_units: Sequence[int]) -> None:
        """Do nothing: there are no parameters per session."""
        del n_units


@dataclass(frozen=True)
class Link:
    """How a number without bounds stands for an expected count.

    Attributes
    ----------
    mean, log_mean
        From the number to the expected count, and to its logarithm.
    inverse
        From expected counts above 1e-6 back.
    """

    mean: Callable[[Tensor], Tensor]
    log_mean: Callable[[Tensor], Tensor]
    inverse: Callable[[Tensor], Tensor]


RATE_LINKS: Mapping[RateLink, Link] = {
    "exp": Link(torch.exp, lambda log_rate: log_rate, torch.log),
    "softplus": Link(
        positive,
        lambda raw: positive(raw).log(),
        # log(exp(y) − 1), without overflow where y is large.
        lambda rate: (rate - MIN_VARIANCE) + torch.log(-torch.expm1(MIN_VARIANCE - rate)),
    ),
}
"""By the name among the settings."""


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
        return torch.addcmul(constant[:, None, None], (params - target).square(), (0.5 / var)[:, None, None])

    def mean(self, params: Tensor) -> Tensor:
        """Return the parameters, which are the means."""
        return params

    def bias(self, mean: Tensor) -> Tensor:
        """Return the means."""
        return mean[:, None]

    def add_sessions(self, n_units: Sequence[int]) -> None:
        """Add variances for further sessions, at their starting value."""
        self.raw_variance.add(torch.full((len(n_units), max(n_units)), self.start))


class GaussianPerBin(nn.Module):
    """Real values with a variance that is inferred for every bin, from mean and log variance of each unit.

    The variance counts as at least `MIN_VARIANCE`, as in lfads-torch.

    References
    ----------
    Sedler and Pandarinath 2023 (lfads-torch), where it is the Gaussian reconstruction.

    Examples
    --------
    >>> params = torch.zeros(1, 1, 1, 2)
    >>> round(float(GaussianPerBin().nll(params, torch.ones(1, 1, 1, 1), torch.tensor([0]))), 3)
    1.419
    """

    n_params = 2

    def nll(self, params: Tensor, target: Tensor, sessions: Tensor) -> Tensor:
        """Return ``½ [log 2πv + (y − μ)²/v]``."""
        del sessions
        mean, log_variance = _by_unit(params, 2)
        variance = log_variance.exp().clamp_min(MIN_VARIANCE)
        return 0.5 * (variance.log() + (target - mean).square() / variance + math.log(2 * math.pi))

    def mean(self, params: Tensor) -> Tensor:
        """Return the means."""
        return _by_unit(params, 2)[0]

    def bias(self, mean: Tensor) -> Tensor:
        """Return the means, and variance 1."""
        return torch.stack([mean, torch.zeros_like(mean)], -1)

    def add_sessions(self, n_units: Sequence[int]) -> None:
        """Do nothing: there are no parameters per session."""
        del n_units


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

    def bias(self, mean: Tensor) -> Tensor:
        """Return the means."""
        return mean[:, None]

    def add_sessions(self, n_units: Sequence[int]) -> None:
        """Do nothing: there are no parameters per session."""
        del n_units


class Gamma(nn.Module):
    """Positive values, such as rectified electromyograms, from log shape and log rate of each unit.

    ``y ~ Gamma(α, β)`` with ``α = exp(a) + 1e-5`` and ``β = exp(b) + 1e-5``; values below 1e-5 count as that.

    References
    ----------
    Wimalasena et al. 2022 (EMG-AutoLFADS).

    Examples
    --------
    >>> params = torch.zeros(1, 1, 1, 2)
    >>> round(float(Gamma().nll(params, torch.full((1, 1, 1, 1), 2.0), torch.tensor([0]))), 3)
    2.0
    """

    n_params = 2

    def nll(self, params: Tensor, target: Tensor, sessions: Tensor) -> Tensor:
        """Return ``lnΓ(α) − α ln β − (α − 1) ln y + β y``."""
        del sessions
        log_shape, log_rate = _by_unit(params, 2)
        return _gamma_nll(log_shape, log_rate, target)

    def mean(self, params: Tensor) -> Tensor:
        """Return ``α / β``."""
        log_shape, log_rate = _by_unit(params, 2)
        return _gamma_mean(log_shape, log_rate)

    def bias(self, mean: Tensor) -> Tensor:
        """Return shape ``mean`` and rate 1."""
        log_mean = mean.clamp_min(MIN_MEAN).log()
        return torch.stack([log_mean, torch.zeros_like(log_mean)], -1)

    def add_sessions(self, n_units: Sequence[int]) -> None:
        """Do nothing: there are no parameters per session."""
        del n_units


class ZeroInflatedGamma(nn.Module):
    """Zero, or a gamma-distributed value above a fixed location: deconvolved calcium events.

    ``P(y > 0) = g`` and ``y − loc ~ Gamma(α, β)`` where ``y > 0``. The parameters of a unit are the logit of
    ``g``, log shape and log rate; ``y − loc`` below 1e-5 counts as that.

    Parameters
    ----------
    loc
        Least size of an event.

    References
    ----------
    Zhu et al. 2022 (RADICaL); Wei et al. 2020.

    Examples
    --------
    >>> params, zero = torch.zeros(1, 1, 1, 3), torch.zeros(1, 1, 1, 1)
    >>> round(float(ZeroInflatedGamma().nll(params, zero, torch.tensor([0]))), 3)
    0.693
    """

    n_params = 3

    def __init__(self, loc: float = 0.1) -> None:
        super().__init__()
        self.loc = loc

    def nll(self, params: Tensor, target: Tensor, sessions: Tensor) -> Tensor:
        """Return ``−ln(1 − g)`` of a zero, ``−ln g`` and that of the gamma distribution of an event."""
        del sessions
        gate, log_shape, log_rate = _by_unit(params, 3)
        event = _gamma_nll(log_shape, log_rate, target - self.loc) - logsigmoid(gate)
        return torch.where(target > 0, event, -logsigmoid(-gate))

    def mean(self, params: Tensor) -> Tensor:
        """Return ``g (α / β + loc)``."""
        gate, log_shape, log_rate = _by_unit(params, 3)
        return torch.sigmoid(gate) * (_gamma_mean(log_shape, log_rate) + self.loc)

    def bias(self, mean: Tensor) -> Tensor:
        """Return events in half of the bins with the shape that gives `mean`, and rate 1."""
        log_shape = (2 * mean - self.loc).clamp_min(MIN_MEAN).log()
        zero = torch.zeros_like(log_shape)
        return torch.stack([zero, log_shape, zero], -1)

    def add_sessions(self, n_units: Sequence[int]) -> None:
        """Do nothing: there are no parameters per session."""
        del n_units


def _by_unit(params: Tensor, n_params: int) -> tuple[Tensor, ...]:
    return params.reshape(*params.shape[:-1], -1, n_params).unbind(-1)


def _gamma_nll(log_shape: Tensor, log_rate: Tensor, value: Tensor) -> Tensor:
    shape, rate = log_shape.exp() + MIN_POSITIVE, log_rate.exp() + MIN_POSITIVE
    y = value.clamp_min(MIN_POSITIVE)
    return torch.lgamma(shape) - shape * rate.log() - (shape - 1) * y.log() + rate * y


def _gamma_mean(log_shape: Tensor, log_rate: Tensor) -> Tensor:
    return (log_shape.exp() + MIN_POSITIVE) / (log_rate.exp() + MIN_POSITIVE)


def likelihood_of(name: str, n_units: Sequence[int], *, rate_link: RateLink = "exp") -> Likelihood:
    """Return a likelihood by its name among the settings.

    Parameters
    ----------
    name
        One of ``"gaussian"``, ``"gaussian_per_bin"``, ``"poisson"``, ``"mse"``, ``"gamma"``,
        ``"zero_inflated_gamma"``.
    n_units
        Units of each session, whose variances a Gaussian learns.
    rate_link
        What makes expected counts of the read-out of a Poisson likelihood.

    Raises
    ------
    KeyError
        If there is none of that name.

    Examples
    --------
    >>> type(likelihood_of("mse", [3, 5])).__name__
    'MSE'
    """
    if name == "gaussian":
        return Gaussian(n_units)
    plain: dict[str, Callable[[], Likelihood]] = {
        "poisson": partial(Poisson, rate_link),
        "gaussian_per_bin": GaussianPerBin,
        "mse": MSE,
        "gamma": Gamma,
        "zero_inflated_gamma": ZeroInflatedGamma,
    }
    return plain[name]()
