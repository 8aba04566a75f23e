"""Which trials make a training step, as a function of the seed and the step number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from nwb_latents.models.batching.tensors import Batch, TrialTensors, pack
from nwb_latents.models.randomness import derived_generator

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class BatchPlan:
    """How many trials of how many sessions make one step.

    Attributes
    ----------
    per_session
        Trials drawn from each session, without repeats; all of them where there are fewer. None: all.
    total
        Trials of a step over all its sessions, shared out evenly; overrides `per_session`.
    sessions_per_step
        Sessions drawn for a step, without repeats. None: all.
    group
        Sessions packed into one block. Smaller blocks keep the activations in the processor's cache; the
        gradients of a step's blocks are added. None: one block.
    """

    per_session: int | None = None
    total: int | None = None
    sessions_per_step: int | None = None
    group: int | None = None


def draw_batches(
    sessions: Mapping[str, TrialTensors], plan: BatchPlan, *, seed: int, step: int
) -> tuple[Batch, ...]:
    """Draw the trials of one training step.

    Parameters
    ----------
    sessions
        Session id → its training trials.
    plan
        How many trials of how many sessions.
    seed, step
        Decide the draw: the same pair gives the same trials, whatever was drawn before.

    Returns
    -------
    batches
        One packed block for each group of sessions.

    Examples
    --------
    >>> data = {name: TrialTensors(name, torch.arange(8.0).reshape(8, 1, 1)) for name in "abc"}
    >>> plan = BatchPlan(per_session=2, sessions_per_step=2, group=1)
    >>> [tuple(batch.y.shape) for batch in draw_batches(data, plan, seed=0, step=7)]
    [(1, 2, 1, 1), (1, 2, 1, 1)]
    """
    generator = derived_generator(seed, "batch", step)
    names = sorted(sessions)
    n_drawn = min(len(names), plan.sessions_per_step or len(names))
    if n_drawn < len(names):
        chosen = torch.randperm(len(names), generator=generator)[:n_drawn].sort().values
        names = [names[i] for i in chosen.tolist()]
    per_session = plan.per_session if plan.total is None else max(1, plan.total // n_drawn)
    drawn = []
    for name in names:
        order = torch.randperm(sessions[name].n_trials, generator=generator)
        drawn.append(sessions[name].select(order[:per_session]))
    return grouped(drawn, plan.group)


def grouped(sessions: list[TrialTensors], group: int | None) -> tuple[Batch, ...]:
    """Pack sessions in blocks of at most `group`, as even as possible.

    Examples
    --------
    >>> data = [TrialTensors(name, torch.zeros(2, 3, 4)) for name in "abcde"]
    >>> [len(batch.sessions) for batch in grouped(data, 4)]
    [3, 2]
    """
    size = group or len(sessions)
    n_blocks = -(-len(sessions) // size)
    size = -(-len(sessions) // n_blocks)
    return tuple(pack(sessions[i : i + size]) for i in range(0, len(sessions), size))
