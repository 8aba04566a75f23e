"""Population-based training against random search at equal budget, on a small simulated session.

``python benchmarks/pbt.py`` simulates one session of few trials, and runs `pipeline run sweep` with either
strategy, and with PBT in which nothing is copied: the same members, steps, space and seeds. It prints what
each search found: the loss on held-back samples of validation trials, which the search goes by, and R² of the
reconstruction of test trials against the rates the spikes were drawn from, which it never sees.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from nwb_latents.pipeline.sources.folder import FolderSource
from nwb_latents.pipeline.sources.simulator import read_truth
from nwb_latents.pipeline.stages.ingest import ingest
from nwb_latents.pipeline.stages.simulate import simulate
from nwb_latents.pipeline.stages.sweep import sweep
from nwb_latents.pipeline.stores.catalog import read_catalog
from nwb_latents.pipeline.stores.location import store_path
from nwb_latents.pipeline.stores.session import open_session
from nwb_latents.pipeline.training.inference import load_run
from nwb_latents.schemas.simulation import SimulateSettings
from nwb_latents.schemas.sweep import SweepSettings, SweepState

MODEL = {
    "name": "lfads", "generator_dim": 32, "ic_dim": 16, "factor_dim": 12, "encoder_dim": 24,
    "controller_dim": 24, "read_in": {"hidden": 16, "width": 16},
    "cut_probability": 0.0,
}  # fmt: skip
NEVER = 10**9
WAYS = ("random", "pbt, nothing copied", "pbt")
"""The second tells what copies buy from what the fixed starts and the constant learning rate buy."""


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--population", type=int, default=6)
    words.add_argument("--generations", type=int, default=12)
    words.add_argument("--generation-steps", type=int, default=40)
    words.add_argument("--trials", type=int, default=100)
    words.add_argument("--seeds", type=int, default=2)
    words.add_argument("--workers", type=int, default=2)
    words.add_argument("--keep", type=Path, help="folder for the runs and pictures; default: a temporary one")
    given = words.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.keep or Path(temporary)
        catalog = folder / "catalog.yaml"
        simulated = SimulateSettings(
            preset="classic",
            n_subjects=1,
            n_sessions=1,
            n_units=(24, 24),
            n_trials=given.trials,
            waveforms=False,
            seed=5,
        )
        simulate(folder / "nwb", simulated)
        ingest(catalog, FolderSource([folder / "nwb"]))
        print("| seed | strategy | held-back nll, nats per trial | rate R², test trials | steps | s |")
        print("|---|---|---|---|---|---|")
        for seed in range(given.seeds):
            for way in WAYS:
                print(row(catalog, settings(given, way, seed), way=way, seed=seed), flush=True)


def settings(given: argparse.Namespace, way: str, seed: int) -> SweepSettings:
    ramp = 2 * given.generation_steps
    content: dict[str, Any] = {
        "strategy": "random" if way == "random" else "pbt",
        **({"burn_in_steps": NEVER} if way == "pbt, nothing copied" else {}),
        "population": given.population,
        "generations": given.generations,
        "generation_steps": given.generation_steps,
        # Equal budget: nobody ends early.
        "improve_within": given.generations,
        "workers": given.workers,
        "train": {
            "model": {**MODEL, "kl_warmup_steps": ramp, "l2_warmup_steps": ramp},
            "masks": {"sample_validation": 0.2},
            "batch": {"trials_per_session": 32},
            "validate_every": 20,
            "seed": seed,
            "device": "cpu",
        },
    }
    return SweepSettings.model_validate(content)


def row(catalog: Path, chosen: SweepSettings, *, way: str, seed: int) -> str:
    started = time.perf_counter()
    entry = sweep(catalog, chosen)
    seconds = time.perf_counter() - started
    run_dir = catalog.parent / entry.path
    state = SweepState.model_validate_json((run_dir / "sweep.json").read_text())
    least = min(record.metric for record in state.history if record.metric is not None)
    score = rate_r2(catalog, run_dir)
    return f"| {seed} | {way} | {least:.2f} | {score:.3f} | {entry.steps} | {seconds:.0f} |"


def rate_r2(catalog: Path, run_dir: Path) -> float:
    """Return R² of the reconstructed rates of test trials, pooled over units."""
    (session,) = read_catalog(catalog).sessions.values()
    opened = open_session(store_path(catalog, session.store))
    test = opened.select(opened.rows("test")).loaded()
    trials = test.trials
    truth = read_truth(next((catalog.parent / "nwb").rglob(f"*{session.source.rpartition('/')[2]}")))
    centres = trials["time"].values + 0.5 * session.bin_size_s
    at = (trials["event_time"] - trials["event_offset"]).values[:, None] + centres
    rows = np.searchsorted(truth.latent_time_s, at).clip(max=len(truth.latent_time_s) - 1)
    columns = np.searchsorted(truth.unit_ids, trials["unit"].values)
    true = truth.rates_hz[rows][:, :, columns]
    found = load_run(run_dir, device="cpu").reconstruct(test)
    return float(1 - ((true - found) ** 2).sum() / ((true - true.mean((0, 1))) ** 2).sum())


if __name__ == "__main__":
    main()
