"""Movement onset from the whole course of the speed: where the profile that fits best begins.

A fixed share of the peak is crossed the later, the more slowly the speed rises at first: even carried back
along a minimum-jerk profile, 60 to 80 ms after the start of a lognormal or late-peaked reach. So the times at
which a reach crosses shares of its peak, on the way up and down, are compared with those of a family of
profiles: ``τ^a (1 − τ)^b`` (a = b = 2 is minimum jerk, Flash & Hogan 1985), a period of a cosine, lognormal
ones (Plamondon 1995), and movements that a second one begins in (Milner 1992). Each profile, fitted to the
crossings by least squares over its start and duration, says where the reach began; the onset is their mean,
weighted by how well they fit this reach and the other ones of the session.

Slow drift of the hand or of its tracking is the median velocity of the hold before the go cue, taken off
first. Where no profile explains the way down, the way up decides alone: by the session's profile if most of
its reaches have told one, else by one near minimum jerk.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import gaussian_filter1d

from nwb_latents.pipeline.signals.crossings import DOWN, UP

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from nwb_latents.pipeline.signals.recording import BoolArray, FloatArray, IntArray
    from nwb_latents.pipeline.signals.rises import Rise

EXPONENTS_UP = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 8.0)
EXPONENTS_DOWN = (0.8, 1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0)
LOGNORMAL_SIGMAS = (0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.6)
FIRST_OF_TWO = ((2.0, 2.0), (1.8, 2.5), (2.5, 2.0))
"""Exponents up and down of a movement that another one follows."""
SECOND_AFTER = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8)
SECOND_HEIGHT, SECOND_DURATION = (0.15, 0.25, 0.35, 0.5, 0.7), (0.7, 0.9)
"""When the other one begins, how high its peak is and how long it lasts, each beside the first."""
SHOWS = 0.02
"""Share of the peak by which it changes the way down; less is no profile of its own."""
RARITY_OF_TWO = 1.5
"""Log weight that profiles of two movements are rarer by."""

BLURS = np.array([0.0, 0.01, 0.02, 0.03, 0.045, 0.06, 0.09])
"""Widths of the smoothing, in durations of the movement, that profiles are tabulated for."""

WHOLE_FALL = 6
"""Shares a movement crosses on the way down whose whole course counts."""

WIDEST_S = 0.03
"""Widest smoothing a noisy session is given; `QUIET_NOISE` is the share of noise that needs none."""
QUIET_NOISE = 0.012

MISFIT, MISFIT_OF_NOISE = 0.003, 0.12
"""Residual that is explained, in durations: without noise, and for each share of noise."""

TIMING_S, TIMING_UP_S = 0.004, 0.010
"""Residuals a profile is held to, both ways and on the way up alone."""

MOST = 0.35
"""Share of a session's reaches that profiles have to explain for theirs to count."""

_TOGETHER = 32
"""Movements fitted together: so many that their profiles stay in the cache."""


def widened(rises: Sequence[Rise], smooth_s: float) -> float:
    """Return the smoothing that a session's noise asks for, s: at least `smooth_s`, at most `WIDEST_S`."""
    shares = np.array([rise.noise for rise in rises if not rise.fault])
    shares = shares[np.isfinite(shares)]
    if not len(shares) or smooth_s <= 0:
        return smooth_s
    return float(np.clip(smooth_s * np.median(shares) / QUIET_NOISE, smooth_s, max(WIDEST_S, smooth_s)))


def fit_onsets(rises: Sequence[Rise], *, smooth_s: float) -> FloatArray:
    """Return when the movements of a session began.

    Parameters
    ----------
    rises
        Its movements (see `rises.measure_rises`).
    smooth_s
        Width of the smoothing of the velocity they were measured on, s.

    Returns
    -------
    onsets
        s; NaN where a movement has a fault. Shape ``(n,)``.

    Examples
    --------
    >>> from nwb_latents.pipeline.signals.recording import Series
    >>> t = np.arange(0, 2, 0.001)
    >>> tau = np.clip((t - 0.5) / 0.4, 0, 1)
    >>> reach = Series(t, np.outer(600 * tau**2 * (1 - tau) ** 2, [0.6, 0.8]))
    >>> from nwb_latents.pipeline.signals.rises import measure_rises
    >>> rises = measure_rises(reach, [(0.2, 0.3, 1.5)], min_peak_cm_s=3.0)
    >>> np.round(fit_onsets(rises, smooth_s=0.0), 2)
    array([0.5])
    """
    onsets = np.full(len(rises), np.nan)
    usable = [number for number, rise in enumerate(rises) if not rise.fault]
    if not usable:
        return onsets
    chosen = [rises[number] for number in usable]
    up, down = np.array([rise.up for rise in chosen]), np.array([rise.down for rise in chosen])
    both = _fits(np.concatenate([up, down], axis=1), smooth_s)
    is_explained = _are_explained(both, down, np.array([rise.noise for rise in chosen]))
    if is_explained.mean() < MOST:
        is_explained[:] = False
    begun = np.empty(len(chosen))
    prior = _near_minimum_jerk(0.15, lognormal=6.0)
    if is_explained.any():
        cost = both.cost(TIMING_S)[is_explained]
        shared = cost + min(12, len(cost)) * cost.mean(axis=0)
        weights = _normalised(_near_minimum_jerk(0.6, lognormal=1.0) - shared / 2)
        begun[is_explained] = (weights * both.onset[is_explained]).sum(axis=1)
        prior = np.log(weights.mean(axis=0) + 1e-3)
    if not is_explained.all():
        up = up[~is_explained]
        rising = _fits(np.concatenate([up, np.full((len(up), len(DOWN)), np.nan)], axis=1), smooth_s)
        weights = _normalised(prior - rising.cost(TIMING_UP_S) / 2)
        begun[~is_explained] = (weights * rising.onset).sum(axis=1)
    onsets[usable] = begun
    return onsets


def _normalised(log_weights: FloatArray) -> FloatArray:
    weights = np.exp(log_weights - log_weights.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def _are_explained(fits: _Fits, down: FloatArray, noise: FloatArray) -> BoolArray:
    """Return for which movements a profile explains the way up and down."""
    allowed = MISFIT + MISFIT_OF_NOISE * np.where(np.isfinite(noise), noise, QUIET_NOISE)
    is_whole = np.isfinite(down).sum(axis=1) >= WHOLE_FALL
    return np.asarray(is_whole & ((fits.residual / fits.duration).min(axis=1) < allowed))


@dataclass(frozen=True)
class _Fits:
    """Every profile fitted to the crossings of every movement.

    Attributes
    ----------
    onset, duration, residual
        s. Shape ``(n_movements, n_profiles)``.
    n
        Crossings of each movement. Shape ``(n_movements,)``.
    """

    onset: FloatArray
    duration: FloatArray
    residual: FloatArray
    n: IntArray

    def cost(self, timing_s: float) -> FloatArray:
        """Squared residuals, a third of the crossings being independent."""
        return np.asarray(self.n[:, None] * np.square(self.residual / timing_s) / 3)


def _fits(times: FloatArray, smooth_s: float) -> _Fits:
    """Fit every profile to the crossings of movements; NaN where a share is not crossed."""
    known = np.isfinite(times)
    made = np.empty((3, len(times), len(_profiles())))
    # Few movements cross other shares than the rest: those that cross the same ones are fitted together.
    for pattern in np.unique(known, axis=0):
        alike = np.flatnonzero((known == pattern).all(axis=1))
        # Contiguous, so that sums are taken in the same order of one movement and of many.
        table = np.ascontiguousarray(_profiles()[:, :, pattern])
        for lo in range(0, len(alike), _TOGETHER):
            some = alike[lo : lo + _TOGETHER]
            made[:, some] = _fitted(np.ascontiguousarray(times[some][:, pattern]), table, smooth_s)
    onset, duration, residual = made
    return _Fits(onset, duration, residual, known.sum(axis=1))


def _fitted(
    seen: FloatArray, table: FloatArray, smooth_s: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return onset, duration and residual of each profile for movements that cross the same shares.

    Shapes: `seen` ``(n_movements, n_shares)``, `table` ``(n_profiles, n_blurs, n_shares)``.
    """
    n_profiles, n_blurs, n_shares = table.shape
    flat, row = table.reshape(-1, n_shares), n_blurs * np.arange(n_profiles)
    mean = seen.mean(axis=1)[:, None]
    off = (seen - mean)[..., None]
    # The first guess is one for all movements.
    duration = np.full((1, n_profiles), 0.5)
    for _ in range(3):
        blur = np.clip(smooth_s / duration, 0.0, BLURS[-1] - 1e-9)
        at = np.searchsorted(BLURS, blur, side="right") - 1
        share = ((blur - BLURS[at]) / (BLURS[at + 1] - BLURS[at]))[..., None]
        at += row
        unit, more = flat[at], flat[at + 1]
        unit *= 1 - share
        more *= share
        unit += more
        middle = unit.mean(axis=2)
        centred = np.subtract(unit, middle[..., None], out=more)
        duration = np.maximum((centred @ off)[..., 0] / np.square(centred).sum(axis=2), 0.02)
    onset = mean - duration * middle
    left = seen[:, None] - onset[..., None]
    unit *= duration[..., None]
    left -= unit
    return onset, duration, np.sqrt(np.square(left, out=left).mean(axis=2))


def _near_minimum_jerk(spread: float, *, lognormal: float) -> FloatArray:
    """Return log weights of the profiles: exponents near 2, and lognormal ones rarer by so much."""
    powers = [(a, b) for a in EXPONENTS_UP for b in EXPONENTS_DOWN]
    weights = [-((np.log(a / 2) / spread) ** 2 + (np.log(b / 2) / spread) ** 2) / 2 for a, b in powers]
    weights += [-((np.log(s / 0.4) / spread) ** 2) / 2 - lognormal for s in LOGNORMAL_SIGMAS]
    return np.array([*weights, 0.0, *[-RARITY_OF_TWO] * (len(_profiles()) - len(weights) - 1)])


@cache
def _profiles() -> NDArray[np.float64]:
    """Return when profiles that begin at 0 and last 1 cross the shares. Shape ``(profile, blur, share)``."""
    step = 2e-3
    tau = np.arange(-0.5, 2.0, step)
    inside = np.clip(tau, 1e-12, 1.0)
    after = np.clip(tau, 1e-9, None)
    shapes = [inside**a * (1 - inside) ** b for a in EXPONENTS_UP for b in EXPONENTS_DOWN]
    # A lognormal profile has covered a thousandth of its way at exp(mu - 3.09 sigma): with mu so, it lasts 1.
    shapes += [
        np.where(tau > 0, np.exp(-np.square(np.log(after) / s + 3.09) / 2) / after, 0.0)
        for s in LOGNORMAL_SIGMAS
    ]
    shapes.append(1 - np.cos(2 * np.pi * inside))
    shapes += _two_movements(tau)
    found = np.empty((len(shapes), len(BLURS), len(UP) + len(DOWN)))
    for column, blur in enumerate(BLURS):
        blurred = gaussian_filter1d(np.stack(shapes), blur / step, axis=1) if blur else np.stack(shapes)
        for row, profile in enumerate(blurred):
            peak = int(np.argmax(profile))
            up = np.interp(UP * profile[peak], profile[: peak + 1], tau[: peak + 1])
            down = np.interp(DOWN * profile[peak], profile[peak:][::-1], tau[peak:][::-1])
            found[row, column] = np.concatenate([up, down])
    return found


def _two_movements(tau: FloatArray) -> list[FloatArray]:
    """Return profiles of a movement and a second one that shows on its way down, but does not rise again."""

    def one(at: FloatArray, a: float, b: float) -> FloatArray:
        return np.asarray(np.clip(at, 0, 1) ** a * np.clip(1 - at, 0, 1) ** b)

    shapes = []
    for exponents in FIRST_OF_TWO:
        alone = one(tau, *exponents)
        for after, height, lasts in product(SECOND_AFTER, SECOND_HEIGHT, SECOND_DURATION):
            both = alone + height * one((tau - after) / lasts, *exponents)
            peak = int(np.argmax(both))
            fall = both[peak:] / both[peak]
            fall = fall[: int(np.argmax(fall < DOWN[-1]))]
            own = alone[peak : peak + len(fall)] / alone[peak]
            if (np.diff(fall) <= 0).all() and np.abs(fall - own).max() > SHOWS:
                shapes.append(both)
    return shapes
