"""A chaotic network seen through its spikes: how well LFADS finds its rates, and pulses it was given.

``python -m benchmarks.reproduce.lfads_chaotic`` trains LFADS on the network it was first shown on (Sussillo
et al. 2016), in a size for one processor core: 50 units, 65 initial states of 20 trials. Left to itself the
network needs no inferred input; where each trial has a pulse in a bin of its own, one inferred input should
tell when.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING, Literal

import numpy as np

from benchmarks.reproduce import tables
from benchmarks.reproduce.known_rates import (
    Experiment,
    Result,
    Schedule,
    Show,
    cell,
    feed,
    gate,
    main,
    rate_r2,
    reconstruct,
    train_lfads,
)
from benchmarks.reproduce.systems.chaotic import ChaoticRecipe, simulate_chaotic
from nwb_latents.pipeline.evaluation.metrics.r2 import r2
from nwb_latents.pipeline.signals.smoothing import smooth_counts
from nwb_latents.schemas.lfads import LFADSReadInSettings, LFADSSettings

if TYPE_CHECKING:
    from benchmarks.reproduce.systems.spiking import SpikingTrials
    from nwb_latents.models.interface import Output

SESSION = "chaotic"
SMOOTHING_S = 0.05
N_SAMPLES = 50
"""Samples of the posterior that are averaged, as in the publications."""

NEAR_BINS = 2
"""Bins an inferred pulse may be off."""

COLUMNS = {
    "rate_r2": "rate R²",
    "sampled_r2": f"of {N_SAMPLES} samples",
    "smoothed_r2": "Gaussian smoothing, 50 ms",
    "found": f"pulses within {NEAR_BINS} bins",
    "sampled_found": f"of {N_SAMPLES} samples",
    "median_off": "median distance, bins",
}
LEAST_R2, LEAST_GAIN, LEAST_FOUND = 0.75, 0.15, 0.8


def lfads(
    n_inputs: int, prior: Literal["ar1", "student_t"] = "ar1", *, causal: bool = False
) -> LFADSSettings:
    """Return the small model: number of inferred inputs, their prior, whether they see the past only."""
    return LFADSSettings(
        generator_dim=64,
        ic_dim=64,
        factor_dim=20,
        encoder_dim=64,
        controller_dim=64 if n_inputs else 0,
        input_dim=n_inputs,
        input_prior=prior,
        causal_controller=causal,
        cut_probability=0.0,
        read_in=LFADSReadInSettings(hidden=50, width=50),
    )


@dataclass(frozen=True)
class Row:
    """The network's trials and the model's settings."""

    recipe: ChaoticRecipe
    model: LFADSSettings
    schedule: Schedule = field(default_factory=lambda: Schedule(steps=1200, lr=1e-2))


LONGER = Schedule(steps=2500, lr=1e-2)
ROWS = {
    "no pulse, C = 0": Row(ChaoticRecipe(), lfads(0)),
    "pulse, C = 1, Student-t prior": Row(ChaoticRecipe(pulse=20.0), lfads(1, "student_t"), LONGER),
    "pulse, C = 1, Student-t prior, causal controller": Row(
        ChaoticRecipe(pulse=20.0), lfads(1, "student_t", causal=True), LONGER
    ),
    "pulse, C = 1, AR(1) prior": Row(ChaoticRecipe(pulse=20.0), lfads(1)),
    "pulse, C = 0": Row(ChaoticRecipe(pulse=20.0), lfads(0)),
}
ALONE, FINDS, *_, BLIND = ROWS


def run(row: Row, seed: int, show: Show) -> Result:
    train, val = simulate_chaotic(row.recipe, seed=seed).split(round(0.8 * row.recipe.n_repeats))
    fed = feed(SESSION, train, val)
    label = f"pulse {row.recipe.pulse:g}, C = {row.model.n_inferred}, seed {seed}"
    model, metrics = train_lfads({SESSION: fed}, row.model, row.schedule, seed=seed, label=label, show=show)
    mean, sampled = (reconstruct(model, fed.val, n_samples=n) for n in (0, N_SAMPLES))
    result = {
        "rate_r2": rate_r2(val, mean),
        "sampled_r2": rate_r2(val, sampled),
        "smoothed_r2": smoothed_r2(val),
        "metrics": metrics,
    }
    if val.pulse_bin is not None and row.model.n_inferred:
        result |= _pulses(mean, val.pulse_bin) | {
            f"sampled_{name}": value for name, value in _pulses(sampled, val.pulse_bin).items()
        }
    return result


def _pulses(output: Output, pulse_bin: np.ndarray) -> dict[str, float]:
    late = pulse_errors(output.aux["inputs"][0].double().numpy(), pulse_bin)
    return {
        "found": float((np.abs(late) <= NEAR_BINS).mean()),
        "median_off": float(np.median(np.abs(late))),
        "median_late": float(np.median(late)),
    }


def pulse_errors(inputs: np.ndarray, pulse_bin: np.ndarray) -> np.ndarray:
    """Return how long after its pulse each trial's inferred inputs deviate most from their median, bins.

    Parameters
    ----------
    inputs
        Inferred inputs. Shape ``(trial, time, C)``.
    pulse_bin
        Bins of the pulses. Shape ``(trial,)``.

    Examples
    --------
    >>> flat = np.zeros((1, 9, 1))
    >>> flat[0, 6] = -2.0
    >>> pulse_errors(flat, np.array([4])).tolist()
    [2]
    """
    deviation = np.linalg.norm(inputs - np.median(inputs, axis=1, keepdims=True), axis=2)
    late: np.ndarray = deviation.argmax(1) - pulse_bin
    return late


def smoothed_r2(trials: SpikingTrials) -> float:
    """Return R² of counts under a Gaussian of 50 ms, each trial for itself."""
    everywhere = np.ones(trials.counts.shape[1], bool)
    smoothed = [
        trials.bin_s
        * smooth_counts(one.T.astype(np.uint16), everywhere, bin_size_s=trials.bin_s, sigma_s=SMOOTHING_S)
        for one in trials.counts
    ]
    return r2(trials.rates, np.stack(smoothed), definition="r2_uniform")


def table(results: list[Result]) -> str:
    rows = []
    for name, row in ROWS.items():
        cells = [[r[what] for r in results if r["row"] == name and what in r] for what in COLUMNS]
        seeds = tables.seeds_of(results, name, by="row")
        rows.append([name, str(row.schedule.steps), seeds, *map(cell, cells)])
    body = tables.markdown(
        "Chaotic network: validation trials", ["trials, model", "steps", "seeds", *COLUMNS.values()], rows
    )
    return f"{body}\n{_gates(results)}\n"


def _gates(results: list[Result]) -> str:
    def mean(name: str, what: str) -> float:
        return fmean([r[what] for r in results if r["row"] == name and what in r] or [math.nan])

    rates, found = mean(ALONE, "rate_r2"), mean(FINDS, "sampled_found")
    gain = rates - mean(ALONE, "smoothed_r2")
    loss = mean(FINDS, "sampled_r2") - mean(BLIND, "sampled_r2")
    found_name = f"pulses found within {NEAR_BINS} bins, averages of samples, ≥ {LEAST_FOUND}"
    return "\n".join([
        gate(f"rate R² without pulses ≥ {LEAST_R2}", rates, met=rates >= LEAST_R2),
        gate(f"ahead of Gaussian smoothing by ≥ {LEAST_GAIN}", gain, met=gain >= LEAST_GAIN),
        gate(found_name, found, met=found >= LEAST_FOUND),
        gate("rate R² under pulses, averages of samples, C = 1 less C = 0 > 0", loss, met=loss > 0),
    ])  # fmt: skip


if __name__ == "__main__":
    main(Experiment("lfads_chaotic", ROWS, run, table))
