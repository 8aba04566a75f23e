"""Hand velocity read linearly from latent states, trained with the model.

States that are rolled out are what a forecast is read from. A head that is trained on them, in the steps
that practise forecasting too, draws into them what of the movement the activity tells, and its read-out
fits what is rolled out rather than what was recorded.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from nwb_latents.models.interface import Term
from nwb_latents.models.losses.schedules import constant
from nwb_latents.models.parts.per_session import PerSession

if TYPE_CHECKING:
    from nwb_latents.models.batching.tensors import Batch
    from nwb_latents.schemas.models import BehaviourSettings

TERM = "velocity"
"""Name of the term of the loss."""


class BehaviourHead(nn.Module):
    """Linear map from states to velocity, one for all sessions or one for each.

    Parameters
    ----------
    settings
        Weight, kind of head, axes.
    n_sessions
        Number of sessions.
    width
        Dimension of the states.

    Examples
    --------
    >>> from nwb_latents.schemas.mdssm import MDSSMSettings
    >>> head = BehaviourHead(MDSSMSettings(behaviour_weight=1.0), n_sessions=3, width=5)
    >>> tuple(head(torch.zeros(2, 4, 6, 5), torch.tensor([2, 0])).shape)
    (2, 4, 6, 2)
    """

    def __init__(self, settings: BehaviourSettings, *, n_sessions: int, width: int) -> None:
        super().__init__()
        self.settings, self.width = settings, width
        self.own: PerSession | None = None
        if settings.behaviour_head == "session":
            self.own = PerSession(self._start(n_sessions))
        else:
            self.shared = nn.Parameter(self._start(1)[0])

    def add_sessions(self, n_sessions: int) -> None:
        """Make room for further sessions; a head that is shared takes them as it is."""
        if self.own is not None:
            self.own.add(self._start(n_sessions))

    def forward(self, states: Tensor, sessions: Tensor) -> Tensor:
        """Return the velocity, in deviations of each session.

        Parameters
        ----------
        states
            Shape ``(session, trial, time, D)``.
        sessions
            Positions of the sessions. Shape ``(session,)``.

        Returns
        -------
        velocity
            Shape ``(session, trial, time, axis)``.
        """
        S, B, T, D = states.shape
        weight = self.shared.expand(S, -1, -1) if self.own is None else self.own(sessions)
        made = torch.baddbmm(weight[:, -1:], states.reshape(S, B * T, D), weight[:, :-1])
        return made.reshape(S, B, T, -1)

    def term(self, velocity: Tensor, batch: Batch) -> Term:
        """Return the squared error of what is known: the mean over trials, summed over sessions.

        Parameters
        ----------
        velocity
            What the head made of the bins of the batch. Shape ``(session, trial, time, axis)``.
        batch
            With ``behaviour``; bins whose velocity is not known on all axes do not count.
        """
        if batch.behaviour is None:
            return Term(TERM, velocity.new_zeros(()), constant(self.settings.behaviour_weight))
        T = batch.behaviour.shape[2]
        known = batch.behaviour.isfinite().all(-1, keepdim=True) & batch.trial_mask[:, :, None, None]
        wanted = torch.where(known, batch.behaviour, 0.0)
        missed = ((velocity[:, :, :T] - wanted) * known).square().sum((2, 3))
        value = (missed / batch.n_trials[:, None]).sum()
        return Term(TERM, value, constant(self.settings.behaviour_weight))

    def _start(self, n_sessions: int) -> Tensor:
        """Weights, then the bias, of each session. Shape ``(session, D + 1, axis)``."""
        block = torch.zeros(n_sessions, self.width + 1, self.settings.behaviour_axes)
        bound = 1 / math.sqrt(self.width)
        block[:, :-1].uniform_(-bound, bound)
        return block
