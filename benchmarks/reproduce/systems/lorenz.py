"""Spikes driven by a Lorenz attractor: three latent dimensions, log rates linear in them.

``ẋ = σ (y − x)``, ``ẏ = x (ρ − z) − y``, ``ż = x y − β z``, stepped by the classical Runge-Kutta method.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.reproduce.systems.flows import flow_path
from benchmarks.reproduce.systems.spiking import SpikingTrials, spiking_trials

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

SIGMA, RHO, BETA = 10.0, 28.0, 8 / 3
DT = 0.01501
"""Time between two bins: a hundredth of the time it takes to go round."""

SUBSTEPS = 2
"""Steps of the integration between two bins."""

BURN_IN = 1000
"""Bins before the first, on the way to the attractor."""


@dataclass(frozen=True)
class LorenzRecipe:
    """How trials are made of the attractor.

    Attributes
    ----------
    n_units, n_bins
        Units, bins of a trial.
    n_conditions, n_repeats
        Initial states, and trials from each of them.
    mean_count
        Expected spikes of each unit in a bin, averaged over all trials and bins.
    log_rate_deviation
        Standard deviation of each unit's log rate over all trials and bins.
    bin_s
        Width of a bin, s; time of the attractor does not depend on it.
    """

    n_units: int = 29
    n_bins: int = 50
    n_conditions: int = 65
    n_repeats: int = 24
    mean_count: float = 0.05
    log_rate_deviation: float = 0.8
    bin_s: float = 0.02


def lorenz_velocity(state: FloatArray) -> FloatArray:
    """Return the time derivative of states. Shape ``(…, 3)``.

    Examples
    --------
    >>> lorenz_velocity(np.array([1.0, 2.0, 3.0])).tolist()
    [10.0, 23.0, -6.0]
    """
    x, y, z = state[..., 0], state[..., 1], state[..., 2]
    return np.stack([SIGMA * (y - x), x * (RHO - z) - y, x * y - BETA * z], -1)


def lorenz_path(start: FloatArray, n_bins: int, *, dt: float = DT) -> FloatArray:
    """Follow the attractor.

    Parameters
    ----------
    start
        States of the first bin. Shape ``(trial, 3)``.
    n_bins
        Bins, the first included.
    dt
        Time between two bins.

    Returns
    -------
    path
        Shape ``(trial, time, 3)``, float64.

    Examples
    --------
    >>> lorenz_path(np.ones((4, 3)), 10).shape
    (4, 10, 3)
    """
    return flow_path(lorenz_velocity, start, n_bins, dt=dt, substeps=SUBSTEPS)


def simulate_lorenz(recipe: LorenzRecipe, *, seed: int) -> SpikingTrials:
    """Simulate trials that start anywhere on the attractor.

    Latents are standardised over all trials and bins. Read-out weights are uniform on [−½, ½]; each unit's
    log rate is scaled to the recipe's deviation and shifted to its mean count.

    Parameters
    ----------
    recipe
        Sizes and rates.
    seed
        Decides everything.

    Returns
    -------
    trials
        Shapes ``(n_conditions · n_repeats, n_bins, ·)``; the latents are the attractor's three.

    References
    ----------
    Parameters and read-out: Sedler et al. 2023; repeated conditions: Zhu et al. 2021.

    Examples
    --------
    >>> few = LorenzRecipe(n_conditions=5, n_repeats=2)
    >>> simulate_lorenz(few, seed=0).counts.shape
    (10, 50, 29)
    """
    rng = np.random.default_rng([seed, 0])
    start = 10 * rng.standard_normal((recipe.n_conditions, 3)) + [0.0, 0.0, 25.0]
    path = lorenz_path(lorenz_path(start, BURN_IN)[:, -1], recipe.n_bins)
    latents = (path - path.mean((0, 1))) / path.std((0, 1))
    log_rates = latents @ rng.uniform(-0.5, 0.5, (3, recipe.n_units))
    log_rates *= recipe.log_rate_deviation / log_rates.std((0, 1))
    shape = np.exp(log_rates)
    rates = recipe.mean_count * shape / shape.mean((0, 1))
    condition = np.repeat(np.arange(recipe.n_conditions), recipe.n_repeats)
    return spiking_trials(rates[condition], latents[condition], condition, bin_s=recipe.bin_s, rng=rng)
