"""Which column of a trial table says what: by the name a person gave, or by the spellings labs use."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.nwb.tables import Column, Table, is_missing

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from nwb_latents.pipeline.signals.recording import FloatArray

SPELLINGS: dict[str, tuple[str, ...]] = {
    "target_on": (
        "target_on", "target_onset", "target_presentation", "target_shown", "target_appearance", "target_cue",
        "target_displayed", "tgt_on",
    ),
    "go_cue": ("go_cue", "gocue", "go", "go_signal", "go_cue_onset", "go_tone", "imperative_cue"),
    "move_onset": (
        "move_onset", "movement_onset", "move_begins", "movement_begins", "movement_start", "move_start",
        "reach_onset", "reach_start", "movement_initiation", "derived_movement_onset", "onset_of_movement",
    ),
    "move_end": (
        "move_end", "move_ends", "movement_end", "movement_offset", "reach_end", "derived_movement_end",
    ),
    "success": (
        "result", "outcome", "trial_outcome", "trial_result", "task_success", "success", "successful",
        "is_successful", "is_success", "correct", "is_correct", "rewarded", "is_rewarded", "hit",
    ),
    "target_dir": (
        "target_dir", "target_direction", "target_angle", "reach_dir", "reach_direction", "reach_angle",
        "direction",
    ),
    "target_pos": ("target_pos", "target_position", "target_positions", "target_location", "target_xy"),
    "condition": ("condition", "condition_id", "target_id", "movement_type"),
}  # fmt: skip
"""Role → plain names of columns that have it, in order of preference (see `plain_name`)."""

_SUFFIX = re.compile(r"(times?|sec|secs|seconds|array|timestamps?|s)$")


def plain_name(name: str) -> str:
    """Return a column's name without what spellings differ in: case, separators, ``_time`` and the like.

    Examples
    --------
    >>> [plain_name(n) for n in ("go_cue_time", "GoCue", "go_cue_time_array", "goCueTimes")]
    ['gocue', 'gocue', 'gocue', 'gocue']
    """
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    while (shorter := _SUFFIX.sub("", plain)) and shorter != plain and len(shorter) > 1:
        plain = shorter
    return plain


def find_column(
    table: Table,
    role: str,
    *,
    named: str | None = None,
    also: Iterable[str] = (),
    taken: Collection[str] = (),
) -> str | None:
    """Return the column of a table that has a role, and note the choice.

    Parameters
    ----------
    table
        The table.
    role
        ``go_cue``, ``success`` …, a key of `SPELLINGS`; the setting is ``columns.<role>``.
    named
        The name a person gave.
    also
        Names a layout knows, in order of preference; they come before the spellings.
    taken
        Columns that have another role, whatever their spelling.

    Returns
    -------
    name
        None where there is none.

    Raises
    ------
    DataError
        If the table has no column of the name given.
    """
    file, where = table.file, f"/{table.path}"
    if named is not None:
        if not table.has(named):
            raise DataError(
                f"{file.name}: columns.{role}: {where} has no column {named!r}. Its columns are: "
                f"{', '.join(table.names) or 'none'}."
            )
        file.choose(role, f"{where}/{named}", f"named by columns.{role}")
        return named
    for name in also:
        if table.has(name):
            file.choose(role, f"{where}/{name}", "the name the layout knows")
            return name
    plain: dict[str, str] = {}
    for name in table.names:
        if name not in taken:
            plain.setdefault(plain_name(name), name)
    for spelling in SPELLINGS.get(role, ()):
        if (found := plain.get(plain_name(spelling))) is not None:
            file.choose(role, f"{where}/{found}", f"its name is a spelling of {role}")
            return found
    return None


def event_times(
    table: Table,
    name: str,
    *,
    role: str,
    start: FloatArray | None,
    stop: FloatArray | None,
    is_relative: bool,
) -> FloatArray:
    """Read a column of times, one for each trial.

    Parameters
    ----------
    table
        The table.
    name
        Column.
    role
        What it says, for messages.
    start, stop
        Start and stop of each trial, s; the event lies between them. None: it is not checked.
        Shape ``(n_trials,)``.
    is_relative
        Whether the times count from the start of the trial.

    Returns
    -------
    times
        s; NaN where a trial has none, or one outside the trial (that is said). Shape ``(n_trials,)``.

    Raises
    ------
    DataError
        If the column does not hold one number for each trial, or most times lie outside their trial.
    """
    column = table.column(name)
    times = _one_number_each(table, column, role=role)
    if start is None or stop is None:
        return times
    if is_relative:
        times = times + start
    known = np.isfinite(times) & np.isfinite(start) & np.isfinite(stop)
    outside = known & ~_within(times, start, stop)
    if not outside.any():
        return times
    where = f"{table.file.name}: /{column.path}"
    if outside.sum() > known.sum() / 2:
        raise DataError(
            f"{where} ({role}): {int(outside.sum())} of {int(known.sum())} times lie outside their trial, "
            f"e.g. {times[outside][0]:g} s in a trial from {start[outside][0]:g} to {stop[outside][0]:g} s. "
            f"{_what_would_fit(times[known], start[known], stop[known], name)}"
        )
    table.file.say(
        f"/{column.path}: {int(outside.sum())} of {int(known.sum())} times lie outside their trial and are "
        "not used"
    )
    return np.where(outside, np.nan, times)


def _within(times: FloatArray, start: FloatArray, stop: FloatArray) -> np.ndarray:
    # Events are rounded to the sampling of other streams than the edges of the trial.
    slack = 0.05 * np.maximum(stop - start, 0.0) + 0.02
    return np.asarray((times >= start - slack) & (times <= stop + slack))


def _what_would_fit(times: FloatArray, start: FloatArray, stop: FloatArray, name: str) -> str:
    def fits(candidate: FloatArray) -> bool:
        return bool(_within(candidate, start, stop).mean() > 0.9)

    if fits(times + start):
        return f"They count from the start of the trial: use --set columns.relative=[{name}]."
    for factor, unit in ((1e-3, "ms"), (1e-6, "µs"), (1 / 30000, "samples of 30 kHz")):
        if fits(times * factor):
            return f"They fit in {unit}: write the column in seconds (times {factor:g})."
    return "Name another column, or mend the file."


def _one_number_each(table: Table, column: Column, *, role: str) -> FloatArray:
    where = f"{table.file.name}: /{column.path} ({role})"
    another = f"Name another column with --set columns.{role}=NAME"
    if column.kind != "number":
        shown = next((str(v) for v in column.values.ravel() if str(v)), "nothing")
        raise DataError(
            f"{where} holds {'text' if column.kind == 'text' else 'truth values'} such as {shown!r}; "
            f"expected times in seconds. Write it as numbers. {another}."
        )
    found = column.one_each()
    if found is None:
        counts = column.counts
        many = f"{counts.min()} to {counts.max()}" if counts.min() < counts.max() else str(counts.min())
        raise DataError(
            f"{where} holds {many} times a trial; expected one. {another}, or "
            "write one column for each event."
        )
    return np.asarray(found, dtype=np.float64)


def value_counts(column: Column) -> dict[str, int]:
    """Return how often each value of a column occurs, as text, most frequent first; NaN as ``missing``."""
    values = column.one_each()
    flat = column.values.ravel() if values is None else values
    missing = is_missing(flat)
    shown = np.array([_shown(v) for v in flat], dtype=object)
    shown[missing] = "missing"
    names, counts = np.unique(shown.astype(str), return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return {str(names[i]): int(counts[i]) for i in order}


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float | np.floating) else str(value).strip()
