"""Planar systems that oscillate, settle or do both, stepped by Euler-Maruyama.

Every system has one method, `advance`: the state one step later, without noise. The process noise is the
same for all of them, independent in each coordinate, and added by `simulate_latents`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

NoiseScaling = Literal["sqrt_dt", "dt"]

DT = 0.04
SIGMA = 0.5
DIM = 2


class System(Protocol):
    """A planar system of known equations."""

    @property
    def dt(self) -> float:
        """Step of the integration."""
        ...

    def advance(self, z: FloatArray) -> FloatArray:
        """Return states one step later, without noise. Shape ``(…, 2)``."""
        ...


@dataclass(frozen=True)
class LimitCycle:
    """``dr = r (d − r²) dt``, ``dθ = ω dt``: a stable cycle of radius ``√d`` at constant speed.

    The step is taken in polar coordinates, so the cycle has its radius whatever the step.

    Attributes
    ----------
    omega
        Angular frequency, radians per unit of time.
    d
        Square of the cycle's radius.
    dt
        Step.

    Examples
    --------
    >>> cycle = LimitCycle(omega=2.0)
    >>> round(float(np.hypot(*cycle.advance(np.array([2**0.5, 0.0])))), 6)
    1.414214
    """

    omega: float
    d: float = 2.0
    dt: float = DT

    def advance(self, z: FloatArray) -> FloatArray:
        """Return states one step later, without noise. Shape ``(…, 2)``."""
        r = np.hypot(z[..., 0], z[..., 1])
        angle = np.arctan2(z[..., 1], z[..., 0]) + self.omega * self.dt
        r = r + r * (self.d - r * r) * self.dt
        return np.stack([r * np.cos(angle), r * np.sin(angle)], -1)


@dataclass(frozen=True)
class HopfVanDerPol:
    """``ż₁ = z₂``, ``ż₂ = −z₁ + (μ − z₁²) z₂``: a focus below ``μ = 0``, a cycle above.

    The form the authors of the meta-dynamical state-space model simulate.

    Attributes
    ----------
    mu
        Bifurcation parameter.
    dt
        Step.
    """

    mu: float
    dt: float = DT

    def advance(self, z: FloatArray) -> FloatArray:
        """Return states one step later, without noise. Shape ``(…, 2)``."""
        x, v = z[..., 0], z[..., 1]
        return np.stack([x + v * self.dt, v + (-x + (self.mu - x * x) * v) * self.dt], -1)


@dataclass(frozen=True)
class HopfNormal:
    """``ż = (μ + iω) z − |z|² z``: the supercritical normal form, a cycle of radius ``√μ`` above 0.

    The step is taken in polar coordinates.

    Attributes
    ----------
    mu
        Bifurcation parameter.
    omega
        Angular frequency, radians per unit of time.
    dt
        Step.
    """

    mu: float
    omega: float = 1.0
    dt: float = DT

    def advance(self, z: FloatArray) -> FloatArray:
        """Return states one step later, without noise. Shape ``(…, 2)``."""
        return LimitCycle(self.omega, d=self.mu, dt=self.dt).advance(z)


@dataclass(frozen=True)
class Duffing:
    """``ż₁ = z₂``, ``ż₂ = a z₂ − z₁ (b + c z₁²)``, unforced: one well for ``b > 0``, two below.

    Attributes
    ----------
    a
        Damping; negative, or states diverge.
    b, c
        Linear and cubic stiffness. With ``b < 0`` the wells lie at ``±√(−b/c)``.
    dt
        Step.
    """

    a: float
    b: float
    c: float = 0.1
    dt: float = DT

    def advance(self, z: FloatArray) -> FloatArray:
        """Return states one step later, without noise. Shape ``(…, 2)``."""
        x, v = z[..., 0], z[..., 1]
        return np.stack([x + v * self.dt, v + (self.a * v - x * (self.b + self.c * x * x)) * self.dt], -1)


def duffing_systems(n_damping: int = 4, n_stiffness: int = 5) -> dict[str, System]:
    """Return a grid of Duffing systems by name, with one well and with two.

    The grid is ``a ∈ [−0.8, −0.1]`` by ``b ∈ [−1.4, 1]``, 20 pairs by default; the paper's own pairs are
    not known.

    Examples
    --------
    >>> len(duffing_systems())
    20
    """
    return {
        f"duffing_a{a:+.3f}_b{b:+.3f}": Duffing(float(a), float(b))
        for a in np.linspace(-0.8, -0.1, n_damping)
        for b in np.linspace(-1.4, 1.0, n_stiffness)
    }


def noise_per_step(dt: float, *, sigma: float = SIGMA, scaling: NoiseScaling = "sqrt_dt") -> float:
    """Return the standard deviation of one step's noise: ``σ √dt``, or ``σ dt`` as the authors' code has it.

    Examples
    --------
    >>> round(noise_per_step(0.04), 6), round(noise_per_step(0.04, scaling="dt"), 6)
    (0.1, 0.02)
    """
    return sigma * (dt**0.5 if scaling == "sqrt_dt" else dt)


def simulate_latents(
    system: System,
    z0: FloatArray,
    n_bins: int,
    *,
    rng: np.random.Generator,
    sigma: float = SIGMA,
    noise_scaling: NoiseScaling = "sqrt_dt",
) -> FloatArray:
    """Simulate trajectories by Euler-Maruyama.

    Parameters
    ----------
    system
        The equations.
    z0
        States of the first bin. Shape ``(trial, 2)``.
    n_bins
        Bins, the first included; one step is one bin.
    rng
        Source of the noise.
    sigma
        Strength of the process noise; 0: none.
    noise_scaling
        Whether a step's noise is ``σ √dt``, a Wiener process, or ``σ dt``.

    Returns
    -------
    latents
        Shape ``(trial, time, 2)``, float64.

    Raises
    ------
    ValueError
        If a trajectory diverges.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> simulate_latents(LimitCycle(2.0), np.ones((5, 2)), 10, rng=rng).shape
    (5, 10, 2)
    """
    scale = noise_per_step(system.dt, sigma=sigma, scaling=noise_scaling)
    latents = np.empty((z0.shape[0], n_bins, DIM))
    latents[:, 0] = z0
    for t in range(1, n_bins):
        latents[:, t] = system.advance(latents[:, t - 1]) + scale * rng.standard_normal(z0.shape)
    if not np.isfinite(latents).all():
        raise ValueError(
            f"{system} diverges with steps of {system.dt}: take another parameter or a smaller step"
        )
    return latents
