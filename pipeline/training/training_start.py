"""A model at the start of a training, with the trials it is fed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nwb_latents.models.batching.drawn_masks import training_masker
from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.stores.session import open_session
from nwb_latents.pipeline.training.feed import feed_sessions, hidden_units, with_forward_bins
from nwb_latents.pipeline.training.model_building import built_model
from nwb_latents.pipeline.training.model_size import require_model_fits, require_step_fits
from nwb_latents.pipeline.training.read_in_start import start_in_frames
from nwb_latents.pipeline.training.regression_start import start_by_regression
from nwb_latents.pipeline.training.stored_trials import StoredFeed, StoredSessions, stored_feeds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nwb_latents.models.interface import Model
    from nwb_latents.pipeline.stores.location import StoreLocation
    from nwb_latents.pipeline.stores.session import Session
    from nwb_latents.pipeline.training.feed import SessionFeed
    from nwb_latents.schemas.catalog import SessionEntry
    from nwb_latents.schemas.training import TrainSettings


def begin(
    sessions: Sequence[Session] | StoredSessions,
    settings: TrainSettings,
    *,
    room: int = 0,
    at_once: int = 1,
    whatever_the_size: bool = False,
) -> tuple[Model, dict[str, SessionFeed] | dict[str, StoredFeed]]:
    """Return a freshly built model and its feeds, both functions of the settings and the sessions.

    Parameters
    ----------
    sessions
        The sessions.
    settings
        Model, signal, masks, seed.
    room
        Bytes of sessions that are kept in memory, where they are `StoredSessions`.
    at_once
        Processes of this machine that train such a model at the same time.
    whatever_the_size
        Build the model though it, or a step of its training, is larger than the memory.

    Raises
    ------
    SettingsError
        If model or batches are larger than the memory.
    DataError
        If a session has no training trials, or the settings ask for what the sessions do not have.
    """
    if settings.co_smoothing and not any(hidden_units(one, settings).any() for one in sessions):
        names = ", ".join(one.name for one in sessions)
        raise DataError(
            f"co_smoothing: no unit of {names} is marked as held out. Choose sessions that "
            "have some, have some drawn with --set heldout_fraction=0.25, or train without it."
        )
    feeds: dict[str, SessionFeed] | dict[str, StoredFeed]
    if isinstance(sessions, StoredSessions):
        feeds = stored_feeds(sessions, settings, room=room)
    else:
        feeds = feed_sessions(sessions, settings)
    units = {name: feed.train.n_units for name, feed in feeds.items()}
    if not whatever_the_size:
        require_model_fits(settings, units, at_once=at_once)
    model = built_model(settings.model, units, seed=settings.seed)
    if not whatever_the_size:
        require_step_fits(model, feeds, settings, training_masker(settings.masks), at_once=at_once)
    start_by_regression(model, feeds, sessions)
    start_in_frames(model, feeds)
    return model, feeds


def training_session(
    store: StoreLocation, forward_ms: float, *, loaded: bool = True, entry: SessionEntry | None = None
) -> Session:
    """Return the session of a store, with so much time after its windows where that is scored too.

    Parameters
    ----------
    store
        The store.
    forward_ms
        Time after the windows, ms.
    loaded
        Whether all of its trials are read at once, or each array when it is used.
    entry
        Its entry in the catalog that names it; None takes whatever store is there.

    Raises
    ------
    DataError
        If it is another store than the catalog's.
    SettingsError
        If that is not a whole number of bins, or longer than the window.
    """
    session = open_session(store, entry=entry)
    if loaded:
        session = session.loaded()
    if not forward_ms:
        return session
    return with_forward_bins(session, session.forward_bins(forward_ms))
