"""Position and velocity series: found, read, and turned into seconds, cm and cm/s."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.nwb.series_times import read_times
from nwb_latents.pipeline.signals.recording import FloatArray, Series

if TYPE_CHECKING:
    from nwb_latents.pipeline.nwb.file import NwbFile
    from nwb_latents.pipeline.nwb.layouts.layout import Layout
    from nwb_latents.schemas.recipe import IngestRecipe

_CM_PER = {"m": 100.0, "cm": 1.0, "mm": 0.1}
_PER = {**_CM_PER, "range": 100.0, "au": 1.0}
_NAMES = {
    "m": "m", "meter": "m", "meters": "m", "metre": "m", "metres": "m",
    "cm": "cm", "centimeter": "cm", "centimeters": "cm", "centimetre": "cm", "centimetres": "cm",
    "mm": "mm", "millimeter": "mm", "millimeters": "mm", "millimetre": "mm", "millimetres": "mm",
}  # fmt: skip
_PREFERENCE = ("hand", "cursor", "finger", "wrist", "pos", "vel")
_NEVER = ("eye", "gaze", "pupil", "target", "force", "joint", "muscle", "emg", "acc")

REACHING_SPAN_CM = (2.0, 300.0)
"""Extent of an arm's workspace; a series outside it has another unit than it says."""


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
        each = (paths,) if isinstance(paths, str) else paths or ()
        each = tuple(path.strip("/") for path in each)
        is_named = paths is not None and paths in (recipe.position_series, recipe.velocity_series)
        if not (layout.needs_kinematics or is_named) and not all(file.has(f"{p}/data") for p in each):
            each = ()
        found.append(each)
    return found[0], found[1]


def read_kinematics(
    file: NwbFile, layout: Layout, recipe: IngestRecipe
) -> tuple[Series | None, Series | None, tuple[str, ...]]:
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
    position, velocity
        cm and cm/s over seconds, with as many axes each; None where there is none.
    warnings
        What was odd.

    Raises
    ------
    DataError
        If the layout needs kinematics and there are none, or a series cannot be read.
    """
    position_paths, velocity_paths = series_paths(file, layout, recipe)
    if not position_paths and not velocity_paths:
        if not layout.needs_kinematics:
            return None, None, ()
        series = [
            p for root in ("processing", "acquisition") for p, kind in file.objects(root) if "Series" in kind
        ]
        there = f"It has: {', '.join(series[:8])}." if series else "It has no series at all."
        raise DataError(
            f"{file.name}: no position or velocity series of a hand or cursor found. {there} Name the right "
            "one with --set position_series=PATH or --set velocity_series=PATH."
        )
    position, said = read_series(file, position_paths, layout=layout) if position_paths else (None, [])
    velocity, said_too = (
        read_series(file, velocity_paths, layout=layout, is_velocity=True) if velocity_paths else (None, [])
    )
    notes = [*said, *said_too]
    if position and velocity and position.values.shape[1] != velocity.values.shape[1]:
        n = min(position.values.shape[1], velocity.values.shape[1])
        notes.append(f"position and velocity have different numbers of axes; the first {n} are used")
        position = Series(position.time, position.values[:, :n])
        velocity = Series(velocity.time, velocity.values[:, :n])
    if position and velocity and np.array_equal(position.time, velocity.time):
        velocity = position.with_values(velocity.values)
    return position, velocity, tuple(notes)


def find_series(file: NwbFile) -> tuple[str | None, str | None]:
    """Find the series that look like hand position and hand velocity.

    Returns
    -------
    position, velocity
        Paths; None where there is none. Hand comes before cursor before finger; a velocity is paired with
        the position of the same effector where there is one.
    """
    positions: list[str] = []
    velocities: list[str] = []
    for root in ("processing", "acquisition"):
        for path, kind in file.objects(root):
            name = path.lower()
            shape = file.shape(f"{path}/data")
            if kind not in {"SpatialSeries", "TimeSeries"} or shape is None or len(shape) != 2:
                continue
            if shape[1] not in (2, 3) or any(word in name.rsplit("/", 1)[-1] for word in _NEVER):
                continue
            if "vel" in name:
                velocities.append(path)
            elif kind == "SpatialSeries" or "pos" in name:
                positions.append(path)
    position = min(positions, key=_rank, default=None)
    if position is not None:
        effector = next((w for w in _PREFERENCE if w in position.lower().rsplit("/", 1)[-1]), "")
        same = [v for v in velocities if effector and effector in v.lower().rsplit("/", 1)[-1]]
        velocities = same or velocities
    return position, min(velocities, key=_rank, default=None)


def _rank(path: str) -> tuple[int, str]:
    name = path.lower().rsplit("/", 1)[-1]
    found = [i for i, word in enumerate(_PREFERENCE) if word in name]
    return (min(found, default=len(_PREFERENCE)), path)


def read_series(
    file: NwbFile, paths: tuple[str, ...], *, layout: Layout, is_velocity: bool = False
) -> tuple[Series, list[str]]:
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
    warnings
        What was odd.

    Raises
    ------
    DataError
        If there is no such series, it is empty, its times are NaN, run backwards or cannot be, or data and
        times differ in length.
    """
    columns: list[FloatArray] = []
    notes: list[str] = []
    for path in paths:
        if not file.has(f"{path}/data"):
            raise DataError(
                f"{file.name}: has no series {path}. Name one that exists with --set position_series=PATH."
            )
        values = file.array(f"{path}/data").astype(np.float64, copy=False)
        values = (values[:, None] if values.ndim == 1 else values)[:, : layout.n_axes]
        conversion, per, said = _scale(file, path, values, unit=layout.unit, is_velocity=is_velocity)
        offset = float(file.attribute(f"{path}/data", "offset") or 0.0) if layout.times is None else 0.0
        if (conversion, offset, per) != (1.0, 0.0, 1.0):
            values = (values * conversion + offset) * per
        columns.append(values)
        notes += said
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
    return Series(time, values), notes


def _scale(
    file: NwbFile, path: str, values: FloatArray, *, unit: str | None, is_velocity: bool
) -> tuple[float, float, list[str]]:
    """Return the file's conversion factor, cm per unit of what it gives, and what was odd."""
    notes: list[str] = []
    conversion = float(file.attribute(f"{path}/data", "conversion") or 1.0)
    declared = file.attribute(f"{path}/data", "unit")
    text = declared.decode() if isinstance(declared, bytes) else str(declared or "")
    if not np.isfinite(conversion):
        taken = f"in {unit}, as the layout says" if unit else "unit unknown"
        notes.append(f"{path}: conversion is {conversion}; values are taken as they are, {taken}")
        conversion, text = 1.0, ""
    known = unit or _length_unit(text)
    if known is not None and unit is None and not is_velocity:
        span = _span(values) * conversion * _CM_PER[known]
        if span > REACHING_SPAN_CM[1]:
            notes.append(f"{path}: spans {span:.0f} cm if its unit is {known!r} as it says; taken as unknown")
            known = None
    if known is None:
        known = _guess_unit(values, conversion, is_velocity=is_velocity)
        notes.append(
            f"{path}: unit {text or 'unknown'!r} is not a usable length; taken as {known} from its extent"
        )
    return conversion, _PER[known], notes


def _length_unit(text: str) -> str | None:
    first = re.split(r"[/\s*·]|per", text.strip().lower())[0]
    return _NAMES.get(first)


def _span(values: FloatArray) -> float:
    # The extent of a movement shows in a hundred thousand samples as well as in ten million.
    some = values[:: max(1, len(values) // 100_000)]
    finite = some[np.isfinite(some).all(axis=1)]
    if not len(finite):
        return 0.0
    low, high = np.percentile(finite, [0.5, 99.5], axis=0)
    return float((high - low).max())


def _guess_unit(values: FloatArray, conversion: float, *, is_velocity: bool) -> str:
    # Arms reach some 5 to 60 cm, at some 10 to 200 cm/s: the unit whose result lies nearest the middle of
    # that.
    middle = 60.0 if is_velocity else 20.0
    span = max(_span(values) * conversion, 1e-12)
    return min(_CM_PER, key=lambda u: abs(np.log(span * _CM_PER[u] / middle)))
