"""What an ingest left out, summed over its sessions, and the sessions that stand out."""

from __future__ import annotations

from collections import Counter
from statistics import median
from typing import TYPE_CHECKING, Literal

from nwb_latents.schemas.events import DroppedEvent, UnusualDrop

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nwb_latents.schemas.catalog import SessionEntry
    from nwb_latents.schemas.store import DropCounts

MOST = 0.5
"""A session that loses more than this share stands out, whatever the others do."""

MORE_THAN_OTHERS = 0.2
"""A session that loses this much more than the median of all stands out."""


def summed_drops(stores: Sequence[tuple[SessionEntry, DropCounts]]) -> DroppedEvent:
    """Return what all stores together lack, and which of them stand out.

    Parameters
    ----------
    stores
        Catalog entry of each session, and what was left out of it.

    Examples
    --------
    >>> summed_drops([]).units
    {}
    """
    units: Counter[str] = Counter()
    trials: Counter[str] = Counter()
    for _, dropped in stores:
        units.update(dropped.units)
        trials.update(dropped.trials)
    lost_units = [(entry.session, entry.n_units, dropped.units) for entry, dropped in stores]
    lost_trials = [(entry.session, entry.n_trials, dropped.trials) for entry, dropped in stores]
    return DroppedEvent(
        n_sessions=len(stores),
        n_units=sum(entry.n_units for entry, _ in stores),
        n_trials=sum(entry.n_trials for entry, _ in stores),
        units=dict(units.most_common()),
        trials=dict(trials.most_common()),
        unusual=(*unusual_drops(lost_units, "units"), *unusual_drops(lost_trials, "trials")),
    )


def unusual_drops(
    sessions: Sequence[tuple[str, int, Mapping[str, int]]], what: Literal["units", "trials"]
) -> tuple[UnusualDrop, ...]:
    """Return the sessions that lost most of theirs, or much more than the others.

    Parameters
    ----------
    sessions
        Session, how many were kept, and reason → how many were left out.
    what
        Of what.

    Examples
    --------
    >>> found = unusual_drops([("a", 90, {"x": 10}), ("b", 20, {"x": 10, "y": 70})], "trials")
    >>> [(one.session, one.reason, one.n, one.of) for one in found]
    [('b', 'y', 80, 100)]
    """
    lost = [sum(reasons.values()) for _, _, reasons in sessions]
    shares = [n / max(1, n + kept) for n, (_, kept, _) in zip(lost, sessions, strict=True)]
    usual = median(shares) if len(shares) > 2 else 1.0
    return tuple(
        UnusualDrop(
            session=session, what=what, reason=max(reasons, key=lambda r: reasons[r]), n=n, of=n + kept
        )
        for (session, kept, reasons), n, share in zip(sessions, lost, shares, strict=True)
        if n and (share > MOST or share > usual + MORE_THAN_OTHERS)
    )
