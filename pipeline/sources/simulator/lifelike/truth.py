"""Truth of a session of the lifelike preset: its dynamics, the tuning of its units, every movement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nwb_latents.pipeline.sources.simulator.lifelike.tuning import Tuning

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nwb_latents.pipeline.signals.recording import BoolArray, FloatArray
    from nwb_latents.pipeline.sources.simulator.trial_script import Movement


@dataclass(frozen=True)
class Movements:
    """Every movement of the hand in a session, back to the centre and fidgets too, in order of time.

    Attributes
    ----------
    onset_s, duration_s
        When it begins, how long it takes. Shape ``(n_movements,)``.
    displacement_cm
        From start to end; of a fidget its farthest point. Shape ``(n_movements, 2)``.
    bow_cm
        Sideways excursion half way, positive to the left. Shape ``(n_movements,)``.
    rise, fall
        Exponents of its course (`reach_course.Course`); NaN where the settings name the course. Shape
        ``(n_movements,)``.
    second_share
        Share of the way that a second movement makes, 0 where there is none; NaN as above. Shape
        ``(n_movements,)``.
    is_fidget
        Whether it comes back to where it began. Shape ``(n_movements,)``.
    """

    onset_s: FloatArray
    duration_s: FloatArray
    displacement_cm: FloatArray
    bow_cm: FloatArray
    rise: FloatArray
    fall: FloatArray
    second_share: FloatArray
    is_fidget: BoolArray

    @staticmethod
    def of(movements: Sequence[Movement]) -> Movements:
        """Return the movements of a script."""
        courses = [movement.course for movement in movements]
        return Movements(
            onset_s=np.array([movement.onset_s for movement in movements], dtype=np.float64),
            duration_s=np.array([movement.duration_s for movement in movements], dtype=np.float64),
            displacement_cm=np.array([m.displacement_cm for m in movements], dtype=np.float64).reshape(-1, 2),
            bow_cm=np.array([movement.bow_cm for movement in movements], dtype=np.float64),
            rise=np.array([c.rise if c else np.nan for c in courses], dtype=np.float64),
            fall=np.array([c.fall if c else np.nan for c in courses], dtype=np.float64),
            second_share=np.array([c.second_share if c else np.nan for c in courses], dtype=np.float64),
            is_fidget=np.array([movement.fidget for movement in movements], dtype=np.bool_),
        )


@dataclass(frozen=True)
class ReachingTruth:
    """What drives a session of reaching, and how units read it.

    Attributes
    ----------
    latent_names
        Names of the latents, in the order of `Truth.latents`.
    dynamics
        Parameters of the dynamics by name: of the subject in this task, the same on all its days.
    tuning
        Tuning of the units, with its drift.
    movements
        Every movement.
    """

    latent_names: tuple[str, ...]
    dynamics: Mapping[str, float]
    tuning: Tuning
    movements: Movements

    def to_arrays(self) -> dict[str, Any]:
        """Return what is stored of it."""
        return {
            "reaching_latent_names": np.array(self.latent_names),
            "reaching_dynamics_names": np.array(list(self.dynamics)),
            "reaching_dynamics_values": np.array(list(self.dynamics.values()), dtype=np.float64),
            **self.tuning.to_arrays(),
            **{f"movement_{name}": values for name, values in vars(self.movements).items()},
        }

    @staticmethod
    def from_arrays(stored: Mapping[str, Any]) -> ReachingTruth:
        """Return what `to_arrays` stored; a KeyError names what is missing."""
        names, values = stored["reaching_dynamics_names"], stored["reaching_dynamics_values"]
        moved = {name: stored[f"movement_{name}"] for name in Movements.__dataclass_fields__}
        return ReachingTruth(
            latent_names=tuple(str(name) for name in stored["reaching_latent_names"]),
            dynamics={str(n): float(v) for n, v in zip(names, values, strict=True)},
            tuning=Tuning.from_arrays(stored),
            movements=Movements(**moved),
        )
