"""Position and velocity series: found, read, and turned into seconds, cm and cm/s."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.nwb.kinematic_units import agreeing, scale_of, without_impossible
from nwb_latents.pipeline.nwb.series_search import find_series, untyped_series
from nwb_latents.pipeline.nwb.series_times import read_times
from nwb_latents.pipeline.signals.recording import FloatArray, Series

if TYPE_CHECKING:
    from nwb_latents.pipeline.nwb.file import NwbFile
    from nwb_latents.pipeline.nwb.layouts.layout import Layout
    from nwb_latents.schemas.recipe import IngestRecipe


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
    """

    position: Series | None
    velocity: Series | None
    unit: str = "cm"
    warnings: tuple[str, ...] = ()


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
    for paths in (position, velocity):
        each = tuple(paths.split("+")) if isinstance(paths, str) else paths or ()
        each = tuple(one for path in each for one in _members(file, path.strip("/")))
        is_named = paths is not None and paths in (recipe.position_series, recipe.velocity_series)
        if not (layout.needs_kinematics or is_named) and not all(file.has(f"{p}/data") for p in each):
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
            return Kinematics(None, None)
        raise _nothing_found(file)
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
    if position and velocity and position.values.shape[1] != velocity.values.shape[1]:
        n = min(position.values.shape[1], velocity.values.shape[1])
        notes.append(f"position and velocity have different numbers of axes; the first {n} are used")
        position = Series(position.time, position.values[:, :n])
        velocity = Series(velocity.time, velocity.values[:, :n])
    if position and velocity and unit == "cm" and layout.unit is None and not layout.has_clock_resets:
        velocity = agreeing(file, position, velocity, path=velocity_paths[0])
    if position:
        position = without_impossible(file, position_paths[0], position, unit=unit, is_velocity=False)
    if velocity:
        velocity = without_impossible(file, velocity_paths[0], velocity, unit=unit, is_velocity=True)
    if position and velocity and np.array_equal(position.time, velocity.time):
        velocity = position.with_values(velocity.values)
    return Kinematics(position, velocity, unit, tuple(notes))


def _nothing_found(file: NwbFile) -> DataError:
    """Return the error of a file without a series of a hand, by what there is."""
    series = [p for p, kind in file.objects("processing", "acquisition") if "Series" in kind]
    there = f"It has: {', '.join(series[:8])}." if series else "It has no series at all."
    if untyped := untyped_series(file):
        there += (
            f" {', '.join(f'/{path}' for path in untyped[:4])} hold data, but no neurodata_type that "
            "says what they are: they are not looked at unless they are named."
        )
    broken = [link for root in ("processing", "acquisition") for link in file.tree.broken_links(root)]
    if broken:
        there += f" {'; '.join(broken[:4])}, and there is nothing."
    return DataError(
        f"{file.name}: no position or velocity series of a hand or cursor found. {there} Name the right "
        "one with --set position_series=PATH or --set velocity_series=PATH."
    )


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
    for path in paths:
        values = _samples(file, path)[:, : layout.n_axes]
        scale = scale_of(file, path, values, unit=layout.unit, is_velocity=is_velocity)
        offset = (file.number(f"{path}/data", "offset") or 0.0) if layout.times is None else 0.0
        if (scale.conversion, offset, scale.per) != (1.0, 0.0, 1.0):
            with np.errstate(over="ignore"):
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
        notes.append(f"{paths[0]}: {int(repeated.sum())} repeated time stamps were dropped")
        keep = np.concatenate([[True], ~repeated])
        time, values = time[keep], values[keep]
    if len(time) < 2:
        raise DataError(f"{file.name}: {paths[0]} holds {len(time)} samples. Leave the session out.")
    return Series(time, values), units[0], notes


def _samples(file: NwbFile, path: str) -> FloatArray:
    """Return the samples of a series, one in each row.

    Raises
    ------
    DataError
        If there is no such series, or it holds no numbers.
    """
    file.require_link(f"{path}/data")
    if not file.has(f"{path}/data"):
        raise DataError(
            f"{file.name}: has no series {path}. Name one that exists with --set position_series=PATH."
        )
    values = file.array(f"{path}/data")
    if values.dtype.names and all(values.dtype[name].kind in "iuf" for name in values.dtype.names):
        file.say(f"/{path}/data holds records of {', '.join(values.dtype.names)}; each is an axis")
        values = np.column_stack([values[name].astype(np.float64) for name in values.dtype.names])
    if values.dtype.kind not in "iufb" or values.ndim not in (1, 2):
        raise DataError(
            f"{file.name}: /{path}/data has the type {values.dtype} and the shape {values.shape}; expected "
            "numbers, one row a sample. Name another series with --set position_series=PATH."
        )
    values = values.astype(np.float64, copy=False)
    if values.ndim == 1:
        return values[:, None]
    stamps = file.shape(f"{path}/timestamps")
    n_stamps = int(np.prod(stamps)) if stamps else None
    is_turned = (
        values.shape[1] == n_stamps != values.shape[0]
        if n_stamps
        else values.shape[0] in (2, 3) and values.shape[1] > 10
    )
    if is_turned:
        file.say(f"/{path}/data is stored with its axes as rows {values.shape}; it is read transposed")
        values = np.ascontiguousarray(values.T)
    return values
