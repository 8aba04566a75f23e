"""The page of a journal: widths of one and two columns, captions and legends that stay on it.

A figure is as wide as one column (88 mm) or two (178 mm) and as high as what it holds. matplotlib is imported
here, and this module only when something is drawn.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any, Literal

import matplotlib as mpl
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from nwb_latents.pipeline.evaluation.figures.style import STYLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MM_PER_INCH = 25.4
WIDTHS_MM = {"one": 88.0, "two": 178.0}
TALLEST_MM = 235.0
"""What is higher than a page is drawn on smaller panels."""

GAP_MM = 2.0

Width = Literal["one", "two"]


class StyledFigure(Figure):
    """A figure that has the style of this project wherever it is drawn, and shows itself in a notebook."""

    def draw(self, renderer: Any) -> None:
        """Draw it: what is made while drawing, such as ticks, has the style too."""
        with mpl.rc_context(STYLE):
            super().draw(renderer)

    def savefig(self, *words: Any, **named: Any) -> None:
        """Write it, as any figure of matplotlib; text stays text in PDF and SVG."""
        with mpl.rc_context(STYLE):
            super().savefig(*words, **named)

    def _repr_png_(self) -> bytes:
        picture = io.BytesIO()
        self.savefig(picture, format="png", dpi=150, metadata={"Software": None})
        return picture.getvalue()


def styled_figure(size: tuple[float, float]) -> Any:
    """Return an empty figure of a size in inches, with its own canvas."""
    figure = StyledFigure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def page(*, width: Width, rows: int, columns: int, row_mm: float, **shared: Any) -> tuple[Any, Any]:
    """Return a figure of one or two columns of a journal, and its grid of panels.

    Parameters
    ----------
    width
        ``"one"`` (88 mm) or ``"two"`` (178 mm).
    rows, columns
        Of the grid.
    row_mm
        Height of a row of panels with their labels, mm. Captions and legends come on top (`settled`).
    shared
        ``sharex`` and ``sharey`` of the panels.
    """
    figure = styled_figure((WIDTHS_MM[width] / MM_PER_INCH, rows * row_mm / MM_PER_INCH))
    return figure, figure.subplots(rows, columns, squeeze=False, **shared)


def caption(figure: Any, *lines: str) -> None:
    """Say above the panels what they show, in lines no longer than the figure is wide."""
    words = [part for line in lines if line for part in wrapped(figure, line, size=STYLE["font.size"])]
    figure.suptitle("\n".join(words), x=0.005, ha="left", fontsize=STYLE["font.size"])


def wrapped(figure: Any, text: str, *, size: float, share: float = 0.98) -> list[str]:
    """Return a text as lines that fit on a share of the width of a figure."""
    return _broken(figure, text, size=size, room=share * figure.bbox.width)


def fitting(panel: Any, text: str, *, size: float | None = None) -> str:
    """Return a title or label broken into lines no wider than a panel's share of the figure."""
    grid = panel.get_subplotspec().get_gridspec()
    figure = panel.get_figure(root=False)
    room = 0.92 * figure.bbox.width / grid.ncols
    return "\n".join(
        part
        for line in text.split("\n")
        for part in _broken(figure, line, size=size or STYLE["axes.titlesize"], room=room)
    )


def _broken(figure: Any, text: str, *, size: float, room: float) -> list[str]:
    font = FontProperties(size=size)
    lines: list[str] = []
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and _width(figure, longer, font) > room:
            lines.append(word)
        else:
            lines[-1:] = [longer]
    return lines or [""]


def _width(figure: Any, text: str, font: FontProperties) -> float:
    renderer = figure.get_figure(root=True).canvas.get_renderer()
    # A context of all settings takes a millisecond, and words are measured by the hundred.
    before = mpl.rcParams["text.hinting"]
    mpl.rcParams["text.hinting"] = STYLE["text.hinting"]
    try:
        return float(renderer.get_text_width_height_descent(text, font, False)[0])  # noqa: FBT003
    finally:
        mpl.rcParams["text.hinting"] = before


def legend_below(figure: Any, handles: Sequence[Any], *, title: str = "") -> None:
    """Put the only legend of a figure below its panels, in as many columns as fit."""
    if not handles:
        return
    size = STYLE["legend.fontsize"]
    font = FontProperties(size=size)
    for handle in handles:
        handle.set_label("\n".join(wrapped(figure, handle.get_label(), size=size, share=0.9)))
    em = size * figure.dpi / 72
    widest = max(_width(figure, line, font) for h in handles for line in h.get_label().split("\n"))
    most = max(1, int(0.98 * figure.bbox.width / (widest + 4.2 * em)))
    rows = -(-len(handles) // most)
    named: dict[str, Any] = {"title": "\n".join(wrapped(figure, title, size=size))} if title else {}
    figure.legend(
        handles=handles,
        loc="outside lower left",
        ncols=-(-len(handles) // rows),
        handlelength=1.8,
        columnspacing=1.4,
        alignment="left",
        borderaxespad=0.2,
        **named,
    )


def settled(figure: Any) -> Any:
    """Return the figure with room for its caption and legend, no higher than a page."""
    renderer = figure.canvas.get_renderer()
    width, height = figure.get_size_inches()
    parts = [figure._suptitle] if figure._suptitle is not None else []
    parts += figure.legends
    extra = sum(part.get_window_extent(renderer).height for part in parts) / figure.dpi
    gaps = len(parts) * GAP_MM / MM_PER_INCH
    figure.set_size_inches(width, min(height + extra + gaps, TALLEST_MM / MM_PER_INCH))
    return figure


def line_handles(looks: Iterable[tuple[str, dict[str, Any]]]) -> list[Any]:
    """Return what a legend shows for lines of some names and looks."""
    from matplotlib.lines import Line2D  # noqa: PLC0415

    return [Line2D([], [], label=name, **look) for name, look in looks]
