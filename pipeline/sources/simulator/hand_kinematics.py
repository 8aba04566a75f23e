"""Position, velocity and acceleration of the hand from the movements of a session.

Movements are minimum-jerk (Flash & Hogan 1985, J Neurosci 5:1688, eq. 3), or have a profile no rule for their
onset is made for, and are slightly bowed; a band-limited tremor runs through the whole session. Everything
is made at 1 kHz and sampled from there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import signal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nwb_latents.pipeline.signals.recording import FloatArray
    from nwb_latents.pipeline.sources.simulator.trial_script import Movement, Script
    from nwb_latents.schemas.simulation import ReachProfile

FINE_RATE_HZ = 1000
TREMOR_CM_S = 0.2
TREMOR_BAND_HZ = (2.0, 8.0)
LOG_DELAY, LOG_WIDTH = np.log(0.34), 0.4
"""Median and width of the lognormal profile, on the logarithm of its duration."""


@dataclass(frozen=True)
class Kinematics:
    """Movement of the hand through a session, at 1 kHz from time 0.

    Attributes
    ----------
    position, velocity, acceleration
        cm, cm/s and cm/s². Shape ``(n_samples, 2)``, float64, finite. The position is the trapezoid integral
        of the velocity.
    """

    position: FloatArray
    velocity: FloatArray
    acceleration: FloatArray

    @property
    def duration_s(self) -> float:
        """Time of the last sample, seconds."""
        return (len(self.velocity) - 1) / FINE_RATE_HZ

    def speed(self) -> FloatArray:
        """Return the norm of the velocity in cm/s. Shape ``(n_samples,)``."""
        return np.hypot(self.velocity[:, 0], self.velocity[:, 1])


def speed_profile(profile: ReachProfile, n_steps: int) -> FloatArray:
    """Return the speed of a movement of unit length and duration.

    Parameters
    ----------
    profile
        ``minimum_jerk``; ``lognormal`` (Plamondon 1995, Biol Cybern 72:295: steep rise, long tail); ``late``
        (slow rise, peak at two thirds); ``two_peaked`` (a second, smaller movement corrects the first).
    n_steps
        Steps between its first and last sample.

    Returns
    -------
    speed
        0 at both ends, integral 1. Shape ``(n_steps + 1,)``.

    Examples
    --------
    >>> speeds = [speed_profile(p, 1000) for p in ("minimum_jerk", "lognormal", "late", "two_peaked")]
    >>> [round(int(np.argmax(speed)) / 1000, 2) for speed in speeds]
    [0.5, 0.29, 0.67, 0.33]
    """
    s = np.arange(n_steps + 1) / n_steps
    if profile == "minimum_jerk":
        speed: FloatArray = 30 * (s * (1 - s)) ** 2
        return speed
    if profile == "late":
        speed = s**4 * (1 - s) ** 2
    elif profile == "lognormal":
        speed = np.zeros_like(s)
        speed[1:] = np.exp(-((np.log(s[1:]) - LOG_DELAY) ** 2) / (2 * LOG_WIDTH**2)) / s[1:]
        # It has no end of its own: its tail is brought to rest.
        speed *= 1 - s**6
    else:
        first, second = np.clip(s / 0.66, 0, 1), np.clip((s - 0.45) / 0.55, 0, 1)
        speed = (first * (1 - first)) ** 2 + 0.45 * (second * (1 - second)) ** 2
    return np.asarray(speed / (speed.sum() / n_steps))


def movement_velocity(movement: Movement, profile: ReachProfile = "minimum_jerk") -> FloatArray:
    """Return the velocity of one movement at 1 kHz, from its onset to its end, both included.

    Parameters
    ----------
    movement
        The movement; its duration is a whole number of milliseconds.
    profile
        Course of its speed, but for a fidget and for a movement that has a course of its own.

    Returns
    -------
    velocity
        cm/s. Shape ``(n_samples, 2)``.

    Examples
    --------
    >>> from nwb_latents.pipeline.sources.simulator.trial_script import Movement
    >>> reach = Movement(plan_s=0.0, onset_s=1.0, duration_s=0.5, displacement_cm=np.array([8.0, 0.0]))
    >>> velocity = movement_velocity(reach)
    >>> velocity.shape, float(velocity[:, 0].max())
    ((501, 2), 30.0)
    """
    n_steps = round(movement.duration_s * FINE_RATE_HZ)
    if movement.course is not None:
        return movement.course.velocity(movement.displacement_cm, n_ms=n_steps, bow_cm=movement.bow_cm)
    s = np.arange(n_steps + 1) / n_steps
    along = speed_profile(profile, n_steps) / movement.duration_s
    excursion = 192 * (s * (1 - s)) ** 2 * (1 - 2 * s) / movement.duration_s
    displacement = movement.displacement_cm
    if movement.fidget:
        return excursion[:, None] * displacement
    left = np.array([-displacement[1], displacement[0]]) / max(float(np.hypot(*displacement)), 1e-9)
    return along[:, None] * displacement + (movement.bow_cm * excursion)[:, None] * left


def _tremor(n_samples: int, rng: np.random.Generator) -> FloatArray:
    """Velocity of a tremor that leads nowhere: no power at 0 Hz. Shape ``(n_samples, 2)``, cm/s."""
    band = signal.butter(2, TREMOR_BAND_HZ, btype="bandpass", fs=FINE_RATE_HZ, output="sos")
    n_settle = FINE_RATE_HZ
    noise = signal.sosfilt(band, rng.standard_normal((n_samples + n_settle, 2)), axis=0)[n_settle:]
    scaled: FloatArray = noise * (TREMOR_CM_S / np.sqrt(2) / noise.std())
    return scaled


def move_hand(
    script: Script, rng: np.random.Generator, *, profile: ReachProfile = "minimum_jerk"
) -> Kinematics:
    """Return the movement of the hand through the session of `script`.

    Parameters
    ----------
    script
        Movements of the session.
    rng
        Source of the tremor.
    profile
        Course of the speed of movements.

    Returns
    -------
    kinematics
        Position, velocity and acceleration at 1 kHz; the hand starts at the origin.

    Examples
    --------
    >>> from nwb_latents.pipeline.sources.simulator.trial_script import Script
    >>> still = Script(trials=(), movements=(), duration_s=20.0)
    >>> hand = move_hand(still, np.random.default_rng(0))
    >>> bool(abs(np.sqrt((hand.speed() ** 2).mean()) - TREMOR_CM_S) < 1e-3)
    True
    """
    n_samples = round(script.duration_s * FINE_RATE_HZ) + 1
    velocity = _tremor(n_samples, rng)
    _add_movements(velocity, script.movements, profile)
    return kinematics_of(velocity)


def kinematics_of(velocity: FloatArray) -> Kinematics:
    """Integrate and differentiate a velocity; the hand starts at the origin.

    Parameters
    ----------
    velocity
        cm/s at 1 kHz. Shape ``(n_samples, 2)``.

    Examples
    --------
    >>> kinematics_of(np.array([[0.0, 0.0], [2.0, 0.0]])).position[-1].tolist()
    [0.001, 0.0]
    """
    steps = (velocity[1:] + velocity[:-1]) / (2 * FINE_RATE_HZ)
    position = np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])
    acceleration: FloatArray = np.gradient(velocity, 1 / FINE_RATE_HZ, axis=0)
    return Kinematics(position, velocity, acceleration)


def _add_movements(velocity: FloatArray, movements: Iterable[Movement], profile: ReachProfile) -> None:
    for movement in movements:
        first = round(movement.onset_s * FINE_RATE_HZ)
        added = movement_velocity(movement, profile)
        velocity[first : first + len(added)] += added


def sample_at(series: FloatArray, time_s: FloatArray) -> FloatArray:
    """Sample a 1 kHz series at any times of the session, linearly between its samples.

    Parameters
    ----------
    series
        Shape ``(n_samples, n_axes)``, sample ``i`` at ``i`` ms.
    time_s
        Seconds; times outside the session get the value of its nearest end. Shape ``(n_times,)``.

    Returns
    -------
    sampled
        Shape ``(n_times, n_axes)``, float64.

    Examples
    --------
    >>> sample_at(np.array([[0.0], [1.0], [2.0]]), np.array([0.0005, 9.0])).tolist()
    [[0.5], [2.0]]
    """
    clock = np.arange(len(series)) / FINE_RATE_HZ
    return np.stack([np.interp(time_s, clock, axis) for axis in series.T], axis=1)
