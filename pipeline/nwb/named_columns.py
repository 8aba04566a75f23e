"""Columns a person named are read, whatever the layout knows, or refused: they are never passed over."""

from __future__ import annotations

import difflib
from dataclasses import replace
from typing import TYPE_CHECKING

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.nwb.tables import Table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nwb_latents.pipeline.nwb.file import NwbFile
    from nwb_latents.pipeline.signals.recording import TrialTable
    from nwb_latents.schemas.columns import ColumnSettings

ROLES = (
    "go_cue", "target_on", "move_onset", "end", "success", "target_dir", "target_pos", "condition", "block",
)  # fmt: skip
"""Settings of `columns` that name one column or several."""

EVENTS = ("go_cue", "target_on", "move_onset", "move_end", "end")


def near_name(name: str, names: Iterable[str]) -> str:
    """Return a hint at the column that was probably meant; empty where none is like it.

    Examples
    --------
    >>> near_name("go_cue_tim", ["start_time", "go_cue_time"])
    ' Did you mean go_cue_time?'
    >>> near_name("/intervals/trials/result", ["result"])
    ' Did you mean result?'
    """
    names = list(names)
    last = name.rpartition("/")[2]
    by_small = {each.lower(): each for each in reversed(names)}
    close = [last] if last in names else difflib.get_close_matches(last.lower(), by_small, n=1)
    return f" Did you mean {by_small.get(close[0], close[0])}?" if close else ""


def names_columns(wanted: ColumnSettings) -> list[str]:
    """Return the settings that name columns, with what they name.

    Examples
    --------
    >>> from nwb_latents.schemas.columns import ColumnSettings
    >>> names_columns(ColumnSettings(go_cue="cue", condition=("a", "b"), success_values=("1",)))
    ['columns.go_cue=cue', 'columns.condition=[a,b]', 'columns.success_values=[1]']
    """
    return [
        f"columns.{name}={value if isinstance(value, str) else '[' + ','.join(value) + ']'}"
        for name in (*ROLES, "relative", "success_values")
        if (value := getattr(wanted, name))
    ]


def as_named(trials: TrialTable, plain: TrialTable, wanted: ColumnSettings) -> TrialTable:
    """Return trials in which columns a person named stand before what the layout makes of others.

    Parameters
    ----------
    trials
        As the layout reads them.
    plain
        The same rows, read by the names of the columns alone.
    wanted
        Columns that a person named.
    """
    if len(plain) != len(trials):
        return trials
    if wanted.target_dir or wanted.target_pos:
        trials = replace(trials, target_dir=plain.target_dir)
    if wanted.condition:
        trials = replace(trials, condition=plain.condition)
    if wanted.success or wanted.success_values:
        trials = replace(trials, success=plain.success)
    return trials


def require_read(file: NwbFile, *, layout: str) -> None:
    """Refuse columns that were named and not read.

    Parameters
    ----------
    file
        The open file, after its trial table was read.
    layout
        Name of the layout that read it.

    Raises
    ------
    DataError
        If there are any.
    """
    wanted, table = file.wanted, Table(file, file.trials_path)
    chosen = {choice.what for choice in file.choices if choice.why.startswith("named by columns.")}
    passed_over = [role for role in ROLES if getattr(wanted, role) and role not in chosen]
    if wanted.success_values and not any(choice.what == "success values" for choice in file.choices):
        passed_over.append("success_values")
    times = {choice.value for choice in file.choices if choice.what in EVENTS}
    for name in wanted.relative:
        if not table.has(name):
            near = near_name(name, table.names)
            raise DataError(
                f"{file.name}: columns.relative: /{table.path} has no column {name!r}.{near} Its columns "
                f"are: {', '.join(table.names) or 'none'}."
            )
        if name not in {"start_time", "stop_time"} and f"/{table.path}/{name}" not in times:
            raise DataError(
                f"{file.name}: columns.relative names {name}, which is not read as the time of any event. "
                f"Name it for one as well, e.g. --set columns.go_cue={name}, or take it out."
            )
    if passed_over:
        named = ", ".join(f"columns.{role}" for role in passed_over)
        raise DataError(
            f"{file.name}: {named} cannot be followed: layout {layout} makes trials in its own way, not by "
            f"the rows and columns of /{table.path}. Read the table as it is with --set layout=generic, "
            f"or leave out {named}."
        )
