"""Named, seeded, stratified splits of trials into training, validation and test."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from schemas.recipe import SplitSettings


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
    >>> from schemas.recipe import SplitSettings
    >>> split = stratified_split(np.array(["a", "b"] * 50, object), SplitSettings(), session="s")
    >>> [int((split == name).sum()) for name in ("train", "val", "test")]
    [70, 10, 20]
    """
    seed = int.from_bytes(hashlib.sha256(f"{settings.seed}/{session}".encode()).digest()[:8], "big")
    rng = np.random.default_rng(seed)
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
        split[order] = _by_largest_deficit(len(order), shares)
    split[split == ""] = "train"
    return split


def _by_largest_deficit(n: int, shares: dict[str, float]) -> list[str]:
    given = dict.fromkeys(shares, 0)
    out = []
    for k in range(1, n + 1):
        name = max(shares, key=lambda s: shares[s] * k - given[s])
        given[name] += 1
        out.append(name)
    return out
