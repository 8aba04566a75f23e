"""What the processes of one training do together: sum gradients, gather what is logged, stop.

A step consists of blocks of trials (`models.batching.draws`), each with noise of its own, and its gradient is
the sum over them. On several devices each process computes some of the blocks, and the gradients are summed
over processes: draw for draw the step of one device, up to the order of sums. They are summed in one call
once all blocks are done, and not block by block as the hooks of DistributedDataParallel would, since
processes may have blocks in different numbers, or none, and a parameter that no block of a process uses has
no gradient there.

What only processors have to know (which parameters have a gradient, whether to stop, what is logged) goes
through a group of processors, so that no GPU is waited for.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import distributed

from nwb_latents.pipeline.errors import MachineError
from nwb_latents.pipeline.training.ranks import ALONE, LONGEST_WAIT, Rank

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor, nn


class LostProcessError(MachineError):
    """Another process of a training has ended before this one."""


@contextmanager
def _others_are_there() -> Iterator[None]:
    """Say in words that another process is gone, whatever the library says."""
    try:
        yield
    except RuntimeError as error:
        said = next(iter(str(error).splitlines()), type(error).__name__)
        raise LostProcessError(
            f"another process of this training has ended, or is not heard any more ({said}). Run the same "
            "command again: it goes on from the last checkpoint."
        ) from error


@dataclass
class Team:
    """The processes of a training; one alone is the case of one.

    Attributes
    ----------
    rank
        The place of this one.

    Examples
    --------
    >>> weight = torch.nn.Parameter(torch.ones(2))
    >>> (3 * weight).sum().backward()
    >>> Team().sum_gradients([weight], torch.tensor(6.0)).item(), weight.grad.tolist()
    (6.0, [3.0, 3.0])
    """

    rank: Rank = ALONE
    stopped: bool = field(default=False, init=False)
    _processors: Any = field(default=None, init=False)

    def meet(self) -> None:
        """Form the group of processors; all processes call it."""
        if self.rank.of > 1:
            self._processors = distributed.new_group(backend="gloo", timeout=LONGEST_WAIT)

    def sum_gradients(
        self, parameters: Sequence[nn.Parameter], loss: Tensor, *, stop: bool = False
    ) -> Tensor:
        """Sum gradients and loss over processes, in place; all processes call it once a step.

        A parameter that none of them has a gradient of stays without, as on one device.

        Parameters
        ----------
        parameters
            Those that learn, in the same order everywhere.
        loss
            Of the blocks of this process, a scalar.
        stop
            Whether this process was asked to stop; `stopped` then is True on all, at the same step.

        Returns
        -------
        loss
            Of all blocks.
        """
        if self.rank.of == 1:
            self.stopped = stop
            return loss
        has = torch.tensor([stop, *(one.grad is not None for one in parameters)], dtype=torch.uint8)
        with _others_are_there():
            distributed.all_reduce(has, op=distributed.ReduceOp.MAX, group=self._processors)
        self.stopped = bool(has[0])
        used = [one for one, there in zip(parameters, has[1:].tolist(), strict=True) if there]
        parts = [(torch.zeros_like(one) if one.grad is None else one.grad).flatten() for one in used]
        flat = torch.cat([*parts, loss.detach().reshape(1).to(loss.dtype)])
        with _others_are_there():
            distributed.all_reduce(flat)
        first = 0
        for one in used:
            one.grad = flat[first : first + one.numel()].view_as(one)
            first += one.numel()
        return flat[first]

    def gathered(self, mine: list[Any]) -> list[Any]:
        """Return what all processes have, the same list everywhere, ordered by ``number``."""
        if self.rank.of == 1:
            return mine
        found: list[Any] = [None] * self.rank.of
        with _others_are_there():
            distributed.all_gather_object(found, mine, group=self._processors)
        return sorted((each for part in found for each in part), key=lambda each: each.number)
