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
shared factors
    Factors of trials that sessions share, learnt from the sessions trained on; they take a hand velocity.
ensemble
    The mean of aligned and shared factors (cycles: trial factors), of equal weights.

Read-outs and decoders of all of them are fitted on these trials. Scored are test trials: hand velocity over
20 bins after 13 seen (reaching); rates 10, 20 and 30 bins after 40 seen, their mean (cycles). What is there
is kept. Below each table stands how far the methods that share are ahead of the best
method of a single session: the mean of the differences of each seed, and its standard error.
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
from nwb_latents.pipeline.evaluation.baselines.shared_factors import (
    KnownSession,
    forecast_by_shared_factors,
)
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
SINGLE = ("from scratch", "linear", "trial factors")
STEPS = (10, 20, 30)
SECONDS = "CPU s"


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
    trials
        Numbers of trials given.
    is_system
        Whether it is a planar system: rates are scored, and subjects mean nothing.
    """

    simulation: dict[str, Any]
    train: dict[str, Any]
    recipe: dict[str, Any] = field(default_factory=dict)
    align: dict[str, Any] = field(default_factory=dict)
    pretrained: tuple[str, ...] = ("A0", "A1", "B0", "B1")
    known: str = "A2"
    seen: int = 13
    ahead: int = 20
    trials: tuple[int, ...] = (8, 16, 32)
    is_system: bool = False


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
        align={"max_steps": 200, "scratch": {"max_steps": 300}},
        # Speeds grow with the days: that of the session held out lies between others.
        pretrained=("A0", "A2", "B0", "B1", "B2"),
        known="A1",
        seen=40,
        ahead=30,
        trials=(4, 8),
        is_system=True,
    ),
}
# fmt: on


def main() -> None:
    """Make what is missing and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("few-shot"), help="folder for everything made")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--trials", type=int, nargs="+", help="default: as the kind has them")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    for name in options.kinds:
        folder = options.out / name
        held_out = prepared(folder, KINDS[name])
        trials = options.trials or KINDS[name].trials
        for n_trials, seed in itertools.product(trials, options.seeds):
            for who, session in held_out.items():
                found = scored(folder, KINDS[name], session, n_trials, seed)
                print(f"{name}, {who}, {n_trials} trials, seed {seed}: {found}", file=sys.stderr, flush=True)
        print(table(folder, name, held_out, trials, options.seeds), flush=True)


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
    found = {"known subject": of_days[kind.known]}
    return found if kind.is_system else {**found, "unknown subject": of_days["C0"]}


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
    folds = task.settings.folds
    settings, baselines = BaselineSettings(folds=folds), baselines_by_name()
    linear, factors = (task.of_baseline(baselines[n], settings) for n in ("linear_forecast", "trial_factors"))
    assert linear is not None
    assert factors is not None
    sources = {"aligned": made, "from scratch": alone, "linear": linear, "trial factors": factors}
    values = {name: _ahead(kind, each) for name, each in sources.items()}
    averaged = "trial factors"
    if not kind.is_system:
        averaged = "shared factors"
        values[averaged] = _by_shared_factors(catalog, task, settings)
    values["ensemble"] = (values["aligned"] + values[averaged]) / 2
    found = {name: _score(kind, task, value) for name, value in values.items()}
    found[SECONDS] = time.process_time() - started
    kept.parent.mkdir(exist_ok=True)
    kept.write_text(json.dumps(found))
    return found


def _by_shared_factors(catalog: Path, task: ForecastTask, settings: BaselineSettings) -> Any:
    """Return the velocity that shared factors forecast, learnt from the sessions that were trained on."""
    opened = nl.open_catalog(catalog)
    others = []
    for name in opened.load_run("many", device="cpu").sessions:
        session = opened.open_session(name)
        rows = session.rows("train")
        velocity = session.velocity(task.settings.lag_ms).velocity[rows]
        others.append(KnownSession.of(session.trials["counts"].values[rows].astype(float), velocity))
    return forecast_by_shared_factors(task.everyone, others, settings).velocity


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
    values = made.rates if kind.is_system else made.velocity
    assert values is not None
    return values


def _score(kind: Kind, task: ForecastTask, values: Any) -> float:
    if not kind.is_system:
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
            methods = [method for method in found[0] if method != SECONDS]
            of = {method: [one[method] for one in found] for method in methods}
            rows.append([who, str(n_trials), *(tables.mean_sem(of[method], digits=3) for method in methods)])
            best = max(SINGLE, key=lambda method: fmean(of[method]))
            told = [
                f"{method} {_difference(of[method], of[best])}" for method in methods if method not in SINGLE
            ]
            ahead.append(f"- {who}, {n_trials} trials, of {best}: {'; '.join(told)}")
    body = tables.markdown(f"Few trials, {name}", ["subject", "trials", *methods], rows)
    return f"{body}\nAhead of the best of a single session:\n\n" + "\n".join(ahead) + "\n"


def _difference(ours: list[float], theirs: list[float]) -> str:
    apart = [one - other for one, other in zip(ours, theirs, strict=True)]
    error = stdev(apart) / math.sqrt(len(apart)) if len(apart) > 1 else math.nan
    return f"{fmean(apart):+.3f} ± {error:.3f}"


if __name__ == "__main__":
    main()
