"""Trainings on spikes of known rates, and how near to the rates they come: shared by the LFADS experiments.

A job is a row of a table and a seed. The seed decides recordings, initial weights and batches; rows of a seed
see the same recordings unless the row says otherwise.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchmarks.reproduce import tables
from benchmarks.reproduce.driver import run_missing
from nwb_latents.models.batching.tensors import TrialTensors, pack
from nwb_latents.models.registry import build_model
from nwb_latents.pipeline.evaluation.metrics.r2 import r2
from nwb_latents.pipeline.training.checkpoint import load_checkpoint
from nwb_latents.pipeline.training.feed import Scaling, SessionFeed
from nwb_latents.pipeline.training.loop import fit
from nwb_latents.pipeline.training.run_files import BEST
from nwb_latents.schemas.lfads import LFADSSettings
from nwb_latents.schemas.masks import MaskSettings
from nwb_latents.schemas.training import BatchSettings, OptimiserSettings, TrainSettings

if TYPE_CHECKING:
    from benchmarks.reproduce.systems.spiking import SpikingTrials
    from nwb_latents.models.interface import Model, Output
    from nwb_latents.schemas.models import ModelSettings

NEVER = 10**6

Show = Callable[[str], None]
Result = dict[str, Any]


@dataclass(frozen=True)
class Schedule:
    """How a row is trained.

    Attributes
    ----------
    steps
        Training steps.
    lr, final_lr
        Learning rate at the start and at the end of its cosine.
    trials_per_step
        Trials of a step, of each session.
    weight_decay
        Decoupled weight decay.
    masks
        Settings of the masks.
    validate_every
        Steps between two validations; the weights of the best one are scored.
    """

    steps: int
    lr: float = 4e-3
    final_lr: float = 0.0
    trials_per_step: int = 64
    weight_decay: float = 0.0
    masks: dict[str, float] = field(default_factory=dict)
    validate_every: int = 50


@dataclass(frozen=True)
class Experiment:
    """A table: its rows, what a row is worth, and how it is shown.

    Attributes
    ----------
    name
        Of the results' folder.
    rows
        Name → all that decides the row's result, a frozen dataclass with a `schedule`.
    run
        ``(row, seed, show) -> result``, ready for JSON.
    table
        Results, each with its ``row`` and ``seed`` → Markdown with the gates.
    """

    name: str
    rows: Mapping[str, Any]
    run: Callable[[Any, int, Show], Result]
    table: Callable[[list[Result]], str]


def main(experiment: Experiment) -> None:
    """Run an experiment from the command line and print its table."""
    parser = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rows", nargs="+", choices=list(experiment.rows), default=list(experiment.rows))
    parser.add_argument("--processes", type=int, default=2, help="jobs at a time, one thread each")
    parser.add_argument("--steps", type=int, help="training steps of every row, to try the experiment out")
    parser.add_argument("--out", type=Path, default=Path("reproduce"), help="folder for the results")
    parser.add_argument("--table", action="store_true", help="run nothing: the table of what is there")
    options = parser.parse_args()
    folder = options.out / experiment.name
    folder.mkdir(parents=True, exist_ok=True)
    rows = {name: _shortened(experiment.rows[name], options.steps) for name in options.rows}
    files = {
        (name, seed): folder / f"{_file_name(name)}-{_fingerprint(row)}-{seed}.json"
        for seed in options.seeds
        for name, row in rows.items()
    }
    if not options.table:
        job = partial(run_row, experiment.run, rows)
        run_missing(files, job, name=experiment.name, processes=options.processes)
    results = [json.loads(path.read_text()) for path in files.values() if path.exists()]
    text = experiment.table(results)
    (folder / "table.md").write_text(text)
    print(text)
    print(f"Results: {folder}", file=sys.stderr)


def run_row(
    run: Callable[[Any, int, Show], Result], rows: Mapping[str, Any], name: str, seed: int, show: Show
) -> Result:
    """Run one job."""
    torch.set_num_threads(1)
    return {"row": name, "seed": seed} | run(rows[name], seed, show)


def _shortened(row: Any, steps: int | None) -> Any:
    return row if steps is None else replace(row, schedule=replace(row.schedule, steps=steps))


def _file_name(row: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in row)


def _fingerprint(row: Any) -> str:
    """Results of other settings lie in another file."""
    return hashlib.sha256(repr(row).encode()).hexdigest()[:8]


def feed(name: str, train: SpikingTrials, val: SpikingTrials, *, standardise: bool = True) -> SessionFeed:
    """Return trials as the stage ``train`` would: counts scored, standardised ones shown."""
    per_bin = train.counts.astype(np.float32)
    offset, scale = np.zeros(train.n_units, np.float32), np.ones(train.n_units, np.float32)
    if standardise:
        offset, scale = per_bin.mean((0, 1)), per_bin.std((0, 1)).clip(1e-3)
    units = np.arange(train.n_units)
    scaling = Scaling(offset, scale, units, train.bin_s, scaled_target=False)
    return SessionFeed(
        train=tensors(name, train, scaling), val=tensors(name, val, scaling), scaling=scaling
    )  # fmt: skip


def tensors(name: str, trials: SpikingTrials, scaling: Scaling) -> TrialTensors:
    """Return trials as a model sees them."""
    per_bin = trials.counts.astype(np.float32)
    shown = torch.from_numpy(scaling.to_model(per_bin))
    return TrialTensors(name, shown, target=torch.from_numpy(per_bin), bin_s=trials.bin_s)


def train_settings(schedule: Schedule, seed: int, model: ModelSettings | None = None) -> TrainSettings:
    """Return the settings of a training on one processor core."""
    return TrainSettings(
        model=model or LFADSSettings(cut_probability=0.0),
        batch=BatchSettings(trials_per_session=schedule.trials_per_step),
        optimiser=OptimiserSettings(
            lr=schedule.lr, final_lr=schedule.final_lr, weight_decay=schedule.weight_decay
        ),
        masks=MaskSettings.model_validate(schedule.masks),
        max_steps=schedule.steps,
        validate_every=schedule.validate_every,
        checkpoint_every=NEVER,
        patience=NEVER,
        seed=seed,
        device="cpu",
    )


def train_lfads(
    feeds: Mapping[str, SessionFeed],
    model: LFADSSettings,
    schedule: Schedule,
    *,
    seed: int,
    label: str,
    show: Show,
    prepare: Callable[[Any], None] | None = None,
) -> tuple[Model, dict[str, float]]:
    """Train LFADS and return it with the weights of its best validation, and its last metrics.

    Parameters
    ----------
    feeds
        Session → its trials.
    model
        Sizes and choices.
    schedule
        Training.
    seed
        Seed.
    label
        Of the lines shown.
    show
        Takes a line now and then.
    prepare
        Changes the freshly built model in place.
    """
    built = build_model(model, {name: one.train.scored.shape[2] for name, one in feeds.items()}, seed=seed)
    if prepare is not None:
        prepare(built)
    with tempfile.TemporaryDirectory() as folder:
        settings = train_settings(schedule, seed, model)
        result = fit(built, feeds, settings, Path(folder), progress=progress(label, show))
        load_checkpoint(Path(folder) / BEST, built)
    return built.eval(), result.metrics | {"best_step": result.best_step}


def progress(label: str, show: Show) -> Callable[[int, int, dict[str, float]], None]:
    """Return what shows a line every 200 steps."""

    def line(step: int, last: int, metrics: dict[str, float]) -> None:
        if step % 200 == 0 or step == last:
            show(
                f"{label}: step {step}/{last}, loss {metrics['loss']:.2f}, "
                f"validation {metrics.get('val_loss', float('nan')):.2f}, "
                f"{metrics['seconds_per_step']:.3f} s/step"
            )

    return line


def reconstruct(model: Model, trials: TrialTensors, *, n_samples: int = 0) -> Output:
    """Return what a model makes of trials of one session."""
    generator = torch.Generator().manual_seed(0) if n_samples else None
    with torch.inference_mode():
        return model.predict(pack([trials]), n_samples=n_samples, generator=generator)


def rate_r2(truth: SpikingTrials, output: Output) -> float:
    """Return R² of inferred against true rates, averaged over units (``r2_uniform``)."""
    return r2(truth.rates, output.mean[0].double().numpy(), definition="r2_uniform")


def cell(values: list[float]) -> str:
    """Return mean and standard error over seeds, three digits."""
    return tables.mean_sem(values, 3)


def gate(name: str, value: float, *, met: bool) -> str:
    """Return the line of a gate; without a value it was not run."""
    if math.isnan(value):
        return f"- {name}: not run"
    return f"- {name}: {value:.3f}, {'met' if met else 'MISSED'}"
