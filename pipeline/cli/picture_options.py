"""Options of the commands that write pictures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from nwb_latents.pipeline.cli import completion

if TYPE_CHECKING:
    from nwb_latents.schemas.pictures import PictureSettings

FormatOption = Annotated[
    list[str] | None,
    typer.Option(
        "--format",
        help="Format of the pictures: png, pdf or svg; repeatable, or comma-separated; default: png.",
        metavar="png|pdf|svg",
        autocompletion=completion.words("png", "pdf", "svg"),
    ),
]
DpiOption = Annotated[
    int | None,
    typer.Option(
        "--dpi",
        help="Resolution of PNG, and of images within PDF and SVG, dots per inch; default: 300.",
        metavar="N",
    ),
]


def pictures_of(formats: list[str] | None, dpi: int | None) -> PictureSettings:
    """Return in which formats pictures are written, from the options.

    Raises
    ------
    SettingsError
        If one cannot be had.
    """
    from nwb_latents.pipeline.stages.picture_folder import picture_settings

    return picture_settings(formats or (), dpi)
