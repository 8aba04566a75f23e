"""A session with clock resets as one that has none (see `pipeline.nwb.clock`)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.nwb.clock import GAP_S, Blocks, find_blocks, shift_spikes, shift_times, shift_trials
from nwb_latents.pipeline.nwb.units import falling
from nwb_latents.pipeline.signals.binning import merge_intervals
from nwb_latents.pipeline.signals.recording import (
    FloatArray,
    IntArray,
    Series,
    TrialTable,
    UnitTable,
)

if TYPE_CHECKING:
    from nwb_latents.pipeline.nwb.file import NwbFile


@dataclass(frozen=True)
class Parts:
    """What of a recording lies on its clock.

    Attributes
    ----------
    spike_times, spike_index, units, position, velocity, trials
        As in `pipeline.signals.recording.Recording`.
    """

    spike_times: FloatArray
    spike_index: IntArray
    units: UnitTable
    position: Series | None
    velocity: Series | None
    trials: TrialTable | None


def rebase(file: NwbFile, parts: Parts) -> tuple[Parts, FloatArray | None, tuple[str, ...]]:
    """Put the blocks between clock resets one behind the other.

    Parameters
    ----------
    file
        The open file.
    parts
        As read, in the order of the file.

    Returns
    -------
    parts
        On one clock; units whose spikes do not fall into the blocks are left out.
    observed
        The trials' extents on that clock; None where nothing was moved. Shape ``(n_intervals, 2)``.
    warnings
        What was moved and left out.

    Raises
    ------
    DataError
        If the kinematics, or all units, do not fall into the blocks of the trial table.
    """
    if parts.trials is None:
        return _require_no_reset(file, parts), None, ()
    blocks, overlapping = find_blocks(parts.trials)
    if blocks.are_whole:
        return _require_no_reset(file, parts), None, ()
    times, index, is_split = shift_spikes(parts.spike_times, parts.spike_index, blocks)
    if not is_split.any():
        raise DataError(
            f"{file.name}: the clock was reset {len(blocks) - 1} times in the trial table, but the spike "
            "times of no unit fall into its blocks. Leave the session out."
        )
    moved = Parts(
        spike_times=times,
        spike_index=index,
        units=UnitTable(
            ids=parts.units.ids[is_split],
            area=parts.units.area[is_split],
            heldout=parts.units.heldout[is_split],
        ),
        position=_shift_series(file, parts.position, blocks),
        velocity=_shift_series(file, parts.velocity, blocks),
        trials=shift_trials(parts.trials, blocks, overlapping=overlapping),
    )
    events = moved.trials.events if moved.trials else {}
    observed = np.column_stack([events["start"], events["stop"]])[~overlapping]
    # Times that never fall although the clock was reset are of one side of it: which, they do not tell.
    silent = ~falling(parts.spike_times, parts.spike_index) & ~is_split
    notes = _notes(
        blocks, parts.units.ids[~is_split], len(is_split), n_overlapping=int(overlapping.sum()),
        silent=parts.units.ids[silent],
    )  # fmt: skip
    return moved, merge_intervals(observed), notes


def _shift_series(file: NwbFile, series: Series | None, blocks: Blocks) -> Series | None:
    if series is None:
        return None
    moved = shift_times(series.time, blocks)
    if moved is None:
        n_resets = int((np.diff(series.time) < 0).sum())
        raise DataError(
            f"{file.name}: the trial table has {len(blocks) - 1} clock resets, the kinematics {n_resets}, or "
            "some lie outside the trials of their block: they cannot be brought onto one clock. Leave the "
            "session out."
        )
    return replace(series, time=moved[0], values=series.values[moved[1]])


def _require_no_reset(file: NwbFile, parts: Parts) -> Parts:
    for series in (parts.position, parts.velocity):
        if series is not None and (np.diff(series.time) < 0).any():
            raise DataError(
                f"{file.name}: the time stamps of the kinematics run backwards, those of the trials do not: "
                "they cannot be brought onto one clock. Leave the session out."
            )
    return parts


def _notes(
    blocks: Blocks, left_out: IntArray, n_units: int, *, n_overlapping: int, silent: IntArray
) -> tuple[str, ...]:
    notes = []
    if len(blocks) > 1:
        rows = ", ".join(str(row) for row in blocks.first_row[1:])
        notes.append(
            f"the clock was reset before trial {rows}; what follows was moved to start {GAP_S:g} s after the "
            "end of what was before"
        )
    if n_overlapping:
        notes.append(f"{n_overlapping} trials overlap the one before or after them and are not used")
    if len(left_out):
        shown = ", ".join(map(str, left_out[:10])) + (", …" if len(left_out) > 10 else "")
        notes.append(
            f"{len(left_out)} of {n_units} units were left out: their spike times do not fall into the "
            f"blocks between clock resets in one way only (units {shown})"
        )
    if len(blocks) > 1 and len(silent):
        shown = ", ".join(str(unit) for unit in silent[:8]) + (", …" if len(silent) > 8 else "")
        notes.append(
            f"{len(silent)} of these have times that never fall (units {shown}): if they were silent on one "
            "side of a clock reset, their times fit on either side of it"
        )
    return tuple(notes)
