"""Neurons of a subject over its days: most are found again, their rates and tuning a little changed.

A subject has a place for every unit a session may have. What is in it wanders from week to week like an
Ornstein-Uhlenbeck process, so that it stays within bounds; now and then its neuron is lost and another one
is found there. A day's session has some of the places.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.sources.simulator.lifelike.tuning import Tuning
from nwb_latents.pipeline.sources.simulator.neurons import areas_of

if TYPE_CHECKING:
    from nwb_latents.pipeline.signals.recording import BoolArray, FloatArray, IntArray
    from nwb_latents.schemas.simulation import SimulateSettings

KEPT_IN_A_WEEK = 0.86
"""Correlation of what wanders from one week to the next: a time constant of 46 days."""

LOST_IN_A_WEEK = 0.08
"""Share of neurons that another one takes the place of, at the usual drift."""

RATE_SD, DIRECTION_SD, DEPTH_SD = 0.35, 0.45, 0.2
"""Standard deviations over months: of the log rate, the preferred direction in radians, the log depth."""

WITHIN_RATE_SD, WITHIN_DIRECTION_SD = 0.12, 0.1
"""The same within a session, from its mean."""

KNOT_S = 20.0


@dataclass(frozen=True)
class _Pool:
    """What is in the places of a subject. All but `is_m1` and `wander` were drawn with the neuron."""

    neuron: IntArray
    is_m1: BoolArray
    preferred: FloatArray
    width: FloatArray
    depth: FloatArray
    half_speed: FloatArray
    speed_gain: FloatArray
    turn: FloatArray
    linear: FloatArray
    log_rate: FloatArray
    wander: FloatArray
    """Of rate, direction and depth, in standard deviations. Shape ``(n_places, 3)``."""


def population_of(settings: SimulateSettings, *, subject: int, session: int, duration_s: float) -> Tuning:
    """Return the units of one session, without their gains.

    Parameters
    ----------
    settings
        Seed, number of units, mean rate, silent units, drift.
    subject, session
        Numbers of the subject and of its session, from 0; a session is a week after the one before.
    duration_s
        Length of the session.

    Returns
    -------
    tuning
        M1 units first, then PMd. `Tuning.log_gain` is still 0.

    Examples
    --------
    >>> from nwb_latents.schemas.simulation import SimulateSettings
    >>> settings = SimulateSettings(n_units=(40, 40))
    >>> days = [population_of(settings, subject=0, session=day, duration_s=500.0) for day in (0, 1)]
    >>> bool(len(np.intersect1d(days[0].neuron, days[1].neuron)) > 30)
    True
    """
    pool = _pool_on_day(settings, subject=subject, session=session)
    rng = np.random.default_rng([settings.seed, 6, subject, session])
    low, high = settings.n_units
    n_units = int(rng.integers(low, high + 1))
    n_m1 = int((areas_of(n_units) == "M1").sum())
    chosen = np.concatenate(
        [
            np.sort(rng.permutation(np.flatnonzero(pool.is_m1))[:n_m1]),
            np.sort(rng.permutation(np.flatnonzero(~pool.is_m1))[: n_units - n_m1]),
        ]
    )
    wander = settings.drift * pool.wander[chosen]
    time, within = _within_session(n_units, duration_s, rng)
    return Tuning(
        neuron=pool.neuron[chosen],
        preferred_rad=np.mod(pool.preferred[chosen] + DIRECTION_SD * wander[:, 1], 2 * np.pi),
        width=pool.width[chosen],
        depth=pool.depth[chosen] * np.exp(DEPTH_SD * wander[:, 2]),
        half_speed=pool.half_speed[chosen],
        speed_gain=pool.speed_gain[chosen],
        turn=pool.turn[chosen],
        linear=pool.linear[chosen],
        log_gain=np.zeros(n_units),
        mean_hz=_mean_rates(settings, pool.log_rate[chosen] + RATE_SD * wander[:, 0], rng),
        drift_time_s=time,
        drift_log_gain=settings.drift * WITHIN_RATE_SD * within[0],
        drift_rad=settings.drift * WITHIN_DIRECTION_SD * within[1],
    )


def _pool_on_day(settings: SimulateSettings, *, subject: int, session: int) -> _Pool:
    n_places = settings.n_units[1]
    is_m1 = areas_of(n_places) == "M1"
    pool = _draw_pool(is_m1, np.random.default_rng([settings.seed, 4, subject]))
    lost = min(LOST_IN_A_WEEK * settings.drift, 1.0)
    for week in range(1, session + 1):
        rng = np.random.default_rng([settings.seed, 5, subject, week])
        moved = KEPT_IN_A_WEEK * pool.wander + np.sqrt(1 - KEPT_IN_A_WEEK**2) * rng.standard_normal(
            (n_places, 3)
        )
        is_new = rng.random(n_places) < lost
        found = _draw_pool(is_m1, rng, first=week * n_places)
        pool = replace(pool, wander=moved)
        pool = _Pool(
            **{
                name: np.where(is_new.reshape(-1, *[1] * (values.ndim - 1)), getattr(found, name), values)
                for name, values in vars(pool).items()
            }
        )
    return pool


def _draw_pool(is_m1: BoolArray, rng: np.random.Generator, *, first: int = 0) -> _Pool:
    n = len(is_m1)
    preferred = rng.uniform(-np.pi, np.pi, n)
    # Preparatory and movement tuning are only loosely related (Churchland et al. 2010, Neuron 68:387).
    planned = preferred + rng.normal(0.0, 1.0, n)
    prepared = rng.lognormal(np.where(is_m1, np.log(0.25), np.log(0.40)), 0.35)
    linear = np.concatenate(
        [
            prepared[:, None] * np.stack([np.cos(planned), np.sin(planned)], axis=1),
            rng.normal(0.0, 0.50, (n, 2)),
            rng.normal(0.10, 0.30, (n, 2)),
            rng.normal(0.0, 0.30, (n, 2)),
        ],
        axis=1,
    )
    return _Pool(
        neuron=first + np.arange(n, dtype=np.int64),
        is_m1=is_m1,
        preferred=preferred,
        width=np.clip(rng.lognormal(0.2, 0.7, n), 0.1, 5.0),
        depth=rng.lognormal(np.where(is_m1, np.log(1.6), np.log(1.2)), 0.35),
        half_speed=rng.lognormal(np.log(0.4), 0.6, n),
        speed_gain=rng.normal(0.1, 0.35, n),
        turn=rng.normal(0.0, 0.6, (n, 2)),
        linear=linear,
        log_rate=rng.normal(0.0, 0.65, n),
        wander=rng.standard_normal((n, 3)),
    )


def _mean_rates(settings: SimulateSettings, log_rate: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Mean rates with the silent units and the mean over units the settings name. Shape ``(n_units,)``."""
    silent = np.zeros(len(log_rate), dtype=bool)
    silent[rng.permutation(len(log_rate))[: settings.silent_units]] = True
    mean = np.clip(np.exp(log_rate), 0.1, 4.0)
    mean[silent] = rng.uniform(0.005, 0.03, int(silent.sum()))
    active = ~silent
    if active.any():
        mean[active] *= (settings.mean_rate_hz * len(mean) - mean[silent].sum()) / mean[active].sum()
    return np.asarray(mean)


def _within_session(
    n_units: int, duration_s: float, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Return times, and slow courses for rate and direction. Shape ``(2, n_times, n_units)``."""
    time = np.linspace(0.0, duration_s, max(round(duration_s / KNOT_S), 1) + 1)
    share = time / max(duration_s, 1e-9)
    waves = np.stack([np.cos(np.pi * (k + 1) * share) for k in range(2)])
    sizes = rng.standard_normal((2, 2, n_units)) * np.array([1.2, 0.75])[None, :, None]
    return time, np.einsum("kt,qku->qtu", waves, sizes)
