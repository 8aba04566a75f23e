"""``pipeline run evaluate`` and ``pipeline leaderboard``: every metric of every model, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, cast, get_args

import typer

from nwb_latents.pipeline.cli.console import Output
from nwb_latents.pipeline.cli.options import (
    CATALOG,
    CatalogOption,
    ConfigOption,
    DeviceOption,
    ForceOption,
    JsonOption,
    LagOption,
    QuietOption,
    RecipeIdOption,
    RunsOption,
    SessionOption,
    SetOption,
    VerboseOption,
    device_of,
    given,
)
from nwb_latents.pipeline.errors import PartialFailure, UsageError

MetricOption = Annotated[
    list[str] | None,
    typer.Option("--metric", help="Metric, repeatable; default: all.", metavar="NAME"),
]
BaselineOption = Annotated[
    list[str] | None,
    typer.Option("--baseline", help="Baseline, repeatable; default: all.", metavar="NAME"),
]
PhaseOption = Annotated[
    str | None, typer.Option("--phase", help="Trials scored: test or val; default: test.", metavar="test|val")
]

FORMATS = ("csv", "md", "html")


def evaluate(
    run: RunsOption = None,
    session: SessionOption = None,
    recipe_id: RecipeIdOption = None,
    metric: MetricOption = None,
    baseline: BaselineOption = None,
    phase: PhaseOption = None,
    lag_ms: LagOption = None,
    truth: Annotated[
        Path | None,
        typer.Option(
            "--truth",
            help="Folder `pipeline simulate` wrote: adds the oracle, rate R² and state R².",
            metavar="DIR",
        ),
    ] = None,
    device: DeviceOption = "auto",
    config: ConfigOption = None,
    settings: SetOption = None,
    force: ForceOption = False,
    catalog: CatalogOption = CATALOG,
    json_lines: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Measure runs and baselines on test trials: bits per spike, decoding, PSTHs, forecasts.

    All runs of the sessions' recipe, beside baselines that need no training, with bootstrap intervals over
    trials. What is in the catalog already is not measured again. `pipeline leaderboard` compares.
    """
    from nwb_latents.pipeline.stages.evaluate import evaluate as stage
    from nwb_latents.pipeline.stores.settings import settings_from
    from nwb_latents.schemas.evaluation import EvaluateSettings

    options = given({"--phase": ("phase", phase), "--lag-ms": ("lag_ms", lag_ms), **_lists(metric, baseline)})
    chosen = settings_from(EvaluateSettings, file=config, **options, words=settings or ())
    with Output(json_lines=json_lines, quiet=quiet, verbose=verbose) as out:
        try:
            done = stage(
                catalog,
                chosen,
                runs=tuple(run or ()),
                sessions=tuple(session or ("*",)),
                recipe_id=recipe_id,
                truth=truth,
                force=force,
                device=device_of(device),
                report=out,
            )
        except PartialFailure as failure:
            _tables(out, failure.results, catalog)
            raise
        _tables(out, done, catalog)


def leaderboard(
    session: SessionOption = None,
    recipe_id: RecipeIdOption = None,
    by: Annotated[
        str | None,
        typer.Option(
            "--by", help="Metric that orders the rows; default: the first there is.", metavar="METRIC"
        ),
    ] = None,
    phase: PhaseOption = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="File to write, .csv, .md or .html; default: print.", metavar="FILE"
        ),
    ] = None,
    catalog: CatalogOption = CATALOG,
    json_lines: JsonOption = False,
) -> None:
    """Compare all runs and baselines that were evaluated: means over sessions, seeds put together.

    One table per dandiset, recipe and settings. The CSV file holds every session and seed by itself.
    """
    from nwb_latents.pipeline.stages.leaderboard import leaderboard as stage
    from nwb_latents.schemas.evaluation import METRICS

    if by is not None and by not in METRICS:
        raise UsageError(f"--by: expected one of {', '.join(METRICS)}, found {by!r}.")
    if phase not in {None, "test", "val"}:
        raise UsageError(f"--phase: expected test or val, found {phase!r}.")
    if output is not None and output.suffix.lstrip(".") not in FORMATS:
        raise UsageError(f"--output: expected a name ending in .csv, .md or .html, found {output.name!r}.")
    with Output(json_lines=json_lines) as out:
        made = stage(
            catalog,
            sessions=tuple(session or ("*",)),
            recipe_id=recipe_id,
            phase=cast("Any", phase),
            ranked_by=cast("Any", by),
            output=output,
            report=out,
        )
        if output is None:
            _print(out, made)
        else:
            out.result(f"Leaderboard: {output}")


def _lists(metric: list[str] | None, baseline: list[str] | None) -> dict[str, tuple[str, object]]:
    from nwb_latents.schemas.evaluation import METRICS, BaselineName

    asked = (("metrics", "--metric", metric, tuple(METRICS)), ("baselines", "--baseline", baseline, None))
    found: dict[str, tuple[str, object]] = {}
    for key, option, words, known in asked:
        if words is None:
            continue
        names = known or get_args(BaselineName)
        for word in words:
            if word not in (*names, "none"):
                raise UsageError(f"{option}: expected one of {', '.join(names)}, found {word!r}.")
        found[option] = (key, [word for word in words if word != "none"])
    return found


def _tables(out: Output, done: Any, catalog: Path) -> None:
    from nwb_latents.pipeline.stages.leaderboard import compare
    from nwb_latents.pipeline.stores.catalog import read_catalog

    if done:
        _print(out, compare(read_catalog(catalog), done))
        out.result(f"All of it is in {catalog}; compare with: pipeline leaderboard --catalog {catalog}")


def _print(out: Output, made: Any) -> None:
    from nwb_latents.pipeline.evaluation.leaderboard_files import legend, table, title

    for board in made:
        out.table(title(board), *table(board, is_short=True))
        for line in legend(board, is_short=True):
            out.result(f"  {line}")
