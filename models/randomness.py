"""Random numbers as a function of a seed and named positions.

Nothing in training keeps a random state: the generator of a step is made from the seed and the step
number, so that a run that was stopped and resumed draws what it would have drawn.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch import Tensor


def derived_seed(seed: int, *path: int | str) -> int:
    """Return a 63-bit seed that depends on `seed` and on every element of `path`.

    Examples
    --------
    >>> derived_seed(0, "noise", 3) == derived_seed(0, "noise", 3)
    True
    >>> derived_seed(0, "noise", 3) == derived_seed(0, "noise", 4)
    False
    """
    text = "/".join(repr(part) for part in (seed, *path))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def derived_generator(seed: int, *path: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a generator on `device`, seeded by `derived_seed`.

    Examples
    --------
    >>> a, b = derived_generator(0, "noise", 3), derived_generator(0, "noise", 3)
    >>> bool(torch.equal(torch.rand(4, generator=a), torch.rand(4, generator=b)))
    True
    """
    generator = torch.Generator(device=device)
    generator.manual_seed(derived_seed(seed, *path))
    return generator


def deciding_generator(generator: torch.Generator, purpose: str) -> torch.Generator:
    """Return where draws come from that decide what a step does: how long a run is, where a trial is cut.

    Such a draw has to be known before the step can go on. Drawn on a GPU it would have to be waited for; it
    is drawn on the processor instead, from the seed of the step's generator.

    Parameters
    ----------
    generator
        Of the step. On a processor it is the one that is returned.
    purpose
        What is decided; asked once a step.

    Examples
    --------
    >>> source = torch.Generator().manual_seed(0)
    >>> deciding_generator(source, "cut") is source
    True
    """
    if generator.device.type == "cpu":
        return generator
    return derived_generator(generator.initial_seed(), purpose)


def listed(values: Tensor) -> list[Any]:
    """Return the elements of a tensor of the processor, for which no device is waited.

    Examples
    --------
    >>> listed(torch.arange(3) > 1)
    [False, False, True]
    """
    elements: list[Any] = values.tolist()
    return elements


def placed(values: list[int] | list[bool], device: torch.device | str) -> Tensor:
    """Return numbers as a tensor on a device that is not waited for. Shape ``(n,)``, int64 or bool.

    Examples
    --------
    >>> placed([2, 0], "cpu").tolist()
    [2, 0]
    """
    there = torch.device(device)
    if there.type != "cuda":
        return torch.tensor(values, device=there)
    return torch.tensor(values).pin_memory().to(there, non_blocking=True)
