"""What holds for every figure, read from the figure itself."""

from __future__ import annotations

import re

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from matplotlib.text import Text

from nwb_latents.pipeline.evaluation.figures.marks import BEYOND

MM = 25.4
ONE_COLUMN_MM, TWO_COLUMNS_MM = (85.0, 90.0), (170.0, 180.0)
SMALLEST_PT = 6.0

# Machado, Oliveira and Fernandes 2009, severity 1, on linear RGB.
SEEN_BY = {
    "full trichromats": np.eye(3),
    "protanopes": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopes": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
}
TO_XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
WHITE = np.array([0.95047, 1.0, 1.08883])


def as_lab(colour, seen):
    """Return a colour in CIELAB, as it is seen."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = TO_XYZ @ np.clip(seen @ linear, 0, 1) / WHITE
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def least_distance(colours, seen):
    """Return how far apart the two most alike of some colours are (CIE 1976)."""
    labs = [as_lab(colour, seen) for colour in dict.fromkeys(map(to_rgb, colours))]
    return min(
        float(np.linalg.norm(a - b)) for i, a in enumerate(labs) for b in labs[i + 1 :]
    )  # fmt: skip


def panels_of(figure):
    """Return the panels that show something, without colour bars."""
    return [
        axes
        for axes in figure.axes
        if axes.get_visible() and axes.axison and axes.get_label() != "<colorbar>"
    ]


def caption_of(figure):
    """Return what stands above the panels, on one line."""
    return figure._suptitle.get_text().replace("\n", " ").replace("\u00a0", " ")


def words_of(figure):
    """Return all the words in the figure."""
    figure.draw_without_rendering()
    return " | ".join(text.get_text() for text in figure.findobj(Text)).replace("\n", " ")


def check_size(figure):
    width, height = (MM * side for side in figure.get_size_inches())
    assert any(low <= width <= high for low, high in (ONE_COLUMN_MM, TWO_COLUMNS_MM)), width
    assert height <= 235.5


def check_fonts(figure):
    sizes = [text.get_fontsize() for text in figure.findobj(Text) if text.get_text().strip()]
    assert min(sizes) >= SMALLEST_PT


def check_words(figure):
    """A number of trials, sessions or the like is said, and axes with numbers have a quantity."""
    assert re.search(r"\d+ (\w+ )?(trial|session|run|member|seed)|n = \d+", words_of(figure))
    for panel in panels_of(figure):
        beside = [other for other in panel._shared_axes["x"].get_siblings(panel) if other.get_visible()]
        if len(panel.get_xticks()) and panel.xaxis.get_tick_params().get("labelbottom", True):
            assert any(other.get_xlabel() for other in beside), panel.get_title(loc="left")


def check_inside_page(figure):
    """No text hangs over the edge of the page."""
    figure.draw_without_rendering()
    renderer, (right, top) = figure.canvas.get_renderer(), figure.bbox.size
    ticks, shown = set(), set()
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            ticks |= {label for tick in (*axis.majorTicks, *axis.minorTicks) for label in _labels(tick)}
            if axes.get_visible() and axes.axison:
                shown |= {label for tick in axis._update_ticks() for label in _labels(tick)}
    for text in set(figure.findobj(Text)) - (ticks - shown):
        if text.get_visible() and text.get_text().strip() and (text.axes is None or text.axes.get_visible()):
            box = text.get_window_extent(renderer)
            assert min(box.x0, box.y0) >= -2, text.get_text()
            assert box.x1 <= right + 2, text.get_text()
            assert box.y1 <= top + 2, text.get_text()


def _labels(tick):
    return tick.label1, tick.label2


def check_nothing_clipped(figure):
    """A line that leaves its panel has arrows at the edge."""
    for panel in panels_of(figure):
        arrows = [line for line in panel.lines if line.get_gid() == BEYOND]
        limits = np.sort([panel.get_xlim(), panel.get_ylim()])
        room = 1e-6 * np.diff(limits)
        for line in panel.lines:
            if line.get_gid() == BEYOND or line.get_transform() != panel.transData or not line.get_clip_on():
                continue
            points = np.asarray(line.get_xydata(), dtype=np.float64).reshape(-1, 2)
            points = points[np.isfinite(points).all(axis=1)]
            inside = (points >= limits[:, 0] - room[:, 0]) & (points <= limits[:, 1] + room[:, 0])
            assert inside.all() or arrows, (panel.get_title(loc="left"), points[~inside.all(axis=1)][:3])


def check_rows(figure, *, axis="y"):
    """Panels of a row have the same limits."""
    rows = {}
    for panel in panels_of(figure):
        spec = panel.get_subplotspec()
        rows.setdefault((id(spec.get_gridspec()), spec.rowspan.start), []).append(panel)
    for panels in rows.values():
        limits = {tuple(np.round(getattr(p, f"get_{axis}lim")(), 9)) for p in panels}
        assert len(limits) == 1, limits


def legend_labels(figure):
    """Return the labels of the legend below the panels."""
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def colours_drawn(figure):
    """Return the colours of the lines in the panels, but for black, white and greys."""
    found = set()
    for panel in panels_of(figure):
        for line in panel.findobj(Line2D):
            colour = to_rgb(line.get_color())
            if max(colour) - min(colour) > 0.02 and len(line.get_xdata()):
                found.add(colour)
    return found


EVERY = (check_size, check_fonts, check_words, check_inside_page, check_nothing_clipped)


def check(figure):
    """Check what holds for every figure."""
    for rule in EVERY:
        rule(figure)
    return figure
