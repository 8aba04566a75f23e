"""Read-in and read-out: the parts of a model that every session has its own of.

A session's units go through its own linear map into a space all sessions share, and from the factors all
sessions share back to its units. Both are one batched product over the sessions of a block.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from nwb_latents.models.kernels.products import linear
from nwb_latents.models.parts.distributions import full_precision
from nwb_latents.models.parts.per_session import PerSession
from nwb_latents.models.randomness import placed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nwb_latents.schemas.mdssm import ReadInSettings


class SessionNames:
    """Order of a model's sessions: name → position in packed parameters."""

    def __init__(self, names: Sequence[str]) -> None:
        self.position = {name: row for row, name in enumerate(names)}

    def add(self, names: Sequence[str]) -> None:
        """Append sessions.

        Raises
        ------
        ValueError
            If one of them is there already.
        """
        known = [name for name in names if name in self.position]
        if known:
            raise ValueError(f"session {known[0]} is already part of the model")
        for name in names:
            self.position[name] = len(self.position)

    def index(self, names: Sequence[str], device: torch.device | str = "cpu") -> Tensor:
        """Return the positions of sessions. Shape ``(session,)``, int64.

        Raises
        ------
        KeyError
            If the model does not know one of them.

        Examples
        --------
        >>> SessionNames(["a", "b"]).index(["b"]).tolist()
        [1]
        """
        unknown = [name for name in names if name not in self.position]
        if unknown:
            raise KeyError(f"the model has no session {unknown[0]}; it knows {', '.join(self.position)}")
        return placed([self.position[name] for name in names], device)


class ReadIn(nn.Module):
    """Per-session linear map, then a head all sessions share.

    Parameters
    ----------
    n_units
        Units of each session.
    settings
        Widths, activation, normalisation.

    Examples
    --------
    >>> from nwb_latents.schemas.mdssm import ReadInSettings
    >>> read_in = ReadIn([3, 5], ReadInSettings(hidden=8, width=4))
    >>> tuple(read_in(torch.zeros(1, 2, 6, 3), torch.tensor([0])).shape)
    (1, 2, 6, 4)
    """

    def __init__(self, n_units: Sequence[int], settings: ReadInSettings) -> None:
        super().__init__()
        self.settings = settings
        self.weight = PerSession(_uniform(n_units, settings.hidden))
        self.bias = PerSession(torch.zeros(len(n_units), settings.hidden))
        self.head = nn.Linear(settings.hidden, settings.width)
        nn.init.orthogonal_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.norm = nn.LayerNorm(settings.width) if settings.layernorm else nn.Identity()

    def forward(self, x: Tensor, sessions: Tensor) -> Tensor:
        """Read units in.

        Parameters
        ----------
        x
            Shape ``(session, trial, time, unit)``, finite, 0 in padding.
        sessions
            Positions of the sessions. Shape ``(session,)``.

        Returns
        -------
        shared
            Shape ``(session, trial, time, P)``.
        """
        S, B, T, N = x.shape
        weight, bias = self.weight(sessions, N), self.bias(sessions)
        hidden = torch.baddbmm(bias[:, None], x.reshape(S, B * T, N), weight)
        if self.settings.activation == "silu":
            hidden = silu(hidden)
        shared: Tensor = self.norm(linear(hidden, self.head.weight, self.head.bias))
        return shared.reshape(S, B, T, -1)

    def add_sessions(self, n_units: Sequence[int]) -> None:
        """Add maps for further sessions."""
        self.weight.add(_uniform(n_units, self.settings.hidden))
        self.bias.add(torch.zeros(len(n_units), self.settings.hidden))


class ReadOut(nn.Module):
    """Per-session linear map from shared factors to the parameters of each unit.

    Parameters
    ----------
    n_units
        Units of each session.
    n_factors
        Width of the factors.
    n_params
        Parameters per unit, which the likelihood decides.

    Examples
    --------
    >>> read_out = ReadOut([3, 5], n_factors=4)
    >>> tuple(read_out(torch.zeros(2, 2, 6, 4), torch.tensor([0, 1]), 5).shape)
    (2, 2, 6, 5)
    """

    def __init__(self, n_units: Sequence[int], *, n_factors: int, n_params: int = 1) -> None:
        super().__init__()
        self.n_factors, self.n_params = n_factors, n_params
        self.weight = PerSession(self._weights(n_units))
        self.bias = PerSession(torch.zeros(len(n_units), max(n_units), n_params))

    def _weights(self, n_units: Sequence[int]) -> Tensor:
        block = torch.zeros(len(n_units), max(n_units), self.n_params, self.n_factors)
        bound = 1 / math.sqrt(self.n_factors)
        for row, n in enumerate(n_units):
            block[row, :n].uniform_(-bound, bound)
        return block

    def forward(self, factors: Tensor, sessions: Tensor, n_units: int) -> Tensor:
        """Read factors out.

        Parameters
        ----------
        factors
            Shape ``(session, trial, time, F)``.
        sessions
            Positions of the sessions. Shape ``(session,)``.
        n_units
            Units of the block.

        Returns
        -------
        params
            Shape ``(session, trial, time, n_units * n_params)``.
        """
        S, B, T, F = factors.shape
        weight = self.weight(sessions, n_units).reshape(S, n_units * self.n_params, F)
        bias = self.bias(sessions, n_units).reshape(S, 1, n_units * self.n_params)
        params = torch.baddbmm(bias, factors.reshape(S, B * T, F), weight.transpose(1, 2))
        return full_precision(params).reshape(S, B, T, -1)

    def add_sessions(self, n_units: Sequence[int]) -> None:
        """Add maps for further sessions."""
        self.weight.add(self._weights(n_units))
        self.bias.add(torch.zeros(len(n_units), max(n_units), self.n_params))


def checked_units(units: Mapping[str, int]) -> list[int]:
    """Return the numbers of units of sessions.

    Raises
    ------
    ValueError
        If there is no session, or one without units.

    Examples
    --------
    >>> checked_units({"a": 3, "b": 5})
    [3, 5]
    """
    if not units:
        raise ValueError("a model needs at least one session, found none")
    empty = [name for name, n in units.items() if n < 1]
    if empty:
        raise ValueError(f"session {empty[0]} has no units")
    return list(units.values())


def _uniform(n_units: Sequence[int], width: int) -> Tensor:
    block = torch.zeros(len(n_units), max(n_units), width)
    for row, n in enumerate(n_units):
        block[row, :n].uniform_(-1 / math.sqrt(n), 1 / math.sqrt(n))
    return block
