"""What a run remembers of the trials it is trained on: enough to know them again in another store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.stores.atomic import write_text
from nwb_latents.pipeline.stores.lenient import read_record
from nwb_latents.pipeline.stores.trials import read_events
from nwb_latents.pipeline.training.run_files import TRAIN_AGAIN, TRIALS
from nwb_latents.schemas.trial_record import RunTrials, SessionTrials

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from nwb_latents.pipeline.stores.session import Session
    from nwb_latents.schemas.training import RunSource


def trials_of(session: Session) -> SessionTrials:
    """Return what tells the trials of a session from each other, with their split.

    The start of a trial is that of the file's trial table; where a store does not hold it (an imported one),
    the aligning event.

    Parameters
    ----------
    session
        As its store has it, all trials.

    Examples
    --------
    >>> import xarray as xr
    >>> from nwb_latents.pipeline.stores.session import session_in_memory
    >>> columns = {"event_time": [1.5], "go_cue": [1.2], "target_dir": [float("nan")]}
    >>> labels = {"trial": [7], "split": ("trial", ["train"])}
    >>> session = session_in_memory(xr.Dataset({k: ("trial", v) for k, v in columns.items()}, coords=labels))
    >>> found = trials_of(session)
    >>> found.trial, found.start_s, found.target_rad
    ((7,), (1.5,), (None,))
    """
    origin = session.attributes.provenance
    return SessionTrials(
        store_key=session.store_key,
        identifier=origin.identifier,
        session_start=origin.session_start,
        trial=tuple(int(one) for one in session.trials["trial"].values),
        split=tuple(str(one) for one in session.split),
        start_s=_known(_starts(session)),
        go_cue_s=_known(_column(session, "go_cue")),
        target_rad=_known(_column(session, "target_dir")),
    )


def write_trials(run_dir: Path, sessions: Iterable[Session]) -> None:
    """Write down in the directory of a run which trials its sessions have, where these have ids.

    Raises
    ------
    MachineError
        If the disk refuses.
    """
    record = RunTrials(
        sessions={
            session.name: trials_of(session) for session in sessions if "trial" in session.trials.coords
        }
    )
    write_text(run_dir / TRIALS, record.text())


def read_run_trials(run_dir: Path) -> RunTrials | None:
    """Return what a run remembers; None for one of an earlier version, or trained elsewhere.

    Raises
    ------
    DataError
        If the file is damaged.
    """
    return read_record(RunTrials, run_dir / TRIALS, remedy=TRAIN_AGAIN)


def trained_rows(session: Session, source: RunSource | None) -> NDArray[np.int64]:
    """Return the rows of the trials a run was trained on: those it was given, else the training split.

    Parameters
    ----------
    session
        Split as the run knows it.
    source
        What the run was trained on; None: not known.
    """
    if source is None or source.trials is None or "trial" not in session.trials.coords:
        return np.flatnonzero(session.split == "train")
    return np.flatnonzero(np.isin(session.trials["trial"].values, source.trials))


def given_alone(
    session: Session, source: RunSource | None, *, scored: Sequence[str] = ("test",)
) -> Session | None:
    """Return a session without the trials a run was not given, those that are scored aside.

    Whatever is fitted beside a run that was given a few trials is to be fitted on these few: its decoder,
    its read-outs, what it is averaged with.

    Parameters
    ----------
    session
        All trials of its store.
    source
        What the run was trained on; None: not known.
    scored
        Splits that are scored; they stay as they are.

    Returns
    -------
    given
        The trials given are its training split, and other trials than these and the scored ones are not in
        it. None of a run that had the whole training split.
    """
    if source is None or source.trials is None or "trial" not in session.trials.coords:
        return None
    mine = np.zeros(session.n_trials, bool)
    mine[trained_rows(session, source)] = True
    split = np.where(mine, "train", session.split.astype(str)).astype(object)
    kept = np.flatnonzero(mine | np.isin(split, scored))
    return session.with_trials(session.trials.assign_coords(split=("trial", split))).select(kept)


def _starts(session: Session) -> NDArray[np.float64]:
    events = read_events(session.where) if session.where else None
    if events is None:
        return _column(session, "event_time")
    starts = dict(zip(events["row"].values.tolist(), events["trial_start"].values.tolist(), strict=True))
    return np.array([starts.get(int(one), np.nan) for one in session.trials["trial"].values])


def _column(session: Session, name: str) -> NDArray[np.float64]:
    """Return what a store holds of each trial; NaN where it does not."""
    if name not in session.trials:
        return np.full(session.n_trials, np.nan)
    return np.asarray(session.trials[name].values, dtype=np.float64)


def _known(values: NDArray[np.float64]) -> tuple[float | None, ...]:
    return tuple(float(one) if np.isfinite(one) else None for one in np.asarray(values, dtype=np.float64))
