"""Rates of Lorenz-driven spikes by the neural data transformer, against Gaussian smoothing.

``python -m benchmarks.reproduce.ndt_lorenz`` is given the spikes of `benchmarks.reproduce.lfads_sbtt`:
29 units, 65 conditions of 24 trials, 50 bins of 20 ms, a mean count of 0.1. Smoothing is given the kernel
that fits the true rates of the validation trials best. One row is causal, as decoding bin by bin needs it.
"""

from __future__ import annotations

import math
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

from scipy.ndimage import gaussian_filter1d

from benchmarks.reproduce import tables
from benchmarks.reproduce.known_rates import (
    Experiment,
    Result,
    Schedule,
    Show,
    feed,
    gate,
    main,
    progress,
    rate_r2,
    reconstruct,
    train_settings,
)
from benchmarks.reproduce.systems.lorenz import LorenzRecipe, simulate_lorenz
from nwb_latents.models.registry import build_model
from nwb_latents.pipeline.evaluation.metrics.r2 import r2
from nwb_latents.pipeline.training.checkpoint import load_checkpoint
from nwb_latents.pipeline.training.loop import fit
from nwb_latents.pipeline.training.run_files import BEST
from nwb_latents.schemas.ndt import NDTSettings

if TYPE_CHECKING:
    from benchmarks.reproduce.systems.spiking import SpikingTrials

SESSION = "lorenz"
RECIPE = LorenzRecipe(mean_count=0.1)
KERNELS = (3, 5, 7, 9, 11, 13, 15, 20)
"""Deviations tried, bins."""

CONTEXT = NDTSettings(input_dropout=0.0, dropout=0.05, rate_dropout=0.0, cut_probability=0.0)


@dataclass(frozen=True)
class Row:
    """A model, and how it is trained."""

    model: NDTSettings = CONTEXT
    recipe: LorenzRecipe = RECIPE
    schedule: Schedule = field(default_factory=lambda: Schedule(steps=600, lr=3e-3, weight_decay=5e-5))


ROWS = {
    "10 bins before and after": Row(),
    "causal, 20 bins before": Row(CONTEXT.model_copy(update={"context_back": 20, "context_forward": 0})),
}
BOTH, CAUSAL = ROWS


def run(row: Row, seed: int, show: Show) -> Result:
    train, val = simulate_lorenz(row.recipe, seed=seed).split(round(0.8 * row.recipe.n_repeats))
    fed = feed(SESSION, train, val)
    model = build_model(row.model, {SESSION: row.recipe.n_units}, seed=seed)
    settings = train_settings(row.schedule, seed).model_copy(update={"model": row.model})
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        label = f"ndt, {row.model.context_forward} bins after, seed {seed}"
        result = fit(model, {SESSION: fed}, settings, Path(folder), progress=progress(label, show))
        load_checkpoint(Path(folder) / BEST, model)
    seconds = time.perf_counter() - began
    output = reconstruct(model.eval(), fed.val)
    return {
        "rate_r2": rate_r2(val, output),
        "calibration": float(output.mean.mean()) / float(val.counts.mean()),
        "smoothing_r2": max(smoothing_r2(val, kernel) for kernel in KERNELS),
        "epochs": row.schedule.steps * row.schedule.trials_per_step / train.n_trials,
        "seconds": seconds,
        "metrics": result.metrics | {"best_step": result.best_step},
    }


def smoothing_r2(trials: SpikingTrials, kernel: float) -> float:
    """Return R² of the true rates and counts smoothed by a Gaussian of a deviation in bins."""
    smooth = gaussian_filter1d(trials.counts.astype(float), kernel, axis=1)
    return r2(trials.rates, smooth, definition="r2_uniform")


def table(results: list[Result]) -> str:
    rows = []
    for name in ROWS:
        mine = [r for r in results if r["row"] == name]
        cells = [[r[what] for r in mine] for what in ("rate_r2", "calibration")]
        cost = [fmean([r[what] for r in mine] or [math.nan]) for what in ("epochs", "seconds")]
        seeds = tables.seeds_of(results, name, by="row")
        rows.append([name, seeds, *map(tables.mean_sem, cells), f"{cost[0]:.0f}", f"{cost[1]:.0f}"])
    smooth = tables.mean_sem([r["smoothing_r2"] for r in results if r["row"] == BOTH])
    rows.append(["best Gaussian kernel", "–", smooth, "–", "–", "–"])
    header = ["context of each layer", "seeds", "rate R²", "mean rate / mean count", "epochs", "seconds"]
    body = tables.markdown("Neural data transformer, Lorenz: validation trials", header, rows)
    return f"{body}\n{_gates(results)}\n"


def _gates(results: list[Result]) -> str:
    def mean(what: str) -> float:
        return fmean([r[what] for r in results if r["row"] == BOTH] or [math.nan])

    found, ahead = mean("rate_r2"), mean("rate_r2") - mean("smoothing_r2")
    return "\n".join([
        gate("rate R² ≥ .7 within 300 epochs", found, met=found >= 0.7 and mean("epochs") <= 300),
        gate("ahead of smoothing by ≥ .1", ahead, met=ahead >= 0.1),
    ])  # fmt: skip


if __name__ == "__main__":
    main(Experiment("ndt_lorenz", ROWS, run, table))
