"""Table 1 of Vermani et al. (ICLR 2025): Duffing and Hopf systems together, three of them held out.

``python -m benchmarks.reproduce.duffing_hopf`` runs five methods with three seeds. Two families of dynamics
share one model here, which is where an embedding as a mere input is said to fall behind.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.reproduce import tables
from benchmarks.reproduce.driver import main
from benchmarks.reproduce.experiment import COMMON, Plan
from benchmarks.reproduce.hopf import few_shot_table
from benchmarks.reproduce.systems.planar_recordings import Recipe, hopf_systems
from nwb_latents.pipeline.sources.simulator.planar_systems import Duffing, System, duffing_systems

K = 30

PAPER = {  # forecast, k = 30, aligned to 1, 8 and 16 trials
    "MDSSM": (".69 ± .072", ".78 ± .051", ".87 ± .037"),
    "Linear-Adapter": (".68 ± .08", ".79 ± .026", ".74 ± .039"),
    "Single-Session": (".47 ± .119", ".79 ± .014", ".79 ± .047"),
    "Shared-Dynamics": ("−.31 ± .103", "−.34 ± .086", "−.13 ± .065"),
    "Embedding-Input": (".59 ± .084", ".77 ± .04", ".74 ± .039"),
}

HELD_OUT: dict[str, System] = {
    "duffing_one_well": Duffing(-0.3, 0.7),
    "duffing_two_wells": Duffing(-0.5, -0.9),
} | hopf_systems([1.1])

MODEL = {**COMMON, "embedding_dim": 2}

PLANS = {
    "small": Plan(
        name="duffing_hopf", title="Duffing and Hopf systems",
        pretrain=duffing_systems(2, 4) | hopf_systems(np.linspace(-1.5, 1.5, 5)),
        held_out=HELD_OUT, t0=50, horizon=40, steps=1600, single_steps=1000, restarts=4,
        model=MODEL,
        recipe=Recipe(n_bins=100, n_trials={"train": 128, "val": 0, "test": 64}),
    ),
    "full": Plan(
        name="duffing_hopf", title="Duffing and Hopf systems",
        pretrain=duffing_systems() | hopf_systems(np.linspace(-1.5, 1.5, 11)),
        held_out=HELD_OUT, t0=100, horizon=50, steps=3000, align_steps=600, single_steps=2000,
        model=MODEL,
        recipe=Recipe(n_bins=300, n_trials={"train": 128, "val": 0, "test": 64}),
    ),
}  # fmt: skip


def table(plan: Plan, results: list[dict[str, Any]]) -> str:
    header = ["method", "forecast k=30, n=1", "n=8", "n=16"]
    paper = tables.markdown("The paper's table", header, [[name, *cells] for name, cells in PAPER.items()])
    return few_shot_table(plan, results, K) + "\n" + paper


if __name__ == "__main__":
    main(PLANS, table)
