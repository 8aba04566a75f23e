"""Hand velocity forecast from the first bins of test trials, read from states that are rolled out.

The read-out is ridge regression from the states of all bins ahead to the velocity of all bins ahead, fitted
on forecasts of training trials; beside it the model's own head, where it has one, linear regression from the
bins shown and trial factors. Nothing sees a spike after the bins shown. By how much a session is ahead of
linear regression has its standard error over the session's test trials (drawn again with replacement). For
the four sessions of `make demo`:

    python -m benchmarks.reproduce.forecasts demo/catalog.yaml --config docs/examples/demo_train.yaml
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from nwb_latents.pipeline.evaluation.baselines.known import baselines_by_name
from nwb_latents.pipeline.evaluation.forecasting.kstep_scores import velocity_slope
from nwb_latents.pipeline.evaluation.forecasting.read_outs import fit_read_out
from nwb_latents.pipeline.evaluation.metrics.r2 import r2
from nwb_latents.pipeline.evaluation.scored_session import prepare_session
from nwb_latents.pipeline.stores.catalog import read_catalog, select_sessions
from nwb_latents.pipeline.stores.location import store_path
from nwb_latents.pipeline.stores.session import open_session
from nwb_latents.pipeline.stores.settings import settings_from
from nwb_latents.pipeline.training.checkpoint import load_checkpoint, read_embeddings
from nwb_latents.pipeline.training.inference import TrainedRun
from nwb_latents.pipeline.training.loop import fit
from nwb_latents.pipeline.training.run_files import BEST
from nwb_latents.pipeline.training.training_start import begin
from nwb_latents.schemas.baselines import BaselineSettings
from nwb_latents.schemas.evaluation import EvaluateSettings
from nwb_latents.schemas.training import TrainSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nwb_latents.pipeline.signals.recording import FloatArray
    from nwb_latents.pipeline.stores.session import Session

BASELINES = ("linear_forecast", "trial_factors")
PENALTIES = tuple(10.0**power for power in range(-2, 7))


def trained(sessions: Sequence[Session], settings: TrainSettings) -> tuple[TrainedRun, float]:
    """Return a run trained on the sessions, and the CPU seconds it took."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.process_time()
        model, feeds = begin(sessions, settings)
        fit(model, feeds, settings, Path(folder))
        took = time.process_time() - started
        _, scalings = load_checkpoint(Path(folder) / BEST, model)
        kept = read_embeddings(Path(folder) / BEST)
    device = torch.device("cpu")
    return TrainedRun("run", settings, model.eval(), scalings, device, embeddings=kept), took


def scores(
    run: TrainedRun, session: Session, linear: FloatArray, *, seen: int, ahead: int, lag_ms: float
) -> dict[str, float]:
    """Return R² of the velocity over all bins ahead, and the slope of the truth on what is forecast."""
    velocity = session.velocity(lag_ms).velocity[:, seen : seen + ahead]
    known = np.isfinite(velocity).all(axis=(1, 2))
    train, test = (rows[known[rows]] for rows in (session.rows("train"), session.rows("test")))
    made = [run.foresee(session.select(rows), seen_bins=seen, n_bins=ahead) for rows in (train, test)]
    fitted = fit_read_out("all_states", made[0].features, velocity[train], alphas=PENALTIES)
    guess = fitted.predict(made[1].features)
    found = {
        "states": r2(velocity[test], guess, definition="r2_uniform"),
        "slope": velocity_slope(velocity[test], guess)[0],
    }
    ahead_of = margins(velocity[test], guess, linear)
    found |= {"ahead of linear": ahead_of[0], "its error": float(np.std(ahead_of[1:]))}
    if made[1].velocity is not None:
        found["head"] = r2(velocity[test], made[1].velocity, definition="r2_uniform")
    whole, told = session.velocity(lag_ms).velocity[test], run.velocity(session.select(test))
    if told is not None and np.isfinite(whole).all():
        found["head, whole trials"] = r2(whole, told, definition="r2_uniform")
    return found


def margins(velocity: FloatArray, guess: FloatArray, linear: FloatArray, *, n: int = 500) -> list[float]:
    """Return how far one R² is ahead of the other: of all trials first, then of trials drawn again."""
    drawn = np.random.default_rng(0)
    found = []
    for number in range(n + 1):
        rows = drawn.integers(len(velocity), size=len(velocity)) if number else np.arange(len(velocity))
        both = [r2(velocity[rows], each[rows], definition="r2_uniform") for each in (guess, linear)]
        found.append(both[0] - both[1])
    return found


def of_baselines(
    session: Session, *, seen: int, ahead: int, lag_ms: float
) -> tuple[dict[str, float], FloatArray]:
    """Return the scores of forecasts that need no model, and the velocities linear regression forecasts."""
    window = {"seen_bins": seen, "bins": ahead}
    asked = EvaluateSettings.model_validate({"forecast": window, "lag_ms": lag_ms})
    problem, known = prepare_session(session, asked).forecast.problem, baselines_by_name()
    velocity = session.velocity(lag_ms).velocity[:, seen : seen + ahead]
    rows = session.rows("test")
    good = np.isfinite(velocity[rows]).all(axis=(1, 2))
    made = {name: known[name].forecast(problem, BaselineSettings()).velocity[good] for name in BASELINES}
    found = {name: r2(velocity[rows[good]], each, definition="r2_uniform") for name, each in made.items()}
    return found, made["linear_forecast"]


def main() -> None:
    """Train with every seed, and print one line of JSON a seed, then means and spread."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("catalog", type=Path)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--set", nargs="*", default=[], dest="words")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--seen-bins", type=int, default=13)
    parser.add_argument("--bins", type=int, default=20)
    parser.add_argument("--lag-ms", type=float, default=100.0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    entries = select_sessions(read_catalog(options.catalog), ("*",))
    sessions = [open_session(store_path(options.catalog, entry.store)).loaded() for entry in entries]
    window = {"seen": options.seen_bins, "ahead": options.bins, "lag_ms": options.lag_ms}
    without = {session.name: of_baselines(session, **window) for session in sessions}
    plain = {name: found for name, (found, _) in without.items()}
    print(json.dumps({"baselines": rounded(plain)}), flush=True)
    rows = []
    for seed in options.seeds:
        words = [*options.words, f"seed={seed}", "device=cpu"]
        run, took = trained(sessions, settings_from(TrainSettings, file=options.config, words=words))
        each = {one.name: scores(run, one, without[one.name][1], **window) for one in sessions}
        rows.append({
            "cpu_s": took, **means(each), **{name: means(plain)[name] for name in BASELINES},
            "least margin": min(found["ahead of linear"] for found in each.values()),
        })  # fmt: skip
        print(json.dumps({"seed": seed, **rounded(rows[-1]), "sessions": rounded(each)}), flush=True)
    for name in rows[0]:
        values = [row[name] for row in rows]
        print(f"{name}: {np.mean(values):.3f} ± {np.std(values):.3f}", file=sys.stdout)


def means(each: dict[str, dict[str, float]]) -> dict[str, float]:
    """Return the mean over sessions of every number all of them have."""
    shared = set.intersection(*(set(one) for one in each.values()))
    first = next(iter(each.values()))
    return {name: float(np.mean([one[name] for one in each.values()])) for name in first if name in shared}


def rounded(found: Any) -> Any:
    """Return nested numbers with three decimals."""
    if isinstance(found, dict):
        return {name: rounded(value) for name, value in found.items()}
    return round(float(found), 3)


if __name__ == "__main__":
    main()
