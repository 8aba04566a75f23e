"""``pipeline run recut``: other trials from the stores that are there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nwb_latents.pipeline.cli.console import Output
from nwb_latents.pipeline.cli.options import (
    CATALOG,
    CatalogOption,
    ForceOption,
    JsonOption,
    QuietOption,
    RecipeIdOption,
    SessionOption,
    SetOption,
    VerboseOption,
)
from nwb_latents.pipeline.errors import PartialFailure, UsageError


def recut(
    settings: SetOption = None,
    session: SessionOption = None,
    recipe_id: RecipeIdOption = None,
    force: ForceOption = False,
    catalog: CatalogOption = CATALOG,
    json_lines: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Trial stores → trial stores of another event, window, selection or split, without the NWB files.

    --set changes the recipe the stores were made by, e.g. --set align_to=go_cue --set window_s=[-0.2,0.6].
    The defaults below are those of ingest; what is not set stays as it is in the store.
    """
    from nwb_latents.pipeline.stages.recut import recut as stage

    if not settings:
        raise UsageError("recut: give what is to change, e.g. --set align_to=go_cue.")
    with Output(json_lines=json_lines, quiet=quiet, verbose=verbose) as out:
        try:
            entries = stage(
                catalog,
                settings,
                sessions=tuple(session or ("*",)),
                recipe_id=recipe_id,
                force=force,
                report=out,
            )
        except PartialFailure as failure:
            _table(out, failure.results, catalog)
            raise
        _table(out, entries, catalog)


def takes(key: str) -> bool:
    """Whether a setting of the recipe may be changed here."""
    from nwb_latents.pipeline.stages.recut import is_cut

    return is_cut(key)


def _table(out: Output, entries: Any, catalog: Path) -> None:
    if entries:
        from nwb_latents.pipeline.cli.session_tables import show_stores

        show_stores(out, entries)
        out.result(f"Recipe: {entries[0].recipe_id}   Catalog: {catalog}")
