"""Settings of `pipeline simulate`: a dandiset of simulated reaching sessions with known truth."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from schemas.base import Frozen

SimulatedLayout = Literal["000688", "000070", "nlb", "generic"]
SimulatedTask = Literal["CO", "RT"]


class SimulateSettings(Frozen):
    """Size and shape of a simulated dandiset."""

    layout: SimulatedLayout = Field(
        "000688",
        description="NWB layout: '000688' (waveforms, no onset column), '000070' (kinematics within trials "
        "only), 'nlb' (held-out units, split column), 'generic' (no trial table).",
    )
    task: SimulatedTask = Field(
        "CO",
        description="'CO' centre-out with an instructed delay; 'RT' four random targets per trial (layouts "
        "'000688' and 'generic').",
    )
    n_subjects: int = Field(2, ge=1, description="Number of subjects.")
    n_sessions: int = Field(2, ge=1, description="Sessions of each subject.")
    n_units: tuple[int, int] = Field((40, 80), description="Least and most units of a session.")
    n_trials: int = Field(160, ge=1, description="Trials of a session, failed ones included.")
    n_targets: int = Field(8, ge=1, description="Targets around the centre (task 'CO').")
    kinematics_rate_hz: float = Field(
        100.0,
        gt=0,
        description="Sampling rate of the kinematics, Hz (layouts '000688' and 'generic'; others: 1 kHz).",
    )
    failure_rate: float = Field(0.12, ge=0, lt=1, description="Share of trials that fail.")
    mean_rate_hz: float = Field(12.0, gt=0, le=60, description="Mean over units of the firing rate, Hz.")
    silent_units: int = Field(2, ge=0, description="Units of each session that fire below 0.1 Hz.")
    waveforms: bool = Field(default=True, description="Write one waveform per spike (layout '000688').")
    seed: int = Field(0, ge=0, description="Seed: same seed, same data.")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        least, most = self.n_units
        if not 1 <= least <= most:
            message = f"n_units is ({least}, {most}): expected the least number first and both at least 1"
            raise ValueError(message)
        if self.silent_units >= least:
            message = (
                f"silent_units is {self.silent_units} but a session may have only {least} units: lower it"
            )
            raise ValueError(message)
        if self.task == "RT" and self.layout not in {"000688", "generic"}:
            message = f"layout {self.layout!r} has no task RT: use task CO, or layout '000688' or 'generic'"
            raise ValueError(message)
        return self
