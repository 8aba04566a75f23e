"""Steps that are left out, and trainings that have failed, known to the device alone until it is read back.

Along a long rollout a gradient can grow beyond all numbers: such a step is left out. Many of them in a row,
or a loss that is no number, end the training. Both are decided on the device, which is not waited for: from
the step in which a training failed on, every step is left out, so that the weights are those before it when
it is found out.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

MOST_LEFT_OUT = 10
"""Steps in a row whose gradient may overflow before training ends."""


@dataclass(frozen=True)
class Verdict:
    """What a device knew of its steps when it was read back.

    Attributes
    ----------
    norm
        Global norm of the last gradient; not finite where that step was left out.
    left_out
        Steps that were left out.
    failed_step
        Steps taken before the one in which training failed; None: it has not.
    what, value
        What was no number there: ``"loss"`` or ``"gradient"``, and what it was.
    """

    norm: float
    left_out: int
    failed_step: int | None
    what: str
    value: float


class StepGuard:
    """The tensors behind a `Verdict`.

    Parameters
    ----------
    device
        Where steps are taken.

    Examples
    --------
    >>> guard, losses = StepGuard("cpu"), torch.tensor([2.0, float("nan"), 2.0])
    >>> [float(guard.judge(step, loss, torch.tensor(1.0))) for step, loss in enumerate(losses)]
    [0.0, 1.0, 1.0]
    >>> guard.read().failed_step
    1
    """

    def __init__(self, device: torch.device | str) -> None:
        def number(value: float) -> Tensor:
            return torch.full((), value, dtype=torch.float64, device=device)

        self.norm, self.left_out, self.in_a_row = number(0), number(0), number(0)
        self.failed_step, self.failed_loss, self.failed_norm = number(-1), number(0), number(0)

    def judge(self, step: int, loss: Tensor, norm: Tensor) -> Tensor:
        """Take note of a step, and return 1 where it is to be left out and 0 where not.

        Parameters
        ----------
        step
            Steps taken before this one.
        loss, norm
            Scalars on the device.

        Returns
        -------
        is_left_out
            Scalar, float32: what a fused optimiser calls ``found_inf``.
        """
        self.norm = norm.detach().double()
        overflown = ~self.norm.isfinite()
        is_bad = ~loss.detach().isfinite()
        self.left_out = self.left_out + overflown
        self.in_a_row = (self.in_a_row + 1) * overflown
        fails = (self.failed_step < 0) & (is_bad | (self.in_a_row > MOST_LEFT_OUT))
        self.failed_step = self.failed_step.masked_fill(fails, step)
        self.failed_loss = torch.where(fails, loss.detach().double(), self.failed_loss)
        self.failed_norm = torch.where(fails, self.norm, self.failed_norm)
        return (overflown | is_bad | (self.failed_step >= 0)).float()

    def read(self) -> Verdict:
        """Return what is known; the device is waited for."""
        told = (self.norm, self.left_out, self.failed_step, self.failed_loss, self.failed_norm)
        norm, left_out, step, failed_loss, failed_norm = torch.stack(told).tolist()
        what, value = ("gradient", failed_norm)
        if not torch.tensor(failed_loss).isfinite():
            what, value = "loss", failed_loss
        return Verdict(norm, int(left_out), None if step < 0 else int(step), what, value)
