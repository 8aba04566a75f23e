"""Where the target of each trial was, and which condition that makes it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.nwb.tables import Column, Table, is_missing
from nwb_latents.pipeline.nwb.trial_columns import columns_of_role, find_column
from nwb_latents.pipeline.nwb.trial_directions import (
    LARGEST_DEG,
    angles_in_text,
    angles_of_vectors,
    angles_of_words,
    are_angles,
    are_numbers,
    one_place_each,
    places_in_text,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nwb_latents.pipeline.nwb.file import NwbFile
    from nwb_latents.pipeline.signals.recording import BoolArray, FloatArray
    from nwb_latents.schemas.columns import AngleUnit, ColumnSettings

FEWEST_PLACES = 3
"""The middle of fewer targets need not be where the hand starts."""

SEVERAL = "holds several places a trial"
"""Why a ragged column tells no directions."""

MOSTLY = 0.5

FEWEST_TRIALS = 20
ALL_DIFFERENT = 0.9
"""Values are of no conditions where so many trials, at least, nearly all have one of their own."""

MOST_RADIANS = 4 * np.pi
"""Angles up to this, and no whole numbers, are radians: as degrees all targets would be one."""

SAME_RAD = 0.05
"""Directions of two columns closer than this are the same."""


@dataclass(frozen=True)
class Targets:
    """What a trial table says of its targets.

    Attributes
    ----------
    direction
        Radians, NaN where unknown. Shape ``(n_trials,)``.
    condition
        Name of the condition, ``""`` where the table gives none. Shape ``(n_trials,)``, object.
    path
        Where in the file they are from; empty: nothing says it.
    block
        Block of each trial where a column of blocks was named, ``unknown`` where it holds none. Shape
        ``(n_trials,)``, object.
    """

    direction: FloatArray
    condition: NDArray[np.object_]
    path: str = ""
    block: NDArray[np.object_] | None = None


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
    names = _condition_columns(table, wanted, joint)
    found = _from_positions(table, wanted) if wanted.target_pos else None
    found = found or _from_directions(table, wanted)
    found = found or _from_positions(table, wanted, is_named_otherwise=bool(names)) or nothing
    if names:
        columns = [table.column(name) for name in names]
        values = [_plain(table, column) for column in columns]
        condition = join_columns(values)
        paths = ", ".join(f"/{c.path}" for c in columns)
        table.file.choose(
            "condition", paths,
            "named by columns.condition" if wanted.condition else _why(table, names, joint),
        )  # fmt: skip
        if wanted.condition and are_all_different(condition):
            table.file.say(
                f"{paths}: nearly every trial has a value of its own ({len(set(condition))} in {n} trials): "
                "as conditions they group no trials"
            )
        found = replace(found, condition=condition, path=paths)
    if wanted.block:
        find_column(table, "block", named=wanted.block)
        blocks = join_columns([_plain(table, table.column(wanted.block))])
        if are_all_different(blocks):
            table.file.say(
                f"/{table.path}/{wanted.block}: nearly every trial has a value of its own "
                f"({len(set(blocks))} in {n} trials): as blocks they group no trials"
            )
        if n_none := int((blocks == "").sum()):
            table.file.say(f"/{table.path}/{wanted.block}: {n_none} of {n} trials are of no block (unknown)")
        found = replace(found, block=np.where(blocks == "", "unknown", blocks).astype(object))
    return found


def are_all_different(condition: NDArray[np.object_]) -> bool:
    """Return whether nearly every trial has a condition of its own, which then is none.

    Examples
    --------
    >>> are_all_different(np.array([f"c{i}" for i in range(40)], dtype=object))
    True
    >>> are_all_different(np.array(["a", "b"] * 20, dtype=object))
    False
    """
    known = condition[condition != ""]
    return len(known) >= FEWEST_TRIALS and len(set(known.tolist())) >= ALL_DIFFERENT * len(known)


def say_where_unknown(file: NwbFile, targets: Targets, *, used: BoolArray) -> None:
    """Say how many of the trials that count have no direction, or no condition, and what they get.

    Parameters
    ----------
    file
        The open file.
    targets
        What the table says.
    used
        Trials that count. Shape ``(n_trials,)``.
    """
    if not targets.path:
        return
    is_named = (targets.condition != "").any()
    unknown = used & (targets.condition == "") & ~np.isfinite(targets.direction)
    if not unknown.any():
        return
    # Where the table gives neither, the movement tells.
    what = "value" if is_named else "direction"
    file.say(
        f"{targets.path}: {int(unknown.sum())} of {int(used.sum())} trials have no {what}; their condition "
        "is the octant of their movement"
    )


def _condition_columns(
    table: Table, wanted: ColumnSettings, joint: tuple[tuple[str, ...], ...]
) -> tuple[str, ...]:
    for name in wanted.condition:
        find_column(table, "condition", named=name)
    if wanted.condition:
        return wanted.condition
    for names in _complete(table, joint):
        values = join_columns([_plain(table, table.column(name)) for name in names])
        if not are_all_different(values):
            return names
        shown = ", ".join(f"/{table.path}/{name}" for name in names)
        table.file.say(
            f"{shown}: nearly every trial has a value of its own ({len(set(values))} in {len(values)} "
            f"trials): not taken as conditions; if they are, use --set columns.condition=[{','.join(names)}]"
        )
    return ()


def _complete(table: Table, joint: tuple[tuple[str, ...], ...]) -> list[tuple[str, ...]]:
    return [
        names
        for names in joint
        if all(table.has(name) for name in names) and all(table.column(name).is_scalar for name in names)
    ]


def _why(table: Table, names: tuple[str, ...], joint: tuple[tuple[str, ...], ...]) -> str:
    others = [name for each in _complete(table, joint) for name in each if name not in names]
    before = f", before {', '.join(f'/{table.path}/{name}' for name in others)}" if others else ""
    return f"columns that name conditions{before}"


def _plain(table: Table, column: Column) -> NDArray[Any]:
    values = column.one_each()
    if values is None:
        raise DataError(
            f"{table.file.name}: /{column.path} (condition) holds several values a trial. Name another "
            "column with --set columns.condition=[NAME]."
        )
    return values


def _from_directions(table: Table, wanted: ColumnSettings) -> Targets | None:
    """Read the first column of directions that can be read; say of others why not."""
    named = wanted.target_dir
    seen: list[str] = []
    for name in (named,) if named else columns_of_role(table, "target_dir"):
        find_column(table, "target_dir", named=named, taken=seen)
        seen.append(name)
        column = table.column(name)
        found = _directions(table, column, unit=wanted.target_dir_unit)
        if isinstance(found, Targets):
            if not named:
                _compare(table, found, seen, unit=wanted.target_dir_unit)
            return found
        if named:
            raise DataError(
                f"{table.file.name}: /{column.path} (target_dir) {found}; expected an angle or a word each. "
                "Name another column with --set columns.target_dir=NAME."
            )
        table.file.withdraw("target_dir")
        table.file.say(f"/{column.path} (target_dir) {found}; it is not read")
    return None


def _directions(table: Table, column: Column, *, unit: AngleUnit) -> Targets | str:
    """Return directions, or why a column holds none."""
    path, nothing = f"/{column.path}", np.full(table.n_rows, "", dtype=object)
    if column.kind == "bool":
        return "holds truth values"
    values = column.one_each()
    if values is None:
        if column.ends is None and (vectors := angles_of_vectors(column.values)) is not None:
            table.file.say(f"{path} holds unit vectors; their directions are read")
            return Targets(vectors, nothing, path)
        most = int(column.counts.max())
        place = f" (if it is a place: --set columns.target_pos={column.name})" if most in {2, 3} else ""
        return f"holds {'up to ' if column.ends is not None else ''}{most} values a trial{place}"
    if is_missing(values).all():
        return "holds no value in any trial"
    if column.kind == "text":
        return _from_words(table, column, values, unit=unit)
    return _from_numbers(table, column, values, unit=unit)


def _from_numbers(table: Table, column: Column, values: FloatArray, *, unit: AngleUnit) -> Targets | str:
    path, nothing = f"/{column.path}", np.full(table.n_rows, "", dtype=object)
    given = ~np.isnan(values)
    odd = given & ~are_angles(values)
    if odd.sum() > given.sum() / 2:
        worst = float(np.abs(values[given]).max())
        return f"holds numbers up to {worst:g}, which are no angles in degrees or radians"
    if odd.any():
        table.file.say(
            f"{path}: {int(odd.sum())} of {len(values)} values are no angles (infinite or beyond "
            f"{LARGEST_DEG:g}) and count as missing"
        )
        values = np.where(odd, np.nan, values)
    if unit == "auto" and are_numbers(values):
        table.file.say(
            f"{path} holds the numbers {_some(values)}: taken as numbers of targets, not as angles; "
            "if they are, set columns.target_dir_unit"
        )
        names = join_columns([np.array(["target"] * len(values), dtype=object), values])
        return Targets(np.full(len(values), np.nan), names, path)
    return Targets(_radians(table, column, values, unit), nothing, path)


def _compare(table: Table, found: Targets, seen: list[str], *, unit: AngleUnit) -> None:
    """Say where another column of directions tells other ones."""
    for other in columns_of_role(table, "target_dir", taken=seen):
        file = table.file
        said, choices = list(file.said), list(file.choices)
        theirs = _directions(table, table.column(other), unit=unit)
        # What is odd about a column that is not used is no matter.
        file.said[:], file.choices[:] = said, choices
        if isinstance(theirs, str):
            continue
        both = np.isfinite(found.direction) & np.isfinite(theirs.direction)
        apart = np.abs(np.angle(np.exp(1j * (found.direction - theirs.direction))))[both] > SAME_RAD
        if apart.any():
            file.say(
                f"/{table.path}/{other} tells another direction than {found.path} in {int(apart.sum())} of "
                f"{int(both.sum())} trials; {seen[-1]} is used. To take the other: --set "
                f"columns.target_dir={other}"
            )


def _some(values: NDArray[Any]) -> str:
    distinct = np.unique(values[np.isfinite(values)])
    return ", ".join(f"{v:g}" for v in distinct[:10]) + (" …" if len(distinct) > 10 else "")


def _radians(table: Table, column: Column, values: FloatArray, unit: AngleUnit) -> FloatArray:
    known = values[np.isfinite(values)]
    if unit == "radians":
        return values
    largest = float(np.abs(known).max(initial=0.0))
    if unit == "auto" and 2 * np.pi + 1e-6 < largest <= MOST_RADIANS and (known != np.round(known)).any():
        table.file.say(
            f"/{column.path}: angles up to {largest:g} are taken as radians beyond a full turn; if they are "
            "degrees, set columns.target_dir_unit"
        )
        return values
    if unit == "degrees" or largest > 2 * np.pi + 1e-6:
        if unit == "auto":
            table.file.say(f"/{column.path}: angles up to {largest:g} are taken as degrees")
        return np.asarray(np.deg2rad(values))
    return values


def _from_words(table: Table, column: Column, values: NDArray[Any], *, unit: AngleUnit) -> Targets | str:
    path = f"/{column.path}"
    if (written := angles_in_text(values)) is not None:
        angles, said = written
        if unit == "auto":
            unit = said
        table.file.say(f"{path} holds angles as text; they are read as numbers")
        return _from_numbers(table, column, angles, unit=unit)
    words = np.where(is_missing(values), "", [str(v).strip() for v in values]).astype(object)
    direction = angles_of_words(words)
    if direction is None:
        table.file.say(f"{path} holds text that names no direction; it is read as the condition")
        return Targets(np.full(len(words), np.nan), words, path)
    if len(set(words.tolist())) > len({word.lower() for word in words}):
        words = np.array([word.lower() for word in words], dtype=object)
    return Targets(direction, words, path)


def _from_positions(
    table: Table, wanted: ColumnSettings, *, is_named_otherwise: bool = False
) -> Targets | None:
    """Read the first column of places that tells directions; say of others why not.

    Of the places of several targets a trial nothing is said where other columns name the condition.
    """
    named = wanted.target_pos
    seen: list[str] = []
    for name in (named,) if named else columns_of_role(table, "target_pos"):
        find_column(table, "target_pos", named=named, taken=seen)
        seen.append(name)
        column = table.column(name)
        place, fault = _places(table, column)
        if fault and named and not len(place):
            raise DataError(
                f"{table.file.name}: /{column.path} (target_pos) {fault}; expected two or three numbers a "
                "trial. Name another column with --set columns.target_pos=NAME."
            )
        if fault:
            table.file.withdraw("target_pos")
            # Where nearly every trial has one place, another number of them is no task of several targets.
            is_task = column.ends is not None and float(np.mean(column.counts == 1)) < MOSTLY
            if not (is_named_otherwise and fault == SEVERAL and is_task):
                table.file.say(f"/{column.path} (target_pos) {fault}; no directions are read from it")
            continue
        known = np.isfinite(place).all(axis=1)
        if n_endless := int(np.isinf(place).any(axis=1).sum()):
            table.file.say(f"/{column.path}: inf in {n_endless} trials is no place; they have no direction")
        different = np.unique(place[known].round(3), axis=0)
        away = place - (different.min(axis=0) + different.max(axis=0)) / 2
        direction = np.where(
            known & (np.hypot(away[:, 0], away[:, 1]) > 0), np.arctan2(away[:, 1], away[:, 0]), np.nan
        )
        table.file.choose(
            "target_dir", f"/{column.path}", "direction of the target from the middle of all targets"
        )
        return Targets(direction, np.full(len(place), "", dtype=object), f"/{column.path}")
    return None


def _places(table: Table, column: Column) -> tuple[FloatArray, str]:
    """Return places, and why they tell no directions: empty where they do; no place at all where none is."""
    place, fault = column.values, ""
    if column.kind == "bool":
        fault = "holds truth values"
    elif column.ends is not None:
        one_place = one_place_each(column)
        place, fault = (column.values, SEVERAL) if one_place is None else (one_place, "")
    elif column.kind == "text":
        read = places_in_text(place) if place.ndim == 1 else None
        if read is None:
            fault = f"holds text such as {next((str(v) for v in place.ravel() if str(v)), 'nothing')!r}"
        else:
            table.file.say(f"/{column.path} holds places as text; they are read as numbers")
            place = read
    if not fault and (place.ndim != 2 or place.shape[1] not in {2, 3}):
        each = "1 number" if place.ndim == 1 else f"{' × '.join(map(str, place.shape[1:]))} numbers"
        fault = f"holds {each} a trial"
    if fault:
        return np.zeros((0, 2)), fault
    place = np.asarray(place, dtype=np.float64)
    known = np.isfinite(place).all(axis=1)
    n = len(np.unique(place[known].round(3), axis=0))
    if not n:
        return place, "holds no place in any trial"
    return (
        place,
        f"holds {n} place{'s' * (n != 1)}, too few to tell directions from" if n < FEWEST_PLACES else "",
    )


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
