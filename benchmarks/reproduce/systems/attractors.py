"""Spikes driven by chaotic attractors in three dimensions, to test whether a model finds their dynamics.

==========  ==============================================  =======================  ==============
system      flow                                            parameters               time of a bin
==========  ==============================================  =======================  ==============
Lorenz      ``σ(y−x), x(ρ−z)−y, xy−βz``                     10, 28, 8/3              0.01501
Rössler     ``−y−z, x+ay, b+z(x−c)``                        0.2, 0.2, 5.7            0.16882
Arneodo     ``y, z, −ax−by−cz+dx³``                         −5.5, 4.5, 1, −1         0.09040
==========  ==============================================  =======================  ==============

A bin is a hundredth of the time the Lorenz system takes to go round, a thirty-fifth of that of the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from benchmarks.reproduce.systems.flows import flow_path
from benchmarks.reproduce.systems.lorenz import BETA, BURN_IN, DT, RHO, SUBSTEPS, lorenz_velocity
from benchmarks.reproduce.systems.spiking import SpikingTrials, spiking_trials

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]
    ComplexArray = NDArray[np.complex128]

AttractorName = Literal["lorenz", "rossler", "arneodo"]

ROSSLER_A, ROSSLER_B, ROSSLER_C = 0.2, 0.2, 5.7
ARNEODO_A, ARNEODO_B, ARNEODO_C, ARNEODO_D = -5.5, 4.5, 1.0, -1.0


@dataclass(frozen=True)
class Attractor:
    """A flow, its fixed points, and how it is followed.

    Attributes
    ----------
    velocity
        Time derivative of states of shape ``(…, 3)``.
    fixed_points
        Where it is 0, ordered by the first coordinate. Shape ``(point, 3)``.
    dt
        Time between two bins.
    substeps
        Runge-Kutta steps between two bins.
    centre, spread
        Mean, shape ``(3,)``, and standard deviation of the states trajectories come to the attractor from.
    """

    velocity: Callable[[FloatArray], FloatArray]
    fixed_points: FloatArray
    dt: float
    substeps: int
    centre: tuple[float, float, float]
    spread: float

    def jacobian(self, state: FloatArray) -> FloatArray:
        """Return the derivative of the velocity, exact to rounding (by a complex step).

        Parameters
        ----------
        state
            Shape ``(3,)``.

        Returns
        -------
        jacobian
            ``∂ velocity_i / ∂ state_j``. Shape ``(3, 3)``.
        """
        tiny = 1e-20
        shifted: Any = state + 1j * tiny * np.eye(3)
        found: FloatArray = np.imag(self.velocity(shifted)).T / tiny
        return found

    def eigenvalues(self) -> ComplexArray:
        """Return the eigenvalues of the flow at each fixed point, largest real part first.

        Shape ``(point, 3)``, one over the flow's unit of time.

        Examples
        --------
        >>> ATTRACTORS["lorenz"].eigenvalues()[1].real.round(3).tolist()
        [11.828, -2.667, -22.828]
        """
        found = np.array([np.linalg.eigvals(self.jacobian(point)) for point in self.fixed_points])
        ordered: ComplexArray = np.take_along_axis(found, np.argsort(-found.real, 1, kind="stable"), 1)
        return ordered.astype(np.complex128)


@dataclass(frozen=True)
class AttractorRecipe:
    """How trials are made of an attractor.

    Attributes
    ----------
    n_trials, n_bins, n_units
        Trials, bins of a trial, units.
    n_paths
        Trajectories on the attractor that the trials are cut from, one trial after the other.
    bin_s
        Width of a bin, s; time of the attractor does not depend on it.
    """

    n_trials: int = 2000
    n_bins: int = 70
    n_units: int = 10
    n_paths: int = 20
    bin_s: float = 0.02


def rossler_velocity(state: FloatArray) -> FloatArray:
    """Return the time derivative of states. Shape ``(…, 3)``.

    Examples
    --------
    >>> rossler_velocity(np.array([5.7, 1.0, 2.0])).round(6).tolist()
    [-3.0, 5.9, 0.2]
    """
    x, y, z = state[..., 0], state[..., 1], state[..., 2]
    return np.stack([-y - z, x + ROSSLER_A * y, ROSSLER_B + z * (x - ROSSLER_C)], -1)


def arneodo_velocity(state: FloatArray) -> FloatArray:
    """Return the time derivative of states. Shape ``(…, 3)``.

    Examples
    --------
    >>> arneodo_velocity(np.array([1.0, 2.0, 3.0])).tolist()
    [2.0, 3.0, -7.5]
    """
    x, y, z = state[..., 0], state[..., 1], state[..., 2]
    return np.stack([y, z, -ARNEODO_A * x - ARNEODO_B * y - ARNEODO_C * z + ARNEODO_D * x**3], -1)


def attractor_path(name: AttractorName, n_paths: int, n_bins: int, *, seed: int) -> FloatArray:
    """Return trajectories that have come to the attractor.

    Parameters
    ----------
    name
        System.
    n_paths, n_bins
        Trajectories, bins of each.
    seed
        Decides where they begin.

    Returns
    -------
    path
        In the coordinates of the flow. Shape ``(path, time, 3)``, float64.

    Examples
    --------
    >>> attractor_path("rossler", 4, 10, seed=0).shape
    (4, 10, 3)
    """
    system = ATTRACTORS[name]
    rng = np.random.default_rng([seed, 0])
    start = system.spread * rng.standard_normal((n_paths, 3)) + system.centre
    every = flow_path(system.velocity, start, BURN_IN + n_bins, dt=system.dt, substeps=system.substeps)
    return every[:, BURN_IN:]


def attractor_trials(name: AttractorName, recipe: AttractorRecipe, *, seed: int) -> FloatArray:
    """Return the states `simulate_attractor` makes trials of, in the coordinates of the flow.

    Parameters
    ----------
    name
        System.
    recipe
        Sizes.
    seed
        Decides everything.

    Returns
    -------
    states
        Shape ``(n_trials, n_bins, 3)``, float64.

    Examples
    --------
    >>> attractor_trials("arneodo", AttractorRecipe(n_trials=5, n_paths=2), seed=0).shape
    (5, 70, 3)
    """
    per_path = -(-recipe.n_trials // recipe.n_paths)
    path = attractor_path(name, recipe.n_paths, per_path * recipe.n_bins, seed=seed)
    return path.reshape(-1, recipe.n_bins, 3)[: recipe.n_trials]


def simulate_attractor(name: AttractorName, recipe: AttractorRecipe, *, seed: int) -> SpikingTrials:
    """Simulate units whose log rates are linear in an attractor's state.

    Latents are standardised over all trials and bins. Read-out weights are uniform on [−½, ½], units ordered
    by the first of theirs; each unit's log rate is standardised, and its exponential is the expected count
    in a bin.

    Parameters
    ----------
    name
        System.
    recipe
        Sizes.
    seed
        Decides everything.

    Returns
    -------
    trials
        Shapes ``(n_trials, n_bins, ·)``, each trial its own condition; the latents are the attractor's three.

    References
    ----------
    Sedler, Versteeg and Pandarinath 2023, who cut all trials from one trajectory.

    Examples
    --------
    >>> simulate_attractor("arneodo", AttractorRecipe(n_trials=5, n_paths=2), seed=0).counts.shape
    (5, 70, 10)
    """
    trials = attractor_trials(name, recipe, seed=seed)
    latents = (trials - trials.mean((0, 1))) / trials.std((0, 1))
    rng = np.random.default_rng([seed, 1])
    weights = rng.uniform(-0.5, 0.5, (3, recipe.n_units))
    log_rates = latents @ weights[:, np.argsort(weights[0])]
    log_rates = (log_rates - log_rates.mean((0, 1))) / log_rates.std((0, 1))
    condition = np.arange(recipe.n_trials)
    return spiking_trials(np.exp(log_rates), latents, condition, bin_s=recipe.bin_s, rng=rng)


def _lorenz_points() -> FloatArray:
    c = np.sqrt(BETA * (RHO - 1))
    return np.array([[-c, -c, RHO - 1], [0.0, 0.0, 0.0], [c, c, RHO - 1]])


def _rossler_points() -> FloatArray:
    root = np.sqrt(ROSSLER_C**2 - 4 * ROSSLER_A * ROSSLER_B)
    z = (ROSSLER_C + np.array([-root, root])) / (2 * ROSSLER_A)
    return np.stack([ROSSLER_A * z, -z, z], -1)


def _arneodo_points() -> FloatArray:
    x = np.sqrt(ARNEODO_A / ARNEODO_D)
    return np.array([[-x, 0.0, 0.0], [0.0, 0.0, 0.0], [x, 0.0, 0.0]])


ATTRACTORS: dict[AttractorName, Attractor] = {
    "lorenz": Attractor(lorenz_velocity, _lorenz_points(), DT, SUBSTEPS, (0.0, 0.0, 25.0), 10.0),
    "rossler": Attractor(rossler_velocity, _rossler_points(), 0.16882, 8, (0.0, -4.0, 0.1), 0.5),
    "arneodo": Attractor(arneodo_velocity, _arneodo_points(), 0.09040, 4, (2.3, 0.0, 0.0), 0.3),
}
"""The systems, by name."""
