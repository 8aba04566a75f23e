"""Leaderboards of a simulated dandiset, a real recording and the benchmark's layout, under both read-outs.

``python -m benchmarks.reproduce.leaderboards --out FOLDER [--real FOLDER_OF_NWB]`` simulates, ingests, trains
and evaluates with the program as it comes. ``co_bps`` is co-smoothing by each source's own read-out,
``common_co_bps`` by the same Poisson regression for all. Every run hides a quarter of the units (in the
benchmark's layout those its file marks) and is trained with each seed; baselines need none. What is there is
kept, so that a run that was ended goes on; ``--table`` prints what there is.

Budgets are training steps (``--steps``): not what a model can do, but what it does within minutes. The tables
say them.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nwb_latents as nl
from nwb_latents.pipeline.errors import PartialFailure
from nwb_latents.pipeline.stages.leaderboard import leaderboard
from nwb_latents.pipeline.stores.nlb_settings import nlb_recipe

if TYPE_CHECKING:
    from nwb_latents.schemas.events import Event

METRICS = ("co_bps", "common_co_bps", "few_shot_co_bps", "cycle_consistency", "calibration", "fp_bps",
           "velocity_r2", "nlb_velocity_r2", "psth_r2")  # fmt: skip
BASELINES = ("null", "condition_mean", "smoothing", "factor_analysis", "gpfa", "trial_factors",
             "linear_forecast")  # fmt: skip
MODELS: dict[str, dict[str, Any]] = {
    "mdssm": {
        "model": {
            "name": "mdssm", "latent_dim": 12, "rank": 2, "dynamics_width": 64, "hyper_width": 32,
            "encoder_width": 64, "read_in": {"hidden": 32, "width": 16},
        },
        "optimiser": {"lr": 4e-3},
    },
    "lfads": {
        "model": {
            "name": "lfads", "generator_dim": 64, "ic_dim": 32, "factor_dim": 16, "encoder_dim": 64,
            "controller_dim": 0, "input_dim": 0, "read_in": {"hidden": 32, "width": 32},
        },
        "optimiser": {"lr": 1e-2}, "masks": {"coordinated_dropout": 0.2}, "forward_ms": 200.0,
    },
}  # fmt: skip
"""Training of models that are small enough for two cores of a cloud machine; the rest as by default."""


@dataclass(frozen=True)
class Case:
    """A study that is evaluated.

    Attributes
    ----------
    title
        What its table is called.
    simulation
        Settings of `pipeline simulate`; None: files that are there.
    recipe
        Settings of the recipe.
    heldout_fraction
        Units held out where the file marks none.
    """

    title: str
    simulation: dict[str, Any] | None = None
    recipe: dict[str, Any] = field(default_factory=dict)
    heldout_fraction: float = 0.25


CASES: dict[str, Case] = {
    "demo": Case(
        "Simulated dandiset (demo): two subjects, two sessions each",
        {"preset": "lifelike", "n_subjects": 2, "n_sessions": 2, "n_units": (30, 40), "n_trials": 120,
         "waveforms": False},
    ),
    "real": Case("Real recording"),
    "nlb": Case(
        "Benchmark layout (nlb:mc_maze_small_20), simulated maze of its size",
        {"preset": "lifelike", "layout": "nlb", "n_subjects": 1, "n_sessions": 1, "n_units": (142, 142),
         "n_trials": 140, "waveforms": False},
        nlb_recipe("mc_maze_small", bin_size_ms=20).model_dump(mode="json"),
        heldout_fraction=0.0,
    ),
}  # fmt: skip


def main() -> None:
    """Make and print the boards that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("leaderboards"), help="folder for everything made")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--real", type=Path, help="folder of NWB files; without it there is no case 'real'")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=300, help="training steps of every run")
    parser.add_argument("--baselines", nargs="*", default=list(BASELINES))
    parser.add_argument("--table", action="store_true", help="run nothing: the boards of what is there")
    options = parser.parse_args()
    for name in options.cases:
        if name == "real" and options.real is None:
            print("No folder of a real recording was named (--real): left out.", file=sys.stderr)
            continue
        folder = options.out / f"{name}-{options.steps}"
        spent = 0.0 if options.table else make(folder, CASES[name], options)
        print(board(folder, CASES[name], options, seconds=spent))


def make(folder: Path, case: Case, options: argparse.Namespace) -> float:
    """Make what is missing of a case, and return the processor seconds it took."""
    started = time.process_time()
    catalog = folder / "catalog.yaml"
    files = options.real
    if case.simulation is not None:
        files = folder / "nwb"
        nl.simulate(files, case.simulation, report=_quiet)
    nl.ingest(catalog, files, recipe=case.recipe, report=_quiet)
    for model in options.models:
        for seed in options.seeds:
            _say(f"{folder.name}: {model}, seed {seed}")
            nl.train(catalog, training(model, case, options.steps), seed=seed, report=_quiet)
    _say(f"{folder.name}: evaluation")
    try:
        nl.evaluate(catalog, metrics=METRICS, baselines=options.baselines, report=_quiet)
    except PartialFailure as failure:
        # What failed is said; the rest is in the catalog and on the board.
        _say(f"{folder.name}: {failure}")
    return time.process_time() - started


def training(model: str, case: Case, steps: int) -> dict[str, Any]:
    """Return the training settings of a model in a case."""
    every = max(1, steps // 6)
    return {
        **MODELS[model],
        "co_smoothing": True,
        "heldout_fraction": case.heldout_fraction,
        "batch": {"trials_per_session": 32},
        "max_steps": steps,
        "validate_every": every,
        "checkpoint_every": every,
        "device": "cpu",
    }


def board(folder: Path, case: Case, options: argparse.Namespace, *, seconds: float) -> str:
    """Return the board of a case as Markdown, with the budget above it."""
    catalog = folder / "catalog.yaml"
    if not catalog.is_file():
        return f"## {case.title}\n\nNothing is there yet: {catalog}\n"
    written = folder / "board.md"
    leaderboard(catalog, output=written)
    seeds = ", ".join(map(str, options.seeds))
    spent = f" {seconds:.0f} processor seconds." if seconds else ""
    budget = f"{options.steps} training steps a run, seeds {seeds}.{spent}"
    return f"## {case.title}\n\n{budget}\n\n{written.read_text(encoding='utf-8')}"


def _quiet(event: Event) -> None:
    """Say what is no success: nothing that is left out or fails is lost."""
    status, reason = (getattr(event, name, "") for name in ("status", "reason"))
    if status == "failed":
        _say(f"failed: {reason or event}")


def _say(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
