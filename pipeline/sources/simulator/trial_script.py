"""What happens in a simulated session: trials with their events, and every movement of the hand.

The script is written event by event as a session runs: hold, target, delay, go cue, reaction, reach, hold,
reward, return. Times are seconds from the session's start, rounded to milliseconds; positions are cm with
the centre target at the origin.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from nwb_latents.pipeline.signals.recording import FloatArray, IntArray
    from nwb_latents.pipeline.sources.simulator.reach_course import Course
    from nwb_latents.schemas.simulation import SimulateSettings

TARGET_DISTANCE_CM = 8.0
RT_TARGETS = 4
RT_WORKSPACE_CM = 8.0
LEAD_IN_S = 2.0
NOMINAL_PEAK_CM_S = 30.0
MIN_JERK_PEAK = 1.875
"""Peak speed of a minimum-jerk movement over its mean speed (Flash & Hogan 1985, J Neurosci 5:1688)."""


@dataclass(frozen=True)
class Pace:
    """How quickly one subject reacts and moves.

    Attributes
    ----------
    reaction_s, reach_s
        Median reaction time and median duration of an 8 cm reach, seconds.
    """

    reaction_s: float = 0.30
    reach_s: float = 0.50


@dataclass(frozen=True)
class Movement:
    """One movement of the hand.

    Attributes
    ----------
    plan_s, onset_s, duration_s
        When the brain begins to prepare it, when it starts, how long it takes. Seconds.
    displacement_cm
        From start to end; for a fidget the farthest point of an out-and-back movement. Shape ``(2,)``.
    bow_cm
        Sideways excursion half way, cm, positive to the left of the displacement.
    fidget
        Whether it comes back to where it began.
    course
        When on its way it is fast; None: as all movements of the session.
    """

    plan_s: float
    onset_s: float
    duration_s: float
    displacement_cm: FloatArray
    bow_cm: float = 0.0
    fidget: bool = False
    course: Course | None = None

    @property
    def vigour(self) -> float:
        """Peak speed over that of a typical reach."""
        distance = float(np.hypot(*self.displacement_cm))
        return MIN_JERK_PEAK * distance / self.duration_s / NOMINAL_PEAK_CM_S


@dataclass
class Trial:
    """One trial; lists have one entry for each target that was shown, in order.

    Attributes
    ----------
    start_s, stop_s
        Edges of the trial, seconds.
    result
        ``R`` reward, ``A`` abort, ``F`` fail (wrong target), ``I`` incomplete (no movement).
    target_on_s, go_cue_s, onset_s, move_end_s
        Event times in seconds; NaN where the event did not happen.
    target_id
        Number of the target.
    target_cm
        Positions of the targets, each of shape ``(2,)``.
    target_dir
        Direction from the hand's place to the target, radians in ``(-pi, pi]``.
    """

    start_s: float
    stop_s: float = np.nan
    result: str = "R"
    target_on_s: list[float] = field(default_factory=list)
    go_cue_s: list[float] = field(default_factory=list)
    onset_s: list[float] = field(default_factory=list)
    move_end_s: list[float] = field(default_factory=list)
    target_id: list[int] = field(default_factory=list)
    target_cm: list[FloatArray] = field(default_factory=list)
    target_dir: list[float] = field(default_factory=list)

    def show(self, target_id: int, target_cm: FloatArray, *, hand_cm: FloatArray, at_s: float) -> None:
        """Enter a target that appears at `at_s`; its other events are unknown until they happen."""
        towards = target_cm - hand_cm
        self.target_on_s.append(at_s)
        self.target_id.append(target_id)
        self.target_cm.append(target_cm)
        self.target_dir.append(float(np.arctan2(towards[1], towards[0])))
        for events in (self.go_cue_s, self.onset_s, self.move_end_s):
            events.append(np.nan)


@dataclass(frozen=True)
class Script:
    """A whole session.

    Attributes
    ----------
    trials
        In order of time.
    movements
        All movements, inside and outside trials, in order of time.
    duration_s
        Length of the session in seconds.
    """

    trials: tuple[Trial, ...]
    movements: tuple[Movement, ...]
    duration_s: float


class ScriptWriter:
    """Clock, hand and random generator of a session that is being written.

    What it decides by itself is the manner of reaching: where targets are, how long a delay lasts, and how
    the hand gets there. Whoever reaches in another manner decides these in another way.

    Parameters
    ----------
    rng
        Source of all randomness.
    pace
        How quickly the subject reacts and moves.
    """

    distances_cm: tuple[float, ...] = (TARGET_DISTANCE_CM,)
    """How far targets are from the centre, centre-out."""

    random_distances_cm: tuple[float, float] = (4.0, 11.0)
    """How near and far a random target may be to the hand."""

    random_hold_s: tuple[float, float] = (0.10, 0.20)
    """How long a random target is held before the next one appears."""

    def __init__(self, rng: np.random.Generator, pace: Pace) -> None:
        self.rng = rng
        self.pace = pace
        self.now = LEAD_IN_S
        self.hand = np.zeros(2)
        self.movements: list[Movement] = []

    def wait(self, low_s: float, high_s: float) -> float:
        """Let time pass; return what time it is."""
        self.now = round(self.now + self.rng.uniform(low_s, high_s), 3)
        return self.now

    def reaction(self) -> float:
        """Draw a reaction time, s."""
        return float(np.clip(self.pace.reaction_s * self.rng.lognormal(0.0, 0.18), 0.18, 0.60))

    def delay(self) -> float:
        """Wait from the target to the go cue of a centre-out trial."""
        return self.wait(0.5, 1.0)

    def move(self, end_cm: FloatArray, duration_s: float, *, plan_s: float) -> tuple[float, float]:
        """Move to `end_cm`; return when the movement begins and ends."""
        onset, duration = self.now, round(duration_s, 3)
        displacement = end_cm - self.hand
        bow = float(np.hypot(*displacement)) * self.rng.normal(0.0, 0.04)
        self.movements.append(Movement(plan_s, onset, duration, displacement, bow_cm=bow))
        self.hand = end_cm
        self.now = round(onset + duration, 3)
        return onset, self.now

    def reach(self, trial: Trial, end_cm: FloatArray) -> None:
        """React to the last go cue of `trial` and reach to `end_cm`."""
        self.now = round(trial.go_cue_s[-1] + self.reaction(), 3)
        distance = float(np.hypot(*(end_cm - self.hand)))
        median = self.pace.reach_s * (0.6 + 0.4 * distance / TARGET_DISTANCE_CM)
        duration = float(np.clip(median * self.rng.lognormal(0.0, 0.14), 0.35, 0.70))
        aimed = end_cm + self.rng.normal(0.0, 0.3, 2)
        plan = trial.target_on_s[-1] + 0.05
        trial.onset_s[-1], trial.move_end_s[-1] = self.move(aimed, duration, plan_s=plan)

    def fidget(self, low_cm: float, high_cm: float) -> None:
        """Move a little way out and back, in any direction."""
        angle, size = self.rng.uniform(-np.pi, np.pi), self.rng.uniform(low_cm, high_cm)
        peak = size * np.array([np.cos(angle), np.sin(angle)])
        duration = round(self.rng.uniform(0.4, 0.7), 3)
        self.movements.append(Movement(self.now, self.now, duration, peak, fidget=True))
        self.now = round(self.now + duration, 3)


def write_script(
    settings: SimulateSettings,
    rng: np.random.Generator,
    *,
    pace: Pace,
    writer: type[ScriptWriter] = ScriptWriter,
) -> Script:
    """Write the script of one session.

    Parameters
    ----------
    settings
        Task, number of trials and targets, share of failures.
    rng
        Source of all randomness.
    pace
        How quickly the subject reacts and moves.
    writer
        In which manner it reaches.

    Returns
    -------
    script
        Trials and movements; at least one trial succeeds.

    Examples
    --------
    >>> from nwb_latents.schemas.simulation import SimulateSettings
    >>> script = write_script(SimulateSettings(n_trials=5), np.random.default_rng(0), pace=Pace())
    >>> len(script.trials), script.trials[0].start_s
    (5, 2.0)
    """
    session = writer(rng, pace)
    failed = rng.random(settings.n_trials) < settings.failure_rate
    if failed.all():
        failed[0] = False
    kinds = np.where(failed, rng.choice(["A", "F", "I"], settings.n_trials, p=[0.4, 0.35, 0.25]), "R")
    run_trial: Callable[[ScriptWriter, str], Trial] = _random_target_trial
    if settings.task == "CO":
        run_trial = _centre_out_trials(settings, rng, distances_cm=writer.distances_cm)
    trials = tuple(run_trial(session, str(kind)) for kind in kinds)
    return Script(trials, tuple(session.movements), duration_s=round(session.wait(1.0, 1.001), 2))


def _target_order(n_targets: int, n_trials: int, rng: np.random.Generator) -> IntArray:
    """Blocks in which every target comes once. Shape ``(n_trials,)``."""
    n_blocks = -(-n_trials // n_targets)
    return np.concatenate([rng.permutation(n_targets) for _ in range(n_blocks)])[:n_trials].astype(np.int64)


def _centre_out_trials(
    settings: SimulateSettings, rng: np.random.Generator, *, distances_cm: tuple[float, ...]
) -> Callable[[ScriptWriter, str], Trial]:
    angles = 2 * np.pi * np.arange(settings.n_targets) / settings.n_targets
    around = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    places = np.concatenate([distance * around for distance in distances_cm])
    order = iter(_target_order(len(places), settings.n_trials, rng))

    def run(writer: ScriptWriter, kind: str) -> Trial:
        target = int(next(order))
        other = -places[target]
        if len(angles) > 1:
            turned = target + 1 + int(writer.rng.integers(len(angles) - 1))
            other = places[target - target % len(angles) + turned % len(angles)]
        trial = _centre_out_trial(writer, kind, target_id=target, target_cm=places[target], other_cm=other)
        _back_to_centre(writer)
        return trial

    return run


def _centre_out_trial(
    writer: ScriptWriter, kind: str, *, target_id: int, target_cm: FloatArray, other_cm: FloatArray
) -> Trial:
    trial = Trial(start_s=writer.now, result=kind)
    if kind == "A" and writer.rng.random() < 0.3:
        trial.stop_s = writer.wait(0.10, 0.25)
        return trial
    # Targets are centred on the screen, so their direction does not depend on where the hand holds.
    trial.show(target_id, target_cm, hand_cm=np.zeros(2), at_s=writer.wait(0.3, 0.6))
    if kind == "A":
        writer.wait(0.1, 0.4)
        writer.fidget(2.0, 3.0)
        trial.stop_s = writer.now
        return trial
    trial.go_cue_s[-1] = writer.delay()
    if kind == "I":
        trial.stop_s = writer.wait(1.0, 1.2)
        return trial
    writer.reach(trial, target_cm if kind == "R" else other_cm)
    trial.stop_s = writer.wait(0.45, 0.60)
    return trial


def _back_to_centre(writer: ScriptWriter) -> None:
    writer.wait(0.15, 0.40)
    if np.hypot(*writer.hand) > 2.0:
        plan = round(writer.now, 3)
        writer.wait(0.2, 0.3)
        writer.move(writer.rng.normal(0.0, 0.3, 2), writer.rng.uniform(0.5, 0.8), plan_s=plan)
    writer.wait(0.2, 0.5)
    if writer.rng.random() < 0.15:
        writer.fidget(0.8, 2.0)
        writer.wait(0.2, 0.4)


def _random_target_trial(writer: ScriptWriter, kind: str) -> Trial:
    trial = Trial(start_s=writer.now, result=kind)
    writer.wait(0.3, 0.5)
    n_reached = RT_TARGETS if kind == "R" else int(writer.rng.integers(RT_TARGETS))
    for _ in range(n_reached):
        _show_random_target(writer, trial)
        writer.reach(trial, trial.target_cm[-1])
        writer.wait(*writer.random_hold_s)
    if kind != "R":
        _show_random_target(writer, trial)
        if kind == "A":
            writer.wait(0.05, 0.15)
            writer.fidget(2.0, 3.0)
        elif kind == "F":
            writer.reach(trial, -0.8 * writer.hand + writer.rng.uniform(-1.0, 1.0, 2))
        else:
            writer.wait(1.0, 1.2)
    trial.stop_s = writer.wait(0.35, 0.50)
    writer.wait(0.3, 0.8)
    return trial


def _show_random_target(writer: ScriptWriter, trial: Trial) -> None:
    nearest, farthest = writer.random_distances_cm
    while True:
        place = writer.rng.uniform(-RT_WORKSPACE_CM, RT_WORKSPACE_CM, 2)
        if nearest <= np.hypot(*(place - writer.hand)) <= farthest:
            break
    column, row = np.floor((place + RT_WORKSPACE_CM) / (RT_WORKSPACE_CM / 2)).astype(int)
    trial.show(int(4 * row + column), place, hand_cm=writer.hand, at_s=writer.now)
    trial.go_cue_s[-1] = writer.now
