"""Runs of a planar system instead of reaches: which system a session has, its states, and the hand.

A trial is a run from ``z ~ N(0, I)``, one step per bin of 20 ms. In the rest between two runs the state
goes over into that of the next run, so that rates do not jump. The velocity of the hand is a linear read-out
of the state 100 ms earlier; while it follows no run, the hand goes back to the origin.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import SettingsError
from nwb_latents.pipeline.sources.simulator.hand_kinematics import FINE_RATE_HZ, Kinematics, kinematics_of
from nwb_latents.pipeline.sources.simulator.planar_systems import (
    DIM,
    SIGMA,
    HopfNormal,
    HopfVanDerPol,
    LimitCycle,
    System,
    duffing_systems,
    noise_per_step,
    simulate_latents,
)
from nwb_latents.pipeline.sources.simulator.reach_dynamics import LEAD_S

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nwb_latents.pipeline.signals.recording import FloatArray, IntArray
    from nwb_latents.schemas.simulation import SimulateSettings

BIN_S = 0.02
REST_BINS = 30
"""Bins before, between and after runs."""

HAND_CM = 5.0
"""Farthest place the hand gets to in any run of a session: far from what counts as an outlier."""

_BIN_MS = round(BIN_S * FINE_RATE_HZ)
_LEAD_MS = round(LEAD_S * FINE_RATE_HZ)
_FAMILIES: Mapping[str, tuple[Callable[[float], System], tuple[float, float]]] = {
    "limit_cycle": (LimitCycle, (0.5, 5.0)),
    "hopf": (HopfVanDerPol, (-1.5, 1.5)),
    "hopf_normal": (HopfNormal, (-1.5, 1.5)),
}


@dataclass(frozen=True)
class Runs:
    """States of one session.

    Attributes
    ----------
    system
        The equations.
    latents
        State in every bin from time 0, rests included. Shape ``(n_bins, 2)``.
    start_bin
        First bin of each run. Shape ``(n_trials,)``.
    trial_bins
        Bins of a run.
    noise_per_step
        Standard deviation of one step's noise.
    """

    system: System
    latents: FloatArray
    start_bin: IntArray
    trial_bins: int
    noise_per_step: float

    @property
    def bins(self) -> IntArray:
        """Bins of the runs. Shape ``(n_trials, trial_bins)``."""
        return self.start_bin[:, None] + np.arange(self.trial_bins)

    @property
    def duration_s(self) -> float:
        """Length of the session, seconds."""
        return round(len(self.latents) * BIN_S, 3)


def choose_system(settings: SimulateSettings, *, subject: int, session: int) -> System:
    """Return the system of one session: the parameters of all sessions are evenly spaced.

    Sessions are counted across subjects, so that the sessions of every subject are spread over the range.
    Duffing systems lie on a grid of ``a ∈ [−0.8, −0.1]`` by ``b ∈ [−1.4, 1]`` of about as many pairs.

    Parameters
    ----------
    settings
        System, range of its parameter, number of sessions.
    subject, session
        Numbers of the subject and of its session, from 0.

    Examples
    --------
    >>> from nwb_latents.schemas.simulation import SimulateSettings
    >>> settings = SimulateSettings(system="limit_cycle", n_subjects=2, n_sessions=2)
    >>> [choose_system(settings, subject=s, session=k).omega for s in (0, 1) for k in (0, 1)]
    [0.5, 3.5, 2.0, 5.0]
    """
    n_all = settings.n_subjects * settings.n_sessions
    number = session * settings.n_subjects + subject
    if settings.system == "duffing":
        n_damping = int(np.sqrt(n_all))
        pairs = list(duffing_systems(n_damping, -(-n_all // n_damping)).values())
        return pairs[round(number * (len(pairs) - 1) / max(n_all - 1, 1))]
    make, usual = _FAMILIES[settings.system]
    return make(float(np.linspace(*(settings.parameter_range or usual), n_all)[number]))


def parameters_of(system: System) -> dict[str, float]:
    """Return the parameters of a system by name, its step left out.

    Examples
    --------
    >>> parameters_of(LimitCycle(2.0))
    {'omega': 2.0, 'd': 2.0}
    """
    names = [entry.name for entry in fields(system) if entry.name != "dt"]  # type: ignore[arg-type]
    return {name: float(getattr(system, name)) for name in names}


def run_system(system: System, settings: SimulateSettings, rng: np.random.Generator) -> Runs:
    """Run a system through a session.

    Parameters
    ----------
    system
        The equations.
    settings
        Number and length of the runs, scaling of the noise.
    rng
        Source of all randomness.

    Returns
    -------
    runs
        Runs with a rest before, between and after them.

    Raises
    ------
    SettingsError
        If a run diverges.

    Examples
    --------
    >>> from nwb_latents.schemas.simulation import SimulateSettings
    >>> settings = SimulateSettings(system="hopf", n_trials=3, trial_bins=50)
    >>> runs = run_system(HopfVanDerPol(1.0), settings, np.random.default_rng(0))
    >>> runs.latents.shape, runs.start_bin.tolist()
    ((270, 2), [30, 110, 190])
    """
    n_trials, n_bins = settings.n_trials, settings.trial_bins
    z0 = rng.standard_normal((n_trials, DIM))
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            states = simulate_latents(system, z0, n_bins, rng=rng, noise_scaling=settings.noise_scaling)
    except ValueError as error:
        message = (
            f"{system}: a run diverges within trial_bins = {n_bins}. Narrow parameter_range, or shorten "
            "trial_bins."
        )
        raise SettingsError(message) from error
    latents = np.empty((REST_BINS + n_trials * (n_bins + REST_BINS), DIM))
    rows = latents[REST_BINS:].reshape(n_trials, n_bins + REST_BINS, DIM)
    rows[:, :n_bins] = states
    still = np.zeros((1, DIM))
    before = np.concatenate([still, states[:, -1]])
    after = np.concatenate([states[:, 0], still])
    share = (1 - np.cos(np.pi * np.arange(1, REST_BINS + 1) / (REST_BINS + 1))) / 2
    rests = before[:, None] + share[:, None] * (after - before)[:, None]
    latents[:REST_BINS], rows[:, n_bins:] = rests[0], rests[1:]
    return Runs(
        system=system,
        latents=latents,
        start_bin=REST_BINS + (n_bins + REST_BINS) * np.arange(n_trials, dtype=np.int64),
        trial_bins=n_bins,
        noise_per_step=noise_per_step(system.dt, sigma=SIGMA, scaling=settings.noise_scaling),
    )


def draw_velocity_weights(runs: Runs, rng: np.random.Generator) -> FloatArray:
    """Draw how the velocity is read from the state: turned, perhaps mirrored, and scaled.

    Parameters
    ----------
    runs
        States of the session.
    rng
        Source of all randomness.

    Returns
    -------
    weights
        cm/s per unit of the state; in no run the hand gets farther than 5 cm from the origin. Shape
        ``(2, 2)``.

    Examples
    --------
    >>> from nwb_latents.schemas.simulation import SimulateSettings
    >>> settings, rng = SimulateSettings(system="hopf", n_trials=3), np.random.default_rng(0)
    >>> weights = draw_velocity_weights(run_system(HopfVanDerPol(1.0), settings, rng), rng)
    >>> bool(abs(weights[0] @ weights[1]) < 1e-9)
    True
    """
    states = runs.latents[runs.bins]
    way = np.cumsum((states[:, 1:] + states[:, :-1]) * (BIN_S / 2), axis=1)
    angle, mirror = rng.uniform(-np.pi, np.pi), rng.choice([-1.0, 1.0])
    turn = np.array([[np.cos(angle), -np.sin(angle) * mirror], [np.sin(angle), np.cos(angle) * mirror]])
    return np.asarray(HAND_CM / np.hypot(way[..., 0], way[..., 1]).max() * turn)


def follow_runs(runs: Runs, weights: FloatArray) -> Kinematics:
    """Return the movement of the hand: after each run 100 ms later, and back to the origin in between.

    Parameters
    ----------
    runs
        States of the session.
    weights
        As from `draw_velocity_weights`.

    Returns
    -------
    kinematics
        The velocity in the middle of bin ``t + 5`` is ``weights @ z[t]`` for every bin ``t`` of a run.

    Examples
    --------
    >>> from nwb_latents.schemas.simulation import SimulateSettings
    >>> settings, rng = SimulateSettings(system="hopf", n_trials=3), np.random.default_rng(0)
    >>> runs = run_system(HopfVanDerPol(1.0), settings, rng)
    >>> hand = follow_runs(runs, np.eye(2))
    >>> bool(np.allclose(hand.velocity[(30 + 5) * 20 + 10], runs.latents[30]))
    True
    """
    n_ms = len(runs.latents) * _BIN_MS
    velocity = np.zeros((n_ms + 1, DIM))
    first_ms = runs.start_bin * _BIN_MS + _BIN_MS // 2 + _LEAD_MS
    length_ms = (runs.trial_bins - 1) * _BIN_MS
    clock, knots = np.arange(length_ms + 1), np.arange(runs.trial_bins) * _BIN_MS
    left_ms, place, speed = 0, np.zeros(DIM), np.zeros(DIM)
    for start_ms, bins in zip(first_ms, runs.bins, strict=True):
        read = runs.latents[bins] @ weights.T
        fine = np.stack([np.interp(clock, knots, axis) for axis in read.T], axis=1)
        velocity[left_ms : start_ms + 1] = _way_back(place, speed, fine[0], n_ms=int(start_ms) - left_ms)
        left_ms = int(start_ms) + length_ms
        velocity[start_ms : left_ms + 1] = fine
        place = ((fine[1:] + fine[:-1]) / (2 * FINE_RATE_HZ)).sum(axis=0)
        speed = fine[-1]
    velocity[left_ms:] = _way_back(place, speed, np.zeros(DIM), n_ms=n_ms - left_ms)
    return kinematics_of(velocity)


def _way_back(place: FloatArray, speed: FloatArray, speed_there: FloatArray, *, n_ms: int) -> FloatArray:
    """Velocity of a smooth way to the origin, both ends included. Shape ``(n_ms + 1, 2)``, cm/s.

    Minimum-jerk (Flash & Hogan 1985, J Neurosci 5:1688) on top of what leads from one velocity to the other.
    """
    duration = n_ms / FINE_RATE_HZ
    s = np.arange(n_ms + 1)[:, None] / n_ms
    bump = 30 * (s * (1 - s)) ** 2
    turning = s * s * (3 - 2 * s)
    # What the two velocities alone lead through; the bump brings the rest of the way back.
    led = (speed + speed_there) / 2 * duration
    return np.asarray(speed + turning * (speed_there - speed) - bump * (place + led) / duration)
