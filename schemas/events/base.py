"""What all events have in common: their kind, and how they are written as a line."""

from __future__ import annotations

import json
from typing import Any, ClassVar

from pydantic import ConfigDict, Field
from pydantic_core import PydanticSerializationError

from nwb_latents.schemas.base import Found


def require_kind(schema: dict[str, Any]) -> None:
    """Say that an event always has its kind; what else has a default may be left out."""
    schema["required"] = ["event", *(name for name in schema.get("required", ()) if name != "event")]


class Event(Found):
    """Something that happened. What is sent between processes and printed is its `line`."""

    model_config = ConfigDict(extra="forbid", frozen=True, json_schema_extra=require_kind)

    is_printed: ClassVar[bool] = True
    """Whether ``--json`` prints it; the frequent ones are for a screen."""

    is_frequent: ClassVar[bool] = False
    """Whether it comes so often that some may be left out on the way from another machine."""

    event: str = Field(description="Kind of event.")

    def line(self) -> str:
        """Return the event as one line of JSON.

        Examples
        --------
        >>> from nwb_latents.schemas.events import SessionEvent
        >>> SessionEvent(session="sub-A_ses-1", status="done", seconds=1.5).line()
        '{"event":"session","session":"sub-A_ses-1","status":"done","seconds":1.5}'
        """
        include = {"event", *self.model_fields_set}
        try:
            return self.model_dump_json(include=include)
        except PydanticSerializationError:
            # Names of files need not be UTF-8; half characters stand as they do in Python: \\udcff.
            plain = json.dumps(self.model_dump(include=include), ensure_ascii=False, default=str)
            return plain.encode("utf-8", "backslashreplace").decode()
