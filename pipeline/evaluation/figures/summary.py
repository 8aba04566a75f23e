"""One picture of all scores of a recipe: the R² of every session, source, run and decoder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.decoding.decoder import described
from nwb_latents.pipeline.evaluation.figures.marks import from_to, mark_beyond, plain
from nwb_latents.pipeline.evaluation.figures.source_looks import (
    COLOURS,
    LEAST_R2_SHOWN,
    colour_of,
    signal_label,
)
from nwb_latents.pipeline.evaluation.figures.style import MARKERS, STYLE

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from numpy.typing import NDArray

    from nwb_latents.schemas.measurement import Measurement

    FloatArray = NDArray[np.float64]

    Series = tuple[str, str, str]

MOST_SESSIONS_NAMED = 40

MOST_SERIES = 16


def summary_figure(scores: Sequence[Measurement], *, left_out: int = 0, also: Sequence[str] = ()) -> Any:
    """Draw the R² of every session, source, run and decoder; markers of the decoders are filled or open.

    Of several sessions, the top row has the mean over them and, of three or more, its 95 % interval
    (Student's t). Intervals over trials are drawn where the scores have them.

    Parameters
    ----------
    scores
        Scores of one metric, definition, split and lag. A score below −0.5 is an arrow at the left edge with
        its value beside it; one that is not defined is left out, and counted.
    left_out
        Scores of few-shot alignments that are not drawn (`without_alignments`); the picture says so.
    also
        What else the picture says, such as which numbers are stale and left out.

    Raises
    ------
    DataError
        If there is no score.
    """
    import matplotlib as mpl  # noqa: PLC0415

    from nwb_latents.pipeline.evaluation.figures.page import caption, legend_below, page, settled  # noqa: PLC0415

    if not scores:
        raise DataError("There are no scores to draw; decode at least one session first.")
    sessions = sorted({score.session for score in scores})
    row_of = {session: row for row, session in enumerate(reversed(sessions))}
    series = sorted({_series(score) for score in scores}, key=_series_order)
    runs = sorted({run for run, _, _ in series if run})
    offsets = np.linspace(0.32, -0.32, len(series)) if len(series) > 1 else np.zeros(1)
    has_mean = len(sessions) > 1
    n_rows = len(sessions) + has_mean
    row_mm = max(3.5, 1.4 * len(series) + 1.0) if len(sessions) <= MOST_SESSIONS_NAMED else 1.0
    handles = []
    with mpl.rc_context(STYLE):
        figure, grid = page(width="two", rows=1, columns=1, row_mm=min(12.0 + row_mm * n_rows, 190.0))
        panel = grid[0, 0]
        panel.set_xlim(min(0.0, _least(scores)) - 0.02, 1.02)
        panel.set_ylim(-0.6, n_rows - 0.4)
        for (run, source, decoder), offset in zip(series, offsets, strict=True):
            mine = [s for s in scores if _series(s) == (run, source, decoder) and s.value is not None]
            marker = MARKERS[(runs.index(run) + 1) % len(MARKERS)] if run else MARKERS[0]
            filled, colour = described(decoder).is_filled, colour_of(source)
            look: dict[str, Any] = {
                "color": colour,
                "marker": marker,
                "markerfacecolor": colour if filled else "white",
            }
            rows = np.array([row_of[s.session] + offset for s in mine])
            _draw_scores(panel, mine, rows, look)
            if has_mean:
                _draw_mean(panel, mine, len(sessions) + offset, look)
            label = signal_label(source, run, described(decoder))
            handles.append(mpl.lines.Line2D([], [], linestyle="none", label=label, markersize=4, **look))
        _name_sessions(panel, row_of, has_mean=has_mean)
        for row in range(1, n_rows if len(sessions) <= MOST_SESSIONS_NAMED else 0):
            panel.axhline(row - 0.5, color="0.9", linewidth=0.5, zorder=0)
        panel.axvline(0.0, color="0.6", linewidth=0.6, zorder=0)
        panel.grid(axis="x", color="0.9", linewidth=0.5)
        panel.set_axisbelow(True)
        one = scores[0]
        panel.set_xlabel(f"R² of hand velocity ({one.definition}), {one.lag_ms:g} ms after the activity")
        legend_below(figure, handles)
        crowd = f"Not drawn: {left_out} scores of few-shot alignments (pipeline plot few-shot)"
        caption(figure, *_title(scores), crowd if left_out else "", *also)
        return settled(figure)


def without_alignments(
    scores: Sequence[Measurement], aligned: Collection[str]
) -> tuple[list[Measurement], int]:
    """Leave out scores of few-shot alignments where there are too many sources to tell apart.

    Parameters
    ----------
    scores
        As in `summary_figure`.
    aligned
        Names of runs that alignment made of others.

    Returns
    -------
    scores, left_out
        Those that are drawn, and how many are not.
    """
    others = [score for score in scores if score.run not in aligned]
    if len({_series(score) for score in scores}) <= MOST_SERIES or not others:
        return list(scores), 0
    return others, len(scores) - len(others)


def _name_sessions(panel: Any, row_of: dict[str, int], *, has_mean: bool) -> None:
    n, mean = len(row_of), f"mean of {len(row_of)} sessions"
    names = row_of if n <= MOST_SESSIONS_NAMED else {}
    ticks = {**names, **({mean: n} if has_mean else {})}
    panel.set_yticks(list(ticks.values()), list(ticks))
    if not names:
        panel.set_ylabel(f"{n} sessions, by name")


def _series(score: Measurement) -> Series:
    return score.run or "", score.source, score.decoder or ""


def _series_order(series: Series) -> tuple[str, int, str]:
    names = list(COLOURS)
    return series[0], names.index(series[1]) if series[1] in names else len(names), series[2]


def _least(scores: Sequence[Measurement]) -> float:
    ends = [end for s in scores for end in (s.value, s.low) if end is not None]
    return max(min(ends, default=0.0), LEAST_R2_SHOWN)


def _draw_scores(panel: Any, scores: Sequence[Measurement], rows: FloatArray, look: dict[str, Any]) -> None:
    values = np.array([s.value for s in scores], dtype=np.float64)
    edge = panel.get_xlim()[0]
    inside = values >= edge
    panel.plot(values[inside], rows[inside], linestyle="none", markersize=4, **look)
    for score, row in zip(scores, rows, strict=True):
        if score.low is not None and score.high is not None and score.high > edge:
            panel.hlines(row, max(score.low, edge), score.high, color=look["color"], linewidth=0.8)
    mark_beyond(panel, values, rows, axis="x", color=look["color"])
    for value, row in zip(values[~inside], rows[~inside], strict=True):
        panel.annotate(
            plain(float(value)),
            (edge, row),
            xytext=(5, 0),
            textcoords="offset points",
            va="center",
            fontsize=6,
            color=look["color"],
        )


def _draw_mean(panel: Any, scores: Sequence[Measurement], row: float, look: dict[str, Any]) -> None:
    from scipy.stats import t as student  # noqa: PLC0415

    values = np.array([s.value for s in scores], dtype=np.float64)
    if not len(values):
        return
    edge, mean = panel.get_xlim()[0], float(values.mean())
    if len(values) > 2:
        half = float(student.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
        low, high = mean - half, mean + half
        if high > edge:
            panel.hlines(row, max(low, edge), min(high, 1.02), color=look["color"], linewidth=1.0)
        mark_beyond(panel, [low], [row], axis="x", color=look["color"])
    if mean >= edge:
        panel.plot([mean], [row], linestyle="none", markersize=5, **look)
    else:
        mark_beyond(panel, [mean], [row], axis="x", color=look["color"])


def _title(scores: Sequence[Measurement]) -> tuple[str, ...]:
    n_sessions = len({score.session for score in scores})
    trials = from_to([score.n_trials for score in scores])
    undefined = sum(score.value is None for score in scores)
    plural = "session" if n_sessions == 1 else "sessions"
    lines = [f"{n_sessions} {plural}, {trials} {scores[0].split} trials each, {scores[0].definition}"]
    if undefined:
        lines[0] += f"; {undefined} scores undefined and left out"
    if n_sessions > 1:
        lines.append(
            "Lines: 95 % interval of the mean over sessions (Student's t), of three or more; arrows: "
            "beyond the edge"
        )
    elif any(score.low is not None for score in scores):
        lines.append("Lines: intervals over trials")
    return tuple(lines)
