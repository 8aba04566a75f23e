"""Comparison of models and baselines over sessions, from what was measured of them.

One board per dandiset, recipe, phase and settings: only what was measured alike stands side by side. Every
step works on whole columns of the table of measurements, of which there may be hundreds of thousands.
"""

from __future__ import annotations

import difflib
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.evaluation.current_evaluations import current_evaluations
from nwb_latents.pipeline.evaluation.leaderboard_cells import cells_of
from nwb_latents.pipeline.evaluation.metrics.metric import Metric
from nwb_latents.pipeline.evaluation.row_details import given_of, told_of

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from nwb_latents.pipeline.evaluation.leaderboard_cells import Cell
    from nwb_latents.pipeline.evaluation.metrics.metric import Part

_BOARD = ["dandiset", "recipe_id", "split", "settings_digest"]
_COLUMN = ["name", "part"]
_PROTOCOL = ["decoder", "fitted_on", "lag_ms", "seen_bins", "bins"]


@dataclass(frozen=True)
class Column:
    """A metric of one part of the sources.

    Attributes
    ----------
    key
        Its name; ``velocity_r2:forecast`` where a metric has several parts and this is not the first.
    metric
        What it is a metric of.
    part
        What of the sources it scores.
    is_known
        Whether the metric is installed here; else it is described by what its records say.
    protocol
        What was fitted on what, at which lag, with how many bins seen and forecast; empty: nothing was.
    """

    key: str
    metric: Metric
    part: Part
    is_known: bool = True
    protocol: str = ""

    @property
    def title(self) -> str:
        """What stands at its head."""
        return self.metric.title + ("" if self.key == self.metric.name else f", {self.part}")


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
    n_seeds
        Runs that share a session: seeds. Where each session has a run of its own, these are 1.
    cells
        By key of the column; without those it has for no session.
    told
        What it is told of the trials it predicts, beside the spikes it may see; empty: nothing.
    only_forecasts
        Whether it has numbers of forecasts alone.
    """

    label: str
    is_baseline: bool
    sources: tuple[str, ...]
    n_sessions: int
    cells: Mapping[str, Cell]
    told: tuple[str, ...] = ()
    only_forecasts: bool = False
    n_seeds: int = 1


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
    columns
        Those at least one row has, in the order of tables.
    rows
        Best first, by `ranked_by`; rows without it last, by the columns after it; rows of fewer sessions
        after those of all.
    ranked_by
        Key of the column of the order; empty: there is no column.
    level
        Share of resamples the intervals hold.
    """

    dandiset: str
    recipe_id: str
    phase: str
    settings_digest: str
    sessions: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    ranked_by: str
    level: float

    def is_best(self, row: Row, column: Column) -> bool:
        """Whether a row is the best of the runs by a metric; only rows of all sessions are compared.

        Parameters
        ----------
        row, column
            Of this board.
        """
        if row.is_baseline or not self._is_whole(row, column):
            return False
        return row.cells[column.key].value == self._best[column.key]

    @cached_property
    def _best(self) -> dict[str, float]:
        """Best value of each column that a run of all sessions has."""
        best: dict[str, float] = {}
        for column in self.columns:
            runs = [row for row in self.rows if not row.is_baseline and self._is_whole(row, column)]
            values = [row.cells[column.key].value for row in runs]
            if values:
                best[column.key] = max(values, key=lambda value: value * column.metric.sign)
        return best

    def _is_whole(self, row: Row, column: Column) -> bool:
        return column.key in row.cells and row.cells[column.key].n_sessions == len(self.sessions)


def boards(
    table: pd.DataFrame,
    *,
    dandisets: Mapping[tuple[str, str], str] | None = None,
    ranked_by: str | None = None,
) -> list[Board]:
    """Put side by side what was measured alike.

    Parameters
    ----------
    table
        Measurements with the columns `current_evaluations.NEEDED`, of any runs, baselines and sessions, in
        order of time.
    dandisets
        Session id and recipe id → dandiset; what is not in it comes from files.
    ranked_by
        Key of the column by which rows are ordered; default: the first that a run has.

    Returns
    -------
    boards
        In order of dandiset, recipe, phase, settings.

    Raises
    ------
    DataError
        If there are no evaluations, or none has `ranked_by`.
    """
    current = current_evaluations(table)
    if current.empty:
        raise DataError("Nothing was evaluated yet. Run `pipeline run evaluate` first.")
    current["dandiset"] = in_dandisets(current, dandisets or {})
    columns = _columns(current)
    made = [
        _board(key, mine, columns, ranked_by)
        for key, mine in current.groupby(_BOARD, observed=True, sort=True)
    ]
    if ranked_by is not None and not any(ranked_by == each.key for board in made for each in board.columns):
        has = list(dict.fromkeys(each.key for board in made for each in board.columns))
        near = difflib.get_close_matches(ranked_by, has, n=1)
        hint = f"; did you mean {near[0]}?" if near else ";"
        raise DataError(
            f"No evaluation has the metric {ranked_by}{hint} they have: {', '.join(has) or 'none'}."
        )
    return made


def in_dandisets(table: pd.DataFrame, dandisets: Mapping[tuple[str, str], str]) -> np.ndarray:
    """Return the dandiset of each row, ``"files"`` where there is none. Shape ``(row,)``, text."""
    numbers = table.groupby(["session", "recipe_id"], observed=True, sort=False).ngroup().to_numpy()
    stores = table[["session", "recipe_id"]].drop_duplicates()
    pairs = zip(stores["session"], stores["recipe_id"], strict=True)
    known = np.array([dandisets.get(pair, "files") for pair in pairs], dtype=object)
    found: np.ndarray = known[numbers]
    return found


def _board(
    key: tuple[Hashable, ...], mine: pd.DataFrame, columns: Sequence[Column], ranked_by: str | None
) -> Board:
    sessions = tuple(sorted(set(mine["session"])))
    rows, group_of = _rows(mine, columns)
    labelled = mine.assign(
        row=[rows[number].label for number in group_of],
        given=list(map(given_of, mine["details"], mine["fitted_sessions"])),
    )
    said = labelled.loc[mine["value"].notna(), [*_COLUMN, *_PROTOCOL, "given", "row"]].drop_duplicates()
    present = [column for column in columns if any(column.key in row.cells for row in rows)]
    of_runs = [c for c in present if any(c.key in row.cells for row in rows if not row.is_baseline)]
    first = next((column.key for column in of_runs or present), "")
    order = first if ranked_by is None else ranked_by
    by = sorted(present, key=lambda column: column.key != order)

    def rank(row: Row) -> list[tuple[bool, bool, float]]:
        cells = [(column.metric.sign, row.cells.get(column.key)) for column in by]
        fewer = row.n_sessions < len(sessions)
        return [(cell is None, fewer, -sign * cell.value if cell else 0.0) for sign, cell in cells]

    dandiset, recipe_id, phase, settings_digest = (str(part) for part in key)
    return Board(
        dandiset,
        recipe_id,
        phase,
        settings_digest,
        sessions=sessions,
        columns=tuple(_with_protocol(column, said) for column in present),
        rows=tuple(sorted(rows, key=rank)),
        ranked_by=order,
        level=float(mine["level"].dropna().iloc[0]) if mine["level"].notna().any() else float("nan"),
    )


def _columns(current: pd.DataFrame) -> list[Column]:
    """Return the columns of all that has a value, in the order of tables."""
    from nwb_latents.pipeline.evaluation.metrics.known import metrics_by_name  # noqa: PLC0415

    known = metrics_by_name()
    found = []
    said = current.loc[current["value"].notna(), _COLUMN].drop_duplicates()
    for name, part in zip(said["name"], said["part"], strict=True):
        metric = known.get(name) or _described(name, part, current)
        key = name if part == metric.parts[0] or part not in metric.parts else f"{name}:{part}"
        found.append(Column(key, metric, part, is_known=name in known))
    place = {name: number for number, name in enumerate(known)}
    return sorted(found, key=lambda c: (place.get(c.metric.name, len(place)), c.metric.name, c.key))


def _described(name: str, part: Part, current: pd.DataFrame) -> Metric:
    """Describe a metric that is not installed here by one of its records."""
    one = current[current["name"] == name].iloc[0]
    parts: dict[Part, Any] = {"reconstruction": _not_here, part: _not_here}
    return Metric(
        name=name if name.isidentifier() and name == name.lower() else "unnamed",
        title=name,
        meaning="Not known here: the distribution that measured it is not installed. It is shown as if more "
        "were better.",
        unit=_text(one["unit"]) or "1",
        definition=_text(one["definition"]),
        compute=parts,
    )


def _not_here(*_: object) -> Any:
    raise DataError("a metric that is not installed cannot be computed")


def _with_protocol(column: Column, said: pd.DataFrame) -> Column:
    rows = said[(said["name"] == column.metric.name) & (said["part"] == column.part)]
    words = []
    fits: dict[str, list[str]] = {}
    each = zip(*(rows[name] for name in ("decoder", "fitted_on", "given", "row")), strict=True)
    for decoder, fitted_on, given, row in each:
        of = f" fitted on {fitted_on}" if _text(decoder) and _text(fitted_on) else ""
        of += f", the {given} trials given alone" if of and given else ""
        fits.setdefault(f"decoder {decoder}{of}" if _text(decoder) else "", []).append(row)
    if len(fits) == 1:
        words += [fit for fit in fits if fit]
    else:
        # Two protocols never stand under one head without a word on which rows have which.
        words += [
            f"{fit or 'not decoded but given by the row itself'} ({', '.join(dict.fromkeys(of))})"
            for fit, of in fits.items()
        ]
    words += [f"{lag:g} ms after the activity" for lag in sorted(rows["lag_ms"].dropna().unique())]
    seen = rows[["seen_bins", "bins"]].dropna().drop_duplicates()
    words += [
        f"{int(shown)} bins seen, {int(ahead)} forecast"
        for shown, ahead in zip(seen["seen_bins"], seen["bins"], strict=True)
    ]
    return Column(column.key, column.metric, column.part, column.is_known, "; ".join(words))


def _rows(mine: pd.DataFrame, columns: Sequence[Column]) -> tuple[list[Row], np.ndarray]:
    """Return a row for each group of runs and each baseline, as they come; and the row of each record."""
    group_of = _of_other_sessions(
        mine, mine.groupby(["is_baseline", "group"], observed=True, sort=False).ngroup().to_numpy()
    )
    first = mine[~pd.Series(group_of).duplicated().to_numpy()]
    owners, sessions = (_distinct(group_of, mine[name]) for name in ("owner", "session"))
    cells = _cells(mine, group_of, columns)
    labels = _labels([str(label) for label in first["label"]], owners)
    told = _told(mine, group_of)
    runs = mine.assign(row=group_of).groupby(["row", "session"])["owner"].nunique().groupby("row").max()
    ahead = {column.key for column in columns if column.part == "forecast"}
    rows = [
        Row(
            label=label,
            is_baseline=bool(is_baseline),
            sources=owners[number],
            n_sessions=len(sessions[number]),
            cells=cells.get(number, {}),
            told=told.get(number, ()),
            only_forecasts=bool(cells.get(number)) and ahead.issuperset(cells[number]),
            n_seeds=int(runs.loc[number]),
        )
        for number, (label, is_baseline) in enumerate(zip(labels, first["is_baseline"], strict=True))
    ]
    return rows, group_of


def _of_other_sessions(mine: pd.DataFrame, group_of: np.ndarray) -> np.ndarray:
    """Take runs of a group apart that know other sessions, where they share some of the same seed.

    Runs of one session each are a row together; runs of some sessions and of more of them are no seeds of
    each other.
    """
    owner = mine["owner"].to_numpy()
    each = pd.DataFrame({
        "group": group_of, "owner": owner, "session": mine["session"].to_numpy(),
        "seed": mine["seed"].to_numpy(np.float64, na_value=np.nan),
    })[~mine["is_baseline"].to_numpy()].drop_duplicates()  # fmt: skip
    is_twice = each.duplicated(["group", "session", "seed"], keep=False)
    if not is_twice.any():
        return group_of
    mixed = each[each["group"].isin(each.loc[is_twice, "group"])]
    known = mixed.groupby(["group", "owner"])["session"].agg(lambda names: tuple(sorted(set(names))))
    codes = pd.Series(pd.factorize(known)[0], index=known.index)
    pairs = pd.MultiIndex.from_arrays([group_of, owner])
    apart = codes.reindex(pairs, fill_value=-1).to_numpy()
    both = pd.DataFrame({"group": group_of, "sessions": apart})
    numbers: np.ndarray = both.groupby(["group", "sessions"], sort=False).ngroup().to_numpy()
    return numbers


def _told(mine: pd.DataFrame, group_of: np.ndarray) -> dict[int, tuple[str, ...]]:
    """Return what each row is told, where it is told something; of forecasts alone, that is said too."""
    found: dict[int, dict[tuple[str, bool], None]] = {}
    has_value = mine["value"].notna()
    for details, part, value, number in zip(mine["details"], mine["part"], has_value, group_of, strict=True):
        told = told_of(details)
        if told and value:
            found.setdefault(int(number), {})[told, part == "forecast"] = None
    return {
        number: tuple(
            f"{told} (forecasts)" if (told, False) not in said else told
            for told in dict.fromkeys(told for told, _ in said)
        )
        for number, said in found.items()
    }


def _distinct(group_of: np.ndarray, names: pd.Series) -> list[tuple[str, ...]]:
    """Return the names in each group, each once, in alphabetical order."""
    known, codes = np.unique(names.to_numpy(dtype=str), return_inverse=True)
    groups, places = np.divmod(np.unique(group_of * len(known) + codes), len(known))
    begins = np.flatnonzero(np.diff(groups, prepend=-1))
    return [tuple(known[part].tolist()) for part in np.split(places, begins[1:])]


def _labels(plain: Sequence[str], owners: Sequence[tuple[str, ...]]) -> list[str]:
    """Name each group; where several would be called alike, by the first of their runs too."""
    times = Counter(plain)
    return [
        label if times[label] == 1 else f"{label} ({sources[0]})"
        for label, sources in zip(plain, owners, strict=True)
    ]


def _cells(mine: pd.DataFrame, group_of: np.ndarray, columns: Sequence[Column]) -> dict[int, dict[str, Cell]]:
    """Return the cells of each group by the key of their column, in the order of columns."""
    has_value = mine["value"].notna().to_numpy()
    defined = mine[has_value]
    if defined.empty:
        return {}
    place = {(column.metric.name, column.part): number for number, column in enumerate(columns)}
    kinds = defined[_COLUMN].drop_duplicates()
    column_of_kind = np.array([place[kind] for kind in zip(kinds["name"], kinds["part"], strict=True)])
    column_of = column_of_kind[defined.groupby(_COLUMN, observed=True, sort=False).ngroup().to_numpy()]
    known, cell_of = np.unique(group_of[has_value] * len(columns) + column_of, return_inverse=True)
    found: dict[int, dict[str, Cell]] = {}
    for number, cell in zip(known.tolist(), cells_of(defined, cell_of), strict=True):
        group, column = divmod(number, len(columns))
        found.setdefault(group, {})[columns[column].key] = cell
    return found


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
