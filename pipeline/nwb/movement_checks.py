"""Kinematics held against what a hand does: series that stand still, glitches, integers that ran over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.nwb.kinematic_units import span_of
from nwb_latents.pipeline.signals.outliers import extremes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nwb_latents.pipeline.nwb.file import NwbFile
    from nwb_latents.pipeline.signals.recording import BoolArray, FloatArray, Series

FASTEST_CM_S = 2000.0
"""No hand moves faster."""

FASTEST_CM_S2 = 1e5
"""No hand's velocity changes faster: a hundred times the acceleration of free fall."""

FARTHEST_CM = 300.0
"""No hand is further than this from where it mostly is."""

MOST_IMPOSSIBLE = 0.05
"""A larger share of samples that cannot be is no fault of single samples."""

LONGEST_GLITCH_S = 0.05
"""A tracker that jumps away and back again within this time lost its marker."""

LEAST_MOVED_CM = 1e-3
"""A series of a smaller extent is of no movement."""

LEAST_FROZEN_S = 0.1
LEAST_FROZEN = 10
"""Time, and samples, in which a measured movement never stays the same to the last digit."""

MOST_FROZEN = 20
MOST_JUMPING = 0.1
"""More such stretches may be the manner of a recording, holds written as one value: these begin and end where
the movement does. If more than this share of them begins or ends in a jump, samples were lost."""

_JUMP = 2.0
"""A jump is farther than so many times all but one in a hundred of the other steps."""

_BLOCK = 1 << 14
"""Samples looked at together."""

MOST_MOVING = 1e-3
"""A series that differs from its usual value in a smaller share of its samples stands still."""


def standstill(values: FloatArray, *, unit: str) -> str:
    """Say why a series shows no movement at all; nothing for one that does.

    Parameters
    ----------
    values
        Converted. Shape ``(n_samples, n_axes)``; NaN where missing.
    unit
        Their unit.

    Examples
    --------
    >>> standstill(np.full((50, 2), 3.0), unit="cm")
    'stands still: every sample is 3, 3'
    >>> standstill(np.full((50, 2), np.nan), unit="cm")
    'holds no sample: all are missing (NaN)'
    """
    if _varies(values, unit=unit):
        return ""
    finite = values[np.isfinite(values).all(axis=1)]
    if not len(finite):
        is_nan = np.isnan(values).all()
        return "holds no sample: all are missing (NaN)" if is_nan else "holds no sample that is finite"
    usual = np.median(finite, axis=0)
    moving = (finite != usual).any(axis=1).mean()
    if moving <= MOST_MOVING:
        share = "every sample" if moving == 0 else f"{1 - moving:.2%} of its samples"
        return f"stands still: {share} is {', '.join(f'{v:g}' for v in usual)}"
    extent = float((finite.max(axis=0) - finite.min(axis=0)).max())
    if unit == "cm" and extent < LEAST_MOVED_CM:
        return f"stands still: all of it lies within {extent:.3g} {unit}"
    return ""


def _varies(values: FloatArray, *, unit: str) -> bool:
    """Whether some of the samples, evenly spread, show movement; the rest need not be looked at then."""
    some = values[:: max(1, len(values) // 10_000)]
    some = some[np.isfinite(some).all(axis=1)]
    if len(some) < 100:
        return False
    is_far = (some.max(axis=0) - some.min(axis=0)).max() >= LEAST_MOVED_CM or unit != "cm"
    return bool(is_far and (some != np.median(some, axis=0)).any(axis=1).mean() > 10 * MOST_MOVING)


def say_still_axes(file: NwbFile, path: str, series: Series) -> None:
    """Say which columns never change, of a series whose others do."""
    some = slice(None, None, max(1, len(series.values) // 10_000))
    still = [
        str(i + 1)
        for i, column in enumerate(series.values.T)
        if all(not np.fmax.reduce(c) > np.fmin.reduce(c) for c in (column[some], column))
    ]
    if still and len(still) < series.values.shape[1]:
        which = (
            f"column {still[0]} never changes"
            if len(still) == 1
            else f"columns {', '.join(still)} never change"
        )
        file.say(f"/{path}: {which} and stay{'s' * (len(still) == 1)} an axis without movement")


def say_frozen(file: NwbFile, path: str, series: Series) -> None:
    """Say which stretches of a series stay at one value to the last digit, where its samples never do that.

    So look samples that were lost and filled in, and bytes of a file that were zeroed. Of a series that
    repeats its values anyway (whole numbers, holds written as zeros) nothing is said.
    """
    found = [_frozen(column, interval_s=series.interval_s) for column in series.values.T]
    together = all(each == found[0] for each in found)
    for k, stretches in enumerate(found[: 1 if together else None]):
        if not stretches:
            continue
        at, longest = stretches[0][0], max(length for _, length in stretches)
        held = ", ".join(f"{v:g}" for v in (series.values[at] if together else series.values[at, [k]]))
        where = "" if together else f" of column {k + 1}"
        which = (
            f"the {longest} samples{where} from {series.time[at]:.6g} s on are"
            if len(stretches) == 1
            else f"{len(stretches)} stretches{where} of up to {longest} samples are each one value, the "
            f"first, at {series.time[at]:.6g} s,"
        )
        file.say(
            f"/{path}: {which} {held} to the last digit, and elsewhere hardly two neighbours are the same: "
            "samples were lost and filled in, or the file is damaged; they are kept"
        )


def _frozen(values: FloatArray, *, interval_s: float) -> list[tuple[int, int]]:
    """Return first sample and length of the stretches of one value, where they are not a series' manner."""
    same = np.zeros(len(values) + 1, dtype=bool)
    np.equal(values[1:], values[:-1], out=same[1:-1])
    edges = np.flatnonzero(same[1:] != same[:-1])
    first, lengths = edges[::2], edges[1::2] - edges[::2] + 1
    is_long = (lengths * interval_s >= LEAST_FROZEN_S) & (lengths >= LEAST_FROZEN)
    others = int((lengths - 1)[~is_long].sum())
    # One that never changes is told of elsewhere.
    if others > MOST_MOVING * len(values) or lengths.sum() >= len(values):
        return []
    first, lengths = first[is_long], lengths[is_long]
    if len(first) > MOST_FROZEN and _jumping(values, first, lengths).mean() <= MOST_JUMPING:
        return []
    return list(zip(first.tolist(), lengths.tolist(), strict=True))


def _jumping(values: FloatArray, first: NDArray[np.int64], lengths: NDArray[np.int64]) -> BoolArray:
    """Return which stretches of one value begin or end in a jump."""
    steps = np.abs(np.diff(values, prepend=values[0], append=values[-1]))
    at = np.column_stack([first, first + lengths])
    others = np.delete(steps, at.ravel())
    others = others[np.isfinite(others) & (others > 0)]
    usual = float(np.quantile(others, 0.99)) if len(others) else 0.0
    return np.asarray((np.nan_to_num(steps[at]) > _JUMP * usual).any(axis=1))


def require_unwrapped(file: NwbFile, path: str, stored: NDArray[Any]) -> None:
    """Refuse whole numbers that ran over the range of their type.

    Parameters
    ----------
    file
        The open file.
    path
        Path of the series.
    stored
        Values before conversion. Shape ``(n_samples, n_axes)``.

    Raises
    ------
    DataError
        If neighbours differ by nearly all that the type can hold.
    """
    if stored.dtype.kind not in "iu" or stored.dtype.itemsize > 2 or len(stored) < 2:
        return
    bits = 8 * stored.dtype.itemsize
    steps = np.abs(np.diff(stored.astype(np.int64), axis=0))
    over = steps > 0.75 * 2**bits
    n = int(over.any(axis=1).sum())
    if not n or float(np.median(steps)) > 0.05 * 2**bits:
        return
    row, column = (int(i) for i in np.argwhere(over)[0])
    limits = np.iinfo(stored.dtype)
    raise DataError(
        f"{file.name}: /{path}/data holds whole numbers of {bits} bits ({limits.min} to {limits.max}) that "
        f"jump by nearly that range between neighbours {n} times, the first from {stored[row, column]} to "
        f"{stored[row + 1, column]} at sample {row + 1}: they ran over when they were written, or "
        f"{limits.max} or {limits.min} stands for missing samples. Write the series again with a larger type "
        "and NaN for what is missing, or name another one with --set position_series=PATH or --set "
        "velocity_series=PATH."
    )


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
    say_frozen(file, path, series)
    values = series.values
    bad: BoolArray = np.zeros(len(values), dtype=bool)
    most = FASTEST_CM_S if is_velocity else FARTHEST_CM
    # Over a short last axis, `any` costs ten times what the columns one by one do.
    for column, low, high in zip(values.T, *extremes(values), strict=True):
        extent = max(-low, high) if is_velocity else high - low
        if np.isfinite([low, high]).all() and (unit != "cm" or extent <= most):
            continue
        finite = np.isfinite(column)
        bad |= np.isinf(column)
        if unit == "cm":
            with np.errstate(invalid="ignore", over="ignore"):
                centre = 0.0 if is_velocity or not finite.any() else np.median(column[finite])
                bad |= np.abs(column - centre) > most
    if bad.any():
        series = _masked(file, path, series, bad, unit=unit, is_velocity=is_velocity)
    return _without_glitches(file, path, series, unit=unit, is_velocity=is_velocity)


def _masked(
    file: NwbFile, path: str, series: Series, bad: BoolArray, *, unit: str, is_velocity: bool
) -> Series:
    worst = float(np.fmax.reduce(np.abs(series.values[bad]), axis=None))
    limit = f"{FASTEST_CM_S:g} cm/s" if is_velocity else f"{FARTHEST_CM:g} cm from where it mostly is"
    if bad.mean() > MOST_IMPOSSIBLE:
        of_hand = f" (up to {worst:g}; no hand is beyond {limit})" if unit == "cm" else ": they are infinite"
        raise DataError(
            f"{file.name}: /{path}: {bad.mean():.0%} of the samples cannot be of a hand{of_hand}. Mend its "
            "unit, conversion or offset, or name another series with --set "
            f"{'velocity' if is_velocity else 'position'}_series=PATH."
        )
    file.say(
        f"/{path}: {int(bad.sum())} samples cannot be of a hand (up to {worst:g}; beyond {limit}) and count "
        "as missing"
    )
    out = series.values.copy()
    out[bad] = np.nan
    return series.with_values(out)


def _without_glitches(file: NwbFile, path: str, series: Series, *, unit: str, is_velocity: bool) -> Series:
    """Mask samples between a jump away and the jump back; jumps without a way back are said alone."""
    is_whole = np.logical_and.reduce([np.isfinite(column) for column in series.values.T])
    kept = slice(None) if is_whole.all() else np.flatnonzero(is_whole)
    time, values = series.time[kept], series.values[kept]
    if len(time) < 10:
        return series
    jumps = _jumps(time, values, unit=unit, is_velocity=is_velocity)
    if not jumps:
        return series
    bad, left = _away(time, values, jumps, interval_s=series.interval_s)
    what = f"{unit}/s" if is_velocity else unit
    if left:
        n, most = len(left), max(jumps[each] for each in left)
        file.say(
            f"/{path}: jumps {n} time{'s' * (n != 1)} by up to {most:.3g} {what} from one sample to the "
            f"next, as no hand does (the first at {time[left[0] + 1]:.6g} s); the samples are kept"
        )
    if not bad.any():
        return series
    n = int(bad.sum())
    file.say(
        f"/{path}: {n} sample{'s lie' if n != 1 else ' lies'} between a jump away, by up to "
        f"{max(jumps.values()):.3g} {what}, and the jump back, as no hand moves (the first at "
        f"{time[np.argmax(bad)]:.6g} s), and count{'s' * (n == 1)} as missing"
    )
    out = series.values.copy()
    out[np.flatnonzero(is_whole)[bad]] = np.nan
    return series.with_values(out)


def _jumps(time: FloatArray, values: FloatArray, *, unit: str, is_velocity: bool) -> dict[int, float]:
    """Return the sample before each step that no hand makes, ascending, and how large the step is."""
    # What most steps do is no jump, however fast the series is sampled or how noisy it is.
    every = max(1, (len(values) - 1) // 200_000)
    usual = float(np.quantile(_steps(values[:-1:every], values[1::every]), 0.99))
    if unit == "cm":
        fastest, least = (FASTEST_CM_S2, 100.0) if is_velocity else (FASTEST_CM_S, 2.0)
        least = max(5 * usual, least)
    else:
        fastest, least = 0.0, max(10 * usual, span_of(values))
    found: dict[int, float] = {}
    for start in range(0, len(values) - 1, _BLOCK):
        # In blocks that stay in the cache.
        part = values[start : start + _BLOCK + 1]
        moved = np.abs(part[1:] - part[:-1])
        if not moved.max() > least:
            continue
        size = _steps(part[:-1], part[1:])
        after = time[start + 1 : start + 1 + len(size)] - time[start : start + len(size)]
        is_jump = (size > np.maximum(after * fastest, least)) & (after <= LONGEST_GLITCH_S)
        found |= {start + int(k): float(size[k]) for k in np.flatnonzero(is_jump)}
    return found


def _steps(before: FloatArray, after: FloatArray) -> FloatArray:
    """Return the largest change along any axis. Shape ``(n_samples,)``."""
    moved = np.abs(after - before)
    size: FloatArray = moved[:, 0].copy()
    for column in moved.T[1:]:
        np.maximum(size, column, out=size)
    return size


def _away(
    time: FloatArray, values: FloatArray, size: dict[int, float], *, interval_s: float
) -> tuple[BoolArray, list[int]]:
    """Return which samples lie between a jump away and the jump back, and the jumps without a way back."""
    jumps = list(size)
    longest_s = LONGEST_GLITCH_S + 2 * interval_s
    bad, left = np.zeros(len(values), dtype=bool), []
    at = 0
    while at < len(jumps):
        first, back = jumps[at], None
        for k in range(at + 1, min(at + 4, len(jumps))):
            after = jumps[k] + 1
            if (
                time[after] - time[first] <= longest_s
                and np.abs(values[after] - values[first]).max() < size[first] / 2
            ):
                back = k
                break
        if back is None:
            left.append(first)
            at += 1
        else:
            bad[first + 1 : jumps[back] + 1] = True
            at = back + 1
    # A first or last stretch has one jump alone.
    if left and time[left[0]] - time[0] <= LONGEST_GLITCH_S:
        bad[: left.pop(0) + 1] = True
    if left and time[-1] - time[left[-1] + 1] <= LONGEST_GLITCH_S:
        bad[left.pop() + 1 :] = True
    return bad, left
