"""What a search leaves: its best member as a run like any other, the history of the search beside it."""

from __future__ import annotations

import csv
import io
import shutil
from typing import TYPE_CHECKING

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.stages.run_entries import final_metrics, now
from nwb_latents.pipeline.stages.stage_work import StageWork
from nwb_latents.pipeline.stores.atomic import machine_error, write_bytes, write_text
from nwb_latents.pipeline.stores.plain_files import read_file
from nwb_latents.schemas.catalog import RunEntry
from nwb_latents.schemas.sweep import SweepSettings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from nwb_latents.schemas.pictures import PictureSettings
    from nwb_latents.schemas.sweep import MemberRecord, SweepState

STATE, TABLE, PICTURE, MEMBERS = "sweep.json", "sweep.csv", "sweep.png", "members"

Work = StageWork[SweepSettings, RunEntry]


def member_folder(run_dir: Path, generation: int, member: int) -> Path:
    """Return where one generation of a member is trained."""
    return run_dir / MEMBERS / f"generation-{generation:04d}" / f"member-{member:03d}"


def register_best(work: Work, state: SweepState, run_dir: Path) -> RunEntry:
    """Make the best member the run, the history of the search beside it; ``run.json`` comes last."""
    from nwb_latents.pipeline.training.run_files import (  # noqa: PLC0415
        BEST,
        LAST,
        METRICS,
        TENSORBOARD,
        read_config,
        write_config,
        write_entry,
    )
    from nwb_latents.pipeline.training.search_member import member_settings, read_outcome  # noqa: PLC0415
    from nwb_latents.pipeline.training.search_rules import best_record, lineage  # noqa: PLC0415
    from nwb_latents.pipeline.training.trial_record import write_trials  # noqa: PLC0415

    train = work.settings.train
    best = best_record(state.history)
    folder = member_folder(run_dir, best.generation, best.member)
    outcome = read_outcome(folder)
    begun = read_config(run_dir, run_key=state.run_key)
    if outcome is None or begun is None:
        raise DataError(f"{folder}: the best member of the sweep is gone. Search again with --force.")
    try:
        for name in (BEST, LAST, METRICS):
            write_bytes(run_dir / name, read_file(folder / name))
        shutil.rmtree(run_dir / TENSORBOARD, ignore_errors=True)
        shutil.copytree(folder / TENSORBOARD, run_dir / TENSORBOARD)
    except OSError as error:
        raise machine_error(error, folder, doing="copy the best member") from error
    write_trials(run_dir, [work.session(entry) for entry in work.sessions])
    line = lineage(state.history, best)
    write_text(run_dir / TABLE, _table(state, line))
    draw_sweep(state, run_dir, pictures=work.pictures)
    found = member_settings(work.settings, best.values, device=train.device)
    kept = {name: getattr(train, name) for name in ("patience", "validate_every", "checkpoint_every")}
    write_config(run_dir, begun.model_copy(update={"settings": found.model_copy(update=kept)}))
    entry = RunEntry(
        run=run_dir.name,
        model=train.model.name,
        path=run_dir.relative_to(work.catalog_path.parent).as_posix(),
        run_key=state.run_key,
        recipe_id=begun.recipe_id,
        sessions=tuple(begun.sessions),
        steps=outcome.step,
        metrics=final_metrics(outcome.metrics, outcome.best_step),
        created=now(),
    )
    write_entry(run_dir, entry, also=(STATE, TABLE))
    return entry


def draw_sweep(state: SweepState, run_dir: Path, *, pictures: PictureSettings) -> None:
    """Draw the schedule a search found into the folder of its run."""
    from nwb_latents.pipeline.evaluation.figures.sweep import draw_schedule  # noqa: PLC0415
    from nwb_latents.pipeline.training.search_rules import best_record, lineage  # noqa: PLC0415

    draw_schedule(
        run_dir / PICTURE,
        state.history,
        lineage(state.history, best_record(state.history)),
        space=state.space,
        metric=state.metric,
        title=f"{state.run}: lineage of the best of {len({r.member for r in state.history})} members",
        pictures=pictures,
    )


def draw_missing(work: Work, state: SweepState, run_dir: Path) -> None:
    """Draw the schedule of a complete search in the formats in which it is not there yet."""
    missing = [
        form for form in work.pictures.formats if not (run_dir / PICTURE).with_suffix(f".{form}").exists()
    ]
    if missing and state.history:
        draw_sweep(state, run_dir, pictures=work.pictures.model_copy(update={"formats": tuple(missing)}))


def _table(state: SweepState, line: Sequence[MemberRecord]) -> str:
    """Return the history as CSV: one line for each generation of each member."""
    names = sorted(state.space)
    of_best = {(record.generation, record.member) for record in line}
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["generation", "member", "parent", "step", "metric", "last", "in_best_lineage", *names])
    for r in state.history:
        plain = [r.generation, r.member, r.parent, r.step, r.metric, r.last]
        is_of_best = int((r.generation, r.member) in of_best)
        rows.writerow([*("" if v is None else v for v in plain), is_of_best, *(r.values[n] for n in names)])
    return text.getvalue()
