"""Parameters that every session has its own of, kept packed so that a step needs no loop over sessions.

Sessions added later (alignment of a trained model) form a block of their own: ``….blocks.0`` are the
parameters of the first training, ``….blocks.1`` those of the first sessions added, so that a predicate
on parameter names can leave everything else untouched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class PerSession(nn.Module):
    """One packed parameter; the first axis counts sessions.

    Parameters
    ----------
    block
        Initial values. Shape ``(session, ...)``; where units matter they are axis 1, padded to the
        session with most units.

    Examples
    --------
    >>> parameter = PerSession(torch.zeros(2, 3))
    >>> parameter.add(torch.ones(1, 5))
    >>> parameter(torch.tensor([2, 0]), 4).tolist()
    [[1.0, 1.0, 1.0, 1.0], [0.0, 0.0, 0.0, 0.0]]
    """

    def __init__(self, block: Tensor) -> None:
        super().__init__()
        self.blocks = nn.ParameterList([nn.Parameter(block)])

    def add(self, block: Tensor) -> None:
        """Append sessions; `block` may have another number of units."""
        first = self.blocks[0]
        self.blocks.append(nn.Parameter(block.to(device=first.device, dtype=first.dtype)))

    def blocks_of(self, positions: Iterable[int]) -> list[int]:
        """Return the numbers of the blocks that hold exactly these sessions.

        Raises
        ------
        ValueError
            If one of the blocks holds another session too.

        Examples
        --------
        >>> parameter = PerSession(torch.zeros(2, 3))
        >>> parameter.add(torch.ones(1, 5))
        >>> parameter.blocks_of([2])
        [1]
        """
        wanted, found, first = set(positions), [], 0
        for number, block in enumerate(self.blocks):
            held = set(range(first, first + block.shape[0]))
            first += block.shape[0]
            if held & wanted:
                if held - wanted:
                    raise ValueError(f"block {number} of the parameters holds other sessions too")
                found.append(number)
        return found

    def set_row(self, position: int, values: Tensor) -> None:
        """Overwrite the parameters of one session; shape ``(unit, ...)``, padding is left alone."""
        for block in self.blocks:
            if position < block.shape[0]:
                with torch.no_grad():
                    block[position, : values.shape[0]] = values
                return
            position -= block.shape[0]

    def forward(self, sessions: Tensor, n_units: int | None = None) -> Tensor:
        """Return the parameters of some sessions.

        Parameters
        ----------
        sessions
            Positions of the sessions. Shape ``(session,)``, int64.
        n_units
            Length of axis 1 of the result; None where the parameter has no unit axis.

        Returns
        -------
        parameters
            Shape ``(session, ...)``.
        """
        blocks = list(self.blocks)
        if n_units is not None:
            blocks = [_fit_units(block, n_units) for block in blocks]
        table = blocks[0] if len(blocks) == 1 else torch.cat(blocks)
        return table.index_select(0, sessions)


def per_session_parts(module: nn.Module) -> dict[str, PerSession]:
    """Return the packed parameters within a module, by name.

    Examples
    --------
    >>> list(per_session_parts(nn.ModuleDict({"bias": PerSession(torch.zeros(2, 3)), "b": nn.Linear(1, 1)})))
    ['bias']
    """
    return {name: part for name, part in module.named_modules() if isinstance(part, PerSession)}


def names_of_sessions(parts: Mapping[str, PerSession], positions: Iterable[int]) -> frozenset[str]:
    """Return the names of the parameters that hold exactly these sessions.

    Raises
    ------
    ValueError
        If one of them holds another session too.

    Examples
    --------
    >>> sorted(names_of_sessions({"bias": PerSession(torch.zeros(2, 3))}, [0, 1]))
    ['bias.blocks.0']
    """
    wanted = list(positions)
    return frozenset(f"{name}.blocks.{k}" for name, part in parts.items() for k in part.blocks_of(wanted))


def load_shared(module: nn.Module, pretrained: Mapping[str, Tensor], parts: Iterable[str]) -> None:
    """Take over all weights but those of the per-session `parts`.

    Raises
    ------
    ValueError
        If the weights are not of a module of the same sizes and names.
    """
    own = tuple(parts)
    shared = {name: value for name, value in pretrained.items() if not name.startswith(own)}
    unknown = module.load_state_dict(shared, strict=False)
    missing = [name for name in unknown.missing_keys if not name.startswith(own)]
    if missing or unknown.unexpected_keys:
        raise ValueError(f"weights of other settings: {missing + unknown.unexpected_keys}")


def _fit_units(block: Tensor, n_units: int) -> Tensor:
    short = n_units - block.shape[1]
    if short <= 0:
        return block[:, :n_units]
    return pad(block, (0, 0) * (block.ndim - 2) + (0, short))
