"""Low-dimensional dynamics that all simulated sessions of one seed share.

Eight latents: two carry the hand's velocity 100 ms ahead; two hold the movement that is being prepared
(direction times vigour) until it is released; release kicks a rotation whose phase and size come from that
preparatory state (Churchland et al. 2012, Nature 487:51); and a second, slower damped rotation is the same
for every movement (the condition-invariant signal of Kaufman et al. 2016, eNeuro 3(4)).

With z the complex coordinate of a plane, ``dz/dt = (-1/decay + i 2 pi frequency) z + kick``, solved exactly
at 1 ms.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import signal

from nwb_latents.pipeline.sources.simulator.hand_kinematics import FINE_RATE_HZ, Kinematics, sample_at

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nwb_latents.pipeline.signals.recording import FloatArray
    from nwb_latents.pipeline.sources.simulator.trial_script import Script

LATENT_STEP_S = 0.01
LEAD_S = 0.1
RELEASE_BEFORE_ONSET_S = 0.12
KICK_S = 0.05
VELOCITY_SCALE_CM_S = 20.0
LATENT_NAMES = (
    "velocity_x",
    "velocity_y",
    "preparation_x",
    "preparation_y",
    "rotation_re",
    "rotation_im",
    "invariant_re",
    "invariant_im",
)


@dataclass(frozen=True)
class Dynamics:
    """Parameters of the latent dynamics.

    Attributes
    ----------
    rotation_hz, rotation_decay_s
        Frequency and time constant of the rotation that depends on the movement.
    invariant_hz, invariant_decay_s
        The same of the rotation that does not.
    preparation_tau_s
        Time constant with which a preparatory state builds up and fades.
    kick
        Complex gain from preparatory state to rotation: its angle is the phase of the rotation at release.
    """

    rotation_hz: float
    rotation_decay_s: float
    invariant_hz: float
    invariant_decay_s: float
    preparation_tau_s: float
    kick: complex


def draw_dynamics(rng: np.random.Generator) -> Dynamics:
    """Draw the dynamics of a simulated dandiset.

    Parameters
    ----------
    rng
        Source of all randomness.

    Examples
    --------
    >>> 1.6 <= draw_dynamics(np.random.default_rng(0)).rotation_hz <= 2.2
    True
    """
    return Dynamics(
        rotation_hz=float(rng.uniform(1.6, 2.2)),
        rotation_decay_s=float(rng.uniform(0.25, 0.35)),
        invariant_hz=float(rng.uniform(0.8, 1.2)),
        invariant_decay_s=float(rng.uniform(0.20, 0.30)),
        preparation_tau_s=float(rng.uniform(0.07, 0.10)),
        kick=complex(np.exp(1j * rng.uniform(-np.pi, np.pi))),
    )


def vary_dynamics(dynamics: Dynamics, rng: np.random.Generator) -> Dynamics:
    """Return `dynamics` as one subject has them: a few per cent off, the same structure.

    Parameters
    ----------
    dynamics
        What all subjects share.
    rng
        Source of the variation.

    Examples
    --------
    >>> shared = draw_dynamics(np.random.default_rng(0))
    >>> own = vary_dynamics(shared, np.random.default_rng(1))
    >>> bool(abs(own.rotation_hz / shared.rotation_hz - 1) < 0.2), own.kick == shared.kick
    (True, True)
    """
    factor = np.exp(0.05 * np.clip(rng.standard_normal(4), -2, 2))
    return replace(
        dynamics,
        rotation_hz=float(dynamics.rotation_hz * factor[0]),
        rotation_decay_s=float(dynamics.rotation_decay_s * factor[1]),
        invariant_hz=float(dynamics.invariant_hz * factor[2]),
        invariant_decay_s=float(dynamics.invariant_decay_s * factor[3]),
    )


def latent_times(duration_s: float) -> FloatArray:
    """Return the times of the latents, every 10 ms from 0, in seconds. Shape ``(n_times,)``.

    Parameters
    ----------
    duration_s
        Length of the session.

    Examples
    --------
    >>> latent_times(0.03).tolist()
    [0.0, 0.01, 0.02, 0.03]
    """
    return np.arange(round(duration_s / LATENT_STEP_S) + 1) / round(1 / LATENT_STEP_S)


def run_dynamics(dynamics: Dynamics, script: Script, *, kinematics: Kinematics) -> FloatArray:
    """Run the latents through a session.

    Parameters
    ----------
    dynamics
        Parameters of the subject.
    script
        When which movement is prepared and released.
    kinematics
        Movement of the hand, which two of the latents carry 100 ms ahead.

    Returns
    -------
    latents
        In the order of `LATENT_NAMES`, at `latent_times`. Shape ``(n_times, 8)``, float64, finite.

    Examples
    --------
    >>> from nwb_latents.pipeline.sources.simulator.trial_script import Script
    >>> from nwb_latents.pipeline.sources.simulator.hand_kinematics import move_hand
    >>> still = Script(trials=(), movements=(), duration_s=1.0)
    >>> hand = move_hand(still, np.random.default_rng(0))
    >>> run_dynamics(draw_dynamics(np.random.default_rng(0)), still, kinematics=hand).shape
    (101, 8)
    """
    n_fine = len(kinematics.velocity)
    prepared = np.zeros(n_fine, dtype=np.complex128)
    released = np.zeros(n_fine)
    for movement in script.movements:
        if movement.fidget:
            continue
        release = round((movement.onset_s - RELEASE_BEFORE_ONSET_S) * FINE_RATE_HZ)
        direction = complex(*movement.displacement_cm) / max(float(np.hypot(*movement.displacement_cm)), 1e-9)
        prepared[round(movement.plan_s * FINE_RATE_HZ) : release] = movement.vigour * direction
        released[release : release + round(KICK_S * FINE_RATE_HZ)] = 1.0
    tau = dynamics.preparation_tau_s
    preparation = _relax(prepared / tau, decay_s=tau, frequency_hz=0.0)
    rotation = _relax(
        1.5 / KICK_S * dynamics.kick * preparation * released,
        decay_s=dynamics.rotation_decay_s,
        frequency_hz=dynamics.rotation_hz,
    )
    invariant = _relax(
        1.0 / KICK_S * released.astype(np.complex128),
        decay_s=dynamics.invariant_decay_s,
        frequency_hz=dynamics.invariant_hz,
    )
    time = latent_times(script.duration_s)
    every = round(LATENT_STEP_S * FINE_RATE_HZ)
    planes = [(z[::every].real, z[::every].imag) for z in (preparation, rotation, invariant)]
    ahead = sample_at(kinematics.velocity, time + LEAD_S) / VELOCITY_SCALE_CM_S
    return np.concatenate([ahead, np.stack([part for plane in planes for part in plane], axis=1)], axis=1)


def _relax(drive: NDArray[np.complex128], *, decay_s: float, frequency_hz: float) -> NDArray[np.complex128]:
    """Solve ``dz/dt = (-1/decay + i 2 pi f) z + drive`` for a drive held over each millisecond."""
    pole = -1 / decay_s + 2j * np.pi * frequency_hz
    factor = np.exp(pole / FINE_RATE_HZ)
    gain = (factor - 1) / pole
    z: NDArray[np.complex128] = signal.lfilter([0.0, gain], [1.0, -factor], drive)
    return z
