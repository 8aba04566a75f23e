"""Tables of a study: what each level of a factor is worth, over everything else, seeds as spread.

Runs are compared within what was done with them, e.g. trained on some sessions, or aligned to others with
some trials: numbers of different tasks are not averaged. Within that, the levels of a factor are compared
over the combinations, and the seeds of each, that all of them have.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

SETTING = "setting"
"""What was done: the column of the table of numbers within which levels are compared."""


@dataclass(frozen=True)
class FactorCell:
    """A metric of one level in one setting.

    Attributes
    ----------
    value
        Mean over seeds of the mean over runs and sessions.
    seed_sd
        Standard deviation over seeds; NaN of fewer than two.
    n_seeds, n_sessions
        How many there are.
    """

    value: float
    seed_sd: float
    n_seeds: int
    n_sessions: int


@dataclass(frozen=True)
class FactorTable:
    """What the levels of one factor are worth.

    Attributes
    ----------
    factor
        Its name.
    levels
        Its levels, in order.
    columns
        Setting and metric of each column.
    cells
        (level, setting, metric) → number; without those that are not there.
    left_out
        Setting and metric → combinations of everything else, session and seed included, that not all levels
        have, and that are left out for it.
    """

    factor: str
    levels: tuple[str, ...]
    columns: tuple[tuple[str, str], ...]
    cells: Mapping[tuple[str, str, str], FactorCell]
    left_out: Mapping[tuple[str, str], int]


def factor_tables(
    numbers: pd.DataFrame, factors: Mapping[str, Sequence[str]], metrics: Sequence[str]
) -> list[FactorTable]:
    """Return a table for each factor that has several levels.

    Parameters
    ----------
    numbers
        One row for each number: the columns ``setting``, ``metric``, ``session``, ``seed``, ``value`` (NaN
        where it is not defined) and one for each factor, with the level, or ``""`` where it has none.
    factors
        Factor → its levels, in the order of tables.
    metrics
        Metrics, in the order of columns.

    Returns
    -------
    tables
        In order of `factors`.

    Examples
    --------
    >>> import pandas as pd
    >>> rows = [("trained", "r2", "s", seed, 0.1 * width + 0.01 * seed, str(width), lr)
    ...         for seed in (0, 1) for width in (1, 2) for lr in ("low", "high")]
    >>> numbers = pd.DataFrame(rows, columns=["setting", "metric", "session", "seed", "value", "width", "lr"])
    >>> width, _ = factor_tables(numbers, {"width": ["1", "2"], "lr": ["low", "high"]}, ["r2"])
    >>> [round(width.cells[level, "trained", "r2"].value, 3) for level in width.levels]
    [0.105, 0.205]
    """
    there = numbers[numbers["value"].notna()]
    made = []
    for factor, levels in factors.items():
        mine = there[there[factor] != ""]
        present = [level for level in levels if level in set(mine[factor])]
        if len(present) < 2:
            continue
        others = [name for name in factors if name != factor]
        cells: dict[tuple[str, str, str], FactorCell] = {}
        left_out: dict[tuple[str, str], int] = {}
        settings = list(dict.fromkeys(numbers[SETTING]))
        columns = [(setting, metric) for setting in settings for metric in metrics]
        for setting, metric in columns:
            some = mine[(mine[SETTING] == setting) & (mine["metric"] == metric)]
            here = [level for level in present if level in set(some[factor])]
            if len(here) < 2:
                continue
            shared, n_out = _shared_by_all(some, factor, len(here), [*others, "session", "seed"])
            if n_out:
                left_out[setting, metric] = n_out
            cells |= {
                (level, setting, metric): _cell(shared[shared[factor] == level])
                for level in here
                if (shared[factor] == level).any()
            }
        kept = tuple(column for column in columns if any(key[1:] == column for key in cells))
        if kept:
            made.append(FactorTable(factor, tuple(present), kept, cells, left_out))
    return made


def _shared_by_all(
    some: pd.DataFrame, factor: str, n_levels: int, others: Sequence[str]
) -> tuple[pd.DataFrame, int]:
    """Return the rows of the combinations of everything else that all levels have, and how many have not."""
    of = some.groupby(list(others), observed=True, sort=False)[factor]
    is_shared = of.transform("nunique") == n_levels
    n_out = int((of.nunique() < n_levels).sum())
    return some[is_shared], n_out


def _cell(rows: pd.DataFrame) -> FactorCell:
    by_seed = rows.groupby("seed")["value"].mean().to_numpy(dtype=np.float64)
    return FactorCell(
        value=float(by_seed.mean()),
        seed_sd=float(by_seed.std(ddof=1)) if len(by_seed) > 1 else float("nan"),
        n_seeds=len(by_seed),
        n_sessions=int(rows["session"].nunique()),
    )
