"""Leaderboards as tables that can be sorted by their numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nwb_latents.pipeline.evaluation.leaderboard_files import legend, protocol, table, title
from nwb_latents.pipeline.evaluation.report.content import BoardCellText, BoardPart

if TYPE_CHECKING:
    from nwb_latents.pipeline.evaluation.leaderboard import Board, Row


def board_part(board: Board) -> BoardPart:
    """Return a board as a table: what is read, and the numbers behind it, with all their digits.

    Parameters
    ----------
    board
        What was measured alike.
    """
    heads, rows = table(board)
    return BoardPart(
        title=title(board),
        protocol=tuple(protocol(board)),
        heads=tuple(heads),
        rows=tuple(_row(board, row, texts) for row, texts in zip(board.rows, rows, strict=True)),
        legend=tuple(legend(board)),
    )


def _row(board: Board, row: Row, texts: list[str]) -> tuple[BoardCellText, ...]:
    words = [BoardCellText(texts[0]), BoardCellText(texts[1], float(row.n_seeds))]
    for column, text in zip(board.columns, texts[2:], strict=True):
        cell = row.cells.get(column.key)
        words.append(BoardCellText(text, None if cell is None else cell.value, board.is_best(row, column)))
    return tuple(words)
