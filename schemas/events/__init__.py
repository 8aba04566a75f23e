"""What the program says while it works: one class for each kind of event, as ``--json`` prints them.

An event is one line of JSON on standard output. It has the key ``event``, its kind, and the fields that were
set; a field that does not apply is left out, a number that is not finite is null. `EVENTS_VERSION` is raised
when a field is renamed or changes its meaning, and not when a field or a kind is added.

``pipeline schema events`` prints the schema of all of them.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Union

from pydantic import Discriminator, Tag, TypeAdapter

from nwb_latents.schemas.events.base import Event
from nwb_latents.schemas.events.findings import (
    ArchivedFile,
    CatalogRunEvent,
    CatalogSessionEvent,
    ChangedFile,
    CheckEvent,
    DandisetEvent,
    DiffEvent,
    FailureEvent,
    FaultEvent,
    ModelEvent,
    PinEvent,
    VerifyEvent,
)
from nwb_latents.schemas.events.kept_measurement import KeptMeasurement
from nwb_latents.schemas.events.online_decoding import BinEvent, StreamEvent, StreamTimingEvent
from nwb_latents.schemas.events.reading import DroppedEvent, InspectionEvent, ReadEvent, UnusualDrop
from nwb_latents.schemas.events.work import (
    BoardCell,
    BytesEvent,
    DecoderEvent,
    EmbeddingEvent,
    FactorEvent,
    GenerationEvent,
    LagEvent,
    MeasurementEvent,
    MetricEvent,
    NoteEvent,
    PageEvent,
    PhaseEvent,
    PictureEvent,
    PlanEvent,
    PlannedEvent,
    ProblemEvent,
    ProgressEvent,
    RetryEvent,
    RowEvent,
    RunEvent,
    SessionEvent,
    SourceEvent,
    StudyPlanEvent,
    SubmissionEvent,
)

__all__ = [
    "EVENTS",
    "EVENTS_VERSION",
    "ArchivedFile",
    "BinEvent",
    "BoardCell",
    "BytesEvent",
    "CatalogRunEvent",
    "CatalogSessionEvent",
    "ChangedFile",
    "CheckEvent",
    "DandisetEvent",
    "DecoderEvent",
    "DiffEvent",
    "DroppedEvent",
    "EmbeddingEvent",
    "Event",
    "FactorEvent",
    "FailureEvent",
    "FaultEvent",
    "GenerationEvent",
    "InspectionEvent",
    "KeptMeasurement",
    "LagEvent",
    "MeasurementEvent",
    "MetricEvent",
    "ModelEvent",
    "NoteEvent",
    "PageEvent",
    "PhaseEvent",
    "PictureEvent",
    "PinEvent",
    "PlanEvent",
    "PlannedEvent",
    "ProblemEvent",
    "ProgressEvent",
    "ReadEvent",
    "RetryEvent",
    "RowEvent",
    "RunEvent",
    "SessionEvent",
    "SourceEvent",
    "StreamEvent",
    "StreamTimingEvent",
    "StudyPlanEvent",
    "SubmissionEvent",
    "UnusualDrop",
    "VerifyEvent",
    "events_schema",
    "parse_event",
]

EVENTS_VERSION = 1

EVENTS: tuple[type[Event], ...] = (
    NoteEvent,
    PlanEvent,
    PlannedEvent,
    StudyPlanEvent,
    RetryEvent,
    SessionEvent,
    ReadEvent,
    DroppedEvent,
    InspectionEvent,
    RunEvent,
    GenerationEvent,
    SourceEvent,
    MetricEvent,
    DecoderEvent,
    MeasurementEvent,
    LagEvent,
    EmbeddingEvent,
    RowEvent,
    FactorEvent,
    SubmissionEvent,
    PageEvent,
    PictureEvent,
    ProblemEvent,
    StreamEvent,
    BinEvent,
    StreamTimingEvent,
    ProgressEvent,
    BytesEvent,
    PhaseEvent,
    CatalogSessionEvent,
    CatalogRunEvent,
    FailureEvent,
    FaultEvent,
    VerifyEvent,
    DiffEvent,
    PinEvent,
    DandisetEvent,
    ModelEvent,
    CheckEvent,
)
"""All kinds of event."""

_OF_THE_CATALOG = {"known", "missing", "complete"}


def _tag(value: Any) -> str:
    """Return which class an event is of: kind, and whether it tells of an entry of the catalog."""
    said = value if isinstance(value, dict) else vars(value)
    kind = str(said.get("event"))
    return f"catalog {kind}" if said.get("status") in _OF_THE_CATALOG and kind in {"session", "run"} else kind


def _tag_of(kind: type[Event]) -> str:
    name = str(kind.model_fields["event"].default)
    return f"catalog {name}" if kind in {CatalogSessionEvent, CatalogRunEvent} else name


@cache
def _adapter() -> TypeAdapter[Event]:
    tagged = tuple(Annotated[kind, Tag(_tag_of(kind))] for kind in EVENTS)
    of_all: Any = Union[tagged]  # noqa: UP007 # the members are made here
    return TypeAdapter(Annotated[of_all, Discriminator(_tag)])


def parse_event(line: str | bytes) -> Event:
    """Return the event that a line of JSON says.

    Raises
    ------
    pydantic.ValidationError
        If it is none that is known.

    Examples
    --------
    >>> parse_event('{"event": "note", "text": "2 workers"}').text
    '2 workers'
    """
    return _adapter().validate_json(line)


def events_schema() -> dict[str, Any]:
    """Return the JSON schema of a line of ``--json``.

    Examples
    --------
    >>> events_schema()["version"] == EVENTS_VERSION
    True
    """
    return {"title": "Event", "version": EVENTS_VERSION, **_adapter().json_schema()}
