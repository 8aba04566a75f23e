"""The spikes of a session as its units fired them: in order, in seconds, each once, on one clock."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.nwb.spike_clock import extent_of, first_and_last, require_seconds, without_strays
from nwb_latents.pipeline.nwb.spike_repeats import require_resolution, say_twins, without_repeats
from nwb_latents.pipeline.nwb.spike_selection import only_trains
from nwb_latents.pipeline.nwb.unit_clocks import require_session_clock, units_on_clock
from nwb_latents.pipeline.nwb.units import falling, in_order
from nwb_latents.pipeline.signals.recording import UnitTable

if TYPE_CHECKING:
    from nwb_latents.pipeline.nwb.clock_resets import Parts
    from nwb_latents.pipeline.nwb.file import NwbFile
    from nwb_latents.pipeline.signals.recording import FloatArray, TrialTable
    from nwb_latents.schemas.recipe import IngestRecipe


def in_session(
    file: NwbFile, parts: Parts, recipe: IngestRecipe, *, has_clock_resets: bool
) -> tuple[Parts, tuple[str, ...]]:
    """Return parts with spikes that can be counted.

    Parameters
    ----------
    file
        The open file.
    parts
        On one clock.
    recipe
        What to do with spikes out of order and repeated ones.
    has_clock_resets
        Whether the layout knows of them: a unit whose times fall is then left out.

    Returns
    -------
    parts
        Without units and spikes that are left out.
    notes
        What was sorted; everything else is said.

    Raises
    ------
    DataError
        If the spikes cannot be meant as they are.
    """
    require_session_clock(file, parts.spike_times, parts.trials)
    if recipe.on_unsorted_spikes == "drop" or (has_clock_resets and recipe.on_unsorted_spikes == "error"):
        parts = _ascending_alone(file, parts)
    times, index, notes = in_order(
        file, (parts.spike_times, parts.spike_index), on_unsorted=recipe.on_unsorted_spikes
    )
    moving = extent_of(*spans(parts))
    kept = units_on_clock(file, times, index, parts.units.ids, moving)
    parts = only_units(replace(parts, spike_times=times, spike_index=index), kept)
    times, index = parts.spike_times, parts.spike_index
    trial_extent = None if parts.trials is None else _edges(parts.trials)
    if moving is None:
        # Trials may be a small part of a recording.
        require_seconds(file, times, index, extent_of(trial_extent), what="trials")
    else:
        require_seconds(file, times, index, moving, what="kinematics")
    times, index = without_strays(file, times, index, extent_of(*spans(parts), trial_extent))
    step = require_resolution(file, times, bin_size_s=recipe.bin_size_s)
    times, index = without_repeats(file, times, index, on_repeated=recipe.on_repeated_spikes, resolution=step)
    say_twins(file, times, index, parts.units.ids)
    return replace(parts, spike_times=times, spike_index=index), notes


def only_units(parts: Parts, kept: np.ndarray) -> Parts:
    """Return parts with the units kept alone.

    Parameters
    ----------
    parts
        All units.
    kept
        Shape ``(n_units,)``, bool.
    """
    if kept.all():
        return parts
    units = UnitTable(
        ids=parts.units.ids[kept], area=parts.units.area[kept], heldout=parts.units.heldout[kept]
    )
    times, index = only_trains(parts.spike_times, parts.spike_index, kept)
    return replace(parts, units=units, spike_times=times, spike_index=index)


def spans(parts: Parts) -> list[FloatArray]:
    """Return first and last time of each series, s."""
    series = (parts.position, parts.velocity)
    return [each.time[[0, -1]] for each in series if each is not None and len(each.time)]


def _ascending_alone(file: NwbFile, parts: Parts) -> Parts:
    """Leave out units whose spike times fall, and say which."""
    falls = falling(parts.spike_times, parts.spike_index)
    if not falls.any():
        return parts
    if falls.all():
        raise DataError(
            f"{file.name}: the spike times of all {len(falls)} units fall. If their order means nothing, use "
            "--set on_unsorted_spikes=sort, or leave the session out."
        )
    shown = ", ".join(str(unit) for unit in parts.units.ids[falls][:8])
    file.say(
        f"{int(falls.sum())} of {len(falls)} units were left out: their spike times fall (units {shown})"
    )
    return only_units(parts, ~falls)


def _edges(trials: TrialTable) -> FloatArray:
    return np.concatenate([trials.events["start"], trials.events["stop"]])


def span_of(parts: Parts) -> FloatArray | None:
    """Return first and last spike, s, of units whose spikes ascend; None where there are none."""
    span = first_and_last(parts.spike_times, parts.spike_index)
    return None if span is None else np.array(span)


def extent_of_all(parts: Parts) -> tuple[float, float] | None:
    """Return from when to when there are kinematics, trials or spikes, s."""
    trials = None if parts.trials is None else _edges(parts.trials)
    return extent_of(*spans(parts), trials, span_of(parts))
