"""One generation of one member of a search: the training loop, from a checkpoint of the generation before.

A folder holds one generation of one member. It starts from its parent's last checkpoint, which nobody changes
any more, goes on from its own where it was stopped, and is done once ``outcome.json`` exists.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from nwb_latents.pipeline.errors import DataError, MachineError
from nwb_latents.pipeline.stores.atomic import machine_error, write_bytes, write_text
from nwb_latents.pipeline.stores.lenient import read_record
from nwb_latents.pipeline.stores.plain_files import read_file
from nwb_latents.pipeline.training.loop import DivergedError, fit
from nwb_latents.pipeline.training.run_files import LAST, METRICS, TENSORBOARD, read_metrics
from nwb_latents.pipeline.training.search_rules import smoothed
from nwb_latents.pipeline.training.training_start import begin, training_session
from nwb_latents.schemas.sweep import MemberOutcome, with_values

if TYPE_CHECKING:
    from pathlib import Path

    from nwb_latents.pipeline.stores.location import StoreLocation
    from nwb_latents.pipeline.stores.session import Session
    from nwb_latents.schemas.sweep import SweepSettings
    from nwb_latents.schemas.training import Device, TrainSettings

OUTCOME = "outcome.json"
LOCK_SECONDS = 120.0
"""A worker whose program was killed takes so long, at the most, to be gone."""


@dataclass(frozen=True)
class MemberTask:
    """Everything a worker needs; small enough to be sent.

    Attributes
    ----------
    member
        Number of the member.
    folder
        Folder of this generation of this member.
    parent
        Folder of the generation before to go on from; None: fresh weights.
    settings
        Of the training (`member_settings`).
    stop_at
        Step at which the generation ends.
    stores
        Session id and trial store.
    metric
        Metric that is compared.
    smoothing
        Share of the earlier average in it.
    at_once
        Members that are trained at the same time on the machine.
    whatever_the_size
        Train though it is larger than the memory.
    """

    member: int
    folder: Path
    parent: Path | None
    settings: TrainSettings
    stop_at: int
    stores: tuple[tuple[str, StoreLocation], ...]
    metric: str
    smoothing: float
    at_once: int = 1
    whatever_the_size: bool = False

    def __str__(self) -> str:
        """Return the words it is named with to people."""
        return f"member {self.member}"


def member_settings(sweep: SweepSettings, values: dict[str, float], *, device: Device) -> TrainSettings:
    """Return the settings of a member's training.

    Under PBT the learning rate has no schedule but the warm-up: it is searched. Random search has the
    schedule of an ordinary training of as many steps. No member stops on its own.

    Parameters
    ----------
    sweep
        Settings of the sweep.
    values
        Setting → value.
    device
        Where the member trains.
    """
    train = with_values(sweep.train, values)
    total = sweep.total_steps
    optimiser = train.optimiser
    if sweep.strategy == "pbt":
        optimiser = optimiser.model_copy(update={"final_lr": optimiser.lr})
    return train.model_copy(
        update={
            "optimiser": optimiser,
            "max_steps": total,
            "patience": total,
            "validate_every": min(train.validate_every, sweep.generation_steps),
            "checkpoint_every": min(train.checkpoint_every, sweep.generation_steps),
            "device": device,
        }
    )


def train_member(task: MemberTask) -> MemberOutcome:
    """Train one generation of a member, or return what came of it if that was done before.

    Called again after its process was killed, it goes on from the last checkpoint, and ends in the same
    weights.

    Raises
    ------
    DataError
        If the sessions have no validation trials, or a store or checkpoint cannot be used.
    MachineError
        If the device or disk does not do its part.
    """
    folder = task.folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock", timeout=LOCK_SECONDS):
            outcome = read_outcome(folder)
            if outcome is None:
                outcome = _train(task)
                write_text(folder / OUTCOME, outcome.text())
            return outcome
    except Timeout as error:
        raise MachineError(
            f"{folder}: another process has trained this member for {LOCK_SECONDS:g} s. End what is left of "
            "an earlier sweep, then run the same command again."
        ) from error
    except OSError as error:
        raise machine_error(error, folder, doing="write a member of the sweep") from error


def read_outcome(folder: Path) -> MemberOutcome | None:
    """Return what came of a member's generation, or None if it is not done.

    Raises
    ------
    DataError
        If the file does not fit the schema.
    """
    return read_record(MemberOutcome, folder / OUTCOME, remedy="Delete the file to train the member again.")


def _train(task: MemberTask) -> MemberOutcome:
    sessions = _sessions(task.stores, task.settings.forward_ms)
    model, feeds = begin(
        sessions, task.settings, at_once=task.at_once, whatever_the_size=task.whatever_the_size
    )
    if task.parent is not None and not (task.folder / LAST).exists():
        _take_over_logs(task.parent, task.folder)
    try:
        result = fit(
            model,
            feeds,
            task.settings,
            task.folder,
            resume=True,
            start=None if task.parent is None else task.parent / LAST,
            stop_at=task.stop_at,
        )
    except DivergedError as error:
        return MemberOutcome(step=task.stop_at, reason=str(error))
    losses = _losses(task.folder / METRICS, task.metric)
    if not losses:
        raise DataError(
            f"No session has validation trials, so members cannot be compared by {task.metric}. Ingest with "
            "--set split.val above 0, or choose other sessions."
        )
    return MemberOutcome(
        step=result.steps,
        best_step=result.best_step,
        metric=smoothed(losses, share=task.smoothing),
        last=losses[-1],
        metrics=result.metrics,
    )


@lru_cache(maxsize=1)
def _sessions(stores: tuple[tuple[str, StoreLocation], ...], forward_ms: float) -> tuple[Session, ...]:
    """Read the sessions once per process; a store never changes."""
    return tuple(training_session(store, forward_ms) for _, store in stores)


def _take_over_logs(parent: Path, folder: Path) -> None:
    """Let the metrics of a member be those of the weights it has: of its parents, then its own."""
    shutil.rmtree(folder / TENSORBOARD, ignore_errors=True)
    if (parent / TENSORBOARD).exists():
        shutil.copytree(parent / TENSORBOARD, folder / TENSORBOARD)
    write_bytes(folder / METRICS, read_file(parent / METRICS))


def _losses(path: Path, metric: str) -> list[float]:
    return [float(row[metric]) for row in read_metrics(path) if metric in row]
