"""Which column of a trial table says what: by the name a person gave, or by the spellings labs use."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.nwb.named_columns import near_name
from nwb_latents.pipeline.nwb.tables import Column, Table, is_missing

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from nwb_latents.pipeline.nwb.file import NwbFile

SPELLINGS: dict[str, tuple[str, ...]] = {
    "target_on": (
        "target_on", "target_onset", "target_presentation", "target_shown", "target_appearance", "target_cue",
        "target_displayed", "tgt_on",
    ),
    "go_cue": (
        "go_cue", "gocue", "go", "go_signal", "go_cue_onset", "go_tone", "imperative_cue",
        "imperative_signal", "imperative_stimulus",
    ),
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
        "target_dir", "target_direction", "target_angle", "tgt_dir", "tgt_direction", "tgt_angle",
        "reach_dir", "reach_direction", "reach_angle", "direction", "target_angle_deg", "target_dir_deg",
        "target_direction_deg", "target_angle_rad", "target_dir_rad", "reach_angle_deg",
    ),
    "target_pos": ("target_pos", "target_position", "target_positions", "target_location", "target_xy"),
    "condition": ("condition", "condition_id", "target_id", "movement_type"),
}  # fmt: skip
"""Role → plain names of columns that have it, in order of preference (see `plain_name`)."""

_PREFIX = re.compile(r"^(time|t)([_ ]of)?([_ ](?=\w)|(?=[A-Z][a-z]))")
_SUFFIX = re.compile(r"(times?|sec|secs|seconds|array|timestamps?|s)$")


def plain_name(name: str) -> str:
    """Return a column's name without what spellings differ in: case, separators, ``_time`` and the like.

    Examples
    --------
    >>> [plain_name(n) for n in ("go_cue_time", "GoCue", "go_cue_time_array", "goCueTimes")]
    ['gocue', 'gocue', 'gocue', 'gocue']
    >>> [plain_name(n) for n in ("time_go_cue", "tGoCue", "time_of_go", "timeout", "target_on")]
    ['gocue', 'gocue', 'go', 'timeout', 'targeton']
    """
    plain = re.sub(r"[^a-z0-9]", "", _PREFIX.sub("", name).lower())
    while (shorter := _SUFFIX.sub("", plain)) and shorter != plain and len(shorter) > 1:
        plain = shorter
    return plain


def columns_of_role(
    table: Table, role: str, *, also: Iterable[str] = (), taken: Collection[str] = ()
) -> list[str]:
    """Return the columns whose names say a role, the one to take first.

    Parameters
    ----------
    table
        The table.
    role
        A key of `SPELLINGS`.
    also
        Names a layout knows, in order of preference; they come before the spellings.
    taken
        Columns that have another role, whatever their spelling.
    """
    known = [name for name in also if table.has(name)]
    spelled: dict[str, list[str]] = {}
    for name in table.names:
        if name not in taken:
            spelled.setdefault(plain_name(name), []).append(name)
    for spelling in SPELLINGS.get(role, ()):
        known += spelled.get(plain_name(spelling), [])
    return list(dict.fromkeys(known))


def require_links(table: Table, role: str, *, also: Iterable[str] = ()) -> None:
    """Refuse a table whose column of a role is a link that leads nowhere.

    Raises
    ------
    DataError
        If there is one. A column that is listed alone is said instead (`Table.say_absent`).
    """
    spellings = {plain_name(spelling) for spelling in SPELLINGS.get(role, ())}
    for broken in table.file.tree.broken_links(table.path):
        name = broken.partition(" is a link")[0].rpartition("/")[2]
        if name in also or plain_name(name) in spellings:
            table.file.require_link(f"{table.path}/{name}")


def find_column(
    table: Table,
    role: str,
    *,
    named: str | None = None,
    also: Iterable[str] = (),
    taken: Collection[str] = (),
    beside: Iterable[str] = (),
) -> str | None:
    """Return the column of a table that has a role, and note the choice and what it was chosen before.

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
    beside
        Columns that say the same in another way, and come after all others.

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
                f"{file.name}: columns.{role}: {where} has no column {named!r}."
                f"{near_name(named, table.names)} Its columns are: {', '.join(table.names) or 'none'}."
            )
        file.choose(role, f"{where}/{named}", f"named by columns.{role}")
        return named
    also = tuple(also)
    found = columns_of_role(table, role, also=also, taken=taken)
    if not found:
        return None
    why = "the name the layout knows" if found[0] in also else f"its name is a spelling of {role}"
    others = [name for name in dict.fromkeys((*found[1:], *beside)) if name != found[0]]
    if others:
        why += f", before {', '.join(f'{where}/{name}' for name in others)}"
    file.choose(role, f"{where}/{found[0]}", why)
    return found[0]


_TELLING = re.compile(
    r"cue|go|imperative|onset|movement|move|reach|success|succe|correct|error|abort|fail|good|bad|valid|blacklist"
    r"|discard|reject|exclude|outlier|artifact|quality|outcome|result|reward|target|tgt|angle|direction|dir"
    r"|location|position|condition|cond|block|trial_type|catch|delay|reaction|hold"
)
MOST_OTHERS = 12


def note_others(file: NwbFile, path: str) -> None:
    """Note, once, the columns of the trial table that look as if they said something and are not read.

    Parameters
    ----------
    file
        The open file, after its table was read.
    path
        Path of the table.
    """
    table = Table(file, path)
    said = " ".join(choice.value + " " + choice.why for choice in file.choices)
    others = [
        name
        for name in table.names
        if _TELLING.search(name.lower())
        and f"{path}/{name}" not in file.opened
        and f"/{path}/{name}" not in said
    ]
    if others:
        shown = ", ".join(others[:MOST_OTHERS])
        more = len(others) - MOST_OTHERS
        file.choose(
            "other columns", shown + (f" and {more} more" if more > 0 else ""),
            f"not read; columns.<role> names one of /{path}",
        )  # fmt: skip


def value_counts(column: Column) -> dict[str, int]:
    """Return how often each value of a column occurs, as text, most frequent first; NaN as ``missing``."""
    values = column.one_each()
    flat = column.values.ravel() if values is None else values
    missing = is_missing(flat)
    shown = np.array([shown_value(v) for v in flat], dtype=object)
    shown[missing] = "missing"
    names, counts = np.unique(shown.astype(str), return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return {str(names[i]): int(counts[i]) for i in order}


def shown_value(value: object) -> str:
    """Return a value as lists of values show it: ``1`` for 1.0, text without blanks around it.

    Examples
    --------
    >>> shown_value(np.float64(1)), shown_value(" R ")
    ('1', 'R')
    """
    return f"{value:g}" if isinstance(value, float | np.floating) else str(value).strip()
