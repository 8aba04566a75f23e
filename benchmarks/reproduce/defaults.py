"""What each default of MDSSM buys: every one of them alone put back to what was published.

``python -m benchmarks.reproduce.defaults CATALOG`` trains on the catalog's sessions (`make demo` has some)
and evaluates test trials with the program as it comes; what is there is kept. Rows: the defaults, each
difference to the publication by itself, and the two published configurations, whose numbers of steps, trials
and rate of learning are replaced by those of the others.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import yaml

import nwb_latents as nl

BUDGET: dict[str, Any] = {"optimiser.lr": 3e-3, "batch.trials_per_session": 16, "device": "cpu"}
ALONE: dict[str, dict[str, Any]] = {
    "residual: false": {"model.residual": False},
    "cut_probability: 0": {"model.cut_probability": 0.0},
    "embedding_pooling: last": {"model.embedding_pooling": "last"},
    "embedding_start_variance: null": {"model.embedding_start_variance": None},
    "embedding_kl: session": {"model.embedding_kl": "session"},
    "state_bidirectional: false": {"model.state_bidirectional": False},
    "per_session_noise: false": {"model.per_session_noise": False},
    "weight_change_penalty: 1": {"model.weight_change_penalty": 1.0},
    "input_smoothing: recorded": {"input_smoothing": "recorded"},
    "standardise: false": {"standardise": False},
    "warmup_steps: 0": {"optimiser.warmup_steps": 0},
    "weight_decay: 0.05": {"optimiser.weight_decay": 0.05},
}
PUBLISHED = ("paper.yaml", "authors_code.yaml")


def main() -> None:
    """Train and evaluate what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("catalog", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=200)
    options = parser.parse_args()
    budget = {**BUDGET, "max_steps": options.steps, "validate_every": max(1, options.steps // 4)}
    rows = {"default": nested(budget), **{name: nested(budget | changed) for name, changed in ALONE.items()}}
    examples = Path(__file__).parents[2] / "docs/examples/mdssm"
    for name in PUBLISHED:
        whole = yaml.safe_load((examples / name).read_text())
        rows[name] = laid_over(whole, nested(budget))
    print(
        "| settings | velocity, reconstruction | velocity, forecast | embeddings apart |\n|---|---|---|---|"
    )
    for name, settings in rows.items():
        runs = [nl.train(options.catalog, settings, seed=seed) for seed in options.seeds]
        names = [run.run for run in runs]
        table = nl.evaluate(options.catalog, runs=names, metrics=["velocity_r2"], baselines=[], device="cpu")
        cells = []
        for source in ("reconstruction", "forecast"):
            found = table[(table["name"] == "velocity_r2") & (table["source"] == source)]
            cells.append(spread([found.loc[found["run"] == run, "value"].mean() for run in names]))
        apart = [run.metrics.get("val_embeddings_apart", float("nan")) for run in runs]
        print(f"| `{name}` | {cells[0]} | {cells[1]} | {spread(apart, digits=1)} |", flush=True)


def spread(values: list[float], *, digits: int = 3) -> str:
    """Return mean and standard deviation over seeds."""
    return f"{np.mean(values):.{digits}f} ± {np.std(values):.{digits}f}"


def nested(flat: dict[str, Any]) -> dict[str, Any]:
    """Return settings by name, ``model.residual``, as parts within parts."""
    found: dict[str, Any] = {}
    for name, value in flat.items():
        *parts, last = name.split(".")
        inner = found
        for part in parts:
            inner = inner.setdefault(part, {})
        inner[last] = value
    return found


def laid_over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Return settings with others in their place."""
    parts = {name: laid_over(below[name], value) for name, value in above.items() if isinstance(value, dict)}
    return {**below, **above, **parts}


if __name__ == "__main__":
    main()
