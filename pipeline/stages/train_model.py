"""The work of a training: sessions are read, the model is built and fitted, in one process or several."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from nwb_latents.pipeline.stages.few_trials import say_what_cannot_be_scored
from nwb_latents.pipeline.stages.report import Report, ignore
from nwb_latents.pipeline.training.device_shares import require_shares
from nwb_latents.pipeline.training.loop import fit
from nwb_latents.pipeline.training.ranks import ALONE, Rank
from nwb_latents.pipeline.training.stored_trials import StoredFeed, StoredSessions
from nwb_latents.pipeline.training.training_start import begin, training_session
from nwb_latents.pipeline.training.trial_record import write_trials
from nwb_latents.schemas.events import NoteEvent, ProgressEvent

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from nwb_latents.pipeline.stores.location import StoreLocation
    from nwb_latents.pipeline.stores.session import Session
    from nwb_latents.pipeline.training.feed import SessionFeed
    from nwb_latents.schemas.training import TrainSettings


@dataclass(frozen=True)
class Trained:
    """What came of a training.

    Attributes
    ----------
    sessions
        Session ids, in the model's order.
    steps, best_step, metrics
        As in `pipeline.training.loop.FitResult`.
    """

    sessions: tuple[str, ...]
    steps: int
    best_step: int
    metrics: dict[str, float]


def train_model(
    stores: Sequence[StoreLocation],
    settings: TrainSettings,
    run_dir: Path,
    *,
    force: bool = False,
    room: int | None = None,
    report: Report = ignore,
    rank: Rank = ALONE,
    asked_to_stop: Callable[[], bool] = lambda: False,
) -> Trained:
    """Train a model on the sessions of some stores, from where the run directory has it.

    Parameters
    ----------
    stores
        One store for each session, in the model's order.
    settings
        Of the training.
    run_dir
        Run directory, prepared.
    force
        Train whatever the size of the model.
    room
        Bytes of sessions that are kept in memory, where each is read when it is drawn; None: all are read
        once.
    report
        Told of progress, and of what is odd.
    rank, asked_to_stop
        As in `pipeline.training.loop.fit`. Only the first process writes, and is given a `report`.

    Raises
    ------
    DataError, SettingsError, MachineError
        As `pipeline.stages.train.train`.
    """
    run = run_dir.name
    sessions: list[Session] | StoredSessions
    if room is None:
        sessions = [training_session(store, settings.forward_ms) for store in stores]
    else:
        opened = partial(training_session, forward_ms=settings.forward_ms, loaded=False)
        openers = [partial(opened, store) for store in stores]
        sessions = StoredSessions(openers, stay_open=not settings.reads_recordings)
    if rank.is_first:
        write_trials(run_dir, sessions)
    for one in sessions:
        say_what_cannot_be_scored(one, report, stage="train", run=run)
    model, feeds = begin(sessions, settings, room=room or 0, whatever_the_size=force, at_once=rank.on_node)
    for text in require_shares(model, {name: feed.train.n_trials for name, feed in feeds.items()}, settings):
        report(NoteEvent(text=text, stage="train", run=run))
    for session, feed in feeds.items():
        _say_if_single(session, feed, run, report)

    def progress(step: int, total: int, metrics: dict[str, float]) -> None:
        report(ProgressEvent(stage="train", run=run, step=step, total=total, **metrics))

    result = fit(
        model, feeds, settings, run_dir,
        progress=progress, resume=True, rank=rank, asked_to_stop=asked_to_stop,
    )  # fmt: skip
    return Trained(tuple(feeds), result.steps, result.best_step, result.metrics)


def _say_if_single(session: str, feed: SessionFeed | StoredFeed, run: str, report: Report) -> None:
    n_trials, n_units = feed.train.n_trials, feed.train.n_units
    if 1 in {n_trials, n_units}:
        words = f"{n_trials} training trial{'s' * (n_trials > 1)} of {n_units} unit{'s' * (n_units > 1)}"
        text = f"{session}: {words}: a model of one of them learns nothing that holds elsewhere"
        report(NoteEvent(text=text, stage="train", session=session, run=run))
