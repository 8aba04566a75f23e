"""Two sessions of few trials: one model of both, stitched, against one of each alone.

``python -m benchmarks.reproduce.lfads_stitching`` simulates a chaotic network that is recorded twice, through
different halves of its units, as in Sussillo et al. 2016: the same initial states, other trials. LFADS is
trained on both sessions at once, with a read-in and a read-out for each, and on each of them alone. Maps
start at principal-component regression on the conditions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

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
from benchmarks.reproduce.systems.chaotic import ChaoticRecipe, simulate_chaotic
from nwb_latents.pipeline.stores.session import Session, session_in_memory
from nwb_latents.pipeline.training.regression_start import start_by_regression
from nwb_latents.schemas.lfads import LFADSReadInSettings, LFADSSettings

if TYPE_CHECKING:
    from benchmarks.reproduce.systems.spiking import SpikingTrials

N_TRAIN, N_VAL = 2, 4
"""Trials of each condition and session."""

RECIPE = ChaoticRecipe(n_conditions=10, n_repeats=2 * (N_TRAIN + N_VAL))
SMALL = LFADSSettings(
    cut_probability=0.0,
    generator_dim=64,
    ic_dim=32,
    factor_dim=16,
    encoder_dim=48,
    controller_dim=0,
    kl_warmup_steps=200,
    l2_warmup_steps=200,
    read_in=LFADSReadInSettings(hidden=16, width=16, start="pcr"),
)
BOTH = ("first", "second")


@dataclass(frozen=True)
class Row:
    """The sessions a model is trained on."""

    sessions: tuple[str, ...]
    recipe: ChaoticRecipe = RECIPE
    n_train: int = N_TRAIN
    model: LFADSSettings = SMALL
    schedule: Schedule = field(default_factory=lambda: Schedule(steps=800, lr=5e-3, trials_per_step=20))


ROWS = {"stitched": Row(BOTH), "first alone": Row(BOTH[:1]), "second alone": Row(BOTH[1:])}
STITCHED, *ALONE = ROWS


def run(row: Row, seed: int, show: Show) -> Result:
    recorded = {
        name: trials.split(row.n_train)
        for name, trials in two_sessions(row.recipe, seed).items()
        if name in row.sessions
    }
    feeds = {name: feed(name, *parts) for name, parts in recorded.items()}
    sessions = [_session(name, train) for name, (train, _) in recorded.items()]
    label = f"{', '.join(row.sessions)}, seed {seed}"
    model, metrics = train_lfads(
        feeds, row.model, row.schedule, seed=seed, label=label, show=show,
        prepare=lambda built: start_by_regression(built, feeds, sessions),
    )  # fmt: skip
    scores = {name: rate_r2(recorded[name][1], reconstruct(model, feeds[name].val)) for name in feeds}
    return {"rate_r2": scores, "metrics": metrics}


def two_sessions(recipe: ChaoticRecipe, seed: int) -> dict[str, SpikingTrials]:
    """Return the trials of two sessions: halves of the units, halves of the trials of each condition."""
    trials = simulate_chaotic(recipe, seed=seed)
    half = recipe.n_units // 2
    units = (slice(half), slice(half, None))
    parts = trials.split(recipe.n_repeats // 2)
    return {
        name: part.select(np.arange(part.n_trials), seen)
        for name, part, seen in zip(BOTH, parts, units, strict=True)
    }


def _session(name: str, train: SpikingTrials) -> Session:
    """Return what the regression reads of a session."""
    labels = {
        "split": ("trial", np.full(train.n_trials, "train")),
        "condition": ("trial", train.condition.astype(str)),
    }
    return session_in_memory(xr.Dataset(labels, attrs={"session": name}))


def table(results: list[Result]) -> str:
    rows = []
    for name in ROWS:
        of_row = [r["rate_r2"] for r in results if r["row"] == name]
        cells = [cell([scores[s] for scores in of_row if s in scores]) for s in BOTH]
        rows.append([name, tables.seeds_of(results, name, by="row"), *cells])
    n_trials = N_TRAIN * RECIPE.n_conditions
    title = f"Two sessions of {n_trials} training trials: rate R² of validation trials"
    body = tables.markdown(title, ["trained on", "seeds", *(f"{s} session" for s in BOTH)], rows)
    return f"{body}\n{_gates(results)}\n"


def _gates(results: list[Result]) -> str:
    scores = {(r["seed"], r["row"]): r["rate_r2"] for r in results}
    seeds = sorted({seed for seed, _ in scores if all((seed, name) in scores for name in ROWS)})
    gains = {
        session: [scores[seed, STITCHED][session] - scores[seed, alone][session] for seed in seeds]
        for session, alone in zip(BOTH, ALONE, strict=True)
    }
    lines = [
        gate(f"stitched less alone > 0, {session} session", mean := fmean(values or [math.nan]), met=mean > 0)
        + f" (by seed: {', '.join(f'{value:.3f}' for value in values) or '–'})"
        for session, values in gains.items()
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main(Experiment("lfads_stitching", ROWS, run, table))
