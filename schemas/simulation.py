"""Settings of `pipeline simulate`: a dandiset of simulated sessions with known truth."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationInfo, model_validator

from nwb_latents.schemas.base import Frozen, Reading
from nwb_latents.schemas.bounds import MOST_SEED
from nwb_latents.schemas.digest import AddedLater

SimulatedLayout = Literal["000688", "000070", "nlb", "generic", "foreign"]
SimulatedTask = Literal["CO", "RT"]
SimulatedPreset = Literal["lifelike", "classic"]
ReachProfile = Literal["minimum_jerk", "lognormal", "late", "two_peaked"]
SimulatedSystem = Literal["reaching", "limit_cycle", "hopf", "hopf_normal", "duffing"]

FOREIGN_TARGETS = 2
"""An elbow bends or stretches."""
_CLASSIC: dict[str, Any] = {"preset": "classic", "reach_profile": "minimum_jerk"}
"""What preset 'classic' has, and what is counted as said where there is nothing to choose from."""
_OF_REACHING: dict[str, Any] = {"task": "CO", "n_targets": 8, "failure_rate": 0.12, **_CLASSIC}
"""Settings that systems do not have, and the values they are given there."""
_OF_SYSTEMS = ("noise_scaling", "parameter_range", "trial_bins")
_OF_LIFELIKE = ("dynamics_spread", "drift")


class SimulateSettings(Frozen):
    """Size and shape of a simulated dandiset."""

    system: Annotated[SimulatedSystem, AddedLater("reaching")] = Field(
        "reaching",
        description="What drives the neurons: 'reaching', or runs of a noisy planar system, one parameter "
        "per session: 'limit_cycle', 'hopf' (van der Pol form), 'hopf_normal' (normal form), 'duffing'.",
    )
    layout: SimulatedLayout = Field(
        "000688",
        description="NWB layout: '000688' (waveforms, no onset column), '000070' (kinematics within trials "
        "only), 'nlb' (held-out units, split column), 'generic' (no trial table), 'foreign' (a lab of its "
        "own: elbow angle in degrees, trial columns of other names, invalid times). Systems: always "
        "'generic', with a trial table.",
    )
    preset: Annotated[SimulatedPreset, AddedLater("classic")] = Field(
        "lifelike",
        description="How reaches and neurons are: 'lifelike' (several distances and speeds, skewed and "
        "two-peaked courses, curved paths, tuning that bends, dynamics of each subject and task, drift), or "
        "'classic' (8 cm, alike, log-linear tuning, dynamics nearly shared, no drift): what was simulated "
        "before there were presets, to the last digit. Systems have none.",
    )
    task: SimulatedTask = Field(
        "CO",
        description="'CO' centre-out with an instructed delay; 'RT' four random targets per trial (layouts "
        "'000688' and 'generic').",
    )
    n_subjects: int = Field(2, ge=1, le=1000, description="Number of subjects.")
    n_sessions: int = Field(2, ge=1, le=1000, description="Sessions of each subject.")
    n_units: tuple[int, int] = Field((40, 80), description="Least and most units of a session.")
    n_trials: int = Field(160, ge=1, le=100_000, description="Trials of a session, failed ones included.")
    n_targets: int = Field(
        8,
        ge=1,
        le=1000,
        description="Directions around the centre (task 'CO'), each with one target, or one a distance "
        "(preset 'lifelike'); of the layout 'foreign' 2, one a side.",
    )
    reach_profile: Annotated[Literal["mixed", ReachProfile], AddedLater("minimum_jerk")] = Field(
        "mixed",
        description="Course of a reach's speed: 'mixed' (each reach has its own; preset 'lifelike'), "
        "'minimum_jerk' (what preset 'classic' has), 'lognormal' (steep rise, long tail), 'late' (peak at "
        "two thirds), 'two_peaked' (a second movement corrects the first).",
    )
    dynamics_spread: Annotated[float, AddedLater(0.3, beside="preset")] = Field(
        0.3,
        ge=0,
        le=1,
        description="Preset 'lifelike': how far frequencies and time constants of the dynamics differ: "
        "standard deviation of their logarithm over subjects; tasks are about as far apart; 0: all alike.",
    )
    drift: Annotated[float, AddedLater(1.0, beside="preset")] = Field(
        1.0,
        ge=0,
        le=5,
        description="Preset 'lifelike': how much rates and tuning of units drift, from day to day and within "
        "a session, as a multiple of the usual; 0: units stay as they are and are all there every day.",
    )
    kinematics_rate_hz: float = Field(
        100.0,
        gt=0,
        le=100_000,
        description="Sampling rate of the kinematics, Hz (layouts '000688', 'generic' and 'foreign'; others: "
        "1 kHz).",
    )
    failure_rate: float = Field(0.12, ge=0, lt=1, description="Share of trials that fail.")
    mean_rate_hz: float = Field(12.0, gt=0, le=60, description="Mean over units of the firing rate, Hz.")
    silent_units: int = Field(2, ge=0, le=10_000, description="Units of each session that fire below 0.1 Hz.")
    waveforms: bool = Field(default=True, description="Write one waveform per spike (layout '000688').")
    noise_scaling: Annotated[Literal["sqrt_dt", "dt"], AddedLater("sqrt_dt", beside="system")] = Field(
        "sqrt_dt", description="Systems: process noise of a step, 'sqrt_dt' (0.1) or 'dt' (0.02)."
    )
    parameter_range: Annotated[tuple[float, float] | None, AddedLater(None, beside="system")] = Field(
        None,
        description="Systems: parameter of the first and the last session, evenly spaced between; none: 0.5 "
        "to 5 ('limit_cycle', angular frequency), -1.5 to 1.5 ('hopf', 'hopf_normal', bifurcation "
        "parameter). 'duffing' has pairs on a grid.",
    )
    trial_bins: Annotated[int, AddedLater(100, beside="system")] = Field(
        100, ge=10, le=5000, description="Systems: steps of a trial; one step is one bin of 20 ms."
    )
    seed: int = Field(0, ge=0, le=MOST_SEED, description="Seed: same seed, same data.")

    @property
    def shared_profile(self) -> ReachProfile:
        """Course of every movement that has none of its own."""
        return "minimum_jerk" if self.reach_profile == "mixed" else self.reach_profile

    @model_validator(mode="before")
    @classmethod
    def _what_is_not_said(cls, given: Any, info: ValidationInfo) -> Any:
        if not isinstance(given, dict):
            return given
        if given.get("system", "reaching") != "reaching":
            return {"layout": "generic", **_CLASSIC, **given}
        if given.get("layout") == "foreign":
            given = {"n_targets": FOREIGN_TARGETS, **given}
        # A file that was written without a preset is of a time when there was one kind of reaches.
        unsaid = "classic" if isinstance(info.context, Reading) else "lifelike"
        return {**_CLASSIC, **given} if given.get("preset", unsaid) == "classic" else given

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        least, most = self.n_units
        if not 1 <= least <= most:
            message = f"n_units is ({least}, {most}): expected the least number first and both at least 1"
            raise ValueError(message)
        if most > 10_000:
            message = f"n_units is ({least}, {most}): expected 10,000 at most"
            raise ValueError(message)
        if self.silent_units >= least:
            message = (
                f"silent_units is {self.silent_units} but a session may have only {least} units: lower it"
            )
            raise ValueError(message)
        if self.task == "RT" and self.layout not in {"000688", "generic"}:
            message = f"layout {self.layout!r} has no task RT: use task CO, or layout '000688' or 'generic'"
            raise ValueError(message)
        if self.preset == "classic" and self.reach_profile == "mixed":
            message = (
                "preset 'classic' has reaches all of one course: name another reach_profile than 'mixed'"
            )
            raise ValueError(message)
        if self.layout == "foreign" and self.n_targets != FOREIGN_TARGETS:
            message = (
                f"n_targets is {self.n_targets}, but in the layout 'foreign' an elbow bends or stretches: "
                f"use {FOREIGN_TARGETS}"
            )
            raise ValueError(message)
        return self

    @model_validator(mode="after")
    def _fits_the_system(self) -> Self:
        is_system = self.system != "reaching"
        if is_system and self.layout != "generic":
            message = (
                f"layout {self.layout!r} holds reaches: a session of {self.system!r} has layout 'generic'"
            )
            raise ValueError(message)
        usual = {name: field.default for name, field in type(self).model_fields.items()}
        for name, value in _OF_REACHING.items() if is_system else ((n, usual[n]) for n in _OF_SYSTEMS):
            if getattr(self, name) != value:
                remedy = "leave it out" if is_system else "choose a system with system=NAME, or leave it out"
                message = f"{name} has no meaning for system {self.system!r}: {remedy}"
                raise ValueError(message)
        for name in _OF_LIFELIKE if self.preset == "classic" else ():
            if getattr(self, name) != usual[name]:
                kind = f"system {self.system!r}" if is_system else "preset 'classic'"
                raise ValueError(f"{name} has no meaning for {kind}: leave it out")
        if self.parameter_range is None:
            return self
        if self.system == "duffing":
            message = (
                "parameter_range is given, but 'duffing' has pairs of parameters on a grid: leave it out"
            )
            raise ValueError(message)
        first, last = self.parameter_range
        if not (math.isfinite(first) and math.isfinite(last) and first <= last):
            message = (
                f"parameter_range is ({first:g}, {last:g}): expected finite numbers, the smaller one first"
            )
            raise ValueError(message)
        return self
