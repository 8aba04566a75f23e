"""Settings of `pipeline export`: what other programs are handed, and what is noted down of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

from pydantic import Field, model_validator

from nwb_latents.schemas import task
from nwb_latents.schemas.base import Frozen, Record
from nwb_latents.schemas.bounds import MOST_SEED
from nwb_latents.schemas.nlb import NLB_DATASETS

EXPORT_VERSION = 2
"""Version of the exports nlb, lfads and nwb: raised when the same store and settings give another file."""

ORIGIN_VERSION = 1
"""Version of the note beside an exported file."""


class NlbExport(Frozen):
    """Tensors of the Neural Latents Benchmark, one HDF5 file per session."""

    phase: Literal["test", "val", "challenge"] = Field(
        "test",
        description="What is evaluated: 'test' trains on train and val and evaluates test; 'val' trains on "
        "train and evaluates val, and leaves the test trials out of the file; 'challenge' is what the "
        "benchmark scores on its server: it trains on the file's own train and val, and has the held-in "
        "spikes of its test trials alone.",
    )
    split: str | None = Field(
        None, description="Name of one of the recipe's extra_splits; default: the recipe's own split."
    )
    lag_ms: task.LagMs = task.LAG_MS
    forward_ms: task.ForwardMs = task.FORWARD_MS
    heldout_fraction: task.HeldoutFraction = task.HELDOUT_FRACTION
    seed: int = Field(
        0, ge=0, le=MOST_SEED, description="Seed of the draw of held-out units; the session id is mixed in."
    )
    psth: bool = Field(
        True, description="Add the mean activity of each condition, where there are several conditions."
    )
    psth_sigma_ms: task.PsthSigmaMs = task.PSTH_SIGMA_MS
    key: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9._+-]+$",
        description="Name of the HDF5 group, e.g. mc_maze; default: the session id. Bins other than 5 ms add "
        "their width, e.g. mc_maze_20. Under the name of a dataset of the benchmark, lag_ms, forward_ms, "
        "psth and psth_sigma_ms are the dataset's where they are not given.",
    )

    @model_validator(mode="before")
    @classmethod
    def _as_the_dataset_has_it(cls, given: Any) -> Any:
        """Take what is not given from the benchmark's dataset of the key."""
        dataset = NLB_DATASETS.get(str(given.get("key"))) if isinstance(given, Mapping) else None
        return given if dataset is None else {**dataset.export_settings, **given}


class LfadsExport(Frozen):
    """Tensors in the layout of lfads-torch, one HDF5 file per session."""

    split: str | None = Field(
        None, description="Name of one of the recipe's extra_splits; default: the recipe's own split."
    )
    forward_ms: task.ForwardMs = task.NOT_ASKED
    heldout_fraction: task.HeldoutFraction = task.NOT_ASKED
    seed: int = Field(
        0, ge=0, le=MOST_SEED, description="Seed of the draw of held-out units; the session id is mixed in."
    )
    ext_input: Literal["none", "velocity"] = Field(
        "none", description="External input: none, or the hand velocity of the same bins, cm/s."
    )
    truth: Literal["none", "rates"] = Field(
        "none", description="Reference the model's rates are compared with: none, or the smoothed rates, Hz."
    )


class NwbExport(Frozen):
    """Derived NWB file of a session: rates, kinematics, trials and units, without the raw spikes."""

    counts: bool = Field(True, description="Add the spike counts beside the smoothed rates.")
    kinematics: bool = Field(True, description="Add hand position and velocity on the bins.")
    species: str | None = Field(
        None,
        description="Species of the subject, e.g. Macaca mulatta; none: what the source file states, if it "
        "does.",
    )
    sex: Literal["M", "F", "U", "O"] = Field(
        "U", description="Sex of the subject; U: what the source file states, else unknown."
    )
    age: str = Field(
        "P0D/",
        description="Age of the subject, ISO 8601 duration; a range ends in the oldest. P0D/: what the "
        "source file states, else unknown.",
    )
    session_start: datetime | None = Field(
        None,
        description="Start of the recording, ISO 8601 with time zone. Stores do not keep it; without it the "
        "file says 1970-01-01T00:00:00Z and that this is a placeholder.",
    )


class ExportOrigin(Record):
    """What an exported file was made of; lies beside it where the file itself cannot say so."""

    schema_version: int = Field(ORIGIN_VERSION, ge=1, description="Version of this description.")
    export_key: str = Field(description="Key of the file: equal keys mean equal content.")
    export_settings: dict[str, Any] = Field(description="Settings of the export.")
    exporter: str = Field(description="Name of the exporter.")
    distribution: str = Field(description="Distribution the exporter comes from, with its version.")
    session: str = Field(description="Session id.")
    subject: str = Field(description="Subject id.")
    task: str = Field(description="Task.")
    bin_size_s: float = Field(gt=0, description="Width of a bin, s.")
    store_key: str = Field(description="Key of the store.")
    source: str = Field(description="NWB file or asset the store was made from.")
    source_digest: str = Field(description="Digest of that file.")
    dandiset: str = Field(description="Dandiset and version; empty: of none.")
    recipe: dict[str, Any] = Field(description="Recipe of the store.")
    bytes: int = Field(ge=0, description="Size of the file.")
    modified_ns: int = Field(description="When it was last written, ns since 1970.")
    sha256: str = Field(description="SHA-256 of its content.")
