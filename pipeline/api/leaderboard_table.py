"""Leaderboards as one pandas table."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from nwb_latents.pipeline.evaluation.leaderboard_files import legend, protocol, title

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nwb_latents.pipeline.evaluation.leaderboard import Board, Row

PARTS = ("low", "high", "seed_sd")


def board_table(boards: Sequence[Board]) -> pd.DataFrame:
    """Return leaderboards as one table, one below the other; `attrs["legend"]` says what the numbers are."""
    metrics = list(dict.fromkeys(column.key for board in boards for column in board.columns))
    rows = [_cells(board, row) for board in boards for row in board.rows]
    table = pd.DataFrame(rows)
    details = [f"{name}_{part}" for name in metrics for part in PARTS]
    about = [name for name in table if name not in {*metrics, *details}]
    table = table.reindex(columns=[*about, *metrics, *details])
    table.attrs["legend"] = {title(board): [*protocol(board), *legend(board)] for board in boards}
    return table


def _cells(board: Board, row: Row) -> dict[str, object]:
    out: dict[str, object] = {
        "model": row.label,
        "is_baseline": row.is_baseline,
        "told": "; ".join(row.told),
        "only_forecasts": row.only_forecasts,
        "n_seeds": row.n_seeds,
        "n_sessions": row.n_sessions,
        "dandiset": board.dandiset,
        "recipe_id": board.recipe_id,
        "phase": board.phase,
        "settings_digest": board.settings_digest,
    }
    for name, cell in row.cells.items():
        out[name] = cell.value
        out |= {f"{name}_{part}": getattr(cell, part) for part in PARTS}
    return out
