"""What all pictures share: style, colours, a figure without pyplot, and writing it whole or not at all."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from nwb_latents.pipeline.stores.atomic import write_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#000000")
"""Told apart by colour-blind readers too (Okabe and Ito 2008, its yellow, too light on white, by grey)."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X")

STYLE: dict[str, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.0,
    "legend.frameon": False,
    # Names are text as they stand: $x_{$ is no formula.
    "text.parse_math": False,
}


def new_figure(*, rows: int, columns: int, size: tuple[float, float], **shared: Any) -> tuple[Any, Any]:
    """Return a figure and its grid of panels.

    It has its own canvas and needs no pyplot, so that a notebook's figures and backend stay as they are.

    Parameters
    ----------
    rows, columns
        Of the grid.
    size
        Width and height, inches.
    shared
        ``sharex`` and ``sharey`` of the panels.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False, **shared)


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure as PNG, whole or not at all.

    Raises
    ------
    MachineError
        If the file cannot be written.
    """
    picture = io.BytesIO()
    # Without the version of matplotlib in it, equal pictures are equal files.
    figure.savefig(picture, format="png", dpi=110, metadata={"Software": None})
    write_bytes(path, picture.getvalue())


def colours_of(names: Sequence[str]) -> dict[str, Any]:
    """Return a colour for each name: distinct ones for a few, a sequence from dark to light for many.

    Examples
    --------
    >>> colours_of(["a", "b"])
    {'a': '#0072b2', 'b': '#d55e00'}
    """
    if len(names) <= len(COLOURS):
        return dict(zip(names, COLOURS, strict=False))
    from matplotlib import colormaps  # noqa: PLC0415

    sequence = colormaps["viridis"]
    return {name: sequence(0.9 * i / (len(names) - 1)) for i, name in enumerate(names)}
