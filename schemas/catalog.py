"""The data catalog: known dandisets, and what the stages have made.

Paths are relative to the folder of the catalog file. Entries are added and replaced, never edited by
hand while a stage runs: every write happens under a file lock and replaces the file whole. What another
version of the program wrote is kept. Numbers that were measured are not here but beside it
(`schemas.measurement`).
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from nwb_latents.schemas.base import Frozen, Record

MAIN_ARCHIVE_URL = "https://api.dandiarchive.org"
"""The archive that is meant where none is said."""

CATALOG_SCHEMA_VERSION = 2
"""Version of the file: 1 held scores and evaluations too."""


class AssetPin(Frozen):
    """One file, or one Zarr, of a draft dandiset, pinned by content."""

    path: str = Field(description="Path in the dandiset.")
    asset_id: str = Field(description="Asset id in the archive.")
    sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$", description="SHA-256 of a file.")
    zarr_checksum: str | None = Field(
        None, pattern="^[0-9a-f]{32}-[0-9]+--[0-9]+$", description="The archive's digest of a Zarr."
    )
    size: int = Field(ge=0, description="Size, bytes.")

    @property
    def content_digest(self) -> str:
        """Whichever of the two digests pins the content."""
        return self.sha256 or self.zarr_checksum or ""

    @model_validator(mode="after")
    def _has_one_digest(self) -> Self:
        if (self.sha256 is None) == (self.zarr_checksum is None):
            raise ValueError("a pin has either a sha256 (of a file) or a zarr_checksum (of a Zarr)")
        return self


class DandisetEntry(Record):
    """A dandiset this project knows how to read."""

    title: str = Field(description="What it holds, in one line.")
    version: str = Field(description="Pinned version; 'draft' only where nothing was published.")
    archive: str = Field(
        MAIN_ARCHIVE_URL, description="Archive it is in, by the address of its interface without /api."
    )
    layout: str = Field(description="Layout adapter of its files.")
    tasks: tuple[str, ...] = Field(description="Tasks in it.")
    citation: str = Field("", description="What to cite.")
    license: str = Field("", description="Licence, SPDX.")
    notes: tuple[str, ...] = Field((), description="Known issues.")
    n_files: int | None = Field(None, ge=0, description="Number of files of the pinned version, if known.")
    n_bytes: int | None = Field(None, ge=0, description="Size of the pinned version, bytes, if known.")
    pins: tuple[AssetPin, ...] = Field((), description="Pinned files (draft dandisets).")


class SessionEntry(Record):
    """One ingested session: a trial store."""

    session: str = Field(description="Session id, e.g. sub-C_ses-CO-20131003.")
    subject: str = Field(description="Subject id.")
    task: str = Field(description="Task.")
    recipe_id: str = Field(description="Recipe the store was made by.")
    store: str = Field(description="Store: a path, relative to the catalog's folder or absolute, or s3://…")
    store_key: str = Field(description="Hash of asset digest, recipe, schema and transform version.")
    dandiset: str | None = Field(None, description="Dandiset id and version, ID@VERSION.")
    archive: str | None = Field(None, description="Archive it is in; none: no archive, or not known.")
    source: str = Field(description="File name or archive path of the NWB file.")
    n_trials: int = Field(ge=0, description="Number of trials.")
    n_units: int = Field(ge=0, description="Number of units kept.")
    n_bins: int = Field(ge=1, description="Bins per trial.")
    bin_size_s: float = Field(gt=0, description="Width of a bin, s.")
    imported_rates: bool = Field(
        default=False,
        description="Whether rates that a model of another program made of its trials came with it.",
    )
    created: str = Field(description="When the store was written, ISO 8601, UTC.")


class Alignment(Frozen):
    """Where a run comes from that few-shot alignment made of another run."""

    parent: str = Field(description="Run it was made of.")
    parent_key: str = Field(description="Hash of that run's settings and stores.")
    n_trials: int = Field(ge=1, description="Trials of the new session it was given.")
    seed: int = Field(ge=0, description="Seed of the choice of trials, initial weights, batches and noise.")
    from_scratch: bool = Field(
        default=False,
        description="Whether it is the baseline: the parent's settings, but nothing of what it learnt.",
    )
    starts: tuple[str, ...] = Field((), description="Where each of its starts began; none: there was one.")
    start_losses: tuple[float | None, ...] = Field(
        (),
        description="Loss of each start on the training trials when one was chosen, nats per trial; none: it "
        "was not finite.",
    )
    kept_start: int | None = Field(None, ge=0, description="The start that was kept, from 0.")


class Imported(Frozen):
    """Where a run comes from that was trained by another program."""

    program: str = Field(description="That program, e.g. lfads-torch.")
    source: str = Field(description="File name of its checkpoint.")
    source_digest: str = Field(description="SHA-256 of that file, as 'sha256:<hex>'.")


class RunEntry(Record):
    """One trained model."""

    run: str = Field(description="Name of the run.")
    model: str = Field(description="Name of the model.")
    path: str = Field(description="Run directory, relative to the catalog.")
    run_key: str = Field(description="Hash of settings, seed and the keys of the stores it was trained on.")
    recipe_id: str = Field(description="Recipe of the stores it was trained on.")
    sessions: tuple[str, ...] = Field(description="Session ids it was trained on.")
    status: Literal["complete"] = Field("complete", description="Only complete runs are entered.")
    steps: int = Field(ge=0, description="Training steps taken.")
    metrics: dict[str, float] = Field(default_factory=dict, description="Final metrics.")
    created: str = Field(description="When the run ended, ISO 8601, UTC.")
    alignment: Alignment | None = Field(None, description="How it was made of another run; none: it was not.")
    imported: Imported | None = Field(None, description="Where it was trained; none: here.")


class Catalog(Record):
    """The whole catalog file."""

    schema_version: int = Field(CATALOG_SCHEMA_VERSION, ge=1, description="Version of this description.")
    dandisets: dict[str, DandisetEntry] = Field(
        default_factory=dict,
        description="Dandiset id → entry; of another archive than the main one, HOST/ID → entry.",
    )
    sessions: dict[str, SessionEntry] = Field(
        default_factory=dict, description="Session id @ recipe id → entry."
    )
    runs: dict[str, RunEntry] = Field(default_factory=dict, description="Run name → entry.")
    unread: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        exclude=True,
        description="Kind → name → entry that this version cannot read, as it stands; it is left like that.",
    )
