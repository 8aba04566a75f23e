"""Settings of every model, chosen by a small search, and the board of the models under them.

``python -m benchmarks.reproduce.model_defaults search CATALOG…`` trains each candidate once on the sessions
of each catalog and scores validation trials: who chooses does not look at test trials. ``board`` trains the
chosen settings with every seed and scores test trials. All with the program as it comes; what is there is
kept. Every run hides a quarter of the units, which co-smoothing asks for, and forecasts see no spike after
the bins shown (velocity 100 ms later, of bins 13 to 32 from bins 0 to 12).

Copy the catalogs first: runs are entered beside them. ``make demo`` makes the simulated one, ``pipeline run
ingest FOLDER`` that of a recording.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import nwb_latents as nl
from benchmarks.reproduce.defaults import nested, spread

if TYPE_CHECKING:
    import pandas as pd

HIDE = {"masks.coordinated_dropout": 0.3, "masks.pass_rate": 1.0}
STEPS = {"mdssm": 1000, "lfads": 800, "ndt": 800, "node_sae": 1000, "gnocchi": 600, "hnet": 1000}
"""Training steps: about a minute of one processor core on four sessions of about 87 training trials."""

SMALL_MDSSM = {"model.latent_dim": 16, "model.dynamics_width": 64, "model.encoder_width": 64}
CUTS: dict[str, dict[str, Any]] = {f"cut {p}": {"model.cut_probability": p} for p in (0.0, 0.5, 0.8)}
HIDDEN = {f"{name}, counts hidden": changed | HIDE for name, changed in CUTS.items()}
EIGHT, ALL_BINS = {"model.latent_dim": 8}, {"model.context_back": None, "model.context_forward": None}
CANDIDATES: dict[str, dict[str, dict[str, Any]]] = {
    "node_sae": {
        "cut 0.0, D 8": CUTS["cut 0.0"] | EIGHT,
        "cut 0.5, D 8": CUTS["cut 0.5"] | EIGHT,
        **{f"{name}, D 8": HIDDEN[name] | EIGHT for name in HIDDEN if "0.8" not in name},
    },
    "hnet": {name: {**CUTS, **HIDDEN}[name] for name in ("cut 0.0", "cut 0.5", *list(HIDDEN)[:2])},
    "ndt": {
        "cut 0.0": CUTS["cut 0.0"],
        "cut 0.5": CUTS["cut 0.5"],
        "cut 0.5, attends to all": CUTS["cut 0.5"] | ALL_BINS,
    },
    "gnocchi": {name: {**CUTS, **HIDDEN}[name] for name in ("cut 0.5", *list(HIDDEN)[:2])},
    "lfads": {name: {**CUTS, **HIDDEN}[name] for name in ("cut 0.0", *list(HIDDEN)[:2])},
}
CHOSEN: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("mdssm", "lfads", "gnocchi", "hnet"), HIDE), "node_sae": EIGHT | HIDE,
}  # fmt: skip
"""Settings of the board beside the defaults of the program; NDT hides bins of its own."""

BASELINES = {"smoothing": "velocity_r2", "factor_analysis": "co_bps", "linear_forecast": "velocity_r2"}
CELLS = (("velocity_r2", "reconstruction"), ("velocity_r2", "forecast"), ("co_bps", "reconstruction"))


def main() -> None:
    """Search, or make the board."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=("search", "board"))
    parser.add_argument("catalogs", type=Path, nargs="+")
    parser.add_argument("--models", nargs="+", default=list(STEPS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the board")
    options = parser.parse_args()
    for catalog in options.catalogs:
        print(f"\n{catalog}\n\n| | velocity | forecast | co-bps | CPU s |\n|---|---|---|---|---|", flush=True)
        for model in options.models:
            if options.what == "search":
                for name, changed in CANDIDATES.get(model, {}).items():
                    row(catalog, f"{model}: {name}", training(model, changed), seeds=[0], phase="val")
            else:
                row(catalog, model, training(model, CHOSEN.get(model, {})), seeds=options.seeds, phase="test")
        if options.what == "board":
            baselines(catalog)


def training(model: str, changed: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a training: what is changed, over what all have."""
    every = STEPS[model] // 20
    common = {
        "model.name": model, **(SMALL_MDSSM if model == "mdssm" else {}), "optimiser.lr": 3e-3,
        "batch.trials_per_session": 16, "co_smoothing": True, "heldout_fraction": 0.25,
        "max_steps": STEPS[model], "validate_every": every, "checkpoint_every": every, "device": "cpu",
    }  # fmt: skip
    return nested(common | changed)


def row(catalog: Path, title: str, settings: dict[str, Any], *, seeds: list[int], phase: str) -> None:
    """Train and evaluate what is missing, and print a line of the table."""
    found: list[list[float]] = []
    spent: list[float] = []
    for seed in seeds:
        started = time.process_time()
        run = nl.train(catalog, settings, seed=seed, report=_quiet)
        spent.append(seconds_of(catalog, run.run, time.process_time() - started))
        table = nl.evaluate(
            catalog, runs=[run.run], metrics=["velocity_r2", "co_bps"], baselines=[], phase=phase,
            device="cpu", n_resamples=20, report=_quiet,
        )  # fmt: skip
        mine = table[table["run"] == run.run]
        found.append([mean(mine, name, source) for name, source in CELLS])
    cells = " | ".join(spread(list(each)) for each in zip(*found, strict=True))
    print(f"| {title} | {cells} | {np.mean(spent):.0f} |", flush=True)


def seconds_of(catalog: Path, run: str, taken: float) -> float:
    """Return the processor seconds a run's training took, those of the time it was trained."""
    kept = catalog.parent / "cpu_seconds.json"
    known: dict[str, float] = json.loads(kept.read_text()) if kept.is_file() else {}
    if run not in known:
        known[run] = taken
        kept.write_text(json.dumps(known, indent=1))
    return known[run]


def baselines(catalog: Path) -> None:
    """Print what needs no model: rates that are smoothed, factors of counts, and forecasts by regression."""
    table = nl.evaluate(
        catalog, runs=[], metrics=["velocity_r2", "co_bps"], baselines=list(BASELINES),
        device="cpu", n_resamples=20, report=_quiet,
    )  # fmt: skip
    for name, metric in BASELINES.items():
        print(f"{name}: {metric} {mean(table, metric, name):.3f}")


def mean(table: pd.DataFrame, name: str, source: str) -> float:
    """Return the mean over sessions of a metric of a source."""
    return float(table.loc[(table["name"] == name) & (table["source"] == source), "value"].mean())


def _quiet(event: object) -> None:
    reason = getattr(event, "reason", "")
    if getattr(event, "status", "") == "failed":
        print(f"failed: {reason or event}", flush=True)


if __name__ == "__main__":
    main()
