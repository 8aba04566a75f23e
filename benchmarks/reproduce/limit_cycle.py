"""Eight limit cycles of different speed: what each method makes of them, reconstructed and forecast.

``python -m benchmarks.reproduce.limit_cycle`` trains all methods that share something between recordings,
with three seeds. Reconstruction should not tell them apart; the forecast 30 bins ahead should.

``--scale example`` is the size of the authors' example: four cycles, and their widths. It stops after 500
steps with a forecast of .72 at k = 20; with 600 steps and a falling learning rate .98 is asked for.
"""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import fmean
from typing import Any

import numpy as np

from benchmarks.reproduce import tables
from benchmarks.reproduce.driver import main
from benchmarks.reproduce.experiment import CONDITIONERS, Plan
from benchmarks.reproduce.systems.planar_recordings import Recipe, limit_cycles

METHODS = tuple(CONDITIONERS)
STEPS = {"small": 600, "full": 1600}

PLANS = {
    scale: Plan(
        name="limit_cycle",
        title="Limit cycles",
        pretrain=limit_cycles(np.linspace(0.5, 5, 8)),
        held_out={},
        recipe=Recipe(n_bins=100, n_trials={"train": 128, "val": 0, "test": 64}, noise_scaling="dt"),
        t0=50,
        horizon=40,
        steps=steps,
    )
    for scale, steps in STEPS.items()
}
PLANS["example"] = replace(
    PLANS["small"],
    name="limit_cycle_example",
    pretrain=limit_cycles([2.0, 3.0, 4.0, 5.0]),
    model={
        "dynamics_width": 64,
        "hyper_width": 64,
        "read_in": {"hidden": 32, "width": 16, "activation": "silu"},
    },
)
EXAMPLE_K, EXAMPLE_R2 = 20, 0.98


def table(plan: Plan, results: list[dict[str, Any]]) -> str:
    ks = (10, 20, 30, 40)
    scores = tables.pretrain_scores
    rows = []
    for method in METHODS:
        cells = [tables.mean_sem(scores(results, method, "forecast", k)) for k in ks]
        accuracy = [
            r["identifiability"]
            for r in results
            if r["method"] == method and r["identifiability"] is not None
        ]
        recon = tables.mean_sem(scores(results, method, "reconstruction"))
        rows.append([method, tables.seeds_of(results, method), recon, *cells, tables.mean_sem(accuracy)])
    some = next((result["method"] for result in results), "MDSSM")
    for name, what in (("hold last", "hold_last"), ("best possible", "ceiling")):
        rows.append([name, "–", "–", *(tables.mean_sem(scores(results, some, what, k)) for k in ks), "–"])
    header = ["method", "seeds", "reconstruction", *(f"k={k}" for k in ks), "nearest-mean accuracy of e"]
    body = tables.markdown(f"{plan.title}: {plan.steps} steps, test trials", header, rows)
    gates = _example_gate(results) if plan.name == PLANS["example"].name else _gates(results)
    return f"{body}\n{gates}\n\n{tables.leaks(results)}\n"


def _example_gate(results: list[dict[str, Any]]) -> str:
    value = fmean(scores := tables.pretrain_scores(results, "MDSSM", "forecast", EXAMPLE_K) or [math.nan])
    met = "met" if value >= EXAMPLE_R2 else "MISSED"
    return f"R²({EXAMPLE_K}) of MDSSM ≥ {EXAMPLE_R2}, {len(scores)} seeds: {value:.3f}, {met}"


def _gates(results: list[dict[str, Any]]) -> str:
    seeds = [{r["seed"] for r in results if r["method"] == m} for m in ("MDSSM", "Shared-Dynamics")]
    both = seeds[0] & seeds[1]
    if not both:
        return "Gates need MDSSM and Shared-Dynamics of the same seeds."
    results = [result for result in results if result["seed"] in both]
    have = {result["method"] for result in results}
    mdssm, shared = (
        fmean(tables.pretrain_scores(results, method, "forecast", 30))
        for method in ("MDSSM", "Shared-Dynamics")
    )
    worst = min(min(tables.pretrain_scores(results, method, "reconstruction")) for method in have)
    accuracy = fmean(r["identifiability"] for r in results if r["method"] == "MDSSM")
    gates = [
        ("reconstruction of all ≥ .98", worst, 0.98),
        ("R²(30) of MDSSM ≥ .80", mdssm, 0.80),
        ("R²(30) of MDSSM less Shared ≥ .4", mdssm - shared, 0.4),
        ("nearest-mean accuracy ≥ .95", accuracy, 0.95),
    ]
    return f"Gates, seeds {sorted(both)}:\n\n" + "\n".join(
        f"- {name}: {value:.3f}, {'met' if value >= least else 'MISSED'}" for name, value, least in gates
    )


if __name__ == "__main__":
    main(PLANS, table, METHODS)
