"""Spikes that cannot be told apart: times coarser than the bins, and spikes written twice."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.nwb.spike_selection import only_spikes
from nwb_latents.pipeline.scratch import picked, trains

if TYPE_CHECKING:
    from nwb_latents.pipeline.nwb.file import NwbFile
    from nwb_latents.pipeline.signals.recording import BoolArray, FloatArray, IntArray

REPEAT_S = 1e-4
"""No unit fires again so soon, and few do where a channel records several."""

TOO_MANY_REPEATS = 0.25
"""A larger share of spikes that repeat the one before is a fault of the file."""

MANY_REPEATS, MANY_EXACT = 0.05, 0.001
"""Shares that are said: of spikes within `REPEAT_S`, and at the very same time."""

_MOST_SHOWN = 5
N_LOOKED_AT, LEAST_LOOKED_AT, FEWEST_STEPS = 4096, 30, 3


def resolution_s(spikes: FloatArray) -> float:
    """Return what spike times are whole multiples of, or were rounded to; 0 where that is not to be seen.

    Parameters
    ----------
    spikes
        Seconds, finite. Shape ``(n_spikes,)``.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> times = np.sort(rng.uniform(0, 100, 1000))
    >>> resolution_s(times), round(resolution_s(np.round(times, 2)), 6)
    (0.0, 0.01)
    >>> resolution_s(times.astype(np.float16).astype(np.float64))
    0.0625
    """
    taken = picked(spikes, np.linspace(0, len(spikes) - 1, min(len(spikes), N_LOOKED_AT)).astype(np.int64))
    steps = np.diff(np.unique(taken))
    # Many spikes at few times are on a grid all the more.
    is_few = len(steps) < LEAST_LOOKED_AT and len(taken) < 10 * LEAST_LOOKED_AT
    if is_few or len(steps) < FEWEST_STEPS:
        return 0.0
    highest = float(np.abs(taken).max())
    rounded = 0.0
    with np.errstate(over="ignore"):
        for kind in (np.float32, np.float16):
            if (taken.astype(kind).astype(np.float64) == taken).all():
                rounded = float(np.spacing(kind(highest)))
    shortest = float(steps.min())
    multiples = steps / shortest
    is_grid = bool((np.abs(multiples - np.round(multiples)) < 0.02).all())
    return max(rounded, shortest if is_grid else 0.0)


def require_resolution(file: NwbFile, spikes: FloatArray, *, bin_size_s: float) -> float:
    """Refuse spike times that are coarser than the bins; say those that are not much finer.

    Parameters
    ----------
    file
        The open file, for messages.
    spikes
        Seconds. Shape ``(n_spikes,)``.
    bin_size_s
        Width of a bin.

    Returns
    -------
    resolution
        As `resolution_s`.

    Raises
    ------
    DataError
        If they are; the message names the bins that fit.
    """
    if not len(spikes):
        return 0.0
    step = resolution_s(spikes)
    what = f"spike times (/units/spike_times) are known to {step:.4g} s only"
    # A step as wide as the bins puts every spike into one bin, as it was counted.
    if step > bin_size_s * (1 + 1e-6):
        raise DataError(
            f"{file.name}: {what}, coarser than the bins of {bin_size_s:g} s: the counts would follow the "
            "rounding. Write them as 64-bit floats with all their digits, or use bins of at least "
            f"{step:.4g} s (--set bin_size_s=VALUE)."
        )
    if step > bin_size_s / 4:
        file.say(f"{what}, beside bins of {bin_size_s:g} s")
    return step


def say_twins(file: NwbFile, spikes: FloatArray, index: IntArray, ids: IntArray) -> None:
    """Say which units have the same spikes: one that was written twice counts twice.

    Parameters
    ----------
    file
        The open file.
    spikes, index
        Spikes, ascending within each unit, and one past the last spike of each.
    ids
        Shape ``(n_units,)``.
    """
    own = np.split(spikes, index[:-1])
    alike: dict[tuple[int, float, float], list[int]] = {}
    for unit, train in enumerate(trains(spikes, index)):
        if len(train) >= LEAST_LOOKED_AT:
            alike.setdefault((len(train), float(train[0]), float(train[-1])), []).append(unit)
    same: dict[bytes, list[int]] = {}
    # Few units begin, end and number alike without being the same.
    for unit in (unit for units in alike.values() if len(units) > 1 for unit in units):
        same.setdefault(hashlib.sha256(own[unit].tobytes()).digest(), []).append(unit)
    twins = [units for units in same.values() if len(units) > 1]
    if twins:
        shown = "; ".join(", ".join(str(ids[unit]) for unit in units) for units in twins[:_MOST_SHOWN])
        more = "" if len(twins) <= _MOST_SHOWN else f" and {len(twins) - _MOST_SHOWN} more groups"
        file.say(
            f"units with the very same spikes: {shown}{more}; a unit that was written several times counts "
            "as often. Take the others out of the file if they are one"
        )


def without_repeats(
    file: NwbFile, spikes: FloatArray, index: IntArray, *, on_repeated: str, resolution: float = 0.0
) -> tuple[FloatArray, IntArray]:
    """Find spikes that repeat the one before them, and keep, drop or refuse them.

    Parameters
    ----------
    file
        The open file.
    spikes, index
        Seconds, ascending within each unit, and one past the last spike of each.
    on_repeated
        ``error``, ``drop`` or ``keep``.
    resolution
        What the times were rounded to, s: so many spikes come to share a time.

    Returns
    -------
    spikes, index
        As given; without repeats where they are to be dropped.

    Raises
    ------
    DataError
        If a quarter of the spikes are repeats, more than chance explains, and `on_repeated` is ``error``.
    """
    if not len(spikes):
        return spikes, index
    near, exact, chance_near, chance_exact = _repeats(spikes, index, resolution)
    n_near, n_exact = int(near.sum()), int(exact.sum())
    is_much = (n_near - chance_near.sum()) / len(spikes) > TOO_MANY_REPEATS
    sizes = np.diff(index, prepend=0)
    units = np.flatnonzero((near - chance_near > TOO_MANY_REPEATS * sizes) & (sizes >= LEAST_LOOKED_AT))
    what = (
        f"{n_near} of {len(spikes)} spikes follow the one before them of the same unit within "
        f"{REPEAT_S * 1e3:g} ms, {n_exact} of them at the very same time"
    )
    if len(units):
        most = int(units[np.argmax(near[units] / sizes[units])])
        what += (
            f"; in {len(units)} of {len(index)} units they are more than a quarter (row {most} of /units: "
            f"{near[most]} of {sizes[most]})"
        )
    if on_repeated == "drop" and n_near:
        file.say(f"{what}; they are left out")
        return only_spikes(spikes, index, _is_first)
    if is_much and on_repeated == "error":
        raise DataError(
            f"{file.name}: {what}: no neuron fires so, spikes were written twice or more "
            "often. Drop those that follow with --set on_repeated_spikes=drop, or count them with --set "
            "on_repeated_spikes=keep."
        )
    if (
        len(units)
        or (n_near - chance_near.sum()) / len(spikes) > MANY_REPEATS
        or (n_exact - chance_exact.sum()) / len(spikes) > MANY_EXACT
    ):
        file.say(f"{what}; they are counted as they are (--set on_repeated_spikes=drop leaves them out)")
    return spikes, index


def _repeats(
    spikes: FloatArray, index: IntArray, resolution: float
) -> tuple[IntArray, IntArray, FloatArray, FloatArray]:
    """Return of each unit the near and the exact repeats, and how many of both come by chance."""
    n = len(index)
    near, exact = np.zeros(n, np.int64), np.zeros(n, np.int64)
    by_chance = np.zeros((2, n))
    for unit, times in enumerate(trains(spikes, index)):
        if len(times) < 2:
            continue
        gaps = np.diff(times)
        near[unit] = np.count_nonzero(gaps <= REPEAT_S)
        exact[unit] = np.count_nonzero(gaps == 0) if near[unit] else 0
        rate = len(times) / max(float(times[-1] - times[0]), 1e-9)
        for row, within in enumerate((REPEAT_S + resolution, resolution)):
            by_chance[row, unit] = len(times) * -np.expm1(-min(rate * within, 50.0))
    return near, exact, by_chance[0], by_chance[1]


def _is_first(train: FloatArray) -> BoolArray:
    """Return which spikes of a unit do not follow the one before them at once."""
    first: BoolArray = np.ones(len(train), dtype=bool)
    first[1:] = np.diff(train) > REPEAT_S
    return first
