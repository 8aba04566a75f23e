"""What a trained run is shown of a session: its trials in batches, if they fit what it was trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from nwb_latents.models.batching.tensors import pack
from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.training.feed import FORWARD, session_tensors
from nwb_latents.pipeline.training.run_stores import require_store
from nwb_latents.pipeline.training.session_embedding import chunks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from nwb_latents.models.batching.tensors import Batch, TrialTensors
    from nwb_latents.pipeline.stores.session import Session
    from nwb_latents.pipeline.training.feed import Scaling
    from nwb_latents.schemas.training import RunSource, TrainSettings


def run_tensors(
    session: Session, *, run: str, scaling: Scaling, source: RunSource | None, settings: TrainSettings
) -> TrialTensors:
    """Return the trials of a session as a run is to see them.

    Parameters
    ----------
    session
        With the trials the run is shown.
    run
        Name of the run, for messages.
    scaling
        That of the session's units in the run.
    source
        Store of the session that the run was trained on; None where it is not known.
    settings
        What the run was trained with, and how what it is shown is smoothed.

    Raises
    ------
    DataError
        If it is another store than the run knows, with other units or bins, or there are no trials.
    """
    require_store(run, source, session)
    units = session.trials["unit"].values.astype(np.int64)
    if not np.array_equal(units, scaling.units):
        raise DataError(
            f"{session.name}: run {run} was trained on {len(scaling.units)} units, the store holds "
            f"{len(units)} units with other ids. The session was ingested anew since: train again."
        )
    width = session.bin_size_s
    if width != scaling.bin_size_s:
        raise DataError(
            f"{session.name}: run {run} was trained on bins of {scaling.bin_size_s:g} s, the store "
            f"holds bins of {width:g} s. Choose the store of the run's recipe."
        )
    if session.n_trials == 0:
        raise DataError(f"{session.name}: no trials to run {run} on. Choose a split that has trials.")
    return session_tensors(session, scaling, settings)


def with_nothing_after(session: Session, n_bins: int) -> Session:
    """Return a session whose windows are followed by bins of which nothing is known."""
    nothing = np.full((session.n_trials, n_bins, session.n_units), np.nan, np.float32)
    shown = session.trials.drop_vars(FORWARD, errors="ignore")
    return session.with_trials(shown.assign({FORWARD: (("trial", "forward", "unit"), nothing)}))


def require_forecastable(tensors: TrialTensors, *, seen_bins: int, n_bins: int) -> None:
    """Refuse a forecast from more bins than trials have, or from or of none.

    Raises
    ------
    DataError
        If it is one.

    Examples
    --------
    >>> from nwb_latents.models.batching.tensors import TrialTensors
    >>> require_forecastable(TrialTensors("a", torch.zeros(2, 6, 3)), seen_bins=7, n_bins=1)
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.DataError: a: a forecast of 1 bins from 7 seen ones, of trials with 6 bins...
    """
    available = tensors.y.shape[1]
    if not 1 <= seen_bins <= available or n_bins < 1:
        raise DataError(
            f"{tensors.session}: a forecast of {n_bins} bins from {seen_bins} seen ones, of trials with "
            f"{available} bins. See between 1 and {available} bins and forecast at least 1."
        )


def batches_of(
    tensors: TrialTensors, *, alone: bool, n_bins: int | None, device: torch.device
) -> Iterator[Batch]:
    """Yield trials in batches a model takes at once.

    Parameters
    ----------
    tensors
        Trials of one session.
    alone
        Whether every trial is a row of its own: a model that infers the embedding of a row from its trials
        then infers each trial's from that trial.
    n_bins
        First bins that are handed over, whatever a model does with them; None: all.
    device
        Where the model computes.
    """
    for part in chunks(tensors):
        rows = torch.arange(part.n_trials)[:, None]
        batch = pack([part.select(row) for row in rows] if alone else [part])
        yield (batch if n_bins is None else batch.first_bins(n_bins)).to(device)


def of_trials(parts: Iterable[torch.Tensor]) -> NDArray[np.float32]:
    """Return the trials of batches of one session, one after the other. Shape ``(trial, time, feature)``.

    Examples
    --------
    >>> of_trials([torch.zeros(1, 2, 6, 3), torch.zeros(1, 1, 6, 3)]).shape
    (3, 6, 3)
    """
    return np.concatenate([part.flatten(0, 1).cpu().numpy() for part in parts])
