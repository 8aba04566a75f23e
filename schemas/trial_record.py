"""Which trials a run was trained and validated on, by what tells a trial from another."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from nwb_latents.schemas.base import Frozen, Record


class SessionTrials(Frozen):
    """The trials of one session as the run found them, one value of each field for every trial."""

    store_key: str = Field(description="Key of the store they were in.")
    identifier: str = Field(description="Identifier of the recording; empty: not stated.")
    session_start: str = Field(description="When the recording began; empty: not stated.")
    trial: tuple[int, ...] = Field(description="Rows in the file's trial table.")
    split: tuple[str, ...] = Field(description="Split of each: train, val or test.")
    start_s: tuple[float | None, ...] = Field(
        description="Start of each in the session, s; none: not stated."
    )
    go_cue_s: tuple[float | None, ...] = Field(description="Go cue of each, s; none: there is none.")
    target_rad: tuple[float | None, ...] = Field(
        description="Direction of the target of each, rad; none: there is none."
    )

    @model_validator(mode="after")
    def _one_of_each(self) -> Self:
        columns = (self.split, self.start_s, self.go_cue_s, self.target_rad)
        if any(len(column) != len(self.trial) for column in columns):
            raise ValueError("one value of every field is needed for each trial")
        return self


class RunTrials(Record):
    """The file `trials.json` of a run directory."""

    sessions: dict[str, SessionTrials] = Field(description="Session id → its trials.")
