"""What the details of a record say of its row: what it was told, how many trials it was given."""

from __future__ import annotations

GIVEN = "given_trials"
"""Detail of a measurement: the trials a run was given, and what reads it out was fitted on."""


def told_of(details: object) -> str:
    """Return what a source was told, from the details of a record of it; empty: nothing beyond its spikes.

    Examples
    --------
    >>> told_of({"told": "the target"}), told_of({}), told_of(None)
    ('the target', '', '')
    """
    told = details.get("told") if isinstance(details, dict) else None
    return told if isinstance(told, str) else ""


def given_of(details: object, fitted_sessions: object) -> int:
    """Return how many trials of its session a row was given and read out by; 0: the whole training split.

    A decoder of other sessions is fitted on these, however few of this one there were.

    Examples
    --------
    >>> given_of({"given_trials": 16}, ()), given_of({"given_trials": 16}, ("day1",)), given_of({}, ())
    (16, 0, 0)
    """
    is_of_others = isinstance(fitted_sessions, (list, tuple)) and len(fitted_sessions) > 0
    given = details.get(GIVEN) if isinstance(details, dict) else None
    return int(given) if isinstance(given, int) and not is_of_others else 0
