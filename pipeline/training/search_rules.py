"""The rules of a search: what members start with, who copies whom, what a copy changes, when it ends.

Pure functions of settings, seed and the generations so far: a search that was stopped goes on to the same
members, in whatever order they were trained. Rules of AutoLFADS (Keshtkaran et al. 2022; lfads-torch), after
Jaderberg et al. 2017.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.models.randomness import derived_seed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nwb_latents.schemas.sweep import HyperParameter, MemberRecord, SweepSettings

LEAST_CHANGE = 0.002
"""Least share a copied value changes by."""


@dataclass(frozen=True)
class Plan:
    """What a member does in a generation.

    Attributes
    ----------
    member
        Number of the member.
    parent
        Member of the generation before whose weights and optimiser it goes on from; None: fresh weights.
    values
        Setting → value.
    """

    member: int
    parent: int | None
    values: dict[str, float]


def first_values(
    space: Mapping[str, HyperParameter], *, strategy: str, seed: int, member: int
) -> dict[str, float]:
    """Return what a member starts with: fixed starts, under PBT, and values drawn from the range elsewhere.

    Examples
    --------
    >>> from nwb_latents.schemas.sweep import HyperParameter
    >>> space = {"lr": HyperParameter(low=1e-4, high=1e-2, start=1e-3)}
    >>> first_values(space, strategy="pbt", seed=0, member=3)["lr"]
    0.001
    >>> 1e-4 <= first_values(space, strategy="random", seed=0, member=3)["lr"] <= 1e-2
    True
    """
    rng = np.random.default_rng(derived_seed(seed, "sweep", "start", member))
    values = {}
    for name, wanted in sorted(space.items()):
        share = float(rng.random())
        if strategy == "pbt" and wanted.start is not None:
            values[name] = wanted.start
        elif wanted.scale == "log":
            values[name] = wanted.low * (wanted.high / wanted.low) ** share
        else:
            values[name] = wanted.low + (wanted.high - wanted.low) * share
    return values


def explored(
    values: Mapping[str, float], space: Mapping[str, HyperParameter], rng: np.random.Generator
) -> dict[str, float]:
    """Multiply each value by 1 ± U(0.002, w), drawn again until it is within its range.

    Examples
    --------
    >>> from nwb_latents.schemas.sweep import HyperParameter
    >>> space = {"lr": HyperParameter(low=1e-4, high=1e-2, explore=0.3)}
    >>> 0.7e-3 <= explored({"lr": 1e-3}, space, np.random.default_rng(0))["lr"] <= 1.3e-3
    True
    """
    changed = {}
    for name, value in sorted(values.items()):
        wanted = space[name]
        while True:
            share = rng.uniform(LEAST_CHANGE, wanted.explore)
            proposed = value * (1 + (share if rng.random() < 0.5 else -share))
            if wanted.low <= proposed <= wanted.high:
                break
        changed[name] = float(proposed)
    return changed


def plan_generation(
    settings: SweepSettings, space: Mapping[str, HyperParameter], history: Sequence[MemberRecord]
) -> list[Plan]:
    """Return what each member does in the generation after those in `history`.

    All decisions rest on the metrics at the end of the generation before. Each member is compared with one
    other, drawn uniformly; if that is better, it copies weights, optimiser and values of it, and the values
    are changed. A member whose training diverged always copies one whose did not, in a burn-in too; under
    random search it is left out.

    Parameters
    ----------
    settings
        Rules and seed.
    space
        Ranges as they are searched.
    history
        All generations so far, each whole.
    """
    seed = settings.train.seed
    if not history:
        return [
            Plan(member, None, first_values(space, strategy=settings.strategy, seed=seed, member=member))
            for member in range(settings.population)
        ]
    before = history[-1].generation
    found = {record.member: record for record in history if record.generation == before}
    sound = [member for member, record in sorted(found.items()) if record.metric is not None]
    copies = settings.strategy == "pbt" and history[-1].step >= settings.first_copy_step
    plans = []
    for member, record in sorted(found.items()):
        if record.metric is None and settings.strategy == "random":
            continue
        rng = np.random.default_rng(derived_seed(seed, "sweep", "exploit", before, member))
        parent = member
        if record.metric is None:
            parent = int(rng.choice(sound))
        elif copies:
            other = int(rng.choice([m for m in sorted(found) if m != member]))
            if _metric(found[other]) < record.metric:
                parent = other
        values = found[parent].values
        plans.append(Plan(member, parent, explored(values, space, rng) if parent != member else dict(values)))
    return plans


def is_standing_still(settings: SweepSettings, history: Sequence[MemberRecord]) -> bool:
    """Whether the best member of a population has stopped improving.

    Compares the best so far with the best `improve_within` generations ago; generations of the burn-in, in
    which nothing is copied, do not count. Random search never stands still: its members are independent.
    """
    if settings.strategy == "random" or not history:
        return False
    best: dict[int, float] = {}
    for record in history:
        if record.step >= settings.first_copy_step:
            best[record.generation] = min(best.get(record.generation, math.inf), _metric(record))
    last = history[-1].generation
    earlier = [value for generation, value in best.items() if generation <= last - settings.improve_within]
    if not earlier or math.isinf(min(earlier)):
        return False
    return min(earlier) - min(best.values()) <= settings.min_improvement * abs(min(earlier))


def best_record(history: Sequence[MemberRecord]) -> MemberRecord:
    """Return the generation of a member with the lowest smoothed loss; the earliest of equals.

    Raises
    ------
    ValueError
        If all have diverged.
    """
    best = min(history, key=_metric)
    if best.metric is None:
        raise ValueError("all members have diverged")
    return best


def lineage(history: Sequence[MemberRecord], record: MemberRecord) -> list[MemberRecord]:
    """Return the records whose weights a record goes back to, the first generation first.

    Examples
    --------
    >>> from nwb_latents.schemas.sweep import MemberRecord
    >>> first = MemberRecord(generation=0, member=1, step=10, values={})
    >>> second = MemberRecord(generation=1, member=0, parent=1, step=20, values={})
    >>> [r.member for r in lineage([first, second], second)]
    [1, 0]
    """
    at = {(r.generation, r.member): r for r in history}
    line = [record]
    while line[-1].parent is not None:
        line.append(at[line[-1].generation - 1, line[-1].parent])
    return line[::-1]


def smoothed(losses: Sequence[float], *, share: float) -> float:
    """Return the exponential average at the end: `share` of the average before, the rest of the new loss.

    Examples
    --------
    >>> smoothed([4.0, 2.0], share=0.25)
    2.5
    """
    average = losses[0]
    for loss in losses[1:]:
        average = share * average + (1 - share) * loss
    return average


def _metric(record: MemberRecord) -> float:
    return math.inf if record.metric is None else record.metric
