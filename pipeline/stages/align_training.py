"""The training of one alignment: its starts, the steps from the one that is kept, what is entered of it."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nwb_latents.pipeline.stages.run_entries import final_metrics, now
from nwb_latents.pipeline.stages.stage_work import StageWork
from nwb_latents.schemas.align import SEVERAL_STARTS
from nwb_latents.schemas.catalog import RunEntry
from nwb_latents.schemas.events import NoteEvent, ProgressEvent

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from nwb_latents.pipeline.stores.session import Session
    from nwb_latents.pipeline.training.alignment_starts import KeptStart, Start
    from nwb_latents.pipeline.training.feed import SessionFeed
    from nwb_latents.pipeline.training.loop import Progress
    from nwb_latents.schemas.align import AlignSettings
    from nwb_latents.schemas.catalog import Alignment
    from nwb_latents.schemas.training import RunConfig

Work = StageWork["AlignSettings", "RunEntry"]

STARTS = "starts"
"""Folder within a run where its starts are trained; it goes when the run is complete."""


@dataclass(frozen=True)
class Parent:
    """The trained run, its best weights, a digest of them, and what it reads in under each condition."""

    entry: RunEntry
    config: RunConfig
    weights: dict[str, Tensor]
    digest: str
    means: dict[str, Tensor]


def train_alignment(
    work: Work, parent: Parent, begun: RunConfig, run_dir: Path, *, few: Session, force: bool
) -> RunEntry:
    """Train an alignment, or its baseline from scratch, and mark the run as complete.

    Parameters
    ----------
    work
        Settings of the alignment, and whom to report to.
    parent
        The run that is aligned.
    begun
        Configuration of the run.
    run_dir
        Its folder, which is this process's alone.
    few
        The trials it is given, in the order they were chosen.
    force
        Begin whatever the size of the model.

    Raises
    ------
    DataError
        If the training diverges, or has changed what is the parent's.
    SettingsError
        If model or batches are larger than the memory.
    """
    import numpy as np  # noqa: PLC0415

    from nwb_latents.pipeline.training.alignment import few_trials, require_unchanged  # noqa: PLC0415
    from nwb_latents.pipeline.training.checkpoint import read_weights  # noqa: PLC0415
    from nwb_latents.pipeline.training.feed import feed_sessions  # noqa: PLC0415
    from nwb_latents.pipeline.training.loop import fit  # noqa: PLC0415
    from nwb_latents.pipeline.training.run_files import BEST, write_entry  # noqa: PLC0415

    settings = begun.settings
    few = few_trials(few, np.arange(few.n_trials), validation_share=work.settings.validation_share)
    feeds = feed_sessions([few], settings)
    is_scratch = begun.alignment is not None and begun.alignment.from_scratch
    begin = _Beginning(work, parent, begun, run_dir, feeds, few, force)
    start, kept = (begin.from_scratch(), None) if is_scratch else begin.from_the_best_start()
    result = fit(
        start.model,
        feeds,
        settings,
        run_dir,
        progress=begin.progress(after=0 if kept is None else work.settings.start_steps),
        resume=True,
        trainable=None if is_scratch else start.trainable.__contains__,
        is_begun=kept is not None,
    )
    if not is_scratch:
        weights = read_weights(run_dir / BEST)
        require_unchanged(weights, parent.weights, trainable=start.trainable, run=run_dir.name)
    entry = RunEntry(
        run=run_dir.name,
        model=settings.model.name,
        path=run_dir.relative_to(work.catalog_path.parent).as_posix(),
        run_key=begun.run_key,
        recipe_id=begun.recipe_id,
        sessions=tuple(feeds),
        steps=result.steps + (0 if kept is None else work.settings.start_steps),
        metrics=final_metrics(result.metrics, result.best_step),
        created=now(),
        alignment=_with_starts(begun.alignment, kept),
    )
    write_entry(run_dir, entry)
    shutil.rmtree(run_dir / STARTS, ignore_errors=True)
    return entry


@dataclass(frozen=True)
class _Beginning:
    """Where a training begins."""

    work: Work
    parent: Parent
    begun: RunConfig
    run_dir: Path
    feeds: Mapping[str, SessionFeed]
    few: Session
    force: bool

    def from_scratch(self) -> Start:
        """Return a model that nothing was learnt of."""
        from nwb_latents.pipeline.training.alignment_starts import Start  # noqa: PLC0415
        from nwb_latents.pipeline.training.model_building import built_model  # noqa: PLC0415
        from nwb_latents.pipeline.training.read_in_start import start_in_frames  # noqa: PLC0415

        self._require_model_fits()
        settings = self.begun.settings
        units = {name: feed.train.y.shape[2] for name, feed in self.feeds.items()}
        model = built_model(settings.model, units, seed=settings.seed)
        start_in_frames(model, self.feeds)
        start = Start(model, frozenset(), "random")
        self._require_step_fits(start)
        return start

    def from_the_best_start(self) -> tuple[Start, KeptStart | None]:
        """Return the start whose loss is least after a few steps; None beside it where there is but one."""
        from nwb_latents.pipeline.training.alignment_starts import best_start, starts_of  # noqa: PLC0415
        from nwb_latents.pipeline.training.loop import DivergedError  # noqa: PLC0415

        asked: AlignSettings = self.work.settings
        pretrained = self.parent.weights
        self._require_model_fits()
        conditions = self.few.condition[self.few.rows("train")].astype(str).tolist()
        is_told = bool(set(conditions) & self.parent.means.keys())
        starts = starts_of(
            self.begun.settings,
            self.feeds,
            pretrained,
            number=asked.starts or (1 if is_told else SEVERAL_STARTS),
            conditions=conditions,
            means=self.parent.means,
        )
        self._require_step_fits(starts[0])
        if len(starts) == 1:
            return starts[0], None
        why = f"the sessions of {self.begun.settings.model.name} do not lie side by side in its parameters"
        try:
            kept = best_start(
                starts,
                self.feeds,
                self.begun.settings,
                self.run_dir / STARTS,
                pretrained=pretrained,
                steps=asked.start_steps,
                progress=self.progress(before=asked.max_steps),
            )
        except DivergedError as error:
            # Starts share their gradient's norm, so that one that runs away takes the others with it.
            kept, why = None, f"trained side by side they ran away ({error})"
        self._say(kept, why)
        return (starts[0], None) if kept is None else (kept.start, kept)

    def progress(self, *, after: int = 0, before: int = 0) -> Progress:
        """Return what reports the steps of a training that follows some steps, and goes before others."""

        def report(step: int, total: int, metrics: dict[str, float]) -> None:
            event = ProgressEvent(
                stage="align",
                run=self.run_dir.name,
                step=after + step,
                total=after + total + before,
                **metrics,
            )
            self.work.report(event)

        return report

    def _say(self, kept: KeptStart | None, reason: str) -> None:
        run, session = self.run_dir.name, self.few.name
        if kept is None:
            text = f"Run {run} begins from one start instead of several: {reason}."
            status = "one start"
        else:
            losses = ", ".join(
                f"{loss:.1f} ({kind})" for loss, kind in zip(kept.losses, kept.kinds, strict=True)
            )
            reason = f"after {self.work.settings.start_steps} steps their losses are {losses} nats per trial"
            text = f"Run {run} goes on from start {kept.number + 1} of {len(kept.losses)}: {reason}."
            status = "start kept"
        event = NoteEvent(text=text, stage="align", session=session, run=run, status=status, reason=reason)
        self.work.report(event)

    def _require_model_fits(self) -> None:
        from nwb_latents.pipeline.training.model_size import require_model_fits  # noqa: PLC0415

        if not self.force:
            units = {name: feed.train.y.shape[2] for name, feed in self.feeds.items()}
            require_model_fits(self.begun.settings, units)

    def _require_step_fits(self, start: Start) -> None:
        from nwb_latents.models.batching.drawn_masks import training_masker  # noqa: PLC0415
        from nwb_latents.pipeline.training.model_size import require_step_fits  # noqa: PLC0415

        if not self.force:
            settings = self.begun.settings
            require_step_fits(start.model, self.feeds, settings, training_masker(settings.masks))


def _with_starts(alignment: Alignment | None, kept: KeptStart | None) -> Alignment | None:
    """Return what is written of an alignment, with the losses of its starts."""
    if alignment is None or kept is None:
        return alignment
    losses = tuple(loss if math.isfinite(loss) else None for loss in kept.losses)
    told = {"start_losses": losses, "starts": kept.kinds, "kept_start": kept.number}
    return alignment.model_copy(update=told)
