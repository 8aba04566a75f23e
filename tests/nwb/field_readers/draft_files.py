"""The small files of every layout as pynwb writes them: readers that go through pynwb read no others."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import numpy as np
from pynwb import NWBHDF5IO, NWBFile, TimeSeries
from pynwb.behavior import BehavioralTimeSeries, Position, SpatialSeries
from pynwb.file import Subject

if TYPE_CHECKING:
    from pathlib import Path

    from nwb.conftest import Draft
    from pynwb.core import MultiContainerInterface

ELECTRODES = "general/extracellular_ephys/electrodes"


def write_with_pynwb(draft: Draft, path: Path) -> Path:
    """Write a draft as a whole NWB file: the same arrays at the same paths, with all that NWB asks for."""
    nwbfile = NWBFile(
        session_description=draft.description,
        identifier=path.stem,
        session_start_time=dt.datetime(2020, 1, 6, tzinfo=dt.UTC),
        session_id=draft.session_id,
    )
    nwbfile.subject = Subject(subject_id=draft.subject, species="Macaca mulatta", sex="U", age="P8Y")
    _add_electrodes(nwbfile, draft)
    _add_units(nwbfile, draft)
    for place, attributes in draft.attributes.items():
        if "neurodata_type" in attributes:
            _add_series(nwbfile, draft, place)
    if "intervals/trials" in draft.columns:
        _add_trials(nwbfile, draft)
    with NWBHDF5IO(path, "w") as io:
        io.write(nwbfile)
    return path


def _add_electrodes(nwbfile: NWBFile, draft: Draft) -> None:
    names = draft.arrays.get(f"{ELECTRODES}/group_name")
    if names is None:
        return
    device = nwbfile.create_device(name="array")
    for name in dict.fromkeys(np.asarray(names).tolist()):
        nwbfile.create_electrode_group(name=name, description="array", location="cortex", device=device)
    for name in np.asarray(names).tolist():
        nwbfile.add_electrode(group=nwbfile.electrode_groups[name], location="cortex")


def _add_units(nwbfile: NWBFile, draft: Draft) -> None:
    arrays = {
        name.removeprefix("units/"): np.asarray(v) for name, v in draft.arrays.items() if "units/" in name
    }
    own = [name for name in draft.columns["units"] if name not in {"spike_times", "waveforms"}]
    for name in own:
        nwbfile.add_unit_column(name=name, description=name)
    for k, spikes in enumerate(draft.spikes):
        row: dict[str, object] = {name: arrays[name][k] for name in own}
        if "electrodes" in arrays:
            row["electrodes"] = [int(arrays["electrodes"][k])]
        if "obs_intervals" in arrays:
            last = arrays["obs_intervals_index"]
            row["obs_intervals"] = arrays["obs_intervals"][last[k - 1] if k else 0 : last[k]]
        nwbfile.add_unit(spike_times=spikes, id=int(arrays["id"][k]), **row)


def _add_series(nwbfile: NWBFile, draft: Draft, place: str) -> None:
    *folders, name = place.split("/")
    described = draft.attributes[f"{place}/data"]
    clock = draft.attributes.get(f"{place}/starting_time")
    words = {
        "name": name,
        "data": np.asarray(draft.arrays[f"{place}/data"]),
        "unit": described["unit"],
        "conversion": described["conversion"],
        "offset": described.get("offset", 0.0),
    }
    if clock is None:
        words["timestamps"] = draft.arrays[f"{place}/timestamps"]
    else:
        words |= {"starting_time": draft.arrays[f"{place}/starting_time"], "rate": clock["rate"]}
    is_place = draft.attributes[place]["neurodata_type"] == "SpatialSeries"
    series = SpatialSeries(reference_frame="centre", **words) if is_place else TimeSeries(**words)
    if folders[0] == "processing":
        behavior = nwbfile.processing.get("behavior") or nwbfile.create_processing_module(
            "behavior", "movement"
        )
        if len(folders) == 2:
            behavior.add(series)
        elif folders[2] in behavior.data_interfaces:
            _into(behavior[folders[2]], series)
        else:
            behavior.add(_container(folders[2], series))
    elif len(folders) == 1:
        nwbfile.add_acquisition(series)
    elif folders[1] in nwbfile.acquisition:
        _into(nwbfile.acquisition[folders[1]], series)
    else:
        nwbfile.add_acquisition(_container(folders[1], series))


def _container(name: str, series: TimeSeries) -> MultiContainerInterface:
    if isinstance(series, SpatialSeries):
        return Position(name=name, spatial_series=series)
    return BehavioralTimeSeries(name=name, time_series=series)


def _into(container: MultiContainerInterface, series: TimeSeries) -> None:
    if isinstance(series, SpatialSeries):
        container.add_spatial_series(series)
    else:
        container.add_timeseries(series)


def _add_trials(nwbfile: NWBFile, draft: Draft) -> None:
    own = [name for name in draft.columns["intervals/trials"] if name not in {"start_time", "stop_time"}]
    for name in own:
        nwbfile.add_trial_column(name=name, description=name)
    columns = {name: np.asarray(draft.arrays[f"intervals/trials/{name}"]) for name in own}
    for k, (start, stop) in enumerate(zip(draft.start, draft.stop, strict=True)):
        nwbfile.add_trial(start_time=start, stop_time=stop, **{name: columns[name][k] for name in own})
