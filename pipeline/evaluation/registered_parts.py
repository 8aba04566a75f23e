"""Metrics and baselines by their names: what an installed distribution registers is held against its kind."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from nwb_latents.pipeline.errors import SettingsError
from nwb_latents.schemas.registry import BrokenPartError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from nwb_latents.schemas.registry import Registry


class Listed(Protocol):
    """What stands in a table under a name, at its place."""

    @property
    def name(self) -> str:
        """Name it is registered under."""

    @property
    def order(self) -> float:
        """Place in tables."""


Part = TypeVar("Part", bound=Listed)


def part_called(parts: Registry[Any], name: str, kind: type[Part]) -> Part:
    """Return the part of that name.

    Parameters
    ----------
    parts
        Where it is registered.
    name
        Its name.
    kind
        What it has to be an instance of, under that name.

    Raises
    ------
    SettingsError
        If it cannot be loaded, or is something else.
    UnknownPartError
        If there is none.

    Examples
    --------
    >>> from nwb_latents.pipeline.evaluation.metrics.metric import Metric
    >>> from nwb_latents.schemas.registry import METRICS
    >>> part_called(METRICS, "co_bps", Metric).unit
    'bits/spike'
    """
    try:
        found: object = parts.load(name)
    except BrokenPartError as error:
        raise SettingsError(str(error)) from error
    if isinstance(found, kind) and found.name == name:
        return found
    noun = kind.__name__.lower()
    what = f"a {noun} called {found.name}" if isinstance(found, kind) else f"a {type(found).__name__}"
    raise SettingsError(
        f"the {noun} {name!r} of {parts.owner(name)} is {what}; expected a `{kind.__name__}` of that name. "
        f"{parts.remedy(name)}"
    )


def parts_called(names: Iterable[str], called: Callable[[str], Part]) -> tuple[list[Part], dict[str, str]]:
    """Return parts in the order of tables, and name → what is wrong with those that cannot be had.

    Parameters
    ----------
    names
        Names of registered parts.
    called
        Gives a part by its name, or raises `SettingsError`.
    """
    found, broken = [], {}
    for name in names:
        try:
            found.append(called(name))
        except SettingsError as error:
            broken[name] = str(error)
    return sorted(found, key=lambda part: (part.order, part.name)), broken
