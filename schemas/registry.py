"""Parts that are registered by name: layouts, dandisets, models, metrics, baselines, decoders, exporters.

A part is an entry point of the group ``nwb_latents.<kind>s``; those of this project are entered in the same
way (`pyproject.toml`). Nothing is imported before a part is asked for, and the names alone cost one look at
the metadata of the installed distributions.
"""

from __future__ import annotations

import difflib
import sys
import warnings
from contextlib import redirect_stdout
from functools import cache
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from importlib.metadata import EntryPoint

Part = TypeVar("Part")

OWN = "nwb-latents"
"""The distribution whose parts come first."""


class PartError(ValueError):
    """A registered part cannot be had."""

    exit_code = 4


class UnknownPartError(PartError):
    """There is no part of that name."""


class BrokenPartError(PartError):
    """A part is registered, but cannot be had: it does not import, or two distributions claim its name."""

    exit_code = 5


class PartWarning(UserWarning):
    """A registered part is left out; everything else goes on."""


class Registry(Generic[Part]):
    """The parts of one kind, by name.

    Parameters
    ----------
    kind
        What one part is called, e.g. ``"decoder"``; the entry-point group is ``nwb_latents.decoders``.

    Examples
    --------
    >>> from nwb_latents.schemas.registry import MODELS
    >>> "mdssm" in MODELS
    True
    >>> MODELS.check("mdsm")
    Traceback (most recent call last):
        ...
    nwb_latents.schemas.registry.UnknownPartError: no model is called 'mdsm'; did you mean mdssm? There ...
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._loaded: dict[str, Part] = {}

    @property
    def group(self) -> str:
        """Name of the entry-point group."""
        return f"nwb_latents.{self.kind}s"

    def names(self) -> tuple[str, ...]:
        """Return all names: those of this project, then those of other distributions, each by alphabet."""
        return tuple(_by_name(self.group))

    def __contains__(self, name: object) -> bool:
        return name in _by_name(self.group)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def check(self, name: str) -> str:
        """Return `name` if there is a part of it.

        Raises
        ------
        UnknownPartError
            If there is none; the message says which are near and which there are.
        """
        known = _by_name(self.group)
        if name in known:
            return name
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"; did you mean {near[0]}?" if near else "."
        if not any(map(self.is_own, known)):
            raise UnknownPartError(
                f"no {self.kind} is called {name!r}, nor is any of nwb-latents itself entered: it was "
                "installed before its files had them. Install it again (`pip install -e .` in a checkout)."
            )
        raise UnknownPartError(
            f"no {self.kind} is called {name!r}{hint} There are: {', '.join(known) or 'none'}. One of "
            "another distribution is there once that is installed."
        )

    def load(self, name: str) -> Part:
        """Return the part of that name.

        One of this project counts before one of another distribution, which is said (`PartWarning`): what is
        stored under its name must not depend on what else is installed. What is printed on import goes to
        standard error, for standard output may be read by a program.

        Raises
        ------
        UnknownPartError
            If there is none.
        BrokenPartError
            If it cannot be imported, or two other distributions claim the name; the message names them.
        """
        if name not in self._loaded:
            point = self._only(name)
            try:
                with redirect_stdout(sys.stderr):
                    self._loaded[name] = cast("Part", point.load())
            except (Exception, SystemExit) as error:
                raise BrokenPartError(
                    f"the {self.kind} {name!r} of {owner_of(point)} ({point.value}) cannot be "
                    f"loaded: {type(error).__name__}: {' '.join(str(error).split())}. {remedy_of(point)}"
                ) from error
        return self._loaded[name]

    def _only(self, name: str) -> EntryPoint:
        """Return the entry point that counts for a name."""
        points = _by_name(self.group)[self.check(name)]
        own = [point for point in points if _is_own(point)]
        others = [point for point in points if not _is_own(point)]
        if len(own) == 1:
            for other in others:
                warnings.warn(
                    f"the {self.kind} {name!r} of {owner_of(other)} is not used: {owner_of(own[0])} has one "
                    "of that name, which counts. Have the other choose another name, or uninstall it.",
                    PartWarning,
                    stacklevel=3,
                )
            return own[0]
        if own:
            raise BrokenPartError(
                f"the {self.kind} {name!r} of {owner_of(own[0])} is registered {len(own)} times, as "
                f"{' and as '.join(point.value for point in own)}. {remedy_of(own[0])}"
            )
        if len(others) > 1:
            owners = " and ".join(sorted({owner_of(point) for point in others}))
            raise BrokenPartError(
                f"the {self.kind} {name!r} is claimed by {owners}. Uninstall one of them, or have it "
                "choose another name."
            )
        return others[0]

    def remedy(self, name: str) -> str:
        """Return what to do about a part that is not what it should be."""
        return remedy_of(_by_name(self.group)[self.check(name)][0])

    def owner(self, name: str) -> str:
        """Return the distribution a part comes from, with its version."""
        points = _by_name(self.group)[self.check(name)]
        own = [point for point in points if _is_own(point)]
        return " and ".join(owner_of(point) for point in (own[:1] or points))

    def is_own(self, name: str) -> bool:
        """Whether a part is of this project."""
        return any(map(_is_own, _by_name(self.group).get(name, ())))

    def distributions(self, name: str) -> tuple[str, ...]:
        """Return the names of the distributions a part comes from, without versions; none where unknown."""
        points = _by_name(self.group).get(name, ())
        own = [point for point in points if _is_own(point)]
        return tuple(point.dist.name for point in (own[:1] or points) if point.dist is not None)


def remedy_of(point: EntryPoint) -> str:
    """Return what to do about an entry point that does not lead to what it should.

    Those of this project are written down when it is installed: an installation that is older than its files
    names what is not there any more.
    """
    if _is_own(point):
        return "Install nwb-latents again: its files are of another version than what was installed."
    return "Mend or uninstall that distribution."


def _is_own(point: EntryPoint) -> bool:
    return point.dist is not None and point.dist.name == OWN


def owner_of(point: EntryPoint) -> str:
    """Return the distribution an entry point comes from, with its version."""
    found = point.dist
    return f"{found.name} {found.version}" if found is not None else "an unknown distribution"


@cache
def _by_name(group: str) -> Mapping[str, tuple[EntryPoint, ...]]:
    """Return the entry points of a group by name, the project's own first."""
    found = list({(p.name, p.value): p for p in entry_points(group=group)}.values())
    own = [p for p in found if _is_own(p)]
    others = [p for p in found if p not in own]
    names: dict[str, tuple[EntryPoint, ...]] = {}
    for point in [*sorted(own, key=lambda p: p.name), *sorted(others, key=lambda p: p.name)]:
        names[point.name] = (*names.get(point.name, ()), point)
    return names


LAYOUTS: Registry[Any] = Registry("layout")
DANDISETS: Registry[Any] = Registry("dandiset")
MODELS: Registry[Any] = Registry("model")
METRICS: Registry[Any] = Registry("metric")
BASELINES: Registry[Any] = Registry("baseline")
DECODERS: Registry[Any] = Registry("decoder")
EXPORTERS: Registry[Any] = Registry("exporter")
