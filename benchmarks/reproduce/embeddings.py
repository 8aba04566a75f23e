"""Does the embedding live at the defaults? Dandisets whose sessions differ in a known way.

``python -m benchmarks.reproduce.embeddings --out FOLDER [--kinds cycles hopf reaching]`` simulates, ingests
and trains with the program as it comes, MDSSM and the baseline that shares all dynamics, with each seed. What
is there is kept. ``--model KEY=VALUE`` sets a setting of the model, ``--simulate KEY=VALUE`` one of the
simulation. One line a run:

apart
    Deviation of the sessions' embeddings over the root mean variance of their posteriors, by dimension.
order
    Spearman correlation, its sign aside, of the parameter with the order of the sessions along the shortest
    path through their embeddings: a curve through more than one dimension is an order too.
nearest, its kind
    Share of groups of 20 test trials whose embedding is nearest to that of their session, or to one of a
    session of the same subject and task.
forecast
    Rates (`r2_trialmean`) 10, 20 and 30 bins after 40 seen, and the ceiling of the true state (cycles, hopf);
    hand velocity over 20 bins after 13 seen (reaching); means over sessions, baselines beside them.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml
from scipy.stats import spearmanr

import nwb_latents as nl
from nwb_latents.pipeline.evaluation.metrics.kstep import kstep_r2
from nwb_latents.pipeline.sources.simulator import best_forecast, read_truth

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nwb_latents.pipeline.stores.session import Session
    from nwb_latents.pipeline.training.inference import TrainedRun

SYSTEM = {"align_to": "trial_start", "window_s": (0.0, 2.0)}
STEPS = (10, 20, 30)
GROUP = 20


@dataclass(frozen=True)
class Kind:
    """A dandiset whose sessions differ.

    Attributes
    ----------
    simulations
        Settings of `pipeline simulate`, one for each part.
    recipe
        Settings of ingest.
    train
        Settings of training beside the defaults.
    seen, ahead
        Bins shown and forecast.
    """

    simulations: tuple[dict[str, Any], ...]
    recipe: dict[str, Any] = field(default_factory=dict)
    train: dict[str, Any] = field(default_factory=dict)
    seen: int = 40
    ahead: int = 30


KINDS = {
    "cycles": Kind(({"system": "limit_cycle", "n_sessions": 3},), SYSTEM, {"max_steps": 400}),
    "hopf": Kind(({"system": "hopf_normal", "n_sessions": 3},), SYSTEM, {"max_steps": 400}),
    "reaching": Kind(
        tuple({"task": task, "n_sessions": 2, "waveforms": False} for task in ("CO", "RT")),
        train={"max_steps": 1000, "optimiser": {"lr": 3e-3}, "batch": {"trials_per_session": 16}},
        seen=13,
        ahead=20,
    ),
}


def main() -> None:
    """Make what is missing and print a line a run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("embeddings"), help="folder for everything made")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--conditioners", nargs="+", default=["low_rank", "shared"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--model", nargs="+", default=[], metavar="KEY=VALUE")
    parser.add_argument("--simulate", nargs="+", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    model, changed = (
        {key: yaml.safe_load(value) for key, value in (each.split("=", 1) for each in pairs)}
        for pairs in (options.model, options.simulate)
    )
    for name in options.kinds:
        kind, folder = KINDS[name], options.out / name
        for number, simulation in enumerate(kind.simulations):
            nl.simulate(folder / "nwb" / str(number), {**simulation, **changed})
        nl.ingest(folder / "catalog.yaml", folder / "nwb", recipe=kind.recipe)
        for conditioner, seed in itertools.product(options.conditioners, options.seeds):
            told = line(folder, kind, {**model, "conditioner": conditioner}, seed)
            print(f"{name} {conditioner} {seed}: {told}", flush=True)


def line(folder: Path, kind: Kind, model: dict[str, Any], seed: int) -> str:
    """Train a run where it is missing, and return its numbers."""
    settings = {"device": "cpu", **kind.train, "model": model}
    entry = nl.train(folder / "catalog.yaml", settings, seed=seed)
    catalog = nl.open_catalog(folder / "catalog.yaml")
    run = catalog.load_run(entry.run, device="cpu")
    sessions = [catalog.open_session(name) for name in run.sessions]
    found = forecasts(folder, kind, entry.run, sessions)
    return "; ".join([*(of_embedding(folder, run, sessions) if run.embedding_dim else []), *found])


def of_embedding(folder: Path, run: TrainedRun, sessions: list[Session]) -> list[str]:
    """Return what the embeddings of the sessions tell of them."""
    found = [run.embedding(session.select(session.rows("train"))) for session in sessions]
    mean, variance = (np.stack(part).astype(float) for part in zip(*found, strict=True))
    apart = mean.std(0) / np.sqrt(variance.mean(0))
    told = [f"apart {' '.join(f'{value:.1f}' for value in apart)}"]
    parameter = [next(iter(_system(folder, session).values()), None) for session in sessions]
    if None not in parameter:
        order = shortest_path(mean)
        told.append(f"order {abs(spearmanr(np.argsort(order), parameter)[0]):.2f}")
    same, alike = [], []
    kinds = [f"{session.subject} {session.attributes.task}" for session in sessions]
    for row, session in enumerate(sessions):
        test = session.rows("test")
        for group in np.array_split(test, max(1, len(test) // GROUP)):
            there, _ = run.embedding(session.select(group))
            nearest = int(np.square(mean - there).sum(1).argmin())
            same.append(nearest == row)
            alike.append(kinds[nearest] == kinds[row])
    return [*told, f"nearest {np.mean(same):.2f}, its kind {np.mean(alike):.2f}"]


def shortest_path(points: NDArray[np.float64]) -> tuple[int, ...]:
    """Return the order of a few points along the shortest path through all of them.

    Examples
    --------
    >>> shortest_path(np.array([[0.0], [2.0], [1.0]])) in {(0, 2, 1), (1, 2, 0)}
    True
    """
    away = np.linalg.norm(points[:, None] - points[None], axis=2)
    paths = itertools.permutations(range(len(points)))
    return min(paths, key=lambda path: float(away[path[:-1], path[1:]].sum()))


def forecasts(folder: Path, kind: Kind, run: str, sessions: list[Session]) -> list[str]:
    """Return the scores of the run's forecasts, and what they are held against."""
    catalog = folder / "catalog.yaml"
    table = nl.forecast(catalog, seen_bins=kind.seen, bins=kind.ahead, runs=[run], device="cpu")
    if "system" not in kind.simulations[0]:
        whole = table[(table["name"] == "velocity_r2") & table["step"].isna()]
        each = whole.groupby("source")["value"].mean()
        return [f"{source} {value:.3f}" for source, value in each.items()]
    rates = table[(table["name"] == "forecast_rates_r2") & table["step"].isin(STEPS)]
    told = []
    for source in ("forecast", "linear_forecast", "trial_factors"):
        value = rates[rates["source"] == source].groupby("step")["value"].mean()
        told.append(f"{source} {' '.join(f'{value[step]:.3f}' for step in STEPS)}")
    best = np.mean([_ceiling(folder, session, kind) for session in sessions], axis=0)
    return [*told, f"ceiling {' '.join(f'{value:.3f}' for value in best)}"]


def _system(folder: Path, session: Session) -> dict[str, float]:
    truth = read_truth(_file(folder, session))
    return {} if truth.system is None else dict(truth.system.parameters)


def _ceiling(folder: Path, session: Session, kind: Kind) -> NDArray[np.float64]:
    test = session.select(session.rows("test")).trials
    best = best_forecast(
        read_truth(_file(folder, session)), kind.seen, kind.ahead,
        trials=test["trial"], units=test["unit"], reach_bins=5,
    )  # fmt: skip
    return kstep_r2(test["rates"], best, t0=kind.seen)[[step - 1 for step in STEPS]]


def _file(folder: Path, session: Session) -> Path:
    return next((folder / "nwb").rglob(f"{session.name}_*.nwb"))


if __name__ == "__main__":
    sys.exit(main())
