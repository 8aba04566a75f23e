"""Folds of a cross-validation: whole trials stay together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    IntArray = NDArray[np.int64]


def group_folds(groups: ArrayLike, *, folds: int, seed: int) -> IntArray:
    """Return the fold of each sample: whole groups, drawn at random, as equal in number as can be.

    Parameters
    ----------
    groups
        Group of each sample. Shape ``(n_samples,)``.
    folds
        Number of folds, at least 2.
    seed
        Seed of the draw.

    Returns
    -------
    fold
        In ``[0, folds)``. Shape ``(n_samples,)``, int64.

    Raises
    ------
    DataError
        If there are fewer groups than folds.

    Examples
    --------
    >>> fold = group_folds([7, 7, 8, 8], folds=2, seed=0)
    >>> bool(fold[0] == fold[1] != fold[2] == fold[3])
    True
    """
    names, member = np.unique(np.asarray(groups), return_inverse=True)
    if len(names) < folds:
        msg = (
            f"{len(names)} trials cannot be shared out over {folds} folds; use at most {len(names)} folds or "
            f"more trials"
        )
        raise DataError(msg)
    fold_of_group = np.empty(len(names), dtype=np.int64)
    fold_of_group[np.random.default_rng(seed).permutation(len(names))] = np.arange(len(names)) % folds
    fold: IntArray = fold_of_group[member]
    return fold


def contiguous_folds(n_samples: int, *, folds: int) -> IntArray:
    """Return the fold of each sample: stretches of neighbours, the first ones longer by one where needed.

    Parameters
    ----------
    n_samples
        Number of samples.
    folds
        Number of folds, at least 2.

    Returns
    -------
    fold
        In ``[0, folds)``, ascending. Shape ``(n_samples,)``, int64.

    Raises
    ------
    DataError
        If there are fewer samples than folds.

    Examples
    --------
    >>> contiguous_folds(5, folds=2).tolist()
    [0, 0, 0, 1, 1]
    """
    if n_samples < folds:
        raise DataError(
            f"{n_samples} samples cannot be shared out over {folds} folds; use at most {n_samples} folds or "
            "more samples"
        )
    length = n_samples // folds + (np.arange(folds) < n_samples % folds)
    fold: IntArray = np.repeat(np.arange(folds), length)
    return fold
