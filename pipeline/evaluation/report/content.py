"""What a report shows, before it is a page: records without HTML in them.

All text here is as it was read, hostile or not. It is escaped where the page is made (`report.page`), and
nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nwb_latents.pipeline.evaluation.report.heat_maps import HeatMap
    from nwb_latents.pipeline.evaluation.report.lights import Light

Json = dict[str, object]
"""What is handed to the page as data: text, numbers that are finite, null, lists and mappings of these."""


@dataclass(frozen=True)
class Missing:
    """Something that is not on the page, or not as it should be.

    Attributes
    ----------
    what
        What it is.
    why
        Why.
    remedy
        What to do; empty: nothing can be done.
    """

    what: str
    why: str
    remedy: str = ""


@dataclass(frozen=True)
class Link:
    """An address the page links to and never loads by itself."""

    text: str
    url: str


@dataclass(frozen=True)
class SessionPart:
    """One store.

    Attributes
    ----------
    key
        Session and recipe: the name of the entry.
    facts
        Name → value, as text.
    lights
        One for each check.
    dropped_units, dropped_trials
        Reason → number.
    fault
        Why it cannot be read; None: it can.
    arrays
        What is drawn of it; None: nothing.
    """

    key: str
    session: str
    recipe_id: str
    n_trials: int
    n_units: int
    facts: Mapping[str, str]
    lights: tuple[Light, ...]
    dropped_units: Mapping[str, int] = field(default_factory=dict)
    dropped_trials: Mapping[str, int] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    choices: tuple[tuple[str, str, str], ...] = ()
    links: tuple[Link, ...] = ()
    fault: Missing | None = None
    arrays: Json | None = None


@dataclass(frozen=True)
class RunPart:
    """One run.

    Attributes
    ----------
    stale
        What became of its stores; empty: they are as they were, None: not known.
    settings
        Name of each setting, with dots → value, as text.
    arrays
        Loss curves, embedding and, by session, what its model makes of test trials.
    """

    run: str
    model: str
    sessions: tuple[str, ...]
    recipe_id: str
    facts: Mapping[str, str]
    stale: str | None
    settings: Mapping[str, str]
    missing: tuple[Missing, ...] = ()
    arrays: Json | None = None


@dataclass(frozen=True)
class Command:
    """A command that makes something again, to be copied; `file` is a settings file it reads."""

    what: str
    text: str
    file_name: str = ""
    file: str = ""


@dataclass(frozen=True)
class BoardCellText:
    """A cell of a leaderboard: what is read, and the number it is sorted by."""

    text: str
    value: float | None = None
    is_best: bool = False


@dataclass(frozen=True)
class BoardPart:
    """A leaderboard as a table."""

    title: str
    protocol: tuple[str, ...]
    heads: tuple[str, ...]
    rows: tuple[tuple[BoardCellText, ...], ...]
    legend: tuple[str, ...]


@dataclass(frozen=True)
class FailurePart:
    """A session that failed in the last attempt at it."""

    stage: str
    session: str
    source: str
    time: str
    attempts: int
    kind: Literal["data", "machine", "unexpected"]
    message: str
    remedy: str


@dataclass(frozen=True)
class Page:
    """All of a report.

    Attributes
    ----------
    catalog
        The catalog file, as it was named.
    made
        When, ISO 8601, UTC.
    program
        Version of the program that made the page.
    dandisets
        Rows: id and version, title, licence, number of sessions, address of its citation.
    packages
        Rows: package, versions that stores and runs say.
    stale
        What was left out of comparisons as stale; empty: nothing.
    numbers
        The table of all numbers (`report.number_table`).
    """

    catalog: str
    made: str
    program: str
    sessions: tuple[SessionPart, ...]
    runs: tuple[RunPart, ...] = ()
    dandisets: tuple[tuple[str, str, str, int, str], ...] = ()
    packages: tuple[tuple[str, str], ...] = ()
    commands: tuple[Command, ...] = ()
    boards: tuple[BoardPart, ...] = ()
    heat_maps: tuple[HeatMap, ...] = ()
    stale: str = ""
    numbers: Json = field(default_factory=dict)
    failures: tuple[FailurePart, ...] = ()
    methods: tuple[str, ...] = ()
    bibtex: str = ""
    missing: tuple[Missing, ...] = ()
