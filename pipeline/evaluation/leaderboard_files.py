"""A leaderboard as CSV, Markdown and a self-contained HTML page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.evaluation.current_evaluations import current_evaluations
from nwb_latents.pipeline.evaluation.escaped_text import for_csv, for_markdown
from nwb_latents.pipeline.evaluation.leaderboard import in_dandisets
from nwb_latents.pipeline.evaluation.row_details import told_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from nwb_latents.pipeline.evaluation.leaderboard import Board, Column, Row
    from nwb_latents.pipeline.evaluation.leaderboard_cells import Cell

NONE = "–"
BASELINE, ONLY_FORECASTS, TOLD = "*", "†", "‡"
"""Marks behind the label of a row."""

_COLUMNS = (
    "dandiset", "session", "recipe_id", "store_key", "split", "source", "run", "run_key", "label", "group",
    "is_baseline", "seed", "name", "definition", "unit", "value", "low", "high", "level", "n_resamples",
    "decoder", "fitted_on", "lag_ms", "seen_bins", "bins", "units", "n_trials", "n_units", "n_heldout",
    "told", "reason", "settings_digest", "program", "time",
)  # fmt: skip


def number(value: float, *, signed: bool = False) -> str:
    """Return a value to three digits, with a true minus sign.

    Examples
    --------
    >>> number(-0.01234), number(0.5, signed=True), number(float("nan"))
    ('−0.012', '+0.500', '–')
    """
    if not np.isfinite(value):
        return NONE
    return f"{value:+.3f}".replace("-", "−") if signed else f"{value:.3f}".replace("-", "−")


def spread(value: float) -> str:
    """Return half a width or a deviation; one that rounds to nothing is not shown as none.

    Examples
    --------
    >>> spread(0.0126), spread(0.0002), spread(0.0)
    ('±0.013', '±<0.001', '±0.000')
    """
    return "±<0.001" if 0 < value < _ROUNDS_TO_NONE else f"±{number(value)}"


_ROUNDS_TO_NONE = 0.0005


def cell_text(cell: Cell | None, *, n_sessions: int) -> str:
    """Return value, interval over trials, deviation over seeds, and the sessions if not all.

    Examples
    --------
    >>> from nwb_latents.pipeline.evaluation.leaderboard_cells import Cell
    >>> cell_text(Cell(0.5, 0.4, 0.6, 0.01, 2), n_sessions=3)
    '0.500 [0.400, 0.600] ±0.010 (2 of 3)'
    """
    if cell is None:
        return NONE
    text = number(cell.value)
    if cell.has_interval:
        text += f" [{number(cell.low)}, {number(cell.high)}]"
    if np.isfinite(cell.seed_sd):
        text += f" {spread(cell.seed_sd)}"
    return text if cell.n_sessions == n_sessions else f"{text} ({cell.n_sessions} of {n_sessions})"


def short_text(cell: Cell | None, *, n_sessions: int) -> str:
    """Return value and half of the interval over trials, for a terminal.

    Examples
    --------
    >>> from nwb_latents.pipeline.evaluation.leaderboard_cells import Cell
    >>> short_text(Cell(0.5, 0.4, 0.62, 0.01, 3), n_sessions=3)
    '0.500 ±0.110'
    """
    if cell is None:
        return NONE
    half = (cell.high - cell.low) / 2
    text = f"{number(cell.value)} {spread(half)}" if cell.has_interval else number(cell.value)
    return text if cell.n_sessions == n_sessions else f"{text} ({cell.n_sessions})"


def head(column: Column) -> str:
    """Return the heading of a column.

    Examples
    --------
    >>> from nwb_latents.pipeline.evaluation.leaderboard import Column
    >>> from nwb_latents.pipeline.evaluation.metrics.known import metric_called
    >>> head(Column("co_bps", metric_called("co_bps"), "reconstruction"))
    'co-smoothing, own read-out (bits/spike)'
    """
    unit = column.metric.shown_unit
    return f"{column.title} ({unit})" if unit else column.title


def table(board: Board, *, is_short: bool = False) -> tuple[list[str], list[list[str]]]:
    """Return the heads and rows of a board as text.

    Parameters
    ----------
    board
        What to show.
    is_short
        For a terminal: no units, and half of the interval in place of its ends.
    """
    heads = ["model", "seeds", *(each.title if is_short else head(each) for each in board.columns)]
    text = short_text if is_short else cell_text
    rows = [
        [
            marked(row),
            NONE if row.is_baseline else str(row.n_seeds),
            *(text(row.cells.get(each.key), n_sessions=len(board.sessions)) for each in board.columns),
        ]
        for row in board.rows
    ]
    return heads, rows


def marked(row: Row) -> str:
    """Return the label of a row with its marks: baseline, only forecasts, told something."""
    marks = [
        mark
        for mark, has in (
            (BASELINE, row.is_baseline),
            (ONLY_FORECASTS, row.only_forecasts),
            (TOLD, bool(row.told)),
        )
        if has
    ]
    return f"{row.label} {''.join(marks)}" if marks else row.label


def title(board: Board) -> str:
    """Return what a board is of, in one line."""
    n = len(board.sessions)
    sessions = board.sessions[0] if n == 1 else f"{n} sessions"
    origin = "files" if board.dandiset == "files" else f"dandiset {board.dandiset}"
    return f"{origin}, {sessions}, recipe {board.recipe_id}, {board.phase} trials"


def protocol(board: Board) -> list[str]:
    """Return what was fitted on what, a line for each column of which there is something to say.

    It stands under the title of every board.
    """
    told = [f"{row.label}: {', '.join(row.told)}" for row in board.rows if row.told]
    return [
        *(f"{column.title}: {column.protocol}" for column in board.columns if column.protocol),
        *([f"{TOLD} is told more than spikes it may see: {'; '.join(told)}"] if told else []),
    ]


def legend(board: Board, *, is_short: bool = False) -> list[str]:
    """Return what the numbers of a board are, a sentence each."""
    lines = [f"{head(column)}: {column.metric.meaning}" for column in board.columns]
    spread = ", measured without intervals"
    if np.isfinite(board.level):
        interval = f"{board.level:.0%} interval over trials"
        spread = f" ± half of the {interval}" if is_short else f" [{interval}] ± deviation over seeds"
    order = [column.title for column in board.columns if column.key == board.ranked_by]
    less = [column.title for column in board.columns if column.metric.better == "less"]
    words = [
        f"Means over sessions{spread}",
        f"{BASELINE} baseline",
        *([f"{ONLY_FORECASTS} only forecasts"] if any(row.only_forecasts for row in board.rows) else []),
        *(["no interval: no draw of trials changes it"] if _any_without_interval(board) else []),
        *(["bold: the best run"] if not is_short else []),
        *(f"ordered by {title}" for title in order),
        f"less is better in {', '.join(less)}, more in all others" if less else "more is better",
    ]
    return ["; ".join(words) + ".", *lines]


def _any_without_interval(board: Board) -> bool:
    """Whether intervals were taken, and one of them has no width."""
    if not np.isfinite(board.level):
        return False
    return any(not cell.has_interval for row in board.rows for cell in row.cells.values())


def as_csv(measured: pd.DataFrame, *, dandisets: Mapping[tuple[str, str], str]) -> str:
    """Return one line per session, source and metric, with nothing averaged.

    Parameters
    ----------
    measured
        Measurements with all columns, in order of time; those that count are written.
    dandisets
        Session id and recipe id → dandiset.
    """
    current = current_evaluations(measured)
    text: str = (
        current.assign(
            dandiset=in_dandisets(current, dandisets), told=[told_of(said) for said in current["details"]]
        )
        .sort_values(["session", "recipe_id", "split", "is_baseline", "owner"], kind="stable")
        .map(lambda value: for_csv(value) if isinstance(value, str) else value)
        .to_csv(columns=list(_COLUMNS), index=False, lineterminator="\n")
    )
    return text


def as_markdown(made: Sequence[Board], *, stale: str = "") -> str:
    """Return one table per board, and at the end what was left out as stale."""
    parts = []
    for board in made:
        heads, rows = table(board)
        shown = [
            [f"**{text}**" if is_best else text for text, is_best in zip(row, best, strict=True)]
            for row, best in zip(
                [[for_markdown(row[0]), *row[1:]] for row in rows], _best(board), strict=True
            )
        ]
        lines = [[for_markdown(text) for text in heads], ["---"] * len(heads), *shown]
        grid = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        under = "".join(f"{for_markdown(line)}  \n" for line in protocol(board))
        notes = "\n".join(f"- {for_markdown(line)}" for line in legend(board))
        parts.append(f"## {for_markdown(title(board))}\n\n{under}\n{grid}\n\n{notes}\n")
    return "\n".join([*parts, *([f"{for_markdown(stale)}.\n"] if stale else [])])


def as_html(made: Sequence[Board], *, stale: str = "") -> str:
    """Return a page that needs nothing else: tables, and one picture of points and intervals per board."""
    from jinja2 import Environment  # noqa: PLC0415

    from nwb_latents.pipeline.evaluation.figures.leaderboard import draw_board  # noqa: PLC0415

    page = Environment(autoescape=True).from_string(_PAGE)
    shown = [
        {
            "title": title(board),
            "protocol": protocol(board),
            "heads": table(board)[0],
            "rows": [
                list(zip(row, best, strict=True))
                for row, best in zip(table(board)[1], _best(board), strict=True)
            ],
            "legend": legend(board),
            "picture": draw_board(board),
        }
        for board in made
    ]
    return page.render(boards=shown, stale=stale)


def _best(board: Board) -> list[list[bool]]:
    """Whether each text of each row of `table` is that of the best run."""
    return [[False, False, *(board.is_best(row, column) for column in board.columns)] for row in board.rows]


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Leaderboard</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; color: #222; margin: 2rem auto; max-width: 76rem; padding: 1rem }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin-top: 2.5rem; margin-bottom: .2rem }
.protocol { color: #555; margin: 0 0 1rem }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .3rem .8rem .3rem 0; text-align: left; border-bottom: 1px solid #ddd; white-space: nowrap }
th { font-weight: 600 } ul { color: #555; padding-left: 1.2rem }
svg { max-width: 100%; height: auto }
</style>
</head>
<body>
<h1>Leaderboard</h1>
{% for board in boards %}
<section>
<h2>{{ board.title }}</h2>
<p class="protocol">{% for line in board.protocol %}{{ line }}{% if not loop.last %}<br>
{% endif %}{% endfor %}</p>
<div class="wide">
<table>
<thead><tr>{% for head in board.heads %}<th scope="col">{{ head }}</th>{% endfor %}</tr></thead>
<tbody>
{% for row in board.rows %}<tr>
{%- for text, is_best in row %}<td>{% if is_best %}<b>{{ text }}</b>{% else %}{{ text }}{% endif %}</td>
{%- endfor %}</tr>
{% endfor %}</tbody>
</table>
</div>
{{ board.picture | safe }}
<ul>{% for line in board.legend %}<li>{{ line }}</li>{% endfor %}</ul>
</section>
{% endfor %}
{% if stale %}<p>{{ stale }}.</p>{% endif %}
</body>
</html>
"""
