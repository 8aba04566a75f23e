"""What a unit of the lifelike preset fires for: log rates that are no linear function of the velocity.

The log rate of a unit is the sum of

- movement: ``depth * f(speed) * h(direction - preferred)``, where ``f`` levels off with speed
  (``f = (1 + half) s / (s + half)``, s in 20 cm/s) and ``h`` is a von Mises curve of mean 0 and peak 1, from
  nearly a cosine to narrow; the preferred direction turns with the place of the hand;
- speed: ``speed_gain * f(speed)``, in whatever direction;
- preparation, both rotations and the place of the hand, linear;
- drift: the gain and the preferred direction wander through the session.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import i0e

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nwb_latents.pipeline.signals.recording import FloatArray, IntArray

N_LINEAR = 8
"""Latents that are read linearly: all but the velocity."""


@dataclass(frozen=True)
class Tuning:
    """Tuning of the units of one session.

    Attributes
    ----------
    neuron
        Number of the neuron among those of the subject: the same number on another day is the same neuron.
        Shape ``(n_units,)``.
    preferred_rad
        Preferred direction in the middle of the workspace. Shape ``(n_units,)``.
    width
        Concentration of the tuning curve: near 0 a cosine, 4 a narrow peak. Shape ``(n_units,)``.
    depth
        Log rate at the preferred direction and 20 cm/s. Shape ``(n_units,)``.
    half_speed
        Speed in 20 cm/s at which half of the effect of speed is reached. Shape ``(n_units,)``.
    speed_gain
        Log rate at 20 cm/s in every direction. Shape ``(n_units,)``.
    turn
        Radians the preferred direction turns when the hand moves 8 cm along x and along y. Shape
        ``(n_units, 2)``.
    linear
        Log rate per unit of preparation, rotation, invariant rotation and place, each of two latents. Shape
        ``(n_units, 8)``.
    log_gain
        Log of the rate in Hz where all else is 0. Shape ``(n_units,)``.
    mean_hz
        Mean rate over the session. Shape ``(n_units,)``.
    drift_time_s
        Times between which drift is linear. Shape ``(n_knots,)``.
    drift_log_gain, drift_rad
        Drift of the log rate and of the preferred direction at those times, each of mean 0. Shape
        ``(n_knots, n_units)``.
    """

    neuron: IntArray
    preferred_rad: FloatArray
    width: FloatArray
    depth: FloatArray
    half_speed: FloatArray
    speed_gain: FloatArray
    turn: FloatArray
    linear: FloatArray
    log_gain: FloatArray
    mean_hz: FloatArray
    drift_time_s: FloatArray
    drift_log_gain: FloatArray
    drift_rad: FloatArray

    def __len__(self) -> int:
        return len(self.neuron)

    def log_rates(self, latents: FloatArray, time_s: FloatArray) -> FloatArray:
        """Return log rates, before they are capped.

        Parameters
        ----------
        latents
            Shape ``(n_times, 10)``.
        time_s
            Seconds from the start of the session. Shape ``(n_times,)``.

        Returns
        -------
        log_rates
            Log of Hz. Shape ``(n_times, n_units)``.

        Examples
        --------
        >>> from nwb_latents.pipeline.sources.simulator import simulate_session
        >>> from nwb_latents.schemas.simulation import SimulateSettings
        >>> truth = simulate_session(SimulateSettings(n_units=(5, 5), n_trials=4)).truth
        >>> raw = np.exp(truth.reaching.tuning.log_rates(truth.latents, truth.latent_time_s))
        >>> bool(np.allclose(raw / (1 + raw / 150), truth.rates_hz, rtol=1e-3))
        True
        """
        speed = np.hypot(latents[:, 0], latents[:, 1])
        direction = np.arctan2(latents[:, 1], latents[:, 0])
        rest, posture = latents[:, 2 : 2 + N_LINEAR], latents[:, -2:]
        found = np.empty((len(latents), len(self)))
        for unit in range(len(self)):
            level = (1 + self.half_speed[unit]) * speed / (speed + self.half_speed[unit])
            preferred = (
                self.preferred_rad[unit]
                + posture @ self.turn[unit]
                + np.interp(time_s, self.drift_time_s, self.drift_rad[:, unit])
            )
            curve = tuning_curve(direction - preferred, float(self.width[unit]))
            found[:, unit] = (
                level * (self.depth[unit] * curve + self.speed_gain[unit])
                + rest @ self.linear[unit]
                + np.interp(time_s, self.drift_time_s, self.drift_log_gain[:, unit])
                + self.log_gain[unit]
            )
        return found

    def to_arrays(self) -> dict[str, Any]:
        """Return what is stored of it."""
        return {f"tuning_{entry.name}": getattr(self, entry.name) for entry in fields(self)}

    @staticmethod
    def from_arrays(stored: Mapping[str, Any]) -> Tuning:
        """Return what `to_arrays` stored; a KeyError names what is missing."""
        return Tuning(**{entry.name: stored[f"tuning_{entry.name}"] for entry in fields(Tuning)})


def tuning_curve(angle_rad: FloatArray, width: float) -> FloatArray:
    """Return a von Mises curve brought to mean 0 and peak 1.

    Parameters
    ----------
    angle_rad
        Angle from the preferred direction. Shape ``(n,)``.
    width
        Concentration, above 0.

    Examples
    --------
    >>> tuning_curve(np.array([0.0, np.pi]), 0.01).round(2).tolist()
    [1.0, -1.0]
    >>> tuning_curve(np.array([0.0, np.pi]), 4.0).round(2).tolist()
    [1.0, -0.26]
    """
    mean = float(i0e(width))
    return np.asarray((np.exp(width * (np.cos(angle_rad) - 1)) - mean) / (1 - mean))
