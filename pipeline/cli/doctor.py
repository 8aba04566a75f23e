"""``pipeline doctor``: what this machine offers."""

from __future__ import annotations

from typing import Annotated

import typer

from nwb_latents.pipeline.cli.console import Output
from nwb_latents.pipeline.cli.options import JsonOption


def doctor(
    build_kernels: Annotated[
        bool,
        typer.Option(
            "--build-kernels",
            help="Compile the loops that infer single trials faster; takes a second and a C compiler.",
        ),
    ] = False,
    json_lines: JsonOption = False,
) -> None:
    """Say what this machine offers: Python, packages, processors, memory, GPU, free disk, kernels."""
    from nwb_latents.pipeline.stages import doctor as stage
    from nwb_latents.schemas.events import CheckEvent

    with Output(json_lines=json_lines) as out:
        if build_kernels:
            stage.build_kernels()
        findings = stage.examine()
        for finding in findings:
            out.record(CheckEvent(name=finding["name"], found=finding["found"]))
        out.table("This machine", ["what", "found"], [[str(f["name"]), str(f["found"])] for f in findings])
