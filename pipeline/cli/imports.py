"""``pipeline import``: files of other programs → trial stores and runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nwb_latents.pipeline.cli.console import Output
from nwb_latents.pipeline.cli.options import (
    CATALOG,
    CatalogOption,
    ConfigOption,
    ForceOption,
    JsonOption,
    QuietOption,
    RecipeIdOption,
    SetOption,
    VerboseOption,
    given,
)
from nwb_latents.pipeline.cli.settings_help import settings_command
from nwb_latents.pipeline.errors import PartialFailure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nwb_latents.schemas.catalog import SessionEntry

app = typer.Typer(
    help="Take over datasets and trained models of other programs: lfads-h5, lfads-checkpoint.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("lfads-h5", cls=settings_command("import_lfads_h5"))
def lfads_h5(
    files: Annotated[list[Path], typer.Argument(help="HDF5 datasets of lfads-torch.", metavar="FILE...")],
    bin_ms: Annotated[
        float | None,
        typer.Option(
            "--bin-ms",
            help="Width of a bin, ms; needed unless the file is an export of this program.",
            metavar="MS",
        ),
    ] = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    force: ForceOption = False,
    catalog: CatalogOption = CATALOG,
    json_lines: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Turn HDF5 datasets of lfads-torch into trial stores that can be trained on."""
    from nwb_latents.pipeline.stages.import_lfads import import_lfads
    from nwb_latents.pipeline.stores.settings import settings_from
    from nwb_latents.schemas.imports import LfadsH5Import

    chosen = settings_from(
        LfadsH5Import, file=config, **given({"--bin-ms": ("bin_ms", bin_ms)}), words=settings or ()
    )
    with Output(json_lines=json_lines, quiet=quiet, verbose=verbose) as say:
        try:
            done = import_lfads(catalog, files, chosen, force=force, report=say)
        except PartialFailure as failure:
            _sessions_table(say, [e for e in failure.results if hasattr(e, "session")])  # type: ignore[misc]
            raise
        _sessions_table(say, done)


@app.command("lfads-checkpoint", cls=settings_command("import_lfads_checkpoint"))
def lfads_checkpoint(
    file: Annotated[Path, typer.Argument(help="Checkpoint of lfads-torch, a .ckpt file.", metavar="FILE")],
    session: Annotated[
        list[str],
        typer.Option(
            "--session",
            help="Session it was trained on; repeated in the order of its data files.",
            metavar="SESSION",
        ),
    ],
    recipe_id: RecipeIdOption = None,
    run_name: Annotated[
        str | None, typer.Option("--run-name", help="Name of the run; default: made of its settings.")
    ] = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    force: ForceOption = False,
    catalog: CatalogOption = CATALOG,
    json_lines: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Turn a model trained by lfads-torch into a run that reconstructs, decodes and is aligned."""
    from nwb_latents.pipeline.stages.import_checkpoint import import_checkpoint
    from nwb_latents.pipeline.stores.settings import settings_from
    from nwb_latents.schemas.imports import LfadsCheckpointImport

    chosen = settings_from(LfadsCheckpointImport, file=config, words=settings or ())
    with Output(json_lines=json_lines, quiet=quiet, verbose=verbose) as say:
        entry = import_checkpoint(
            catalog,
            file,
            chosen,
            sessions=session,
            recipe_id=recipe_id,
            run_name=run_name,
            force=force,
            report=say,
        )
        say.result(f"Run {entry.run}: {catalog.parent / entry.path}")


def _sessions_table(say: Output, done: Sequence[SessionEntry]) -> None:
    rows = [[e.session, e.recipe_id, str(e.n_trials), str(e.n_units), str(e.n_bins), e.source] for e in done]
    if rows:
        say.table("Imported", ["session", "recipe", "trials", "units", "bins", "from"], rows)
