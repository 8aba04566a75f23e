"""Times of a trial table: when trials start and stop, and when the events of each happened."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.nwb.event_units import FEWEST, correlation, what_would_fit, within
from nwb_latents.pipeline.nwb.spike_clock import UNITS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from nwb_latents.pipeline.nwb.tables import Column, Table
    from nwb_latents.pipeline.signals.recording import BoolArray, FloatArray

COARSE_S = 0.03
"""Events told in steps of this or more are coarser than a bin, and that is said."""

SAME_S = 0.002
"""Times of two columns closer than this are the same."""


def event_times(
    table: Table,
    name: str,
    *,
    role: str,
    start: FloatArray | None,
    stop: FloatArray | None,
    is_relative: bool,
    go: FloatArray | None = None,
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
    go
        Go cue of each trial, s, where it is known; tells reaction times from times since the start.
        Shape ``(n_trials,)``.

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
    outside = known & ~within(times, start, stop)
    where = f"{table.file.name}: /{column.path}"
    if outside.sum() > known.sum() / 2:
        fit = what_would_fit(times[known], start[known], stop[known], None if go is None else go[known], name)
        raise DataError(
            f"{where} ({role}): {int(outside.sum())} of {int(known.sum())} times lie outside their trial, "
            f"e.g. {times[outside][0]:g} s in a trial from {start[outside][0]:g} to {stop[outside][0]:g} s. "
            f"{fit}"
        )
    if outside.any():
        table.file.say(
            f"/{column.path}: {int(outside.sum())} of {int(known.sum())} times lie outside their trial and "
            "are not used"
        )
    times = np.where(outside, np.nan, times)
    _require_event(table, column, role=role, times=times, start=start, stop=stop)
    return times


def _require_event(
    table: Table, column: Column, *, role: str, times: FloatArray, start: FloatArray, stop: FloatArray
) -> None:
    """Say, or refuse, what times within their trials cannot be."""
    if role not in {"go_cue", "move_onset"}:
        return
    known = np.isfinite(times) & np.isfinite(start) & np.isfinite(stop)
    n = int(known.sum())
    if n < FEWEST:
        return
    if (np.abs(times - stop)[known] < SAME_S).all():
        raise DataError(
            f"{table.file.name}: /{column.path} ({role}) is the stop of the trial in all {n} trials: no "
            f"movement follows it. Name another column with --set columns.{role}=NAME, or the end of trials "
            "with --set columns.end=NAME."
        )
    if (np.abs(times - start)[known] < SAME_S).all():
        table.file.say(
            f"/{column.path} ({role}) is the start of the trial in all {n} trials: reaction times count from "
            f"there; if another column says it, name that with --set columns.{role}=NAME"
        )
    step = coarseness(times[known])
    if step >= COARSE_S:
        table.file.say(
            f"/{column.path} ({role}) tells times in steps of {step:.3g} s: reaction times, and windows cut "
            "there, are no finer; write it as float64 seconds"
        )


def coarseness(times: FloatArray) -> float:
    """Return the steps times are told in, s; 0 where nothing shows that they are rounded.

    Parameters
    ----------
    times
        Finite, s. Shape ``(n,)``.

    Examples
    --------
    >>> coarseness(np.array([5.0, 8.0, 11.0])), coarseness(np.array([5.1, 8.234, 11.0]))
    (1.0, 0.0)
    >>> coarseness(np.array([5.1, 80.234, 120.3], dtype=np.float16).astype(float))
    0.0625
    """
    if len(times) < FEWEST:
        return 0.0
    if (times == np.round(times)).all():
        return 1.0
    largest = float(np.abs(times).max())
    for kind in (np.float16, np.float32):
        with np.errstate(over="ignore"):
            rounded = times.astype(kind)
            if (rounded.astype(np.float64) == times).all():
                return float(np.spacing(kind(largest)))
    return 0.0


def read_edges(
    table: Table, *, names: tuple[str, str], relative: Collection[str] = ()
) -> tuple[FloatArray, FloatArray]:
    """Read when trials start and stop.

    Parameters
    ----------
    table
        The table.
    names
        Columns of starts and of stops.
    relative
        Columns that count from the start of the trial; that of stops may be one: it holds durations.

    Returns
    -------
    start, stop
        s; NaN where a trial has no start or stop, or stops before it starts (that is said). Each of shape
        ``(n_trials,)``.

    Raises
    ------
    DataError
        If most trials stop before they start, stops are in another unit, or all trials are one.
    """
    file = table.file
    start, stop = (
        event_times(table, name, role=role, start=None, stop=None, is_relative=False)
        for role, name in zip(("start", "stop"), names, strict=True)
    )
    for role, name, times in zip(("start", "stop"), names, (start, stop), strict=True):
        if len(times) and not np.isfinite(times).any():
            other = (
                "name another column with --set columns.end=NAME"
                if role == "stop"
                else "find reaches from speed with --set trials.source=speed"
            )
            raise DataError(
                f"{file.name}: /{table.path}/{name} ({role}) holds no finite time in any of {len(times)} "
                f"trials. Write it in seconds, or {other}."
            )
    start, stop = (np.where(np.isfinite(each), each, np.nan) for each in (start, stop))
    if names[1] in relative:
        stop = start + stop
    known = np.isfinite(start) & np.isfinite(stop)
    n, turned = int(known.sum()), known & (stop < start)
    empty = known & (stop == start)
    if (n and (turned | empty).sum() > n / 2) or _slope(start[known], stop[known]) is not None:
        raise DataError(_wrong_edges(table, names, start=start[known], stop=stop[known]))
    if turned.any():
        file.say(f"/{table.path}: {int(turned.sum())} trials stop before they start and are not used")
        start, stop = np.where(turned, np.nan, start), np.where(turned, np.nan, stop)
    _say_of_rows(table, names, start=start, stop=stop)
    return start, stop


def _slope(start: FloatArray, stop: FloatArray) -> float | None:
    """Return how much faster than starts stops run, where that cannot be; None where they share a unit."""
    if len(start) < FEWEST or np.ptp(start) <= 0 or np.ptp(stop) <= 0:
        return None
    with np.errstate(over="ignore"):
        ratio = float(np.ptp(stop) / np.ptp(start))
    alike = correlation(start, stop)
    return ratio if alike > 0.99 and not 0.2 < ratio < 5 else None


def _wrong_edges(table: Table, names: tuple[str, str], *, start: FloatArray, stop: FloatArray) -> str:
    """Say what starts and stops are that cannot be meant, and what would fit."""
    n = len(start)
    first, last = (f"/{table.path}/{name}" for name in names)
    where = f"{table.file.name}: {last}"
    at = int(np.flatnonzero(stop <= start)[0]) if (stop <= start).any() else 0
    example = f"e.g. {start[at]:g} and {stop[at]:g}"
    ratio = _slope(start, stop)
    if ratio is not None:
        slow, fast = (first, last) if ratio > 1 else (last, first)
        factor = 1 / ratio if ratio > 1 else ratio
        return (
            f"{table.file.name}: {first} and {last} share no unit: {fast} runs {1 / factor:.4g} times as "
            f"fast as {slow} ({example}); it fits {_as_unit(factor)}. Write both in seconds: {fast} times "
            f"{factor:.4g}."
        )
    n_before = int((stop < start).sum())
    if (stop == start).sum() > n / 2:
        return (
            f"{where} equals {first} in {int((stop == start).sum())} of {n} trials: they last 0 s. Name the "
            "column of ends with --set columns.end=NAME, or find reaches from speed with --set "
            "trials.source=speed."
        )
    what = f"{where}: {n_before} of {n} trials stop before they start ({example} s)"
    if (stop > 0).all() and _fits_between(start, start + stop):
        return (
            f"{what}: it fits as the duration of trials. If it is, use --set columns.relative=[{names[1]}]; "
            "else write the time of each stop in seconds."
        )
    if _fits_between(stop, start):
        return f"{what}: the two columns fit the other way round. Swap them in the file."
    return (
        f"{what}. Name the column of ends with --set columns.end=NAME, or find reaches from speed with "
        "--set trials.source=speed."
    )


def _as_unit(factor: float) -> str:
    unit = next((unit for known, unit in UNITS if abs(known / factor - 1) < 0.05), "")
    return f"as {unit}" if unit else f"as samples of {1 / factor:.4g} Hz"


def _fits_between(start: FloatArray, stop: FloatArray) -> bool:
    """Whether these could be the edges of trials: each ends before the next begins."""
    order = np.argsort(start, kind="stable")
    following = np.append(start[order][1:], np.inf)
    fits = (stop[order] > start[order]) & (stop[order] <= following + 0.1)
    return bool(len(fits) and fits.mean() > 0.8)


def _say_of_rows(table: Table, names: tuple[str, str], *, start: FloatArray, stop: FloatArray) -> None:
    """Say of rows that repeat others, or overlap with the next; refuse trials that are all the same."""
    known = np.flatnonzero(np.isfinite(start) & np.isfinite(stop))
    n = len(known)
    if n < FEWEST:
        return
    a, b = start[known], stop[known]
    if np.ptp(a) == 0:
        raise DataError(
            f"{table.file.name}: /{table.path}/{names[0]} is {a[0]:g} s in all {n} trials, which stop at "
            f"{b.min():g} to {b.max():g} s: these are no edges of trials. Write when each trial starts, or "
            "find reaches from speed with --set trials.source=speed."
        )
    repeats = n - len(np.unique(np.column_stack([a, b]), axis=0))
    if repeats:
        table.file.say(
            f"/{table.path}: {repeats} of {n} rows repeat an earlier one (the same start and stop); of each "
            "only one becomes a trial"
        )
    overlapping = int(((a[1:] > a[:-1]) & (a[1:] < b[:-1] - 0.1)).sum())
    if overlapping:
        table.file.say(
            f"/{table.path}: {overlapping} of {n} trials begin before the one before them has stopped; of "
            f"windows that overlap only the first is kept; if /{table.path}/{names[1]} is not the end of the "
            "trial, name that with --set columns.end=NAME"
        )


def say_where_others_differ(
    table: Table, role: str, name: str, others: Iterable[str], *, times: FloatArray, start: FloatArray,
    relative: Collection[str] = (),
) -> None:  # fmt: skip
    """Say of other columns of an event where they tell another time than the one that is used.

    Parameters
    ----------
    table
        The table.
    role, name
        What the column that is used says, and its name.
    others
        Columns whose names say the same.
    times, start
        What was read, and starts of trials, s. Shape ``(n_trials,)``.
    relative
        Columns that count from the start of the trial.
    """
    for other in others:
        if other == name:
            continue
        column = table.column(other)
        found = column.one_each()
        if column.kind != "number" or found is None:
            continue
        theirs = np.where(np.isfinite(found), found + (start if other in relative else 0.0), np.nan)
        both = np.isfinite(times) & np.isfinite(theirs)
        apart = np.abs(theirs - times)[both]
        n_apart = int((apart > SAME_S).sum())
        if n_apart:
            table.file.say(
                f"/{table.path}/{other} tells another {role} than /{table.path}/{name} in {n_apart} of "
                f"{int(both.sum())} trials (by {float(np.median(apart[apart > SAME_S])):.3g} s in the "
                f"median); {name} is used. To take the other: --set columns.{role}={other}"
            )


def say_where_absent(table: Table, go: FloatArray, *, used: BoolArray) -> None:
    """Say how many of the trials that count lack the go cue the others have.

    Parameters
    ----------
    table
        The table.
    go
        Go cues, s. Shape ``(n_trials,)``.
    used
        Trials that count. Shape ``(n_trials,)``.
    """
    absent = used & ~np.isfinite(go)
    if absent.any() and (used & ~absent).any():
        table.file.say(
            f"/{table.path}: {int(absent.sum())} of {int(used.sum())} trials have no time of the go cue: "
            "their movement is looked for from their start on, and their reaction times are not known"
        )


def _one_number_each(table: Table, column: Column, *, role: str) -> FloatArray:
    where = f"{table.file.name}: /{column.path} ({role})"
    setting = {"stop": "end"}.get(role, role)
    another = "Mend the file" if role == "start" else f"Name another column with --set columns.{setting}=NAME"
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
    times = np.asarray(found, dtype=np.float64)
    without = int((column.counts == 0).sum())
    if without:
        table.file.say(f"/{column.path} ({role}): {without} of {len(times)} trials have no entry")
    infinite = np.isinf(times)
    if infinite.any() and not infinite.all():
        table.file.say(
            f"/{column.path} ({role}): {int(infinite.sum())} of {len(times)} times are infinite and count as "
            "missing"
        )
    return np.where(infinite, np.nan, times)
