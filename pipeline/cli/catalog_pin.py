"""``pipeline catalog pin``: which version of a dandiset is meant wherever only its id is given."""

from __future__ import annotations

from typing import Annotated

import typer

from nwb_latents.pipeline.cli.console import Output
from nwb_latents.pipeline.cli.ingest import InstanceOption, TokenOption
from nwb_latents.pipeline.cli.options import CATALOG, CatalogOption, JsonOption, QuietOption
from nwb_latents.pipeline.stages.ingest_words import MAIN_ARCHIVE


def pin(
    dandiset: Annotated[
        str,
        typer.Argument(
            help="Dandiset; without a version, the latest published one. ID@draft pins each of its files.",
            metavar="ID[@VERSION]",
        ),
    ],
    instance: InstanceOption = MAIN_ARCHIVE,
    token_env: TokenOption = None,
    catalog: CatalogOption = CATALOG,
    json_lines: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Pin a version of a dandiset of one archive: it is taken wherever only the id is given."""
    from nwb_latents.pipeline.cli.dandisets import size_text
    from nwb_latents.pipeline.stages.pin_dandiset import pin_dandiset

    with Output(json_lines=json_lines, quiet=quiet) as out:
        entry = pin_dandiset(catalog, dandiset, instance=instance, token_env=token_env, report=out)
        files = f"{entry.n_files} recordings, {size_text(entry.n_bytes)}"
        each = f", each of its {len(entry.pins)} files by its digest" if entry.pins else ""
        out.result(f"Pinned in {catalog}: version {entry.version} of {entry.archive}{each} ({files}).")
