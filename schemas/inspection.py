"""What is in one recording, and what an ingest would make of it: the record of ``pipeline inspect``."""

from __future__ import annotations

from pydantic import Field

from nwb_latents.schemas.base import Found, Record
from nwb_latents.schemas.store import DropCounts, ReadChoice


class SeriesFacts(Found):
    """One time series of a file. Range, gaps and missing samples are none where its data were not read."""

    path: str = Field(description="Path in the file.")
    kind: str = Field(description="Its type, e.g. SpatialSeries.")
    shape: tuple[int, ...] = Field(description="Shape of its data.")
    unit: str = Field("", description="Unit of its values, as the file says.")
    conversion: float | None = Field(None, description="Factor to that unit, as the file says.")
    rate_hz: float | None = Field(None, description="Samples per second; of time stamps, by their median.")
    start_s: float | None = Field(None, description="Time of the first sample, s.")
    stop_s: float | None = Field(None, description="Time of the last sample, s.")
    low: float | None = Field(None, description="Least value, as stored.")
    high: float | None = Field(None, description="Greatest value, as stored.")
    n_missing: int | None = Field(None, ge=0, description="Values that are not finite.")
    n_gaps: int | None = Field(None, ge=0, description="Steps longer than 1.5 of the usual ones.")
    longest_gap_s: float | None = Field(None, description="The longest of them, s.")
    problem: str = Field("", description="What cannot be read.")


class ColumnFacts(Found):
    """One column of a table."""

    name: str = Field(description="Its name.")
    kind: str = Field(description="number, bool, text, or other.")
    is_ragged: bool = Field(False, description="Whether rows have numbers of values of their own.")
    shape: tuple[int, ...] = Field((), description="Shape of its data.")
    n_missing: int | None = Field(None, ge=0, description="Values that are missing; none: not read.")
    examples: tuple[str, ...] = Field((), description="Some of its values.")
    counts: dict[str, int] = Field(default_factory=dict, description="Value → rows, of a few values only.")
    problem: str = Field("", description="What cannot be read.")


class TableFacts(Found):
    """One table of a file."""

    path: str = Field(description="Path in the file.")
    n_rows: int | None = Field(None, ge=0, description="Rows; none: not known.")
    columns: tuple[ColumnFacts, ...] = Field((), description="Its columns.")
    problem: str = Field("", description="What is wrong with it as a whole.")


class UnitFacts(Found):
    """The units of a file, before any is left out."""

    n_units: int = Field(0, ge=0, description="Units.")
    n_spikes: int = Field(0, ge=0, description="Spikes of all.")
    first_s: float | None = Field(None, description="Time of the first spike, s.")
    last_s: float | None = Field(None, description="Time of the last spike, s.")
    least_hz: float | None = Field(None, description="Rate of the slowest unit over the observed time, Hz.")
    median_hz: float | None = Field(None, description="Median over units, Hz.")
    most_hz: float | None = Field(None, description="Rate of the fastest unit, Hz.")
    areas: dict[str, int] = Field(default_factory=dict, description="Area or electrode group → units.")
    n_observed: int | None = Field(None, ge=0, description="Intervals in which all were observed.")
    observed_s: float | None = Field(None, ge=0, description="Time in them, s.")
    problem: str = Field("", description="What cannot be read.")


class WouldBe(Found):
    """What an ingest would make of a file."""

    layout: str = Field(description="Layout adapter that reads it.")
    task: str = Field(description="Task.")
    axes: tuple[str, ...] = Field(description="Axes of the kinematics.")
    kinematics_unit: str = Field(description="Unit of the position.")
    bin_size_s: float = Field(gt=0, description="Width of a bin, s.")
    n_bins: int = Field(ge=1, description="Bins of a trial.")
    n_trials: int = Field(ge=0, description="Trials of the store.")
    n_units: int = Field(ge=0, description="Units of the store.")
    dropped: DropCounts = Field(description="What would be left out, by reason.")
    conditions: dict[str, int] = Field(default_factory=dict, description="Condition → trials.")
    onset_quality: dict[str, int] = Field(default_factory=dict, description="How onsets were found → trials.")
    reaction_time_s: float | None = Field(None, description="Median reaction time, s.")
    peak_speed: float | None = Field(None, description="Median peak speed, in kinematics_unit per second.")
    decodability: float | None = Field(None, description="Cross-validated R² of velocity from the rates.")
    flags: tuple[str, ...] = Field((), description="What may be wrong with the session.")


class Inspection(Record):
    """What is in one recording, and what an ingest would make of it."""

    session: str = Field(description="Session id.")
    subject: str = Field("", description="Subject id.")
    source: str = Field(description="The file.")
    size: int = Field(ge=0, description="Size of the file, bytes.")
    dandiset: str | None = Field(None, description="Dandiset id.")
    dandiset_version: str | None = Field(None, description="Version of the dandiset.")
    is_open: bool = Field(True, description="Whether it could be opened; if not, only the refusal is told.")
    facts: dict[str, str] = Field(default_factory=dict, description="What the file says of itself.")
    series: tuple[SeriesFacts, ...] = Field((), description="Its time series.")
    tables: tuple[TableFacts, ...] = Field((), description="Its tables.")
    units: UnitFacts = Field(default_factory=UnitFacts, description="Its units.")
    invalid_times: tuple[tuple[float, float], ...] = Field((), description="Intervals it calls invalid, s.")
    choices: tuple[ReadChoice, ...] = Field((), description="What would be read from where, and why.")
    doubtful: tuple[str, ...] = Field((), description="What would be ignored, guessed or repaired.")
    would_be: WouldBe | None = Field(None, description="What an ingest would make; none: it refuses.")
    refusal: str = Field("", description="Why an ingest refuses the file, and what mends it.")
    recipe: str = Field("", description="YAML of a recipe that says every choice: it gives the same.")
