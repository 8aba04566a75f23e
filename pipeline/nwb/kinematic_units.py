"""Units of position and velocity: cm and cm/s from what the file says, held against what a hand does."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.nwb.plain_words import value_words

if TYPE_CHECKING:
    from nwb_latents.pipeline.nwb.file import NwbFile
    from nwb_latents.pipeline.signals.recording import FloatArray

_CM_PER = {"m": 100.0, "cm": 1.0, "mm": 0.1}
"""What is tried where a file does not say."""

_KNOWN = {**_CM_PER, "inch": 2.54, "µm": 1e-4}
_NAMES = {
    "m": "m", "meter": "m", "meters": "m", "metre": "m", "metres": "m",
    "cm": "cm", "centimeter": "cm", "centimeters": "cm", "centimetre": "cm", "centimetres": "cm",
    "inch": "inch", "inches": "inch", "in": "inch",
    "um": "µm", "µm": "µm", "μm": "µm", "micron": "µm", "microns": "µm",
    "micrometer": "µm", "micrometers": "µm", "micrometre": "µm", "micrometres": "µm",
    "mm": "mm", "millimeter": "mm", "millimeters": "mm", "millimetre": "mm", "millimetres": "mm",
}  # fmt: skip
_OTHERS = {
    "pixel": "pixels", "pixels": "pixels", "px": "pixels",
    "degree": "degrees", "degrees": "degrees", "deg": "degrees", "°": "degrees",
    "radian": "radians", "radians": "radians", "rad": "radians",
    "au": "a.u.", "a.u.": "a.u.", "arbitrary": "a.u.", "normalized": "a.u.", "normalised": "a.u.",
    "volt": "volts", "volts": "volts", "v": "volts",
}  # fmt: skip
"""Units that are no length: values stay what they are, under that name."""

_LAYOUT_UNITS = {"range": ("% of range", 100.0), "au": ("a.u.", 1.0)}

REACHING_SPAN_CM = (2.0, 300.0)
"""Extent of an arm's workspace; a series outside it has another unit than it says."""


@dataclass(frozen=True)
class Scale:
    """What turns stored values into those of a recording.

    Attributes
    ----------
    conversion
        The file's factor, or one for each axis. A number, or shape ``(n_axes,)``.
    per
        What one unit of it is, in `unit`.
    unit
        ``cm``, or a unit that is no length: ``pixels``, ``degrees`` …
    """

    conversion: float | FloatArray
    per: float
    unit: str


def scale_of(file: NwbFile, path: str, values: FloatArray, *, unit: str | None, is_velocity: bool) -> Scale:
    """Return how the values of a series become cm, or stay what they are; what is odd is said.

    Parameters
    ----------
    file
        The open file.
    path
        Path of the series.
    values
        As stored. Shape ``(n_samples, n_axes)``.
    unit
        Unit the layout knows; None: what the file says.
    is_velocity
        Whether they are velocities.
    """
    conversion, is_stated = _conversion(file, path, values, layout_unit=unit)
    if unit in _LAYOUT_UNITS:
        return Scale(conversion, _LAYOUT_UNITS[unit][1], _LAYOUT_UNITS[unit][0])
    text = file.word(f"{path}/data", "unit") if is_stated else ""
    known = unit or _length_unit(text)
    if known is None and (other := _OTHERS.get(_first_word(text))) is not None:
        file.say(
            f"/{path}: its unit is {text!r}, which is no length: values stay {other}, and thresholds of the "
            f"recipe in cm are read in {other}"
        )
        return Scale(conversion, 1.0, other)
    if known is not None and unit is None and not is_velocity:
        span = _span(values, conversion, most=REACHING_SPAN_CM[1] / _KNOWN[known]) * _KNOWN[known]
        if span > REACHING_SPAN_CM[1]:
            file.say(f"/{path}: spans {span:.0f} cm if its unit is {known!r} as it says; taken as unknown")
            known = None
    if known is None:
        known = _guess(_span(values, conversion), is_velocity=is_velocity)
        file.say(
            f"/{path}: unit {text or 'unknown'!r} is not a usable length; taken as {known} from its extent"
        )
    return Scale(conversion, _KNOWN[known], "cm")


def _conversion(
    file: NwbFile, path: str, values: FloatArray, *, layout_unit: str | None
) -> tuple[float | FloatArray, bool]:
    """Return the factor, and whether the unit the file states can go with it.

    Raises
    ------
    DataError
        If there are several factors, and not one for each axis.
    """
    given = file.attribute(f"{path}/data", "conversion")
    if (each := _one_each(given)) is not None:
        if len(set(each.tolist())) > 1:
            _require_one_each(file, path, each, n_axes=values.shape[1])
            file.say(f"/{path}: conversion holds {value_words(each)}: each axis is taken times its own")
            return each, True
        given = each[0]
    try:
        conversion = 1.0 if given is None else float(given)
    except (TypeError, ValueError):
        conversion = np.nan
    if np.isfinite(conversion) and conversion != 0.0:
        if conversion < 0:
            file.say(f"/{path}: conversion is {conversion:g}, below 0: the direction of every axis is turned")
        return conversion, True
    # Zero is what some tools write for a factor nobody set; a NaN stands for a unit nobody knew.
    is_stated = conversion == 0.0
    taken = f"in {layout_unit}, as the layout says" if layout_unit else "unit unknown"
    taken = "in the unit the file states" if is_stated and not layout_unit else taken
    file.say(f"/{path}: conversion is {value_words(given)}; values are taken as they are, {taken}")
    return 1.0, is_stated


def _one_each(given: object) -> FloatArray | None:
    """Return factors where there are several numbers; else None."""
    if not isinstance(given, np.ndarray | list | tuple) or np.size(given) < 2:
        return None
    try:
        return np.asarray(given, dtype=np.float64).ravel()
    except (TypeError, ValueError):
        return None


def _require_one_each(file: NwbFile, path: str, each: FloatArray, *, n_axes: int) -> None:
    if len(each) != n_axes or not np.isfinite(each).all() or (each == 0).any():
        raise DataError(
            f"{file.name}: /{path}/data: conversion holds {value_words(each)}; expected one number, or one "
            f"that is not 0 for each of {n_axes} axes. Mend the attribute, or name another series with --set "
            "position_series=PATH or --set velocity_series=PATH."
        )


def offset_of(file: NwbFile, path: str) -> float:
    """Return what is added to the values of a series, 0 for what is not finite, which is said."""
    offset = file.number(f"{path}/data", "offset") or 0.0
    if np.isfinite(offset):
        return offset
    file.say(f"/{path}: offset is {offset:g}; nothing is added")
    return 0.0


def _span(values: FloatArray, conversion: float | FloatArray, *, most: float = 0.0) -> float:
    if isinstance(conversion, float):
        return span_of(values, most=most / abs(conversion)) * abs(conversion)
    return span_of(values * conversion, most=most)


def _first_word(text: str) -> str:
    return re.split(r"[/\s*·]|per", text.strip().lower())[0]


def _length_unit(text: str) -> str | None:
    return _NAMES.get(_first_word(text))


def span_of(values: FloatArray, *, most: float = 0.0) -> float:
    """Return the largest extent over the axes, of all but the outermost of the samples, 2 % at either end.

    Parameters
    ----------
    values
        Shape ``(n_samples, n_axes)``; NaN where missing.
    most
        If not even the outermost samples are this far apart, how far they are is returned, which takes less.
    """
    # The extent of a movement shows in a hundred thousand samples as well as in ten million.
    some = values[:: max(1, len(values) // 100_000)]
    # Over a short last axis, `all` costs ten times what the columns one by one do.
    is_finite = np.logical_and.reduce([np.isfinite(column) for column in some.T])
    finite = some if is_finite.all() else some[is_finite]
    if not len(finite):
        return 0.0
    whole = max(float(column.max() - column.min()) for column in finite.T)
    if whole < 0.999 * most:
        return whole
    low, high = np.percentile(finite, [2.0, 98.0], axis=0)
    return float((high - low).max())


def _guess(span: float, *, is_velocity: bool) -> str:
    # Arms reach some 5 to 60 cm, at some 10 to 200 cm/s: the unit whose result lies nearest the middle of
    # that.
    middle = 60.0 if is_velocity else 20.0
    span = max(span, 1e-12)
    return min(_CM_PER, key=lambda u: abs(np.log(span * _CM_PER[u] / middle)))
