"""One step of a training: forward, backward, clip, update. Nothing of it is read back from the device."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from nwb_latents.models.interface import Model, Output, total_loss
from nwb_latents.models.losses.schedules import Schedule, warmup_cosine
from nwb_latents.models.randomness import derived_generator
from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.training.checkpoint import TrainState
from nwb_latents.pipeline.training.device import open_fabric
from nwb_latents.pipeline.training.step_guard import StepGuard
from nwb_latents.pipeline.training.step_metrics import BlockTold, told_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from nwb_latents.models.batching.tensors import Batch
    from nwb_latents.models.batching.views import Masker
    from nwb_latents.pipeline.training.feed import SessionFeed
    from nwb_latents.pipeline.training.stored_trials import StoredFeed
    from nwb_latents.pipeline.training.team import Team
    from nwb_latents.schemas.training import TrainSettings


@dataclass
class Training:
    """Everything one step needs.

    Attributes
    ----------
    fabric
        Device and arithmetic.
    bare, model
        The model, as it is and as Fabric has wrapped it.
    optimiser, learning
        Optimiser, and the parameters it changes.
    sessions, settings, run_dir, masker, lr
        As in `pipeline.training.loop.fit`; `masker` with trials cut, `lr` with warm-up.
    team
        The processes that train.
    guard
        Which steps are left out.
    last_step
        Step to stop at.
    state
        Where training stands.
    told
        What is logged of the blocks of the last step that were computed here.
    resumable
        Whether the state is that between two steps.
    asked_to_stop
        Whether the process was asked to stop.
    """

    fabric: Any
    bare: Model
    model: Any
    optimiser: Any
    learning: list[torch.nn.Parameter]
    sessions: Mapping[str, SessionFeed] | Mapping[str, StoredFeed]
    settings: TrainSettings
    run_dir: Path
    masker: Masker
    lr: Schedule
    team: Team
    guard: StepGuard
    last_step: int
    asked_to_stop: Callable[[], bool]
    state: TrainState = field(default_factory=TrainState)
    told: list[BlockTold] = field(default_factory=list)
    resumable: bool = True

    @property
    def device(self) -> torch.device:
        """Where steps are taken."""
        device: torch.device = self.fabric.device
        return device


def take_step(training: Training, batches: Sequence[Batch]) -> None:
    """Take one optimiser step over all blocks of a step, those of other processes among them.

    Parameters
    ----------
    training
        Changed in place.
    batches
        The blocks this process computes.
    """
    settings, state = training.settings, training.state
    training.bare.train()
    for group in training.optimiser.param_groups:
        group["lr"] = training.lr(state.step)
    training.optimiser.zero_grad()
    training.told = []
    for batch in batches:
        noise = derived_generator(settings.seed, "noise", state.step, batch.number, device=training.device)
        output = forward(training, batch, noise, training.masker)
        loss = total_loss(output, state.step)
        training.fabric.backward(loss if batch.share == 1 else loss * batch.share)
        training.told.append(told_of(output, batch, state.step))
    loss = sum((each.loss for each in training.told), start=torch.zeros((), device=training.device))
    loss = training.team.sum_gradients(training.learning, loss, stop=training.asked_to_stop())
    norm = training.fabric.clip_gradients(
        training.model,
        training.optimiser,
        max_norm=settings.optimiser.clip_norm,
        error_if_nonfinite=False,
    )
    training.resumable = False
    is_left_out = training.guard.judge(state.step, loss, norm)
    # Half precision has a scaler that leaves steps out by itself.
    if settings.precision != "16-mixed":
        training.optimiser.optimizer.found_inf = is_left_out
    training.optimiser.step()
    state.step += 1


def forward(training: Training, batch: Batch, generator: torch.Generator, masker: Masker) -> Output:
    """Return what the model makes of a block that lies on the processor."""
    dtype = torch.float64 if training.settings.precision == "64-true" else torch.float32
    moved = batch.to(training.device, dtype)
    step = training.state.step
    with training.fabric.autocast():
        output: Output = training.bare(moved, masker(moved, generator, step), step, generator)
    return output


def prepared(
    model: Model,
    sessions: Mapping[str, SessionFeed] | Mapping[str, StoredFeed],
    settings: TrainSettings,
    run_dir: Path,
    *,
    trainable: Callable[[str], bool] | None,
    masker: Masker,
    team: Team,
    asked_to_stop: Callable[[], bool],
) -> Training:
    """Return a training before its first step; the arguments are those of `pipeline.training.loop.fit`."""
    run_dir.mkdir(parents=True, exist_ok=True)
    fabric = open_fabric(settings, team.rank)
    team.meet()
    for name, parameter in model.named_parameters():
        if trainable is not None and not trainable(name):
            parameter.requires_grad_(False)  # noqa: FBT003
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not learning:
        raise DataError("No parameter of the model is trainable. Check the names the predicate accepts.")
    options = settings.optimiser
    optimiser = torch.optim.AdamW(
        learning,
        lr=options.lr,
        weight_decay=options.weight_decay,
        # The gradient scaler of 16-mixed cannot unscale for clipping ahead of a fused step.
        fused=settings.precision != "16-mixed",
    )
    wrapped, optimiser = fabric.setup(model, optimiser)
    warmup = options.warmup(settings.max_steps)
    lr = warmup_cosine(options.lr, settings.max_steps, warmup=warmup, final=options.final_lr)
    return Training(
        fabric=fabric,
        bare=model,
        model=wrapped,
        optimiser=optimiser,
        learning=learning,
        sessions=sessions,
        settings=settings,
        run_dir=run_dir,
        masker=masker,
        lr=lr,
        team=team,
        guard=StepGuard(fabric.device),
        last_step=settings.max_steps,
        asked_to_stop=asked_to_stop,
    )
