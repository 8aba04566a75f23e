"""Machines of a cluster that do not have this program, or have another version of it, in words."""

from __future__ import annotations

import pkgutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

VERSION = "nwb_latents:__version__"
"""What is asked of everyone, by `pkgutil.resolve_name`: that needs nothing there but Python."""

ANSWER_SECONDS = 10.0
"""Those that are busy for so long are taken to be in order."""

MOST_NAMED = 3


def own_version() -> str:
    """Return the version of this program."""
    return str(pkgutil.resolve_name(VERSION))


def strangers(answers: Mapping[str, object], *, what: str) -> str:
    """Say who did not find the program, or has another version of it; empty where all is well.

    Parameters
    ----------
    answers
        Name → the version there, or the error that asking for it raised.
    what
        What one of them is called.

    Examples
    --------
    >>> strangers({"a": own_version()}, what="worker")
    ''
    >>> strangers({"a": ModuleNotFoundError("No module named 'nwb_latents'"), "b": "0.0"}, what="node")
    "the node a did not find this program: No module named 'nwb_latents'; the node b with nwb-latents 0.0"
    """
    mine = own_version()
    found: dict[str, list[str]] = {}
    for name, answer in answers.items():
        if isinstance(answer, BaseException):
            found.setdefault(f"did not find this program: {answer}", []).append(name)
        elif answer != mine:
            found.setdefault(f"with nwb-latents {answer}", []).append(name)
    return "; ".join(f"{_some(names, what)} {said}" for said, names in found.items())


def _some(names: Sequence[str], what: str) -> str:
    if len(names) == 1:
        return f"the {what} {names[0]}"
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return f"the {what}s {', '.join(names[:MOST_NAMED])}{more}"
