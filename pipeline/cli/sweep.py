"""``pipeline run sweep``: search over settings, by population or at random; the best becomes a run."""

from __future__ import annotations

from typing import Annotated

import typer

from nwb_latents.pipeline.cli import completion
from nwb_latents.pipeline.cli.console import Output
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
)
from nwb_latents.pipeline.cli.picture_options import DpiOption, FormatOption, pictures_of


def sweep(
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            autocompletion=completion.registered("MODELS"),
            help="Model; default: lfads. Others need a space of their own (--set space.…).",
            metavar="NAME",
        ),
    ] = None,
    strategy: Annotated[
        str | None,
        typer.Option(
            "--strategy", help="pbt (population-based training) or random; default: pbt.", metavar="NAME"
        ),
    ] = None,
    session: SessionOption = None,
    recipe_id: RecipeIdOption = None,
    run_name: Annotated[
        str | None,
        typer.Option(
            "--run-name", help="Name of the run; default: model, strategy, hash of what it is made of."
        ),
    ] = None,
    population: Annotated[
        int | None, typer.Option("--population", help="Members; default: 20.", metavar="N")
    ] = None,
    generations: Annotated[
        int | None, typer.Option("--generations", help="Generations at most; default: 40.", metavar="N")
    ] = None,
    generation_steps: Annotated[
        int | None,
        typer.Option("--generation-steps", help="Training steps of a generation; default: 100.", metavar="N"),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            help="Members trained at once, sharing the GPUs where there are any; default: one per core.",
            metavar="N",
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option("--seed", help="Seed of search and training; default: 0.", metavar="N"),
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", help="auto (GPUs if there are any), cpu or cuda; default: auto.")
    ] = None,
    ray_address: Annotated[
        str | None,
        typer.Option(
            "--ray-address",
            help="A running cluster of Ray; default: what RAY_ADDRESS says, else this machine.",
            metavar="HOST:PORT",
        ),
    ] = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    picture_format: FormatOption = None,
    dpi: DpiOption = None,
    force: ForceOption = False,
    catalog: CatalogOption = CATALOG,
    json_lines: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Search over settings of a training; the best member becomes a run like one of `pipeline run train`.

    Needs Ray Tune: pip install 'nwb-latents[sweep]'. The same command goes on where a sweep was stopped and
    does nothing where it is complete. The schedule found is drawn in the run's folder (sweep.png), the
    history lies beside it (sweep.csv, sweep.json).
    """
    from nwb_latents.pipeline.stages.sweep import sweep as stage
    from nwb_latents.pipeline.stores.settings import settings_from
    from nwb_latents.schemas.sweep import SweepSettings

    options = given(
        {
            "--model": ("train.model.name", model),
            "--strategy": ("strategy", strategy),
            "--population": ("population", population),
            "--generations": ("generations", generations),
            "--generation-steps": ("generation_steps", generation_steps),
            "--workers": ("workers", workers),
            "--seed": ("train.seed", seed),
            "--device": ("train.device", device),
        }
    )
    chosen = settings_from(SweepSettings, file=config, **options, words=settings or ())
    with Output(json_lines=json_lines, quiet=quiet, verbose=verbose) as out:
        entry = stage(
            catalog,
            chosen,
            sessions=tuple(session or ("*",)),
            recipe_id=recipe_id,
            run_name=run_name,
            force=force,
            ray_address=ray_address,
            pictures=pictures_of(picture_format, dpi),
            report=out,
        )
        out.result(f"Run {entry.run}: {catalog.parent / entry.path}, the schedule found in sweep.png")
