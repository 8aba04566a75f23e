"""Events of looking: what the catalog, the archive, the program and the machine hold."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from nwb_latents.schemas.base import Frozen
from nwb_latents.schemas.catalog import DandisetEntry, RunEntry, SessionEntry
from nwb_latents.schemas.events.base import Event, require_kind
from nwb_latents.schemas.events.kept_measurement import KeptMeasurement
from nwb_latents.schemas.store import StoreAttributes


class CatalogSessionEvent(SessionEntry, Event):
    """A session as the catalog has it (``catalog list``, ``catalog show``)."""

    model_config = ConfigDict(extra="allow", frozen=True, json_schema_extra=require_kind)

    event: Literal["session"] = "session"
    status: Literal["known", "missing"] = Field(description="missing: its store is not there.")
    attributes: StoreAttributes | None = Field(None, description="What its store says of itself.")
    measurements: tuple[KeptMeasurement, ...] = Field((), description="What was measured on it.")


class CatalogRunEvent(RunEntry, Event):
    """A run as the catalog has it (``catalog list``, ``catalog show``)."""

    model_config = ConfigDict(extra="allow", frozen=True, json_schema_extra=require_kind)

    event: Literal["run"] = "run"
    is_current: bool | None = Field(
        None, description="Whether its stores are those of the catalog; none: which they were is not known."
    )
    why_stale: str = Field("", description="What became of them since; empty: nothing, or not known.")


class FailureEvent(Event):
    """A session whose last ingest, or last score, failed."""

    event: Literal["failure"] = "failure"
    stage: str = Field("ingest", description="What failed: ingest, decode, evaluate or forecast.")
    session: str = Field(description="Session id.")
    source: str = Field(description="The file.")
    recipe_id: str = Field(description="Recipe.")
    time: str = Field(description="When, ISO 8601, UTC.")
    host: str = Field(description="Where.")
    attempts: int = Field(ge=1, description="Attempts since it last succeeded.")
    error: Literal["data", "machine", "unexpected"] = Field(description="What is at fault.")
    exit_code: int = Field(description="Exit code it stands for.")
    message: str = Field(description="What is wrong.")
    remedy: str = Field(description="What to do.")


class ArchivedFile(Frozen):
    """A file as it is pinned, or as the archive has it."""

    asset_id: str | None = Field(description="Asset id.")
    size: int | None = Field(description="Size, bytes.")
    sha256: str | None = Field(description="Its digest.")
    zarr_checksum: str | None = Field(description="The archive's digest of a Zarr.")


class ChangedFile(Frozen):
    """What became of one file of a dandiset."""

    path: str = Field(description="Path in the dandiset.")
    change: Literal["added", "removed", "content", "id", "unknown"] = Field(description="What changed.")
    before: ArchivedFile | None = Field(description="As pinned.")
    after: ArchivedFile | None = Field(description="In the archive.")


class DiffEvent(Event):
    """What the archive changed of a dandiset since it was pinned."""

    event: Literal["diff"] = "diff"
    dandiset: str = Field(description="Its id.")
    status: Literal["unchanged", "changed", "failed"] = Field(description="What was found.")
    pinned: str | None = Field(None, description="Pinned version.")
    newer: tuple[str, ...] = Field((), description="Versions published since.")
    compared: str | None = Field(None, description="Version compared with.")
    added: int | None = Field(None, description="Files added.")
    removed: int | None = Field(None, description="Files removed.")
    content: int | None = Field(None, description="Files of other content.")
    id: int | None = Field(None, description="Files of another asset id and the same content.")
    unknown: int | None = Field(None, description="Files that cannot be compared.")
    changes: tuple[ChangedFile, ...] = Field((), description="Each of them.")
    reason: str = Field("", description="Why it failed, and what else to say.")


class PinEvent(Event):
    """A version of a dandiset that was pinned in the catalog."""

    event: Literal["pin"] = "pin"
    dandiset: str = Field(description="Its id.")
    version: str = Field(description="Version pinned.")
    archive: str = Field(description="Archive it is in, by the address of its interface.")
    previous: str | None = Field(None, description="Version that was pinned before.")
    n_files: int = Field(ge=0, description="Recordings in it.")
    n_bytes: int = Field(ge=0, description="Their size, bytes.")
    n_pins: int = Field(ge=0, description="Files pinned by content: those of a draft.")


class DandisetEvent(DandisetEntry, Event):
    """A dandiset that is known, its pins counted."""

    model_config = ConfigDict(extra="allow", frozen=True, json_schema_extra=require_kind)

    event: Literal["dandiset"] = "dandiset"
    dandiset: str = Field(description="Its id.")
    n_pins: int = Field(description="Files pinned.")


class ModelEvent(Event):
    """A model that can be trained."""

    event: Literal["model"] = "model"
    model: str = Field(description="Its name.")
    summary: str = Field(description="What it is, in a sentence.")
    paper: str = Field(description="Where it was published.")
    main_settings: dict[str, Any] = Field(description="Settings one looks at first, with defaults.")


class FaultEvent(Event):
    """One thing that is wrong with a store, a run, or the catalog itself (``catalog verify``)."""

    event: Literal["fault"] = "fault"
    session: str | None = Field(None, description="Session whose store it is.")
    run: str | None = Field(None, description="Run it is.")
    entry: str | None = Field(None, description="Name of its entry in the catalog.")
    path: str = Field(description="The store, the directory of the run, or the catalog.")
    where: str = Field(description="File or array in it; empty: the whole.")
    kind: Literal[
        "missing",
        "size",
        "content",
        "unlisted",
        "manifest",
        "schema",
        "values",
        "key",
        "catalog",
        "unreadable",
    ] = Field(
        description="missing: a file is gone; size, content: it is not what the manifest says; unlisted: the "
        "manifest does not know it; manifest: that is damaged itself; schema: an array is not as described; "
        "values: numbers contradict each other; key: it is of another recording, recipe or training; "
        "catalog: an entry is at fault; unreadable: it cannot be read."
    )
    text: str = Field(description="Found against expected.")
    remedy: str = Field(description="What to do.")


class VerifyEvent(Event):
    """What ``catalog verify`` found in all."""

    event: Literal["verify"] = "verify"
    n_sessions: int = Field(ge=0, description="Stores looked at.")
    n_runs: int = Field(ge=0, description="Runs looked at.")
    n_damaged: int = Field(ge=0, description="Stores and runs with faults.")
    n_faults: int = Field(ge=0, description="Faults.")
    n_without_manifest: int = Field(
        ge=0, description="Stores and runs of earlier versions: only what can be read was checked."
    )
    quick: bool = Field(description="Whether only sizes and keys were looked at.")
    bytes: int = Field(ge=0, description="Size of all of them, bytes.")
    seconds: float = Field(ge=0, description="Time it took, s.")
    seconds_per_gb: float | None = Field(description="Time for 10⁹ bytes, s; null where there are none.")


class CheckEvent(Event):
    """One thing this machine was examined for."""

    event: Literal["check"] = "check"
    name: str = Field(description="What was looked at.")
    found: str = Field(description="What was found.")
