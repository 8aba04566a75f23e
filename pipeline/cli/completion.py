"""What a shell offers to complete a word with: names from the catalog and from the registries.

A shell asks while somebody types: nothing heavy is imported, and where something cannot be read there is
nothing to offer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import typer

CATALOG = "catalog.yaml"


def runs(ctx: typer.Context, incomplete: str) -> Iterator[str]:
    """Offer the runs of the catalog."""
    return _beginning(_entries(ctx, "runs"), incomplete)


def sessions(ctx: typer.Context, incomplete: str) -> Iterator[str]:
    """Offer the sessions of the catalog."""
    return _beginning((name.partition("@")[0] for name in _entries(ctx, "sessions")), incomplete)


def sessions_and_runs(ctx: typer.Context, incomplete: str) -> Iterator[str]:
    """Offer whatever the catalog has an entry of."""
    yield from sessions(ctx, incomplete)
    yield from runs(ctx, incomplete)


def recipes(ctx: typer.Context, incomplete: str) -> Iterator[str]:
    """Offer the recipes there are stores of."""
    return _beginning((name.partition("@")[2] for name in _entries(ctx, "sessions")), incomplete)


def registered(kind: str) -> Callable[[str], Iterator[str]]:
    """Return what offers the parts of a registry of `schemas.registry`, e.g. ``MODELS``; of a list, the last.

    Examples
    --------
    >>> list(registered("MODELS")("hn")), list(registered("DECODERS")("ridge,wi"))
    (['hnet'], ['ridge,wiener'])
    """

    def names(incomplete: str) -> Iterator[str]:
        from nwb_latents.schemas import registry

        before, comma, last = incomplete.rpartition(",")
        return (f"{before}{comma}{name}" for name in _beginning(getattr(registry, kind), last))

    return names


def words(*known: str) -> Callable[[str], Iterator[str]]:
    """Return what offers these words."""
    return lambda incomplete: _beginning(known, incomplete)


def schemas(incomplete: str) -> Iterator[str]:
    """Offer the schemas."""
    from nwb_latents.schemas import schema_names

    return _beginning(schema_names(), incomplete)


def settings(ctx: typer.Context, incomplete: str) -> Iterator[str]:
    """Offer the settings of the command, with those of the model that is named."""
    keys = getattr(ctx.command, "setting_keys", None)
    try:
        return _beginning(keys(ctx) if keys is not None else (), incomplete)
    except Exception:
        return iter(())


def _beginning(names: Iterable[str], incomplete: str) -> Iterator[str]:
    return (name for name in dict.fromkeys(names) if name.startswith(incomplete))


def _entries(ctx: typer.Context, section: str) -> list[str]:
    """Return the names of the entries in a section of the catalog the command line speaks of."""
    from nwb_latents.pipeline.stores.catalog_file import parse_catalog
    from nwb_latents.pipeline.stores.plain_files import read_text

    chosen: Any = ctx.params.get("catalog")
    try:
        content = parse_catalog(read_text(Path(chosen or CATALOG)))
        return [str(name) for name in content.get(section) or ()]
    except Exception:
        return []
