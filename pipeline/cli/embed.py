"""``pipeline run embed``: the embeddings of a run, in tables and pictures."""

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
    DeviceOption,
    JsonOption,
    QuietOption,
    RetryFailedOption,
    SessionOption,
    SetOption,
    ShardOption,
    UnseenOption,
    VerboseOption,
    WhateverSizeOption,
    device_of,
    given,
    listed,
    where_of,
)
from nwb_latents.pipeline.cli.picture_options import DpiOption, FormatOption, pictures_of


def embed(
    run: Annotated[
        str, typer.Option("--run", help="The run.", metavar="RUN", autocompletion=completion.runs)
    ],
    session: SessionOption = None,
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            help="Go from each session to this one, instead of over a grid around each.",
            metavar="SESSION",
        ),
    ] = None,
    colour_by: Annotated[
        str | None,
        typer.Option(
            "--colour-by",
            help="Comma-separated: subject, task, or numbers of the sessions; default: subject,task.",
            metavar="LIST",
        ),
    ] = None,
    device: DeviceOption = "auto",
    unseen_trials: UnseenOption = False,
    cluster: ClusterOption = "serial",
    cluster_config: ClusterConfigOption = None,
    shard: ShardOption = None,
    retry_failed: RetryFailedOption = False,
    picture_format: FormatOption = None,
    dpi: DpiOption = None,
    force: WhateverSizeOption = False,
    config: ConfigOption = None,
    settings: SetOption = None,
    catalog: CatalogOption = CATALOG,
    json_lines: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Show where sessions lie in a run's embedding, reaches decoded between them, and flow fields.

    Tables (NetCDF) and pictures go to embedding/ in the folder of the run, in a folder for each choice of
    settings.
    """
    from nwb_latents.pipeline.stages.embed import embed as stage
    from nwb_latents.pipeline.stores.settings import settings_from
    from nwb_latents.schemas.embedding import EmbedSettings

    options = given({"--colour-by": ("colour_by", listed(colour_by))})
    chosen = settings_from(EmbedSettings, file=config, **options, words=settings or ())
    with Output(json_lines=json_lines, quiet=quiet, verbose=verbose) as out:
        made = stage(
            catalog,
            chosen,
            run=run,
            sessions=tuple(session or ("*",)),
            towards=to,
            device=device_of(device),
            unseen_trials=unseen_trials,
            where=where_of(cluster, cluster_config, shard, retry_failed=retry_failed),
            force=force,
            pictures=pictures_of(picture_format, dpi),
            report=out,
        )
        table = made.table
        rows = []
        for name in table["session"].values:
            row = table.sel(session=name)
            each = zip(row["mean"].values.tolist(), row["variance"].values.tolist(), strict=True)
            cells = [f"{mean:.3f} ± {variance**0.5:.3f}".replace("-", "−") for mean, variance in each]
            words = [str(name), str(row["subject"].item()), str(row["task"].item())]
            rows.append([*words, str(int(row["n_trials"])), *cells])
        heads = [f"e{i + 1}" for i in range(table.sizes["embedding"])]
        out.table(
            f"Embeddings of run {run} (posterior mean ± standard deviation)",
            ["session", "subject", "task", "trials", *heads],
            rows,
        )
        out.result(f"{len(made.files)} files: {made.files[0].parent}")
