"""``pipeline run align``: a trained run takes on new sessions from a few of their trials."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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
    RetryFailedOption,
    SetOption,
    ShardOption,
    VerboseOption,
    given,
    where_of,
)
from nwb_latents.pipeline.cli.picture_options import DpiOption, FormatOption, pictures_of
from nwb_latents.pipeline.errors import PartialFailure, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nwb_latents.pipeline.stages.align_scores import Spread
    from nwb_latents.schemas.align import AlignSettings
    from nwb_latents.schemas.pictures import PictureSettings


def align(
    run: Annotated[
        str,
        typer.Option("--run", help="Trained run to align.", metavar="RUN", autocompletion=completion.runs),
    ],
    session: Annotated[
        list[str],
        typer.Option(
            "--session",
            help="New session, id or shell pattern, repeatable; sessions of the run are left out.",
            metavar="GLOB",
            autocompletion=completion.sessions,
        ),
    ],
    trials: Annotated[
        str,
        typer.Option(
            "--trials",
            help="Number of training trials; several, e.g. 1,8,16,64, make a run each.",
            metavar="N",
        ),
    ],
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, help="Number of seeds; each makes a run.", metavar="K")
    ] = 1,
    from_scratch: Annotated[
        bool,
        typer.Option(
            "--from-scratch", help="Also train the same model on the same trials without pre-training."
        ),
    ] = False,
    score: Annotated[
        bool, typer.Option("--score/--no-score", help="Score the runs on the sessions' test trials.")
    ] = True,
    ensemble: Annotated[
        bool,
        typer.Option(
            "--ensemble",
            help="Also score the mean of each run's forecast of velocity with that of factors of trials: "
            "those it shares with the sessions the run was trained on, or of its own.",
        ),
    ] = False,
    seed: Annotated[int | None, typer.Option("--seed", help="First seed; default: 0.", metavar="N")] = None,
    device: Annotated[
        str | None, typer.Option("--device", help="auto (a GPU if there is one), cpu or cuda; default: auto.")
    ] = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    cluster: ClusterOption = "serial",
    cluster_config: ClusterConfigOption = None,
    shard: ShardOption = None,
    retry_failed: RetryFailedOption = False,
    picture_format: FormatOption = None,
    dpi: DpiOption = None,
    force: ForceOption = False,
    catalog: CatalogOption = CATALOG,
    json_lines: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:
    """Align a trained run to new sessions from a few of their trials: train what is theirs, freeze the rest.

    Each session, number of trials and seed makes a run of its own, which `pipeline run decode` takes like any
    other. The same command resumes what was interrupted and does nothing where all runs are complete.
    """
    from nwb_latents.pipeline.stages.align import align as stage
    from nwb_latents.pipeline.stores.settings import settings_from
    from nwb_latents.schemas.align import AlignSettings

    options = given({"--seed": ("seed", seed), "--device": ("device", device)})
    chosen = settings_from(AlignSettings, file=config, **options, words=settings or ())
    pictures = pictures_of(picture_format, dpi)
    with Output(json_lines=json_lines, quiet=quiet, verbose=verbose) as out:
        try:
            entries: Any = stage(
                catalog,
                chosen,
                run=run,
                sessions=tuple(session),
                trials=_numbers(trials),
                seeds=seeds,
                from_scratch=from_scratch,
                force=force,
                where=where_of(cluster, cluster_config, shard, retry_failed=retry_failed),
                report=out,
            )
        except PartialFailure as failure:
            if score:
                _score(out, failure.results, chosen, catalog, ensemble=ensemble, pictures=pictures)
            raise
        if score:
            _score(out, entries, chosen, catalog, ensemble=ensemble, pictures=pictures)


def _numbers(text: str) -> list[int]:
    words = [word.strip() for word in text.split(",")]
    if not all(word.isascii() and word.isdigit() and int(word) for word in words):
        raise UsageError(f"--trials {text}: expected whole numbers above 0, such as 8 or 1,8,16,64.")
    return [int(word) for word in words]


def _score(
    out: Output,
    entries: Sequence[Any],
    settings: AlignSettings,
    catalog: Path,
    *,
    ensemble: bool,
    pictures: PictureSettings,
) -> None:
    from nwb_latents.pipeline.stages.align_scores import few_shot_table, score_alignments
    from nwb_latents.schemas.decoding import DecodeSettings

    try:
        scores: Any = score_alignments(
            catalog,
            entries,
            DecodeSettings(),
            ensemble=ensemble,
            device=settings.device,
            pictures=pictures,
            report=out,
        )
    except PartialFailure as failure:
        _table(out, few_shot_table(entries, failure.results))  # type: ignore[arg-type]
        raise
    _table(out, few_shot_table(entries, scores))
    if entries:
        out.result(f"Runs and scores: {catalog}")


def _table(out: Output, rows: Sequence[Any]) -> None:
    if not rows:
        return
    averaged = any(row.ensemble is not None for row in rows)
    cells = [
        [
            row.session,
            row.method.replace("_", " "),
            str(row.n_trials),
            _text(row.rates),
            _text(row.reconstruction),
            _text(row.forecast),
            *([_text(row.ensemble)] if averaged else []),
            "-" if row.ceiling is None else f"{row.ceiling:.3f}",
        ]
        for row in rows
    ]
    several = any(row.rates is not None and row.rates.n > 1 for row in rows)
    title = "R² on test trials" + (", mean ± standard error over seeds" if several else "")
    title += "\nvelocity is read out by what was fitted on the same trials; recorded: by a decoder of all"
    columns = ["session", "method", "trials", "rates, rebuilt", "velocity, rebuilt", "velocity, forecast"]
    also = ["velocity, mean with factors"] if averaged else []
    out.table(title, [*columns, *also, "velocity, recorded"], cells)


def _text(value: Spread | None) -> str:
    if value is None:
        return "-"
    return f"{value.mean:.3f}" + ("" if value.error is None else f" ± {value.error:.3f}")
