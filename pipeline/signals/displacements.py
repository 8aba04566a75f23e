"""Displacements of a position and of what a velocity says, over the same windows of time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.signals.recording import Series

if TYPE_CHECKING:
    from nwb_latents.pipeline.signals.recording import BoolArray, FloatArray

WINDOW_S = 0.2
"""Displacements are those over this time, or four samples of the slower series where that is longer."""

SLOWEST_S = 0.11
"""Series sampled more slowly are not compared: what happens between their samples is not known."""

LONGEST_S = 1200.0
"""Of longer recordings ten stretches, evenly spread, are compared: half of this time in all."""

LEAST_WINDOWS = 20
"""Fewer windows tell nothing."""

_STRETCHES = 10
_FINEST_S = 0.001


@dataclass(frozen=True)
class Displacements:
    """Displacements of two series over the same windows, a quarter of a window apart.

    Attributes
    ----------
    position, velocity
        Shape ``(n_windows, n_axes)`` each.
    has_position, has_velocity
        Windows without a gap. Shape ``(n_windows,)``.
    step_s
        From one window to the next.
    """

    position: FloatArray
    velocity: FloatArray
    has_position: BoolArray
    has_velocity: BoolArray
    step_s: float


def stretches(position: Series, velocity: Series) -> tuple[Series, Series]:
    """Return what is compared of both: all of it, or stretches of a long recording."""
    start, stop = min(position.time[0], velocity.time[0]), max(position.time[-1], velocity.time[-1])
    if stop - start <= LONGEST_S:
        edges = np.array([[start, stop]])
    else:
        begins = start + (stop - start) / _STRETCHES * np.arange(_STRETCHES)
        edges = np.column_stack([begins, begins + LONGEST_S / 2 / _STRETCHES])
    return _part(position, edges), _part(velocity, edges)


def _part(series: Series, edges: FloatArray) -> Series:
    every = max(1, int(_FINEST_S / series.interval_s)) if series.interval_s > 0 else 1
    if len(edges) == 1 and every == 1:
        return series
    kept = [slice(a, b, every) for a, b in np.searchsorted(series.time, edges).tolist()]
    return Series(
        np.concatenate([series.time[part] for part in kept]),
        np.concatenate([series.values[part] for part in kept]),
    )


def displacements(position: Series, velocity: Series) -> Displacements | None:
    """Return displacements over the time that both cover; None where that is too little to tell anything."""
    slowest = max(position.interval_s, velocity.interval_s)
    if not slowest <= SLOWEST_S:
        return None
    window_s = max(WINDOW_S, 4 * slowest)
    start = max(position.time[0], velocity.time[0])
    stop = min(position.time[-1], velocity.time[-1])
    step_s = window_s / 4
    grid = start + step_s * np.arange(int((stop - start) / step_s) + 1)
    if len(grid) < 2 * LEAST_WINDOWS:
        return None
    way, has_way = _whole(position, grid, window_s)
    # A single sample that cannot be must not drown the integral.
    is_finite = np.isfinite(velocity.values)
    values = velocity.values if is_finite.all() else np.where(is_finite, velocity.values, np.nan)
    whole = values if is_finite.all() else values[_known(values)]
    if not len(whole):
        return None
    most = 20 * float(np.quantile(np.abs(whole[:: max(1, len(whole) // 100_000)]), 0.995))
    clipped = velocity.with_values(np.clip(values, -most, most))
    integral, has_integral = _whole(clipped, grid, window_s, is_integrated=True)
    if (has_way & has_integral).sum() < LEAST_WINDOWS:
        return None
    return Displacements(way, integral, has_way, has_integral, step_s)


def _whole(
    series: Series, grid: FloatArray, window_s: float, *, is_integrated: bool = False
) -> tuple[FloatArray, BoolArray]:
    """Return displacements over windows that begin on a grid, and which windows have no gap."""
    is_known = _known(series.values)
    time, values = series.time, series.values
    if not is_known.all():
        time, values = time[is_known], values[is_known]
    n = len(grid) - 4
    if len(time) < 2:
        return np.zeros((n, values.shape[1])), np.zeros(n, dtype=bool)
    steps = np.diff(time)
    if is_integrated:
        chords = (values[1:] + values[:-1]) / 2 * steps[:, None]
        values = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(chords, axis=0)])
    at = np.column_stack([np.interp(grid, time, column) for column in values.T])
    gaps = np.concatenate([[0], np.cumsum(steps > max(3 * series.interval_s, window_s / 2))])
    begins = np.searchsorted(time, grid[:-4], side="right") - 1
    ends = np.searchsorted(time, grid[4:], side="left")
    inside = (begins >= 0) & (ends < len(time))
    whole = inside & (gaps[np.maximum(begins, 0)] == gaps[np.minimum(ends, len(time) - 1)])
    return at[4:] - at[:-4], whole


def _known(values: FloatArray) -> BoolArray:
    # Over a short last axis, `all` costs ten times what the columns one by one do.
    return np.asarray(np.logical_and.reduce([np.isfinite(column) for column in values.T]))
