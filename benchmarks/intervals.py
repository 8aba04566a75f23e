"""How often an interval holds what it should hold: the mean of the metric over many data sets.

``python benchmarks/intervals.py`` simulates data sets, takes the bootstrap interval of each (90 %), and
prints the share that covers, beside that of percentiles that are not moved.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.evaluation.metrics.psth import PsthSums
from nwb_latents.pipeline.evaluation.metrics.r2 import R2Sums
from nwb_latents.pipeline.evaluation.metrics.resampling import bootstrap
from nwb_latents.pipeline.evaluation.metrics.spike_scores import SpikeSums
from nwb_latents.pipeline.evaluation.nlb.timing import TimingSums

if TYPE_CHECKING:
    from collections.abc import Callable

    from nwb_latents.pipeline.evaluation.metrics.resampling import Statistic

    Simulation = Callable[[np.random.Generator], Statistic]

LEVEL = 0.9
N_BINS, N_UNITS = 20, 6


def condition_means(trials_per_condition: int) -> Simulation:
    noise = np.random.default_rng(0).gamma(2.0, 0.05, size=(8, N_BINS, N_UNITS))
    psth = np.apply_along_axis(lambda course: np.convolve(course, np.full(9, 1 / 9), "same"), 1, noise)
    index = np.repeat(np.arange(8), trials_per_condition)

    def simulate(rng: np.random.Generator) -> Statistic:
        rates = 0.9 * psth[index] + 0.03 * rng.normal(size=(len(index), 1, N_UNITS))
        return PsthSums.of(rates, index, psth)

    return simulate


def spikes(n_trials: int) -> Simulation:
    def simulate(rng: np.random.Generator) -> Statistic:
        gain = rng.gamma(3.0, 1 / 3, size=(n_trials, 1, 1))
        rates = gain * rng.gamma(2.0, 0.05, size=(n_trials, N_BINS, N_UNITS))
        return SpikeSums.of(0.3 * rates**0.7, rng.poisson(rates))

    return simulate


def velocity(n_trials: int) -> Simulation:
    """Errors that are much larger in a few trials than in the rest."""

    def simulate(rng: np.random.Generator) -> Statistic:
        offset = rng.normal(size=(n_trials, 1, 2))
        true = rng.normal(size=(n_trials, N_BINS, 2)) + offset
        error = 0.5 * rng.normal(size=(n_trials, 1, 2)) * rng.gamma(1.0, 1.0, size=(n_trials, 1, 1))
        return R2Sums.of(true, 0.7 * true + error, definition="r2_uniform")

    return simulate


def timing(trials_per_condition: int) -> Simulation:
    conditions = [str(name) for name in np.repeat(np.arange(4), trials_per_condition)]

    def simulate(rng: np.random.Generator) -> Statistic:
        interval = rng.normal(size=len(conditions)) + 5
        speed = 10 - interval - 1.5 * rng.normal(size=len(conditions))
        rates = np.arange(5.0)[None, :, None] * speed[:, None, None]
        return TimingSums.of(rates, interval, conditions, np.ones(rates.shape[:2], dtype=bool))

    return simulate


SIMULATIONS = {
    "PSTH R², 8 conditions of 5 trials": condition_means(5),
    "PSTH R², 8 conditions of 20 trials": condition_means(20),
    "bits per spike, 20 trials": spikes(20),
    "bits per spike, 100 trials": spikes(100),
    "r2_uniform, 20 trials": velocity(20),
    "r2_uniform, 100 trials": velocity(100),
    "timing correlation, 4 conditions of 8 trials": timing(8),
    "timing correlation, 4 conditions of 30 trials": timing(30),
}


def coverage(simulate: Simulation, *, n_data_sets: int, seed: int) -> tuple[float, float]:
    """Return the share of intervals that hold the metric's mean: of plain percentiles, and as they are."""
    rng = np.random.default_rng(seed)
    statistics = [simulate(rng) for _ in range(6 * n_data_sets)]
    values = [one.value(np.ones((1, one.n_trials)))[0] for one in statistics[n_data_sets:]]
    wanted = float(np.mean(values))
    found = [
        bootstrap(one, n_resamples=300, level=LEVEL, seed=number)
        for number, one in enumerate(statistics[:n_data_sets])
    ]
    plain = [one.low + one.bias <= wanted <= one.high + one.bias for one in found]
    moved = [one.low <= wanted <= one.high for one in found]
    return float(np.mean(plain)), float(np.mean(moved))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-sets", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print("| metric | percentiles | moved |\n|---|---|---|")
    for name, simulate in SIMULATIONS.items():
        plain, moved = coverage(simulate, n_data_sets=given.data_sets, seed=given.seed)
        print(f"| {name} | {plain:.0%} | {moved:.0%} |")


if __name__ == "__main__":
    main()
