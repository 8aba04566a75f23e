"""A board as points with their intervals: one panel per metric, one line per model."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np

from nwb_latents.pipeline.evaluation.figures.marks import BEYOND
from nwb_latents.pipeline.evaluation.figures.saving import picture_bytes
from nwb_latents.pipeline.evaluation.figures.style import COLOURS, STYLE

if TYPE_CHECKING:
    from nwb_latents.pipeline.evaluation.leaderboard import Board, Column

LEAST_SHOWN = -1.0
"""Where more is better, worse values are drawn at the edge, as an arrow: one failed model would flatten all
others."""


MOST_COLUMNS = 4

DPI = 100
"""A page has no images in its pictures; the resolution decides nothing."""


def draw_board(board: Board) -> str:
    """Return the picture of a board (`board_figure`) as an SVG element."""
    text = picture_bytes(board_figure(board), "svg", dpi=DPI).decode()
    return text[text.index("<svg") :]


def board_figure(board: Board) -> Any:
    """Draw a board: one panel per metric, one line per model, points with their intervals.

    Rows are in the order of the board, the best on top; baselines are grey. Better is always further right:
    where less is better, the axis is turned round. Values below −1, where more is better, are shown as an
    arrow at the left edge. Under the axis of each metric stands what was fitted on what.
    """
    import matplotlib as mpl  # noqa: PLC0415

    from nwb_latents.pipeline.evaluation.figures.page import page, settled  # noqa: PLC0415

    n = max(len(board.columns), 1)
    columns = min(n, MOST_COLUMNS)
    rows = -(-n // columns)
    with mpl.rc_context(STYLE):
        row_mm = 30.0 + 5.0 * len(board.rows)
        figure, grid = page(width="two", rows=rows, columns=columns, row_mm=row_mm, sharey=True)
        panels = grid.ravel()
        for panel, column in zip(panels, board.columns, strict=False):
            _draw_column(panel, board, column)
        for panel in panels[max(len(board.columns), 1) :]:
            panel.set_visible(False)
        for row in grid:
            row[0].set_yticks(range(len(board.rows)), [each.label for each in board.rows])
        grid[0, 0].set_ylim(len(board.rows) - 0.5, -0.5)
        return settled(figure)


def _draw_column(panel: Any, board: Board, column: Column) -> None:
    least = LEAST_SHOWN if column.metric.better == "more" else -np.inf
    for height, row in enumerate(board.rows):
        cell = row.cells.get(column.key)
        if cell is None:
            continue
        colour = COLOURS[6] if row.is_baseline else COLOURS[0]
        if cell.value < least:
            panel.plot(least, height, "<", color=colour, markersize=4, clip_on=False, gid=BEYOND)
            continue
        if cell.has_interval:
            panel.hlines(height, max(cell.low, least), cell.high, color=colour, linewidth=1.2)
        panel.plot(cell.value, height, "o", color=colour, markersize=3.5)
    panel.axvline(0.0, color="0.6", linewidth=0.6, zorder=0)
    panel.grid(axis="x", color="0.9", linewidth=0.5)
    panel.set_axisbelow(True)
    panel.tick_params(axis="y", length=0)
    panel.set_title(column.title, loc="left")
    words = textwrap.wrap(column.protocol, 30)
    panel.set_xlabel("\n".join([column.metric.shown_unit, *words]))
    if column.metric.better == "less":
        panel.invert_xaxis()
