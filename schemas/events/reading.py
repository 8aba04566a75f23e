"""Events of reading recordings: what was read from where, and what was left out of the stores."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from nwb_latents.schemas.base import Frozen
from nwb_latents.schemas.events.base import Event, require_kind
from nwb_latents.schemas.inspection import Inspection
from nwb_latents.schemas.store import DropCounts, ReadChoice


class ReadEvent(Event):
    """How an ingest read one file: every choice, and everything odd."""

    event: Literal["read"] = "read"
    session: str = Field(description="Session id.")
    source: str = Field(description="The file.")
    layout: str = Field(description="Layout adapter that read it.")
    kinematics_unit: str = Field("cm", description="Unit of the position.")
    choices: tuple[ReadChoice, ...] = Field((), description="What was read from where, and why.")
    warnings: tuple[str, ...] = Field((), description="What was ignored, guessed, repaired or left out.")
    dropped: DropCounts = Field(
        default_factory=DropCounts, description="Units and trials left out, by reason."
    )


class InspectionEvent(Inspection, Event):
    """What is in one recording, and what an ingest would make of it."""

    model_config = ConfigDict(extra="allow", frozen=True, json_schema_extra=require_kind)

    event: Literal["inspection"] = "inspection"


class UnusualDrop(Frozen):
    """A session of which much more was left out than of the others, or most of it."""

    session: str = Field(description="Session id.")
    what: Literal["units", "trials"] = Field(description="Of what.")
    reason: str = Field(description="The rule that left out most.")
    n: int = Field(ge=0, description="Left out, by all rules.")
    of: int = Field(ge=1, description="There were.")


class DroppedEvent(Event):
    """What the stores of an ingest lack, summed over sessions."""

    event: Literal["dropped"] = "dropped"
    n_sessions: int = Field(ge=0, description="Sessions with a store.")
    n_units: int = Field(ge=0, description="Units kept.")
    n_trials: int = Field(ge=0, description="Trials kept.")
    units: dict[str, int] = Field(default_factory=dict, description="Reason → units left out.")
    trials: dict[str, int] = Field(default_factory=dict, description="Reason → trials left out.")
    unusual: tuple[UnusualDrop, ...] = Field((), description="Sessions that stand out.")
