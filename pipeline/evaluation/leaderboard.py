"""Comparison of models and baselines over sessions, from the evaluations in a catalog.

One board per dandiset, recipe, phase and settings: only what was measured alike stands side by side.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.schemas.evaluation import METRICS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nwb_latents.schemas.evaluation import MetricName
    from nwb_latents.schemas.results import Evaluation, MetricValue


FALLBACK: MetricName = "velocity_r2"
"""Orders a board without any metric."""


@dataclass(frozen=True)
class Cell:
    """A metric of one row: mean over sessions of the mean over seeds.

    Attributes
    ----------
    value
        The mean.
    low, high
        Interval over trials of all sessions; NaN where a session has none.
    seed_sd
        Standard deviation over seeds of the mean over sessions; NaN with fewer than two seeds.
    n_sessions
        Sessions the metric is defined for.
    """

    value: float
    low: float
    high: float
    seed_sd: float
    n_sessions: int


@dataclass(frozen=True)
class Row:
    """A baseline, or all runs that differ in their seed alone.

    Attributes
    ----------
    label
        Name shown.
    is_baseline
        Whether it is a baseline.
    sources
        Names of the runs, or the baseline's.
    n_sessions
        Sessions it was evaluated on.
    cells
        By metric; without those it has for no session.
    """

    label: str
    is_baseline: bool
    sources: tuple[str, ...]
    n_sessions: int
    cells: Mapping[MetricName, Cell]


@dataclass(frozen=True)
class Board:
    """What was measured alike.

    Attributes
    ----------
    dandiset
        Dandiset the sessions come from, ``"files"`` where they were read from a folder.
    recipe_id, phase, settings_digest
        How it was measured.
    sessions
        Ids of all sessions in it.
    metrics
        Those at least one row has, in the order of `METRICS`.
    rows
        Best first, by `ranked_by`; rows without it last, rows of fewer sessions after those of all.
    ranked_by
        Metric of the order.
    level
        Share of resamples the intervals hold.
    """

    dandiset: str
    recipe_id: str
    phase: str
    settings_digest: str
    sessions: tuple[str, ...]
    metrics: tuple[MetricName, ...]
    rows: tuple[Row, ...]
    ranked_by: MetricName
    level: float


def boards(
    evaluations: Iterable[Evaluation],
    *,
    dandisets: Mapping[tuple[str, str], str] | None = None,
    ranked_by: MetricName | None = None,
) -> list[Board]:
    """Put side by side what was measured alike.

    Parameters
    ----------
    evaluations
        Of any runs, baselines and sessions.
    dandisets
        Session id and recipe id → dandiset; what is not in it comes from files.
    ranked_by
        Metric by which rows are ordered; default: the first of `METRICS` that a run has.

    Returns
    -------
    boards
        In order of dandiset, recipe, phase, settings.

    Raises
    ------
    DataError
        If there are no evaluations, or none has `ranked_by`.

    Notes
    -----
    Sessions are independent: the half-widths of their intervals over trials add in quadrature and are divided
    by the number of sessions. Seeds share their trials: their half-widths are averaged.
    """
    places = dandisets or {}
    alike: dict[tuple[str, str, str, str], list[Evaluation]] = defaultdict(list)
    for each in evaluations:
        where = places.get((each.session, each.recipe_id), "files")
        alike[where, each.recipe_id, each.phase, each.settings_digest].append(each)
    if not alike:
        raise DataError("Nothing was evaluated yet. Run `pipeline run evaluate` first.")
    made = [_board(key, mine, ranked_by) for key, mine in sorted(alike.items())]
    if ranked_by is not None and not any(ranked_by in board.metrics for board in made):
        has = ", ".join(dict.fromkeys(name for board in made for name in board.metrics))
        raise DataError(f"No evaluation has the metric {ranked_by}; they have: {has or 'none'}.")
    return made


def _board(
    key: tuple[str, str, str, str], evaluations: list[Evaluation], ranked_by: MetricName | None
) -> Board:
    groups: dict[tuple[bool, str], list[Evaluation]] = defaultdict(list)
    for each in evaluations:
        groups[each.is_baseline, each.group].append(each)
    labels = _labels(groups)
    rows = [_row(labels[group], mine) for group, mine in groups.items()]
    metrics = tuple(name for name in METRICS if any(name in row.cells for row in rows))
    of_runs = [name for name in metrics if any(name in row.cells for row in rows if not row.is_baseline)]
    order = next(iter(of_runs or metrics), FALLBACK) if ranked_by is None else ranked_by
    sessions = tuple(sorted({each.session for each in evaluations}))

    def rank(row: Row) -> tuple[bool, bool, float]:
        cell = row.cells.get(order)
        return (cell is None, row.n_sessions < len(sessions), -cell.value if cell else 0.0)

    return Board(
        *key,
        sessions=sessions,
        metrics=metrics,
        rows=tuple(sorted(rows, key=rank)),
        ranked_by=order,
        level=evaluations[0].level,
    )


def _labels(groups: Mapping[tuple[bool, str], Sequence[Evaluation]]) -> dict[tuple[bool, str], str]:
    """Name each group; where several would be called alike, by the first of their runs too."""
    plain = {key: mine[0].label for key, mine in groups.items()}
    names = list(plain.values())
    return {
        key: label if names.count(label) == 1 else f"{label} ({min(each.source for each in groups[key])})"
        for key, label in plain.items()
    }


def _row(label: str, evaluations: Sequence[Evaluation]) -> Row:
    cells: dict[MetricName, Cell] = {}
    for name in METRICS:
        found = {
            (each.source, each.session): each.metrics[name]
            for each in evaluations
            if name in each.metrics and each.metrics[name].value is not None
        }
        if found:
            cells[name] = _cell(found)
    return Row(
        label=label,
        is_baseline=evaluations[0].is_baseline,
        sources=tuple(sorted({each.source for each in evaluations})),
        n_sessions=len({each.session for each in evaluations}),
        cells=cells,
    )


def _cell(found: Mapping[tuple[str, str], MetricValue]) -> Cell:
    sources, sessions = (sorted({key[i] for key in found}) for i in (0, 1))
    table = np.full((3, len(sources), len(sessions)), np.nan)
    for (source, session), metric in found.items():
        place = sources.index(source), sessions.index(session)
        value = metric.value if metric.value is not None else np.nan
        low, high = (np.nan if end is None else end for end in (metric.low, metric.high))
        table[:, place[0], place[1]] = value, value - low, high - value
    by_session = np.nanmean(table[0], axis=0)
    value = float(by_session.mean())
    # A mean over no seed cannot be: every session in the table has one. Intervals may all be missing.
    widths = [_mean_over_seeds(part) for part in table[1:]]
    below, above = (float(np.sqrt(np.square(width).sum()) / len(sessions)) for width in widths)
    complete = table[0][np.isfinite(table[0]).all(axis=1)]
    spread = float(complete.mean(axis=1).std(ddof=1)) if len(complete) > 1 else float("nan")
    return Cell(value, value - below, value + above, spread, len(sessions))


def _mean_over_seeds(widths: np.ndarray) -> np.ndarray:
    known = np.isfinite(widths)
    number = known.sum(axis=0)
    total = np.where(known, widths, 0.0).sum(axis=0)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)
