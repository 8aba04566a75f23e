"""Named, seeded, stratified splits of trials into training, validation and test."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from nwb_latents.schemas.recipe_parts import SplitSettings


def stratified_split(
    condition: NDArray[np.object_],
    settings: SplitSettings,
    *,
    session: str,
    hint: NDArray[np.object_] | None = None,
) -> NDArray[np.object_]:
    """Assign each trial to ``train``, ``val`` or ``test``.

    Trials are shuffled within their condition, conditions are laid end to end, and each trial goes to the
    split that is furthest behind its share: shares hold to within one trial overall and about one within
    every condition.

    Parameters
    ----------
    condition
        Condition of each trial. Shape ``(n_trials,)``.
    settings
        Shares and seed.
    session
        Session id, mixed into the seed: sessions are shuffled independently, and adding one changes no other.
    hint
        Split the file prescribes, ``""`` where it does not: ``test`` and ``val`` trials become test (a
        benchmark's validation trials are what it is scored on), ``train`` trials are shared between train
        and val.

    Returns
    -------
    split
        ``train``, ``val`` or ``test``. Shape ``(n_trials,)``, object.

    Examples
    --------
    >>> from nwb_latents.schemas.recipe_parts import SplitSettings
    >>> split = stratified_split(np.array(["a", "b"] * 50, object), SplitSettings(), session="s")
    >>> [int((split == name).sum()) for name in ("train", "val", "test")]
    [70, 10, 20]
    """
    rng = seeded(settings.seed, session)
    split = np.full(len(condition), "", dtype=object)
    hints = np.full(len(condition), "", dtype=object) if hint is None else hint
    split[(hints == "val") | (hints == "test")] = "test"
    rest = 1.0 - settings.test
    groups = {
        "": {"train": settings.train, "val": settings.val, "test": settings.test},
        "train": {
            "train": settings.train / rest if rest else 1.0,
            "val": settings.val / rest if rest else 0.0,
        },
    }
    for name, shares in groups.items():
        members = np.flatnonzero((hints == name) & (split == ""))
        order = members[rng.permutation(len(members))]
        order = order[np.argsort(condition[order].astype(str), kind="stable")]
        split[order] = largest_deficit([1] * len(order), shares)
    split[split == ""] = "train"
    return split


def seeded(seed: int, session: str) -> np.random.Generator:
    """Return the generator of one session's draws: sessions are independent of each other."""
    digest = hashlib.sha256(f"{seed}/{session}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:8], "big"))


def largest_deficit(sizes: Sequence[int], shares: dict[str, float]) -> list[str]:
    """Give each item to the split that is furthest behind its share.

    Parameters
    ----------
    sizes
        Size of each item, in the order in which they are given out.
    shares
        Split → share of the whole.

    Returns
    -------
    split
        Of each item.

    Examples
    --------
    >>> largest_deficit([1, 1, 1, 1], {"train": 0.75, "test": 0.25})
    ['train', 'train', 'test', 'train']
    """
    given = dict.fromkeys(shares, 0)
    total, out = 0, []
    for size in sizes:
        total += size
        name = max(shares, key=lambda s: shares[s] * total - given[s])
        given[name] += size
        out.append(name)
    return out
