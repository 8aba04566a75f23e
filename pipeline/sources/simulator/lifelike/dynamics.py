"""Dynamics of the lifelike preset: parameters of each subject and task, and the latents they drive.

To the eight latents of `reach_dynamics` two are added that carry the place of the hand 100 ms ahead. A
subject's parameters stay the same on all its days. Subjects are spread evenly rather than drawn apart, so
that the first two differ as surely as the tenth from the ninth.
"""

from __future__ import annotations

from dataclasses import fields, replace
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.sources.simulator.hand_kinematics import Kinematics, sample_at
from nwb_latents.pipeline.sources.simulator.reach_dynamics import (
    LATENT_NAMES,
    LEAD_S,
    Dynamics,
    draw_dynamics,
    latent_times,
    run_dynamics,
)
from nwb_latents.pipeline.sources.simulator.trial_script import TARGET_DISTANCE_CM

if TYPE_CHECKING:
    from nwb_latents.pipeline.signals.recording import FloatArray
    from nwb_latents.pipeline.sources.simulator.trial_script import Script
    from nwb_latents.schemas.simulation import SimulateSettings

LIFELIKE_LATENTS = (*LATENT_NAMES, "posture_x", "posture_y")
_STEPS = {
    "rotation_hz": 0.618,
    "rotation_decay_s": 0.414,
    "invariant_hz": 0.646,
    "invariant_decay_s": 0.567,
    "preparation_tau_s": 0.449,
    "kick": 0.382,
    "pace": 0.528,
}
"""From one subject to the next, as a share of the range of each parameter, round and round."""

_LONGER = {"rotation_decay_s": 1.4, "invariant_decay_s": 1.4}
"""Time constants longer than those of preset 'classic': what a reach set going outlasts it."""

_OF_RANDOM_TARGETS = {
    "rotation_hz": 1.0,
    "rotation_decay_s": -0.8,
    "invariant_hz": 0.6,
    "invariant_decay_s": -0.6,
    "preparation_tau_s": -1.0,
}
"""What random targets change, in multiples of the spread: all is faster."""


def how_a_subject_differs(settings: SimulateSettings, *, subject: int) -> dict[str, float]:
    """Return how far a subject is from the mean of all in each respect, in standard deviations.

    Parameters
    ----------
    settings
        The seed decides.
    subject
        Number of the subject, from 0.

    Returns
    -------
    apart
        By name of the parameter, between -1.73 and 1.73, over many subjects uniform; two subjects that follow
        each other are always at least 1.2 apart.

    Examples
    --------
    >>> from nwb_latents.schemas.simulation import SimulateSettings
    >>> one, other = (how_a_subject_differs(SimulateSettings(), subject=number) for number in (0, 1))
    >>> min(abs(one[name] - other[name]) for name in one) > 1.2
    True
    """
    start = np.random.default_rng([settings.seed, 7]).random(len(_STEPS))
    places = (start + subject * np.array(list(_STEPS.values()))) % 1
    return dict(zip(_STEPS, (2 * np.sqrt(3) * (places - 0.5)).tolist(), strict=True))


def dynamics_of(settings: SimulateSettings, *, subject: int) -> Dynamics:
    """Return the dynamics of one subject in the task of the settings.

    Parameters
    ----------
    settings
        Seed, task and spread.
    subject
        Number of the subject, from 0.

    Examples
    --------
    >>> from nwb_latents.schemas.simulation import SimulateSettings
    >>> one, other = (dynamics_of(SimulateSettings(), subject=number) for number in (0, 1))
    >>> bool(abs(np.log(one.rotation_hz / other.rotation_hz)) > 0.3)
    True
    """
    shared = draw_dynamics(np.random.default_rng([settings.seed, 0]))
    apart = how_a_subject_differs(settings, subject=subject)
    exponents = {name: apart[name] for name in _OF_RANDOM_TARGETS}
    if settings.task == "RT":
        exponents = {name: value + _OF_RANDOM_TARGETS[name] for name, value in exponents.items()}
    scaled = {
        name: float(_LONGER.get(name, 1.0) * getattr(shared, name) * np.exp(settings.dynamics_spread * value))
        for name, value in exponents.items()
    }
    turned = shared.kick * np.exp(2j * settings.dynamics_spread * apart["kick"])
    return replace(shared, **scaled, kick=complex(turned))


def parameters_of(dynamics: Dynamics) -> dict[str, float]:
    """Return the parameters by name; of the kick its angle, as ``kick_rad``.

    Examples
    --------
    >>> list(parameters_of(draw_dynamics(np.random.default_rng(0))))[-2:]
    ['preparation_tau_s', 'kick_rad']
    """
    plain = {entry.name: float(getattr(dynamics, entry.name)) for entry in fields(dynamics)[:-1]}
    return {**plain, "kick_rad": float(np.angle(dynamics.kick))}


def run_lifelike(dynamics: Dynamics, script: Script, *, kinematics: Kinematics) -> FloatArray:
    """Run the latents through a session.

    Parameters
    ----------
    dynamics
        Parameters of the subject in its task.
    script
        When which movement is prepared and released.
    kinematics
        Movement of the hand, whose velocity and place are carried 100 ms ahead.

    Returns
    -------
    latents
        In the order of `LIFELIKE_LATENTS`, at `latent_times`. Shape ``(n_times, 10)``, float64, finite.

    Examples
    --------
    >>> from nwb_latents.pipeline.sources.simulator.trial_script import Script
    >>> from nwb_latents.pipeline.sources.simulator.hand_kinematics import move_hand
    >>> still = Script(trials=(), movements=(), duration_s=1.0)
    >>> hand = move_hand(still, np.random.default_rng(0))
    >>> run_lifelike(draw_dynamics(np.random.default_rng(0)), still, kinematics=hand).shape
    (101, 10)
    """
    eight = run_dynamics(dynamics, script, kinematics=kinematics)
    ahead = sample_at(kinematics.position, latent_times(script.duration_s) + LEAD_S)
    return np.concatenate([eight, ahead / TARGET_DISTANCE_CM], axis=1)
