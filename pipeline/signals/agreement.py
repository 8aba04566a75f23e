"""Whether a velocity is the derivative of the position beside it, and if not, what it is of it.

Compared are displacements over a fifth of a second or more: the difference of the position against the
integral of the velocity. Noise of single samples, filters, other sampling rates and samples that are missing
hardly change either.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import linear_sum_assignment

from nwb_latents.pipeline.signals.recording import Series

if TYPE_CHECKING:
    from nwb_latents.pipeline.signals.recording import BoolArray, FloatArray, IntArray

WINDOW_S = 0.2
"""Displacements are those over this time, or four samples of the slower series where that is longer."""

SLOWEST_S = 0.11
"""Series sampled more slowly are not compared: what happens between their samples is not known."""

LONGEST_LAG_S = 30.0
"""A velocity stamped earlier or later is looked for this far."""

AGREES = 0.7
"""Least correlation of displacements, along every axis that moves, of a velocity that is taken as it is."""

RECOGNISED = 0.9
"""Least correlation with flipped, exchanged or shifted displacements at which a velocity is known as such."""

UNLIKE = 0.3
"""A velocity whose displacements correlate less is of something else."""

LONGEST_S = 1200.0
"""Of longer recordings ten stretches, evenly spread, are compared: half of this time in all."""

_LEAST_WINDOWS = 20
_STRETCHES = 10
_FINEST_S = 0.001
_LEAST_CONSTANT = 0.05
"""A constant below this share of the fastest movements may be noise."""

_MOVES = 0.15
"""An axis moves if its displacements are this share of those along the axis that moves most."""


@dataclass(frozen=True)
class Agreement:
    """What a velocity is of the position's derivative.

    Attributes
    ----------
    correlation
        Of displacements along all axes.
    least
        Of displacements along the axis that agrees least of those that move.
    factors
        How many times as fast as the velocity says the position moves, along each axis; NaN where that is
        not to be told. Shape ``(n_axes,)``.
    lag_s
        How much later than the position's derivative the velocity comes; 0 where that is not looked for.
    relation
        What a velocity that does not agree is, in words that follow its name; empty: not recognised.
    """

    correlation: float
    least: float
    factors: FloatArray
    lag_s: float = 0.0
    relation: str = ""

    @property
    def factor(self) -> float | None:
        """Factor common to all axes that agree well; None: not to be told."""
        known = self.factors[np.isfinite(self.factors)]
        return float(np.exp(np.log(known).mean())) if len(known) else None

    @property
    def is_uneven(self) -> bool:
        """Whether axes differ in their factors by more than any unit explains."""
        known = self.factors[np.isfinite(self.factors)]
        return len(known) > 1 and bool(known.max() > 1.5 * known.min())


@dataclass(frozen=True)
class _Displacements:
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


def compare(position: Series, velocity: Series) -> Agreement | None:
    """Compare a velocity with the derivative of a position.

    Parameters
    ----------
    position, velocity
        On clocks of their own, NaN where samples are missing; they may differ in their numbers of axes.

    Returns
    -------
    agreement
        None where the two have too little in common to tell.

    Examples
    --------
    >>> from nwb_latents.pipeline.signals.recording import Series
    >>> time = np.arange(3000) * 0.01
    >>> way = np.column_stack([np.sin(time), np.sin(1.7 * time)])
    >>> moved = np.column_stack([np.cos(time), 1.7 * np.cos(1.7 * time)])
    >>> round(compare(Series(time, way), Series(time, moved)).correlation, 3)
    1.0
    >>> compare(Series(time, way), Series(time, moved * [1, -1])).relation
    'has the opposite sign in column 2'
    """
    moved = _displacements(*_parts(position, velocity))
    if moved is None:
        return None
    axes = min(moved.position.shape[1], moved.velocity.shape[1])
    moving = _moving(moved.position[moved.has_position])
    own = moving[moving < axes]
    correlation, factors = _correlations(moved, moving)
    straight = np.diagonal(correlation)
    worst = float(straight[own].min()) if len(own) else 0.0
    good = np.full(axes, np.nan)
    good[own] = np.where(straight[own] > RECOGNISED, np.diagonal(factors)[own], np.nan)
    overall, turned = _at_lag(moved, own, _fast(moved, own), lag=0), _turned(moved, moving)
    if worst >= AGREES and not turned:
        if constant := _constant(moved, own):
            return Agreement(overall, worst, good, relation=constant)
        lag_s = 0.0 if worst > 0.95 else _lag(moved, own)[0]
        return Agreement(overall, worst, good, lag_s=lag_s)
    relation = (_ordered(correlation, moving) or _shifted(moved, own)) if worst < AGREES else turned
    lag_s = 0.0
    if not relation:
        lag_s, shifted = _lag(moved, own)
        if lag_s and shifted >= RECOGNISED:
            side = "after" if lag_s > 0 else "before"
            relation = f"comes about {abs(lag_s):.2g} s {side} the position's derivative"
    return Agreement(overall, worst, good, lag_s=lag_s, relation=relation or turned)


def _parts(position: Series, velocity: Series) -> tuple[Series, Series]:
    """Return what is compared of both: all of it, or stretches of a long recording."""
    start, stop = min(position.time[0], velocity.time[0]), max(position.time[-1], velocity.time[-1])
    if stop - start <= LONGEST_S:
        edges = np.array([[start, stop]])
    else:
        begins = start + (stop - start) / _STRETCHES * np.arange(_STRETCHES)
        edges = np.column_stack([begins, begins + LONGEST_S / 2 / _STRETCHES])
    return _stretches(position, edges), _stretches(velocity, edges)


def _stretches(series: Series, edges: FloatArray) -> Series:
    every = max(1, int(_FINEST_S / series.interval_s)) if series.interval_s > 0 else 1
    if len(edges) == 1 and every == 1:
        return series
    ends = np.searchsorted(series.time, edges)
    kept = np.concatenate([np.arange(a, b, every) for a, b in ends])
    return Series(series.time[kept], series.values[kept])


def _displacements(position: Series, velocity: Series) -> _Displacements | None:
    slowest = max(position.interval_s, velocity.interval_s)
    if not slowest <= SLOWEST_S:
        return None
    window_s = max(WINDOW_S, 4 * slowest)
    start = max(position.time[0], velocity.time[0])
    stop = min(position.time[-1], velocity.time[-1])
    step_s = window_s / 4
    grid = start + step_s * np.arange(int((stop - start) / step_s) + 1)
    if len(grid) < 2 * _LEAST_WINDOWS:
        return None
    way, has_way = _whole(position, grid, window_s)
    # A single sample that cannot be must not drown the integral.
    values = np.where(np.isfinite(velocity.values), velocity.values, np.nan)
    finite = np.abs(values[np.isfinite(values).all(axis=1)])
    if not len(finite):
        return None
    most = 20 * float(np.quantile(finite[:: max(1, len(finite) // 100_000)], 0.995))
    clipped = velocity.with_values(np.clip(values, -most, most))
    integral, has_integral = _whole(clipped, grid, window_s, is_integrated=True)
    if (has_way & has_integral).sum() < _LEAST_WINDOWS:
        return None
    return _Displacements(way, integral, has_way, has_integral, step_s)


def _whole(
    series: Series, grid: FloatArray, window_s: float, *, is_integrated: bool = False
) -> tuple[FloatArray, BoolArray]:
    """Return displacements over windows that begin on a grid, and which windows have no gap."""
    is_known = np.isfinite(series.values).all(axis=1)
    time, values = series.time[is_known], series.values[is_known]
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


def _moving(displacements: FloatArray) -> IntArray:
    """Return the axes along which there is movement to compare."""
    size = np.array([np.abs(d[_largest(d)]).mean() for d in displacements.T])
    most = size.max(initial=0.0)
    return np.flatnonzero(size >= _MOVES * most) if most > 0 else np.zeros(0, dtype=np.int64)


def _largest(displacements: FloatArray) -> BoolArray:
    size = np.abs(displacements)
    return np.asarray(size >= np.quantile(size, 0.9))


def _correlations(moved: _Displacements, moving: IntArray) -> tuple[FloatArray, FloatArray]:
    """Return correlations and factors of each axis of the position with each of the velocity.

    Where an axis of the position moves most counts alone. Shapes ``(n_position_axes, n_velocity_axes)``.
    """
    both = moved.has_position & moved.has_velocity
    way, integral = moved.position[both], moved.velocity[both]
    shape = (way.shape[1], integral.shape[1])
    correlation, factors = np.zeros(shape), np.full(shape, np.nan)
    for i in moving:
        large = _largest(way[:, i])
        a, b = way[large, i], integral[large]
        dot, squared = a @ b, np.square(b).sum(axis=0)
        known = (squared > 0) & (np.square(a).sum() > 0)
        correlation[i, known] = dot[known] / np.sqrt(np.square(a).sum() * squared[known])
        factors[i, known] = dot[known] / squared[known]
    return correlation, np.where(factors > 0, factors, np.nan)


def _ordered(correlation: FloatArray, moving: IntArray) -> str:
    """Say which column of the velocity belongs to which axis of the position, if that is plain."""
    rows, columns = linear_sum_assignment(-np.abs(correlation[moving]))
    rows = moving[rows]
    found = correlation[rows, columns]
    if len(rows) < min(len(moving), correlation.shape[1]) or (np.abs(found) < RECOGNISED).any():
        return ""
    flipped = [str(column + 1) for column, value in zip(columns, found, strict=True) if value < 0]
    sign = ""
    if flipped:
        which = f"column {' and '.join(flipped)}" if len(flipped) < len(found) else "every column"
        sign = f"has the opposite sign in {which}"
    if (rows == columns).all():
        return sign
    order = ", ".join(
        f"its column {column + 1} is that of column {row + 1}"
        for row, column in zip(rows, columns, strict=True)
        if row != column
    )
    return f"has its columns in another order ({order})" + (f" and {sign}" if sign else "")


def _shifted(moved: _Displacements, axes: IntArray) -> str:
    """Say which constant is added to every velocity, if that is all that is wrong with it."""
    constant = np.median(moved.velocity[moved.has_velocity], axis=0)
    level = replace(moved, velocity=moved.velocity - constant)
    if not _at_lag(level, axes, _fast(level, axes), lag=0) >= RECOGNISED:
        return ""
    each = ", ".join(f"{value / (4 * moved.step_s):.3g}" for value in constant)
    return f"has a constant added to it ({each} a second), as if it drifted while nothing moves"


def _constant(moved: _Displacements, axes: IntArray) -> str:
    """Say which constant is added to a velocity that agrees otherwise: it stays while nothing moves."""
    both = moved.has_position & moved.has_velocity
    way, integral = moved.position[both], moved.velocity[both]
    found = np.zeros(moved.velocity.shape[1])
    for axis in axes:
        size = np.abs(way[:, axis])
        still, large = size <= np.quantile(size, 0.5), _largest(way[:, axis])
        if still.sum() < _LEAST_WINDOWS:
            continue
        fastest = np.abs(integral[large, axis]).mean()
        per_way = fastest / np.abs(way[large, axis]).mean() if way[large, axis].any() else 0.0
        drift = np.median(way[still, axis]) * per_way
        constant = np.median(integral[still, axis]) - drift
        if abs(constant) > _LEAST_CONSTANT * fastest:
            found[axis] = constant / (4 * moved.step_s)
    if not found.any():
        return ""
    each = ", ".join(f"{value:.3g}" for value in found)
    return f"has a constant added to it ({each} a second), as if it drifted while nothing moves"


def _turned(moved: _Displacements, moving: IntArray) -> str:
    """Say by how much the axes of the velocity are turned, or that they are mixed, if that is plain."""
    n = moved.position.shape[1]
    if len(moving) < 2 or len(moving) != n or moved.velocity.shape[1] != n:
        return ""
    both = moved.has_position & moved.has_velocity
    way, integral = moved.position[both], moved.velocity[both]
    large = np.logical_or.reduce([_largest(column) for column in way.T])
    way, integral = way[large], integral[large]
    spread = np.linalg.eigvalsh(way.T @ way)
    if spread[0] < 0.1 * spread[-1] or np.linalg.matrix_rank(integral) < n:
        return ""  # along one line, a turn of the axes does not show
    mixing = np.linalg.lstsq(integral, way, rcond=None)[0]
    left = np.square(way - integral @ mixing).sum()
    if left > (1 - RECOGNISED**2) * np.square(way).sum():
        return ""
    scale = np.sqrt(np.square(mixing).sum() / n)
    off = mixing - np.diag(np.diagonal(mixing))
    if np.sqrt(np.square(off).sum() / n) < 0.3 * scale:
        return ""
    is_rotation = n == 2 and np.allclose(mixing.T @ mixing, scale**2 * np.eye(2), atol=0.2 * scale**2)
    if is_rotation and np.linalg.det(mixing) > 0:
        degrees = np.degrees(np.arctan2(mixing[1, 0] - mixing[0, 1], mixing[0, 0] + mixing[1, 1]))
        return f"has its axes turned by about {abs(degrees):.0f}°"
    return "has axes that are mixtures of the position's"


def _fast(moved: _Displacements, axes: IntArray) -> IntArray:
    """Return the windows of the largest displacements along some axes of the position."""
    size = np.square(moved.position[:, axes]).sum(axis=1)
    known = moved.has_position
    return np.flatnonzero(known & (size >= np.quantile(size[known], 0.9)))


def _at_lag(moved: _Displacements, axes: IntArray, windows: IntArray, *, lag: int) -> float:
    """Return the correlation of displacements with those so many windows later; NaN: not to be told."""
    there = windows + lag
    inside = (there >= 0) & (there < len(moved.velocity))
    inside[inside] = moved.has_velocity[there[inside]]
    if inside.sum() < _LEAST_WINDOWS:
        return float("nan")
    a, b = moved.position[windows[inside]][:, axes], moved.velocity[there[inside]][:, axes]
    squared = float(np.square(a).sum() * np.square(b).sum())
    return float((a * b).sum()) / float(np.sqrt(squared)) if squared > 0 else 0.0


def _lag(moved: _Displacements, axes: IntArray) -> tuple[float, float]:
    """Return the lag at which the velocity fits best, s, and the correlation there."""
    if not len(axes):
        return 0.0, 0.0
    windows = _fast(moved, axes)
    windows = windows[:: max(1, len(windows) // 2000)]
    farthest = int(min(LONGEST_LAG_S / moved.step_s, len(moved.position) // 2))
    best, at = -1.0, 0
    for lag in sorted(range(-farthest, farthest + 1), key=abs):
        found = _at_lag(moved, axes, windows, lag=lag)
        # Of lags that fit alike the shortest.
        if found > best + 0.01:
            best, at = found, lag
    return at * moved.step_s, best
