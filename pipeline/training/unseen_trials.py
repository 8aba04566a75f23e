"""Trials of another store that a run has not seen: known again one by one, or refused.

A file that has changed, or another version of the program, makes another store of a session, which splits its
trials another way. The run remembers the trials of the store it was trained on (`trial_record`). Where each
one it was trained or validated on is found in the other store with the same row, start, go cue and target,
all the others are trials it has not seen: they are the test trials of the session that is returned here, and
the trials the run was trained and validated on are what they were for it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.training.trial_record import trials_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nwb_latents.pipeline.stores.session import Session
    from nwb_latents.schemas.trial_record import SessionTrials

UNSEEN = "unseen"
"""What the split of such numbers begins with (`Unseen.split`)."""

SAME_S = 1e-6
"""Times that differ by less are the same; so are directions, in rad."""

_NAMED_IN_MESSAGE = 5
_SEEN = ("train", "val")


@dataclass(frozen=True)
class Unseen:
    """A session with the split a run knows it by.

    Attributes
    ----------
    session
        Its test trials are those the run was neither trained nor validated on.
    n_unseen, n_left_out
        These; and trials that overlap with one it has seen, which are in no split and left out.
    split
        What numbers of these trials say instead of ``test``: ``unseen-`` and a digest of which trials are in
        which split, so that only numbers of the very same trials stand beside each other.
    """

    session: Session
    n_unseen: int
    n_left_out: int
    split: str


def unseen_trials(
    run: str, record: SessionTrials | None, session: Session, *, store_key: str, forward_ms: float = 0.0
) -> Unseen:
    """Return a session with the trials a run has not seen as its test trials.

    Parameters
    ----------
    run
        Name of the run.
    record
        What it remembers of the session; None: nothing.
    session
        As another store has it, all trials.
    store_key
        Key of the store the run was trained on.
    forward_ms
        Time after the window of each trial that the run was trained on too.

    Raises
    ------
    DataError
        If it cannot be proven which trials the run has seen, or it has seen all of them.
    """
    refused = f"{session.name}: which trials run {run} has not seen cannot be proven"
    if record is None or record.store_key != store_key:
        raise DataError(
            f"{refused}: it holds no record of the trials it was trained on (earlier versions wrote none, "
            "and "
            "runs that were imported have none). Train it again on this store (`pipeline run train --force`)."
        )
    here = trials_of(session)
    if not (record.identifier and record.session_start) or (
        (record.identifier, record.session_start) != (here.identifier, here.session_start)
    ):
        raise DataError(
            f"{refused}: it was trained on the recording {_recording(record)}, this is {_recording(here)}. "
            "Train it again on this store, or ingest the recording it was trained on."
        )
    split = _carried(refused, record, here)
    overlapping = _overlapping(session, split, n_after=session.forward_bins(forward_ms))
    keep = np.flatnonzero(~overlapping)
    n_unseen = int((split[keep] == "test").sum())
    if not n_unseen:
        raise DataError(
            f"{session.name}: run {run} was trained or validated on every trial of this store"
            f"{' or one it overlaps with' if overlapping.any() else ''}; there is none to score. Ingest more "
            "trials, or train it again on this store."
        )
    labelled = session.with_trials(session.trials.assign_coords(split=("trial", split))).select(keep)
    ids = session.trials["trial"].values[keep].tolist()
    said = json.dumps([session.store_key, ids, split[keep].tolist()])
    digest = hashlib.sha256(said.encode()).hexdigest()[:8]
    known = replace(labelled, split_of=frozenset({store_key}))
    return Unseen(known, n_unseen, int(overlapping.sum()), f"{UNSEEN}-{digest}")


def _carried(refused: str, record: SessionTrials, here: SessionTrials) -> np.ndarray:
    """Return the split of each trial: what it was for the run, and test for those it has not seen."""
    rows = {trial: row for row, trial in enumerate(here.trial)}
    split = np.array(["test"] * len(here.trial), dtype=object)
    faults = []
    for known, trial in enumerate(record.trial):
        if record.split[known] not in _SEEN:
            continue
        row = rows.get(trial)
        fault = "is not there" if row is None else _difference(record, known, here, row)
        if fault or row is None:
            faults.append(f"trial {trial} {fault}")
            continue
        split[row] = record.split[known]
    if faults:
        more = f", and {len(faults) - _NAMED_IN_MESSAGE} more" if len(faults) > _NAMED_IN_MESSAGE else ""
        raise DataError(
            f"{refused}: of those it was trained and validated on, {len(faults)} are not as they were "
            f"({'; '.join(faults[:_NAMED_IN_MESSAGE])}{more}). Train it again on this store (`pipeline run "
            "train "
            "--force`), or ingest the file it was trained on again."
        )
    return split


def _difference(record: SessionTrials, known: int, here: SessionTrials, row: int) -> str:
    """Return in what a trial differs; nothing if it is the same, and its start or go cue says so."""
    names = (("start_s", "starts at", "s"), ("go_cue_s", "has its go cue at", "s"),
             ("target_rad", "has its target at", "rad"))  # fmt: skip
    if record.start_s[known] is None and record.go_cue_s[known] is None:
        return "has neither start nor go cue"
    for name, words, unit in names:
        was, now = getattr(record, name)[known], getattr(here, name)[row]
        if (was is None) != (now is None) or (was is not None and abs(was - now) > SAME_S):
            shown = ["nothing" if one is None else f"{one:.6g} {unit}" for one in (now, was)]
            return f"{words} {shown[0]}, was {shown[1]}"
    return ""


def _overlapping(session: Session, split: np.ndarray, *, n_after: int) -> np.ndarray:
    """Return which unseen trials share a bin with one that was seen. Shape ``(trial,)``, bool."""
    start = session.trials["start_bin"].values.astype(np.int64)
    seen = np.sort(start[np.isin(split, _SEEN)])
    if not len(seen):
        return np.zeros(len(split), bool)
    after = np.searchsorted(seen, start)
    to_next = seen[np.minimum(after, len(seen) - 1)] - start
    from_last = np.where(after > 0, start - seen[np.maximum(after - 1, 0)], np.iinfo(np.int64).max)
    near = (np.abs(to_next) < session.n_bins) | (from_last < session.n_bins + n_after)
    unseen: np.ndarray = near & (split == "test")
    return unseen


def _recording(known: SessionTrials) -> str:
    name = repr(known.identifier[:40]) if known.identifier else "without an identifier"
    return f"{name}, begun {known.session_start or 'at an unknown time'}"


def same_split(views: Sequence[tuple[str, Unseen]], *, beside: Sequence[str] = ()) -> Unseen:
    """Return the one view of a session that several runs have.

    Parameters
    ----------
    views
        Name of each run, and the session as it knows it; at least one.
    beside
        Names of runs that were trained on this store, and know it by its own split.

    Raises
    ------
    DataError
        If they were trained on other trials: their numbers would not be of the same trials.
    """
    name, first = views[0]
    for other, view in [*views[1:], *((one, None) for one in beside)]:
        if view is None or view.split != first.split:
            raise DataError(
                f"{first.session.name}: runs {name} and {other} were not trained on the same trials, so "
                "those "
                "that they have not seen differ. Take one of them at a time, with --run."
            )
    keys = frozenset(key for _, view in views for key in view.session.split_of)
    return Unseen(replace(first.session, split_of=keys), first.n_unseen, first.n_left_out, first.split)
