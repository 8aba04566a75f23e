"""How a subject of preset 'lifelike' reaches: far and near, slow and fast, on a course drawn each time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.sources.simulator.reach_course import Course
from nwb_latents.pipeline.sources.simulator.trial_script import (
    TARGET_DISTANCE_CM,
    Movement,
    Pace,
    ScriptWriter,
    Trial,
    write_script,
)

if TYPE_CHECKING:
    from nwb_latents.pipeline.signals.recording import FloatArray
    from nwb_latents.pipeline.sources.simulator.trial_script import Script
    from nwb_latents.schemas.simulation import SimulateSettings

DISTANCES_CM = (3.0, 5.5, 8.5)
LONGER_WITH_DISTANCE = 0.35
"""Duration grows with distance to this power, so that far reaches are faster too."""

MOOD_SD, MOOD_KEPT = 0.25, 0.95
"""Log vigour that stays: its standard deviation, and the share of it left at the next reach."""

VIGOUR_SD = 0.4
"""Log vigour that is anew with each reach."""

SKEW_SD = 0.12
"""Log of how much longer a reach falls than it rises, anew with each reach."""

SHORTEST_S, SHORTEST_S_PER_CM, LONGEST_S = 0.18, 0.01, 1.0
NO_DELAY_SHARE = 0.15
"""Share of centre-out trials whose go cue comes with the target or right after it."""


@dataclass(frozen=True)
class Habit(Pace):
    """How one subject moves, the same on all its days.

    Attributes
    ----------
    skew
        Mean skew of the course of its reaches: positive early, negative late peaks.
    bow
        Bow of its paths as a share of the distance: on average ``bow * cos(direction - bow_towards)``.
    bow_towards
        Direction bowed most to the left, radians.
    two_peaked
        Share of reaches that a second movement corrects.
    """

    skew: float = 0.0
    bow: float = 0.1
    bow_towards: float = 0.0
    two_peaked: float = 0.25


def draw_habit(rng: np.random.Generator, *, task: str, pace: float = 0.0) -> Habit:
    """Draw how a subject moves; random targets have more corrections.

    Parameters
    ----------
    rng
        Source of all randomness, the same for all sessions of the subject.
    task
        ``CO`` or ``RT``.
    pace
        Log of how much longer its reaches take than those of others.

    Examples
    --------
    >>> habit = draw_habit(np.random.default_rng(0), task="CO")
    >>> 0.2 < habit.reaction_s < 0.4, habit.two_peaked
    (True, 0.25)
    """
    reaction = np.exp(0.08 * np.clip(rng.standard_normal(), -2, 2))
    return Habit(
        reaction_s=float(0.30 * reaction),
        reach_s=float(0.50 * np.exp(pace)),
        skew=float(rng.uniform(-0.3, 0.3)),
        bow=float(rng.uniform(0.06, 0.12)),
        bow_towards=float(rng.uniform(-np.pi, np.pi)),
        two_peaked=0.25 if task == "CO" else 0.35,
    )


class LifelikeWriter(ScriptWriter):
    """Writes reaches of many distances, speeds and courses."""

    distances_cm = DISTANCES_CM
    random_distances_cm = (3.0, 13.0)
    random_hold_s = (0.3, 0.5)
    pace: Habit

    def __init__(self, rng: np.random.Generator, pace: Pace) -> None:
        super().__init__(rng, pace)
        self._mood = MOOD_SD * rng.standard_normal()

    def delay(self) -> float:
        """Wait from the target to the go cue: often long, sometimes hardly at all."""
        if self.rng.random() < NO_DELAY_SHARE:
            return self.wait(0.0, 0.1)
        return self.wait(0.4, 1.2)

    def reach(self, trial: Trial, end_cm: FloatArray) -> None:
        """React to the last go cue and reach, as fast as the mood and the moment have it."""
        self._mood = MOOD_KEPT * self._mood + MOOD_SD * float(
            np.sqrt(1 - MOOD_KEPT**2) * self.rng.standard_normal()
        )
        vigour = self._mood + VIGOUR_SD * self.rng.standard_normal()
        self.now = round(trial.go_cue_s[-1] + self.reaction(), 3)
        distance = float(np.hypot(*(end_cm - self.hand)))
        median = self.pace.reach_s * (distance / TARGET_DISTANCE_CM) ** LONGER_WITH_DISTANCE
        shortest = SHORTEST_S + SHORTEST_S_PER_CM * distance
        duration = float(np.clip(median * np.exp(-vigour), shortest, LONGEST_S))
        aimed = end_cm + self.rng.normal(0.0, 0.15 + 0.02 * distance, 2)
        plan = trial.target_on_s[-1] + 0.05
        trial.onset_s[-1], trial.move_end_s[-1] = self.move(aimed, duration, plan_s=plan)

    def move(self, end_cm: FloatArray, duration_s: float, *, plan_s: float) -> tuple[float, float]:
        """Move on a bowed path, on a course drawn anew."""
        course = self._course()
        onset, duration = self.now, round(duration_s * (1.25 if course.second_share else 1.0), 3)
        displacement = end_cm - self.hand
        towards = np.arctan2(displacement[1], displacement[0]) - self.pace.bow_towards
        bow = self.pace.bow * np.cos(towards) + 0.04 * self.rng.standard_normal()
        bow_cm = float(np.hypot(*displacement) * bow)
        self.movements.append(Movement(plan_s, onset, duration, displacement, bow_cm=bow_cm, course=course))
        self.hand = end_cm
        self.now = round(onset + duration, 3)
        return onset, self.now

    def _course(self) -> Course:
        skew = float(np.clip(self.pace.skew + SKEW_SD * self.rng.standard_normal(), -0.8, 0.8))
        rise, fall = 2.0 * float(np.exp(-skew / 2)), 2.0 * float(np.exp(skew / 2))
        is_corrected = self.rng.random() < self.pace.two_peaked
        share, start = self.rng.uniform(0.22, 0.4), self.rng.uniform(0.45, 0.55)
        if not is_corrected:
            return Course(rise, fall)
        return Course(rise, fall, second_share=float(share), second_start=float(start))


class OneCourseWriter(LifelikeWriter):
    """Writes such reaches whose course the settings name."""

    def move(self, end_cm: FloatArray, duration_s: float, *, plan_s: float) -> tuple[float, float]:
        """Move on a slightly bowed path."""
        return ScriptWriter.move(self, end_cm, duration_s, plan_s=plan_s)


def write_lifelike_script(settings: SimulateSettings, rng: np.random.Generator, *, habit: Habit) -> Script:
    """Write the script of one session.

    Parameters
    ----------
    settings
        Task, number of trials and directions, share of failures, course of reaches.
    rng
        Source of all randomness.
    habit
        How the subject moves.

    Examples
    --------
    >>> from nwb_latents.schemas.simulation import SimulateSettings
    >>> settings, rng = SimulateSettings(n_trials=30, failure_rate=0.0), np.random.default_rng(0)
    >>> script = write_lifelike_script(settings, rng, habit=Habit())
    >>> sorted({round(float(np.hypot(*trial.target_cm[0])), 6) for trial in script.trials})
    [3.0, 5.5, 8.5]
    """
    writer = LifelikeWriter if settings.reach_profile == "mixed" else OneCourseWriter
    return write_script(settings, rng, pace=habit, writer=writer)
