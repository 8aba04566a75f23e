"""Which layout adapter reads a file: the one a recipe names, or the one that recognises the file.

Adapters are registered as entry points of the group ``nwb_latents.layouts``, under their own name.
"""

from __future__ import annotations

from contextlib import contextmanager
from itertools import groupby
from typing import TYPE_CHECKING

from nwb_latents.pipeline.errors import DataError, MachineError, PipelineError, SettingsError
from nwb_latents.pipeline.nwb.layouts.layout import Layout
from nwb_latents.schemas.registry import LAYOUTS, BrokenPartError, UnknownPartError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nwb_latents.pipeline.nwb.file import NwbFile

AUTO = "auto"
"""In place of a name: the adapter that recognises the file."""


def check_layout(name: str) -> str:
    """Return a name that a recipe may give as its layout, without loading the adapter.

    Raises
    ------
    SettingsError
        If there is no adapter of that name.

    Examples
    --------
    >>> check_layout("auto"), check_layout("generic")
    ('auto', 'generic')
    >>> check_layout("generik")
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.SettingsError: layout: no layout is called 'generik'; did you mean gen...
    """
    if name != AUTO:
        try:
            LAYOUTS.check(name)
        except UnknownPartError as error:
            raise SettingsError(f"layout: {error} auto takes the one that recognises the file.") from error
    return name


def load_layout(name: str) -> Layout:
    """Return the layout adapter of that name.

    Raises
    ------
    SettingsError
        If there is none.
    MachineError
        If the distribution it comes from is broken.

    Examples
    --------
    >>> load_layout("generic").summary
    'any file with units and a position or velocity series'
    """
    check_layout(name)
    try:
        layout = LAYOUTS.load(name)
    except BrokenPartError as error:
        raise MachineError(str(error)) from error
    if not isinstance(layout, Layout) or layout.name != name:
        found = (
            f"is called {layout.name!r}" if isinstance(layout, Layout) else f"is a {type(layout).__name__}"
        )
        raise MachineError(
            f"the layout {name!r} of {LAYOUTS.owner(name)} {found}; expected a Layout of the name it is "
            f"registered under. {LAYOUTS.remedy(name)}"
        )
    return layout


def layout_of(file: NwbFile, name: str = AUTO) -> Layout:
    """Return the layout adapter that reads a file; the choice and its reason are noted in the file.

    Parameters
    ----------
    file
        The open file.
    name
        Name of the adapter; ``auto``: the one of highest `Layout.priority` that recognises the file.

    Raises
    ------
    DataError
        If the adapter does not recognise the file by its names, or several of the same priority do.
    SettingsError
        If there is no adapter of that name.
    MachineError
        If an adapter cannot be loaded.
    """
    if name != AUTO:
        layout = load_layout(name)
        with blaming(layout, file):
            is_its_own = layout.recognises(file)
        if not is_its_own:
            raise DataError(
                f"{file.name}: is not of the layout {name} ({layout.summary}). Use --set layout=auto."
            )
        if missing := layout.lacks(file):
            file.say(f"read by {name} as layout says, although it has not {_listed(missing)}")
        file.choose("layout", name, f"{layout.summary}; named by layout")
        return layout
    for _, alike in groupby(by_priority(), key=lambda layout: layout.priority):
        found = [layout for layout in alike if _is_of(file, layout)]
        if len(found) > 1:
            claims = " and ".join(f"{layout.name} ({LAYOUTS.owner(layout.name)})" for layout in found)
            raise DataError(
                f"{file.name}: the layouts {claims} both recognise it, and neither has priority. Say which "
                f"reads it: --set layout={found[0].name}."
            )
        if found:
            why = f"{found[0].summary}; known by: {found[0].known_by or 'its own rule'}"
            file.choose("layout", found[0].name, why)
            return found[0]
    raise DataError(f"{file.name}: no layout recognises it, not even generic. Name one: --set layout=NAME.")


@contextmanager
def blaming(layout: Layout, file: NwbFile) -> Iterator[None]:
    """Tell what goes wrong in the code of another distribution's layout as its fault, not the file's.

    Parameters
    ----------
    layout
        The layout whose code runs.
    file
        What it looks at.
    """
    try:
        yield
    except PipelineError:
        raise
    except Exception as error:
        if LAYOUTS.is_own(layout.name):
            raise
        raise DataError(
            f"{file.name}: the layout {layout.name!r} of {LAYOUTS.owner(layout.name)} failed at it: "
            f"{type(error).__name__}: {error}. Mend the layout, or name another one: --set layout=NAME."
        ) from error


def _is_of(file: NwbFile, layout: Layout) -> bool:
    """Whether a file is of the family of a layout; where it only looks like it, that is said."""
    with blaming(layout, file):
        if not layout.recognises(file):
            return False
        missing = layout.lacks(file)
    if missing:
        file.say(
            f"has names of the layout {layout.name} ({layout.summary}) but not {_listed(missing)}: it is not "
            f"read by that one; --set layout={layout.name} does so all the same"
        )
    return not missing


def _listed(missing: list[str]) -> str:
    return "; ".join(missing)


def require_layouts(name: str = AUTO) -> None:
    """Load the adapters a recipe may need, so that a fault of one is told before any file is read.

    Raises
    ------
    SettingsError
        If there is no adapter of that name.
    MachineError
        If one cannot be loaded.
    """
    if name == AUTO:
        by_priority()
    else:
        load_layout(name)


def by_priority() -> list[Layout]:
    """Return all layout adapters, those that are asked first before the others.

    Raises
    ------
    MachineError
        If one of them cannot be loaded.

    Examples
    --------
    >>> by_priority()[-1].name
    'generic'
    """
    try:
        found = [load_layout(name) for name in LAYOUTS]
    except MachineError as error:
        raise MachineError(
            f"{error} Until then, name the layout of the files: --set layout=NAME. With auto, one that "
            "cannot be asked might be the right one."
        ) from error
    return sorted(found, key=lambda layout: -layout.priority)
