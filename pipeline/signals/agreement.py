"""Whether a velocity is the derivative of the position beside it, and if not, what it is of it.

Compared are displacements over a fifth of a second or more: the difference of the position against the
integral of the velocity. Noise of single samples, filters, other sampling rates and samples that are missing
hardly change either.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy.optimize import linear_sum_assignment

from nwb_latents.pipeline.signals.displacements import LEAST_WINDOWS, Displacements, displacements, stretches

if TYPE_CHECKING:
    from nwb_latents.pipeline.signals.recording import BoolArray, FloatArray, IntArray, Series

LONGEST_LAG_S = 30.0
"""A velocity stamped earlier or later is looked for this far."""

AGREES = 0.7
"""Least correlation of displacements, along every axis that moves, of a velocity that is taken as it is."""

RECOGNISED = 0.9
"""Least correlation with flipped, exchanged or shifted displacements at which a velocity is known as such."""

UNLIKE = 0.3
"""A velocity whose displacements correlate less is of something else."""

_LEAST_CONSTANT = 0.05
"""A constant below this share of the fastest movements may be noise."""

_NEAR = 1e-6
"""Lags that come as close to being the best one are held against it exactly."""

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
    moved = displacements(*stretches(position, velocity))
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


def _moving(displacements: FloatArray) -> IntArray:
    """Return the axes along which there is movement to compare."""
    size = np.array([np.abs(d[_largest(d)]).mean() for d in displacements.T])
    most = size.max(initial=0.0)
    return np.flatnonzero(size >= _MOVES * most) if most > 0 else np.zeros(0, dtype=np.int64)


def _largest(displacements: FloatArray) -> BoolArray:
    size = np.abs(displacements)
    return np.asarray(size >= np.quantile(size, 0.9))


def _correlations(moved: Displacements, moving: IntArray) -> tuple[FloatArray, FloatArray]:
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


def _shifted(moved: Displacements, axes: IntArray) -> str:
    """Say which constant is added to every velocity, if that is all that is wrong with it."""
    constant = np.median(moved.velocity[moved.has_velocity], axis=0)
    level = replace(moved, velocity=moved.velocity - constant)
    if not _at_lag(level, axes, _fast(level, axes), lag=0) >= RECOGNISED:
        return ""
    each = ", ".join(f"{value / (4 * moved.step_s):.3g}" for value in constant)
    return f"has a constant added to it ({each} a second), as if it drifted while nothing moves"


def _constant(moved: Displacements, axes: IntArray) -> str:
    """Say which constant is added to a velocity that agrees otherwise: it stays while nothing moves."""
    both = moved.has_position & moved.has_velocity
    way, integral = moved.position[both], moved.velocity[both]
    found = np.zeros(moved.velocity.shape[1])
    for axis in axes:
        size = np.abs(way[:, axis])
        still, large = size <= np.quantile(size, 0.5), _largest(way[:, axis])
        if still.sum() < LEAST_WINDOWS:
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


def _turned(moved: Displacements, moving: IntArray) -> str:
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


def _fast(moved: Displacements, axes: IntArray) -> IntArray:
    """Return the windows of the largest displacements along some axes of the position."""
    size = np.square(moved.position[:, axes]).sum(axis=1)
    known = moved.has_position
    return np.flatnonzero(known & (size >= np.quantile(size[known], 0.9)))


def _at_lag(moved: Displacements, axes: IntArray, windows: IntArray, *, lag: int) -> float:
    """Return the correlation of displacements with those so many windows later; NaN: not to be told."""
    there = windows + lag
    inside = (there >= 0) & (there < len(moved.velocity))
    inside[inside] = moved.has_velocity[there[inside]]
    if inside.sum() < LEAST_WINDOWS:
        return float("nan")
    a, b = moved.position[windows[inside]][:, axes], moved.velocity[there[inside]][:, axes]
    squared = float(np.square(a).sum() * np.square(b).sum())
    return float((a * b).sum()) / float(np.sqrt(squared)) if squared > 0 else 0.0


def _lag(moved: Displacements, axes: IntArray) -> tuple[float, float]:
    """Return the lag at which the velocity fits best, s, and the correlation there."""
    if not len(axes):
        return 0.0, 0.0
    windows = _fast(moved, axes)
    windows = windows[:: max(1, len(windows) // 2000)]
    farthest = int(min(LONGEST_LAG_S / moved.step_s, len(moved.position) // 2))
    near = _near_at_lags(moved, axes, windows, farthest=farthest)
    best, at = -1.0, 0
    for lag in sorted(range(-farthest, farthest + 1), key=abs):
        # Of lags that fit alike the shortest.
        if near[farthest + lag] > best + 0.01 - _NEAR:
            found = _at_lag(moved, axes, windows, lag=lag)
            if found > best + 0.01:
                best, at = found, lag
    return at * moved.step_s, best


def _near_at_lags(moved: Displacements, axes: IntArray, windows: IntArray, *, farthest: int) -> FloatArray:
    """Return `_at_lag` of all lags at once, from the earliest on, but for rounding; -1: not to be told."""
    known = moved.has_velocity
    velocity = np.where(known[:, None], moved.velocity[:, axes], 0.0)
    position = moved.position[windows][:, axes]
    ones = np.ones(len(windows))
    dot = np.zeros(2 * farthest + 1)
    for ours, theirs in zip(position.T, velocity.T, strict=True):
        dot += _at_each_lag(ours[None], theirs, windows, farthest=farthest)[0]
    squares = np.square(position).sum(axis=1)
    counts = _at_each_lag(np.stack([squares, ones]), known.astype(np.float64), windows, farthest=farthest)
    of_velocity = _at_each_lag(ones[None], np.square(velocity).sum(axis=1), windows, farthest=farthest)[0]
    squared = counts[0] * of_velocity
    near = np.divide(dot, np.sqrt(squared), out=np.zeros_like(dot), where=squared > 0)
    near[np.rint(counts[1]) < LEAST_WINDOWS] = -1.0
    return np.asarray(near)


def _at_each_lag(weights: FloatArray, values: FloatArray, windows: IntArray, *, farthest: int) -> FloatArray:
    """Return weighted sums of what lies at each lag from the windows. Shape ``(n_weights, n_lags)``."""
    around = sliding_window_view(np.pad(values, farthest), 2 * farthest + 1)
    sums = np.zeros((len(weights), 2 * farthest + 1))
    # Few at a time, so that they stay in the cache.
    for lo in range(0, len(windows), 64):
        sums += weights[:, lo : lo + 64] @ around[windows[lo : lo + 64]]
    return sums
