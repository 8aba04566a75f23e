"""``pipeline run ingest``: words of the command line → sources, recipe, stage."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nwb_latents.pipeline.cli.console import Output
from nwb_latents.pipeline.cli.options import (
    CATALOG,
    CatalogOption,
    ClusterConfigOption,
    ClusterOption,
    ForceOption,
    JsonOption,
    QuietOption,
    RetryFailedOption,
    SessionOption,
    SetOption,
    ShardOption,
    VerboseOption,
)
from nwb_latents.pipeline.errors import PartialFailure, UsageError
from nwb_latents.pipeline.stages.ingest_words import MAIN_ARCHIVE

if TYPE_CHECKING:
    from nwb_latents.pipeline.sources.asset import Mode, Source

PathOption = Annotated[
    list[Path] | None,
    typer.Option("--path", help="NWB file, or folder searched for *.nwb; repeatable.", metavar="PATH"),
]
DandisetOption = Annotated[
    str | None,
    typer.Option(
        "--dandiset",
        help="Dandiset, ID or ID@VERSION; default version: the catalog's pin, else the latest published.",
        metavar="ID[@VERSION]",
    ),
]
InstanceOption = Annotated[
    str, typer.Option("--instance", help="Archive: its URL, or a name the dandi client knows.", metavar="URL")
]
TokenOption = Annotated[
    str | None,
    typer.Option(
        "--token-env",
        help="Environment variable with the archive's API key, for embargoed dandisets; default: that of the "
        "archive, DANDI_API_KEY of the main one.",
        metavar="VAR",
    ),
]
DownloadOption = Annotated[
    Path | None,
    typer.Option(
        "--download-dir", help="Where downloads go; default: downloads/ beside the catalog.", metavar="DIR"
    ),
]


def ingest(
    path: PathOption = None,
    dandiset: DandisetOption = None,
    instance: InstanceOption = MAIN_ARCHIVE,
    token_env: TokenOption = None,
    download_dir: DownloadOption = None,
    session: SessionOption = None,
    subject: Annotated[str | None, typer.Option("--subject", help="Only this subject.", metavar="ID")] = None,
    task: Annotated[
        str | None, typer.Option("--task", help="Only this task, e.g. CO.", metavar="NAME")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="At most this many files.", metavar="N")
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            "--exclude", help="Session id or shell pattern to leave out, repeatable.", metavar="GLOB"
        ),
    ] = None,
    session_id: Annotated[
        str | None,
        typer.Option(
            "--session-id",
            help="What the sessions are called, in place of what their files say; {folder}, {file}, "
            "{session}, {subject} and {date} stand for those of each file.",
            metavar="TEXT",
        ),
    ] = None,
    shard: ShardOption = None,
    retry_failed: RetryFailedOption = False,
    stream: Annotated[
        bool, typer.Option("--stream", help="Read only the parts of archived files that are needed.")
    ] = False,
    download: Annotated[
        bool, typer.Option("--download", help="Download archived files whole (the default).")
    ] = False,
    auto: Annotated[
        bool, typer.Option("--auto", help="Stream or download each file, whichever moves fewer bytes.")
    ] = False,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="With --stream: read each streamed file whole once more, keep nothing, and hold it and what "
            "was read of it against its SHA-256.",
        ),
    ] = False,
    stores: Annotated[
        str | None,
        typer.Option(
            "--stores",
            help="Where the stores go: a folder or s3://BUCKET/PREFIX; default: stores/ beside the catalog.",
            metavar="URL",
        ),
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(
            "--recipe",
            "--config",
            help="YAML file of the recipe, or nlb:KEY, nlb:KEY_20: that of a dataset of the Neural Latents "
            "Benchmark, e.g. nlb:mc_maze_20.",
            metavar="FILE",
        ),
    ] = None,
    settings: SetOption = None,
    memory_gb: Annotated[
        float,
        typer.Option(
            "--memory-gb",
            help="Memory each session may take; more of a long one then lies on the disk. What is written is "
            "the same.",
            metavar="GB",
        ),
    ] = 1.0,
    cluster: ClusterOption = "serial",
    cluster_config: ClusterConfigOption = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Show sessions, bytes, estimated time and memory, and stop."),
    ] = False,
    force: ForceOption = False,
    catalog: CatalogOption = CATALOG,
    json_lines: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """NWB files → trial stores: bin, smooth, filter, align to movement onset.

    Sessions that are up to date are left alone. Every store appears in the catalog.
    """
    from nwb_latents.pipeline.cluster.shard import Shard, parse_shard
    from nwb_latents.pipeline.stages.ingest import Selection
    from nwb_latents.pipeline.stages.ingest import ingest as stage
    from nwb_latents.pipeline.stores.settings import settings_from
    from nwb_latents.schemas.cluster import ClusterSettings
    from nwb_latents.schemas.recipe import IngestRecipe

    if bool(path) == bool(dandiset):
        raise UsageError("Give either --path FOLDER or --dandiset ID (one of them).")
    chosen = settings_from(IngestRecipe, **recipe_base(recipe), words=settings or ())
    selection = Selection(
        tuple(session or ("*",)),
        subject,
        task,
        limit,
        exclude=tuple(exclude or ()),
        shard=parse_shard(shard) if shard else Shard(),
    )
    with Output(json_lines=json_lines, quiet=quiet, verbose=verbose) as out:
        try:
            entries = stage(
                catalog,
                _source(path, dandiset, catalog, instance, token_env, download_dir, verify=verify),
                chosen,
                selection=selection,
                cluster=cluster,
                cluster_settings=settings_from(ClusterSettings, file=cluster_config),
                stores=stores,
                mode=_mode(stream=stream, download=download, auto=auto),
                retry_failed=retry_failed,
                dry_run=dry_run,
                force=force,
                session_id=session_id,
                memory_gb=memory_gb,
                report=out,
            )
        except PartialFailure as failure:
            _sessions_table(out, failure.results, catalog)
            raise
        if not dry_run:
            _sessions_table(out, entries, catalog)


def recipe_base(recipe: Path | None) -> dict[str, Any]:
    """Return what settings given one by one are laid over: a file, or a recipe of the benchmark."""
    from nwb_latents.pipeline.stages.ingest_words import recipe_of_benchmark

    base = recipe_of_benchmark(str(recipe or ""))
    return {"file": recipe} if base is None else {"base": base}


def _mode(*, stream: bool, download: bool, auto: bool) -> Mode:
    if stream + download + auto > 1:
        raise UsageError("Give one of --stream, --download and --auto.")
    return "stream" if stream else "auto" if auto else "download"


def _source(
    path: list[Path] | None,
    dandiset: str | None,
    catalog: Path,
    instance: str,
    token_env: str | None,
    download_dir: Path | None,
    *,
    verify: bool,
) -> Source:
    from nwb_latents.pipeline.stages.ingest_words import archive_source, folder_source

    if path:
        return folder_source(path)
    return archive_source(
        str(dandiset), catalog,
        instance=instance, token_env=token_env, download_dir=download_dir, verify=verify,
    )  # fmt: skip


def _sessions_table(out: Output, entries: Any, catalog: Path) -> None:
    if entries:
        from nwb_latents.pipeline.cli.session_tables import show_stores
        from nwb_latents.pipeline.stores.location import store_path

        show_stores(out, entries)
        out.result(f"Stores: {store_path(catalog, entries[0].store).parent}   Catalog: {catalog}")
