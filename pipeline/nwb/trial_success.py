"""Which trials succeeded, in the words of the file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.nwb.tables import is_missing
from nwb_latents.pipeline.nwb.trial_columns import find_column, value_counts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nwb_latents.pipeline.nwb.tables import Column, Table
    from nwb_latents.pipeline.signals.recording import BoolArray

SUCCESS = frozenset({
    "r", "s", "reward", "rewarded", "success", "successful", "succeeded", "correct", "hit", "true", "yes",
    "1", "complete", "completed",
})  # fmt: skip
FAILURE = frozenset({
    "a", "f", "i", "abort", "aborted", "fail", "failed", "failure", "incorrect", "incomplete", "error",
    "miss", "missed", "false", "no", "0", "timeout", "unrewarded", "unsuccessful", "none",
})  # fmt: skip
"""Words of published and of labs' own tables, in lower case; both also as the ASCII code of a letter."""


def read_success(
    table: Table, *, named: str | None, values: tuple[str, ...], also: Iterable[str] = ()
) -> BoolArray:
    """Read which trials succeeded; where no column says, all of them.

    Parameters
    ----------
    table
        The trial table.
    named
        Column a person gave.
    values
        Values of it that mean success, as text; none: known words.
    also
        Names a layout knows.

    Returns
    -------
    success
        Shape ``(n_trials,)``.

    Raises
    ------
    DataError
        If the column holds a word or code of unknown meaning and failed trials are not kept, or none of
        `values`; the message lists them.
    """
    file, name = table.file, find_column(table, "success", named=named, also=also)
    if name is None:
        if values:
            raise DataError(
                f"{file.name}: columns.success_values is given, but no column of /{table.path} says which "
                "trials succeeded. Name it with --set columns.success=NAME."
            )
        file.say("no column says which trials succeeded: all are kept; name one with columns.success")
        return np.ones(table.n_rows, dtype=bool)
    column = table.column(name)
    found = column.one_each()
    counts = value_counts(column)
    listed = ", ".join(f"{value} ({n})" for value, n in list(counts.items())[:12])
    if found is None:
        raise DataError(
            f"{file.name}: /{column.path} (success) holds several values a trial. Name another column with "
            "--set columns.success=NAME."
        )
    meaning = {value: _meaning(value, column, values) for value in counts if value != "missing"}
    unknown = [value for value, means in meaning.items() if means is None]
    if unknown and file.keeps_failed:
        file.say(
            f"/{column.path} (success) holds {listed}; it is not known what {', '.join(unknown[:8])} mean: "
            "they count as failed, and failed trials are kept (trials.success_only=false)"
        )
        unknown = []
    if unknown or (values and not any(meaning.values())):
        what = (
            f"{', '.join(unknown[:8])} mean"
            if unknown
            else "none of columns.success_values occurs; they mean"
        )
        raise DataError(
            f"{file.name}: /{column.path} (success) holds {listed}; it is not known what {what}. Say which "
            "mean success: --set columns.success_values=[VALUE, …], or keep all trials with "
            "--set trials.success_only=false."
        )
    succeeded = [value for value, means in meaning.items() if means]
    file.choose("success values", ", ".join(succeeded) or "none", f"/{column.path} holds {listed}")
    if counts.get("missing"):
        file.say(f"/{column.path}: {counts['missing']} trials without a value count as failed")
    shown = np.array([_key(v) for v in found], dtype=object)
    return np.isin(shown.astype(str), succeeded) & ~is_missing(found)


def _key(value: object) -> str:
    return f"{value:g}" if isinstance(value, float | np.floating) else str(value).strip()


def _meaning(value: str, column: Column, given: tuple[str, ...]) -> bool | None:
    """Whether a value means success; None where that is not known."""
    if given:
        return value in given
    if column.kind == "bool":
        return value == "True"
    word = value.lower()
    if column.kind == "number" and word not in {"0", "1"}:
        code = float(value)
        letter = chr(int(code)).lower() if code.is_integer() and 65 <= code <= 122 else ""
        return True if letter in {"r", "s"} else False if letter in {"a", "f", "i"} else None
    return True if word in SUCCESS else False if word in FAILURE else None
