"""Clock resets: later parts of a recording whose clock began again are moved behind the earlier ones.

In some sessions of 000070 the trial table, the time stamps of the behaviour and the spike times go backwards
from one trial to the next. What lies between two resets is a *block*. A later block is moved to start
`GAP_S` after the end of the one before, by the same shift for trials, kinematics, spikes and observed time.
The gap keeps windows, filters and smoothing apart; it is not observed. Blocks are told apart by the order in
the file, for their clocks overlap.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations, pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nwb_latents.pipeline.signals.recording import BoolArray, FloatArray, IntArray, TrialTable

GAP_S = 60.0
"""Time between the end of a block and the start of the next one."""

MOST_SILENT = 3
"""Blocks a unit may be silent in and still be told where its spikes belong."""

SLACK_S = 0.5
"""How far outside its block's trials a time may lie."""


@dataclass(frozen=True)
class Blocks:
    """Stretches of a recording between two clock resets.

    Attributes
    ----------
    first_row
        Row of the trial table each block begins with. Shape ``(n_blocks,)``.
    start, stop
        Extent of each block's trials on the clock of the file, seconds. Shape ``(n_blocks,)``.
    shift
        What is added to the times of each block, seconds; 0 for the first. Shape ``(n_blocks,)``.
    overlaps
        Extent of trials that overlap the trial before them within a block, both trials included: what belongs
        to which cannot be told. Shape ``(n_overlaps, 2)``.
    """

    first_row: IntArray
    start: FloatArray
    stop: FloatArray
    shift: FloatArray
    overlaps: FloatArray

    def __len__(self) -> int:
        return len(self.first_row)

    @property
    def are_whole(self) -> bool:
        """Whether the clock was never reset and no trials overlap."""
        return len(self) == 1 and not len(self.overlaps)


def find_blocks(trials: TrialTable) -> tuple[Blocks, BoolArray]:
    """Find the blocks of a session from its trials in the order of the file.

    Parameters
    ----------
    trials
        Trial table.

    Returns
    -------
    blocks
        A new one begins where a trial starts before the one above it.
    overlapping
        Trials that start before the end of the one above them, and those above. Shape ``(n_trials,)``.

    Examples
    --------
    >>> from nwb_latents.pipeline.signals.recording import TrialTable
    >>> text = np.full(3, "", dtype=object)
    >>> edges = {"start": np.array([0.0, 5.0, 1.0]), "stop": np.array([4.0, 9.0, 3.0])}
    >>> table = TrialTable(
    ...     row=np.arange(3), events=edges, success=np.ones(3, bool), valid=np.ones(3, bool),
    ...     target_dir=np.zeros(3), condition=text, split=text,
    ... )
    >>> find_blocks(table)[0].shift
    array([ 0., 68.])
    """
    start, stop = trials.events["start"], trials.events["stop"]
    goes_back = np.flatnonzero(np.diff(start) < 0) + 1
    first_row = np.concatenate([[0], goes_back]).astype(np.int64)
    bounds = [*first_row.tolist(), len(start)]
    spans = list(pairwise(bounds))
    begin = np.array([np.nanmin(start[a:b]) for a, b in spans])
    end = np.array([np.nanmax(stop[a:b]) for a, b in spans])
    shift = np.zeros(len(spans))
    for i in range(1, len(spans)):
        shift[i] = end[i - 1] + shift[i - 1] + GAP_S - begin[i]
    overlaps = np.zeros(len(start), dtype=bool)
    second = np.flatnonzero((start[1:] >= start[:-1]) & (start[1:] < stop[:-1] - 1e-6)) + 1
    overlaps[second] = overlaps[second - 1] = True
    extents = np.column_stack([start[second - 1], np.maximum(stop[second], stop[second - 1])])
    return Blocks(first_row, begin, end, shift, extents.reshape(-1, 2)), overlaps


def shift_trials(trials: TrialTable, blocks: Blocks, *, overlapping: BoolArray) -> TrialTable:
    """Move the events of later blocks; trials that overlap another one become invalid."""
    block = np.searchsorted(blocks.first_row, np.arange(len(trials)), side="right") - 1
    moved = {name: times + blocks.shift[block] for name, times in trials.events.items()}
    return replace(trials, events=moved, valid=trials.valid & ~overlapping)


def shift_times(times: FloatArray, blocks: Blocks) -> tuple[FloatArray, BoolArray] | None:
    """Move times that run through all blocks in the order of the file.

    Parameters
    ----------
    times
        Seconds on the clock of the file, ascending within each block. Shape ``(n,)``.
    blocks
        The blocks.

    Returns
    -------
    moved, kept
        Moved times of those kept, ascending; which were kept: those in overlapping trials are not where their
        order does not tell to which they belong. None where there is no one way to put the runs of ascending
        times into the blocks, in their order and within their extents.
    """
    kept = np.ones(len(times), dtype=bool)
    for low, high in blocks.overlaps:
        kept &= ~_tangled(times, low, high)
    left = times[kept]
    falls = np.flatnonzero(np.diff(left) < 0) + 1
    runs = list(pairwise([0, *falls.tolist(), len(left)]))
    if not len(left):
        return left, kept
    where = _only_place(left, runs, blocks)
    if where is None:
        return None
    moved = left.copy()
    for i, (a, b) in zip(where, runs, strict=True):
        moved[a:b] += blocks.shift[i]
    return moved, kept


def _only_place(times: FloatArray, runs: list[tuple[int, int]], blocks: Blocks) -> tuple[int, ...] | None:
    """Return the block of each run, where there is one way to put runs into blocks in their order.

    A unit that is silent in a block has fewer runs than there are blocks.
    """
    fitting = [
        {
            i
            for i in range(len(blocks))
            if times[a] >= blocks.start[i] - SLACK_S and times[b - 1] <= blocks.stop[i] + SLACK_S
        }
        for a, b in runs
    ]
    if len(runs) > len(blocks) or len(runs) < len(blocks) - MOST_SILENT:
        return None
    ways = [
        way
        for way in combinations(range(len(blocks)), len(runs))
        if all(i in each for i, each in zip(way, fitting, strict=True))
    ]
    return ways[0] if len(ways) == 1 else None


def _tangled(times: FloatArray, low: float, high: float) -> BoolArray:
    """Whether a time belongs to a stretch inside an extent in which times fall."""
    out = np.zeros(len(times), dtype=bool)
    inside = (times >= low) & (times <= high)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]).astype(np.int8)))
    for a, b in edges.reshape(-1, 2):
        if (np.diff(times[a:b]) < 0).any():
            out[a:b] = True
    return out


def shift_spikes(
    spike_times: FloatArray, spike_index: IntArray, blocks: Blocks
) -> tuple[FloatArray, IntArray, BoolArray]:
    """Move the spikes of every unit.

    Parameters
    ----------
    spike_times, spike_index
        As `pipeline.nwb.units.read_spikes` gives them.
    blocks
        The blocks.

    Returns
    -------
    spike_times, spike_index
        Those of the units that could be split, ascending within each.
    is_split
        Units whose spikes fall into the blocks. Shape ``(n_units,)``.
    """
    parts: list[FloatArray] = []
    is_split = np.zeros(len(spike_index), dtype=bool)
    for unit, times in enumerate(_units(spike_times, spike_index)):
        moved = shift_times(times, blocks)
        if moved is not None:
            is_split[unit] = True
            parts.append(moved[0])
    index = np.cumsum([len(part) for part in parts], dtype=np.int64)
    return (np.concatenate(parts) if parts else np.zeros(0)), index, is_split


def _units(times: FloatArray, index: IntArray) -> Iterator[FloatArray]:
    for a, b in pairwise([0, *index.tolist()]):
        yield times[a:b]
