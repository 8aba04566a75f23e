"""``pipeline run report``: a page of what the catalog holds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nwb_latents.pipeline.cli import completion
from nwb_latents.pipeline.cli.console import Output
from nwb_latents.pipeline.cli.options import (
    CATALOG,
    CatalogOption,
    ConfigOption,
    DeviceOption,
    JsonOption,
    QuietOption,
    SessionOption,
    SetOption,
    VerboseOption,
    device_of,
)
from nwb_latents.pipeline.errors import UsageError


def report(
    session: SessionOption = None,
    run: Annotated[
        list[str] | None,
        typer.Option(
            "--run",
            help="Run or shell pattern, repeatable; default: all of the sessions.",
            metavar="RUN",
            autocompletion=completion.runs,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="The page, .html; default: report.html beside the catalog.", metavar="FILE"
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
    """Write one page of HTML of what the catalog holds: checks, sessions, runs, leaderboard, failures.

    It says what was made from what, and how to make it again; it needs no network and no other file. What
    cannot be shown is said on the page, with what to do.
    """
    from nwb_latents.pipeline.stages.report_page import report_page as stage
    from nwb_latents.pipeline.stores.settings import settings_from
    from nwb_latents.schemas.report import ReportSettings

    if output is not None and output.suffix not in {".html", ".htm"}:
        raise UsageError(f"--out: expected a name ending in .html, found {output.name!r}.")
    chosen = settings_from(ReportSettings, file=config, words=settings or ())
    with Output(json_lines=json_lines, quiet=quiet, verbose=verbose) as out:
        written = stage(
            catalog,
            chosen,
            sessions=tuple(session or ("*",)),
            runs=tuple(run or ()),
            out=output,
            device=device_of(device),
            report=out,
        )
        out.result(f"Report: {written.path} ({written.n_bytes / 1e6:.1f} MB)")
