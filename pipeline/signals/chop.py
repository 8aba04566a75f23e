"""Overlapping windows of continuous time, dealt out to the splits in blocks with guards between them.

Splitting single windows at random would put the same samples, or the two sides of one smoothing kernel,
into training and test.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.signals.split import largest_deficit, seeded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nwb_latents.pipeline.signals.recording import BoolArray, FloatArray, IntArray
    from nwb_latents.schemas.recipe import IngestRecipe

FEWEST_BLOCKS = 20

_PRIORITY = ("test", "val", "train")
"""Where two splits meet, the guard is taken from the later one of these: it has the most to give."""


def chop(
    usable: BoolArray, recipe: IngestRecipe, *, session: str, hint: NDArray[np.object_] | None = None
) -> tuple[IntArray, NDArray[np.object_]]:
    """Cut windows out of the usable time and give each a split.

    Parameters
    ----------
    usable
        Bins that windows may hold. Shape ``(n_bins,)``.
    recipe
        ``chop``: length, overlap, guard, blocks; ``split``: shares and seed.
    session
        Session id, mixed into the seed.
    hint
        Split the file prescribes for each bin, ``""`` where it does not. Shape ``(n_bins,)``. If any is
        given, only such bins are used: ``val`` and ``test`` become test, ``train`` is shared between
        train and val.

    Returns
    -------
    start
        First bin of each window, ascending. Shape ``(n_windows,)``.
    split
        ``train``, ``val`` or ``test``. Shape ``(n_windows,)``, object. Between a bin of a window and
        a bin of a window of another split lie at least ``chop.guard_s``.

    Examples
    --------
    >>> from nwb_latents.schemas.recipe import IngestRecipe
    >>> from nwb_latents.schemas.recipe_parts import ChopSettings
    >>> recipe = IngestRecipe(chop=ChopSettings(enabled=True))
    >>> start, split = chop(np.ones(5000, bool), recipe, session="s")
    >>> start[:3].tolist(), sorted(set(split))
    ([0, 20, 40], ['test', 'train', 'val'])
    """
    label = _label(usable, recipe, session=session, hint=hint)
    length = recipe.n_bins
    stride = length - round(recipe.chop.overlap_s * 1e9) // recipe.bin_ns
    guard = int(np.ceil(recipe.chop.guard_s / recipe.bin_size_s - 1e-9))
    taken = np.zeros(len(usable), dtype=bool)
    starts, splits = [], []
    for name in _PRIORITY:
        free = (label == name) & ~_widened(taken, guard)
        cut = [np.arange(lo, hi - length + 1, stride) for lo, hi in _runs(free)]
        mine = np.concatenate([np.empty(0, dtype=np.int64), *cut])
        starts.append(mine)
        splits += [name] * len(mine)
        taken[(mine[:, None] + np.arange(length)).ravel()] = True
    start = np.concatenate(starts)
    order = np.argsort(start, kind="stable")
    return start[order], np.array(splits, dtype=object)[order]


def bin_hints(
    left_s: FloatArray, start: FloatArray, stop: FloatArray, hint: NDArray[np.object_]
) -> NDArray[np.object_]:
    """Return the split the file prescribes for each bin: that of the trial the bin lies in.

    Parameters
    ----------
    left_s
        Left edges of the bins, seconds, ascending. Shape ``(n_bins,)``.
    start, stop
        Trials, seconds; those with NaN are left out. Shape ``(n_trials,)``.
    hint
        Split of each trial, ``""`` where the file does not say. Shape ``(n_trials,)``.

    Examples
    --------
    >>> names = np.array(["train", "val"], object)
    >>> bin_hints(np.arange(4) * 0.5, np.array([0.0, 1.0]), np.array([1.0, 1.5]), names)
    array(['train', 'train', 'val', ''], dtype=object)
    """
    out = np.full(len(left_s), "", dtype=object)
    for begin, end, name in zip(start, stop, hint, strict=True):
        if name and np.isfinite(begin) and np.isfinite(end):
            lo, hi = np.searchsorted(left_s, [begin - 1e-9, end - 1e-9])
            out[lo:hi] = name
    return out


def _label(
    usable: BoolArray, recipe: IngestRecipe, *, session: str, hint: NDArray[np.object_] | None
) -> NDArray[np.object_]:
    """Give each bin the split of its block; bins that are not used have none."""
    label = np.full(len(usable), "", dtype=object)
    shares = {"train": recipe.split.train, "val": recipe.split.val, "test": recipe.split.test}
    free = usable
    if hint is not None and (hint != "").any():
        label[usable & ((hint == "val") | (hint == "test"))] = "test"
        free = usable & (hint == "train")
        rest = 1.0 - shares.pop("test")
        shares = {name: share / rest if rest else float(name == "train") for name, share in shares.items()}
    guard = recipe.chop.guard_s / recipe.bin_size_s
    least = recipe.n_bins + int(np.ceil(guard))
    wanted = min(recipe.chop.block_s / recipe.bin_size_s, free.sum() / FEWEST_BLOCKS)
    block = max(least, round(wanted))
    # Blocks are counted in usable bins, so that gaps make none of them shorter than the others.
    number = np.cumsum(free) - 1
    n_blocks = max(1, round(int(free.sum()) / block))
    block_of = np.minimum(number // block, n_blocks - 1)
    order = seeded(recipe.split.seed, session).permutation(n_blocks)
    sizes = np.bincount(block_of[free], minlength=n_blocks)
    names = np.empty(n_blocks, dtype=object)
    names[order] = largest_deficit(sizes[order].tolist(), shares)
    label[free] = names[block_of[free]]
    return label


def _widened(marked: BoolArray, by: int) -> BoolArray:
    if not marked.any():
        return marked
    edges = np.zeros(len(marked) + 1, dtype=np.int64)
    at = np.flatnonzero(marked)
    np.add.at(edges, np.maximum(at - by, 0), 1)
    np.add.at(edges, np.minimum(at + by + 1, len(marked)), -1)
    return np.asarray(np.cumsum(edges[:-1]) > 0)


def _runs(marked: BoolArray) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], marked, [False]])))
    return [(int(lo), int(hi)) for lo, hi in edges.reshape(-1, 2)]
