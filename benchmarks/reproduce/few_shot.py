"""Few trials of a new session: an alignment against what a single session's trials can do by themselves.

``python -m benchmarks.reproduce.few_shot --out FOLDER [--kinds reaching cycles]`` simulates three subjects of
three days, trains a model on four or five of these sessions, and gives every method the same 8, 16 and 32
trials of two others: one of a subject that was trained on, one of a subject that was not. A seed draws the
trials and the initial weights. Methods are

aligned
    The run aligned, at the defaults (`pipeline run align`).
from scratch
    The same model and settings, trained on these trials alone.
linear, trial factors
    Baselines of the session, fitted on these trials.
ensemble
    The mean of aligned and trial factors, of equal weights.

Read-outs and decoders of all of them are fitted on these trials. Scored are test trials: hand velocity over
20 bins after 13 seen (reaching); rates 10, 20 and 30 bins after 40 seen, their mean (cycles). What is there
is kept. Below each table stands how far aligned, and the ensemble, are ahead of the best method of a single
session: the mean of the differences of each seed, and its standard error.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

import numpy as np
import yaml

import nwb_latents as nl
from benchmarks.reproduce import tables
from nwb_latents.pipeline.evaluation.baselines.known import baselines_by_name
from nwb_latents.pipeline.evaluation.forecasting.session_forecast import prepare_forecast
from nwb_latents.pipeline.evaluation.metrics.kstep import kstep_r2
from nwb_latents.pipeline.evaluation.metrics.r2 import r2
from nwb_latents.pipeline.stages.forecast_sources import foresight
from nwb_latents.pipeline.stages.given_trials import given_to
from nwb_latents.schemas.baselines import BaselineSettings
from nwb_latents.schemas.forecasting import ForecastSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nwb_latents.pipeline.evaluation.forecasting.session_forecast import ForecastTask
    from nwb_latents.pipeline.evaluation.forecasting.source_forecast import SourceForecast
    from nwb_latents.schemas.catalog import RunEntry

ROOT = Path(__file__).parents[2]
METHODS = ("aligned", "from scratch", "linear", "trial factors", "ensemble")
SHARING, SINGLE = ("aligned", "ensemble"), ("from scratch", "linear", "trial factors")
STEPS = (10, 20, 30)


@dataclass(frozen=True)
class Kind:
    """A simulated dandiset of three subjects.

    Attributes
    ----------
    simulation
        Settings of `pipeline simulate`.
    train
        Settings of training.
    recipe
        Settings of ingest.
    align
        Settings of the alignments.
    pretrained, known
        Subject and day of the sessions trained on, and of the one held out of a subject among them.
    seen, ahead
        Bins shown and forecast.
    velocity
        Whether hand velocity is scored; else rates.
    """

    simulation: dict[str, Any]
    train: dict[str, Any]
    recipe: dict[str, Any] = field(default_factory=dict)
    align: dict[str, Any] = field(default_factory=dict)
    pretrained: tuple[str, ...] = ("A0", "A1", "B0", "B1")
    known: str = "A2"
    seen: int = 13
    ahead: int = 20
    velocity: bool = True


# fmt: off
KINDS = {
    "reaching": Kind(
        {"preset": "classic", "n_units": (50, 70), "n_trials": 160, "waveforms": False},
        yaml.safe_load((ROOT / "docs/examples/demo_train.yaml").read_text()),
    ),
    "cycles": Kind(
        {"system": "limit_cycle"},
        {
            "model": {
                "latent_dim": 4, "dynamics_width": 64, "encoder_width": 64, "cut_probability": 0.8,
                "start": "principal",
            },
            "batch": {"trials_per_session": 16}, "optimiser": {"lr": 3e-3}, "max_steps": 800,
        },
        recipe={"align_to": "trial_start", "window_s": (0.0, 2.0)},
        align={"max_steps": 300, "scratch": {"max_steps": 400}},
        # Speeds grow with the days: that of the session held out lies between others.
        pretrained=("A0", "A2", "B0", "B1", "B2"),
        known="A1",
        seen=40,
        ahead=30,
        velocity=False,
    ),
}
# fmt: on


def main() -> None:
    """Make what is missing and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("few-shot"), help="folder for everything made")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--trials", type=int, nargs="+", default=[8, 16, 32])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    for name in options.kinds:
        folder = options.out / name
        held_out = prepared(folder, KINDS[name])
        for n_trials, seed in itertools.product(options.trials, options.seeds):
            for who, session in held_out.items():
                found = scored(folder, KINDS[name], session, n_trials, seed)
                print(f"{name}, {who}, {n_trials} trials, seed {seed}: {found}", file=sys.stderr, flush=True)
        print(table(folder, name, held_out, options.trials, options.seeds), flush=True)


def prepared(folder: Path, kind: Kind) -> dict[str, str]:
    """Simulate, ingest and train; return the sessions held out, by what the run knows of their subject."""
    catalog = folder / "catalog.yaml"
    if not (folder / "runs" / "many" / "run.json").exists():
        nl.simulate(folder / "nwb", {**kind.simulation, "n_subjects": 3, "n_sessions": 3})
        nl.ingest(catalog, folder / "nwb", recipe=kind.recipe)
    names = sorted(str(name) for name in nl.open_catalog(catalog).sessions["session"])
    of_days = {
        f"{who}{day}": name
        for who in "ABC"
        for day, name in enumerate(each for each in names if f"sub-Sim{who}" in each)
    }
    pretrained = [of_days[each] for each in kind.pretrained]
    nl.train(catalog, {"device": "cpu", **kind.train}, sessions=pretrained, run_name="many")
    return {"known subject": of_days[kind.known], "unknown subject": of_days["C0"]}


def scored(folder: Path, kind: Kind, session: str, n_trials: int, seed: int) -> dict[str, float]:
    """Train what is missing of one session, number of trials and seed; return R² of each method."""
    kept = folder / "scores" / f"{session}-{n_trials}-{seed}.json"
    if kept.exists():
        return dict(json.loads(kept.read_text()))
    catalog, started = folder / "catalog.yaml", time.process_time()
    asked = {**kind.align, "seed": seed, "device": "cpu"}
    aligned, scratch = nl.align(
        catalog, "many", sessions=session, trials=n_trials, settings=asked, from_scratch=True
    )
    task, made = forecasts_of_run(catalog, kind, session, aligned)
    _, alone = forecasts_of_run(catalog, kind, session, scratch)
    settings, baselines = BaselineSettings(), baselines_by_name()
    linear, factors = (task.of_baseline(baselines[n], settings) for n in ("linear_forecast", "trial_factors"))
    assert linear is not None
    assert factors is not None
    sources = (made, alone, linear, factors)
    values = [_ahead(kind, each) for each in sources]
    values.append((values[0] + values[3]) / 2)
    found = {name: _score(kind, task, value) for name, value in zip(METHODS, values, strict=True)}
    found["CPU s"] = time.process_time() - started
    kept.parent.mkdir(exist_ok=True)
    kept.write_text(json.dumps(found))
    return found


def forecasts_of_run(
    catalog: Path, kind: Kind, session: str, entry: RunEntry
) -> tuple[ForecastTask, SourceForecast]:
    """Return the test trials as a run was given the session, and its forecast of them."""
    opened = nl.open_catalog(catalog)
    run = opened.load_run(entry.run, device="cpu")
    given = given_to(run, opened.open_session(session))
    assert given is not None
    asked = ForecastSettings(seen_bins=kind.seen, bins=kind.ahead)
    task = prepare_forecast(given.session, given.fewer_folds(asked), given_few=True)
    return task, task.of_run(foresight(run, given.session, task), run=entry.run)


def _ahead(kind: Kind, made: SourceForecast) -> Any:
    values = made.velocity if kind.velocity else made.rates
    assert values is not None
    return values


def _score(kind: Kind, task: ForecastTask, values: Any) -> float:
    if kind.velocity:
        true = task.true
        assert true is not None
        return float(r2(true, values, definition="r2_uniform", mask=np.isfinite(true).all(axis=-1)))
    curve = kstep_r2(task.rates, values, t0=kind.seen)
    return float(np.mean([curve[step - 1] for step in STEPS]))


def table(
    folder: Path, name: str, held_out: dict[str, str], trials: Sequence[int], seeds: Sequence[int]
) -> str:
    """Return the table of a kind, and how far methods that share are ahead of those that do not."""
    rows, ahead = [], []
    for who, session in held_out.items():
        for n_trials in trials:
            files = [folder / "scores" / f"{session}-{n_trials}-{seed}.json" for seed in seeds]
            found = [json.loads(file.read_text()) for file in files]
            of = {method: [one[method] for one in found] for method in METHODS}
            rows.append([who, str(n_trials), *(tables.mean_sem(of[method], digits=3) for method in METHODS)])
            best = max(SINGLE, key=lambda method: fmean(of[method]))
            told = [f"{method} {_difference(of[method], of[best])}" for method in SHARING]
            ahead.append(f"- {who}, {n_trials} trials, of {best}: {'; '.join(told)}")
    body = tables.markdown(f"Few trials, {name}", ["subject", "trials", *METHODS], rows)
    return f"{body}\nAhead of the best of a single session:\n\n" + "\n".join(ahead) + "\n"


def _difference(ours: list[float], theirs: list[float]) -> str:
    apart = [one - other for one, other in zip(ours, theirs, strict=True)]
    error = stdev(apart) / math.sqrt(len(apart)) if len(apart) > 1 else math.nan
    return f"{fmean(apart):+.3f} ± {error:.3f}"


if __name__ == "__main__":
    main()
