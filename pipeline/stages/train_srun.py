"""A training on the tasks of ``srun``: the first one is told to, the others are told by it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nwb_latents.pipeline.errors import MachineError, PipelineError
from nwb_latents.pipeline.stages.report import Report, ignore
from nwb_latents.pipeline.stages.train_model import Trained, train_model
from nwb_latents.pipeline.stores.location import StoreLocation
from nwb_latents.pipeline.training.device import gpus_for
from nwb_latents.pipeline.training.run_port import free_port
from nwb_latents.pipeline.training.srun_tasks import Meeting, srun_rank
from nwb_latents.schemas.catalog import RunEntry
from nwb_latents.schemas.training import TrainSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def train_first(
    meeting: Meeting,
    stores: Sequence[StoreLocation],
    settings: TrainSettings,
    run_dir: Path,
    *,
    force: bool,
    room: int | None,
    report: Report,
) -> Trained:
    """Train as the first task, and tell the others what to train.

    Raises
    ------
    DataError, SettingsError, MachineError
        As `train_model`.
    """
    job = {
        "settings": settings.model_dump(mode="json"),
        "stores": [str(each) for each in stores],
        "run_dir": str(run_dir.absolute()),
        "force": force,
        "room": room,
        "port": free_port(meeting.rank.address),
    }
    meeting.tell("job", job)
    return _train(meeting, job, report=report)


def _follow(meeting: Meeting) -> RunEntry:
    """Train what the first task tells, and end as it ends.

    Returns
    -------
    entry
        The run as the first task has entered it.

    Raises
    ------
    MachineError
        If the first task has failed or is gone.
    """
    kind, told = meeting.hear("job", "entry", "failed")
    if kind == "job":
        _train(meeting, told, report=ignore)
        kind, told = meeting.hear("entry", "failed")
    meeting.part()
    if kind == "failed":
        rank = meeting.rank
        raise MachineError(f"task {rank.number + 1} of {rank.of}: ended, since the first task failed: {told}")
    return RunEntry.model_validate(told)


def with_tasks(devices: int, do: Callable[[Meeting | None], RunEntry]) -> RunEntry:
    """Do the work of a stage in the first task of ``srun``, and have the others follow it.

    Parameters
    ----------
    devices
        Devices asked for.
    do
        What the first task does, or this process where srun has not started several.

    Raises
    ------
    SettingsError
        If there are more or fewer tasks than devices.
    MachineError
        If a task is gone.
    """
    rank = srun_rank(devices)
    if rank is None:
        return do(None)
    meeting = Meeting(rank)
    if not rank.is_first:
        return _follow(meeting)
    try:
        entry = do(meeting)
    except BaseException as error:
        text = str(error) if isinstance(error, PipelineError) else type(error).__name__
        _end(meeting, "failed", text)
        raise
    _end(meeting, "entry", entry.model_dump(mode="json"))
    return entry


def _end(meeting: Meeting, kind: str, content: object) -> None:
    meeting.tell(kind, content)
    meeting.part()


def _train(meeting: Meeting, job: dict[str, Any], *, report: Report) -> Trained:
    settings = TrainSettings.model_validate(job["settings"])
    there, on_node = gpus_for(settings.device), meeting.rank.on_node
    if there is not None and there < on_node:
        raise MachineError(
            f"devices: srun has started {on_node} tasks on this machine, and each sees {there} GPU"
            f"{'s' * (there > 1)}. Let every task see all of them (srun --gpus-per-node={on_node} "
            "--gpu-bind=none)."
        )
    return train_model(
        [StoreLocation.parse(each) for each in job["stores"]],
        settings,
        Path(job["run_dir"]),
        force=job["force"],
        room=job["room"],
        report=report,
        rank=replace(meeting.rank, port=job["port"]),
    )
