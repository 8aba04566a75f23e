"""Which store of a session a run was trained on, and that it is given trials of no other."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nwb_latents.pipeline.errors import DataError
from nwb_latents.schemas.training import RunSource

if TYPE_CHECKING:
    from nwb_latents.pipeline.stores.session import Session
    from nwb_latents.schemas.catalog import SessionEntry

_SHOWN = 12


def source_of(entry: SessionEntry, *, trials: tuple[int, ...] | None = None) -> RunSource:
    """Return what a run remembers of a store it is trained on.

    Parameters
    ----------
    entry
        The store.
    trials
        Trials it is given, by their id; None: all of the training split.
    """
    return RunSource(store_key=entry.store_key, n_units=entry.n_units, n_trials=entry.n_trials, trials=trials)


def require_store(run: str, source: RunSource | None, session: Session) -> None:
    """Refuse trials of another store than the run was trained on.

    Another store of the same session splits its trials another way: what it calls test trials may be trials
    the run has seen. A session that is split as the run's own store was (`unseen_trials`) is given all the
    same. Sessions that come from no store have no key, and are not compared.

    Parameters
    ----------
    run
        Name of the run.
    source
        The store it was trained on.
    session
        What it is given.

    Raises
    ------
    DataError
        If the keys differ; the message says what else does.
    """
    key = session.store_key
    if source is None or not key or source.store_key in {key, *session.split_of}:
        return
    differ = [f"key {source.store_key[:_SHOWN]}, now {key[:_SHOWN]}"]
    if session.n_units != source.n_units:
        differ.append(f"{source.n_units} units, now {session.n_units}")
    known = "" if source.n_trials is None else f" of {source.n_trials} trials"
    raise DataError(
        f"{session.name}: run {run} was trained on another store{known} of this session "
        f"({'; '.join(differ)}): the file, the recipe or the program has changed since, trials are split "
        "another way, and test trials may be among those the run has seen. Train it again on "
        "this store (`pipeline run train --force`), or ingest the file it was trained on again; or, with "
        "--unseen-trials, take only trials it was neither trained nor validated on, where the run's record "
        "of "
        "its trials proves which these are."
    )
