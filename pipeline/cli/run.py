"""``pipeline run NAME``: one command per stage."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from nwb_latents.pipeline.cli.align import align
from nwb_latents.pipeline.cli.decode import decode
from nwb_latents.pipeline.cli.embed import embed
from nwb_latents.pipeline.cli.evaluate import evaluate, metrics_text
from nwb_latents.pipeline.cli.forecast import forecast
from nwb_latents.pipeline.cli.ingest import (
    DandisetOption,
    InstanceOption,
    PathOption,
    TokenOption,
    ingest,
)
from nwb_latents.pipeline.cli.options import (
    CATALOG,
    CatalogOption,
    JsonOption,
    QuietOption,
    VerboseOption,
)
from nwb_latents.pipeline.cli.picture_options import DpiOption, FormatOption, pictures_of
from nwb_latents.pipeline.cli.recut import recut, takes
from nwb_latents.pipeline.cli.report import report
from nwb_latents.pipeline.cli.settings_help import settings_command
from nwb_latents.pipeline.cli.stream import stream
from nwb_latents.pipeline.cli.sweep import sweep
from nwb_latents.pipeline.cli.train import ModelOption, train
from nwb_latents.pipeline.errors import UsageError
from nwb_latents.pipeline.stages.ingest_words import MAIN_ARCHIVE

FORMER_NAMES = {"realign": "recut"}
"""Commands as they were called → as they are called."""


class Stages(TyperGroup):
    """The stages; one by its former name is refused with the present one, for others have names like it."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command."""
        if args and args[0] in FORMER_NAMES:
            name = FORMER_NAMES[args[0]]
            raise UsageError(f"run {args[0]} is called run {name}: {ctx.command_path} {name} --help.")
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=Stages,
    help="Run a stage; without a name, ingest, train, decode and evaluate in order.",
    rich_markup_mode=None,
)

STAGES: dict[str, Callable[..., None]] = {
    "recipe": ingest,
    "train": train,
    "align": align,
    "decode": decode,
    "forecast": forecast,
    "evaluate": evaluate,
    "embed": embed,
    "report": report,
    "sweep": sweep,
    "stream": stream,
}
"""Commands by the schema of their settings."""

PARTS: dict[str, Callable[[], str]] = {"evaluate": metrics_text}
"""What a command can be given by name, for its help."""

for schema, stage in STAGES.items():
    app.command(cls=settings_command(schema, also=PARTS.get(schema)))(stage)
app.command(cls=settings_command("recipe", takes=takes))(recut)


@app.callback(invoke_without_command=True)
def everything(
    ctx: typer.Context,
    path: PathOption = None,
    dandiset: DandisetOption = None,
    model: ModelOption = None,
    instance: InstanceOption = MAIN_ARCHIVE,
    token_env: TokenOption = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="A setting of a stage, e.g. train.max_steps=500; repeatable.", metavar="KEY=VALUE"
        ),
    ] = None,
    picture_format: FormatOption = None,
    dpi: DpiOption = None,
    catalog: CatalogOption = CATALOG,
    json_lines: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Run a stage, or without a name all of them in order, each doing only what is not up to date.

    Without --path and --dandiset, the sessions already in the catalog are trained on, decoded and evaluated.
    """
    if ctx.invoked_subcommand is not None:
        return
    say: dict[str, Any] = {"catalog": catalog, "json_lines": json_lines, "quiet": quiet, "verbose": verbose}
    by_stage = _by_stage(settings or [])
    pictures_of(picture_format, dpi)
    if path or dandiset:
        origin: dict[str, Any] = {
            "path": path,
            "dandiset": dandiset,
            "instance": instance,
            "token_env": token_env,
        }
        ingest(**origin, settings=by_stage["ingest"], **say)
    train(model=model, settings=by_stage["train"], **say)
    decode(settings=by_stage["decode"], picture_format=picture_format, dpi=dpi, **say)
    evaluate(settings=by_stage["evaluate"], **say)


def _by_stage(settings: list[str]) -> dict[str, list[str]]:
    out: dict[str, list[str]] = {"ingest": [], "train": [], "decode": [], "evaluate": []}
    for word in settings:
        stage, dot, rest = word.partition(".")
        if stage not in out or not dot:
            raise UsageError(
                f"--set {word}: expected the stage first: ingest.KEY=VALUE, train.…, decode.… or evaluate.…"
            )
        out[stage].append(rest)
    return out
