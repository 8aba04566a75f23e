"""Units of position and velocity: cm and cm/s from what the file says, held against what a hand does."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nwb_latents.pipeline.nwb.file import NwbFile
    from nwb_latents.pipeline.signals.recording import FloatArray, Series

_CM_PER = {"m": 100.0, "cm": 1.0, "mm": 0.1}
"""What is tried where a file does not say."""

_KNOWN = {**_CM_PER, "inch": 2.54}
_NAMES = {
    "m": "m", "meter": "m", "meters": "m", "metre": "m", "metres": "m",
    "cm": "cm", "centimeter": "cm", "centimeters": "cm", "centimetre": "cm", "centimetres": "cm",
    "inch": "inch", "inches": "inch", "in": "inch",
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

FASTEST_CM_S = 2000.0
"""No hand moves faster."""

FARTHEST_CM = 300.0
"""No hand is further than this from where it mostly is."""

MOST_IMPOSSIBLE = 0.05
"""A larger share of samples that cannot be is no fault of single samples."""


@dataclass(frozen=True)
class Scale:
    """What turns stored values into those of a recording.

    Attributes
    ----------
    conversion
        The file's factor.
    per
        What one unit of it is, in `unit`.
    unit
        ``cm``, or a unit that is no length: ``pixels``, ``degrees`` …
    """

    conversion: float
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
    conversion, is_stated = _conversion(file, path, layout_unit=unit)
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
        span = span_of(values) * conversion * _KNOWN[known]
        if span > REACHING_SPAN_CM[1]:
            file.say(f"/{path}: spans {span:.0f} cm if its unit is {known!r} as it says; taken as unknown")
            known = None
    if known is None:
        known = _guess(values, conversion, is_velocity=is_velocity)
        file.say(
            f"/{path}: unit {text or 'unknown'!r} is not a usable length; taken as {known} from its extent"
        )
    return Scale(conversion, _KNOWN[known], "cm")


def _conversion(file: NwbFile, path: str, *, layout_unit: str | None) -> tuple[float, bool]:
    """Return the factor, and whether the unit the file states can go with it."""
    given = file.attribute(f"{path}/data", "conversion")
    try:
        conversion = 1.0 if given is None else float(given)
    except (TypeError, ValueError):
        conversion = np.nan
    if np.isfinite(conversion) and conversion != 0.0:
        return conversion, True
    # Zero is what some tools write for a factor nobody set; a NaN stands for a unit nobody knew.
    is_stated = conversion == 0.0
    taken = f"in {layout_unit}, as the layout says" if layout_unit else "unit unknown"
    taken = "in the unit the file states" if is_stated and not layout_unit else taken
    file.say(f"/{path}: conversion is {given}; values are taken as they are, {taken}")
    return 1.0, is_stated


def _first_word(text: str) -> str:
    return re.split(r"[/\s*·]|per", text.strip().lower())[0]


def _length_unit(text: str) -> str | None:
    return _NAMES.get(_first_word(text))


def span_of(values: FloatArray) -> float:
    """Return the largest extent over the axes, of all but the outermost of the samples, 2 % at either end."""
    # The extent of a movement shows in a hundred thousand samples as well as in ten million.
    some = values[:: max(1, len(values) // 100_000)]
    finite = some[np.isfinite(some).all(axis=1)]
    if not len(finite):
        return 0.0
    low, high = np.percentile(finite, [2.0, 98.0], axis=0)
    return float((high - low).max())


def _guess(values: FloatArray, conversion: float, *, is_velocity: bool) -> str:
    # Arms reach some 5 to 60 cm, at some 10 to 200 cm/s: the unit whose result lies nearest the middle of
    # that.
    middle = 60.0 if is_velocity else 20.0
    span = max(span_of(values) * conversion, 1e-12)
    return min(_CM_PER, key=lambda u: abs(np.log(span * _CM_PER[u] / middle)))


def without_impossible(file: NwbFile, path: str, series: Series, *, unit: str, is_velocity: bool) -> Series:
    """Mask samples that are not finite after conversion or that no hand can reach, and say how many.

    Parameters
    ----------
    file
        The open file.
    path
        Path of the series.
    series
        Converted.
    unit
        Its unit; only cm are held against a hand.
    is_velocity
        Whether they are velocities.

    Raises
    ------
    DataError
        If more than `MOST_IMPOSSIBLE` of the samples cannot be.
    """
    values = series.values
    infinite = np.isinf(values).any(axis=1)
    beyond: NDArray[np.bool_] = np.zeros(len(values), dtype=bool)
    if unit == "cm":
        with np.errstate(invalid="ignore", over="ignore"):
            centre = 0.0 if is_velocity else np.nanmedian(np.where(np.isinf(values), np.nan, values), axis=0)
            most = FASTEST_CM_S if is_velocity else FARTHEST_CM
            beyond = np.asarray((np.abs(values - centre) > most).any(axis=1))
    bad = infinite | beyond
    if not bad.any():
        return series
    worst = float(np.nanmax(np.abs(values[bad])))
    limit = f"{FASTEST_CM_S:g} cm/s" if is_velocity else f"{FARTHEST_CM:g} cm from where it mostly is"
    if bad.mean() > MOST_IMPOSSIBLE:
        raise DataError(
            f"{file.name}: /{path}: {bad.mean():.0%} of the samples cannot be of a hand (up to {worst:g}; no "
            f"hand is beyond {limit}). Mend its unit or conversion, or name another series with --set "
            f"{'velocity' if is_velocity else 'position'}_series=PATH."
        )
    file.say(
        f"/{path}: {int(bad.sum())} samples cannot be of a hand (up to {worst:g}; beyond {limit}) and count "
        "as missing"
    )
    out = values.copy()
    out[bad] = np.nan
    return series.with_values(out)


def agreeing(file: NwbFile, position: Series, velocity: Series, *, path: str) -> Series:
    """Return the velocity in the unit the position's derivative has; what is mended is said.

    Parameters
    ----------
    file
        The open file.
    position, velocity
        cm and what is stated to be cm/s, of as many axes.
    path
        Path of the velocity, for messages.

    Returns
    -------
    velocity
        As given where it agrees with the derivative within a third, or cannot be compared.

    Raises
    ------
    DataError
        If it is that derivative times a factor that no unit explains.
    """
    factor = _factor_between(position, velocity)
    if factor is None or 2 / 3 <= factor <= 3 / 2:
        return velocity
    rate = 1.0 / velocity.interval_s
    explained = {
        100.0: "m/s stated as cm/s", 0.01: "cm/s stated as m/s", 10.0: "cm/s stated as mm/s",
        0.1: "mm/s stated as cm/s", 1000.0: "m/s stated as mm/s", 0.001: "mm/s stated as m/s",
        rate: "cm per sample", 100 * rate: "m per sample stated as cm/s",
    }  # fmt: skip
    near = min(explained, key=lambda k: abs(np.log(factor / k)))
    if abs(np.log(factor / near)) < np.log(1.25):
        file.say(
            f"/{path}: the position moves {factor:.3g} times as fast as it says; values are taken times "
            f"{near:g} ({explained[near]})"
        )
        return velocity.with_values(velocity.values * near)
    raise DataError(
        f"{file.name}: /{path} is the derivative of the position times {1 / factor:.3g}, which no unit "
        "explains. Mend its unit or conversion, or leave it out with --set velocity_from=position: the "
        "velocity is then the derivative of the position."
    )


def _factor_between(position: Series, velocity: Series) -> float | None:
    """Return how many times as fast as the velocity says the position moves; None: not to be told."""
    from nwb_latents.pipeline.signals.resample import differentiate  # noqa: PLC0415

    if len(position.time) < 10 or len(velocity.time) < 10:
        return None
    moved = differentiate(position)
    at = np.clip(np.searchsorted(velocity.time, moved.time), 0, len(velocity.time) - 1)
    a, b = moved.values, velocity.values[at]
    known = np.isfinite(a).all(axis=1) & np.isfinite(b).all(axis=1)
    if known.sum() < 10:
        return None
    a, b = a[known], b[known]
    speed = np.sqrt(np.square(a).sum(axis=1))
    fast = speed >= np.quantile(speed, 0.9)
    a, b = a[fast].ravel(), b[fast].ravel()
    if not (np.square(b).sum() > 0 and np.square(a).sum() > 0):
        return None
    cosine = float(a @ b) / float(np.sqrt(np.square(a).sum() * np.square(b).sum()))
    return float(a @ b) / float(b @ b) if cosine > 0.9 else None
