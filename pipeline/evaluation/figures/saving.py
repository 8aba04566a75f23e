"""Pictures as files: PNG, PDF and SVG, each written whole or not at all, equal pictures as equal files."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from nwb_latents.pipeline.stores.atomic import write_bytes
from nwb_latents.schemas.pictures import PictureSettings

if TYPE_CHECKING:
    from pathlib import Path

    from nwb_latents.schemas.pictures import PictureFormat

# Without dates and versions of the program that wrote them.
METADATA: dict[PictureFormat, dict[str, None]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None, "Creator": None, "Producer": None},
    "svg": {"Date": None, "Creator": None},
}


def picture_bytes(figure: Any, form: PictureFormat, *, dpi: int) -> bytes:
    """Return a figure as the content of a file."""
    import matplotlib as mpl  # noqa: PLC0415

    from nwb_latents.pipeline.evaluation.figures.style import STYLE  # noqa: PLC0415

    picture = io.BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(picture, format=form, dpi=dpi, metadata=METADATA[form])
    return picture.getvalue()


def save_figure(figure: Any, path: Path, pictures: PictureSettings | None = None) -> list[Path]:
    """Write a figure in each of the formats that are asked for, each file whole or not at all.

    Parameters
    ----------
    figure
        Of matplotlib.
    path
        Where it goes; its suffix is that of each format in turn.
    pictures
        Formats and resolution; default: PNG of 300 dots per inch.

    Returns
    -------
    files
        Those that were written.

    Raises
    ------
    MachineError
        If a file cannot be written.
    """
    chosen = pictures or PictureSettings()
    files = []
    for form in chosen.formats:
        file = path.with_suffix(f".{form}")
        write_bytes(file, picture_bytes(figure, form, dpi=chosen.dpi))
        files.append(file)
    return files
