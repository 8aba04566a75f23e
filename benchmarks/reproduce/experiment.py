"""One training of one method, and what it is worth: shared by the experiments of this folder.

A job is a method and a seed. The seed decides the recordings, the initial weights and the batches; all
methods of a seed see the same recordings.
"""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from benchmarks.reproduce.systems.planar_recordings import Recipe, Recording, simulate_recording
from nwb_latents.models.batching.tensors import TrialTensors, pack
from nwb_latents.models.batching.views import observe
from nwb_latents.models.interface import total_loss
from nwb_latents.models.parts.principal_frame import Frame, mean_entry, principal_frame
from nwb_latents.models.registry import build_model
from nwb_latents.pipeline.evaluation.forecasting.simple_forecasts import hold_last
from nwb_latents.pipeline.evaluation.metrics.kstep import kstep_r2, leaked_steps
from nwb_latents.pipeline.evaluation.metrics.r2 import r2
from nwb_latents.pipeline.training.feed import Scaling, SessionFeed
from nwb_latents.pipeline.training.loop import fit
from nwb_latents.pipeline.training.read_in_start import start_in_frames
from nwb_latents.schemas.mdssm import MDSSMSettings, ReadInSettings
from nwb_latents.schemas.training import BatchSettings, OptimiserSettings, TrainSettings

if TYPE_CHECKING:
    from nwb_latents.models.families.mdssm import MDSSM
    from nwb_latents.pipeline.sources.simulator.planar_systems import System

CONDITIONERS = {
    "MDSSM": "low_rank",
    "Linear-Adapter": "linear",
    "Embedding-Input": "concat",
    "Shared-Dynamics": "shared",
}
SINGLE = "Single-Session"
METHODS = ("MDSSM", "Linear-Adapter", SINGLE, "Shared-Dynamics", "Embedding-Input")
COMMON: dict[str, Any] = {
    "hyper_width": 64,
    "cut_probability": 0.85,
    "embedding_kl": "trial",
    "embedding_pooling": "mean",
    "embedding_start_variance": 0.01,
    "start": "principal",
}
"""What the few-shot experiments were found to need (RESULTS.md), the same for every method. The
hypernetwork is as wide as in the authors' code."""

NEVER = 10**6
TRIALS_PER_STEP = 8
FUTURES = 300
"""Noisy futures from the true state that are averaged for the ceiling of a forecast."""

FEW_SHOT_PARTS = ("read_in.weight", "read_in.bias", "read_out.", "likelihood.", "state_noise.")

Show = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What is simulated, trained and scored.

    Attributes
    ----------
    name, title
        Of files and of the table.
    pretrain, held_out
        Systems trained on together, and systems aligned to from a few trials.
    recipe
        Lengths and noise of the recordings.
    t0, horizon
        Bins seen before a forecast, bins forecast.
    steps, align_steps, single_steps
        Training steps of pre-training, of an alignment and of a model of one recording.
    shots
        Numbers of trials aligned to.
    restarts
        Times an alignment starts from other initial values; the one with the least loss on its own training
        trials is kept.
    sessions_per_step
        Recordings of a step of pre-training, at most.
    warmup_steps
        Steps over which the learning rate of a training from random weights rises.
    model
        Changes of the model's settings.
    """

    name: str
    title: str
    pretrain: dict[str, System]
    held_out: dict[str, System]
    recipe: Recipe
    t0: int
    horizon: int
    steps: int
    align_steps: int = 300
    single_steps: int = 300
    shots: tuple[int, ...] = (1, 8, 16)
    restarts: int = 8
    sessions_per_step: int = 100
    lr: float = 5e-3
    warmup_steps: int = 0
    align_lr: float = 1e-2
    model: dict[str, Any] = field(default_factory=dict)


def run_job(plan: Plan, method: str, seed: int, show: Show) -> dict[str, Any]:
    """Train a method and score it.

    Returns
    -------
    result
        ``pretrain`` (scores of the recordings trained on), ``few_shot`` (number of trials → scores of the
        held-out recordings), ``identifiability``, seconds per step; ready for JSON.
    """
    torch.set_num_threads(1)
    result: dict[str, Any] = {"experiment": plan.name, "method": method, "seed": seed, "steps": plan.steps}
    held_out = _simulated(plan.held_out, plan, seed)
    if method == SINGLE:
        result["few_shot"] = {
            str(n): {name: _single(plan, recording, n, seed, show) for name, recording in held_out.items()}
            for n in plan.shots if held_out
        }  # fmt: skip
        return result
    recordings = _simulated(plan.pretrain, plan, seed)
    model = build_model(_model_settings(plan, method), _units(recordings), seed=seed)
    started = time.perf_counter()
    feeds = {name: _feed(recording) for name, recording in recordings.items()}
    start_in_frames(model, feeds)
    per_step = min(plan.sessions_per_step, len(feeds))
    _fit(model, feeds, _training(plan, plan.steps, seed, per_step), f"{method} {seed}", show)
    result["seconds_per_step"] = (time.perf_counter() - started) / plan.steps
    result["pretrain"] = {name: score(model, recording, plan) for name, recording in recordings.items()}
    result["identifiability"] = identifiability(model, recordings)
    result["few_shot"] = {}
    if held_out:
        result["few_shot"] = _align(plan, model, held_out, seed=seed, show=show)
    return result


def score(model: Any, recording: Recording, plan: Plan) -> dict[str, Any]:
    """Return reconstruction R² and forecast R² by step on test trials, with ceiling and hold-last.

    The embedding of a forecast is inferred from the first `t0` bins of all test trials of the recording.
    """
    observed = recording.observations["test"]
    batch = pack([_tensors(recording, "test")])
    horizon = min(plan.horizon, observed.shape[1] - plan.t0)
    model.eval()
    with torch.inference_mode():
        reconstruction = model.predict(batch).mean[0].numpy()
        forecast = model.forecast(batch, plan.t0, horizon).mean[0].numpy()
        q_e = model.embed(batch)
    curve = kstep_r2(observed, forecast, t0=plan.t0)
    best = recording.best_forecast("test", plan.t0, horizon, n_futures=FUTURES)
    ceiling = kstep_r2(observed, best, t0=plan.t0)
    held = kstep_r2(observed, hold_last(observed[:, : plan.t0], n_bins=horizon, otherwise=np.nan), t0=plan.t0)
    return {
        "reconstruction": r2(observed, reconstruction, definition="r2_pooled"),
        "forecast": curve.tolist(),
        "ceiling": ceiling.tolist(),
        "hold_last": held.tolist(),
        "leaked_steps": leaked_steps(curve, ceiling),
        "embedding": [] if q_e is None else q_e.mean[0].tolist(),
        "n_test_trials": observed.shape[0],
    }


def identifiability(model: Any, recordings: dict[str, Recording]) -> float | None:
    """Return how often the embedding of eight test trials is nearest to its own recording's mean.

    Means are those of embeddings of eight training trials each. None: the model has no embedding.
    """
    if model.settings.conditioner == "shared":
        return None
    model.eval()
    means, tests = [], []
    with torch.inference_mode():
        for row, recording in enumerate(recordings.values()):
            train, test = (_embeddings(model, _tensors(recording, split)) for split in ("train", "test"))
            means.append(train.mean(0))
            tests += [(row, e) for e in test]
    centres = torch.stack(means)
    hits = [int((centres - e).square().sum(1).argmin()) == row for row, e in tests]
    return float(np.mean(hits))


def _embeddings(model: Any, trials: TrialTensors) -> torch.Tensor:
    groups = torch.arange(trials.n_trials).split(TRIALS_PER_STEP)
    return torch.cat([model.embed(pack([trials.select(rows)])).mean for rows in groups])


def few_shot_parameters(name: str) -> bool:
    """Say whether alignment trains a parameter: read-in, likelihood and state noise of added sessions."""
    return name.startswith(FEW_SHOT_PARTS) and not name.endswith(".blocks.0")


def _align(
    plan: Plan, model: MDSSM, held_out: dict[str, Recording], *, seed: int, show: Show
) -> dict[str, Any]:
    """Add the held-out recordings, `restarts` times for each number of trials, and train what is theirs.

    They share nothing that is trained, so that all of them are aligned in the same steps.
    """
    tries = {
        (n, name): [replace(recording, name=f"{name} n={n} {k}") for k in range(plan.restarts)]
        for n in plan.shots
        for name, recording in held_out.items()
    }
    feeds = {one.name: _feed(one, n) for (n, _), several in tries.items() for one in several}
    known = model.state_dict()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model.add_sessions({name: feed.train.y.shape[2] for name, feed in feeds.items()})
    if model.settings.start == "principal":
        entry = mean_entry(known)
        for several in tries.values():
            model.start_at(_turned_frames(several, feeds, model.settings.latent_dim), entry)
    settings = _training(plan, plan.align_steps, seed, len(feeds), aligning=True)
    _fit(model, feeds, settings, f"align {seed}", show, trainable=few_shot_parameters)
    found: dict[str, Any] = {str(n): {} for n in plan.shots}
    for (n, name), several in tries.items():
        losses = [_training_loss(model, feeds[one.name].train) for one in several]
        found[str(n)][name] = score(model, several[int(np.argmin(losses))], plan) | {"losses": losses}
    return found


def _turned_frames(several: list[Recording], feeds: dict[str, SessionFeed], dim: int) -> dict[str, Frame]:
    """Return the frame of a recording, turned by another angle of half a turn for each of its starts."""
    frame = principal_frame(feeds[several[0].name].train.y, dim)
    return {one.name: frame.turned(k * math.pi / len(several)) for k, one in enumerate(several)}


def _training_loss(model: MDSSM, trials: TrialTensors, n_draws: int = 20) -> float:
    """Return the objective of the training on some trials, averaged over draws of noise and masks."""
    batch = pack([trials])
    model.train()
    with torch.inference_mode():
        return float(
            np.mean([
                float(total_loss(model(batch, observe(batch), 0, torch.Generator().manual_seed(k)), 0))
                for k in range(n_draws)
            ])
        )  # fmt: skip


def _single(plan: Plan, recording: Recording, n: int, seed: int, show: Show) -> dict[str, Any]:
    model = build_model(_model_settings(plan, SINGLE), {recording.name: recording.n_units}, seed=seed)
    settings = _training(plan, plan.single_steps, seed, 1)
    feeds = {recording.name: _feed(recording, n)}
    start_in_frames(model, feeds)
    _fit(model, feeds, settings, f"{SINGLE} {seed} n={n}", show)
    return score(model, recording, plan)


def _fit(
    model: Any, feeds: dict[str, SessionFeed], settings: TrainSettings, label: str, show: Show,
    trainable: Callable[[str], bool] | None = None,
) -> None:  # fmt: skip
    def progress(step: int, last: int, metrics: dict[str, float]) -> None:
        if step % 100 == 0 or step == last:
            show(f"{label}: step {step}/{last}, loss {metrics['loss']:.1f}, "
                 f"{metrics['seconds_per_step']:.3f} s/step")  # fmt: skip

    with tempfile.TemporaryDirectory() as folder:
        fit(model, feeds, settings, Path(folder), progress=progress, trainable=trainable)


def _simulated(systems: dict[str, System], plan: Plan, seed: int) -> dict[str, Recording]:
    return {
        name: simulate_recording(name, system, plan.recipe, seed=seed) for name, system in systems.items()
    }


def _units(recordings: dict[str, Recording]) -> dict[str, int]:
    return {name: recording.n_units for name, recording in recordings.items()}


def _tensors(recording: Recording, split: str) -> TrialTensors:
    observed = torch.tensor(recording.observations[split], dtype=torch.float32)
    return TrialTensors(recording.name, observed, bin_s=recording.system.dt)


def _feed(recording: Recording, n_trials: int | None = None) -> SessionFeed:
    """Training trials as they are, none of them set aside: the last weights are the ones scored."""
    train = _tensors(recording, "train")
    one = np.ones(recording.n_units, np.float32)
    return SessionFeed(
        train=train.select(torch.arange(n_trials or train.n_trials)),
        val=train.select(torch.arange(0)),
        scaling=Scaling(0 * one, one, np.arange(recording.n_units), recording.system.dt),
    )


def _model_settings(plan: Plan, method: str) -> MDSSMSettings:
    sizes: dict[str, Any] = {
        "latent_dim": 2,
        "embedding_dim": 1,
        "rank": 1,
        "dynamics_width": 32,
        "hyper_width": 16,
        "encoder_width": 64,
        "read_in": ReadInSettings(hidden=64, width=8),
        "conditioner": CONDITIONERS.get(method, "shared"),
    }
    return MDSSMSettings(**(sizes | plan.model))


def _training(plan: Plan, steps: int, seed: int, n_sessions: int, *, aligning: bool = False) -> TrainSettings:
    lr, warmup = (plan.align_lr, 0) if aligning else (plan.lr, plan.warmup_steps)
    return TrainSettings(
        batch=BatchSettings(
            trials_per_session=TRIALS_PER_STEP, sessions_per_step=n_sessions, sessions_per_block=n_sessions
        ),
        optimiser=OptimiserSettings(lr=lr, weight_decay=1e-3, warmup_steps=warmup),
        max_steps=steps,
        validate_every=NEVER,
        checkpoint_every=NEVER,
        patience=NEVER,
        seed=seed,
        device="cpu",
    )
