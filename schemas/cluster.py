"""Where work runs, and what is written down of each attempt."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from nwb_latents.schemas.base import Frozen, Record
from nwb_latents.schemas.bounds import MOST_ITEMS
from nwb_latents.schemas.digest import AddedLater


class ClusterSettings(Frozen):
    """Settings of a cluster: what one batch job asks for, and how many jobs there are.

    They concern the batch systems (slurm, pbs, sge, lsf, oar, moab, htcondor); `worker_patience_s` concerns
    every cluster.
    """

    queue: str | None = Field(None, description="Queue or partition; none: the batch system's default.")
    account: str | None = Field(None, description="Account or project that is charged.")
    cores: int = Field(1, ge=1, le=MOST_ITEMS, description="Cores of one job.")
    processes: int | None = Field(
        None,
        ge=1,
        le=MOST_ITEMS,
        description="Worker processes of one job, one session or training each at a time; none: one per "
        "core, and for trainings one with all cores.",
    )
    gpus: Annotated[int, AddedLater(0)] = Field(
        0,
        ge=0,
        le=MOST_ITEMS,
        description="GPUs of one job, for trainings; slurm is asked for them (--gres), elsewhere add the "
        "directive that asks.",
    )
    memory: str | None = Field(
        None,
        description="Memory of one job, e.g. 8GB; none: what the largest session or training is estimated to "
        "need, for each process.",
    )
    walltime: str = Field("01:00:00", description="Time limit of one job, as the batch system writes it.")
    n_jobs: int | None = Field(
        None,
        ge=1,
        le=MOST_ITEMS,
        description="Number of jobs; none: as many as there are tasks, at most 10.",
    )
    adaptive: bool = Field(False, description="Let idle jobs end, and submit jobs again, up to n_jobs.")
    interface: str | None = Field(None, description="Network interface the workers reach the scheduler by.")
    local_directory: str | None = Field(None, description="Scratch folder of the workers.")
    log_directory: str | None = Field(None, description="Folder of the jobs' logs.")
    prologue: tuple[str, ...] = Field((), description="Shell lines before the worker starts.")
    directives: tuple[str, ...] = Field((), description="Further directives of the job script.")
    options: dict[str, str | int | float | bool | list[str] | None] = Field(
        default_factory=dict, description="Further keywords of the dask-jobqueue class of the batch system."
    )
    worker_patience_s: float | None = Field(
        None,
        gt=0,
        description="Give up after so long without any worker, s; none: 300 s, and without limit where jobs "
        "wait in a queue.",
    )

    @field_validator("memory")
    @classmethod
    def _is_bytes(cls, value: str | None) -> str | None:
        number = (value or "1B").upper().removesuffix("B").removesuffix("I").rstrip("KMGTP")
        if not number.strip().replace(".", "", 1).isdigit():
            raise ValueError(f"expected a number of bytes such as 8GB, found {value!r}")
        return value


class Attempt(Record):
    """One line of a ledger: one attempt at one session."""

    time: str = Field(description="When the attempt ended, ISO 8601, UTC.")
    session: str = Field(description="Session id; the one the file's name suggests where it was not read.")
    source: str = Field(description="Path of the asset.")
    recipe_id: str = Field(description="Recipe of the store.")
    status: Literal["done", "skipped", "unselected", "failed"] = Field(description="What became of it.")
    attempt: int = Field(1, ge=1, description="1 for the first attempt of a run; more after retries.")
    reason: str = Field("", description="Why it failed, or was left alone.")
    exit_code: int = Field(0, ge=0, description="Exit code the failure stands for.")
    seconds: float = Field(0.0, ge=0, description="Time taken, s.")
    host: str = Field("", description="Machine it ran on.")
    pid: int | None = Field(None, description="Process it ran in.")
