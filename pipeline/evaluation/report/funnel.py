"""From what was found to what was kept: units and trials, by the reason they were left out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nwb_latents.pipeline.evaluation.report.content import SessionPart


@dataclass(frozen=True)
class Funnel:
    """Units, or trials, of all sessions together.

    Attributes
    ----------
    what
        ``units`` or ``trials``.
    found, kept
        Numbers.
    dropped
        Reason → number, the largest first.
    """

    what: str
    found: int
    kept: int
    dropped: Mapping[str, int]


def funnel(sessions: Sequence[SessionPart]) -> tuple[Funnel, Funnel]:
    """Return what became of units and of trials. Sessions that cannot be read do not count.

    Parameters
    ----------
    sessions
        The stores.

    Examples
    --------
    >>> [each.found for each in funnel([])]
    [0, 0]
    """
    known = [each for each in sessions if each.fault is None]
    return (
        _sum("units", sum(each.n_units for each in known), [each.dropped_units for each in known]),
        _sum("trials", sum(each.n_trials for each in known), [each.dropped_trials for each in known]),
    )


def _sum(what: str, kept: int, dropped: Sequence[Mapping[str, int]]) -> Funnel:
    total: Counter[str] = Counter()
    for each in dropped:
        total.update(each)
    return Funnel(what, kept + sum(total.values()), kept, dict(total.most_common()))
