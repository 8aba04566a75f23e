"""Events of work that is done: what was planned, how far it is, what came of it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field

from nwb_latents.schemas.base import Found
from nwb_latents.schemas.events.base import Event, require_kind
from nwb_latents.schemas.events.kept_measurement import KeptMeasurement

Setting = str | int | float | bool | list[Any] | None


class NoteEvent(Event):
    """A sentence for whoever reads along: what was left out, guessed or replaced, and what was started."""

    event: Literal["note"] = "note"
    text: str = Field(description="The sentence.")
    stage: str | None = Field(None, description="Stage that says it.")
    session: str | None = Field(None, description="Session it is about.")
    run: str | None = Field(None, description="Run it is about.")
    status: str | None = Field(None, description="What became of it, e.g. left out.")
    reason: str | None = Field(None, description="Why.")


class PlanEvent(Event):
    """What an ingest is about to do, estimated."""

    event: Literal["plan"] = "plan"
    stage: Literal["ingest"] = Field("ingest", description="Stage.")
    n_sessions: int = Field(ge=0, description="Files.")
    bytes: int = Field(ge=0, description="Size of all files, bytes.")
    seconds: float = Field(ge=0, description="Estimated work of one core for all of them, s.")
    memory_bytes: int = Field(ge=0, description="Estimated peak of the largest one, bytes.")
    recipe: str = Field(description="Recipe of the stores.")
    stores: str = Field(description="Where the stores lie.")
    dandiset: str | None = Field(None, description="Dandiset the files are of.")
    version: str | None = Field(None, description="Its version that is taken.")
    version_from: Literal["asked", "pinned", "latest"] | None = Field(
        None, description="Why this version: asked for, pinned in the catalog, or the latest published one."
    )
    archive: str | None = Field(None, description="Archive it is in, by the address of its interface.")


class PlannedEvent(Event):
    """One file of a plan (``--dry-run``)."""

    event: Literal["planned"] = "planned"
    session: str = Field(description="Session id, as far as the name of the file tells.")
    source: str = Field(description="The file.")
    bytes: int = Field(ge=0, description="Its size, bytes.")
    memory_bytes: int = Field(ge=0, description="Estimated peak of its ingest, bytes.")
    seconds: float = Field(ge=0, description="Estimated work of one core, s.")
    in_catalog: bool = Field(description="Whether its session is in the catalog.")


class StudyPlanEvent(Event):
    """What a study is about to do, and what it will cost if no training stops early."""

    event: Literal["study_plan"] = "study_plan"
    study: str = Field(description="Name of the study.")
    groups: dict[str, int] = Field(description="Group → number of its sessions.")
    n_runs: int = Field(ge=0, description="Trainings.")
    n_runs_there: int = Field(ge=0, description="Of these, complete in the catalog.")
    n_alignments: int = Field(ge=0, description="Alignments.")
    n_from_scratch: int = Field(ge=0, description="Trainings on a few trials beside them.")
    seconds: float | None = Field(
        None,
        ge=0,
        description="Estimated time of what is missing, one run after the other, s; none: not estimated.",
    )
    memory_bytes: int | None = Field(None, ge=0, description="Estimated peak of the largest training, bytes.")
    gpu_hours: float | None = Field(None, ge=0, description="Hours on a GPU; none: there is none here.")


class FactorEvent(Event):
    """One level of a factor of a study: what it is worth over everything else, seeds as spread."""

    event: Literal["factor"] = "factor"
    study: str = Field(description="Name of the study.")
    factor: str = Field(description="Name of the factor.")
    level: str = Field(description="The level.")
    setting: str = Field(description="What was done with the runs, e.g. aligned to new_days.")
    metric: str = Field(description="Column of the leaderboard.")
    value: float = Field(description="Mean over seeds of the mean over runs and sessions.")
    seed_sd: float | None = Field(None, description="Standard deviation over seeds; none: a single one.")
    n_seeds: int = Field(ge=1, description="Seeds.")
    n_sessions: int = Field(ge=1, description="Sessions.")


class RetryEvent(Event):
    """An attempt failed, and another one follows."""

    event: Literal["retry"] = "retry"
    session: str = Field(description="Session id.")
    source: str = Field(description="The file.")
    attempt: int = Field(ge=1, description="The attempt that failed, from 1.")
    host: str = Field(description="Machine it failed on.")
    reason: str = Field(description="Why.")


class SessionEvent(Event):
    """What a stage made of one session."""

    event: Literal["session"] = "session"
    session: str = Field(description="Session id.")
    status: Literal["done", "skipped", "unselected", "failed", "ok", "damaged"] = Field(
        description="skipped: up to date; unselected: not asked for; ok, damaged: of catalog verify."
    )
    store: str | None = Field(None, description="Its store, as in the catalog.")
    n_trials: int | None = Field(None, ge=0, description="Trials.")
    n_units: int | None = Field(None, ge=0, description="Units.")
    seconds: float | None = Field(None, ge=0, description="Time it took, s.")
    reason: str = Field("", description="Why it was skipped or failed; empty: nothing to say.")
    source: str | None = Field(None, description="File it comes from.")
    format: str | None = Field(None, description="Of an export: the format.")
    group: str | None = Field(None, description="Of a submission: its group in the file.")
    path: str | None = Field(None, description="Of an export: the file written.")
    done: int | None = Field(None, ge=0, description="Of a simulation: sessions written so far.")
    total: int | None = Field(None, ge=0, description="Of a simulation: sessions in all.")


class RunEvent(Event):
    """What a stage made of one run."""

    event: Literal["run"] = "run"
    run: str = Field(description="Name of the run.")
    model: str | None = Field(None, description="Name of the model.")
    path: str | None = Field(None, description="Run directory, relative to the catalog.")
    steps: int | None = Field(None, ge=0, description="Training steps taken.")
    metrics: dict[str, float | None] = Field(default_factory=dict, description="Its metrics in training.")
    status: Literal["done", "skipped", "failed", "ok", "damaged"] = Field(
        description="skipped: up to date; ok, damaged: of catalog verify."
    )
    reason: str = Field("", description="Why it failed; empty: nothing to say.")
    session: str | None = Field(None, description="Session it was aligned to, or that failed with it.")
    parent: str | None = Field(None, description="Of an alignment: the run it was made of.")
    n_trials: int | None = Field(None, ge=1, description="Of an alignment: trials of the new session.")
    seed: int | None = Field(None, description="Of an alignment: its seed.")
    from_scratch: bool | None = Field(None, description="Of an alignment: whether it is the baseline.")
    strategy: str | None = Field(None, description="Of a sweep: how it searched.")


class GenerationEvent(Event):
    """One generation of a sweep."""

    event: Literal["generation"] = "generation"
    run: str = Field(description="Run the sweep makes.")
    generation: int = Field(ge=1, description="The generation, from 1.")
    generations: int = Field(ge=1, description="Generations at most.")
    step: int = Field(ge=0, description="Training steps of its longest member.")
    member: int = Field(ge=0, description="Its best member.")
    metric: str = Field(description="What members are compared by; less is better.")
    value: float | None = Field(description="Of the best member.")
    best_value: float | None = Field(description="The lowest of all generations.")
    best_generation: int = Field(ge=1, description="The generation it was in.")
    copied: int = Field(ge=0, description="Members that went on from another one.")
    diverged: int = Field(ge=0, description="Members without a value.")
    values: dict[str, Setting] = Field(description="Settings of the best member that are searched.")
    stopped: str | None = Field(description="Why the sweep ends here; null: it goes on.")


class SourceEvent(Event):
    """A source of rates, a signal or a baseline, that is not measured."""

    event: Literal["source"] = "source"
    source: str = Field(description="Its name.")
    session: str | None = Field(None, description="Session; left out: all of them.")
    status: Literal["skipped", "failed"] = Field(description="What became of it.")
    reason: str = Field("", description="Why.")


class MetricEvent(Event):
    """A metric that failed by itself, while the other metrics of the source were measured."""

    event: Literal["metric"] = "metric"
    metric: str = Field(description="Its name.")
    source: str | None = Field(None, description="Run or baseline; left out: all of them.")
    session: str | None = Field(None, description="Session; left out: all of them.")
    status: Literal["failed"] = Field("failed", description="What became of it.")
    reason: str = Field("", description="Why.")


class DecoderEvent(Event):
    """A decoder that failed by itself, while the other decoders of the session were used."""

    event: Literal["decoder"] = "decoder"
    decoder: str = Field(description="Its name.")
    session: str = Field(description="Session.")
    status: Literal["failed"] = Field("failed", description="What became of it.")
    reason: str = Field("", description="Why.")


class MeasurementEvent(KeptMeasurement, Event):
    """One number with its whole protocol."""

    model_config = ConfigDict(extra="allow", frozen=True, json_schema_extra=require_kind)

    event: Literal["measurement"] = "measurement"
    status: Literal["done", "skipped"] = Field("done", description="skipped: measured before.")


class LagEvent(Event):
    """The lag at which a decoder does best on the training trials."""

    event: Literal["lag"] = "lag"
    session: str = Field(description="Session id.")
    decoder: str = Field(description="Name of the decoder.")
    lag_ms: float = Field(description="The lag, ms.")
    value: float | None = Field(description="Its cross-validated R².")


class EmbeddingEvent(Event):
    """Where one session lies in the embedding of a run."""

    event: Literal["embedding"] = "embedding"
    run: str = Field(description="Name of the run.")
    session: str = Field(description="Session id.")
    subject: str = Field(description="Subject.")
    task: str = Field(description="Task.")
    mean: tuple[float | None, ...] = Field(description="Posterior mean, by dimension.")
    variance: tuple[float | None, ...] = Field(description="Posterior variance, by dimension.")
    n_trials: int = Field(ge=0, description="Trials it is inferred from.")


class BoardCell(Found):
    """One metric in a row of a leaderboard."""

    value: float | None = Field(description="Mean over sessions, seeds put together.")
    low: float | None = Field(description="Lower end of its interval.")
    high: float | None = Field(description="Upper end of it.")
    seed_sd: float | None = Field(description="Standard deviation over seeds.")
    n_sessions: int = Field(description="Sessions it is of.")


class RowEvent(Event):
    """One row of a leaderboard."""

    event: Literal["row"] = "row"
    dandiset: str = Field(description="Dandiset of the sessions, or files.")
    recipe_id: str = Field(description="Recipe of the stores.")
    phase: str = Field(description="Trials scored.")
    n_sessions: int = Field(description="Sessions of the board.")
    level: float = Field(description="Share of resamples the intervals hold.")
    rank: int = Field(ge=1, description="Place, from 1.")
    label: str = Field(description="What it is called.")
    is_baseline: bool = Field(description="Whether it is a baseline.")
    sources: tuple[str, ...] = Field(description="Runs, or the baseline, in it.")
    n_seeds: int = Field(default=1, ge=1, description="Runs in it that share a session.")
    told: tuple[str, ...] = Field(
        default=(), description="What it is told of the trials, beside the spikes it may see; empty: nothing."
    )
    only_forecasts: bool = Field(default=False, description="Whether it has numbers of forecasts alone.")
    metrics: dict[str, BoardCell] = Field(description="Metric → cell.")
    protocol: dict[str, str] = Field(
        default={},
        description="Metric → what was fitted on what, which rows have which, lag, bins seen and forecast; "
        "the same for all rows of a board. Metrics of which there is nothing to say are left out.",
    )


class SubmissionEvent(Event):
    """A submission to the Neural Latents Benchmark."""

    event: Literal["submission"] = "submission"
    run: str = Field(description="Run whose rates it holds.")
    status: Literal["done", "skipped"] = Field(description="skipped: up to date.")
    path: str = Field(description="The file.")
    targets: str = Field(description="What it is scored against.")
    sessions: tuple[str, ...] = Field(description="Sessions in it.")


class PageEvent(Event):
    """A report that was written."""

    event: Literal["report"] = "report"
    path: str = Field(description="The page.")
    bytes: int = Field(ge=0, description="Its size, bytes.")
    n_sessions: int = Field(ge=0, description="Stores on it.")
    n_runs: int = Field(ge=0, description="Runs on it.")
    not_drawn: tuple[str, ...] = Field(
        description="Stores and runs without drawings, since the page would be too large."
    )
    n_missing: int = Field(ge=0, description="What it says is missing or damaged.")


class PictureEvent(Event):
    """A picture that was written, or could not be drawn."""

    event: Literal["picture"] = "picture"
    kind: str = Field(description="What it shows: raster, psth, latents …")
    name: str = Field(description="Of what: session, run, or both.")
    status: Literal["done", "failed"] = Field("done", description="Whether it was drawn.")
    paths: tuple[str, ...] = Field((), description="The files, one for each format.")
    reason: str = Field("", description="Why it was not drawn.")


class ProblemEvent(Event):
    """One fault of a submission."""

    event: Literal["problem"] = "problem"
    kind: str = Field(description="What is wrong, in one word.")
    where: str = Field(description="Group or group/dataset; empty: the file.")
    text: str = Field(description="What is wrong, expected against found.")


class ProgressEvent(Event):
    """How far a stage is. `train` and `align` add what is measured on the way, each under its name."""

    model_config = ConfigDict(extra="allow", frozen=True, json_schema_extra=require_kind)
    __pydantic_extra__: dict[str, float | None]
    is_printed = False
    is_frequent = True

    event: Literal["progress"] = "progress"
    stage: str = Field(description="Stage.")
    run: str | None = Field(None, description="Run that is trained.")
    step: int = Field(ge=0, description="Steps done.")
    total: int = Field(ge=0, description="Steps in all.")


class BytesEvent(Event):
    """How much of a file was fetched, or verified where it lies here."""

    is_printed = False
    is_frequent = True

    event: Literal["bytes"] = "bytes"
    stage: Literal["ingest", "inspect"] = Field("ingest", description="Stage.")
    source: str = Field(description="The file.")
    done: int = Field(ge=0, description="Bytes.")
    total: int = Field(ge=0, description="Bytes in all.")


class PhaseEvent(Event):
    """What is done to a session at the moment."""

    is_printed = False

    event: Literal["phase"] = "phase"
    stage: Literal["ingest"] = Field("ingest", description="Stage.")
    source: str = Field(description="The file.")
    session: str = Field(description="Session id.")
    phase: Literal["reading", "binning", "writing"] = Field(description="What.")
