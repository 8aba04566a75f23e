"""``pipeline dandisets``: the dandisets that are known."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nwb_latents.pipeline.cli.console import Output
from nwb_latents.pipeline.cli.options import CATALOG, CatalogOption, JsonOption
from nwb_latents.pipeline.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nwb_latents.schemas.catalog import DandisetEntry
    from nwb_latents.schemas.events import DandisetEvent


def dandisets(
    name: Annotated[
        str | None, typer.Argument(help="Show this one with its known issues.", metavar="[ID]")
    ] = None,
    catalog: CatalogOption = CATALOG,
    json_lines: JsonOption = False,
) -> None:
    """List the dandisets this program knows: pinned version, layout, tasks, files, licence, citation."""
    entries = known_entries(catalog, [] if name is None else [name])
    if name is not None:
        if name not in entries:
            raise DataError(f"No dandiset {name!r} is known. There are: {', '.join(entries)}.")
        entries = {name: entries[name]}
    with Output(json_lines=json_lines) as out:
        for key, entry in entries.items():
            out.record(dandiset_event(key, entry))
        if name is None:
            show_dandisets(out, entries)
        else:
            show_dandiset(out, name, entries[name])


def known_entries(catalog: Path, wanted: Sequence[str]) -> dict[str, DandisetEntry]:
    """Return the dandisets that are known, those of the catalog before the packaged ones.

    The entries of those that are `wanted` have to be readable.
    """
    from nwb_latents.pipeline.sources.known_dandisets import known_dandisets
    from nwb_latents.pipeline.stores.catalog import own_dandisets

    return known_dandisets(own_dandisets(catalog, wanted), wanted=wanted)


def dandiset_event(name: str, entry: DandisetEntry) -> DandisetEvent:
    """Return what is known of a dandiset, with its pins counted."""
    from nwb_latents.schemas.events import DandisetEvent

    files, size = _extent(entry)
    known = entry.model_dump(exclude={"pins", "n_files", "n_bytes"})
    return DandisetEvent(dandiset=name, **known, n_pins=len(entry.pins), n_files=files, n_bytes=size)


def show_dandisets(out: Output, entries: Mapping[str, DandisetEntry]) -> None:
    """Show all known dandisets."""
    rows = []
    for name, entry in entries.items():
        files, size = _extent(entry)
        about = "\n".join(text for text in (entry.title, entry.citation) if text)
        count = f"{files} pinned" if entry.pins else str(files or "")
        words = [entry.version, entry.layout, ", ".join(entry.tasks), count, size_text(size), entry.license]
        rows.append([name, *words, about])
    columns = [
        "dandiset",
        "version",
        "layout",
        "tasks",
        "files",
        "size",
        "licence",
        "title, citation",
    ]
    out.table("Dandisets", columns, rows)


def show_dandiset(out: Output, name: str, entry: DandisetEntry) -> None:
    """Show one dandiset with its known issues and pinned files."""
    files, size = _extent(entry)
    rows = [
        ["title", entry.title],
        ["version", entry.version],
        ["layout", entry.layout],
        ["tasks", ", ".join(entry.tasks)],
        ["files", str(files) if files is not None else "not known"],
        ["size", size_text(size) or "not known"],
        ["licence", entry.license or "not stated"],
        ["cite", entry.citation],
    ]
    out.table(name, ["what", "value"], rows)
    for note in entry.notes:
        out.result(f"note: {note}")
    if entry.pins:
        pins = [[pin.path, size_text(pin.size), pin.content_digest[:12]] for pin in entry.pins]
        out.table("Pinned files", ["path", "size", "digest"], pins)


def _extent(entry: DandisetEntry) -> tuple[int | None, int | None]:
    if entry.pins:
        return len(entry.pins), sum(pin.size for pin in entry.pins)
    return entry.n_files, entry.n_bytes


def size_text(size: int | None) -> str:
    """Return a size as a person says it; nothing where it is not known.

    Examples
    --------
    >>> size_text(45_900_000_000), size_text(12), size_text(None)
    ('45.9 GB', '12 B', '')
    """
    if size is None:
        return ""
    for unit, width in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= width:
            return f"{size / width:.3g} {unit}"
    return f"{size} B"
