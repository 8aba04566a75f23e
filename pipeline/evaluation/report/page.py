"""The page of a report: one file of HTML that needs no other and no network.

Text is escaped by the template; data go in compressed, in letters that hold no markup. The page's own policy
(`Content-Security-Policy`) lets no script run but the two it was made with, and nothing be loaded.
"""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from nwb_latents.pipeline.evaluation.report.content import Missing, RunPart
from nwb_latents.pipeline.evaluation.report.funnel import funnel
from nwb_latents.pipeline.evaluation.report.lights import CHECKS, SYMBOLS
from nwb_latents.pipeline.evaluation.report.packing import pack, pack_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nwb_latents.pipeline.evaluation.report.content import Page, SessionPart

ASSETS = "nwb_latents.pipeline.evaluation.report.assets"
TEMPLATES = ("page", "session", "run", "board")
STYLES = ("page.css", "parts.css")
SCRIPTS = ("state.js", "tables.js", "numbers.js", "plots.js", "session.js", "run.js", "start.js")
"""In the order they run."""

MB = 1_000_000


@dataclass(frozen=True)
class Written:
    """A page.

    Attributes
    ----------
    html
        The page.
    not_drawn
        Sessions and runs that were left out for size.
    """

    html: str
    not_drawn: tuple[str, ...]

    @property
    def n_bytes(self) -> int:
        """Its size as a file."""
        return len(self.html.encode())


def page_html(page: Page, *, max_mb: float) -> Written:
    """Return a report as a page.

    Parameters
    ----------
    page
        What it shows.
    max_mb
        Size the page is not to exceed, MB. Drawings that do not fit are left out, in the order of the
        catalog, and the page says so; its tables are never left out, so that they alone may exceed it.
    """
    bare = _rendered(page, {}, {})
    room = max_mb * MB - len(bare.encode()) - _MARGIN
    sessions, runs = _fitting(page, room)
    not_drawn = [part.key for part in page.sessions if part.arrays is not None and part.key not in sessions]
    not_drawn += [part.run for part in page.runs if part.arrays is not None and part.run not in runs]
    said = list(page.missing)
    if not_drawn:
        named = ", ".join(not_drawn[:12]) + (
            f" and {len(not_drawn) - 12} more" if len(not_drawn) > 12 else ""
        )
        said.append(
            Missing(
                f"Drawings of {named}",
                f"the page would be larger than {max_mb:g} MB",
                "make a page of them alone with --session and --run, or allow more with --set max_mb=…",
            )
        )
    return Written(_rendered(replace(page, missing=tuple(said)), sessions, runs), tuple(not_drawn))


_MARGIN = 20_000
"""Bytes kept for what the page says of drawings that do not fit."""


def asset(name: str) -> str:
    """Return a file the page is made of.

    Examples
    --------
    >>> asset("page.css").startswith(":root")
    True
    """
    return resources.files(ASSETS).joinpath(name).read_text(encoding="utf-8")


def _fitting(page: Page, room: float) -> tuple[dict[str, str], dict[str, str]]:
    """Return what is drawn, packed, by key; runs in between sessions: neither crowds out the other."""
    sessions: dict[str, str] = {}
    runs: dict[str, str] = {}
    waiting = _in_turn(
        [part for part in page.sessions if part.arrays], [part for part in page.runs if part.arrays]
    )
    for part in waiting:
        packed = pack(part.arrays or {})
        size = len(packed) + 200
        if size > room:
            continue
        room -= size
        if isinstance(part, RunPart):
            runs[part.run] = packed
        else:
            sessions[part.key] = packed
    return sessions, runs


def _in_turn(sessions: Sequence[SessionPart], runs: Sequence[RunPart]) -> list[SessionPart | RunPart]:
    found: list[tuple[float, SessionPart | RunPart]] = []
    found += [((i + 0.5) / len(sessions), part) for i, part in enumerate(sessions)]
    found += [((i + 0.5) / len(runs), part) for i, part in enumerate(runs)]
    return [part for _, part in sorted(found, key=lambda each: each[0])]


def _rendered(page: Page, sessions: dict[str, str], runs: dict[str, str]) -> str:
    from jinja2 import DictLoader, Environment, StrictUndefined  # noqa: PLC0415

    script = "\n".join(asset(name) for name in SCRIPTS)
    library = plotly_js()
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=DictLoader({name: asset(f"{name}.html.jinja") for name in TEMPLATES}),
    )
    return environment.get_template("page").render(
        page=page,
        style="\n".join(asset(name) for name in STYLES),
        script=script,
        script_hash=_hash(script),
        library=_packed_library(),
        library_hash=_hash(library),
        numbers=pack(page.numbers),
        drawn_sessions=sessions,
        drawn_runs=runs,
        funnel=funnel(page.sessions),
        checks=CHECKS,
        symbols=SYMBOLS,
    )


def plotly_js() -> str:
    """Return the library that draws, as the package `plotly` carries it."""
    from plotly.offline import get_plotlyjs  # noqa: PLC0415

    text: str = get_plotlyjs()
    return text.replace("\r\n", "\n").replace("\r", "\n")


@cache
def _packed_library() -> str:
    return pack_text(plotly_js())


def _hash(script: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
