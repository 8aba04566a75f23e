"""The groups of sessions of a study: who is in which, by what the catalog and the stores say."""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.stores.location import store_path
from nwb_latents.pipeline.stores.session import require_own_store
from nwb_latents.pipeline.stores.trials import read_attributes
from nwb_latents.schemas.study import ALL

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from nwb_latents.schemas.catalog import SessionEntry
    from nwb_latents.schemas.study import SessionGroup


@dataclass(frozen=True)
class Placed:
    """A session and when it was recorded.

    Attributes
    ----------
    entry
        The session.
    day
        Day of the recording; None: its file does not say.
    """

    entry: SessionEntry
    day: date | None

    @property
    def order(self) -> tuple[date, str]:
        """What sessions of a subject are ordered by; those without a day come first."""
        return self.day or date.min, self.entry.session


def placed(catalog_path: Path, entries: Sequence[SessionEntry]) -> list[Placed]:
    """Return the sessions with their days, as their stores have them."""
    found = []
    for entry in entries:
        where = store_path(catalog_path, entry.store)
        attributes = read_attributes(where)
        if attributes is not None:
            require_own_store(attributes, entry, where=where)
        found.append(Placed(entry, _day(attributes.provenance.session_start if attributes else "")))
    return found


def _day(start: str) -> date | None:
    try:
        return datetime.fromisoformat(start).date()
    except ValueError:
        return None


def grouped(
    groups: Mapping[str, SessionGroup], sessions: Sequence[Placed], *, say: Callable[[str], object]
) -> dict[str, list[SessionEntry]]:
    """Return the sessions of each group, in order of their id; the group of all is among them.

    Parameters
    ----------
    groups
        Name → what its sessions are; they name each other in no circle.
    sessions
        All sessions of the study.
    say
        Told of sessions that are in no group of days because their day is not known.

    Raises
    ------
    DataError
        If a group is empty.

    Examples
    --------
    >>> from nwb_latents.schemas.catalog import SessionEntry
    >>> from nwb_latents.schemas.study import SessionGroup
    >>> def one(subject, day):
    ...     entry = SessionEntry(session=f"{subject}{day}", subject=subject, task="CO", recipe_id="r",
    ...         store="s", store_key="k", source="f", n_trials=1, n_units=1, n_bins=1, bin_size_s=0.02,
    ...         created="")
    ...     return Placed(entry, date(2020, 1, day))
    >>> groups = {"new": SessionGroup(last=1), "old": SessionGroup(without=("new",))}
    >>> found = grouped(groups, [one("A", 1), one("A", 2), one("B", 3), one("B", 4)], say=print)
    >>> {name: [entry.session for entry in entries] for name, entries in found.items()}
    {'all': ['A1', 'A2', 'B3', 'B4'], 'new': ['A2', 'B4'], 'old': ['A1', 'B3']}
    """
    members: dict[str, list[Placed]] = {ALL: list(sessions)}

    def of(name: str) -> list[Placed]:
        if name not in members:
            group = groups[name]
            out = {each.entry.session for other in group.without for each in of(other)}
            left = [each for each in sessions if each.entry.session not in out]
            members[name] = _chosen(name, group, left, say)
            if not members[name]:
                raise DataError(
                    f"groups.{name}: none of {len(sessions)} sessions is in it"
                    f"{f', {len(sessions) - len(left)} are in {_and(group.without)}' if out else ''}. The "
                    f"sessions are of the subjects {_and(sorted({s.entry.subject for s in sessions}))} and "
                    f"the tasks {_and(sorted({s.entry.task for s in sessions}))}. Ask for less."
                )
        return members[name]

    for name in groups:
        of(name)
    return {
        name: sorted((each.entry for each in found), key=lambda entry: entry.session)
        for name, found in members.items()
    }


def _chosen(
    name: str, group: SessionGroup, sessions: Sequence[Placed], say: Callable[[str], object]
) -> list[Placed]:
    found = [
        each
        for each in sessions
        if _matches(each.entry.session, group.sessions)
        and _matches(each.entry.subject, group.subjects)
        and _matches(each.entry.task, group.tasks)
    ]
    if group.since or group.until:
        for each in found:
            if each.day is None:
                say(f"groups.{name}: {each.entry.session} is left out: its day of recording is not known")
        found = [
            each
            for each in found
            if each.day is not None
            and (group.since is None or each.day >= group.since)
            and (group.until is None or each.day <= group.until)
        ]
    subjects = sorted({each.entry.subject for each in found})
    chosen = []
    for subject in subjects[-group.last_subjects :] if group.last_subjects else subjects:
        theirs = sorted(
            (each for each in found if each.entry.subject == subject), key=lambda each: each.order
        )
        theirs = theirs[: group.first] if group.first else theirs
        chosen += theirs[-group.last :] if group.last else theirs
    return chosen


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _and(names: Sequence[str]) -> str:
    return ", ".join(names)
