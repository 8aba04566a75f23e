"""The trial store: what `pipeline run ingest` writes for one session and every other stage reads.

A store is a zarr v3 directory. Its group ``trials`` holds the windows cut at an event, ``continuous`` the
whole binned session they were cut from: trial ``k`` is bins ``start_bin[k]`` to ``start_bin[k] + n_bins``.
``events`` lists every row of the trial table or reach, with the reason of those that became no trial.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from nwb_latents.schemas.base import Frozen, Record
from nwb_latents.schemas.quality import SessionQuality
from nwb_latents.schemas.recipe import IngestRecipe

if TYPE_CHECKING:
    from collections.abc import Iterable

STORE_SCHEMA_VERSION = 2
"""Raised when arrays, names or units of a store change."""

TRANSFORM_VERSION = 3
"""Raised when the same recipe gives other numbers than before."""

Split = Literal["train", "val", "test"]

NO_SPLIT = "none"
"""What a trial says that is neither fitted nor scored."""

Verification = Literal["digest", "connection", "none"]
"""What the bytes a store was made of were held against.

``digest``: the SHA-256 of the whole file. ``connection``: nothing, but they came over https, on which none is
changed unnoticed. ``none``: nothing; they were streamed over plain http.
"""


class ArraySpec(Frozen):
    """One array of a store group."""

    dims: tuple[str, ...] = Field(description="Names of the dimensions, in order.")
    kinds: str = Field(description="Allowed numpy dtype kinds: u, i, f, b, O or T (strings).")
    units: str = Field("", description="Unit of the values, as written into the array's attributes.")
    nullable: bool = Field(False, description="Whether NaN is allowed.")
    optional: bool = Field(False, description="Whether a store may be without the array.")
    description: str = Field(description="What the values are.")


TRIALS_ARRAYS: dict[str, ArraySpec] = {
    "counts": ArraySpec(
        dims=("trial", "time", "unit"), kinds="u", units="spikes", description="Spikes per bin"
    ),
    "rates": ArraySpec(
        dims=("trial", "time", "unit"), kinds="f", units="Hz", description="Gaussian-smoothed firing rate"
    ),
    "position": ArraySpec(
        dims=("trial", "time", "axis"),
        kinds="f",
        units="cm",
        nullable=True,
        description="Hand or cursor position at the bin centre; NaN where not recorded",
    ),
    "velocity": ArraySpec(
        dims=("trial", "time", "axis"),
        kinds="f",
        units="cm/s",
        nullable=True,
        description="Hand or cursor velocity at the bin centre; NaN where not recorded",
    ),
    "time": ArraySpec(
        dims=("time",),
        kinds="f",
        units="s",
        description="Left edge of the bin, from the bin that holds the event",
    ),
    "trial": ArraySpec(
        dims=("trial",), kinds="i", description="Row in the file's trial table, or reach number"
    ),
    "unit": ArraySpec(dims=("unit",), kinds="i", description="Unit id in the NWB file"),
    "axis": ArraySpec(dims=("axis",), kinds="OT", description="Axis of the kinematics"),
    "start_bin": ArraySpec(
        dims=("trial",), kinds="i", description="First bin of the trial in the continuous group"
    ),
    "event_time": ArraySpec(
        dims=("trial",), kinds="f", units="s", description="Time of the aligning event in the session"
    ),
    "event_offset": ArraySpec(
        dims=("trial",),
        kinds="f",
        units="s",
        description="Event time minus the left edge of the bin that holds it; in [0, bin_size_s). With "
        "window_from next_edge: of the bin that time zero is; in (-bin_size_s, bin_size_s)",
    ),
    "go_cue": ArraySpec(
        dims=("trial",), kinds="f", units="s", nullable=True, description="Time of the go cue"
    ),
    "target_on": ArraySpec(
        dims=("trial",), kinds="f", units="s", nullable=True, description="Time the target came on"
    ),
    "move_onset": ArraySpec(
        dims=("trial",), kinds="f", units="s", nullable=True, description="Time of movement onset"
    ),
    "peak_time": ArraySpec(
        dims=("trial",), kinds="f", units="s", nullable=True, description="Time of peak speed"
    ),
    "peak_speed": ArraySpec(
        dims=("trial",), kinds="f", units="cm/s", nullable=True, description="Peak speed of the movement"
    ),
    "reaction_time": ArraySpec(
        dims=("trial",), kinds="f", units="s", nullable=True, description="Movement onset minus go cue"
    ),
    "onset_quality": ArraySpec(
        dims=("trial",),
        kinds="OT",
        description="How the onset was found: column, ok, slow_rise, several_peaks, unobserved, no_movement, "
        "no_crossing, no_column_value; chop for a window of continuous time",
    ),
    "target_dir": ArraySpec(
        dims=("trial",), kinds="f", units="rad", nullable=True, description="Direction of the target or reach"
    ),
    "condition": ArraySpec(dims=("trial",), kinds="OT", description="Condition the split is stratified by"),
    "split": ArraySpec(
        dims=("trial",),
        kinds="OT",
        description="train, val or test; none where a trial is neither fitted nor scored",
    ),
    "area": ArraySpec(dims=("unit",), kinds="OT", description="Brain area or electrode group of the unit"),
    "mean_rate": ArraySpec(
        dims=("unit",), kinds="f", units="Hz", description="Mean firing rate over the observed time"
    ),
    "heldout": ArraySpec(dims=("unit",), kinds="b", description="Unit held out for co-smoothing"),
    "jitter_bins": ArraySpec(
        dims=("trial",),
        kinds="i",
        optional=True,
        description="Bins by which the window was moved to later times; only where the recipe moves windows",
    ),
    "external": ArraySpec(
        dims=("trial", "time", "input"),
        kinds="f",
        optional=True,
        description="Known inputs of the task, as imported; only where there are any",
    ),
    "true_rates": ArraySpec(
        dims=("trial", "time", "unit"),
        kinds="f",
        units="Hz",
        optional=True,
        nullable=True,
        description="Rates the spikes were simulated from, as imported; only where they are known",
    ),
    "imported_rates": ArraySpec(
        dims=("trial", "time", "unit"),
        kinds="f",
        units="Hz",
        optional=True,
        description="Rates a model of another program made of the trials; only where some were imported",
    ),
}
"""Arrays of the ``trials`` group; those that are not optional are always there.

A recipe's ``extra_splits`` add one coordinate ``split_NAME`` each, its ``trial_columns`` one ``column_NAME``
(see `specs_of`).
"""

CONTINUOUS_ARRAYS: dict[str, ArraySpec] = {
    "counts": ArraySpec(dims=("time", "unit"), kinds="u", units="spikes", description="Spikes per bin"),
    "rates": ArraySpec(
        dims=("time", "unit"),
        kinds="f",
        units="Hz",
        nullable=True,
        description="Gaussian-smoothed firing rate; NaN where not observed",
    ),
    "position": TRIALS_ARRAYS["position"].model_copy(update={"dims": ("time", "axis")}),
    "velocity": TRIALS_ARRAYS["velocity"].model_copy(update={"dims": ("time", "axis")}),
    "external": TRIALS_ARRAYS["external"].model_copy(update={"dims": ("time", "input"), "nullable": True}),
    "true_rates": TRIALS_ARRAYS["true_rates"].model_copy(update={"dims": ("time", "unit"), "nullable": True}),
    "imported_rates": TRIALS_ARRAYS["imported_rates"].model_copy(
        update={"dims": ("time", "unit"), "nullable": True}
    ),
    "psth_counts": ArraySpec(
        dims=("time", "unit"),
        kinds="f",
        units="spikes",
        nullable=True,
        optional=True,
        description="Spikes smoothed in bins of 1 ms, summed per bin; NaN where not recorded. Only where the "
        "recipe asks for it (psth_sigma_s)",
    ),
    "observed": ArraySpec(dims=("time",), kinds="b", description="Whether the whole bin was recorded"),
    "outlier": ArraySpec(
        dims=("time",),
        kinds="b",
        optional=True,
        description="Whether the bin lies at a kinematic outlier",
    ),
    "time": ArraySpec(
        dims=("time",), kinds="f", units="s", description="Left edge of the bin in the session"
    ),
    "unit": TRIALS_ARRAYS["unit"],
    "axis": TRIALS_ARRAYS["axis"],
}
"""Arrays of the ``continuous`` group."""


def _of_candidates(name: str) -> ArraySpec:
    return TRIALS_ARRAYS[name].model_copy(update={"dims": ("candidate",)})


def _event(description: str) -> ArraySpec:
    return ArraySpec(dims=("candidate",), kinds="f", units="s", nullable=True, description=description)


EVENTS_ARRAYS: dict[str, ArraySpec] = {
    "row": ArraySpec(
        dims=("candidate",), kinds="i", description="Row in the file's trial table, or reach number"
    ),
    "trial_start": _event("Start of the trial"),
    "trial_stop": _event("End of the trial"),
    **{
        name: _of_candidates(name)
        for name in (
            "target_on",
            "go_cue",
            "move_onset",
            "peak_time",
            "peak_speed",
            "target_dir",
            "onset_quality",
            "condition",
        )
    },
    "success": ArraySpec(
        dims=("candidate",), kinds="b", description="Whether the file marks the trial as successful"
    ),
    "valid": ArraySpec(
        dims=("candidate",), kinds="b", description="False where the file says not to use the trial"
    ),
    "is_reach": ArraySpec(
        dims=("candidate",), kinds="b", description="Reach found from the speed, not a row of a trial table"
    ),
    "split_hint": ArraySpec(
        dims=("candidate",), kinds="OT", description="Split the file prescribes; empty where it does not"
    ),
    "reason": ArraySpec(
        dims=("candidate",), kinds="OT", description="Why it became no trial; empty for one that did"
    ),
}
"""Arrays of the ``events`` group: what may become a trial."""

GROUP_ARRAYS: dict[str, dict[str, ArraySpec]] = {
    "trials": TRIALS_ARRAYS,
    "continuous": CONTINUOUS_ARRAYS,
    "events": EVENTS_ARRAYS,
}
"""Arrays of each group of a store."""


COLUMN = "column_"
"""Beginning of the names of what was kept of the file's trial table."""

OF_ROWS = {"trials": "trial", "events": "candidate"}
"""Groups that keep columns of the trial table, and the dimension they lie along."""


def specs_of(group: str, names: Iterable[str]) -> dict[str, ArraySpec]:
    """Return the arrays a group with the arrays `names` has to have, and those of them it may have.

    Examples
    --------
    >>> "outlier" in specs_of("continuous", ["counts"])
    False
    >>> specs_of("trials", ["split_b"])["split_b"].dims
    ('trial',)
    """
    present = list(names)
    known = GROUP_ARRAYS[group]
    specs = {name: spec for name, spec in known.items() if not spec.optional or name in present}
    if group == "trials":
        split = TRIALS_ARRAYS["split"]
        specs |= {name: split for name in present if name.startswith("split_")}
    if group in OF_ROWS:
        column = ArraySpec(
            dims=(OF_ROWS[group],), kinds="f", nullable=True, description="Column of the file's trial table"
        )
        specs |= {name: column for name in present if name.startswith(COLUMN)}
    return specs


def unit_in(units: str, kinematics_unit: str) -> str:
    """Return the unit of an array of a session whose kinematics are in another unit than cm.

    Examples
    --------
    >>> unit_in("cm/s", "degrees"), unit_in("cm", "cm"), unit_in("Hz", "degrees")
    ('degrees/s', 'cm', 'Hz')
    """
    return kinematics_unit + units.removeprefix("cm") if units in {"cm", "cm/s"} else units


class ReadChoice(Frozen):
    """What a part of a recording was read from, and why."""

    what: str = Field(description="Part of the recording, e.g. layout, position, go_cue, success, condition.")
    value: str = Field(description="What it was read from, e.g. a path or a column of the file.")
    why: str = Field(description="Why that.")


class Provenance(Frozen):
    """Where the numbers of a store come from."""

    source: str = Field(description="File name or archive path of the NWB file.")
    asset_digest: str = Field(description="SHA-256 of the NWB file, as 'sha256:<hex>'.")
    dandiset: str | None = Field(None, description="Dandiset id.")
    dandiset_version: str | None = Field(None, description="Version of the dandiset.")
    asset_id: str | None = Field(None, description="Asset id in the archive.")
    archive: str | None = Field(None, description="Address of the archive; none: no archive, or not known.")
    verification: Verification | None = Field(
        None,
        description="What the bytes were held against: digest (SHA-256 of the whole file), connection "
        "(streamed over https), none (streamed over plain http: a later download replaces the store); not "
        "there: not known.",
    )
    identifier: str = Field("", description="NWB's identifier of the recording; empty: the file states none.")
    session_start: str = Field(
        "", description="When the recording began, as the file states it, ISO 8601; empty: it does not."
    )
    layout: str = Field(description="Layout adapter that read the file.")
    position_series: str | None = Field(None, description="Path of the series the position was read from.")
    velocity_series: str | None = Field(
        None, description="Path of the series the velocity was read from; none: derived from the position."
    )
    species: str | None = Field(None, description="Species of the subject, where the file states it.")
    sex: str | None = Field(None, description="Sex of the subject, where the file states it.")
    age: str | None = Field(
        None, description="Age of the subject, ISO 8601 duration since birth, where the file states it."
    )
    warnings: tuple[str, ...] = Field((), description="What the reader found odd in the file.")
    choices: tuple[ReadChoice, ...] = Field((), description="What was read from where, and why.")
    packages: dict[str, str] = Field(default_factory=dict, description="Versions of the packages that ran.")


class DropCounts(Frozen):
    """How many units and trials were left out, and why."""

    units: dict[str, int] = Field(default_factory=dict, description="Reason → number of units.")
    trials: dict[str, int] = Field(default_factory=dict, description="Reason → number of trials.")


class StoreAttributes(Record):
    """Attributes of a trial store's groups."""

    schema_version: int = Field(STORE_SCHEMA_VERSION, description="Version of this description.")
    transform_version: int = Field(TRANSFORM_VERSION, description="Version of the signal processing.")
    store_key: str = Field(description="Hash of asset digest, recipe, schema and transform version.")
    session: str = Field(description="Session id.")
    subject: str = Field(description="Subject id.")
    task: str = Field(description="Task, e.g. CO, RT, maze; 'unknown' where the file does not say.")
    bin_size_s: float = Field(description="Width of a bin, s.")
    n_event_bins: int = Field(description="Bins of a trial before the one that holds the event.")
    kinematics_unit: str = Field(
        "cm", description="Unit of the position: cm, or what is no length: pixels, degrees …"
    )
    recipe: IngestRecipe = Field(description="The recipe the store was made by.")
    provenance: Provenance = Field(description="Where the numbers come from.")
    dropped: DropCounts = Field(description="What was left out, by reason.")
    quality: SessionQuality | None = Field(None, description="What was measured of the session.")

    @classmethod
    def brought_up(cls, content: dict[str, Any], version: int) -> dict[str, Any]:
        """Return the attributes as they are: their version is also that of the arrays, which stay."""
        del version
        return content
