"""Which trials make a training step, as a function of the seed and the step number."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol, TypeVar

import torch

from nwb_latents.models.batching.tensors import Batch, TrialTensors, pack
from nwb_latents.models.randomness import derived_generator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch import Tensor

Member = TypeVar("Member")


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
    trials_per_block
        Trials of one session in one block, where its trials are shared out: each session then has blocks of
        its own, as even as possible, whose losses count by their shares of its trials. None: sessions are
        not cut.
    counts
        Whether the largest counts of a batch are to be told (`Batch.with_largest`).
    """

    per_session: int | None = None
    total: int | None = None
    sessions_per_step: int | None = None
    group: int | None = None
    trials_per_block: int | None = None
    counts: bool = False


class Trials(Protocol):
    """Trials of one session, in memory (`TrialTensors`) or wherever they are read from."""

    @property
    def n_trials(self) -> int:
        """Number of trials."""

    def select(self, trials: Tensor) -> TrialTensors:
        """Return the trials of the given indices, in memory."""


@dataclass(frozen=True)
class Block:
    """Trials that are computed at once, before they are read.

    Attributes
    ----------
    parts
        Session and rows of its trials.
    number, share
        As in `Batch`.
    """

    parts: tuple[tuple[str, Tensor], ...]
    number: int
    share: float = 1.0


def draw_batches(
    sessions: Mapping[str, Trials], plan: BatchPlan, *, seed: int, step: int, every: int = 1, first: int = 0
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
    every, first
        Blocks to read and pack: each `every`-th, from number `first` on. Which blocks there are, and what is
        in them, does not hang on it.

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
    sizes = {name: trials.n_trials for name, trials in sessions.items()}
    blocks = draw_blocks(sizes, plan, seed=seed, step=step)[first::every]
    return tuple(_packed(sessions, block, plan) for block in blocks)


def draw_blocks(sizes: Mapping[str, int], plan: BatchPlan, *, seed: int, step: int) -> tuple[Block, ...]:
    """Draw which trials are in which block of a step.

    Parameters
    ----------
    sizes
        Session id → number of its training trials.
    plan, seed, step
        As in `draw_batches`.

    Examples
    --------
    >>> blocks = draw_blocks({"a": 5, "b": 2}, BatchPlan(trials_per_block=3), seed=0, step=0)
    >>> [(block.parts[0][0], len(block.parts[0][1]), block.share) for block in blocks]
    [('a', 3, 0.6), ('a', 2, 0.4), ('b', 2, 1.0)]
    """
    generator = derived_generator(seed, "batch", step)
    names = sorted(sizes)
    n_drawn = min(len(names), plan.sessions_per_step or len(names))
    if n_drawn < len(names):
        chosen = torch.randperm(len(names), generator=generator)[:n_drawn].sort().values
        names = [names[i] for i in chosen.tolist()]
    per_session = plan.per_session if plan.total is None else max(1, plan.total // n_drawn)
    drawn = []
    for name in names:
        order = torch.randperm(sizes[name], generator=generator)
        drawn.append((name, order[:per_session]))
    if plan.trials_per_block is None:
        return tuple(Block(tuple(part), k) for k, part in enumerate(in_groups(drawn, plan.group)))
    cut = [
        (name, part, len(part) / len(rows))
        for name, rows in drawn
        for part in rows.tensor_split(-(-len(rows) // plan.trials_per_block))
    ]
    return tuple(Block(((name, part),), k, share) for k, (name, part, share) in enumerate(cut))


def _packed(sessions: Mapping[str, Trials], block: Block, plan: BatchPlan) -> Batch:
    batch = pack([sessions[name].select(rows) for name, rows in block.parts])
    batch = replace(batch, number=block.number, share=block.share)
    return batch.with_largest() if plan.counts else batch


def grouped(sessions: list[TrialTensors], group: int | None) -> tuple[Batch, ...]:
    """Pack sessions in blocks of at most `group`, as even as possible.

    Examples
    --------
    >>> data = [TrialTensors(name, torch.zeros(2, 3, 4)) for name in "abcde"]
    >>> [len(batch.sessions) for batch in grouped(data, 4)]
    [3, 2]
    """
    return tuple(pack(part) for part in in_groups(sessions, group))


def in_groups(members: Sequence[Member], group: int | None) -> list[Sequence[Member]]:
    """Return members in groups of at most `group`, as even as possible.

    Examples
    --------
    >>> in_groups("abcde", 4)
    ['abc', 'de']
    """
    size = group or len(members)
    n_groups = -(-len(members) // size)
    size = -(-len(members) // n_groups)
    return [members[i : i + size] for i in range(0, len(members), size)]
