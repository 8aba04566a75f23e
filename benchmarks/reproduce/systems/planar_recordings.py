"""Recordings of planar systems: noisy linear observations of trajectories, and the best forecast of them.

Parameters follow Vermani et al. (ICLR 2025); where the paper's value is not known the choice is said.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.sources.simulator.planar_systems import (
    DIM,
    SIGMA,
    HopfNormal,
    HopfVanDerPol,
    LimitCycle,
    NoiseScaling,
    System,
    noise_per_step,
    simulate_latents,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]

SPLITS = ("train", "val", "test")
DEFAULT_TRIALS: Mapping[str, int] = {"train": 128, "val": 64, "test": 64}


@dataclass(frozen=True)
class Recipe:
    """How a recording is made of a system.

    Attributes
    ----------
    n_bins
        Bins of a trial; the paper's number is not known, 300 is likely.
    n_trials
        Split → number of trials.
    n_units
        Least and most units of a recording.
    sigma, noise_scaling
        Process noise; see `simulate_latents`.
    observation_variance
        Variance of the noise of each unit.
    """

    n_bins: int = 300
    n_trials: Mapping[str, int] = field(default_factory=lambda: dict(DEFAULT_TRIALS))
    n_units: tuple[int, int] = (30, 100)
    sigma: float = SIGMA
    noise_scaling: NoiseScaling = "sqrt_dt"
    observation_variance: float = 0.01


@dataclass(frozen=True)
class Recording:
    """Trials of one system.

    Attributes
    ----------
    name
        Name of the recording.
    system
        The equations, with their parameters.
    read_out
        C. Shape ``(unit, 2)``.
    observations
        Split → ``y = C z + ε``. Shape ``(trial, time, unit)``, float64, finite.
    latents
        Split → true states. Shape ``(trial, time, 2)``, float64.
    recipe
        How it was made.
    """

    name: str
    system: System
    read_out: FloatArray
    observations: Mapping[str, FloatArray]
    latents: Mapping[str, FloatArray]
    recipe: Recipe

    @property
    def n_units(self) -> int:
        """Number of units."""
        return len(self.read_out)

    def best_forecast(self, split: str, t0: int, k: int, *, n_futures: int = 0, seed: int = 0) -> FloatArray:
        """Forecast bins ``t0 … t0 + k − 1`` from the true state of the bin before.

        Nothing that sees the recording alone does better in the mean than the mean over many noisy futures.
        Along the true map without noise the forecast stays as sure of the phase as it was, and a model that
        has learnt how unsure it is may be ahead.

        Parameters
        ----------
        split
            ``"train"``, ``"val"`` or ``"test"``.
        t0
            Bins seen.
        k
            Bins forecast; they may go beyond the trial.
        n_futures
            Noisy futures of each trial that are averaged; 0: the one without noise.
        seed
            Seed of the futures.

        Returns
        -------
        forecast
            Expected observations. Shape ``(trial, k, unit)``.

        Raises
        ------
        ValueError
            If `t0` is not between 1 and the number of bins, `k` is below 1 or `n_futures` below 0.

        Examples
        --------
        >>> few = Recipe(n_bins=20, n_trials={"train": 0, "val": 0, "test": 3}, n_units=(4, 4))
        >>> simulate_recording("a", LimitCycle(2.0), few, seed=0).best_forecast("test", 10, 5).shape
        (3, 5, 4)
        """
        latents = self.latents[split]
        if not 1 <= t0 <= latents.shape[1] or k < 1 or n_futures < 0:
            raise ValueError(
                f"a forecast of {k} bins after {t0} seen bins ({n_futures} futures) of trials with "
                f"{latents.shape[1]} bins"
            )
        # (future, trial, state); one future is enough where nothing differs between them
        z, path = np.repeat(latents[None, :, t0 - 1], max(n_futures, 1), axis=0), []
        sigma = self.recipe.sigma if n_futures else 0.0
        noise = noise_per_step(self.system.dt, sigma=sigma, scaling=self.recipe.noise_scaling)
        rng = np.random.default_rng(seed)
        for _ in range(k):
            z = self.system.advance(z) + noise * rng.standard_normal(z.shape)
            path.append(z.mean(axis=0))
        forecast: FloatArray = np.stack(path, 1) @ self.read_out.T
        return forecast


def simulate_recording(name: str, system: System, recipe: Recipe, *, seed: int) -> Recording:
    """Simulate trials of a system and observe them.

    Trials start at ``z ~ N(0, I)``; read-out weights are ``N(0, 1/2)``.

    Parameters
    ----------
    name
        Name of the recording; with `seed` it decides every random number, so that a recording does not
        depend on which others are made.
    system
        The equations.
    recipe
        Lengths, numbers and noise.
    seed
        Seed.

    Returns
    -------
    recording
        Trials of every split, with the truth.

    Examples
    --------
    >>> few = Recipe(n_bins=20, n_trials={"train": 8, "val": 2, "test": 3}, n_units=(4, 9))
    >>> recording = simulate_recording("a", LimitCycle(2.0), few, seed=0)
    >>> recording.observations["train"].shape == (8, 20, recording.n_units)
    True
    """
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    least, most = recipe.n_units
    n_units = int(rng.integers(least, most + 1))
    read_out = rng.standard_normal((n_units, DIM)) / np.sqrt(DIM)
    latents, observations = {}, {}
    for split in SPLITS:
        z0 = rng.standard_normal((recipe.n_trials[split], DIM))
        z = simulate_latents(
            system, z0, recipe.n_bins, rng=rng, sigma=recipe.sigma, noise_scaling=recipe.noise_scaling
        )
        noise = np.sqrt(recipe.observation_variance) * rng.standard_normal((*z.shape[:2], n_units))
        latents[split], observations[split] = z, z @ read_out.T + noise
    return Recording(name, system, read_out, observations, latents, recipe)


def limit_cycles(omegas: FloatArray | list[float]) -> dict[str, System]:
    """Return one limit cycle for each angular frequency, by name."""
    return {f"cycle_w{omega:.3f}": LimitCycle(float(omega)) for omega in omegas}


def hopf_systems(mus: FloatArray | list[float], *, normal_form: bool = False) -> dict[str, System]:
    """Return one Hopf system for each bifurcation parameter, by name.

    Parameters
    ----------
    mus
        Bifurcation parameters; the paper's lie in [−1.5, 1.5].
    normal_form
        The supercritical normal form instead of the van der Pol form.
    """
    kind = HopfNormal if normal_form else HopfVanDerPol
    return {f"hopf_m{mu:+.3f}": kind(float(mu)) for mu in mus}
