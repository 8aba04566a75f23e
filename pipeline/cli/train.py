"""``pipeline run train``: a model of the sessions of the catalog."""

from __future__ import annotations

from typing import Annotated

import typer

from nwb_latents.pipeline.cli import completion
from nwb_latents.pipeline.cli.console import Output
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
    given,
    where_of,
)
from nwb_latents.pipeline.errors import UsageError

ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        help="Model; `pipeline models` lists them; default: mdssm.",
        metavar="NAME",
        autocompletion=completion.registered("MODELS"),
    ),
]


def train(
    model: ModelOption = None,
    session: SessionOption = None,
    recipe_id: RecipeIdOption = None,
    run_name: Annotated[
        str | None,
        typer.Option("--run-name", help="Name of the run; default: model and a hash of what it is made of."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Seed, or the first of --seeds; default: 0.", metavar="N")
    ] = None,
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, help="Number of seeds; each makes a run.", metavar="K")
    ] = 1,
    max_steps: Annotated[
        int | None, typer.Option("--max-steps", min=1, help="Training steps; default: 2000.", metavar="N")
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", help="auto (a GPU if there is one), cpu or cuda; default: auto.")
    ] = None,
    devices: Annotated[
        int | None,
        typer.Option("--devices", min=1, help="Devices that share each step out, of one run; default: 1."),
    ] = None,
    precision: Annotated[
        str | None,
        typer.Option("--precision", help="32-true, bf16-mixed, 16-mixed or 64-true; default: 32-true."),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            "--resume",
            help="Go on with this run, with its own settings.",
            metavar="RUN",
            autocompletion=completion.runs,
        ),
    ] = None,
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
    """Train a latent-variable model on the catalog's sessions, on a GPU where there is one.

    The same command resumes what was interrupted and does nothing where the run is complete. Several seeds
    are runs of their own; on a cluster each takes a worker, and a GPU where there is one.
    """
    from nwb_latents.pipeline.stages.train import settings_to_resume
    from nwb_latents.pipeline.stages.train import train as stage
    from nwb_latents.pipeline.stages.train_runs import train_seeds
    from nwb_latents.pipeline.stores.settings import settings_from
    from nwb_latents.schemas.training import TrainSettings

    options = given(
        {
            "--model": ("model.name", model),
            "--seed": ("seed", seed),
            "--max-steps": ("max_steps", max_steps),
            "--device": ("device", device),
            "--devices": ("devices", devices),
            "--precision": ("precision", precision),
        }
    )
    own = settings_to_resume(catalog, resume) if resume is not None else None
    chosen = settings_from(TrainSettings, base=own, file=config, **options, words=settings or ())
    where = where_of(cluster, cluster_config, shard, retry_failed=retry_failed)
    if seeds > 1 and (run_name is not None or resume is not None):
        option = "--run-name" if run_name is not None else "--resume"
        raise UsageError(
            f"--seeds {seeds} makes as many runs, and {option} names one. Leave one of them out."
        )
    with Output(json_lines=json_lines, quiet=quiet, verbose=verbose) as out:
        if seeds > 1 or not where.is_here or where.is_part:
            train_seeds(
                catalog,
                chosen,
                where,
                seeds=seeds,
                sessions=tuple(session or ("*",)),
                recipe_id=recipe_id,
                run_name=run_name,
                resume=resume,
                force=force,
                report=out,
            )
            return
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
