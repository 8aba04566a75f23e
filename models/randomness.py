"""Random numbers as a function of a seed and named positions.

Nothing in training keeps a random state: the generator of a step is made from the seed and the step
number, so that a run that was stopped and resumed draws what it would have drawn.
"""

from __future__ import annotations

import hashlib

import torch


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
