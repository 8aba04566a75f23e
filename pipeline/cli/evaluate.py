"""``pipeline run evaluate`` and ``pipeline leaderboard``: every metric of every model, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

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
    EnsembleOption,
    ForceOption,
    JsonOption,
    LagOption,
    QuietOption,
    RecipeIdOption,
    RetryFailedOption,
    RunsOption,
    SessionOption,
    SetOption,
    ShardOption,
    UnseenOption,
    VerboseOption,
    device_of,
    given,
    where_of,
)
from nwb_latents.pipeline.cli.settings_help import two_columns
from nwb_latents.pipeline.errors import DataError, PartialFailure, UsageError
from nwb_latents.schemas.task_words import ENSEMBLE

if TYPE_CHECKING:
    from nwb_latents.pipeline.evaluation.metrics.metric import Metric

MetricOption = Annotated[
    list[str] | None,
    typer.Option(
        "--metric",
        help="Metric, repeatable; default: all.",
        metavar="NAME",
        autocompletion=completion.registered("METRICS"),
    ),
]
BaselineOption = Annotated[
    list[str] | None,
    typer.Option(
        "--baseline",
        help="Baseline, repeatable; default: all.",
        metavar="NAME",
        autocompletion=completion.registered("BASELINES"),
    ),
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
    ensemble: EnsembleOption = False,
    truth: Annotated[
        Path | None,
        typer.Option(
            "--truth",
            help="Folder `pipeline simulate` wrote: adds the oracle and metrics against the truth.",
            metavar="DIR",
        ),
    ] = None,
    held_out_days: Annotated[
        int | None,
        typer.Option(
            "--held-out-days",
            min=0,
            help="Measure each subject's last N days alone, with decoders of the days before too.",
            metavar="N",
        ),
    ] = None,
    device: DeviceOption = "auto",
    unseen_trials: UnseenOption = False,
    cluster: ClusterOption = "serial",
    cluster_config: ClusterConfigOption = None,
    shard: ShardOption = None,
    retry_failed: RetryFailedOption = False,
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
    trials. What was measured already is not measured again. `pipeline leaderboard` compares.
    """
    from nwb_latents.pipeline.stages.evaluate import evaluate as stage
    from nwb_latents.pipeline.stores.settings import settings_from
    from nwb_latents.schemas.evaluation import EvaluateSettings

    options = given(
        {
            "--phase": ("phase", phase),
            "--lag-ms": ("lag_ms", lag_ms),
            "--ensemble": ("forecast.ensemble", list(ENSEMBLE) if ensemble else None),
            "--held-out-days": ("held_out_days", held_out_days),
            **_lists(metric, baseline),
        }
    )
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
                unseen_trials=unseen_trials,
                where=where_of(cluster, cluster_config, shard, retry_failed=retry_failed),
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
            "--by",
            help="Metric that orders the rows, e.g. velocity_r2 or, of forecasts, velocity_r2:forecast; "
            "default: the first there is.",
            metavar="METRIC",
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
    from nwb_latents.schemas.registry import METRICS

    if phase not in {None, "test", "val"}:
        raise UsageError(f"--phase: expected test or val, found {phase!r}.")
    if output is not None and output.suffix.lstrip(".") not in FORMATS:
        raise UsageError(f"--output: expected a name ending in .csv, .md or .html, found {output.name!r}.")
    with Output(json_lines=json_lines) as out:
        try:
            made = stage(
                catalog,
                sessions=tuple(session or ("*",)),
                recipe_id=recipe_id,
                phase=cast("Any", phase),
                ranked_by=by,
                output=output,
                report=out,
            )
        except DataError as error:
            if by is None or by.partition(":")[0] in METRICS:
                raise
            raise UsageError(f"--by: {error}") from error
        if output is None:
            _print(out, made)
        else:
            out.result(f"Leaderboard: {output}")


def metrics_text() -> str:
    """Return what can be measured and held against, as text: name, and what it is."""
    from nwb_latents.pipeline.evaluation.baselines.known import known_baselines
    from nwb_latents.pipeline.evaluation.metrics.known import known_metrics

    metrics, broken = known_metrics()
    rows = [
        *((metric.name, f"{metric.meaning} [{_reading(metric)}]") for metric in metrics),
        *((name, f"cannot be had: {reason}") for name, reason in broken.items()),
    ]
    found, lost = known_baselines()
    baselines = [
        *((baseline.name, baseline.meaning) for baseline in found),
        *((name, f"cannot be had: {reason}") for name, reason in lost.items()),
    ]
    return "\n\n".join([
        "\n".join(["Metrics (--metric NAME)", "", *two_columns(rows)]),
        "\n".join(["Baselines (--baseline NAME; none: no baseline)", "", *two_columns(baselines)]),
    ])  # fmt: skip


def _reading(metric: Metric) -> str:
    words = [metric.shown_unit, f"{metric.better} is better", f"source: {metric.source}"]
    return "; ".join(word for word in words if word and word != "source: ")


def _lists(metric: list[str] | None, baseline: list[str] | None) -> dict[str, tuple[str, object]]:
    from nwb_latents.schemas.registry import BASELINES, METRICS, UnknownPartError

    found: dict[str, tuple[str, object]] = {}
    for key, option, words, registry in (
        ("metrics", "--metric", metric, METRICS),
        ("baselines", "--baseline", baseline, BASELINES),
    ):
        if words is None:
            continue
        try:
            names = [registry.check(word) for word in words if word != "none"]
        except UnknownPartError as error:
            raise UsageError(f"{option}: {error}") from error
        found[option] = (key, names)
    return found


def _tables(out: Output, done: Any, catalog: Path) -> None:
    from nwb_latents.pipeline.stages.leaderboard import compare
    from nwb_latents.pipeline.stores.catalog import read_catalog
    from nwb_latents.pipeline.stores.measurement_lines import measurement_folder

    if done:
        _print(out, compare(read_catalog(catalog), done))
        where = measurement_folder(catalog)
        out.result(f"Measurements: {where}; compare with: pipeline leaderboard --catalog {catalog}")


def _print(out: Output, made: Any) -> None:
    from nwb_latents.pipeline.evaluation.leaderboard_files import legend, protocol, table, title

    for board in made:
        out.table("\n".join([title(board), *protocol(board)]), *table(board, is_short=True))
        for line in legend(board, is_short=True):
            out.result(f"  {line}")
