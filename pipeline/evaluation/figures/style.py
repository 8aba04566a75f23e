"""What all pictures share: style, colours that the colour-blind tell apart, and figures without pyplot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#aa3377", "#e69f00", "#56b4e9", "#b0b0b0", "#000000")
"""Told apart by colour-blind readers too: at least 15 apart in CIELAB, as seen by full trichromats and under
simulated protanopia and deuteranopia (Okabe and Ito 2008; its yellow, too light on white, by grey, and its
purple, a grey to deuteranopes, by that of Tol 2021)."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X")

DASHES = ("-", "--", ":", "-.")

SMALL = 6.5
"""Points, of ticks and legends. Nothing is smaller than 6 at print size."""

STYLE: dict[str, Any] = {
    "font.size": 7,
    "axes.titlesize": 7,
    "axes.labelsize": 7,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "legend.fontsize": SMALL,
    "legend.title_fontsize": SMALL,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.0,
    "legend.frameon": False,
    "hatch.linewidth": 0.6,
    # Text is as wide at every resolution: what fits where lines are broken fits in the file.
    "text.hinting": "none",
    # Names are text as they stand: $x_{$ is no formula.
    "text.parse_math": False,
    # Text stays text, which can be searched and edited; the same picture is the same file.
    "svg.fonttype": "none",
    "svg.hashsalt": "nwb_latents",
    "pdf.fonttype": 42,
}

MOST_NAMED = len(COLOURS)
"""Conditions, subjects … that are named in a legend; of more, their number is said."""


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
    from nwb_latents.pipeline.evaluation.figures.page import styled_figure  # noqa: PLC0415

    figure = styled_figure(size)
    return figure, figure.subplots(rows, columns, squeeze=False, **shared)


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
