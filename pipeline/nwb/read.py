"""From an NWB file to a `Recording`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.nwb.clock_resets import Parts, rebase
from nwb_latents.pipeline.nwb.file import NwbFile, NwbSource, open_nwb
from nwb_latents.pipeline.nwb.kept_columns import with_columns
from nwb_latents.pipeline.nwb.kinematics import read_kinematics, series_paths
from nwb_latents.pipeline.nwb.layouts.trial_table import TRIALS, read_trial_table
from nwb_latents.pipeline.nwb.named_columns import as_named, names_columns, require_read
from nwb_latents.pipeline.nwb.observed_time import INVALID, apply_invalid, apply_mask, clipped
from nwb_latents.pipeline.nwb.observed_units import ever_observed, read_observed
from nwb_latents.pipeline.nwb.read_choices import (
    note_axes,
    note_other_tables,
    note_series,
    note_trials,
)
from nwb_latents.pipeline.nwb.recognition import blaming, layout_of
from nwb_latents.pipeline.nwb.session_spikes import (
    extent_of_all,
    in_session,
    only_units,
    span_of,
    spans,
)
from nwb_latents.pipeline.nwb.silent_time import without_silence
from nwb_latents.pipeline.nwb.spike_clock import extent_of, require_observed_seconds, require_observed_trials
from nwb_latents.pipeline.nwb.stated_ids import say_stated
from nwb_latents.pipeline.nwb.stored_onsets import no_onsets
from nwb_latents.pipeline.nwb.subject import subject_facts
from nwb_latents.pipeline.nwb.trial_checks import check_trials
from nwb_latents.pipeline.nwb.trial_columns import note_others
from nwb_latents.pipeline.nwb.trial_table_search import trial_table
from nwb_latents.pipeline.nwb.unit_areas import ELECTRODES
from nwb_latents.pipeline.nwb.unit_quality import good_units, quality_columns
from nwb_latents.pipeline.nwb.units import read_spikes, read_unit_table, units_table
from nwb_latents.pipeline.scratch import IN_MEMORY, Scratch, pieces
from nwb_latents.pipeline.signals.recording import FloatArray, Recording, Series

if TYPE_CHECKING:
    from nwb_latents.pipeline.nwb.layouts.layout import Layout
    from nwb_latents.pipeline.signals.recording import TrialTable
    from nwb_latents.schemas.recipe import IngestRecipe

_UNIT_ARRAYS = (
    "id", "spike_times", "spike_times_index", "obs_intervals", "obs_intervals_index", "electrodes",
    "electrodes_index", "heldout",
)  # fmt: skip
_ELECTRODE_ARRAYS = ("group_name", "location")
_GROUPS = (
    "acquisition", "analysis", "general", "general/extracellular_ephys", "general/subject", "intervals",
    "processing", "processing/behavior", "processing/ecephys", "scratch", "stimulus", "units", TRIALS,
    ELECTRODES,
)  # fmt: skip
_TABLES = (TRIALS, INVALID, "units", ELECTRODES)
_TRIAL_ARRAYS_NEVER = {"timeseries", "timeseries_index"}


def read_recording(
    source: NwbSource, recipe: IngestRecipe, *, name: str | None = None, scratch: Scratch = IN_MEMORY
) -> Recording:
    """Read one session.

    Parameters
    ----------
    source
        NWB file: HDF5, an NWB-Zarr directory, or a binary object that can be read and sought.
    recipe
        Layout, series and spike rules; everything else is used later.
    name
        Name of the file, for messages and for what its metadata lack; default: that of the source.
    scratch
        Where large arrays are read to; default: memory, whatever their size.

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
    with open_nwb(source, name=name, wanted=recipe.columns, scratch=scratch) as file:
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
    file = replace(file, trials_path=trial_table(file, recipe))
    say_stated(file)
    layout = layout_of(file, recipe.layout)
    _say_not_followed(file)
    spike_times, spike_index = read_spikes(file, on_not_finite=recipe.on_not_finite_spikes)
    units = read_unit_table(file, layout)
    is_good = good_units(file, units_table(file), recipe.units)
    moved_by = read_kinematics(file, layout, recipe)
    trials = _trials(file, layout, recipe)
    with blaming(layout, file):
        checked, task = layout.checks(file, trials), layout.task(file)
    paths = (moved_by.position_series, moved_by.velocity_series)
    note_series(file, recipe, position=paths[0], velocity=paths[1])
    note_trials(file, recipe, trials)
    note_axes(file, moved_by, trials)
    if trials is not None:
        note_others(file, file.trials_path)
    parts = Parts(spike_times, spike_index, units, moved_by.position, moved_by.velocity, trials)
    parts = replace(
        parts,
        trials=with_columns(
            file, parts.trials, recipe.trial_columns, has_clock_resets=layout.has_clock_resets
        ),
    )
    observed: FloatArray | None = None
    moved: tuple[str, ...] = ()
    if layout.has_clock_resets:
        parts, observed, moved = rebase(file, parts)
    check_trials(file, parts, uses_onsets=recipe.onset.method in {"auto", "column"}, unit=moved_by.unit)
    parts = only_units(parts, np.isin(parts.units.ids, units.ids[is_good]))
    parts, sorted_notes = in_session(file, parts, recipe, has_clock_resets=layout.has_clock_resets)
    is_stated = observed is not None
    if observed is None:
        seen = read_observed(file, group=recipe.units.observed_group)
        observed, is_used = seen.time, seen.is_used
        is_stated = observed is not None
    else:
        if recipe.units.observed_group is not None:
            file.say(
                "units.observed_group is not used: the clock was reset, so that the time observed is that of "
                "the trials, for all units"
            )
        is_used = ever_observed(file)
    if is_used is not None and len(is_used) == len(units):
        parts = only_units(parts, np.isin(parts.units.ids, units.ids[is_used]))
    observed, mask_notes = apply_mask(file, layout, observed=observed)
    if observed is None:
        observed = _support(parts.position, parts.velocity, parts.spike_times)
    require_observed_seconds(file, observed, extent_of_all(parts))
    if is_stated:
        require_observed_trials(file, observed, parts.trials)
    whole = extent_of(observed, *spans(parts), span_of(parts))
    observed = apply_invalid(file, clipped(file, observed, whole))
    observed = without_silence(file, observed, parts.spike_times, parts.spike_index, is_stated=is_stated)
    note_other_tables(file)
    return Recording(
        session=file.session,
        subject=file.subject,
        task=task,
        layout=layout.name,
        spike_times=parts.spike_times,
        spike_index=parts.spike_index,
        units=parts.units,
        observed=observed,
        position=parts.position,
        velocity=parts.velocity,
        trials=parts.trials,
        axes=_axes(layout, parts.position, parts.velocity),
        position_series="+".join(paths[0]) or None,
        velocity_series=None if recipe.velocity_from == "position" else "+".join(paths[1]) or None,
        # Before the warnings: what is odd about them is among these.
        identifier=file.identifier,
        start=file.start,
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
        source=file.name,
    )


def _say_not_followed(file: NwbFile) -> None:
    """Name links inside the tables that lead nowhere, and arrays where NWB has groups: nothing is there."""
    for broken in [link for root in _TABLES for link in file.tree.broken_links(root)]:
        file.say(f"{broken}, and there is nothing; it is passed over")
    for path in _GROUPS:
        if file.tree.shape(path) is not None:
            file.say(f"/{path} is an array where NWB has a group: nothing of what belongs there is read")


def _trials(file: NwbFile, layout: Layout, recipe: IngestRecipe) -> TrialTable | None:
    """Read the trial table; None where reaches are to be found from the speed, and that is said."""
    source, by_column = recipe.trials.source, recipe.onset.method == "column"
    if source == "speed":
        if by_column:
            raise DataError(
                f"{file.name}: onset.method is column, but trials.source is speed: no column is read. Use "
                "--set onset.method=auto, or --set trials.source=table."
            )
        file.say("trials.source is speed: the trial table is not read, reaches are found from the speed")
        return None
    with blaming(layout, file):
        trials = layout.trials(file, layout.events)
    if trials is not None:
        if names_columns(file.wanted):
            require_read(file, layout=layout.name)
            plain = read_trial_table(file, layout.events)
            trials = trials if plain is None else as_named(trials, plain, file.wanted)
        if by_column and "move_onset" not in trials.events:
            raise no_onsets(file, layout=layout.name)
        return trials
    there = "has no rows" if file.has(TRIALS) else "is not there"
    named = names_columns(file.wanted)
    if source == "table" or by_column or named:
        why = "trials.source is table" if source == "table" else "onset.method is column"
        auto = " --set onset.method=auto" if by_column else ""
        raise DataError(
            f"{file.name}: {', '.join(named) or why}, but /{TRIALS} {there}. Use --set trials.source=speed"
            f"{auto} to find reaches from the speed, or leave the session out."
        )
    file.say(f"/{TRIALS} {there}: reaches are found from the speed")
    return None


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
    paths |= {f"units/{name}" for name in quality_columns(file.tree.arrays("units"), recipe.units)}
    trials = trial_table(file, recipe)
    paths |= {f"{trials}/{name}" for name in file.tree.arrays(trials) if name not in _TRIAL_ARRAYS_NEVER}
    series = {path for each in series_paths(file, layout, recipe) for path in each}
    series |= {path for path in (layout.mask, *layout.also_reads) if path is not None}
    paths |= {f"{path}/{name}" for path in series for name in ("data", "timestamps", "starting_time")}
    return {path for path in paths if file.shape(path) is not None}


def _support(position: Series | None, velocity: Series | None, spikes: FloatArray) -> FloatArray:
    """Extent of the kinematics, or of the spikes where there are none."""
    times = [s.time[[0, -1]] for s in (position, velocity) if s is not None]
    if not times:
        ends = [(piece.min(), piece.max()) for piece in pieces(spikes)]
        return np.array([[min(e[0] for e in ends), max(e[1] for e in ends)]]) if ends else np.zeros((0, 2))
    return np.array([[min(t[0] for t in times), max(t[1] for t in times)]])


def _axes(layout: Layout, position: Series | None, velocity: Series | None) -> tuple[str, ...]:
    n = next((s.values.shape[1] for s in (position, velocity) if s is not None), 2)
    names = layout.axes or ("x", "y", "z")
    return names[:n] if n <= len(names) else tuple(f"axis{i}" for i in range(n))


def _in_band_warnings(file: NwbFile) -> tuple[str, ...]:
    description = file.text("session_description") or ""
    at = description.find("Warning")
    return (" ".join(description[at:].split()),) if at >= 0 else ()
