"""Course of one reach: when on its way the hand is fast, whether a second movement corrects the first.

Where the hand is on its path depends on the course, where the path leads does not: it is bowed to one side,
however fast it is run through.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from nwb_latents.pipeline.signals.recording import FloatArray

FIRST_LASTS = 0.65
"""Share of the duration that the first of two movements takes."""


@dataclass(frozen=True)
class Course:
    """Speed of a reach over its duration.

    Attributes
    ----------
    rise, fall
        Exponents of the speed ``s**rise * (1 - s)**fall``, whose peak is at ``rise / (rise + fall)``: 2 and 2
        are minimum jerk (Flash & Hogan 1985, J Neurosci 5:1688).
    second_share
        Share of the way that a second movement makes; 0: there is none.
    second_start
        When the second begins, as a share of the duration.
    """

    rise: float = 2.0
    fall: float = 2.0
    second_share: float = 0.0
    second_start: float = 0.5

    def speed(self, n_steps: int) -> FloatArray:
        """Return the speed along a way of length 1 in a duration of 1.

        Parameters
        ----------
        n_steps
            Steps between the first and the last sample.

        Returns
        -------
        speed
            0 at both ends, integral 1. Shape ``(n_steps + 1,)``.

        Examples
        --------
        >>> [int(np.argmax(Course(rise, fall).speed(100))) for rise, fall in ((2, 2), (2, 3), (3, 2))]
        [50, 40, 60]
        """
        s = np.arange(n_steps + 1) / n_steps
        first, second = s, np.zeros_like(s)
        if self.second_share:
            first = np.clip(s / FIRST_LASTS, 0, 1)
            second = np.clip((s - self.second_start) / (1 - self.second_start), 0, 1)
        speed = (1 - self.second_share) * _normal(_bell(first, self.rise, self.fall))
        if self.second_share:
            speed += self.second_share * _normal(_bell(second, 2.0, 2.0))
        return np.asarray(speed * n_steps)

    def velocity(self, displacement_cm: FloatArray, *, n_ms: int, bow_cm: float) -> FloatArray:
        """Return the velocity at 1 kHz along a bowed path.

        Parameters
        ----------
        displacement_cm
            From start to end. Shape ``(2,)``.
        n_ms
            Duration in milliseconds.
        bow_cm
            Sideways excursion half way, positive to the left.

        Returns
        -------
        velocity
            cm/s. Shape ``(n_ms + 1, 2)``.

        Examples
        --------
        >>> velocity = Course().velocity(np.array([8.0, 0.0]), n_ms=500, bow_cm=1.0)
        >>> path = np.cumsum(velocity, axis=0) / 1000
        >>> bool(np.allclose(path[[250, 500]], [[4.0, 1.0], [8.0, 0.0]], atol=0.1))
        True
        """
        per_s = self.speed(n_ms) * 1000 / n_ms
        done = np.cumsum(per_s) / 1000
        # Half of each sample's step lies before it: the way back sideways is then as long as the way out.
        done -= per_s / 2000
        left = np.array([-displacement_cm[1], displacement_cm[0]])
        left /= max(float(np.hypot(*displacement_cm)), 1e-9)
        sideways = 4 * bow_cm * (1 - 2 * done) * per_s
        return np.asarray(per_s[:, None] * displacement_cm + sideways[:, None] * left)


def _bell(s: FloatArray, rise: float, fall: float) -> FloatArray:
    return np.asarray(s**rise * (1 - s) ** fall)


def _normal(speed: FloatArray) -> FloatArray:
    return np.asarray(speed / speed.sum())
