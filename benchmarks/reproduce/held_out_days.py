"""Decoders of earlier days on later ones: what a run, and aligning it, keeps of them.

``python -m benchmarks.reproduce.held_out_days --out FOLDER`` simulates two subjects of three days each, whose
units stay but drift, trains MDSSM on the first two days with every seed, aligns each run to the third by 16
trials, and evaluates the third day with and without. What is there is kept.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

import nwb_latents as nl

METRICS = ("velocity_r2", "held_out_day_r2", "held_out_day_latent_r2")
SIMULATED = {"n_subjects": 2, "n_sessions": 3, "n_units": (60, 60), "n_trials": 140, "waveforms": False}
SETTINGS = Path(__file__).parents[2] / "docs/examples/demo_train.yaml"


def main() -> None:
    """Make what is missing, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--trials", type=int, default=16)
    options = parser.parse_args()
    catalog = options.out / "catalog.yaml"
    if not (options.out / "nwb").is_dir():
        nl.simulate(options.out / "nwb", **SIMULATED)
    # Units stay in, however rarely they fire, so that all days have the same ones.
    nl.ingest(catalog, path=options.out / "nwb", min_rate_hz=0.0)
    days = sorted(nl.open_catalog(catalog).sessions["session"])
    by_subject: dict[str, list[str]] = {}
    for day in days:
        by_subject.setdefault(day.split("_")[0], []).append(day)
    early = [day for of_one in by_subject.values() for day in of_one[:-1]]
    late = [of_one[-1] for of_one in by_subject.values()]
    rows: dict[str, list[list[float]]] = {}
    for seed in options.seeds:
        run = nl.train(
            catalog, SETTINGS, model="mdssm", sessions=early, seed=seed, max_steps=options.steps, device="cpu"
        ).run
        aligned = nl.align(catalog, run=run, sessions=late, trials=[options.trials], seed=seed)
        names = {
            "read in as the day before": [run],
            f"aligned to {options.trials} trials": [one.run for one in aligned],
        }
        for label, runs in names.items():
            table = nl.evaluate(
                catalog, runs=runs, held_out_days=1, metrics=METRICS, baselines=["smoothing"],
                device="cpu",
            )  # fmt: skip
            of_runs = table["run"].isin(runs) & table["source"].isin(["reconstruction", "latents"])
            rows.setdefault(label, []).append([scored(table[of_runs], name) for name in METRICS])
            plain = table[table["source"] == "smoothing"]
            rows.setdefault("smoothed spikes", []).append([scored(plain, name) for name in METRICS])
    print("| rates | decoder of the day itself | of the days before | of latents of these |")
    print("|---|---|---|---|")
    for label, found in rows.items():
        mean, spread = np.mean(found, axis=0), np.std(found, axis=0)
        cells = ["–" if np.isnan(m) else f"{m:.3f} ± {s:.3f}" for m, s in zip(mean, spread, strict=True)]
        print(f"| {label} | " + " | ".join(cells) + " |")


def scored(table: Any, name: str) -> float:
    """Return the mean over sessions of one metric; NaN where it was not measured."""
    values = table[table["name"] == name]["value"]
    return float(values.mean()) if len(values) else float("nan")


if __name__ == "__main__":
    main()
