"""Numbers of a comparison: means over sessions and seeds, with their interval and spread.

Cells are made of rows, not of tables of runs × sessions: where each session has runs of its own, such a table
is empty but for its diagonal, and grows with the square of the sessions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from numpy.typing import NDArray


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

    @property
    def has_interval(self) -> bool:
        """Whether an interval is to be shown: one of no width is of what no draw of trials changes.

        Examples
        --------
        >>> Cell(0.5, 0.4, 0.6, 0.0, 1).has_interval, Cell(0.5, 0.5, 0.5, 0.0, 1).has_interval
        (True, False)
        """
        return bool(self.high - self.low > _NO_WIDTH)


_NO_WIDTH = 1e-9
"""Intervals that are not wider are rounding."""


def cells_of(found: pd.DataFrame, cell_of: NDArray[np.integer]) -> list[Cell]:
    """Return the cells that measurements make.

    Parameters
    ----------
    found
        Measurements with the columns ``owner``, ``session``, ``seed``, ``value``, ``low`` and ``high``, one
        for each owner and session of a cell; values are not NaN, ends and seeds may be.
    cell_of
        Cell of each row, numbered from 0 on with none left out. Shape ``(row,)``.

    Returns
    -------
    cells
        In order of their number.

    Notes
    -----
    Sessions are independent: the half-widths of their intervals over trials add in quadrature and are divided
    by the number of sessions. Seeds share their trials: their half-widths are averaged. Where each session
    has runs of its own, as alignments are, those of one seed in all sessions are one repetition.

    Examples
    --------
    >>> import pandas as pd
    >>> found = pd.DataFrame({"owner": ["a", "b", "a"], "session": ["s", "s", "t"], "seed": [0, 1, 0],
    ...                       "value": [0.2, 0.4, 0.5], "low": [0.1, 0.3, 0.4], "high": [0.3, 0.5, 0.6]})
    >>> (cell,) = cells_of(found, np.zeros(3, dtype=int))
    >>> round(cell.value, 3), cell.n_sessions
    (0.4, 2)
    """
    owner, session = (found[name].to_numpy(dtype=str) for name in ("owner", "session"))
    codes = [np.unique(names, return_inverse=True)[1] for names in (owner, session)]
    order = np.lexsort((codes[1], codes[0], cell_of))
    numbers = [
        found[name].to_numpy(dtype=np.float64, na_value=np.nan) for name in ("value", "low", "high", "seed")
    ]
    columns = [*numbers, *codes]
    begins = np.flatnonzero(np.diff(cell_of[order], prepend=-1))
    parts = [np.split(column[order], begins[1:]) for column in columns]
    return [_cell(each[:4], *each[4:]) for each in zip(*parts, strict=True)]


def _cell(
    numbers: Sequence[NDArray[np.float64]],
    owner: NDArray[np.integer],
    session: NDArray[np.integer],
) -> Cell:
    """Return the cell of rows in order of owner and session."""
    value, low, high, seed = numbers
    sessions, session_of = np.unique(session, return_inverse=True)
    n = len(sessions)
    by_session, *widths = (
        _mean_over_seeds(each, session_of, n) for each in (value, value - low, high - value)
    )
    mean = float(by_session.mean())
    below, above = (float(np.sqrt(np.square(width).sum()) / n) for width in widths)
    _, n_of_owner = np.unique(owner, return_counts=True)
    of_all_sessions = value[np.repeat(n_of_owner == n, n_of_owner)].reshape(-1, n)
    if n > 1 and n_of_owner.max() == 1:
        of_all_sessions = _by_seed(value, seed, session_of, n)
    has_spread = len(of_all_sessions) > 1
    spread = float(of_all_sessions.mean(axis=1).std(ddof=1)) if has_spread else float("nan")
    return Cell(mean, mean - below, mean + above, spread, n)


def _by_seed(
    value: NDArray[np.float64], seed: NDArray[np.float64], session_of: NDArray[np.integer], n: int
) -> NDArray[np.float64]:
    """Return the values of the seeds that all sessions have once, shape ``(seed, session)``."""
    order = np.lexsort((session_of, seed))
    seeds, begins, number = np.unique(seed[order], return_index=True, return_counts=True)
    rows = [
        value[order][begin : begin + n]
        for each, begin, many in zip(seeds, begins, number, strict=True)
        if np.isfinite(each) and many == n == len(np.unique(session_of[order][begin : begin + many]))
    ]
    return np.array(rows).reshape(-1, n)


def _mean_over_seeds(
    rows: NDArray[np.float64], session_of: NDArray[np.integer], n: int
) -> NDArray[np.float64]:
    """Return the mean of each session over the rows that are known; NaN where none is."""
    known = np.isfinite(rows)
    number = np.bincount(session_of[known], minlength=n)
    total = np.bincount(session_of[known], rows[known], minlength=n)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)
