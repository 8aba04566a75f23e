"""Peri-stimulus time histograms: smoothed spikes averaged over the trials of each condition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.signals.smoothing import smooth_counts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

    IntArray = NDArray[np.int64]

NO_CONDITION = frozenset({"", "unknown"})
"""What stands where a trial has no condition."""


@dataclass(frozen=True)
class ConditionPsths:
    """PSTHs of the conditions that are evaluated.

    Attributes
    ----------
    psth
        Smoothed spikes per bin. Shape ``(condition, time, unit)``, float32.
    names
        Names of the conditions, by alphabet.
    members
        Part → the trials of each condition, as positions among the rows of that part.
    """

    psth: NDArray[np.float32]
    names: tuple[str, ...]
    members: Mapping[str, list[IntArray]]


def condition_psths(
    counts: ArrayLike,
    observed: ArrayLike,
    *,
    start_bin: ArrayLike,
    window_bins: int,
    condition: ArrayLike,
    rows: Mapping[str, IntArray],
    order: IntArray,
    bin_size_s: float,
    sigma_ms: float,
) -> ConditionPsths | None:
    """Average the smoothed session over the trials of each condition that is evaluated.

    As in nlb_tools, trials of both parts are averaged, in spikes per bin: the PSTH is the target of a score,
    not something to train on.

    Parameters
    ----------
    counts
        Spikes per bin of the whole session. Shape ``(session bin, unit)``.
    observed
        Whether the whole bin was recorded. Shape ``(session bin,)``, bool.
    start_bin
        First bin of every trial. Shape ``(trial,)``.
    window_bins
        Bins of a trial.
    condition
        Condition of every trial. Shape ``(trial,)``, text.
    rows
        Rows of the ``train`` and the ``eval`` trials.
    order
        Units wanted, in this order. Shape ``(unit,)``.
    bin_size_s
        Width of a bin, s.
    sigma_ms
        Standard deviation of the Gaussian laid over the spikes first, ms.

    Returns
    -------
    psths
        None with fewer than two conditions among the ``eval`` trials.

    References
    ----------
    Pei et al. 2021, "Neural Latents Benchmark '21", match to PSTH.

    Examples
    --------
    >>> made = condition_psths(
    ...     np.ones((8, 1)), [True] * 8, start_bin=[0, 4], window_bins=2, condition=["a", "b"],
    ...     rows={"train": np.array([], int), "eval": np.array([0, 1])}, order=np.array([0]),
    ...     bin_size_s=0.02, sigma_ms=20.0)
    >>> made.names, made.psth.shape, made.members["eval"][1].tolist()
    (('a', 'b'), (2, 2, 1), [1])
    """
    of_trial = np.asarray(condition).astype(str)
    evaluated = set(of_trial[rows["eval"]].tolist()) - NO_CONDITION
    if len(evaluated) < 2:
        return None
    rates = smooth_counts(
        np.ascontiguousarray(np.asarray(counts).T),
        np.asarray(observed, dtype=bool),
        bin_size_s=bin_size_s,
        sigma_s=sigma_ms / 1e3,
    )[:, order]
    names = tuple(sorted(evaluated))
    used = np.concatenate([rows["train"], rows["eval"]])
    bins = np.asarray(start_bin, dtype=np.int64)[:, None] + np.arange(window_bins)
    means = [rates[bins[used[of_trial[used] == name]]].mean(axis=0) * bin_size_s for name in names]
    return ConditionPsths(
        psth=np.stack(means).astype(np.float32),
        names=names,
        members={
            part: [np.flatnonzero(of_trial[mine] == name) for name in names] for part, mine in rows.items()
        },
    )
