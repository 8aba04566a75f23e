"""What a study will cost: a few steps of each training are taken, and timed, on the sessions themselves."""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nwb_latents.pipeline.stages.stage_memory import training_bytes
from nwb_latents.pipeline.stores.location import store_path
from nwb_latents.schemas.align import SEVERAL_STARTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nwb_latents.pipeline.stages.study_plan import PlannedRun
    from nwb_latents.schemas.align import AlignSettings
    from nwb_latents.schemas.catalog import SessionEntry
    from nwb_latents.schemas.training import TrainSettings


@dataclass(frozen=True)
class Cost:
    """What some runs cost.

    Attributes
    ----------
    seconds
        Time of all of them, one after the other, if none stops early, s.
    memory_bytes
        Of the largest.
    gpu_hours
        Hours on a GPU; None where there is none here to tell by.
    """

    seconds: float
    memory_bytes: int
    gpu_hours: float | None


@dataclass(frozen=True)
class _Pace:
    step_s: float
    validation_s: float

    def of(self, steps: int, validate_every: int) -> float:
        return steps * self.step_s + steps // validate_every * self.validation_s


def cost_of(
    catalog_path: Path,
    runs: Sequence[PlannedRun],
    *,
    align: AlignSettings | None,
    n_alignments: int,
    n_from_scratch: int,
) -> Cost:
    """Return what trainings and the alignments of them cost, from a few steps of each kind.

    Parameters
    ----------
    catalog_path
        Catalog file.
    runs
        Trainings; those that differ in their seed alone are timed once.
    align
        Settings of the alignments; None: there are none.
    n_alignments, n_from_scratch
        Alignments, and trainings from scratch beside them, of all runs together.

    Raises
    ------
    PipelineError
        As a training does that cannot begin.
    """
    kinds: dict[str, list[PlannedRun]] = {}
    for run in runs:
        kinds.setdefault(run.training.begun.settings.model_copy(update={"seed": 0}).digest(), []).append(run)
    seconds, memory, of_one = 0.0, 0, []
    for alike in kinds.values():
        settings = alike[0].training.begun.settings
        # Steps of sessions of other groups take as long as there are sessions in a step.
        paces: dict[int, _Pace] = {}
        for run in alike:
            entries = run.training.entries
            n = min(len(entries), settings.batch.sessions_per_step)
            if n not in paces:
                paces[n] = _pace(catalog_path, entries[:n], settings)
            seconds += paces[n].of(settings.max_steps, settings.validate_every)
            memory = max(memory, training_bytes(catalog_path, entries, settings))
        if align is not None and n_alignments + n_from_scratch:
            one = paces.get(1) or _pace(catalog_path, alike[0].training.entries[:1], settings)
            of_one += [one.step_s] * len(alike)
    if of_one and align is not None:
        step_s = statistics.mean(of_one)
        starts = align.starts or SEVERAL_STARTS
        seconds += n_alignments * step_s * (align.max_steps + (starts > 1) * starts * align.start_steps)
        seconds += n_from_scratch * step_s * align.scratch.max_steps
    from nwb_latents.pipeline.training.device import n_gpus  # noqa: PLC0415

    on_gpu = any(run.training.begun.settings.device != "cpu" for run in runs)
    return Cost(seconds, memory, seconds / 3600 if on_gpu and n_gpus() else None)


def _pace(catalog_path: Path, entries: Sequence[SessionEntry], settings: TrainSettings) -> _Pace:
    from nwb_latents.pipeline.training.loop import LOG_EVERY, fit  # noqa: PLC0415
    from nwb_latents.pipeline.training.training_start import begin, training_session  # noqa: PLC0415

    # The first steps are slower, as memory is handed out; the last are those before a validation.
    steps = 3 * LOG_EVERY
    few = settings.model_copy(update={"validate_every": steps, "checkpoint_every": steps, "devices": 1})
    few = few.model_copy(update={"max_steps": max(steps, settings.max_steps)})
    opened = [
        training_session(store_path(catalog_path, entry.store), settings.forward_ms, entry=entry)
        for entry in entries
    ]
    model, feeds = begin(opened, few)
    times: list[float] = []

    def note(step: int, total: int, metrics: dict[str, float]) -> None:
        del step, total, metrics
        times.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        fit(model, feeds, few, Path(folder), progress=note, stop_at=steps)
    plain, last = (later - before for before, later in itertools.pairwise(times))
    return _Pace(plain / LOG_EVERY, max(0.0, last - plain))
