"""From an NWB file to a `Recording`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.nwb.clock_resets import Parts, rebase
from nwb_latents.pipeline.nwb.file import NwbFile, NwbSource, open_nwb
from nwb_latents.pipeline.nwb.kinematics import read_kinematics, series_paths
from nwb_latents.pipeline.nwb.layouts.trial_table import TRIALS
from nwb_latents.pipeline.nwb.observed_time import apply_invalid, apply_mask, clipped
from nwb_latents.pipeline.nwb.observed_units import ever_observed, read_observed
from nwb_latents.pipeline.nwb.read_choices import note_series, note_trials
from nwb_latents.pipeline.nwb.recognition import blaming, layout_of
from nwb_latents.pipeline.nwb.spike_clock import (
    extent_of,
    require_observed_seconds,
    require_seconds,
    without_strays,
)
from nwb_latents.pipeline.nwb.subject import subject_facts
from nwb_latents.pipeline.nwb.tables import Table
from nwb_latents.pipeline.nwb.units import (
    falling,
    in_order,
    read_spikes,
    read_unit_table,
)
from nwb_latents.pipeline.signals.recording import FloatArray, Recording, Series, UnitTable

if TYPE_CHECKING:
    from nwb_latents.pipeline.nwb.layouts.layout import Layout
    from nwb_latents.pipeline.signals.recording import IntArray, TrialTable
    from nwb_latents.schemas.recipe import IngestRecipe

_UNIT_ARRAYS = (
    "id", "spike_times", "spike_times_index", "obs_intervals", "obs_intervals_index", "electrodes",
    "electrodes_index", "heldout",
)  # fmt: skip
_ELECTRODE_ARRAYS = ("group_name", "location")
_TRIAL_ARRAYS_NEVER = {"timeseries", "timeseries_index"}


def read_recording(source: NwbSource, recipe: IngestRecipe, *, name: str | None = None) -> Recording:
    """Read one session.

    Parameters
    ----------
    source
        NWB file: HDF5, an NWB-Zarr directory, or a binary object that can be read and sought.
    recipe
        Layout, series and spike rules; everything else is used later.
    name
        Name of the file, for messages and for what its metadata lack; default: that of the source.

    Returns
    -------
    recording
        The continuous session. Position and velocity are None where the layout has files without kinematics
        and this is one.

    Raises
    ------
    DataError
        If the file is not NWB or lacks what is needed.
    SettingsError
        If the recipe names an unknown layout.
    """
    with open_nwb(source, name=name, wanted=recipe.columns) as file:
        return recording_of(file, recipe)


def recording_of(file: NwbFile, recipe: IngestRecipe) -> Recording:
    """Read one session of an open file; what was chosen and said before an error stays with the file.

    Parameters
    ----------
    file
        Opened with the columns the recipe names.
    recipe
        As for `read_recording`.

    Raises
    ------
    DataError, SettingsError
        As `read_recording`.
    """
    file = replace(file, keeps_failed=not recipe.trials.success_only)
    layout = layout_of(file, recipe.layout)
    spike_times, spike_index = read_spikes(file)
    units = read_unit_table(file, layout)
    moved_by = read_kinematics(file, layout, recipe)
    trials = _trials(file, layout, recipe)
    with blaming(layout, file):
        checked, task = layout.checks(file, trials), layout.task(file)
    paths = series_paths(file, layout, recipe)
    note_series(file, recipe, position=paths[0], velocity=paths[1])
    note_trials(file, recipe, trials)
    parts = Parts(spike_times, spike_index, units, moved_by.position, moved_by.velocity, trials)
    observed: FloatArray | None = None
    moved: tuple[str, ...] = ()
    if layout.has_clock_resets:
        parts, observed, moved = rebase(file, parts)
    if recipe.on_unsorted_spikes == "drop" or (
        layout.has_clock_resets and recipe.on_unsorted_spikes == "error"
    ):
        parts = _ascending_alone(file, parts)
    spike_times, spike_index, sorted_notes = in_order(
        file, (parts.spike_times, parts.spike_index), on_unsorted=recipe.on_unsorted_spikes
    )
    trial_extent = None if parts.trials is None else _edges(parts.trials)
    extent = extent_of(*_spans(parts.position, parts.velocity), trial_extent)
    require_seconds(file, spike_times, extent_of(*_spans(parts.position, parts.velocity)), what="kinematics")
    if not _spans(parts.position, parts.velocity):
        # Trials may be a small part of a recording.
        require_seconds(file, spike_times, extent_of(trial_extent), what="trials")
    spike_times, spike_index = without_strays(file, spike_times, spike_index, extent)
    if observed is None:
        seen = read_observed(file, group=recipe.units.observed_group)
        observed, is_used = seen.time, seen.is_used
    else:
        is_used = ever_observed(file)
    used = None if is_used is None or len(is_used) != len(units) else units.ids[is_used]
    units, spike_times, spike_index = _only_used(parts.units, spike_times, spike_index, used=used)
    observed, mask_notes = apply_mask(file, layout, observed=observed)
    if observed is None:
        observed = _support(parts.position, parts.velocity, spike_times)
    require_observed_seconds(
        file,
        observed,
        extent_of(*_spans(parts.position, parts.velocity), trial_extent, _span_of(spike_times)),
    )
    whole = extent_of(observed, *_spans(parts.position, parts.velocity), _span_of(spike_times))
    observed = apply_invalid(file, clipped(file, observed, whole))
    return Recording(
        session=file.session,
        subject=file.subject,
        task=task,
        layout=layout.name,
        spike_times=spike_times,
        spike_index=spike_index,
        units=units,
        observed=observed,
        position=parts.position,
        velocity=parts.velocity,
        trials=parts.trials,
        axes=_axes(layout, parts.position, parts.velocity),
        position_series="+".join(paths[0]) or None,
        velocity_series=None if recipe.velocity_from == "position" else "+".join(paths[1]) or None,
        warnings=(
            *layout.notes,
            *moved,
            *sorted_notes,
            *moved_by.warnings,
            *mask_notes,
            *checked,
            *file.said,
            *_in_band_warnings(file),
        ),
        choices=tuple(file.choices),
        kinematics_unit=moved_by.unit,
        subject_facts=subject_facts(file),
    )


def _trials(file: NwbFile, layout: Layout, recipe: IngestRecipe) -> TrialTable | None:
    """Read the trial table; None where reaches are to be found from the speed, and that is said."""
    source = recipe.trials.source
    if source == "speed":
        file.say("trials.source is speed: the trial table is not read, reaches are found from the speed")
        return None
    with blaming(layout, file):
        trials = layout.trials(file, layout.events)
    if trials is not None:
        if recipe.onset.method == "column" and "move_onset" not in trials.events:
            raise DataError(
                f"{file.name}: onset.method is column, but the trial table has no column of movement onsets "
                f"({', '.join(Table(file, TRIALS).names)}). Name one with --set columns.move_onset=NAME, or "
                "use --set onset.method=auto."
            )
        return trials
    there = "has no rows" if file.has(TRIALS) else "is not there"
    if source == "table" or recipe.onset.method == "column":
        why = "trials.source is table" if source == "table" else "onset.method is column"
        raise DataError(
            f"{file.name}: {why}, but /{TRIALS} {there}. Use --set trials.source=speed to find reaches from "
            "the speed, or leave the session out."
        )
    file.say(f"/{TRIALS} {there}: reaches are found from the speed")
    return None


def read_session_id(source: NwbSource, *, name: str | None = None) -> tuple[str, str]:
    """Return session id and subject of a file without reading its data.

    Parameters
    ----------
    source
        As for `read_recording`.
    name
        Name of the file where the source has none.

    Raises
    ------
    DataError
        If the file is not NWB.
    """
    with open_nwb(source, name=name) as file:
        return file.session, file.subject


def bytes_needed(source: NwbSource, recipe: IngestRecipe, *, name: str | None = None) -> tuple[int, int]:
    """Return how much of a file `read_recording` reads, without reading it.

    Parameters
    ----------
    source
        As for `read_recording`.
    recipe
        Layout and series.
    name
        Name of the file where the source has none.

    Returns
    -------
    needed, total
        Bytes of the datasets that are read, as they are stored (compressed), and bytes of the file. Neither
        waveforms nor field potentials nor movies are ever among those needed.

    Raises
    ------
    DataError
        If the file is not NWB.
    SettingsError
        If the recipe names an unknown layout.
    """
    with open_nwb(source, name=name) as file:
        needed = sum(file.tree.stored_bytes(path) for path in needed_paths(file, recipe))
        return needed, file.tree.size


def needed_paths(file: NwbFile, recipe: IngestRecipe) -> set[str]:
    """Return the paths of the datasets `read_recording` may read, other than single words of metadata.

    Parameters
    ----------
    file
        The open file.
    recipe
        Layout and series.
    """
    layout = layout_of(file, recipe.layout)
    electrodes = "general/extracellular_ephys/electrodes"
    paths = {f"units/{name}" for name in _UNIT_ARRAYS}
    paths |= {f"{electrodes}/{name}" for name in _ELECTRODE_ARRAYS}
    trials = "intervals/trials"
    paths |= {f"{trials}/{name}" for name in file.tree.arrays(trials) if name not in _TRIAL_ARRAYS_NEVER}
    series = {path for each in series_paths(file, layout, recipe) for path in each}
    series |= {path for path in (layout.mask, *layout.also_reads) if path is not None}
    paths |= {f"{path}/{name}" for path in series for name in ("data", "timestamps", "starting_time")}
    return {path for path in paths if file.shape(path) is not None}


def _support(position: Series | None, velocity: Series | None, spikes: FloatArray) -> FloatArray:
    """Extent of the kinematics, or of the spikes where there are none."""
    times = [s.time[[0, -1]] for s in (position, velocity) if s is not None]
    if not times:
        return np.array([[spikes.min(), spikes.max()]]) if len(spikes) else np.zeros((0, 2))
    return np.array([[min(t[0] for t in times), max(t[1] for t in times)]])


def _only_used(
    units: UnitTable, spikes: FloatArray, index: IntArray, *, used: IntArray | None
) -> tuple[UnitTable, FloatArray, IntArray]:
    """Leave out units whose ids are not among those used; None: all are."""
    if used is None:
        return units, spikes, index
    return _only(units, spikes, index, kept=np.flatnonzero(np.isin(units.ids, used)))


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
    units, times, index = _only(
        parts.units, parts.spike_times, parts.spike_index, kept=np.flatnonzero(~falls)
    )
    return replace(parts, units=units, spike_times=times, spike_index=index)


def _only(
    units: UnitTable, spikes: FloatArray, index: IntArray, *, kept: IntArray
) -> tuple[UnitTable, FloatArray, IntArray]:
    starts = np.concatenate([[0], index[:-1]])
    parts = [spikes[starts[unit] : index[unit]] for unit in kept]
    fewer = UnitTable(ids=units.ids[kept], area=units.area[kept], heldout=units.heldout[kept])
    return fewer, np.concatenate(parts), np.cumsum([len(part) for part in parts], dtype=np.int64)


def _spans(*series: Series | None) -> list[FloatArray]:
    return [each.time[[0, -1]] for each in series if each is not None and len(each.time)]


def _span_of(spikes: FloatArray) -> FloatArray | None:
    return np.array([spikes.min(), spikes.max()]) if len(spikes) else None


def _edges(trials: TrialTable) -> FloatArray:
    return np.concatenate([trials.events["start"], trials.events["stop"]])


def _axes(layout: Layout, position: Series | None, velocity: Series | None) -> tuple[str, ...]:
    n = next((s.values.shape[1] for s in (position, velocity) if s is not None), 2)
    names = layout.axes or ("x", "y", "z")
    return names[:n] if n <= len(names) else tuple(f"axis{i}" for i in range(n))


def _in_band_warnings(file: NwbFile) -> tuple[str, ...]:
    description = file.text("session_description") or ""
    at = description.find("Warning")
    return (" ".join(description[at:].split()),) if at >= 0 else ()
