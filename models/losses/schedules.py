"""Numbers that change with the training step."""

from __future__ import annotations

import math
from collections.abc import Callable

Schedule = Callable[[int], float]
"""``step -> value``."""


def constant(value: float) -> Schedule:
    """Return the same value at every step.

    Examples
    --------
    >>> constant(0.5)(10)
    0.5
    """
    return lambda step: value


def linear_ramp(start: int, length: int, *, final: float = 1.0) -> Schedule:
    """Return 0 until `start`, then rise to `final` over `length` steps.

    Examples
    --------
    >>> ramp = linear_ramp(10, 20)
    >>> ramp(10), ramp(20), ramp(100)
    (0.0, 0.5, 1.0)
    """
    return lambda step: final * min(1.0, max(0.0, (step - start) / max(length, 1)))


def cosine(value: float, steps: int, *, final: float = 0.0) -> Schedule:
    """Return `value`, falling to `final` along half a cosine.

    Examples
    --------
    >>> [round(cosine(1.0, 100)(step), 3) for step in (0, 50, 100)]
    [1.0, 0.5, 0.0]
    """
    return warmup_cosine(value, steps, warmup=0, final=final)


def warmup_cosine(value: float, steps: int, *, warmup: int, final: float = 0.0) -> Schedule:
    """Rise to `value` over `warmup` steps, then fall to `final` along half a cosine until `steps`.

    The first step of a warm-up is not 0 but one part in ``warmup``, so that it moves something.

    Examples
    --------
    >>> schedule = warmup_cosine(1.0, 110, warmup=10)
    >>> [round(schedule(step), 3) for step in (0, 9, 60, 110)]
    [0.1, 1.0, 0.5, 0.0]
    """

    def at(step: int) -> float:
        if step < warmup:
            return value * (step + 1) / warmup
        share = min(1.0, (step - warmup) / max(steps - warmup, 1))
        return final + (value - final) * 0.5 * (1 + math.cos(math.pi * share))

    return at


def horizon(block: int, every: int, *, longest: int) -> Schedule:
    """Return a number of bins that grows by `block` each `every` steps, up to `longest`.

    Examples
    --------
    >>> schedule = horizon(5, 150, longest=70)
    >>> schedule(0), schedule(150), schedule(10_000)
    (5, 10, 70)
    """
    return lambda step: min(block * (step // every + 1), longest)
