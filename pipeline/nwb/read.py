"""From an NWB file to a `Recording`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.nwb.clock_resets import Parts, rebase
from nwb_latents.pipeline.nwb.file import NwbFile, NwbSource, open_nwb
from nwb_latents.pipeline.nwb.kinematics import read_kinematics, series_paths
from nwb_latents.pipeline.nwb.observed_time import apply_mask
from nwb_latents.pipeline.nwb.recognition import layout_of
from nwb_latents.pipeline.nwb.subject import subject_facts
from nwb_latents.pipeline.nwb.units import in_order, read_observed, read_spikes, read_unit_table
from nwb_latents.pipeline.signals.recording import FloatArray, Recording, Series

if TYPE_CHECKING:
    from nwb_latents.pipeline.nwb.layouts.layout import Layout
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
    with open_nwb(source, name=name) as file:
        layout = layout_of(file, recipe.layout)
        spike_times, spike_index = read_spikes(file)
        units = read_unit_table(file, layout)
        position, velocity, notes = read_kinematics(file, layout, recipe)
        trials = layout.trials(file, layout.events)
        checked = layout.checks(file, trials)
        parts = Parts(spike_times, spike_index, units, position, velocity, trials)
        observed: FloatArray | None = None
        moved: tuple[str, ...] = ()
        if layout.has_clock_resets:
            parts, observed, moved = rebase(file, parts)
        spike_times, spike_index, sorted_notes = in_order(
            file, (parts.spike_times, parts.spike_index), on_unsorted=recipe.on_unsorted_spikes
        )
        observed_notes: tuple[str, ...] = ()
        if observed is None:
            observed, observed_notes = read_observed(file)
        observed, mask_notes = apply_mask(file, layout, observed=observed)
        if observed is None:
            observed = _support(parts.position, parts.velocity, spike_times)
        _require_one_clock(file, parts, spike_times)
        paths = tuple("+".join(p) or None for p in series_paths(file, layout, recipe))
        return Recording(
            session=file.session,
            subject=file.subject,
            task=layout.task(file),
            layout=layout.name,
            spike_times=spike_times,
            spike_index=spike_index,
            units=parts.units,
            observed=observed,
            position=parts.position,
            velocity=parts.velocity,
            trials=parts.trials,
            axes=_axes(layout, parts.position, parts.velocity),
            position_series=paths[0],
            velocity_series=paths[1],
            warnings=(
                *layout.notes,
                *moved,
                *sorted_notes,
                *notes,
                *observed_notes,
                *mask_notes,
                *checked,
                *_in_band_warnings(file),
            ),
            subject_facts=subject_facts(file),
        )


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


def _require_one_clock(file: NwbFile, parts: Parts, spikes: FloatArray) -> None:
    extent = _support(parts.position, parts.velocity, np.zeros(0))
    if not len(extent) or not len(spikes):
        return
    first, last = float(spikes.min()), float(spikes.max())
    if first <= extent[0, 1] and last >= extent[0, 0]:
        return
    raise DataError(
        f"{file.name}: spikes span {first:.1f} to {last:.1f} s, the kinematics {extent[0, 0]:.1f} to "
        f"{extent[0, 1]:.1f} s: they share no time, and so no clock. Mend the time stamps or leave the "
        "session out."
    )


def _axes(layout: Layout, position: Series | None, velocity: Series | None) -> tuple[str, ...]:
    n = next((s.values.shape[1] for s in (position, velocity) if s is not None), 2)
    names = layout.axes or ("x", "y", "z")
    return names[:n] if n <= len(names) else tuple(f"axis{i}" for i in range(n))


def _in_band_warnings(file: NwbFile) -> tuple[str, ...]:
    description = file.text("session_description") or ""
    at = description.find("Warning")
    return (" ".join(description[at:].split()),) if at >= 0 else ()
