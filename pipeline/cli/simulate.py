"""``pipeline simulate``: a dandiset of simulated sessions with known truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nwb_latents.pipeline.cli import completion
from nwb_latents.pipeline.cli.console import Output
from nwb_latents.pipeline.cli.options import ConfigOption, JsonOption, QuietOption, SetOption, given


def simulate(
    directory: Annotated[
        Path, typer.Argument(help="Folder of the dandiset; made if missing.", metavar="DIR")
    ],
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Seed; same seed, same data; default: 0.", metavar="N")
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset",
            help="How reaches and neurons are; default: lifelike.",
            metavar="lifelike|classic",
            autocompletion=completion.words("lifelike", "classic"),
        ),
    ] = None,
    config: ConfigOption = None,
    settings: SetOption = None,
    json_lines: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Write simulated sessions of reaching or of a dynamical system as NWB files, each with its truth."""
    from nwb_latents.pipeline.stages.simulate import simulate as stage
    from nwb_latents.pipeline.stores.settings import settings_from
    from nwb_latents.schemas.simulation import SimulateSettings

    options = given({"--seed": ("seed", seed), "--preset": ("preset", preset)})
    chosen = settings_from(SimulateSettings, file=config, **options, words=settings or ())
    with Output(json_lines=json_lines, quiet=quiet) as out:
        files = stage(directory, chosen, report=out)
        out.result(f"{len(files)} sessions in {directory}")
