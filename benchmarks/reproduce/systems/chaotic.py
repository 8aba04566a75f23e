"""Spikes of a chaotic recurrent network, left to itself or given one pulse per trial.

``τ ẋ = −x + γ W tanh(x) + B u`` by Euler's method, one step per bin: the network LFADS was first shown on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.reproduce.systems.spiking import SpikingTrials, spiking_trials

if TYPE_CHECKING:
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class ChaoticRecipe:
    """A network, and how trials are made of it.

    Attributes
    ----------
    n_units
        Units of the network, all of them recorded.
    gain
        γ: the larger, the more irregular.
    tau_s, bin_s
        Time constant of a unit, width of a bin, s.
    n_bins
        Bins of a trial.
    n_conditions, n_repeats
        Initial states, and trials from each of them.
    max_rate_hz
        Rate of a unit where it is most active in a trial, Hz; where it is least, it is silent.
    pulse
        Size of the pulse, given in one bin of the middle half of each trial; 0: none.
    """

    n_units: int = 50
    gain: float = 1.5
    tau_s: float = 0.025
    bin_s: float = 0.01
    n_bins: int = 100
    n_conditions: int = 65
    n_repeats: int = 20
    max_rate_hz: float = 30.0
    pulse: float = 0.0


@dataclass(frozen=True)
class ChaoticNetwork:
    """Weights of a network.

    Attributes
    ----------
    recurrent
        γ W. Shape ``(unit, unit)``.
    drive
        B, standard normal. Shape ``(unit,)``.
    step
        Bin width as a share of the time constant.
    """

    recurrent: FloatArray
    drive: FloatArray
    step: float

    def advance(self, state: FloatArray, pulse: FloatArray) -> FloatArray:
        """Return states one bin later.

        Parameters
        ----------
        state
            Shape ``(trial, unit)``.
        pulse
            Input of the later bin. Shape ``(trial,)``.
        """
        given = np.tanh(state) @ self.recurrent.T + pulse[:, None] * self.drive
        return state + self.step * (given - state)


def chaotic_network(recipe: ChaoticRecipe, rng: np.random.Generator) -> ChaoticNetwork:
    """Draw a network: recurrent weights ``N(0, γ²/n)``, input weights ``N(0, 1)``.

    Examples
    --------
    >>> chaotic_network(ChaoticRecipe(n_units=8), np.random.default_rng(0)).recurrent.shape
    (8, 8)
    """
    n = recipe.n_units
    recurrent = recipe.gain * rng.standard_normal((n, n)) / np.sqrt(n)
    return ChaoticNetwork(recurrent, rng.standard_normal(n), recipe.bin_s / recipe.tau_s)


def simulate_chaotic(recipe: ChaoticRecipe, *, seed: int) -> SpikingTrials:
    """Simulate trials that start at ``x ~ N(0, I)``.

    The rate of a unit is ``tanh(x)``, brought from its least and greatest value in the trial to 0 and
    `max_rate_hz`. Trials of one condition differ in their spikes, and in the bin of their pulse if there is
    one.

    Parameters
    ----------
    recipe
        Network, lengths, numbers.
    seed
        Decides everything: the network, the initial states, the pulses, the spikes.

    Returns
    -------
    trials
        Latents are the states ``x``; `pulse_bin` is filled in where there are pulses.

    References
    ----------
    Sussillo et al. 2016 (LFADS), section 4.2, and the code published with it.

    Examples
    --------
    >>> few = ChaoticRecipe(n_units=8, n_conditions=3, n_repeats=2, pulse=20.0)
    >>> trials = simulate_chaotic(few, seed=0)
    >>> trials.counts.shape, bool((trials.pulse_bin >= 25).all())
    ((6, 100, 8), True)
    """
    rng = np.random.default_rng([seed, 1])
    network = chaotic_network(recipe, rng)
    condition = np.repeat(np.arange(recipe.n_conditions), recipe.n_repeats)
    start = rng.standard_normal((recipe.n_conditions, recipe.n_units))
    pulse_bin = None
    if recipe.pulse:
        first, after = recipe.n_bins // 4, recipe.n_bins // 4 + recipe.n_bins // 2
        pulse_bin = rng.integers(first, after, len(condition))
    states = _states(network, start[condition], recipe, pulse_bin)
    active = np.tanh(states)
    low, high = active.min(1, keepdims=True), active.max(1, keepdims=True)
    rates = recipe.max_rate_hz * recipe.bin_s * (active - low) / (high - low)
    return spiking_trials(rates, states, condition, bin_s=recipe.bin_s, rng=rng, pulse_bin=pulse_bin)


def _states(
    network: ChaoticNetwork, start: FloatArray, recipe: ChaoticRecipe, pulse_bin: IntArray | None
) -> FloatArray:
    states = np.empty((len(start), recipe.n_bins, recipe.n_units))
    x, silent = start, np.zeros(len(start))
    for t in range(recipe.n_bins):
        given = silent if pulse_bin is None else recipe.pulse * (pulse_bin == t)
        x = network.advance(x, given)
        states[:, t] = x
    return states
