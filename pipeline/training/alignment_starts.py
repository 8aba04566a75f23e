"""Several starts of one alignment, trained side by side, of which the one that fits its trials best is kept.

Where a session is started decides in which mirror image of the shared dynamics it ends; its own training
trials say which is the right one. A model is made for many sessions at once: the starts are sessions of one
model, so that a step takes all of them.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch

from nwb_latents.models.batching.tensors import pack
from nwb_latents.models.interface import total_loss
from nwb_latents.models.randomness import derived_generator, derived_seed
from nwb_latents.pipeline.training.alignment import aligned_model
from nwb_latents.pipeline.training.loop import fit, masked_once
from nwb_latents.pipeline.training.read_in_start import start_by_conditions, start_in_frames
from nwb_latents.pipeline.training.step_masks import step_masker
from nwb_latents.pipeline.training.validation import FINAL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from torch import Tensor

    from nwb_latents.models.interface import Model
    from nwb_latents.pipeline.training.feed import SessionFeed
    from nwb_latents.pipeline.training.loop import Progress
    from nwb_latents.schemas.training import TrainSettings

LOSS_DRAWS = 32
"""Draws of noise, masks and cuts over which the loss of a start is averaged, the same for all starts."""


@dataclass(frozen=True, eq=False)
class Start:
    """A model of the new session, ready to be trained.

    Attributes
    ----------
    model
        Of this session alone; what sessions share is the trained model's.
    trainable
        Names of the parameters of the session.
    kind
        Where it starts, in words.
    """

    model: Model
    trainable: frozenset[str]
    kind: str


@dataclass(frozen=True, eq=False)
class KeptStart:
    """The start that was kept, trained, and what the others came to.

    Attributes
    ----------
    start
        The start; its model has been trained.
    number
        Which it is, from 0.
    losses
        Loss on the training trials of every start after the same steps, nats per trial.
    kinds
        Where each of them started.
    """

    start: Start
    number: int
    losses: tuple[float, ...]
    kinds: tuple[str, ...]


def starts_of(
    settings: TrainSettings,
    feeds: Mapping[str, SessionFeed],
    pretrained: Mapping[str, Tensor],
    *,
    number: int,
    conditions: Sequence[str],
    means: Mapping[str, Tensor],
) -> list[Start]:
    """Build the starts of an alignment; the first is the one a single start would be.

    Parameters
    ----------
    settings
        Settings of the alignment; its seed decides on all starts.
    feeds
        The new session.
    pretrained
        State dict of the trained model.
    number
        Number of starts.
    conditions, means
        As in `start_by_conditions`: the first start has its maps from known conditions, where there are such.

    Raises
    ------
    SettingsError
        If the model cannot be aligned.
    """
    units = {session: feed.train.y.shape[2] for session, feed in feeds.items()}
    made = []
    for k in range(number):
        seed = settings.seed if k == 0 else derived_seed(settings.seed, "start", k) % (1 << 31)
        model, trainable = aligned_model(settings.model_copy(update={"seed": seed}), units, pretrained)
        kind = "random"
        angle = k * math.pi / number
        if start_in_frames(model, feeds, pretrained, angle=angle):
            kind = f"principal axes turned by {math.degrees(angle):.0f}°" if k else "principal axes"
        (feed,) = feeds.values()
        if k == 0 and start_by_conditions(model, feed, conditions, means):
            kind = "conditions"
        made.append(Start(model, trainable, kind))
    return made


def best_start(
    starts: Sequence[Start],
    feeds: Mapping[str, SessionFeed],
    settings: TrainSettings,
    folder: Path,
    *,
    pretrained: Mapping[str, Tensor],
    steps: int,
    progress: Progress | None = None,
) -> KeptStart | None:
    """Train all starts a while, as sessions of one model, and keep the one with the least training loss.

    Parameters
    ----------
    starts
        The starts (`starts_of`).
    feeds
        The new session.
    settings
        Settings of the alignment.
    folder
        Where the training keeps its checkpoints; one that is there goes on.
    pretrained
        State dict of the trained model.
    steps
        Steps to take.
    progress
        As in `fit`.

    Returns
    -------
    kept
        None where the parameters of the model's sessions do not lie session by session, so that there is no
        model of all starts.
    """
    ((session, given),) = feeds.items()
    # Every start is to see what the run itself is shown, and a draw hangs on the name of the session.
    feed = masked_once(given, settings)
    copies = {f"{session} start {k}": _copied(feed, f"{session} start {k}") for k in range(len(starts))}
    units = dict.fromkeys(copies, feed.train.y.shape[2])
    together, trainable = aligned_model(settings, units, pretrained)
    if not _stack(together, trainable, starts):
        return None
    one_block = {"sessions_per_step": len(copies), "sessions_per_block": len(copies)}
    asked = settings.model_copy(
        update={
            "batch": settings.batch.model_copy(update=one_block),
            "masks": settings.masks.model_copy(update={"observed_share": 1.0}),
            "max_steps": steps,
        }
    )
    unvalidated = {name: replace(each, val=each.val.select(torch.arange(0))) for name, each in copies.items()}
    fit(
        together, unvalidated, asked, folder,
        progress=progress, resume=True, trainable=trainable.__contains__,
    )  # fmt: skip
    trained = together.state_dict()
    for k, start in enumerate(starts):
        own = {name: trained[name][k : k + 1].to("cpu") for name in start.trainable}
        start.model.load_state_dict(own, strict=False)
    losses = tuple(training_loss(start.model, feed, settings) for start in starts)
    known = [loss if math.isfinite(loss) else math.inf for loss in losses]
    number = known.index(min(known))
    return KeptStart(starts[number], number, losses, tuple(start.kind for start in starts))


def training_loss(model: Model, feed: SessionFeed, settings: TrainSettings) -> float:
    """Return the loss of a training step on all training trials, averaged over draws that hang on the seed.

    Parameters
    ----------
    model
        Of this session alone; left as it was.
    feed
        The session, without what is missing or held back throughout the training.
    settings
        Masks and seed.

    Returns
    -------
    loss
        Nats per trial.
    """
    parameter = next(model.parameters())
    batch = pack([feed.train]).to(parameter.device, parameter.dtype)
    masker, was_training = step_masker(settings), model.training
    total = 0.0
    model.train()
    with torch.no_grad():
        for draw in range(LOSS_DRAWS):
            noise = derived_generator(settings.seed, "start loss", draw, device=parameter.device)
            total += float(total_loss(model(batch, masker(batch, noise, FINAL), FINAL, noise), FINAL))
    model.train(was_training)
    return total / LOSS_DRAWS


def _copied(feed: SessionFeed, name: str) -> SessionFeed:
    """Return the session under another name, without validation trials."""
    scaling = feed.scaling
    # A checkpoint refuses arrays that several sessions share.
    own = replace(
        scaling, offset=scaling.offset.copy(), scale=scaling.scale.copy(), units=scaling.units.copy(),
        velocity=copy.deepcopy(scaling.velocity),
    )  # fmt: skip
    nothing = feed.val.select(torch.arange(0))
    return replace(
        feed, train=replace(feed.train, session=name), val=replace(nothing, session=name), scaling=own
    )


def _stack(together: Model, trainable: frozenset[str], starts: Sequence[Start]) -> bool:
    """Set each session of a model to one of the starts; say whether the sessions can be told apart."""
    stacked, own = together.state_dict(), [start.model.state_dict() for start in starts]
    fits = trainable == starts[0].trainable and all(
        len(stacked[name]) == len(starts) and stacked[name][:1].shape == own[0][name].shape
        for name in trainable
    )
    if fits:
        rows = {name: torch.cat([each[name] for each in own]) for name in trainable}
        together.load_state_dict(rows, strict=False)
    return fits
