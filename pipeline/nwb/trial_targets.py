"""Where the target of each trial was, and which condition that makes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.nwb.tables import Column, Table, is_missing
from nwb_latents.pipeline.nwb.trial_columns import find_column

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nwb_latents.pipeline.signals.recording import FloatArray
    from nwb_latents.schemas.columns import AngleUnit, ColumnSettings

WORDS = {
    "right": 0.0, "rightward": 0.0, "east": 0.0, "up": 90.0, "upward": 90.0, "top": 90.0, "north": 90.0,
    "left": 180.0, "leftward": 180.0, "west": 180.0, "down": 270.0, "downward": 270.0, "bottom": 270.0,
    "south": 270.0,
}  # fmt: skip
"""Words for directions, and what they are in degrees."""

MOST_NUMBERS = 16
"""Whole numbers up to this, no multiples of 5, are numbers of targets and no angles."""

FEWEST_PLACES = 3
"""The middle of fewer targets need not be where the hand starts."""


@dataclass(frozen=True)
class Targets:
    """What a trial table says of its targets.

    Attributes
    ----------
    direction
        Radians, NaN where unknown. Shape ``(n_trials,)``.
    condition
        Name of the condition, ``""`` where the table gives none. Shape ``(n_trials,)``, object.
    """

    direction: FloatArray
    condition: NDArray[np.object_]


def read_targets(table: Table, wanted: ColumnSettings, *, joint: tuple[tuple[str, ...], ...] = ()) -> Targets:
    """Read directions and conditions.

    Parameters
    ----------
    table
        The trial table.
    wanted
        Columns a person named.
    joint
        Columns that name a condition together, in order of preference.

    Raises
    ------
    DataError
        If a column that was named is not there or cannot be what it was named for.
    """
    n = table.n_rows
    nothing = Targets(np.full(n, np.nan), np.full(n, "", dtype=object))
    found = _from_positions(table, wanted) if wanted.target_pos else None
    found = found or _from_directions(table, wanted) or _from_positions(table, wanted) or nothing
    names = _condition_columns(table, wanted, joint)
    if names:
        columns = [table.column(name) for name in names]
        values = [_plain(table, column) for column in columns]
        condition = join_columns(values)
        table.file.choose(
            "condition", ", ".join(f"/{c.path}" for c in columns),
            "named by columns.condition" if wanted.condition else "columns that name conditions",
        )  # fmt: skip
        found = Targets(found.direction, condition)
    if wanted.block:
        find_column(table, "block", named=wanted.block)
        blocks = _plain(table, table.column(wanted.block))
        found = Targets(found.direction, join_columns([_or_unknown(found.condition), blocks]))
    return found


def _or_unknown(condition: NDArray[np.object_]) -> NDArray[np.object_]:
    return np.where(condition == "", "unknown", condition).astype(object)


def _condition_columns(
    table: Table, wanted: ColumnSettings, joint: tuple[tuple[str, ...], ...]
) -> tuple[str, ...]:
    for name in wanted.condition:
        find_column(table, "condition", named=name)
    if wanted.condition:
        return wanted.condition
    for names in joint:
        if all(table.has(name) for name in names) and all(table.column(name).is_scalar for name in names):
            return names
    return ()


def _plain(table: Table, column: Column) -> NDArray[Any]:
    values = column.one_each()
    if values is None:
        raise DataError(
            f"{table.file.name}: /{column.path} (condition) holds several values a trial. Name another "
            "column with --set columns.condition=[NAME]."
        )
    return values


def _from_directions(table: Table, wanted: ColumnSettings) -> Targets | None:
    name = find_column(table, "target_dir", named=wanted.target_dir)
    if name is None:
        return None
    column = table.column(name)
    values = column.one_each()
    nowhere = np.full(table.n_rows, np.nan)
    empty = np.full(table.n_rows, "", dtype=object)
    if values is None or column.kind == "bool":
        if wanted.target_dir:
            raise DataError(
                f"{table.file.name}: /{column.path} (target_dir) holds "
                f"{'truth values' if column.kind == 'bool' else 'several values a trial'}; expected an angle "
                "or a word each. Name another column."
            )
        table.file.withdraw("target_dir")
        table.file.say(f"/{column.path} holds no single direction a trial and is not read")
        return None
    if column.kind == "text":
        return _from_words(table, column, values)
    if wanted.target_dir_unit == "auto" and _are_numbers(values):
        table.file.say(
            f"/{column.path} holds the numbers {_some(values)}: taken as numbers of targets, not as angles; "
            "if they are, set columns.target_dir_unit"
        )
        return Targets(nowhere, join_columns([np.array(["target"] * len(values), dtype=object), values]))
    return Targets(_radians(table, column, values, wanted.target_dir_unit), empty)


def _are_numbers(values: NDArray[Any]) -> bool:
    """Whether values are numbers of targets: small, whole, and no angles that anybody would choose."""
    known = values[np.isfinite(values)]
    if not len(known) or not (known == np.round(known)).all():
        return False
    distinct = np.unique(known)
    return bool(distinct.min() >= 0 and 2 < distinct.max() <= MOST_NUMBERS and not (distinct % 5 == 0).all())


def _some(values: NDArray[Any]) -> str:
    distinct = np.unique(values[np.isfinite(values)])
    return ", ".join(f"{v:g}" for v in distinct[:10]) + (" …" if len(distinct) > 10 else "")


def _radians(table: Table, column: Column, values: FloatArray, unit: AngleUnit) -> FloatArray:
    known = values[np.isfinite(values)]
    if unit == "radians":
        return values
    if unit == "degrees" or (len(known) and np.abs(known).max() > 2 * np.pi + 1e-6):
        if unit == "auto":
            table.file.say(f"/{column.path}: angles up to {np.abs(known).max():g} are taken as degrees")
        return np.asarray(np.deg2rad(values))
    return values


def _from_words(table: Table, column: Column, values: NDArray[Any]) -> Targets:
    words = np.array([str(v).strip() for v in values], dtype=object)
    missing = is_missing(values)
    known = [w.lower() in WORDS for w in words[~missing]]
    direction = np.full(len(words), np.nan)
    if known and all(known):
        for i in np.flatnonzero(~missing):
            direction[i] = np.deg2rad(WORDS[words[i].lower()])
    else:
        table.file.say(f"/{column.path} holds text that names no direction; it is read as the condition")
    return Targets(direction, np.where(missing, "", words).astype(object))


def _from_positions(table: Table, wanted: ColumnSettings) -> Targets | None:
    name = find_column(table, "target_pos", named=wanted.target_pos)
    if name is None:
        return None
    column = table.column(name)
    place = column.values
    if column.kind != "number" or column.ends is not None or place.ndim != 2 or place.shape[1] not in (2, 3):
        if wanted.target_pos:
            raise DataError(
                f"{table.file.name}: /{column.path} (target_pos) has the shape {place.shape}; expected two "
                "or three numbers a trial. Name another column."
            )
        table.file.withdraw("target_pos")
        return None
    known = np.isfinite(place).all(axis=1)
    different = np.unique(place[known].round(3), axis=0)
    if len(different) < FEWEST_PLACES:
        table.file.withdraw("target_pos")
        table.file.say(f"/{column.path} holds {len(different)} places, too few to tell directions from")
        return None
    middle = (different.min(axis=0) + different.max(axis=0)) / 2
    away = place - middle
    direction = np.where(
        known & (np.hypot(away[:, 0], away[:, 1]) > 0), np.arctan2(away[:, 1], away[:, 0]), np.nan
    )
    table.file.choose(
        "target_dir", f"/{column.path}", "direction of the target from the middle of all targets"
    )
    return Targets(direction, np.full(len(place), "", dtype=object))


def join_columns(columns: list[NDArray[Any]]) -> NDArray[np.object_]:
    """Return a name for each combination of values; empty where a value is missing.

    Examples
    --------
    >>> join_columns([np.array(["a", "b"], dtype=object), np.array([1.0, np.nan])]).tolist()
    ['a-1', '']
    """
    out = np.full(len(columns[0]), "", dtype=object)
    for i, row in enumerate(zip(*columns, strict=True)):
        if all(isinstance(v, str) or np.isfinite(v) for v in row):
            out[i] = "-".join(v if isinstance(v, str) else f"{float(v):g}" for v in row)
    return out
