"""``pipeline schema``: the form of whatever the program reads and writes."""

from __future__ import annotations

import difflib
import json
import sys
from typing import Annotated

import typer

from nwb_latents.pipeline.cli import completion
from nwb_latents.pipeline.errors import UsageError


def schema(
    name: Annotated[
        str | None,
        typer.Argument(
            help="Name of the schema; without one, the names are listed.", autocompletion=completion.schemas
        ),
    ] = None,
) -> None:
    """Print a JSON schema."""
    from nwb_latents.schemas import json_schema, schema_names

    if name is None:
        sys.stdout.write("\n".join(schema_names()) + "\n")
        return
    if name not in schema_names():
        near = difflib.get_close_matches(name, schema_names(), n=1)
        hint = f"; did you mean {near[0]}?" if near else "."
        raise UsageError(f"schema: expected one of {', '.join(schema_names())}, found {name!r}{hint}")
    sys.stdout.write(json.dumps(json_schema(name), indent=2, ensure_ascii=False) + "\n")
