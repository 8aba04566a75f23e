"""Position and velocity series: found, read, and turned into seconds, cm and cm/s."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.nwb.kinematic_units import offset_of, scale_of
from nwb_latents.pipeline.nwb.movement_checks import say_still_axes, standstill, without_impossible
from nwb_latents.pipeline.nwb.read_choices import DERIVATIVE
from nwb_latents.pipeline.nwb.series_reasons import nothing_found
from nwb_latents.pipeline.nwb.series_samples import read_samples
from nwb_latents.pipeline.nwb.series_search import find_series
from nwb_latents.pipeline.nwb.series_times import read_times
from nwb_latents.pipeline.nwb.velocity_agreement import agreeing, say_contradictions
from nwb_latents.pipeline.signals.recording import BoolArray, FloatArray, Series

if TYPE_CHECKING:
    from nwb_latents.pipeline.nwb.file import NwbFile
    from nwb_latents.pipeline.nwb.layouts.layout import Layout
    from nwb_latents.schemas.recipe import IngestRecipe

LEAST_SAMPLES = 10
"""A series of fewer samples is of no movement."""

MANY_REPEATED = 0.05
"""A larger share of repeated time stamps is no glitch of the clock."""


@dataclass(frozen=True)
class Kinematics:
    """Position and velocity of a session.

    Attributes
    ----------
    position, velocity
        In `unit` and `unit` per second over seconds, with as many axes each; None where there is none.
    unit
        ``cm``, or what is no length: ``pixels``, ``degrees`` …
    warnings
        What was odd.
    position_series, velocity_series
        Paths they were read from; empty where there is none, or it is not used.
    """

    position: Series | None
    velocity: Series | None
    unit: str = "cm"
    warnings: tuple[str, ...] = ()
    position_series: tuple[str, ...] = ()
    velocity_series: tuple[str, ...] = ()


def series_paths(
    file: NwbFile, layout: Layout, recipe: IngestRecipe
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the paths of the series that position and velocity are read from.

    Parameters
    ----------
    file
        The open file.
    layout
        Its layout.
    recipe
        May name other series.

    Returns
    -------
    position, velocity
        Each empty where there is none; several paths are columns of one series.
    """
    position = recipe.position_series or layout.position
    velocity = recipe.velocity_series or layout.velocity
    if position is None and velocity is None and layout.finds_series:
        position, velocity = find_series(file)
    found = []
    for what, paths in (("position", position), ("velocity", velocity)):
        each = tuple(paths.split("+")) if isinstance(paths, str) else paths or ()
        each = tuple(one for path in each for one in _members(file, path.strip("/")))
        is_named = paths is not None and paths in (recipe.position_series, recipe.velocity_series)
        if is_named and each and not layout.needs_kinematics and not file.has("processing/behavior"):
            # Test files of the benchmark hold no behaviour at all; the recipe is that of the train file.
            file.say(f"/processing/behavior is not there: a file without kinematics, {paths} is not read")
            is_named = False
        gone = [path for path in each if not file.has(f"{path}/data")]
        if gone and not (layout.needs_kinematics or is_named):
            # A file without any behaviour is one without kinematics, which is a choice and no fault.
            if file.has("processing/behavior"):
                lacks = "has no data" if file.has(gone[0]) else "is not there"
                file.say(f"no {what} is read: /{gone[0]} {lacks}, where the layout has it")
            each = ()
        found.append(each)
    return found[0], found[1]


def _members(file: NwbFile, path: str) -> tuple[str, ...]:
    """Return a series, or of a group that holds several (`BehavioralTimeSeries`) all of them, by name."""
    if file.has(f"{path}/data") or not file.has(path):
        return (path,)
    below = [each for each in file.tree.groups(path) if file.has(f"{each}/data")]
    if below:
        file.choose(path.rsplit("/", 1)[-1], f"/{path}", f"a group of {len(below)} series, each an axis")
    return tuple(sorted(below)) or (path,)


def read_kinematics(file: NwbFile, layout: Layout, recipe: IngestRecipe) -> Kinematics:
    """Read position and velocity.

    Parameters
    ----------
    file
        The open file.
    layout
        Its layout.
    recipe
        May name other series than the layout does.

    Returns
    -------
    kinematics
        Position and velocity with as many axes each.

    Raises
    ------
    DataError
        If the layout needs kinematics and there are none, or a series cannot be read.
    """
    position_paths, velocity_paths = series_paths(file, layout, recipe)
    if not position_paths and not velocity_paths:
        if not layout.needs_kinematics:
            file.choose("kinematics", "none", "the file holds none: there is no velocity to decode")
            return Kinematics(None, None)
        raise nothing_found(file)
    if recipe.velocity_from == "position":
        velocity_paths = ()
    elif recipe.velocity_from == "series" and not velocity_paths:
        raise DataError(
            f"{file.name}: velocity_from is series, and no velocity series was found. Name one with --set "
            "velocity_series=PATH, or use --set velocity_from=auto."
        )
    position = velocity = None
    notes: list[str] = []
    unit = "cm"
    if velocity_paths:
        velocity, unit, said = read_series(file, velocity_paths, layout=layout, is_velocity=True)
        notes += said
    if position_paths:
        position, unit, said = read_series(file, position_paths, layout=layout)
        notes += said
    position, velocity = _on_one_clock(position, velocity)
    position, velocity = _that_move(
        file, recipe, position, velocity, paths=(position_paths, velocity_paths), unit=unit
    )
    if position:
        position = without_impossible(file, position_paths[0], position, unit=unit, is_velocity=False)
    if position and velocity and not layout.has_clock_resets:
        velocity = agreeing(
            file,
            position,
            velocity,
            paths=(position_paths[0], velocity_paths[0]),
            unit=unit,
            is_vouched=_is_vouched(layout, recipe),
            has_unit=layout.unit is not None,
        )
    if velocity:
        velocity = without_impossible(file, velocity_paths[0], velocity, unit=unit, is_velocity=True)
    if position and velocity and not layout.has_clock_resets:
        say_contradictions(file, position, velocity, paths=(position_paths[0], velocity_paths[0]), unit=unit)
    if position and velocity and position.values.shape[1] != velocity.values.shape[1]:
        n = min(position.values.shape[1], velocity.values.shape[1])
        notes.append(f"position and velocity have different numbers of axes; the first {n} are used")
        position = Series(position.time, position.values[:, :n])
        velocity = Series(velocity.time, velocity.values[:, :n])
    return Kinematics(
        *_on_one_clock(position, velocity),
        unit,
        tuple(notes),
        position_series=position_paths if position else (),
        velocity_series=velocity_paths if velocity else (),
    )


def _on_one_clock(position: Series | None, velocity: Series | None) -> tuple[Series | None, Series | None]:
    """Return both with the same time stamps, if they are the same: what is known of them is found once."""
    if position is None or velocity is None or position.time is velocity.time:
        return position, velocity
    if np.array_equal(position.time, velocity.time):
        velocity = position.with_values(velocity.values)
    return position, velocity


def _is_vouched(layout: Layout, recipe: IngestRecipe) -> bool:
    """Whether a layout or a person says that the velocity is the one to use."""
    return (
        recipe.velocity_from == "series" or recipe.velocity_series is not None or layout.velocity is not None
    )


def _that_move(
    file: NwbFile,
    recipe: IngestRecipe,
    position: Series | None,
    velocity: Series | None,
    *,
    paths: tuple[tuple[str, ...], tuple[str, ...]],
    unit: str,
) -> tuple[Series | None, Series | None]:
    """Leave out a series that stands still throughout beside one that moves, and say so.

    Raises
    ------
    DataError
        If neither moves, or the velocity does not and is asked for.
    """
    found: dict[str, Series] = {}
    still: dict[str, str] = {}
    for what, series, own in (("position", position, paths[0]), ("velocity", velocity, paths[1])):
        if series is None:
            continue
        if why := standstill(series.values, unit=unit):
            still[what] = f"/{' + /'.join(own)} {why}"
        else:
            found[what] = series
            say_still_axes(file, own[0], series)
    if not still:
        return position, velocity
    if not found:
        raise DataError(
            f"{file.name}: {'; '.join(still.values())}: there is no movement. Mend its values or its "
            f"conversion, {_other_series(file)}, or leave the session out."
        )
    (what,) = still
    if what == "position":
        file.say(f"{still[what]}, while the velocity moves: the position is left out and counts as unknown")
        file.withdraw("position")
        return None, velocity
    if recipe.velocity_from == "series":
        raise DataError(
            f"{file.name}: velocity_from is series, but {still[what]}. Name another one with --set "
            "velocity_series=PATH, or use --set velocity_from=position."
        )
    file.say(f"{still[what]}, while the position moves: the velocity is the derivative of the position")
    file.withdraw("velocity")
    file.choose("velocity", DERIVATIVE, f"{still[what].split(' ')[0]} does not move")
    return position, None


def _other_series(file: NwbFile) -> str:
    """Return how to name another series: one that was passed over, where there is one."""
    before = [
        f"the {choice.what} {choice.why}"
        for choice in file.choices
        if choice.what in {"position", "velocity"} and "_series=" in choice.why
    ]
    if before:
        return f"take another series ({'; '.join(before)})"
    return "name another series with --set position_series=PATH or --set velocity_series=PATH"


def read_series(
    file: NwbFile, paths: tuple[str, ...], *, layout: Layout, is_velocity: bool = False
) -> tuple[Series, str, list[str]]:
    """Read one series, or several of one column each as one.

    Parameters
    ----------
    file
        The open file.
    paths
        Paths of the series.
    layout
        Says what the files do not: unit, axes, time stamps.
    is_velocity
        Whether the values are velocities.

    Returns
    -------
    series
        cm or cm/s over seconds; repeated time stamps are dropped. Where the layout knows of clock resets, the
        time stamps may run backwards.
    unit
        ``cm`` (of velocities, cm/s), or what is no length.
    warnings
        What was odd.

    Raises
    ------
    DataError
        If there is no such series, it is empty, its times are NaN, run backwards or cannot be, or data and
        times differ in length.
    """
    columns: list[FloatArray] = []
    units: list[str] = []
    notes: list[str] = []
    what = "velocity" if is_velocity else "position"
    for path in paths:
        values = read_samples(file, path, what=what)[:, : layout.n_axes]
        scale = scale_of(file, path, values, unit=layout.unit, is_velocity=is_velocity)
        offset = offset_of(file, path) if layout.times is None else 0.0
        is_as_stored = isinstance(scale.conversion, float) and scale.conversion == scale.per == 1.0
        if not is_as_stored or offset:
            with np.errstate(over="ignore", invalid="ignore"):
                values = (values * scale.conversion + offset) * scale.per
        columns.append(values)
        units.append(scale.unit)
    if len({len(c) for c in columns}) > 1:
        lengths = ", ".join(f"{p} {len(c)}" for p, c in zip(paths, columns, strict=True))
        raise DataError(
            f"{file.name}: the series of one movement differ in length: {lengths}. Mend the file."
        )
    values = columns[0] if len(columns) == 1 else np.concatenate(columns, axis=1)
    if is_velocity and layout.velocity_per_s != 1.0:
        values = values * layout.velocity_per_s
    time = read_times(file, paths[0], n_samples=len(values), layout=layout)
    if (repeated := time[1:] == time[:-1]).any():
        notes.append(_repeated(paths[0], repeated))
        keep = np.concatenate([[True], ~repeated])
        time, values = time[keep], values[keep]
    if len(time) < LEAST_SAMPLES:
        raise DataError(
            f"{file.name}: /{paths[0]} holds {len(time)} sample{'s' * (len(time) != 1)}, too few for a "
            f"movement. Name another series with --set {what}_series=PATH, or leave the session out."
        )
    return Series(time, values), units[0], notes


def _repeated(path: str, repeated: BoolArray) -> str:
    n = int(repeated.sum())
    text = f"{path}: {n} repeated time stamps were dropped"
    if n > MANY_REPEATED * len(repeated):
        text += f" with their samples, of {len(repeated) + 1}: the stamps are coarser than the samples"
    return text
