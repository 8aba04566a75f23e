"""All measurements of a catalog as one table of columns, which the page sorts and filters."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pandas as pd

if TYPE_CHECKING:
    from nwb_latents.pipeline.evaluation.report.content import Json

TEXTS = (
    "session",
    "recipe_id",
    "run",
    "model",
    "source",
    "stage",
    "name",
    "unit",
    "split",
    "units",
    "decoder",
    "fitted_on",
    "reason",
    "time",
    "definition",
)
NUMBERS = ("value", "low", "high", "level", "p_value", "lag_ms", "seen_bins", "bins", "step", "n_trials")

NOT_KNOWN = "not known of which store and run it is (an earlier version)"


def number_table(table: pd.DataFrame, why: pd.Series, *, most: int) -> Json:
    """Return measurements as columns, each number with all its digits.

    Parameters
    ----------
    table
        Measurements with all columns, in order of time.
    why
        What became of the store and run of each (`measurements.why_stale`).
    most
        Rows returned at most, the latest.

    Returns
    -------
    columns
        ``rows`` (their number), ``of`` (that of all), and one list for each field; ``stale`` is empty where a
        number is current.

    Examples
    --------
    >>> number_table(pd.DataFrame({"name": ["r2"], "value": [0.5]}), pd.Series([""]), most=9)["value"]
    [0.5]
    """
    kept, why = table.tail(most), why.tail(most)
    columns: Json = {"rows": len(kept), "of": len(table)}
    for name in TEXTS:
        if name in kept:
            columns[name] = ["" if pd.isna(value) else str(value) for value in kept[name]]
    for name in NUMBERS:
        if name in kept:
            columns[name] = [finite(value) for value in kept[name]]
    columns["stale"] = [NOT_KNOWN if _is_missing(each) else str(each) for each in why]
    return columns


def finite(value: object) -> float | int | None:
    """Return a number as it is; None where there is none, or it is not finite.

    Examples
    --------
    >>> finite(0.1), finite(float("nan")), finite(pd.NA), finite(3)
    (0.1, None, None, 3)
    """
    if _is_missing(value) or not isinstance(value, (int, float)):
        try:
            value = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            return None
    return value if math.isfinite(value) else None


def _is_missing(value: object) -> bool:
    return value is None or bool(pd.isna(value))
