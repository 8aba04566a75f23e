"""Rates of Lorenz-driven spikes when few of the units are observed in a bin.

``python -m benchmarks.reproduce.lfads_sbtt`` trains LFADS without controller with 29, 10 and 3 of 29 units
observed in every bin of every trial, and once with 10 where zeros stand for what was not observed and are
scored as if they were counts. Sizes are those of the demonstration of selective backpropagation through time
(Zhu et al. 2021), 65 conditions of 24 trials.

The demonstration's model is a plain autoencoder, trained for 1000 epochs (20 000 steps) with a constant
learning rate of 1e-3. This one has the prior of LFADS on its initial condition and is trained for 1000 steps
with a cosine from 4e-3. The demonstration's mean count is not published; here it is 0.1, 5 Hz.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np
import torch

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
from benchmarks.reproduce.systems.lorenz import LorenzRecipe, simulate_lorenz
from nwb_latents.models.batching.drawn_masks import mask_once
from nwb_latents.pipeline.evaluation.metrics.r2 import r2
from nwb_latents.schemas.lfads import LFADSReadInSettings, LFADSSettings
from nwb_latents.schemas.masks import MaskSettings

if TYPE_CHECKING:
    from benchmarks.reproduce.systems.spiking import SpikingTrials
    from nwb_latents.models.batching.tensors import TrialTensors

SESSION = "lorenz"
RECIPE = LorenzRecipe(mean_count=0.1)
PUBLISHED = {29: 0.898, 10: 0.847, 3: 0.594}
"""From the demonstration's logs."""

AUTONOMOUS = LFADSSettings(
    cut_probability=0.0,
    generator_dim=50,
    ic_dim=50,
    factor_dim=50,
    encoder_dim=50,
    controller_dim=0,
    dropout=0.1,
    l2_generator=0.0,
    read_in=LFADSReadInSettings(hidden=29, width=29),
)


@dataclass(frozen=True)
class Row:
    """How many units are observed in a bin, and whether zeros are scored for the others."""

    observed: int
    zeros: bool = False
    recipe: LorenzRecipe = RECIPE
    model: LFADSSettings = AUTONOMOUS
    schedule: Schedule = field(default_factory=lambda: Schedule(steps=1000, weight_decay=1e-3))


ROWS = {
    "29 of 29": Row(29),
    "10 of 29": Row(10),
    "3 of 29": Row(3),
    "10 of 29, zeros scored": Row(10, zeros=True),
}
FULL, SOME, FEW, NAIVE = ROWS


def run(row: Row, seed: int, show: Show) -> Result:
    train, val = simulate_lorenz(row.recipe, seed=seed).split(round(0.8 * row.recipe.n_repeats))
    fed = feed(SESSION, train, val)
    masks = MaskSettings(observed_share=row.observed / row.recipe.n_units)
    parts = {
        part: mask_once(trials, masks, seed=seed, part=part)
        for part, trials in (("train", fed.train), ("val", fed.val))
    }
    if row.zeros:
        silent = torch.from_numpy(fed.scaling.to_model(np.zeros(row.recipe.n_units, np.float32)))
        parts = {part: _zeros(trials, silent) for part, trials in parts.items()}
    hidden = replace(fed, **parts)
    label = f"{row.observed} of {row.recipe.n_units}{', zeros' if row.zeros else ''}, seed {seed}"
    model, metrics = train_lfads(
        {SESSION: hidden}, row.model, row.schedule, seed=seed, label=label, show=show
    )
    output = reconstruct(model, hidden.val)
    return {
        "rate_r2": rate_r2(val, output),
        "calibration": float(output.mean.mean()) / float(val.counts.mean()),
        "shrunk_r2": shrunk_r2(val, row.observed / row.recipe.n_units),
        "metrics": metrics,
    }


def shrunk_r2(trials: SpikingTrials, share: float) -> float:
    """Return R² of the true rates times `share`: the most there is where zeros are scored for the others."""
    return r2(trials.rates, share * trials.rates, definition="r2_uniform")


def _zeros(trials: TrialTensors, silent: torch.Tensor) -> TrialTensors:
    """Return trials in which nothing is missing: what was, is no spike, and is scored as that."""
    missing = trials.y.isnan()
    return replace(
        trials, y=torch.where(missing, silent, trials.y), target=trials.scored.masked_fill(missing, 0.0)
    )  # fmt: skip


def table(results: list[Result]) -> str:
    rows = []
    for name, row in ROWS.items():
        cells = [[r[what] for r in results if r["row"] == name] for what in ("rate_r2", "calibration")]
        published = "–" if row.zeros else f"{PUBLISHED[row.observed]:.3f}"
        seeds = tables.seeds_of(results, name, by="row")
        rows.append([name, seeds, *map(cell, cells), published])
    level = cell([r["shrunk_r2"] for r in results if r["row"] == NAIVE])
    share = ROWS[NAIVE].observed / RECIPE.n_units
    rows.append([f"true rates times {share:.2f}", "–", level, f"{share:.2f}", "–"])
    header = ["observed in a bin", "seeds", "rate R²", "mean rate / mean count", "published rate R²"]
    body = tables.markdown("Lorenz, units come and go: validation trials", header, rows)
    return f"{body}\n{_gates(results)}\n"


def _gates(results: list[Result]) -> str:
    def mean(name: str, what: str = "rate_r2") -> float:
        return fmean([r[what] for r in results if r["row"] == name] or [math.nan])

    kept, few, ahead = mean(SOME) / mean(FULL), mean(FEW), mean(SOME) - mean(NAIVE)
    observed, scored = mean(SOME, "calibration"), mean(NAIVE, "calibration")
    share = ROWS[NAIVE].observed / RECIPE.n_units
    return "\n".join([
        gate("R²(10 of 29) / R²(29 of 29) ≥ .9", kept, met=kept >= 0.9),
        gate("R²(3 of 29) in [.45, .70]", few, met=0.45 <= few <= 0.7),
        gate("R²(29) > R²(10) > R²(3)", mean(FULL), met=mean(FULL) > mean(SOME) > few),
        gate("zeros scored behind by ≥ 1", ahead, met=ahead >= 1),
        gate("mean rate / mean count, 10 of 29, within 1 ± .05", observed, met=abs(observed - 1) <= 0.05),
        gate(f"the same, zeros scored, within {share:.2f} ± .05", scored, met=abs(scored - share) <= 0.05),
    ])  # fmt: skip


if __name__ == "__main__":
    main(Experiment("lfads_sbtt", ROWS, run, table))
