"""``pipeline plot KIND``: pictures of stores, runs and kept measurements."""

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
from nwb_latents.pipeline.cli.picture_options import DpiOption, FormatOption, pictures_of
from nwb_latents.pipeline.errors import PartialFailure


def kinds_text() -> str:
    """Return what can be drawn, for the help."""
    from nwb_latents.pipeline.stages.plot import KINDS

    width = max(map(len, KINDS))
    return "Kinds:\n" + "\n".join(f"  {kind:<{width}}  {what}" for kind, what in KINDS.items())


def plot(
    kind: Annotated[
        str,
        typer.Argument(
            help="What to draw: raster, psth, onsets, session-quality, latents, velocity, paths, forecast, "
            "training, few-shot or scores.",
            metavar="KIND",
            autocompletion=completion.words(
                "raster", "psth", "onsets", "session-quality", "latents", "velocity", "paths", "forecast",
                "training", "few-shot", "scores",
            ),
        ),
    ],
    session: SessionOption = None,
    run: RunsOption = None,
    recipe_id: RecipeIdOption = None,
    unit: Annotated[
        list[int] | None,
        typer.Option(
            "--unit",
            help="Id of a unit of a raster or PSTH, repeatable; default: those of the highest rates.",
            metavar="ID",
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            "--split",
            help="Trials drawn: train, val, test or all; default: all.",
            metavar="NAME",
            autocompletion=completion.words("train", "val", "test", "all"),
        ),
    ] = None,
    lag_ms: LagOption = None,
    device: DeviceOption = "auto",
    picture_format: FormatOption = None,
    dpi: DpiOption = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    catalog: CatalogOption = CATALOG,
    json_lines: JsonOption = False,
    quiet: QuietOption = False,
    verbose: VerboseOption = False,
) -> None:  # fmt: skip
    """Draw what the catalog holds: sessions, runs, and numbers that were measured.

    Pictures go to results/plot/ beside the catalog, in a folder for each kind and choice of settings.
    """
    from nwb_latents.pipeline.stages.plot import plot as stage
    from nwb_latents.pipeline.stores.settings import settings_from
    from nwb_latents.schemas.pictures import PlotSettings

    options = given(
        {"--unit": ("units", unit or None), "--split": ("split", split), "--lag-ms": ("lag_ms", lag_ms)}
    )
    chosen = settings_from(PlotSettings, file=config, **options, words=settings or ())
    with Output(json_lines=json_lines, quiet=quiet, verbose=verbose) as out:
        try:
            files: list[Path] = stage(
                catalog,
                kind,
                chosen,
                sessions=tuple(session or ("*",)),
                runs=tuple(run or ()),
                recipe_id=recipe_id,
                device=device_of(device),
                pictures=pictures_of(picture_format, dpi),
                report=out,
            )
        except PartialFailure as failure:
            _say(out, failure.results)  # type: ignore[arg-type]
            raise
        _say(out, files)


def _say(out: Output, files: list[Path]) -> None:
    if files:
        out.result(f"{len(files)} pictures: {files[0].parent}")
