"""``pipeline run NAME``: one command per stage."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.cli.console import Output
from pipeline.cli.options import (
    CatalogOption,
    ConfigOption,
    DeviceOption,
    ForceOption,
    JsonOption,
    QuietOption,
    RecipeIdOption,
    SessionOption,
    SetOption,
    VerboseOption,
    settings_command,
)
from pipeline.errors import PartialFailure, SettingsError, UsageError

if TYPE_CHECKING:
    from pipeline.sources.asset import Mode, Source

app = typer.Typer(
    help="Run a stage: ingest, train, decode; without a name, all of them in order.", rich_markup_mode=None
)

CATALOG = Path("catalog.yaml")
MAIN_ARCHIVE = "dandi"

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
    str,
    typer.Option(
        "--token-env",
        help="Environment variable with the archive's API key, for embargoed dandisets.",
        metavar="VAR",
    ),
]
DownloadOption = Annotated[
    Path | None,
    typer.Option(
        "--download-dir", help="Where downloads go; default: downloads/ beside the catalog.", metavar="DIR"
    ),
]
ModelOption = Annotated[
    str, typer.Option("--model", help="Model; `pipeline models` lists them.", metavar="NAME")
]


@app.callback(invoke_without_command=True)
def everything(
    ctx: typer.Context,
    path: PathOption = None,
    dandiset: DandisetOption = None,
    model: ModelOption = "mdssm",
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

    Without --path and --dandiset, the sessions already in the catalog are trained on and decoded.
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


@app.command(cls=settings_command("recipe"))
def ingest(
    path: PathOption = None,
    dandiset: DandisetOption = None,
    instance: InstanceOption = MAIN_ARCHIVE,
    token_env: TokenOption = "DANDI_API_KEY",  # noqa: S107
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
    shard: Annotated[
        str | None,
        typer.Option(
            "--shard",
            help="Part i of n of the sessions, for one job of a job array; i counts from 0 or from 1.",
            metavar="i/n",
        ),
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Only the sessions that failed the last time.")
    ] = False,
    stream: Annotated[
        bool, typer.Option("--stream", help="Read only the parts of archived files that are needed.")
    ] = False,
    download: Annotated[
        bool, typer.Option("--download", help="Download archived files whole (the default).")
    ] = False,
    auto: Annotated[
        bool, typer.Option("--auto", help="Stream or download each file, whichever moves fewer bytes.")
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
        Path | None, typer.Option("--recipe", "--config", help="YAML file of the recipe.", metavar="FILE")
    ] = None,
    settings: SetOption = None,
    cluster: Annotated[
        str,
        typer.Option(
            "--cluster",
            help="serial, local, local:N processes, tcp://HOST:PORT of a dask scheduler, or a batch system: "
            "slurm, pbs, sge, lsf, oar, moab, htcondor.",
        ),
    ] = "serial",
    cluster_config: Annotated[
        Path | None,
        typer.Option(
            "--cluster-config",
            help="YAML file: queue, cores, memory, walltime, n_jobs … of the batch jobs (schemas.cluster).",
            metavar="FILE",
        ),
    ] = None,
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
    from pipeline.cluster.shard import Shard, parse_shard
    from pipeline.stages.ingest import Selection
    from pipeline.stages.ingest import ingest as stage
    from pipeline.stores.settings import load
    from schemas.cluster import ClusterSettings
    from schemas.recipe import IngestRecipe

    if bool(path) == bool(dandiset):
        raise UsageError("Give either --path FOLDER or --dandiset ID (one of them).")
    chosen = load(IngestRecipe, file=recipe, overrides=settings or ())
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
                _source(path, dandiset, catalog, instance, token_env, download_dir),
                chosen,
                selection=selection,
                cluster=cluster,
                cluster_settings=load(ClusterSettings, file=cluster_config),
                stores=stores,
                mode=_mode(stream=stream, download=download, auto=auto),
                retry_failed=retry_failed,
                dry_run=dry_run,
                force=force,
                report=out,
            )
        except PartialFailure as failure:
            _sessions_table(out, failure.results, catalog)
            raise
        if not dry_run:
            _sessions_table(out, entries, catalog)


@app.command(cls=settings_command("train"))
def train(
    model: ModelOption = "mdssm",
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
    from pipeline.stages.train import train as stage
    from pipeline.stores.settings import load
    from schemas.training import TrainSettings

    words: dict[str, Any] = {
        "seed": seed,
        "max_steps": max_steps,
        "device": device,
        "devices": devices,
        "precision": precision,
    }
    overrides = [f"{key}={value}" for key, value in words.items() if value is not None]
    chosen = load(
        TrainSettings, file=config, overrides=[f"model.name={model}", *overrides, *(settings or ())]
    )
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


@app.command(cls=settings_command("decode"))
def decode(
    run: Annotated[
        list[str] | None,
        typer.Option("--run", help="Run to decode, repeatable; default: all of the recipe.", metavar="RUN"),
    ] = None,
    session: SessionOption = None,
    recipe_id: RecipeIdOption = None,
    lag_ms: Annotated[
        float | None,
        typer.Option(
            "--lag-ms", help="Velocity is read this long after the activity, ms; default: 100.", metavar="MS"
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--source",
            help="Comma-separated: rates, reconstruction, forecast; default: all three.",
            metavar="LIST",
        ),
    ] = None,
    device: DeviceOption = "auto",
    config: ConfigOption = None,
    settings: SetOption = None,
    catalog: CatalogOption = CATALOG,
    json_lines: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Decode hand velocity linearly, from smoothed rates, a model's reconstruction and its forecast.

    Fit on training trials, scored on test trials. Scores go to the catalog, pictures to results/decode/
    beside it.
    """
    from pipeline.stages.decode import decode as stage
    from pipeline.stores.settings import load
    from schemas.decoding import DecodeSettings

    if device not in {"auto", "cpu", "cuda"}:
        raise SettingsError(f"--device: expected auto, cpu or cuda, found {device!r}.")
    overrides = [] if lag_ms is None else [f"lag_ms={lag_ms}"]
    if source is not None:
        overrides.append(f"sources=[{source}]")
    chosen = load(DecodeSettings, file=config, overrides=[*overrides, *(settings or ())])
    with Output(json_lines=json_lines, quiet=quiet, verbose=verbose) as out:
        try:
            scores = stage(
                catalog,
                chosen,
                runs=tuple(run or ()),
                sessions=tuple(session or ("*",)),
                recipe_id=recipe_id,
                device=device,  # type: ignore[arg-type]
                report=out,
            )
        except PartialFailure as failure:
            _scores_table(out, failure.results, catalog)
            raise
        _scores_table(out, scores, catalog)


def _mode(*, stream: bool, download: bool, auto: bool) -> Mode:
    if stream + download + auto > 1:
        raise UsageError("Give one of --stream, --download and --auto.")
    return "stream" if stream else "auto" if auto else "download"


def _by_stage(settings: list[str]) -> dict[str, list[str]]:
    out: dict[str, list[str]] = {"ingest": [], "train": [], "decode": []}
    for word in settings:
        stage, dot, rest = word.partition(".")
        if stage not in out or not dot:
            raise UsageError(f"--set {word}: expected the stage first: ingest.KEY=VALUE, train.… or decode.…")
        out[stage].append(rest)
    return out


def _source(
    path: list[Path] | None,
    dandiset: str | None,
    catalog: Path,
    instance: str,
    token_env: str,
    download_dir: Path | None,
) -> Source:
    if path:
        from pipeline.sources.folder import FolderSource

        # Workers of a cluster have another working directory.
        return FolderSource([p.absolute() for p in path])
    from pipeline.sources.dandi_archive import DandiSource
    from pipeline.sources.known_dandisets import known_dandisets
    from pipeline.stores.catalog import read_catalog

    name = str(dandiset)
    token = os.environ.get(token_env)
    known = {**known_dandisets(), **read_catalog(catalog).dandisets} if instance == MAIN_ARCHIVE else {}
    return DandiSource(
        name,
        instance=instance,
        download_dir=(download_dir or catalog.parent / "downloads").absolute(),
        token=token,
        known=known.get(name.partition("@")[0].removeprefix("DANDI:")),
        token_env=token_env,
    )


def _sessions_table(out: Output, entries: Any, catalog: Path) -> None:
    rows = [
        [e.session, e.task, str(e.n_trials), str(e.n_units), f"{e.n_bins} × {e.bin_size_s * 1e3:g} ms"]
        for e in entries
    ]
    if rows:
        out.table("Trial stores", ["session", "task", "trials", "units", "bins"], rows)
        from pipeline.stores.location import store_path

        out.result(f"Stores: {store_path(catalog, entries[0].store).parent}   Catalog: {catalog}")


def _scores_table(out: Output, scores: Any, catalog: Path) -> None:
    if not scores:
        return
    sources = [
        s for s in ("rates", "reconstruction", "forecast") if any(score.source == s for score in scores)
    ]
    first = scores[0]
    by_row: dict[tuple[str, str], dict[str, Any]] = {}
    data = {score.session: score for score in scores if score.run is None}
    runs = list(dict.fromkeys(score.run for score in scores if score.run is not None))
    for score in scores:
        for name in [score.run] if score.run else (runs or ["-"]):
            by_row.setdefault((score.session, str(name)), {})[score.source] = score
    rows = []
    for (session, run), found in sorted(by_row.items()):
        cells = [_r2(found.get(source)) for source in sources]
        tested = next(iter(found.values())).n_trials
        rows.append([session, run, *cells, str(tested)])
    title = f"Velocity R² on test trials ({first.definition}, lag {first.lag_ms:g} ms)"
    out.table(title, ["session", "run", *sources, "test trials"], rows)
    if data:
        folder = catalog.parent / "results" / "decode" / first.recipe_id
        out.result(f"Scores: {catalog}   Pictures: {folder}")


def _r2(score: Any) -> str:
    return "-" if score is None else "undefined" if score.value is None else f"{score.value:.3f}"
