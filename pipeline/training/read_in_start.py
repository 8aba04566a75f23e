"""Where the maps of sessions start: at principal components, or by least squares from known conditions.

Sessions of one task have conditions in common. The mean activity of a condition, read in by the sessions a
run was trained on, is what the read-in of a new session should make of its own trials of that condition. A
ridge regression finds such a read-in from a few trials, and another the read-out that goes with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from nwb_latents.models.batching.tensors import pack
from nwb_latents.models.interface import StartsFromConditions, StartsInFrames
from nwb_latents.models.parts.principal_frame import principal_frame
from nwb_latents.models.parts.principal_regression import ridge_weights
from nwb_latents.pipeline.training.feed import session_tensors

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from torch import Tensor

    from nwb_latents.models.interface import Model
    from nwb_latents.pipeline.stores.session import Session
    from nwb_latents.pipeline.training.feed import SessionFeed
    from nwb_latents.pipeline.training.inference import TrainedRun
    from nwb_latents.pipeline.training.stored_trials import StoredFeed

RIDGE = 0.1
"""Penalty of the read-in, in units of the variance of a standardised unit."""

READ_OUT_RIDGE = 0.03
"""Penalty of the read-out, in units of the variance of the states."""

LEAST_VARIANCE = 0.05
"""Least variance the likelihood starts with, of standardised units."""


def condition_means(run: TrainedRun, sessions: Iterable[Session]) -> dict[str, Tensor]:
    """Return what the sessions of a run read in, averaged over the trials of each condition.

    Parameters
    ----------
    run
        The trained run.
    sessions
        Sessions it was trained on; their training split is used.

    Returns
    -------
    means
        Condition → mean over trials, then over sessions. Shape ``(time, P0)``.
    """
    found: dict[str, list[Tensor]] = {}
    model = run.model
    if not isinstance(model, StartsFromConditions):
        return {}
    for session in sessions:
        train = session.select(session.rows("train"))
        tensors = session_tensors(train, run.scalings[session.name], run.settings)
        with torch.no_grad():
            hidden = model.read_in_alone(session.name, tensors.shown().nan_to_num())
        labels = train.condition.astype(str)
        for condition in np.unique(labels):
            found.setdefault(str(condition), []).append(hidden[torch.from_numpy(labels == condition)].mean(0))
    return {condition: torch.stack(means).mean(0) for condition, means in found.items()}


def start_in_frames(
    model: Model,
    feeds: Mapping[str, SessionFeed] | Mapping[str, StoredFeed],
    pretrained: Mapping[str, Tensor] | None = None,
    *,
    angle: float = 0.0,
) -> bool:
    """Start read-in and read-out of sessions at their principal components, where the settings ask for it.

    Parameters
    ----------
    model
        Model of these sessions; changed in place.
    feeds
        Session id → its trials; those to train on are used.
    pretrained
        State dict of the trained model the sessions are aligned to; None: there is none.
    angle
        The first two axes are turned by it, rad.

    Returns
    -------
    done
        False where the maps start at random.
    """
    dim = model.frame_dim() if isinstance(model, StartsInFrames) else None
    if not isinstance(model, StartsInFrames) or dim is None:
        return False
    frames = {
        name: principal_frame(feed.train.read().shown(), dim).turned(angle) for name, feed in feeds.items()
    }
    model.start_in_frames(frames, pretrained=pretrained)
    return True


def start_by_conditions(
    model: Model, feed: SessionFeed, conditions: Sequence[str], means: Mapping[str, Tensor]
) -> bool:
    """Set read-in and read-out of the only session of a model by regression on its training trials.

    Parameters
    ----------
    model
        Model whose first session is the new one; changed in place.
    feed
        Trials of the session.
    conditions
        Condition of each training trial.
    means
        What other sessions read in (`condition_means`).

    Returns
    -------
    done
        False, and the model as it was, where no trial is of a known condition.
    """
    known = [row for row, condition in enumerate(conditions) if condition in means]
    if not known or not isinstance(model, StartsFromConditions):
        return False
    y = feed.train.shown()[known].nan_to_num()
    x = y.reshape(-1, y.shape[2]).double()
    wanted = torch.stack([means[conditions[row]] for row in known]).reshape(len(x), -1).double()
    weight, bias = _ridge(x, wanted, RIDGE)
    session = feed.train.session
    model.set_read_in(session, weight, bias)
    if model.reads_out_values():
        model.set_read_out(session, *_read_out(_states(model, feed), feed.train.scored))
    return True


def _states(model: Model, feed: SessionFeed) -> Tensor:
    """Return the states of the training trials, one after the other. Shape ``(sample, D)``."""
    batch = pack([feed.train]).to("cpu", next(model.parameters()).dtype)
    with torch.no_grad():
        return model.predict(batch).latents[0].flatten(0, 1).double()


def _read_out(z: Tensor, scored: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return weight, bias and left-over variance of the read-out of states."""
    target = scored.nan_to_num().reshape(len(z), -1).double()
    weight, bias = _ridge(z, target, READ_OUT_RIDGE * float(z.var(0).mean()))
    left = (target - z @ weight - bias).square().mean(0).clamp_min(LEAST_VARIANCE)
    return weight, bias, left


def _ridge(x: Tensor, y: Tensor, penalty: float) -> tuple[Tensor, Tensor]:
    """Return weight and bias of ``y ≈ x weight + bias``; the penalty is per sample."""
    mean_x, mean_y = x.mean(0), y.mean(0)
    weight = ridge_weights(x - mean_x, y - mean_y, penalty * len(x))
    return weight, mean_y - mean_x @ weight
