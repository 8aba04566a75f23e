"""``pipeline models``: what can be trained, and with which settings."""

from __future__ import annotations

from typing import Annotated

import typer

from nwb_latents.pipeline.cli import completion
from nwb_latents.pipeline.cli.console import Output
from nwb_latents.pipeline.cli.options import JsonOption
from nwb_latents.pipeline.cli.settings_help import settings_text
from nwb_latents.pipeline.errors import UsageError


def models(
    name: Annotated[
        str | None,
        typer.Argument(
            help="Name of a model, for all its settings; without one, all are listed.",
            autocompletion=completion.registered("MODELS"),
        ),
    ] = None,
    json_lines: JsonOption = False,
) -> None:
    """List the models: what each is, where it was published, its main settings."""
    from nwb_latents.schemas.events import ModelEvent
    from nwb_latents.schemas.models import known_models, model_settings
    from nwb_latents.schemas.registry import UnknownPartError

    if name is not None:
        try:
            model_settings(name)
        except UnknownPartError as error:
            raise UsageError(f"models: {error}") from error
    with Output(json_lines=json_lines) as out:
        rows = []
        for key, kind in known_models().items():
            summary = (kind.__doc__ or "").strip().splitlines()[0]
            main = {one: kind.model_fields[one].default for one in kind.main_settings}
            rows.append([key, summary, kind.paper, ", ".join(f"{k} {v}" for k, v in main.items())])
            if name in {None, key}:
                out.record(ModelEvent(model=key, summary=summary, paper=kind.paper, main_settings=main))
        if name is None:
            out.table("Models", ["model", "what", "paper", "main settings"], rows)
            out.result("All settings of one: pipeline models NAME")
        else:
            _, summary, paper, _ = next(row for row in rows if row[0] == name)
            out.result(f"{name}: {summary} {paper}.\n\n{settings_text(name)}")
