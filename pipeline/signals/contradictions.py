"""Where position and velocity, one the derivative of the other all in all, contradict each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import maximum_filter1d

from nwb_latents.pipeline.signals.agreement import RECOGNISED
from nwb_latents.pipeline.signals.displacements import displacements
from nwb_latents.pipeline.signals.recording import Series

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nwb_latents.pipeline.signals.displacements import Displacements
    from nwb_latents.pipeline.signals.recording import BoolArray, FloatArray

_BLOCK_S = 1200.0
"""So much is compared at a time, whatever the length of the recording."""

_FINEST_S = 0.005
"""Of series that are sampled more finely samples so far apart are enough."""

_AROUND = 9
"""Windows, a quarter of one apart, in which the other may move instead: filters delay, clocks differ."""

_TIMES = 2.0
_FLOOR = 0.15
"""One contradicts the other where it moves so many times as far as that does nearby, and by this share of a
fast movement besides."""

_TURNED = 0.7
"""So do two that move alike far in other directions (by more than some 40°): by this share of the farther."""

_AGREEING = 0.6
"""Share of the time in which the two are held to agree, if they do at all."""

_NOISE = 6.0
"""And by this many times the median of all differences."""


@dataclass(frozen=True)
class Contradiction:
    """A stretch of time in which a position and a velocity contradict each other.

    Attributes
    ----------
    start_s, stop_s
        When.
    window_s
        Time over which the displacements below are.
    position, velocity
        How far the position moves, and how far the velocity says it does, where the two differ most.
    """

    start_s: float
    stop_s: float
    window_s: float
    position: float
    velocity: float


def contradictions(position: Series, velocity: Series) -> list[Contradiction]:
    """Return where two series contradict each other that agree elsewhere.

    Parameters
    ----------
    position, velocity
        On clocks of their own, NaN where samples are missing; axes that both have are compared.

    Returns
    -------
    found
        In order of time; nothing where they have too little in common, or do not agree anyway.

    Examples
    --------
    >>> time = np.arange(3000) * 0.01
    >>> way, moved = np.sin(2 * time)[:, None] + 2, 2 * np.cos(2 * time)[:, None]
    >>> contradictions(Series(time, way), Series(time, moved))
    []
    >>> way[1000:1200] = 0
    >>> (found,) = contradictions(Series(time, way), Series(time, moved))
    >>> round(found.start_s, 1), round(found.stop_s, 1)
    (9.8, 12.2)
    """
    start, stop = max(position.time[0], velocity.time[0]), min(position.time[-1], velocity.time[-1])
    found: list[Contradiction] = []
    while start < stop:
        # Blocks overlap, so that nothing is missed at their edges.
        parts = [_between(series, start - 1.0, start + _BLOCK_S) for series in (position, velocity)]
        if all(len(part.time) > 1 for part in parts):
            moved = displacements(*parts)
            if moved is not None:
                found += _of_block(moved, start_s=max(float(part.time[0]) for part in parts))
        # Where there is a gap, however long, the next one begins after it.
        start = max(_first_from(series, start + _BLOCK_S) for series in (position, velocity))
    return list(_joined(found))


def _first_from(series: Series, time: float) -> float:
    at = int(np.searchsorted(series.time, time))
    return float(series.time[at]) if at < len(series.time) else np.inf


def _between(series: Series, start: float, stop: float) -> Series:
    a, b = np.searchsorted(series.time, [start, stop]).tolist()
    every = max(1, int(_FINEST_S / series.interval_s)) if series.interval_s > 0 else 1
    return Series(series.time[a:b:every], series.values[a:b:every])


def _of_block(moved: Displacements, *, start_s: float) -> Iterator[Contradiction]:
    both = moved.has_position & moved.has_velocity
    axes = min(moved.position.shape[1], moved.velocity.shape[1])
    way = np.where(both[:, None], moved.position[:, :axes], 0.0)
    integral = np.where(both[:, None], moved.velocity[:, :axes], 0.0)
    scale = _scale(way[both], integral[both])
    if not scale > 0:
        return
    integral *= scale
    # What contradicts, for two fifths of the time at most, must not decide whether the rest agrees.
    apart = _length(way - integral)
    agrees = both & (apart <= np.quantile(apart[both], _AGREEING))
    squares = [float(np.square(each[agrees]).sum()) for each in (way, integral)]
    if not (way * integral)[agrees].sum() >= RECOGNISED * np.sqrt(squares[0] * squares[1]):
        return
    far = [_length(each) for each in (way, integral)]
    # Of the time in which they agree: a stretch that is far off makes none of the others near.
    floor = _FLOOR * float(np.quantile(np.minimum(*far)[both], 0.99))
    # By as much as this the two differ all the time.
    floor += _NOISE * float(np.median(apart[both]))
    nearby = [maximum_filter1d(each, _AROUND) for each in far]
    wrong = both & ((far[0] > _TIMES * nearby[1] + floor) | (far[1] > _TIMES * nearby[0] + floor))
    wrong |= both & _is_turned(way, integral, floor=floor)
    window_s = 4 * moved.step_s
    edges = np.flatnonzero(np.diff(wrong, prepend=False, append=False))
    for a, b in edges.reshape(-1, 2).tolist():
        worst = a + int(np.argmax(np.abs(far[0][a:b] - far[1][a:b])))
        yield Contradiction(
            start_s + a * moved.step_s,
            start_s + (b - 1) * moved.step_s + window_s,
            window_s,
            float(far[0][worst]),
            float(far[1][worst]),
        )


def _length(moved: FloatArray) -> FloatArray:
    return np.asarray(np.sqrt(np.square(moved).sum(axis=1)))


def _scale(way: FloatArray, integral: FloatArray) -> float:
    """Return what an integral has to be multiplied with, as most of the windows with movement have it."""
    far = [_length(each) for each in (way, integral)]
    if not len(way):
        return 0.0
    moving = np.logical_and(*(each > 0.2 * np.quantile(each, 0.9) for each in far))
    if not moving.any():
        return 0.0
    dot = (way * integral)[moving].sum(axis=1)
    return float(np.median(dot / np.square(far[1][moving])))


def _is_turned(way: FloatArray, integral: FloatArray, *, floor: float) -> BoolArray:
    """Return the windows in which the two move elsewhere, whichever window nearby is taken of the other."""
    reach = _AROUND // 2
    near, far = np.pad(integral, ((reach, reach), (0, 0))), _length(way)
    is_turned = np.ones(len(way), dtype=bool)
    for shift in range(_AROUND):
        other = near[shift : shift + len(way)]
        most = floor + _TURNED * np.maximum(far, _length(other))
        is_turned &= _length(way - other) > most
    return is_turned


def _joined(found: list[Contradiction]) -> Iterator[Contradiction]:
    """Yield stretches that touch, or lie in two blocks, as one."""
    held: Contradiction | None = None
    for each in sorted(found, key=lambda one: one.start_s):
        if held is None or each.start_s > held.stop_s + 2 * each.window_s:
            if held is not None:
                yield held
            held = each
            continue
        worse = max(held, each, key=lambda one: abs(one.position - one.velocity))
        held = Contradiction(
            held.start_s, max(held.stop_s, each.stop_s), worse.window_s, worse.position, worse.velocity
        )
    if held is not None:
        yield held
