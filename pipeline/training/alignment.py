"""Few-shot alignment: a trained model takes on a new session from a few of its trials.

What belongs to the session is trained: read-in, read-out, likelihood, state noise. What sessions share
stays as it is, bit for bit; `require_unchanged` holds every aligned run to that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.models.interface import Aligns
from nwb_latents.models.registry import models_that
from nwb_latents.pipeline.errors import DataError, SettingsError
from nwb_latents.pipeline.training.model_building import built_model
from nwb_latents.schemas.training import OptimiserSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray
    from torch import Tensor

    from nwb_latents.models.interface import Model
    from nwb_latents.pipeline.stores.session import Session
    from nwb_latents.schemas.align import AlignSettings
    from nwb_latents.schemas.training import TrainSettings

_NAMED_IN_MESSAGE = 5


def trial_order(session: Session, *, choice: str, seed: int) -> NDArray[np.int64]:
    """Return the training trials of a session in the order few-shot alignment takes them.

    The first n of them are the trials of an alignment to n trials, so that more trials include the fewer.

    Parameters
    ----------
    session
        The session.
    choice
        One of ``"first"``, in the order of the store, or ``"stratified"``: drawn by the seed, one of each
        condition in turn.
    seed
        Of the draw.

    Returns
    -------
    rows
        Positions of its trials, of its training split only. Shape ``(trial,)``, int64.

    Examples
    --------
    >>> import xarray as xr
    >>> from nwb_latents.pipeline.stores.session import session_in_memory
    >>> labels = {"split": ("trial", ["train"] * 4 + ["test"]), "condition": ("trial", list("aabba"))}
    >>> session = session_in_memory(xr.Dataset(coords=labels))
    >>> rows = trial_order(session, choice="stratified", seed=0)
    >>> sorted("aabba"[row] for row in rows[:2])
    ['a', 'b']
    """
    rows = session.rows("train")
    if choice == "first":
        return rows
    rng = np.random.default_rng([seed, len(rows)])
    shuffled = rng.permutation(rows)
    conditions = session.condition[shuffled].astype(str)
    turn = np.zeros(len(rows), np.int64)
    place = rng.permutation(np.unique(conditions))
    for condition in place:
        mine = conditions == condition
        turn[mine] = np.arange(mine.sum())
    rank = np.argsort(place)[np.searchsorted(np.sort(place), conditions)]
    return shuffled[np.lexsort((rank, turn))]


def few_trials(session: Session, rows: NDArray[np.int64], *, validation_share: float) -> Session:
    """Return the session with these trials alone, the last of them as validation trials.

    Parameters
    ----------
    session
        The session.
    rows
        Positions of the trials, in the order of `trial_order`.
    validation_share
        Share held back for validation, rounded down; one trial always remains to train on.

    Returns
    -------
    few
        Its splits are ``"train"`` and ``"val"``; no other trial of the session is in it.
    """
    few = session.select(rows)
    n_train = max(1, len(rows) - int(validation_share * len(rows)))
    split = np.array(["train"] * n_train + ["val"] * (len(rows) - n_train), dtype=object)
    return few.with_trials(few.trials.assign_coords(split=("trial", split)))


def few_shot_settings(parent: TrainSettings, settings: AlignSettings, *, from_scratch: bool) -> TrainSettings:
    """Return the settings of the training an alignment is: the model of the parent, the steps of `settings`.

    Examples
    --------
    >>> from nwb_latents.schemas.align import AlignSettings
    >>> from nwb_latents.schemas.training import TrainSettings
    >>> few = AlignSettings(max_steps=7, scratch={"max_steps": 9})
    >>> [few_shot_settings(TrainSettings(), few, from_scratch=alone).max_steps for alone in (False, True)]
    [7, 9]
    """
    steps = settings.scratch if from_scratch else settings
    model = parent.model.aligned(mask_probability=settings.mask_probability)
    batch = parent.batch.model_copy(update={"trials_per_session": settings.trials_per_step})
    return parent.model_copy(
        update={
            "model": model,
            "batch": batch,
            "optimiser": OptimiserSettings(**steps.optimiser.model_dump()),
            "max_steps": steps.max_steps,
            "validate_every": settings.validate_every,
            "checkpoint_every": settings.checkpoint_every,
            "patience": settings.patience,
            "seed": settings.seed,
            "device": settings.device,
        }
    )


def aligned_model(
    settings: TrainSettings, units: Mapping[str, int], pretrained: Mapping[str, Tensor]
) -> tuple[Model, frozenset[str]]:
    """Build the model of new sessions on what a trained model learnt of others.

    Parameters
    ----------
    settings
        Settings of the alignment (`few_shot_settings`).
    units
        New session id → number of units.
    pretrained
        State dict of the trained model.

    Returns
    -------
    model
        Shared parameters from `pretrained`, those of the sessions by the seed.
    trainable
        Names of the parameters of the sessions.

    Raises
    ------
    SettingsError
        If a model of this name cannot be aligned.
    """
    model = built_model(settings.model, units, seed=settings.seed)
    if not isinstance(model, Aligns):
        raise SettingsError(
            f"the model {settings.model.name} cannot be aligned to further sessions. Choose a run of "
            f"{' or '.join(models_that(Aligns))}."
        )
    try:
        trainable = model.alignable_parameters(tuple(units))
        # A run in double precision is taken over with all its bits.
        model.to(next(iter(pretrained.values())).dtype)
        model.start_aligned(pretrained)
    except ValueError as error:
        raise SettingsError(
            f"model {settings.model.name}: {error}. Choose a run of another model."
        ) from error
    return model, trainable


def require_unchanged(
    aligned: Mapping[str, Tensor], pretrained: Mapping[str, Tensor], *, trainable: frozenset[str], run: str
) -> None:
    """Compare what an alignment must not change with the parent's, bit for bit.

    Parameters
    ----------
    aligned, pretrained
        State dicts of the aligned model and of the one it was made of.
    trainable
        Names that may differ.
    run
        Name of the aligned run.

    Raises
    ------
    DataError
        If a parameter outside `trainable` is not the parent's, bit for bit.

    Examples
    --------
    >>> import torch
    >>> zero = torch.zeros(1)
    >>> require_unchanged({"f": -zero}, {"f": zero}, trainable=frozenset(), run="mine")
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.DataError: Run mine: the alignment changed f, which is the parent's. ...
    """
    changed = sorted(
        name
        for name, value in aligned.items()
        if name not in trainable and (name not in pretrained or not _same_bits(value, pretrained[name]))
    )
    if changed:
        shown = ", ".join(changed[:_NAMED_IN_MESSAGE]) + (" …" if len(changed) > _NAMED_IN_MESSAGE else "")
        raise DataError(
            f"Run {run}: the alignment changed {shown}, which is the parent's. The run is not entered in the "
            "catalog. Align again with --force; if it happens again, it is a fault of this program."
        )


def _same_bits(one: Tensor, other: Tensor) -> bool:
    mine, theirs = one.detach().cpu().numpy(), other.detach().cpu().numpy()
    return mine.dtype == theirs.dtype and mine.shape == theirs.shape and mine.tobytes() == theirs.tobytes()
