"""Sessions × runs, coloured by one number: one map for each metric and each way it was measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.evaluation.leaderboard_files import number
from nwb_latents.pipeline.evaluation.report.number_table import NOT_KNOWN, finite

if TYPE_CHECKING:
    import pandas as pd

_ALIKE = ["stage", "name", "part", "read_by", "lag_ms", "seen_bins", "bins", "split", "recipe_id", "units",
          "definition", "settings_digest"]  # fmt: skip

MOST_MAPS, MOST_OWNERS = 40, 40


@dataclass(frozen=True)
class HeatCell:
    """A number of one session and one run.

    Attributes
    ----------
    text
        As it is read; of a stale number, that it is stale.
    value
        The number; None where it is stale or not defined.
    level
        Where it lies between the least and the largest of the map, 0 to 1.
    why
        Interval, what was fitted on what, or why there is no number.
    is_stale
        Whether it is of a store or run that is no more.
    """

    text: str
    value: float | None
    level: float
    why: str
    is_stale: bool = False


@dataclass(frozen=True)
class HeatMap:
    """One metric, measured in one way.

    Attributes
    ----------
    title, protocol
        What it is, and how it was measured.
    owners
        Runs and baselines: the columns.
    rows
        Session, and a cell for each of `owners`; None: not measured.
    low, high
        Ends of the colours.
    left_out
        What is not shown; empty: nothing.
    """

    title: str
    protocol: str
    owners: tuple[str, ...]
    rows: tuple[tuple[str, tuple[HeatCell | None, ...]], ...]
    low: float
    high: float
    left_out: str = ""


def heat_maps(table: pd.DataFrame, why: pd.Series) -> tuple[list[HeatMap], str]:
    """Return the maps of measurements, and what is left out.

    Numbers of single steps of a forecast are no part of a map.

    Parameters
    ----------
    table
        Measurements with all columns, in order of time, of each the latest.
    why
        What became of the store and run of each (`measurements.why_stale`).

    Returns
    -------
    maps
        Evaluations first, then in order of stage and metric; `MOST_MAPS` at most.
    left_out
        Empty: nothing.

    Examples
    --------
    >>> import pandas as pd
    >>> heat_maps(pd.DataFrame({"step": []}), pd.Series([], dtype=object))
    ([], '')
    """
    whole = table["step"].isna().to_numpy(dtype=bool)
    mine = table[whole].copy()
    if mine.empty:
        return [], ""
    mine["stale"] = [NOT_KNOWN if each is None or each != each else str(each) for each in why[whole]]  # noqa: PLR0124
    run, source = mine["run"].astype(object), mine["source"].astype(str)
    is_mixed = source.eq("ensemble") & run.notna()
    mine["owner"] = run.where(run.notna(), source.str.replace("_", " ")).astype(str)
    mine.loc[is_mixed, "owner"] = mine.loc[is_mixed, "owner"] + ", ensemble"
    latents = source.eq("latents").to_numpy()
    read = source.eq("forecast_decoded").to_numpy()
    mine["part"] = np.select(
        [read, mine["bins"].notna().to_numpy(dtype=bool), latents],
        ["forecast, read by the decoder of recorded rates", "forecast", "latents"],
        "whole trials",
    )
    # A forecast is read out in its own way, and a baseline's not at all: cells say how.
    mine["read_by"] = mine["decoder"].where(mine["part"] != "forecast", "")
    groups = list(mine.groupby(_ALIKE, dropna=False, sort=True, observed=True))
    groups.sort(key=lambda group: (group[0][0] != "evaluate", group[0][1] != "velocity_r2"))
    left_out = ""
    if len(groups) > MOST_MAPS:
        left_out = (
            f"{MOST_MAPS} of {len(groups)} metrics and ways of measuring are drawn; the table of all numbers "
            "has the others."
        )
    return [_map(rows) for _, rows in groups[:MOST_MAPS]], left_out


def _map(rows: pd.DataFrame) -> HeatMap:
    first = rows.iloc[0]
    owners = list(dict.fromkeys(rows.sort_values("run", na_position="last", kind="stable")["owner"]))
    left_out = ""
    if len(owners) > MOST_OWNERS:
        left_out = f"{MOST_OWNERS} of {len(owners)} runs and baselines are drawn, runs first."
        owners = owners[:MOST_OWNERS]
    values = [
        finite(v) for v, stale in zip(rows["value"], rows["stale"], strict=True) if stale in {"", NOT_KNOWN}
    ]
    known = [value for value in values if value is not None]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    cells = {(row.session, row.owner): _cell(row, low, high) for row in rows.itertuples(index=False)}
    sessions = sorted({str(session) for session in rows["session"]})
    unit = "" if str(first["unit"]) in {"", "1", "nan"} else f" ({first['unit']})"
    return HeatMap(
        title=f"{first['name']}{unit}, {first['part']}",
        protocol=_protocol(first),
        owners=tuple(owners),
        rows=tuple((s, tuple(cells.get((s, owner)) for owner in owners)) for s in sessions),
        low=low,
        high=high,
        left_out=left_out,
    )


def _cell(row: object, low: float, high: float) -> HeatCell:
    said = {
        name: getattr(row, name)
        for name in ("value", "low", "high", "stale", "reason", "fitted_on", "decoder")
    }
    value, ends = finite(said["value"]), [finite(said["low"]), finite(said["high"])]
    stale = str(said["stale"])
    is_stale = stale not in {"", NOT_KNOWN}
    if is_stale:
        return HeatCell("stale", None, 0.0, f"{stale}; measure again", is_stale=True)
    words = [] if None in ends else [f"interval {number(ends[0] or 0.0)} to {number(ends[1] or 0.0)}"]
    words += [f"decoder {said['decoder']}"] if isinstance(said["decoder"], str) and said["decoder"] else []
    words += (
        [f"fitted on {said['fitted_on']}"] if isinstance(said["fitted_on"], str) and said["fitted_on"] else []
    )
    words += [f"may be stale: {stale}"] if stale else []
    if value is None:
        return HeatCell("–", None, 0.0, "; ".join([str(said["reason"]) or "not defined", *words]))
    level = (value - low) / (high - low) if high > low else 1.0
    text = number(value) + ("?" if stale else "")
    return HeatCell(text, float(value), round(level, 3), "; ".join(words))


def _protocol(first: pd.Series) -> str:
    words = [f"{first['stage']}, {first['split']} trials, recipe {first['recipe_id']}"]
    if isinstance(first["read_by"], str) and first["read_by"]:
        words.append(f"decoder {first['read_by']}")
    if finite(first["lag_ms"]) is not None:
        words.append(f"{first['lag_ms']:g} ms after the activity")
    if finite(first["seen_bins"]) is not None:
        words.append(f"{int(first['seen_bins'])} bins seen, {int(first['bins'])} forecast")
    if first["units"] != "all":
        words.append(f"units: {first['units']}")
    if isinstance(first["definition"], str) and first["definition"]:
        words.append(str(first["definition"]))
    return "; ".join(words)
