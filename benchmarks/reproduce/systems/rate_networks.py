"""Rate networks with planted dynamics: rotations of a known frequency, decay, two stable states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

TAU_S, DT_S = 0.05, 0.01


@dataclass(frozen=True)
class RateNetwork:
    """``τ dr/dt = −r + J tanh r``, by Euler steps.

    Attributes
    ----------
    weights
        J. Shape ``(N, N)``.
    tau_s, dt_s
        Time constant and step, s.
    """

    weights: FloatArray
    tau_s: float = TAU_S
    dt_s: float = DT_S

    @property
    def size(self) -> int:
        """Number of units N."""
        return len(self.weights)

    def advance(self, r: FloatArray) -> FloatArray:
        """Return rates one step later, without noise. Shape ``(..., N)``."""
        stepped: FloatArray = r + self.dt_s / self.tau_s * (np.tanh(r) @ self.weights.T - r)
        return stepped

    def leading_eigenvalue(self) -> complex:
        """Return the eigenvalue of ``(J − I) / τ`` with the largest real part, of a pair the upper one, 1/s.

        Examples
        --------
        >>> plane = np.eye(4)[:, :2]
        >>> round(rotation(2.0, plane).leading_eigenvalue().imag / (2 * np.pi), 6)
        2.0
        """
        values = (np.linalg.eigvals(self.weights) - 1) / self.tau_s
        lead = values[values.real >= values.real.max() - 1e-9]
        return complex(lead[lead.imag.argmax()])


def simulate_rates(
    network: RateNetwork,
    n_trials: int,
    n_bins: int,
    *,
    plane: FloatArray,
    rng: np.random.Generator,
    noise: float = 0.005,
) -> FloatArray:
    """Simulate trials that start at random in a plane, and a little beside it.

    Parameters
    ----------
    network
        The network.
    n_trials, n_bins
        Trials, and steps of each, the first state included.
    plane
        Orthonormal columns; trials start at about unit length along each. Shape ``(N, K)``.
    rng
        Source of the starts and of the noise.
    noise
        Deviation of the noise of each unit and step.

    Returns
    -------
    rates
        Shape ``(trial, time, N)``, float64.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> plane = random_plane(10, rng=rng)
    >>> simulate_rates(rotation(2.0, plane), 3, 5, plane=plane, rng=rng).shape
    (3, 5, 10)
    """
    r = rng.standard_normal((n_trials, plane.shape[1])) @ plane.T
    r = r + 0.1 * rng.standard_normal(r.shape) / np.sqrt(network.size)
    rates = [r]
    for _ in range(1, n_bins):
        r = network.advance(r) + noise * rng.standard_normal(r.shape)
        rates.append(r)
    return np.stack(rates, 1)


def random_plane(size: int, n_axes: int = 2, *, rng: np.random.Generator) -> FloatArray:
    """Return orthonormal columns. Shape ``(size, n_axes)``."""
    columns: FloatArray = np.linalg.qr(rng.standard_normal((size, n_axes)))[0]
    return columns


def rotation(
    frequency_hz: float, plane: FloatArray, *, gain: float = 1.6, tau_s: float = TAU_S, dt_s: float = DT_S
) -> RateNetwork:
    """Return a network that rotates in a plane: ``(J − I) / τ`` has the eigenvalues ``(gain − 1)/τ ± 2πi f``.

    Parameters
    ----------
    frequency_hz
        Frequency of the linearisation at 0; 0 is no rotation but gives every direction of the plane its own
        pair of stable states.
    plane
        Orthonormal columns. Shape ``(N, 2)``.
    gain
        Real part of the eigenvalues of J; below 1 activity decays.
    tau_s, dt_s
        Time constant and step, s.
    """
    turn = 2 * np.pi * frequency_hz * tau_s
    return RateNetwork(plane @ np.array([[gain, -turn], [turn, gain]]) @ plane.T, tau_s, dt_s)


def bistable(axis: FloatArray, *, gain: float = 1.6, tau_s: float = TAU_S, dt_s: float = DT_S) -> RateNetwork:
    """Return a network with two stable states along an axis, of unit length. Shape ``(N,)``."""
    return RateNetwork(gain * np.outer(axis, axis), tau_s, dt_s)
