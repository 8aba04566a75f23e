"""The training loop of every model: draw, step, validate, keep the best.

Batches and noise are functions of (seed, step): a run that was stopped and resumed takes the same steps
as one that was not, bit for bit on a CPU.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import torch

from nwb_latents.models.batching.drawn_masks import mask_once
from nwb_latents.models.batching.draws import BatchPlan, draw_batches
from nwb_latents.models.interface import Model, Output, total_loss
from nwb_latents.models.losses.schedules import Schedule, warmup_cosine
from nwb_latents.models.randomness import derived_generator
from nwb_latents.pipeline.errors import DataError, MachineError
from nwb_latents.pipeline.stores.lenient import say
from nwb_latents.pipeline.training.checkpoint import (
    TrainState,
    load_checkpoint,
    read_weights,
    save_checkpoint,
)
from nwb_latents.pipeline.training.device import open_fabric
from nwb_latents.pipeline.training.run_files import BEST, LAST, METRICS, MetricsLog
from nwb_latents.pipeline.training.session_embedding import keep_embeddings
from nwb_latents.pipeline.training.step_masks import step_masker
from nwb_latents.pipeline.training.step_metrics import summary
from nwb_latents.pipeline.training.validation import validation_metrics

if TYPE_CHECKING:
    from pathlib import Path

    from nwb_latents.models.batching.tensors import Batch, TrialTensors
    from nwb_latents.models.batching.views import Masker
    from nwb_latents.pipeline.training.feed import SessionFeed
    from nwb_latents.schemas.training import TrainSettings

Progress = Callable[[int, int, dict[str, float]], None]
"""``(step, max_steps, metrics)``, called every `LOG_EVERY` steps and after every validation."""

LOG_EVERY = 10

MOST_LEFT_OUT = 10
"""Steps in a row whose gradient may overflow before training ends."""


class DivergedError(DataError):
    """A loss or gradient that is no longer finite."""


@dataclass(frozen=True)
class FitResult:
    """What came of a training.

    Attributes
    ----------
    steps
        Steps taken.
    best_step
        Step of the best checkpoint.
    stopped
        Why training ended: ``"max_steps"``, ``"patience"`` or ``"stop_at"``.
    metrics
        Last metrics; losses are nats per trial, averaged over sessions.
    """

    steps: int
    best_step: int
    stopped: str
    metrics: dict[str, float]


@dataclass
class _Training:
    """Everything one step needs."""

    fabric: Any
    bare: Model
    model: Any
    optimiser: Any
    sessions: Mapping[str, SessionFeed]
    settings: TrainSettings
    run_dir: Path
    masker: Masker
    lr: Schedule
    last_step: int
    state: TrainState = field(default_factory=TrainState)
    resumable: bool = True
    left_out: int = 0
    left_out_in_a_row: int = 0

    @property
    def device(self) -> torch.device:
        device: torch.device = self.fabric.device
        return device


def fit(
    model: Model,
    sessions: Mapping[str, SessionFeed],
    settings: TrainSettings,
    run_dir: Path,
    *,
    progress: Progress | None = None,
    resume: bool = False,
    start: Path | None = None,
    stop_at: int | None = None,
    trainable: Callable[[str], bool] | None = None,
    masker: Masker | None = None,
    is_begun: bool = False,
) -> FitResult:
    """Train a model; the best and the last checkpoint lie in `run_dir` at the end.

    Parameters
    ----------
    model
        Freshly built; changed in place. It holds the last weights afterwards, not the best.
    sessions
        Session id → its trials (`feed_sessions`).
    settings
        Batches, optimiser, stopping, seed, device.
    run_dir
        Folder for checkpoints and logs; made if it does not exist.
    progress
        Called with step, most steps and metrics.
    resume
        Go on from the last checkpoint in `run_dir`, where there is one.
    start
        Checkpoint of a training of the same model and sessions, whatever its other settings, to start from
        where `run_dir` has none to go on from: its weights, its optimiser and its step. What was best there
        is not taken over, since other settings may weigh the loss in another way.
    stop_at
        Step to stop at before ``settings.max_steps``, which the learning rate is planned for; the training
        is validated there.
    trainable
        Which parameters learn, by name; None: all of them.
    masker
        What a training step shows and scores before trials are cut; None: as the settings say. Validation
        shows and scores everything that was recorded (`validation_metrics`).
    is_begun
        Whether the model has been trained on these sessions before: its read-outs do not start anew.

    Returns
    -------
    result
        Steps, best step, reason for stopping, metrics.

    Raises
    ------
    DivergedError
        If the loss is no longer finite (the last good checkpoint stays).
    DataError
        If a checkpoint does not fit.
    MachineError
        If the device is not there or out of memory, or the disk refuses.
    """
    sessions = {name: masked_once(feed, settings) for name, feed in sessions.items()}
    shown = step_masker(settings, masker)
    training = _prepare(model, sessions, settings, run_dir, trainable=trainable, masker=shown)
    if stop_at is not None:
        training.last_step = min(stop_at, settings.max_steps)
    if resume and (run_dir / LAST).exists():
        training.state, _ = load_checkpoint(
            run_dir / LAST, training.bare, optimiser=training.optimiser.optimizer
        )
        _require_logs_and_best(training)
    elif start is not None:
        begun, _ = load_checkpoint(start, training.bare, optimiser=training.optimiser.optimizer)
        training.state = TrainState(step=begun.step)
    elif not is_begun:
        model.start_from(
            {name: feed.train.scored.nanmean((0, 1)).nan_to_num() for name, feed in sessions.items()}
        )
    with MetricsLog(run_dir, step=training.state.step) as log:
        try:
            metrics = _train(training, log, progress)
        except KeyboardInterrupt:
            # Half an update or half a validation is no state to go on from; the checkpoint before it is.
            if training.resumable:
                _save_last(training)
            raise
        except torch.OutOfMemoryError as error:
            raise MachineError(
                f"{training.device}: out of memory at step {training.state.step}. Lower "
                "batch.sessions_per_block or batch.trials_per_session, or use --device cpu; the run resumes "
                "from its last checkpoint."
            ) from error
    _save_last(training)
    state = training.state
    if state.best_loss is None:
        state.best_step = state.step
        _save_best(training)
    else:
        metrics["best_val_loss"] = state.best_loss
    keep_embeddings(run_dir / BEST, model, {name: feed.train for name, feed in sessions.items()})
    stopped = "max_steps" if state.step >= settings.max_steps else "patience"
    if stopped == "patience" and state.step >= training.last_step:
        stopped = "stop_at"
    return FitResult(steps=state.step, best_step=state.best_step, stopped=stopped, metrics=metrics)


def _require_logs_and_best(training: _Training) -> None:
    """Refuse to go on without the best weights so far; say it where the log of the steps so far is gone."""
    state, run_dir = training.state, training.run_dir
    if state.best_loss is not None:
        read_weights(run_dir / BEST)
    if not (run_dir / METRICS).exists():
        say(
            f"{run_dir / METRICS}: the log of the first {state.step} steps is not there; it begins anew. The "
            "weights do not depend on it."
        )


def masked_once(feed: SessionFeed, settings: TrainSettings) -> SessionFeed:
    """Return a session without the samples that are missing or held back throughout a training."""

    def masked(part: str, trials: TrialTensors) -> TrialTensors:
        return mask_once(trials, settings.masks, seed=settings.seed, part=part)

    return replace(feed, train=masked("train", feed.train), val=masked("val", feed.val))


def _prepare(
    model: Model,
    sessions: Mapping[str, SessionFeed],
    settings: TrainSettings,
    run_dir: Path,
    *,
    trainable: Callable[[str], bool] | None,
    masker: Masker,
) -> _Training:
    run_dir.mkdir(parents=True, exist_ok=True)
    fabric = open_fabric(settings)
    for name, parameter in model.named_parameters():
        if trainable is not None and not trainable(name):
            parameter.requires_grad_(False)  # noqa: FBT003
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not learning:
        raise DataError("No parameter of the model is trainable. Check the names the predicate accepts.")
    options = settings.optimiser
    optimiser = torch.optim.AdamW(
        learning,
        lr=options.lr,
        weight_decay=options.weight_decay,
        # The gradient scaler of 16-mixed cannot unscale for clipping ahead of a fused step.
        fused=settings.precision != "16-mixed",
    )
    wrapped, optimiser = fabric.setup(model, optimiser)
    warmup = options.warmup(settings.max_steps)
    lr = warmup_cosine(options.lr, settings.max_steps, warmup=warmup, final=options.final_lr)
    return _Training(
        fabric, model, wrapped, optimiser, sessions, settings, run_dir, masker, lr, settings.max_steps
    )


def _train(training: _Training, log: MetricsLog, progress: Progress | None) -> dict[str, float]:
    settings, state = training.settings, training.state
    tensors = {name: feed.train for name, feed in training.sessions.items()}
    metrics = dict(log.last)
    started, first = time.perf_counter(), state.step
    while state.step < training.last_step and state.since_best < settings.patience:
        values = _step(training, draw_batches(tensors, _plan(settings), seed=settings.seed, step=state.step))
        last = state.step == training.last_step
        validating = state.step % settings.validate_every == 0 or last
        if state.step % LOG_EVERY == 0 or validating:
            metrics |= values
            fresh = dict(values)
            if validating:
                fresh |= _validate(training)
                metrics |= fresh
            metrics["seconds_per_step"] = (time.perf_counter() - started) / (state.step - first)
            log.write(state.step, fresh)
            if progress is not None:
                progress(state.step, settings.max_steps, dict(metrics))
        training.resumable = True
        if state.step % settings.checkpoint_every == 0:
            _save_last(training)
    return metrics


def _plan(settings: TrainSettings) -> BatchPlan:
    return BatchPlan(
        per_session=settings.batch.trials_per_session,
        sessions_per_step=settings.batch.sessions_per_step,
        group=settings.batch.sessions_per_block,
    )


def _step(training: _Training, batches: tuple[Batch, ...]) -> dict[str, float]:
    """Take one optimiser step over all blocks of a step, and return its metrics."""
    settings, state = training.settings, training.state
    training.bare.train()
    for group in training.optimiser.param_groups:
        group["lr"] = training.lr(state.step)
    training.optimiser.zero_grad()
    outputs = []
    for block, batch in enumerate(batches):
        noise = derived_generator(settings.seed, "noise", state.step, block, device=training.device)
        output = _forward(training, batch, noise, training.masker)
        loss = total_loss(output, state.step)
        _check_finite(training, float(loss.detach()), "loss")
        training.fabric.backward(loss)
        outputs.append(output)
    norm = training.fabric.clip_gradients(
        training.model,
        training.optimiser,
        max_norm=settings.optimiser.clip_norm,
        error_if_nonfinite=False,
    )
    overflown = not math.isfinite(float(norm))
    training.left_out += overflown
    training.left_out_in_a_row = training.left_out_in_a_row + 1 if overflown else 0
    if training.left_out_in_a_row > MOST_LEFT_OUT:
        _check_finite(training, float(norm), "gradient")
    training.resumable = False
    # Along a long rollout a gradient can grow beyond all numbers: such a step is left out. Half precision
    # has a scaler that does so itself, and has to see it.
    if not overflown or settings.precision == "16-mixed":
        training.optimiser.step()
    state.step += 1
    metrics = summary(outputs, batches, state.step - 1)
    if not overflown:
        metrics["gradient_norm"] = float(norm)
    if training.left_out:
        metrics["steps_left_out"] = float(training.left_out)
    return metrics | {"lr": training.lr(state.step - 1)}


def _forward(training: _Training, batch: Batch, generator: torch.Generator, masker: Masker) -> Output:
    dtype = torch.float64 if training.settings.precision == "64-true" else torch.float32
    moved = batch.to(training.device, dtype)
    step = training.state.step
    with training.fabric.autocast():
        output: Output = training.bare(moved, masker(moved, generator, step), step, generator)
    return output


def _validate(training: _Training) -> dict[str, float]:
    """Return the metrics of the validation trials, and keep the weights if they are the best so far."""
    state = training.state
    trials = [feed.val for feed in training.sessions.values() if feed.val.n_trials]
    if not trials:
        return {}
    training.bare.eval()

    def forward(batch: Batch, generator: torch.Generator, masker: Masker) -> Output:
        return _forward(training, batch, generator, masker)

    metrics, loss = validation_metrics(forward, trials, training.settings, device=training.device)
    _check_finite(training, loss, "validation loss")
    if state.best_loss is None or loss < state.best_loss:
        state.best_loss, state.best_step, state.since_best = loss, state.step, 0
        _save_best(training)
    else:
        state.since_best += 1
    return metrics


def _check_finite(training: _Training, value: float, what: str) -> None:
    if math.isfinite(value):
        return
    settings = training.settings
    kept = training.run_dir / LAST
    raise DivergedError(
        f"{training.run_dir}: the {what} is {value} at step {training.state.step}. Lower the learning rate "
        f"(--set optimiser.lr={settings.optimiser.lr / 3:.2g}) or the clipping norm "
        f"(--set optimiser.clip_norm={settings.optimiser.clip_norm / 10:g}). "
        + (f"The last good checkpoint is {kept.name}." if kept.exists() else "No checkpoint was written yet.")
    )


def _save_last(training: _Training) -> None:
    save_checkpoint(
        training.run_dir / LAST,
        training.bare,
        training.state,
        scalings={name: feed.scaling for name, feed in training.sessions.items()},
        optimiser=training.optimiser.optimizer,
    )


def _save_best(training: _Training) -> None:
    save_checkpoint(
        training.run_dir / BEST,
        training.bare,
        training.state,
        scalings={name: feed.scaling for name, feed in training.sessions.items()},
    )
