"""Trials that do not all fit the memory: a session is read from its store when a step draws from it.

What is drawn for a step hangs on the seed and the step alone, so that it is read while the step before is
computed, and what is read is built by the same code as where everything lies in memory: the numbers are the
same to the last bit. A store is read by the session and not by the trial, since trials drawn at random lie in
nearly all of its chunks. Sessions are kept once they are read as long as there is room, and others are read
again.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

from nwb_latents.pipeline.training.feed import feed_session, require_equal_bins

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from torch import Tensor

    from nwb_latents.models.batching.tensors import TrialTensors
    from nwb_latents.pipeline.stores.session import Session
    from nwb_latents.pipeline.training.feed import Scaling, SessionFeed
    from nwb_latents.schemas.training import TrainSettings

Part = Literal["train", "val"]

MOST_OPEN = 1000
"""Sessions that stay open, 0.3 MB each."""


class StoredSessions:
    """Sessions that are opened when they are asked for, their arrays read when they are used and let go of.

    Parameters
    ----------
    openers
        Opens each session, with nothing of it read.
    stay_open
        Whether the first `MOST_OPEN` of them stay open, unread: opening a store takes four times as long as
        reading its trials. Not where recordings are read too, which would stay in memory.

    Examples
    --------
    >>> from nwb_latents.pipeline.stores.session import open_session
    >>> len(StoredSessions([lambda: open_session("nowhere.zarr")]))
    1
    """

    def __init__(self, openers: Sequence[Callable[[], Session]], *, stay_open: bool = False) -> None:
        self._openers, self._stay_open = list(openers), stay_open
        self._open: dict[int, Session] = {}

    def __len__(self) -> int:
        return len(self._openers)

    def __iter__(self) -> Iterator[Session]:
        return (self.opened(number) for number in range(len(self)))

    def opened(self, number: int) -> Session:
        """Return a session, nothing of it read."""
        session = self._open.get(number)
        if session is None:
            session = self._openers[number]()
            if not self._stay_open or len(self._open) >= MOST_OPEN:
                return session
            self._open[number] = session
        # An array that is read stays with the trials it was asked of: those that stay open are never asked.
        return session.with_trials(session.trials.isel(trial=slice(None)))


class Shelf:
    """Sessions read from their stores, of which some are kept.

    Parameters
    ----------
    openers
        Session id → opens it.
    settings
        Of the training.
    scalings
        Session id → scaling of its units, estimated before.
    room
        Bytes of tensors that are kept.
    change
        What is done to a session once it is read.
    """

    def __init__(
        self,
        openers: Mapping[str, Callable[[], Session]],
        settings: TrainSettings,
        scalings: Mapping[str, Scaling],
        *,
        room: int,
        change: Callable[[SessionFeed], SessionFeed] | None = None,
    ) -> None:
        self._openers, self._settings, self._scalings = openers, settings, scalings
        self._room, self._change = room, change
        self._kept: dict[str, SessionFeed] = {}
        self._lock = threading.Lock()

    def feed(self, session: str) -> SessionFeed:
        """Return a session, read again if it is not kept."""
        with self._lock:
            if session in self._kept:
                return self._kept[session]
        opened = self._openers[session]()
        feed = feed_session(opened, self._settings, scaling=self._scalings[session])
        if self._change is not None:
            feed = self._change(feed)
        n_bytes = bytes_of(feed.train) + bytes_of(feed.val)
        with self._lock:
            if n_bytes <= self._room and session not in self._kept:
                self._room -= n_bytes
                self._kept[session] = feed
        return feed

    def changed(self, change: Callable[[SessionFeed], SessionFeed], *, room: int) -> Shelf:
        """Return a shelf of the same sessions with something done to them."""
        return Shelf(self._openers, self._settings, self._scalings, room=room, change=change)


@dataclass(frozen=True)
class StoredTrials:
    """Trials of one split of a session that are read when they are asked for.

    Attributes
    ----------
    session
        Session id.
    part
        The split.
    n_trials, n_bins, n_units
        As those of `TrialTensors`.
    shelf
        Reads them.
    means
        What `target_means` returns; None: it is not known before they are read.
    """

    session: str
    part: Part
    n_trials: int
    n_bins: int
    n_units: int
    shelf: Shelf
    means: Tensor | None = None

    def read(self) -> TrialTensors:
        """Return all trials, in memory."""
        feed = self.shelf.feed(self.session)
        return feed.train if self.part == "train" else feed.val

    def target_means(self) -> Tensor:
        """As that of `TrialTensors`."""
        return self.read().target_means() if self.means is None else self.means

    def select(self, trials: Tensor) -> TrialTensors:
        """Return the trials of the given indices, in memory."""
        return self.read().select(trials)


@dataclass(frozen=True)
class StoredFeed:
    """One session, ready for training, whose trials are read when they are drawn.

    Attributes
    ----------
    train, val, scaling
        As those of `SessionFeed`.
    room
        Bytes that all sessions together may keep.
    """

    train: StoredTrials
    val: StoredTrials
    scaling: Scaling
    room: int

    is_in_memory = False


def stored_feeds(sessions: StoredSessions, settings: TrainSettings, *, room: int) -> dict[str, StoredFeed]:
    """Read each session once, for its scaling and its sizes, and keep none of them.

    Parameters
    ----------
    sessions
        The sessions.
    settings
        As for `feed_sessions`.
    room
        Bytes of sessions that may be kept once training has begun.

    Raises
    ------
    DataError
        As `feed_sessions`.
    """
    openers: dict[str, Callable[[], Session]] = {}
    scalings: dict[str, Scaling] = {}
    means: dict[str, Tensor] = {}
    sizes: dict[str, list[tuple[Part, int, int, int]]] = {}
    for number, session in enumerate(sessions):
        feed = feed_session(session, settings)
        means[session.name] = feed.train.target_means()
        openers[session.name], scalings[session.name] = partial(sessions.opened, number), feed.scaling
        parts: tuple[tuple[Part, TrialTensors], ...] = (("train", feed.train), ("val", feed.val))
        sizes[session.name] = [(part, one.n_trials, one.n_bins, one.n_units) for part, one in parts]
    require_equal_bins({name: (sizes[name][0][2], each.bin_size_s) for name, each in scalings.items()})
    shelf = Shelf(openers, settings, scalings, room=0)
    found = {}
    for name, of_parts in sizes.items():
        train, val = (StoredTrials(name, *each, shelf) for each in of_parts)
        found[name] = StoredFeed(replace(train, means=means[name]), val, scalings[name], room)
    return found


def changed_once(
    feeds: Mapping[str, StoredFeed],
    change: Callable[[SessionFeed], SessionFeed],
    *,
    keeps_targets: bool = True,
) -> dict[str, StoredFeed]:
    """Return sessions with something done to each when it is read; what is kept is kept of these.

    Parameters
    ----------
    feeds
        The sessions.
    change
        What is done.
    keeps_targets
        Whether the means of what is scored stay what they are.
    """
    first = next(iter(feeds.values()))
    shelf = first.train.shelf.changed(change, room=first.room)
    found = {}
    for name, feed in feeds.items():
        train = replace(feed.train, shelf=shelf, means=feed.train.means if keeps_targets else None)
        found[name] = replace(feed, train=train, val=replace(feed.val, shelf=shelf))
    return found


def bytes_of(trials: TrialTensors) -> int:
    """Return the bytes of the tensors of trials.

    Examples
    --------
    >>> import torch
    >>> from nwb_latents.models.batching.tensors import TrialTensors
    >>> bytes_of(TrialTensors("a", torch.zeros(2, 3, 4)))
    96
    """
    parts = (trials.y, trials.target, trials.ext, trials.held_back, trials.behaviour)
    return sum(each.numel() * each.element_size() for each in parts if each is not None)
