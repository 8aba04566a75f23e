"""``pipeline export FORMAT``: trial stores → files of other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nwb_latents.pipeline.cli.console import Output
from nwb_latents.pipeline.cli.nlb_submission import nlb_submission
from nwb_latents.pipeline.cli.options import (
    CATALOG,
    CatalogOption,
    ConfigOption,
    ForceOption,
    JsonOption,
    QuietOption,
    RecipeIdOption,
    SessionOption,
    SetOption,
    VerboseOption,
    settings_command,
)
from nwb_latents.pipeline.errors import PartialFailure

if TYPE_CHECKING:
    from nwb_latents.schemas.export import ExportSettings

app = typer.Typer(
    help="Write trial stores as files of other programs: nlb, lfads, nwb; and a run's rates: nlb-submission.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


OutOption = Annotated[
    Path | None,
    typer.Option(
        "--out",
        help="Folder of the files; default: exports/FORMAT/RECIPE/ by the catalog.",
        metavar="DIR",
    ),
]


FORMATS = {
    "nlb": (
        "Write HDF5 tensors of the Neural Latents Benchmark: held-in, held-out, forward, behaviour, PSTHs."
    ),
    "lfads": "Write HDF5 tensors for lfads-torch: what is encoded and what is reconstructed.",
    "nwb": "Write derived NWB files: smoothed rates, counts, kinematics, trials with events and splits.",
}
"""Format → what its command does; its settings are the schema ``export_<format>``."""


def _add_command(name: str, about: str) -> None:
    schema = f"export_{name}"

    @app.command(name, cls=settings_command(schema), help=about)
    def command(
        session: SessionOption = None,
        recipe_id: RecipeIdOption = None,
        out: OutOption = None,
        config: ConfigOption = None,
        settings: SetOption = None,
        force: ForceOption = False,
        catalog: CatalogOption = CATALOG,
        json_lines: JsonOption = False,
        quiet: QuietOption = False,
        verbose: VerboseOption = False,
    ) -> None:
        from nwb_latents.pipeline.stores.settings import load
        from nwb_latents.schemas import schema_class

        chosen: Any = load(schema_class(schema), file=config, overrides=settings or ())
        say = Output(json_lines=json_lines, quiet=quiet, verbose=verbose)
        _export(say, catalog, chosen, session, recipe_id, out, force)


for _name, _about in FORMATS.items():
    _add_command(_name, _about)


app.command("nlb-submission", cls=settings_command("export_nlb"))(nlb_submission)


def _export(
    say: Output,
    catalog: Path,
    settings: ExportSettings,
    session: list[str] | None,
    recipe_id: str | None,
    out: Path | None,
    force: bool,
) -> None:
    from nwb_latents.pipeline.stages.export import export as stage

    with say:
        try:
            done = stage(
                catalog,
                settings,
                sessions=tuple(session or ("*",)),
                recipe_id=recipe_id,
                out=out,
                force=force,
                report=say,
            )
        except PartialFailure as failure:
            _files_table(say, failure.results)
            raise
        _files_table(say, done)


def _files_table(say: Output, done: Any) -> None:
    if done:
        rows = [
            [e.entry.session, e.status, f"{e.path.stat().st_size / 1e6:.1f} MB", e.path.name] for e in done
        ]
        say.table("Exports", ["session", "status", "size", "file"], rows)
        say.result(f"Files: {done[0].path.parent}")
