"""The training loop of every model: draw, step, validate, keep the best.

Batches and noise are functions of (seed, step): a run that was stopped and resumed takes the same steps
as one that was not, bit for bit on a CPU.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import torch

from nwb_latents.models.batching.drawn_masks import mask_once
from nwb_latents.models.batching.draws import BatchPlan, draw_batches
from nwb_latents.pipeline.errors import DataError, MachineError
from nwb_latents.pipeline.stores.lenient import say
from nwb_latents.pipeline.training.checkpoint import (
    TrainState,
    load_checkpoint,
    read_weights,
    save_checkpoint,
)
from nwb_latents.pipeline.training.device_shares import require_blocks
from nwb_latents.pipeline.training.drawn_ahead import DrawnAhead
from nwb_latents.pipeline.training.feed import SessionFeed
from nwb_latents.pipeline.training.ranks import ALONE, Rank
from nwb_latents.pipeline.training.run_files import BEST, LAST, METRICS, MetricsLog, NoLog
from nwb_latents.pipeline.training.session_embedding import keep_embeddings
from nwb_latents.pipeline.training.step import Training, forward, prepared, take_step
from nwb_latents.pipeline.training.step_masks import step_masker
from nwb_latents.pipeline.training.step_metrics import read_back, summed
from nwb_latents.pipeline.training.stored_trials import StoredFeed, changed_once
from nwb_latents.pipeline.training.team import Team
from nwb_latents.pipeline.training.validation import validation_metrics

if TYPE_CHECKING:
    from pathlib import Path

    from nwb_latents.models.batching.tensors import Batch, TrialTensors
    from nwb_latents.models.batching.views import Masker
    from nwb_latents.models.interface import Model
    from nwb_latents.pipeline.training.step_guard import Verdict
    from nwb_latents.schemas.training import TrainSettings

Progress = Callable[[int, int, dict[str, float]], None]
"""``(step, max_steps, metrics)``, called every `LOG_EVERY` steps and after every validation."""

Feeds = Mapping[str, SessionFeed] | Mapping[str, StoredFeed]

LOG_EVERY = 10


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


def fit(
    model: Model,
    sessions: Feeds,
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
    rank: Rank = ALONE,
    asked_to_stop: Callable[[], bool] = lambda: False,
) -> FitResult:
    """Train a model; the best and the last checkpoint lie in `run_dir` at the end.

    Parameters
    ----------
    model
        Freshly built; changed in place. It holds the last weights afterwards, not the best.
    sessions
        Session id → its trials (`feed_sessions`), all in memory or all read when they are drawn
        (`stored_feeds`).
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
    rank
        Place of this process among those that train the model together, all with the same arguments. The
        first one writes and reports.
    asked_to_stop
        Looked at in every step; once it is True in one of the processes, all end the step they are in and
        raise KeyboardInterrupt.

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
    SettingsError
        If trials are to be computed apart and the model cannot.
    MachineError
        If the device is not there or out of memory, or the disk refuses.
    """
    sessions = _all_masked_once(sessions, settings)
    require_blocks(model, settings)
    shown = step_masker(settings, masker)
    training = prepared(
        model, sessions, settings, run_dir,
        trainable=trainable, masker=shown, team=Team(rank), asked_to_stop=asked_to_stop,
    )  # fmt: skip
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
        model.start_from({name: feed.train.target_means() for name, feed in sessions.items()})
    metrics = _logged(training, progress)
    _save_last(training)
    state = training.state
    if state.best_loss is None:
        state.best_step = state.step
        _save_best(training)
    else:
        metrics["best_val_loss"] = state.best_loss
    if rank.is_first:
        keep_embeddings(run_dir / BEST, model, {name: feed.train for name, feed in sessions.items()})
    stopped = "max_steps" if state.step >= settings.max_steps else "patience"
    if stopped == "patience" and state.step >= training.last_step:
        stopped = "stop_at"
    return FitResult(steps=state.step, best_step=state.best_step, stopped=stopped, metrics=metrics)


def _logged(training: Training, progress: Progress | None) -> dict[str, float]:
    """Train to the end with a log, and leave something to go on from where that is interrupted."""
    first = training.team.rank.is_first
    log = MetricsLog(training.run_dir, step=training.state.step) if first else NoLog()
    with log:
        try:
            return _train(training, log, progress if first else None)
        except KeyboardInterrupt:
            # Half an update or half a validation is no state to go on from; the checkpoint before it is.
            if training.resumable and training.guard.read().failed_step is None:
                _save_last(training)
            raise
        except torch.OutOfMemoryError as error:
            raise MachineError(
                f"{training.device}: out of memory at step {training.state.step}. Lower "
                "batch.sessions_per_block or batch.trials_per_session, or use --device cpu; the run resumes "
                "from its last checkpoint."
            ) from error


def _require_logs_and_best(training: Training) -> None:
    """Refuse to go on without the best weights so far; say it where the log of the steps so far is gone."""
    state, run_dir = training.state, training.run_dir
    if state.best_loss is not None:
        read_weights(run_dir / BEST)
    if not (run_dir / METRICS).exists():
        say(
            f"{run_dir / METRICS}: the log of the first {state.step} steps is not there; it begins anew. The "
            "weights do not depend on it."
        )


def _all_masked_once(sessions: Feeds, settings: TrainSettings) -> Feeds:
    stored = {name: feed for name, feed in sessions.items() if isinstance(feed, StoredFeed)}
    if stored:
        return changed_once(
            stored,
            partial(masked_once, settings=settings),
            keeps_targets=settings.masks.observed_share == 1,
        )
    held = {name: feed for name, feed in sessions.items() if isinstance(feed, SessionFeed)}
    return {name: masked_once(feed, settings) for name, feed in held.items()}


def masked_once(feed: SessionFeed, settings: TrainSettings) -> SessionFeed:
    """Return a session without the samples that are missing or held back throughout a training."""

    def masked(part: str, trials: TrialTensors) -> TrialTensors:
        return mask_once(trials, settings.masks, seed=settings.seed, part=part)

    return replace(feed, train=masked("train", feed.train), val=masked("val", feed.val))


def _train(training: Training, log: MetricsLog | NoLog, progress: Progress | None) -> dict[str, float]:
    settings, state = training.settings, training.state
    metrics = dict(log.last)
    started, first = time.perf_counter(), state.step
    with DrawnAhead(partial(_drawn, training), last=training.last_step, ahead=_ahead(training)) as drawn:
        while state.step < training.last_step and state.since_best < settings.patience:
            take_step(training, drawn.of(state.step))
            last = state.step == training.last_step
            validating = state.step % settings.validate_every == 0 or last
            if state.step % LOG_EVERY == 0 or validating:
                fresh = _told(training)
                metrics |= fresh
                if validating:
                    fresh |= _validate(training)
                    metrics |= fresh
                metrics["seconds_per_step"] = (time.perf_counter() - started) / (state.step - first)
                log.write(state.step, fresh)
                if progress is not None:
                    progress(state.step, settings.max_steps, dict(metrics))
            training.resumable = True
            if state.step % settings.checkpoint_every == 0:
                _require_sound(training)
                _save_last(training)
            if training.team.stopped:
                raise KeyboardInterrupt
    return metrics


def _drawn(training: Training, step: int) -> tuple[Batch, ...]:
    """Return the blocks of a step that this process computes."""
    settings, rank = training.settings, training.team.rank
    tensors = {name: feed.train for name, feed in training.sessions.items()}
    batches = draw_batches(
        tensors, _plan(settings), seed=settings.seed, step=step, every=rank.of, first=rank.number
    )
    return tuple(batch.pinned() for batch in batches) if training.device.type == "cuda" else batches


def _ahead(training: Training) -> int:
    """Return how many steps are drawn while another is computed."""
    is_read = not all(feed.is_in_memory for feed in training.sessions.values())
    return int(is_read or training.device.type == "cuda")


def _plan(settings: TrainSettings) -> BatchPlan:
    return BatchPlan(
        per_session=settings.batch.trials_per_session,
        sessions_per_step=settings.batch.sessions_per_step,
        group=settings.batch.sessions_per_block,
        trials_per_block=settings.batch.trials_per_block,
        counts=settings.masks.spike_jitter > 0,
    )


def _told(training: Training) -> dict[str, float]:
    """Return the metrics of the last step: this is where the device is waited for."""
    state, verdict = training.state, _require_sound(training)
    metrics = summed(training.team.gathered(read_back(training.told)))
    if math.isfinite(verdict.norm):
        metrics["gradient_norm"] = verdict.norm
    if verdict.left_out:
        metrics["steps_left_out"] = float(verdict.left_out)
    return metrics | {"lr": training.lr(state.step - 1)}


def _validate(training: Training) -> dict[str, float]:
    """Return the metrics of the validation trials, and keep the weights if they are the best so far."""
    state = training.state
    trials = [feed.val for feed in training.sessions.values() if feed.val.n_trials]
    if not trials:
        return {}
    training.bare.eval()

    metrics, loss = validation_metrics(
        partial(forward, training), trials, training.settings, device=training.device, team=training.team
    )
    if not math.isfinite(loss):
        raise _diverged(training, "validation loss", loss, state.step)
    if state.best_loss is None or loss < state.best_loss:
        state.best_loss, state.best_step, state.since_best = loss, state.step, 0
        _save_best(training)
    else:
        state.since_best += 1
    return metrics


def _require_sound(training: Training) -> Verdict:
    """Raise if training has failed since this was last asked."""
    verdict = training.guard.read()
    if verdict.failed_step is not None:
        raise _diverged(training, verdict.what, verdict.value, verdict.failed_step)
    return verdict


def _diverged(training: Training, what: str, value: float, step: int) -> DivergedError:
    settings = training.settings
    kept = training.run_dir / LAST
    return DivergedError(
        f"{training.run_dir}: the {what} is {value} at step {step}. Lower the learning rate "
        f"(--set optimiser.lr={settings.optimiser.lr / 3:.2g}) or the clipping norm "
        f"(--set optimiser.clip_norm={settings.optimiser.clip_norm / 10:g}). "
        + (f"The last good checkpoint is {kept.name}." if kept.exists() else "No checkpoint was written yet.")
    )


def _save_last(training: Training) -> None:
    if not training.team.rank.is_first:
        return
    save_checkpoint(
        training.run_dir / LAST,
        training.bare,
        training.state,
        scalings={name: feed.scaling for name, feed in training.sessions.items()},
        optimiser=training.optimiser.optimizer,
    )


def _save_best(training: Training) -> None:
    if not training.team.rank.is_first:
        return
    save_checkpoint(
        training.run_dir / BEST,
        training.bare,
        training.state,
        scalings={name: feed.scaling for name, feed in training.sessions.items()},
    )
