"""Which trials succeeded, in the words of the file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.nwb.tables import FALSE_WORDS, TRUE_WORDS, is_missing
from nwb_latents.pipeline.nwb.trial_columns import columns_of_role, find_column, plain_name, value_counts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nwb_latents.pipeline.nwb.tables import Column, Table
    from nwb_latents.pipeline.signals.recording import BoolArray

SUCCESS = frozenset({
    "r", "s", "reward", "rewarded", "success", "successful", "succeeded", "correct", "hit", "true", "yes",
    "1", "complete", "completed", "pass", "passed", "ok", "okay", "good", "✓", "✔", "☑", "✅",
})  # fmt: skip
FAILURE = frozenset({
    "a", "f", "i", "abort", "aborted", "fail", "failed", "failure", "incorrect", "incomplete", "error",
    "miss", "missed", "false", "no", "0", "timeout", "unrewarded", "unsuccessful", "none", "nok", "not ok",
    "wrong", "bad", "-1", "✗", "✘", "☒", "❌", "✕",
})  # fmt: skip
"""Words of published and of labs' own tables, in lower case; both also as the ASCII code of a letter."""

SAY_FAILURE = frozenset({
    "error", "iserror", "haserror", "aborted", "isaborted", "abort", "isabort", "failed", "isfailed", "fail",
    "failure", "isfailure", "incorrect", "isincorrect", "unsuccessful", "timedout",
})  # fmt: skip
"""Plain names of columns that say which trials did *not* succeed."""

MISSING = "missing"
"""What trials without a value are called in lists of values, and in `columns.success_values`."""


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
        Values of it that mean success, as text; none: known words. A column of errors (`SAY_FAILURE`) is
        read the other way round.
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
    file = table.file
    name = _column(table, named=named, also=also)
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
    if found is None:
        raise DataError(
            f"{file.name}: /{column.path} (success) holds several values a trial. Name another column with "
            "--set columns.success=NAME."
        )
    counts = value_counts(column)
    listed = _listed(counts)
    meaning = _meanings(column, counts, values)
    unknown = [value for value, means in meaning.items() if means is None]
    if unknown and file.keeps_failed:
        file.say(
            f"/{column.path} (success) holds {listed}; {_not_known(unknown)}: these trials count as failed, "
            "and failed trials are kept (trials.success_only=false)"
        )
        unknown = []
    if unknown or (values and not any(meaning.values())):
        what = (
            _not_known(unknown) if unknown else f"none of columns.success_values ({', '.join(values)}) occurs"
        )
        raise DataError(
            f"{file.name}: /{column.path} (success) holds {listed}; {what}. Say which mean success, "
            f"{_example(meaning, counts)}, or keep all trials with --set trials.success_only=false."
        )
    succeeded = [value for value, means in meaning.items() if means]
    why = f"/{column.path} holds {listed}"
    if is_of_failures(name) and not values:
        why += "; its name says what failed"
    file.choose("success values", ", ".join(succeeded) or "none", why)
    if counts.get(MISSING) and MISSING not in values:
        file.say(f"/{column.path}: {counts[MISSING]} trials without a value count as failed")
    success = _succeeded(column, succeeded)
    if named is None:
        _compare(table, name, success, also=also)
    return success


def is_of_failures(name: str) -> bool:
    """Return whether a column says by its name which trials did not succeed.

    Examples
    --------
    >>> [is_of_failures(name) for name in ("is_error", "Aborted", "result", "error_cm")]
    [True, True, False, False]
    """
    return plain_name(name) in SAY_FAILURE


def _column(table: Table, *, named: str | None, also: Iterable[str]) -> str | None:
    """Return the column that says it: what a person named, or the first that holds anything."""
    if named is not None:
        return find_column(table, "success", named=named)
    failures = [other for other in table.names if is_of_failures(other)]
    empty: list[str] = []
    for name in (*columns_of_role(table, "success", also=also), *failures):
        column = table.column(name)
        if is_missing(column.values).all():
            table.file.say(f"/{table.path}/{name} (success) holds no value in any trial; it is not used")
            empty.append(name)
        elif name not in failures:
            return find_column(table, "success", also=also, taken=empty, beside=failures)
        elif _is_of_two(column):
            table.file.choose("success", f"/{table.path}/{name}", "its name says which trials failed")
            return name
    return None


def _is_of_two(column: Column) -> bool:
    """Whether a column tells trials apart as yes and no: an error may as well be a distance."""
    if column.kind == "bool":
        return True
    known = column.values[~is_missing(column.values)]
    return column.kind == "number" and bool(np.isin(known, (0.0, 1.0)).all())


def _compare(table: Table, name: str, success: BoolArray, *, also: Iterable[str]) -> None:
    """Say of other columns of success where they disagree with the one that is used."""
    others = [*columns_of_role(table, "success", also=also), *filter(is_of_failures, table.names)]
    for other in dict.fromkeys(others):
        if other == name:
            continue
        column = table.column(other)
        if column.one_each() is None or is_missing(column.values).all():
            continue
        meaning = _meanings(column, value_counts(column), ())
        if any(means is None for means in meaning.values()) or (
            is_of_failures(other) and not _is_of_two(column)
        ):
            continue
        disagree = _succeeded(column, [value for value, means in meaning.items() if means]) != success
        if disagree.any():
            table.file.say(
                f"/{table.path}/{other} disagrees with /{table.path}/{name} on whether "
                f"{int(disagree.sum())} of {len(success)} trials succeeded; {name} is used. To take the "
                f"other: --set columns.success={other}"
            )


def _succeeded(column: Column, values: list[str]) -> BoolArray:
    """Return where a column holds one of some values."""
    found = column.one_each()
    each = column.values if found is None else found
    shown = np.array([_key(value) for value in each], dtype=object).astype(str)
    return np.where(is_missing(each), MISSING in values, np.isin(shown, values))


def _key(value: object) -> str:
    return f"{value:g}" if isinstance(value, float | np.floating) else str(value).strip()


def _listed(counts: dict[str, int]) -> str:
    shown = ", ".join(f"{value} ({n})" for value, n in list(counts.items())[:12])
    return shown + (f" and {len(counts) - 12} other values" if len(counts) > 12 else "")


def _example(meaning: dict[str, bool | None], counts: dict[str, int]) -> str:
    """Return the setting to paste: with the values known to mean success, or else the most frequent one."""
    known = [value for value, means in meaning.items() if means]
    likely = known or [value for value in counts if value != MISSING][:1]
    how = "if the others are failures:" if known else "e.g."
    return f"{how} --set 'columns.success_values=[{', '.join(likely)}]'"


def _not_known(unknown: list[str]) -> str:
    what = ", ".join(unknown[:8]) + (" …" if len(unknown) > 8 else "")
    return f"it is not known what {what} {'means' if len(unknown) == 1 else 'mean'}"


def _meanings(column: Column, counts: dict[str, int], given: tuple[str, ...]) -> dict[str, bool | None]:
    """Return whether each value means success; None where that is not known."""
    if given:
        wanted = {*given, *(_truth(word) for word in given)} if column.kind == "bool" else set(given)
        return {value: value in wanted for value in counts}
    known = {value: _meaning(value, column) for value in counts if value != MISSING}
    if not is_of_failures(column.name):
        return known
    return {value: None if means is None else not means for value, means in known.items()}


def _truth(word: str) -> str:
    """Return what text that says true or false was read as."""
    return "True" if word.lower() in TRUE_WORDS else "False" if word.lower() in FALSE_WORDS else word


def _meaning(value: str, column: Column) -> bool | None:
    if column.kind == "bool":
        return value == "True"
    word = value.lower().strip(" !.?\"'")
    if word in {"1.0", "0.0", "-1.0"}:
        word = word[:-2]
    if column.kind == "number" and word not in {"0", "1", "-1"}:
        code = float(value)
        letter = chr(int(code)).lower() if code.is_integer() and 65 <= code <= 122 else ""
        return True if letter in {"r", "s"} else False if letter in {"a", "f", "i"} else None
    return True if word in SUCCESS else False if word in FAILURE else None
