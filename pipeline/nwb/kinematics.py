"""Position and velocity series: found, read, and turned into seconds, cm and cm/s."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import DataError
from pipeline.signals.recording import FloatArray, Series

if TYPE_CHECKING:
    from pipeline.nwb.file import NwbFile

_CM_PER = {"m": 100.0, "cm": 1.0, "mm": 0.1}
_NAMES = {
    "m": "m", "meter": "m", "meters": "m", "metre": "m", "metres": "m",
    "cm": "cm", "centimeter": "cm", "centimeters": "cm", "centimetre": "cm", "centimetres": "cm",
    "mm": "mm", "millimeter": "mm", "millimeters": "mm", "millimetre": "mm", "millimetres": "mm",
}  # fmt: skip
_PREFERENCE = ("hand", "cursor", "finger", "wrist", "pos", "vel")
_NEVER = ("eye", "gaze", "pupil", "target", "force", "joint", "muscle", "emg", "acc")

REACHING_SPAN_CM = (2.0, 300.0)
"""Extent of an arm's workspace; a series outside it has another unit than it says."""


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
            data = file.h5.get(f"{path}/data")
            if kind not in {"SpatialSeries", "TimeSeries"} or data is None or data.ndim != 2:
                continue
            if data.shape[1] not in (2, 3) or any(word in name.rsplit("/", 1)[-1] for word in _NEVER):
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


def read_series(file: NwbFile, path: str, *, unit: str | None = None) -> tuple[Series, list[str]]:
    """Read one series.

    Parameters
    ----------
    file
        The open file.
    path
        Path of the series.
    unit
        Unit of its values (``m``, ``cm`` or ``mm``, per second for velocities), where the layout knows
        better than the file.

    Returns
    -------
    series
        cm or cm/s over seconds; repeated time stamps are dropped.
    warnings
        What was odd.

    Raises
    ------
    DataError
        If there is no such series, it is empty, its times are NaN or run backwards, or data and times differ
        in length.
    """
    if not file.has(f"{path}/data"):
        raise DataError(
            f"{file.name}: has no series {path}. Name one that exists with --set position_series=PATH."
        )
    values = file.array(f"{path}/data").astype(np.float64)
    values = values.reshape(len(values), -1)
    time = _times(file, path, len(values))
    notes: list[str] = []
    if not np.isfinite(time).all():
        first = int(np.flatnonzero(~np.isfinite(time))[0])
        raise DataError(
            f"{file.name}: {path}/timestamps holds {int((~np.isfinite(time)).sum())} values that are not "
            "finite, the first "
            f"at sample {first} of {len(time)}. Mend the file or leave the session out."
        )
    steps = np.diff(time)
    if (steps < 0).any():
        first = int(np.flatnonzero(steps < 0)[0])
        raise DataError(
            f"{file.name}: {path}/timestamps run backwards at sample {first + 1} ({time[first]:.4f} s is "
            "followed by "
            f"{time[first + 1]:.4f} s): the clock was reset. Split the session there or leave it out."
        )
    if (steps == 0).any():
        notes.append(f"{path}: {int((steps == 0).sum())} repeated time stamps were dropped")
        keep = np.concatenate([[True], steps > 0])
        time, values = time[keep], values[keep]
    if len(time) < 2:
        raise DataError(f"{file.name}: {path} holds {len(time)} samples. Leave the session out.")
    conversion, cm, said = _scale(file, path, values, unit)
    offset = float(file.attribute(f"{path}/data", "offset") or 0.0)
    return Series(time, (values * conversion + offset) * cm), notes + said


def _times(file: NwbFile, path: str, n: int) -> FloatArray:
    if file.has(f"{path}/timestamps"):
        time = file.array(f"{path}/timestamps").astype(np.float64)
    elif file.has(f"{path}/starting_time"):
        rate = float(file.attribute(f"{path}/starting_time", "rate") or 0.0)
        if not rate > 0:
            raise DataError(f"{file.name}: {path}/starting_time has no positive rate. Mend the file.")
        time = float(file.array(f"{path}/starting_time")) + np.arange(n) / rate
    else:
        raise DataError(f"{file.name}: {path} has neither timestamps nor starting_time. Mend the file.")
    if len(time) != n:
        raise DataError(
            f"{file.name}: {path}: expected as many time stamps as samples ({n}), found {len(time)}."
        )
    return time


def _scale(file: NwbFile, path: str, values: FloatArray, unit: str | None) -> tuple[float, float, list[str]]:
    """Return the file's conversion factor, cm per unit of what it gives, and what was odd."""
    notes: list[str] = []
    conversion = float(file.attribute(f"{path}/data", "conversion") or 1.0)
    declared = file.attribute(f"{path}/data", "unit")
    text = declared.decode() if isinstance(declared, bytes) else str(declared or "")
    if not np.isfinite(conversion):
        notes.append(f"{path}: conversion is {conversion}; values are taken as they are, unit unknown")
        conversion, text = 1.0, ""
    known = unit or _length_unit(text)
    is_velocity = "vel" in path.lower()
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
    return conversion, _CM_PER[known], notes


def _length_unit(text: str) -> str | None:
    first = re.split(r"[/\s*·]|per", text.strip().lower())[0]
    return _NAMES.get(first)


def _span(values: FloatArray) -> float:
    finite = values[np.isfinite(values).all(axis=1)]
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
