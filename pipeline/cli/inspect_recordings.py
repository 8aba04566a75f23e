"""``pipeline inspect``: what is in recordings, and what ingest would make of them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nwb_latents.pipeline.cli.console import Output
from nwb_latents.pipeline.cli.ingest import InstanceOption, TokenOption, recipe_base
from nwb_latents.pipeline.cli.options import (
    CATALOG,
    CatalogOption,
    JsonOption,
    QuietOption,
    SetOption,
    VerboseOption,
)
from nwb_latents.pipeline.errors import DataError, PartialFailure, UsageError
from nwb_latents.pipeline.stages.ingest_words import MAIN_ARCHIVE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nwb_latents.pipeline.sources.asset import Source
    from nwb_latents.schemas.inspection import Inspection

_ASSET = re.compile(r"(?P<dandiset>(?:DANDI:)?\d{6}(?:@[^/]+)?)(?:/(?P<path>.+))?")


def inspect(
    where: Annotated[
        list[str] | None,
        typer.Argument(
            help="NWB files, folders of them, or a file of the archive: ID@VERSION/PATH.",
            metavar="[WHERE]...",
        ),
    ] = None,
    dandiset: Annotated[
        str | None, typer.Option("--dandiset", help="Dandiset, ID or ID@VERSION.", metavar="ID[@VERSION]")
    ] = None,
    asset: Annotated[
        str | None,
        typer.Option("--asset", help="Of a dandiset or folder, the files like this pattern.", metavar="GLOB"),
    ] = None,
    instance: InstanceOption = MAIN_ARCHIVE,
    token_env: TokenOption = None,
    recipe: Annotated[
        Path | None,
        typer.Option("--recipe", "--config", help="YAML file of the recipe, or nlb:KEY.", metavar="FILE"),
    ] = None,
    settings: SetOption = None,
    catalog: CatalogOption = CATALOG,
    json_lines: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Look into recordings: what is in them, what ingest would do with them and why, a recipe to paste.

    Nothing is written, and files of the archive are not downloaded, other than those in Zarr form. The exit
    code is 4 where ingest would refuse all of the files, 3 where it would refuse some.
    """
    from nwb_latents.pipeline.stages.inspection import inspect as stage
    from nwb_latents.pipeline.stores.settings import settings_from
    from nwb_latents.schemas.recipe import IngestRecipe

    chosen = settings_from(IngestRecipe, **recipe_base(recipe), words=settings or ())
    source, pattern = _source(where or [], dandiset, asset, catalog, instance, token_env)
    with Output(json_lines=json_lines, quiet=quiet, verbose=verbose) as out:
        found = stage(source, chosen, asset=pattern, report=out)
        if len(found) == 1:
            _show_one(out, found[0])
        else:
            _show_several(out, found)
    n_refused = sum(bool(each.refusal) for each in found)
    if n_refused:
        raise typer.Exit(DataError.exit_code if n_refused == len(found) else PartialFailure.exit_code)


def _source(
    where: Sequence[str],
    dandiset: str | None,
    asset: str | None,
    catalog: Path,
    instance: str,
    token_env: str | None,
) -> tuple[Source, str]:
    """Return where the files are, and the pattern of those that are asked for."""
    from nwb_latents.pipeline.stages.ingest_words import archive_source, folder_source

    if len(where) == 1 and dandiset is None and not Path(where[0]).exists():
        match = _ASSET.fullmatch(where[0])
        if match is not None:
            dandiset, asset, where = match["dandiset"], match["path"] or asset, ()
    if bool(where) == bool(dandiset):
        raise UsageError("Give files or folders, or a file of the archive: ID@VERSION/PATH.")
    if where:
        return folder_source([Path(word) for word in where]), asset or "*"
    source = archive_source(str(dandiset), catalog, instance=instance, token_env=token_env)
    if asset is None:
        listed = source.assets()
        shown = "\n".join(f"  {each.path}" for each in listed[:8])
        raise UsageError(
            f"Dandiset {dandiset} has {len(listed)} recordings; say which: --asset GLOB. The first:\n{shown}"
        )
    return source, asset


def _show_one(out: Output, found: Inspection) -> None:
    from nwb_latents.pipeline.stages import inspection_text as text

    out.result(text.heading(found))
    if not found.is_open:
        out.result(f"  REFUSED: {found.refusal}")
        return
    for line in text.fact_lines(found):
        out.result(line)
    if found.series:
        columns = ["series", "shape", "time", "unit", "range", "gaps"]
        out.table("Series", columns, [text.series_row(each) for each in found.series])
    for table in found.tables:
        rows = "unknown" if table.n_rows is None else table.n_rows
        title = f"{table.path}: {rows} rows" + (f"; {table.problem}" if table.problem else "")
        columns = ["column", "type", "missing", "values"]
        out.table(title, columns, [text.column_row(each) for each in table.columns])
    parts = {
        "Units": [*text.unit_lines(found.units), *text.invalid_lines(found)],
        "What ingest would do": text.ingest_lines(found),
        "Doubtful": text.doubt_lines(found),
    }
    for title, lines in parts.items():
        out.result(f"\n{title}")
        for line in lines:
            out.result(line)
    _show_recipe(out, found.recipe, is_refused=bool(found.refusal))


def _show_several(out: Output, found: Sequence[Inspection]) -> None:
    from nwb_latents.pipeline.stages import inspection_text as text
    from nwb_latents.pipeline.stages.inspection import differences

    columns = ["file", "layout", "trials", "units", "R²", "doubts", "ingest"]
    out.table(f"{len(found)} recordings", columns, [text.table_row(each) for each in found])
    refused = [each for each in found if each.refusal]
    if refused:
        out.result("\nRefused")
    for each in refused:
        out.result(f"  {each.refusal}")
    out.result("\nDifferences")
    for line in differences(found) or ["none"]:
        out.result(f"  {line}")
    recipes = {each.recipe for each in found if not each.refusal}
    if len(recipes) == 1:
        _show_recipe(out, recipes.pop(), is_refused=False)
    elif recipes:
        out.result(
            f"\nRecipes that say every choice are {len(recipes)} different ones: inspect one file at a time, "
            "or ingest all with the choices left to the program."
        )


def _show_recipe(out: Output, recipe: str, *, is_refused: bool) -> None:
    from nwb_latents.pipeline.stages.inspection_text import indented

    title = "Recipe, as far as it was read" if is_refused else "Recipe that says all of this"
    out.result(f"\n{title} (save as recipe.yaml; pipeline run ingest --recipe recipe.yaml)")
    for line in indented(recipe or "# everything is as by default"):
        out.result(line)
