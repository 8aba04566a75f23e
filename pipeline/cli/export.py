"""``pipeline export NAME``: trial stores → files of other programs, one command for each exporter."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from typer.core import TyperGroup

from nwb_latents.pipeline.cli.console import Output
from nwb_latents.pipeline.cli.nlb_submission import nlb_submission
from nwb_latents.pipeline.cli.once import OnceCommand
from nwb_latents.pipeline.cli.options import (
    CATALOG,
    CatalogOption,
    ClusterConfigOption,
    ClusterOption,
    ConfigOption,
    ForceOption,
    JsonOption,
    QuietOption,
    RecipeIdOption,
    RetryFailedOption,
    SessionOption,
    SetOption,
    ShardOption,
    VerboseOption,
    where_of,
)
from nwb_latents.pipeline.cli.settings_help import settings_command
from nwb_latents.pipeline.errors import MachineError, PartialFailure, UsageError
from nwb_latents.schemas.registry import EXPORTERS, BrokenPartError

if TYPE_CHECKING:
    from nwb_latents.pipeline.stages.export import Exported


class ExporterCommands(TyperGroup):
    """One command for each exporter there is, made when it is asked for, beside the commands added to it."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the exporters, then of the other commands."""
        return [*EXPORTERS, *super().list_commands(ctx)]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command of an exporter, or another one."""
        return _command(cmd_name) if cmd_name in EXPORTERS else super().get_command(ctx, cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command; an unknown name is told the nearest."""
        known = self.list_commands(ctx)
        if args and args[0] not in known and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], known, n=1)
            hint = f"; did you mean {near[0]}?" if near else "."
            raise UsageError(
                f"no exporter is called {args[0]!r}{hint} There are: {', '.join(known)}. One of another "
                "distribution is there once that is installed."
            )
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=ExporterCommands,
    help="Write trial stores as files of other programs, and a run's rates as a submission.",
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


def _command(name: str) -> Any:
    """Return the command of an exporter; of one that cannot be loaded, a command that says so."""
    from nwb_latents.pipeline.stores.exporters.exporter import exporter_named

    made = typer.Typer(add_completion=False, rich_markup_mode=None)
    try:
        about, kind = exporter_named(name).summary, settings_command(f"export_{name}")
    except BrokenPartError as error:
        about, kind = f"Cannot be used: {error}", OnceCommand

    @made.command(name, cls=kind, help=about)
    def command(
        session: SessionOption = None,
        recipe_id: RecipeIdOption = None,
        out: OutOption = None,
        config: ConfigOption = None,
        settings: SetOption = None,
        cluster: ClusterOption = "serial",
        cluster_config: ClusterConfigOption = None,
        shard: ShardOption = None,
        retry_failed: RetryFailedOption = False,
        force: ForceOption = False,
        catalog: CatalogOption = CATALOG,
        json_lines: JsonOption = False,
        quiet: QuietOption = False,
        verbose: VerboseOption = False,
    ) -> None:
        from nwb_latents.pipeline.stages.export import export as stage
        from nwb_latents.pipeline.stores.settings import settings_from

        try:
            exporter = exporter_named(name)
        except BrokenPartError as error:
            raise MachineError(str(error)) from error
        chosen = settings_from(exporter.settings_type, file=config, words=settings or ())
        with Output(json_lines=json_lines, quiet=quiet, verbose=verbose) as say:
            try:
                done = stage(
                    catalog, name, settings=chosen, sessions=tuple(session or ("*",)), recipe_id=recipe_id,
                    out=out, force=force, report=say,
                    where=where_of(cluster, cluster_config, shard, retry_failed=retry_failed),
                )  # fmt: skip
            except PartialFailure as failure:
                _files_table(say, cast("Sequence[Exported]", failure.results))
                raise
            _files_table(say, done)

    return typer.main.get_command(made)


app.command("nlb-submission", cls=settings_command("export_nlb"))(nlb_submission)


def _files_table(say: Output, done: Sequence[Exported]) -> None:
    if done:
        rows = [
            [e.entry.session, e.status, f"{e.path.stat().st_size / 1e6:.1f} MB", e.path.name] for e in done
        ]
        say.table("Exports", ["session", "status", "size", "file"], rows)
        say.result(f"Files: {done[0].path.parent}")
