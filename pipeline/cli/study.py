"""``pipeline study``: a grid of models, settings, seeds, sessions and few-shot trials, in one command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nwb_latents.pipeline.cli.console import Output
from nwb_latents.pipeline.cli.options import (
    CATALOG,
    CatalogOption,
    ClusterConfigOption,
    ClusterOption,
    JsonOption,
    QuietOption,
    SetOption,
    ShardOption,
    VerboseOption,
    where_of,
)
from nwb_latents.pipeline.cli.settings_help import settings_command
from nwb_latents.pipeline.errors import PartialFailure

if TYPE_CHECKING:
    from nwb_latents.pipeline.stages.study import Study

app = typer.Typer(
    help="Studies: many models, settings, seeds and sessions by one plan.", no_args_is_help=True
)


@app.callback()
def study() -> None:
    """Studies: many models, settings, seeds and sessions by one plan."""


@app.command(cls=settings_command("study"))
def run(
    file: Annotated[Path, typer.Argument(help="YAML file of the study.", metavar="FILE")],
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Show what there is to do, with time, memory and GPU hours by a few steps of each training.",
        ),
    ] = False,
    cluster: ClusterOption = "serial",
    cluster_config: ClusterConfigOption = None,
    shard: ShardOption = None,
    settings: SetOption = None,
    catalog: CatalogOption = CATALOG,
    json_lines: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Do what is missing of a study: ingest, train, align, measure; end in one board and tables by factor.

    The same command goes on where it was stopped. Its tables lie in studies/NAME/ beside the catalog.
    """
    from nwb_latents.pipeline.stages.study import run_study
    from nwb_latents.pipeline.stores.settings import settings_from
    from nwb_latents.schemas.study import StudySettings

    chosen = settings_from(StudySettings, file=file, words=settings or ())
    where = where_of(cluster, cluster_config, shard, retry_failed=False)
    with Output(json_lines=json_lines, quiet=quiet, verbose=verbose) as out:
        try:
            done = run_study(catalog, chosen, base=file.parent, where=where, dry_run=dry_run, report=out)
        except PartialFailure as failure:
            for each in failure.results:
                _found(out, each)  # type: ignore[arg-type]
            raise
        _found(out, done)


def _found(out: Output, done: Study) -> None:
    from nwb_latents.pipeline.evaluation.leaderboard_files import as_markdown
    from nwb_latents.pipeline.stages.leaderboard import compare
    from nwb_latents.pipeline.stages.study_tables import (
        as_rows,
        legend,
        report_tables,
        study_tables,
        write_study,
    )
    from nwb_latents.pipeline.stores.catalog import read_catalog

    if not done.measurements:
        return
    tables = study_tables(done)
    report_tables(done, tables, out)
    for table in tables:
        head, rows = as_rows(table)
        out.table(f"{done.settings.name}: {table.factor}", head, rows)
        for line in legend(table):
            out.result(f"  {line}")
    boards = compare(read_catalog(done.catalog_path), done.measurements)
    tables_file, numbers = write_study(done, tables, as_markdown(boards, stale=""))
    out.result(f"Tables and the board of all runs: {tables_file}; numbers: {numbers}")
