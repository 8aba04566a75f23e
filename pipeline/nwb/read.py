"""From an NWB file to a `Recording`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import DataError, SettingsError
from pipeline.nwb.file import NwbFile, open_nwb
from pipeline.nwb.kinematics import find_series, read_series
from pipeline.nwb.layouts import generic, perich_miller
from pipeline.nwb.units import read_observed, read_spikes, read_unit_table
from pipeline.signals.recording import FloatArray, Recording, Series

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.nwb.layouts.layout import Layout
    from schemas.recipe import IngestRecipe

LAYOUTS: dict[str, Layout] = {layout.name: layout for layout in (perich_miller.LAYOUT, generic.LAYOUT)}
"""Layout adapters by name; the first that recognises a file reads it, `generic` recognises all."""


def read_recording(path: Path, recipe: IngestRecipe) -> Recording:
    """Read one session.

    Parameters
    ----------
    path
        NWB file.
    recipe
        Layout, series and spike rules; everything else is used later.

    Raises
    ------
    DataError
        If the file is not NWB or lacks what is needed.
    SettingsError
        If the recipe names an unknown layout.
    """
    with open_nwb(path) as file:
        layout = _layout(file, recipe.layout)
        spike_times, spike_index, notes = read_spikes(file, on_unsorted=recipe.on_unsorted_spikes)
        units = read_unit_table(file)
        position, velocity, paths, kinematic_notes = _kinematics(file, layout, recipe)
        observed, observed_notes = read_observed(file)
        trials = layout.trials(file, layout.events)
        return Recording(
            session=file.session,
            subject=file.subject,
            task=layout.task(file),
            layout=layout.name,
            spike_times=spike_times,
            spike_index=spike_index,
            units=units,
            observed=observed if observed is not None else _support(position, velocity),
            position=position,
            velocity=velocity,
            trials=trials,
            axes=_axes(position, velocity),
            position_series=paths[0],
            velocity_series=paths[1],
            warnings=(*notes, *kinematic_notes, *observed_notes, *_in_band_warnings(file)),
        )


def read_session_id(path: Path) -> tuple[str, str]:
    """Return session id and subject of a file without reading its data.

    Raises
    ------
    DataError
        If the file is not NWB.
    """
    with open_nwb(path) as file:
        return file.session, file.subject


def _layout(file: NwbFile, name: str) -> Layout:
    if name == "auto":
        return next(layout for layout in LAYOUTS.values() if layout.recognises(file))
    if name not in LAYOUTS:
        raise SettingsError(f"layout: expected auto or one of {', '.join(LAYOUTS)}, found {name!r}.")
    layout = LAYOUTS[name]
    if not layout.recognises(file):
        raise DataError(
            f"{file.name}: is not of the layout {name} ({layout.summary}). Use --set layout=auto."
        )
    return layout


def _kinematics(
    file: NwbFile, layout: Layout, recipe: IngestRecipe
) -> tuple[Series | None, Series | None, tuple[str | None, str | None], list[str]]:
    position_path = recipe.position_series or layout.position
    velocity_path = recipe.velocity_series or layout.velocity
    if position_path is None and velocity_path is None:
        position_path, velocity_path = find_series(file)
    if position_path is None and velocity_path is None:
        series = [
            p for root in ("processing", "acquisition") for p, kind in file.objects(root) if "Series" in kind
        ]
        there = f"It has: {', '.join(series[:8])}." if series else "It has no series at all."
        raise DataError(
            f"{file.name}: no position or velocity series of a hand or cursor found. {there} Name the right "
            "one with --set "
            "position_series=PATH or --set velocity_series=PATH."
        )
    notes: list[str] = []
    out: list[Series | None] = []
    for path in (position_path, velocity_path):
        if path is None:
            out.append(None)
            continue
        found, said = read_series(file, path.strip("/"), unit=layout.unit)
        out.append(found)
        notes += said
    position, velocity = out
    if position and velocity and position.values.shape[1] != velocity.values.shape[1]:
        n = min(position.values.shape[1], velocity.values.shape[1])
        notes.append(f"position and velocity have different numbers of axes; the first {n} are used")
        position = Series(position.time, position.values[:, :n])
        velocity = Series(velocity.time, velocity.values[:, :n])
    return position, velocity, (position_path, velocity_path), notes


def _support(position: Series | None, velocity: Series | None) -> FloatArray:
    times = [s.time[[0, -1]] for s in (position, velocity) if s is not None]
    return np.array([[min(t[0] for t in times), max(t[1] for t in times)]])


def _axes(position: Series | None, velocity: Series | None) -> tuple[str, ...]:
    n = next(s.values.shape[1] for s in (position, velocity) if s is not None)
    names = ("x", "y", "z")
    return names[:n] if n <= len(names) else tuple(f"axis{i}" for i in range(n))


def _in_band_warnings(file: NwbFile) -> tuple[str, ...]:
    description = file.text("session_description") or ""
    at = description.find("Warning")
    return (" ".join(description[at:].split()),) if at >= 0 else ()
