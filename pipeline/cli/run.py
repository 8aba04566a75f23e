"""``pipeline run NAME``: one command per stage."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from nwb_latents.pipeline.cli.align import align
from nwb_latents.pipeline.cli.console import Output
from nwb_latents.pipeline.cli.decode import decode
from nwb_latents.pipeline.cli.evaluate import evaluate
from nwb_latents.pipeline.cli.ingest import (
    MAIN_ARCHIVE,
    DandisetOption,
    InstanceOption,
    PathOption,
    TokenOption,
    ingest,
)
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
    given,
    settings_command,
)
from nwb_latents.pipeline.errors import UsageError

app = typer.Typer(
    help="Run a stage; without a name, ingest, train, decode and evaluate in order.",
    rich_markup_mode=None,
)

app.command(cls=settings_command("recipe"))(ingest)

ModelOption = Annotated[
    str | None,
    typer.Option("--model", help="Model; `pipeline models` lists them; default: mdssm.", metavar="NAME"),
]


@app.callback(invoke_without_command=True)
def everything(
    ctx: typer.Context,
    path: PathOption = None,
    dandiset: DandisetOption = None,
    model: ModelOption = None,
    instance: InstanceOption = MAIN_ARCHIVE,
    token_env: TokenOption = "DANDI_API_KEY",  # noqa: S107
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", help="A setting of a stage, e.g. train.max_steps=500; repeatable.", metavar="KEY=VALUE"
        ),
    ] = None,
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
    if path or dandiset:
        origin: dict[str, Any] = {
            "path": path,
            "dandiset": dandiset,
            "instance": instance,
            "token_env": token_env,
        }
        ingest(**origin, settings=by_stage["ingest"], **say)
    train(model=model, settings=by_stage["train"], **say)
    decode(settings=by_stage["decode"], **say)
    evaluate(settings=by_stage["evaluate"], **say)


@app.command(cls=settings_command("train"))
def train(
    model: ModelOption = None,
    session: SessionOption = None,
    recipe_id: RecipeIdOption = None,
    run_name: Annotated[
        str | None,
        typer.Option("--run-name", help="Name of the run; default: model and a hash of what it is made of."),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed; default: 0.", metavar="N")] = None,
    max_steps: Annotated[
        int | None, typer.Option("--max-steps", min=1, help="Training steps; default: 2000.", metavar="N")
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", help="auto (a GPU if there is one), cpu or cuda; default: auto.")
    ] = None,
    devices: Annotated[
        int | None, typer.Option("--devices", min=1, help="Number of devices; default: 1.")
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option("--precision", help="32-true, bf16-mixed, 16-mixed or 64-true; default: 32-true."),
    ] = None,
    resume: Annotated[
        str | None, typer.Option("--resume", help="Go on with this run.", metavar="RUN")
    ] = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    force: ForceOption = False,
    catalog: CatalogOption = CATALOG,
    json_lines: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Train a latent-variable model on the catalog's sessions, on a GPU where there is one.

    The same command resumes what was interrupted and does nothing where the run is complete.
    """
    from nwb_latents.pipeline.stages.train import train as stage
    from nwb_latents.pipeline.stores.settings import load
    from nwb_latents.schemas.training import TrainSettings

    overrides = given(seed=seed, max_steps=max_steps, device=device, devices=devices, precision=precision)
    if model is not None:
        overrides.insert(0, f"model.name={model}")
    chosen = load(TrainSettings, file=config, overrides=[*overrides, *(settings or ())])
    with Output(json_lines=json_lines, quiet=quiet, verbose=verbose) as out:
        stage(
            catalog,
            chosen,
            sessions=tuple(session or ("*",)),
            recipe_id=recipe_id,
            run_name=run_name,
            resume=resume,
            force=force,
            report=out,
        )


app.command(cls=settings_command("align"))(align)


app.command(cls=settings_command("decode"))(decode)


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
