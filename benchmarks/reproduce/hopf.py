"""Table 2 of Vermani et al. (ICLR 2025): Hopf systems, aligned to two held-out parameters from few trials.

``python -m benchmarks.reproduce.hopf`` runs five methods with three seeds. The number of datasets, the
held-out parameters and the lengths of the paper's experiment are not known; `PLANS` says what stands in.
Process noise is ``σ dt`` per step, as in the authors' code: under ``σ √dt`` the paper's forecasts would be
better than the best possible ones (`--noise sqrt_dt` shows that ceiling).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.reproduce import tables
from benchmarks.reproduce.driver import main
from benchmarks.reproduce.experiment import COMMON, METHODS, Plan
from benchmarks.reproduce.systems.planar_recordings import Recipe, hopf_systems

HELD_OUT = [-0.8, 1.1]
K = 20

PAPER = {  # reconstruction and forecast (k = 20), each at the smaller and the larger number of trials
    "MDSSM": (".85 ± .054", ".89 ± .04", ".64 ± .1", ".69 ± .07"),
    "Linear-Adapter": (".84 ± .059", ".89 ± .04", "−.1 ± .34", ".55 ± .08"),
    "Single-Session": (".80 ± .054", ".88 ± .044", ".27 ± .08", ".77 ± .03"),
    "Shared-Dynamics": (".83 ± .068", ".89 ± .04", ".32 ± .08", ".32 ± .04"),
    "Embedding-Input": (".86 ± .049", ".89 ± .04", ".61 ± .09", ".56 ± .11"),
}

MODEL = {**COMMON, "embedding_dim": 1}

PLANS = {
    "small": Plan(
        name="hopf", title="Hopf systems", pretrain=hopf_systems(np.linspace(-1.5, 1.5, 9)),
        held_out=hopf_systems(HELD_OUT), t0=50, horizon=40, steps=1200, single_steps=1000, restarts=4,
        model=MODEL, warmup_steps=200,
        recipe=Recipe(n_bins=100, n_trials={"train": 128, "val": 0, "test": 64}, noise_scaling="dt"),
    ),
    "full": Plan(
        name="hopf", title="Hopf systems", pretrain=hopf_systems(np.linspace(-1.5, 1.5, 21)),
        held_out=hopf_systems(HELD_OUT), t0=100, horizon=50, steps=3000, align_steps=600, single_steps=2000,
        model=MODEL, warmup_steps=200,
        recipe=Recipe(n_bins=300, n_trials={"train": 128, "val": 0, "test": 64}, noise_scaling="dt"),
    ),
}  # fmt: skip


def table(plan: Plan, results: list[dict[str, Any]]) -> str:
    return few_shot_table(plan, results, K) + "\n" + _beside_paper()


def few_shot_table(plan: Plan, results: list[dict[str, Any]], k: int) -> str:
    """Return reconstruction and forecast of held-out recordings by number of trials, with ceilings."""
    rows = []
    for method in METHODS:
        recon = [tables.few_shot_scores(results, method, n, "reconstruction") for n in plan.shots]
        ahead = [tables.few_shot_scores(results, method, n, "forecast", k) for n in plan.shots]
        rows.append([method, tables.seeds_of(results, method), *map(tables.mean_sem, recon + ahead)])
    some, n = next((result["method"] for result in results), "MDSSM"), plan.shots[-1]
    for name, what in (("hold last", "hold_last"), ("best possible", "ceiling")):
        cell = tables.mean_sem(tables.few_shot_scores(results, some, n, what, k))
        rows.append([name, "–", *["–"] * len(plan.shots), *[cell] * len(plan.shots)])
    header = ["method", "seeds", *(f"reconstruction, n={n}" for n in plan.shots),
              *(f"forecast k={k}, n={n}" for n in plan.shots)]  # fmt: skip
    title = (
        f"{plan.title}: {len(plan.pretrain)} recordings trained on for {plan.steps} steps, "
        f"{len(plan.held_out)} held out"
    )
    return tables.markdown(title, header, rows) + f"\n{tables.leaks(results)}\n"


def _beside_paper() -> str:
    header = ["method", "reconstruction, fewer", "more", "forecast k=20, fewer", "more"]
    return tables.markdown("The paper's table", header, [[name, *cells] for name, cells in PAPER.items()])


if __name__ == "__main__":
    main(PLANS, table)
