"""Export as a derived NWB file: what other NWB tools can plot and share, with a link to the raw recording.

The raw spikes stay in the source file, named here by its SHA-256; this file holds what was made of them.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from nwb_latents.pipeline.stores.exporters.hdf5 import Hdf5Exporter
from nwb_latents.schemas.export import EXPORT_VERSION, NwbExport

if TYPE_CHECKING:
    from pathlib import Path

    import xarray as xr
    from hdmf.common import DynamicTable
    from pynwb import NWBFile

    from nwb_latents.pipeline.stores.session import Session
    from nwb_latents.schemas.store import StoreAttributes

PLACEHOLDER_START = datetime(1970, 1, 1, tzinfo=UTC)

_TRIAL_COLUMNS = {
    "event_time": "Time of the event the trial is aligned to, s",
    "go_cue": "Time of the go cue, s; NaN where there is none",
    "target_on": "Time the target came on, s; NaN where there is none",
    "move_onset": "Time of movement onset, s; NaN where none was found",
    "peak_time": "Time of peak speed, s; NaN where there is none",
    "peak_speed": "Peak speed of the movement, cm/s; NaN where unknown",
    "reaction_time": "Movement onset minus go cue, s; NaN where unknown",
    "target_dir": "Direction of the target or reach, rad; NaN where unknown",
    "onset_quality": "How the onset was found",
    "condition": "Condition of the trial",
    "split": "train, val or test",
    "trial": "Row in the trial table of the source file, or number of the reach",
    "start_bin": "First sample of the trial in the series of this file",
}
_METRES_PER_CM = 0.01


class NwbExporter(Hdf5Exporter[NwbExport]):
    """Derived NWB files. The identifier is the export's key; ``/general/notes`` says the origin as JSON.

    ``/processing/ecephys`` holds ``smoothed_rates`` (Hz, ``(time, unit)``, NaN where not recorded) and
    ``spike_counts``; column j belongs to row j of ``unit_table`` beside them, whose ids are those of the
    units in the source file (NWB's own units table is for spike times).
    Species, sex and age of the subject are those of the settings, else those the source file states.
    ``/processing/behavior`` holds position and velocity, ``/intervals/trials`` the windows with their events
    and splits, ``/intervals/observed`` the time that was recorded.
    """

    name = "nwb"
    suffix = ".nwb"
    settings_type = NwbExport
    summary = "Write derived NWB files: smoothed rates, counts, kinematics, trials with events and splits."
    version = EXPORT_VERSION

    def write(self, session: Session, path: Path, settings: NwbExport) -> tuple[str, ...]:
        """Write one session."""
        import h5py  # noqa: PLC0415
        from pynwb import NWBHDF5IO  # noqa: PLC0415

        key = self.key(settings, session.store_key)
        nwb = _file(settings, session.attributes, identifier=key)
        _add_trials(nwb, session.trials, session.attributes)
        _add_observed(nwb, session)
        _add_activity(nwb, session, settings=settings)
        if settings.kinematics:
            _add_kinematics(nwb, session)
        with h5py.File(path, "w") as file, NWBHDF5IO(file=file, mode="w") as io:
            io.write(nwb)
        return ()


def _file(settings: NwbExport, attributes: StoreAttributes, *, identifier: str) -> NWBFile:
    from pynwb import NWBFile  # noqa: PLC0415
    from pynwb.file import Subject  # noqa: PLC0415

    origin = attributes.provenance
    known = settings.session_start or _stated_start(origin.session_start)
    start = known or PLACEHOLDER_START
    if start.tzinfo is None:
        start = start.replace(tzinfo=UTC)
    unknown = "" if known else " The start of the session is a placeholder."
    dandiset = [f"DANDI:{origin.dandiset}/{origin.dandiset_version}"] if origin.dandiset else None
    notes = {
        "store_key": attributes.store_key,
        "recipe": attributes.recipe.model_dump(mode="json"),
        "provenance": origin.model_dump(mode="json"),
        "dropped": attributes.dropped.model_dump(mode="json"),
    }
    nwb = NWBFile(
        session_description=f"Derived from {origin.source} ({origin.asset_digest}): binned spike counts, "
        f"smoothed rates, kinematics on the bins and trials aligned to "
        f"{attributes.recipe.align_to}.{unknown}",
        identifier=identifier,
        session_start_time=start,
        session_id=attributes.session.partition("_ses-")[2] or attributes.session,
        experiment_description=f"Task: {attributes.task}",
        keywords=["derived", "motor cortex", "firing rates", "reaching"],
        related_publications=dandiset,
        notes=json.dumps(notes),
        source_script=f"pipeline export nwb, transform version {attributes.transform_version}",
        source_script_file_name="pipeline",
    )
    nwb.subject = Subject(
        subject_id=attributes.subject,
        species=settings.species or origin.species,
        sex=_given(settings.sex, "U", origin.sex),
        age=_given(settings.age, "P0D/", origin.age),
        description="See the source file",
    )
    return nwb


def _stated_start(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _given(asked: str, unknown: str, stated: str | None) -> str:
    """Return what was asked for; where that is nothing, what the source file states."""
    return asked if asked != unknown else stated or unknown


def _unit_table(trials: xr.Dataset) -> DynamicTable:
    from hdmf.common import DynamicTable  # noqa: PLC0415

    table = DynamicTable(
        name="unit_table", description="Units of the series; ids are those of the source file"
    )
    table.add_column("area", "Brain area or electrode group")
    table.add_column("mean_rate", "Mean firing rate over the observed time, Hz")
    table.add_column("heldout", "Whether the unit is held out for co-smoothing")
    columns = (trials[name].values for name in ("unit", "area", "mean_rate", "heldout"))
    for unit, area, rate, is_out in zip(*columns, strict=True):
        table.add_row(id=int(unit), area=str(area) or "unknown", mean_rate=float(rate), heldout=bool(is_out))
    return table


def _add_trials(nwb: NWBFile, trials: xr.Dataset, attributes: StoreAttributes) -> None:
    for name, description in _TRIAL_COLUMNS.items():
        nwb.add_trial_column(name, description)
    bin_s = attributes.bin_size_s
    zero = trials["event_time"].values - trials["event_offset"].values
    first = zero + float(trials["time"].values[0])
    last = zero + float(trials["time"].values[-1]) + bin_s
    values = {name: _plain(trials[name].values) for name in _TRIAL_COLUMNS}
    for row in np.argsort(first, kind="stable"):
        nwb.add_trial(
            start_time=round(float(first[row]), 9),
            stop_time=round(float(last[row]), 9),
            **{name: column[row] for name, column in values.items()},
        )


def _plain(values: np.ndarray) -> list[Any]:
    plain: list[Any] = [str(v) for v in values] if values.dtype.kind == "O" else values.tolist()
    return plain


def _add_observed(nwb: NWBFile, session: Session) -> None:
    from pynwb.epoch import TimeIntervals  # noqa: PLC0415

    continuous = session.continuous
    observed = np.concatenate([[False], continuous["observed"].values.astype(bool), [False]])
    steps = np.flatnonzero(np.diff(observed.astype(np.int8)))
    time = continuous["time"].values
    edges = np.append(time, time[-1] + session.bin_size_s)
    table = TimeIntervals(name="observed", description="Time in which all units were recorded")
    for start, stop in edges[steps].reshape(-1, 2):
        table.add_interval(start_time=float(start), stop_time=float(stop))
    nwb.add_time_intervals(table)


def _add_activity(nwb: NWBFile, session: Session, *, settings: NwbExport) -> None:
    from pynwb import TimeSeries  # noqa: PLC0415

    module = nwb.create_processing_module("ecephys", "Spike counts and smoothed rates on one time grid")
    module.add(_unit_table(session.trials))
    continuous, clock = session.continuous, _clock(session)
    columns = "Column j is row j of unit_table. Samples stand for bins; times are left edges."
    module.add(
        TimeSeries(
            name="smoothed_rates",
            data=_packed(continuous["rates"].values),
            unit="Hz",
            description="Gaussian-smoothed firing rates, NaN where not recorded.",
            comments=columns,
            **clock,
        )
    )
    if settings.counts:
        module.add(
            TimeSeries(
                name="spike_counts",
                data=_packed(continuous["counts"].values),
                unit="spikes",
                description="Spikes per bin, 0 where not recorded.",
                comments=columns,
                **clock,
            )
        )


def _add_kinematics(nwb: NWBFile, session: Session) -> None:
    from pynwb import TimeSeries  # noqa: PLC0415
    from pynwb.behavior import BehavioralTimeSeries, Position, SpatialSeries  # noqa: PLC0415

    module = nwb.create_processing_module("behavior", "Hand or cursor kinematics at the centres of the bins")
    continuous, clock = session.continuous, _clock(session, at_centre=True)
    axes = f"Axes: {', '.join(map(str, continuous['axis'].values))}."
    series = SpatialSeries(
        name="hand_pos",
        data=_packed(continuous["position"].values),
        reference_frame=f"as in the source file. {axes}",
        description="Position at the bin centre, NaN where not recorded.",
        **_in_si(session, "meters"),
        **clock,
    )
    module.add(Position(spatial_series=series))
    velocity = TimeSeries(
        name="hand_vel",
        data=_packed(continuous["velocity"].values),
        description=f"Velocity at the bin centre, NaN where not recorded. {axes}",
        **_in_si(session, "m/s"),
        **clock,
    )
    module.add(BehavioralTimeSeries(name="Velocity", time_series=velocity))


def _in_si(session: Session, unit: str) -> dict[str, Any]:
    """Return unit and conversion of kinematics in cm; those that are no length keep their own unit."""
    own = session.attributes.kinematics_unit
    if own == "cm":
        return {"unit": unit, "conversion": _METRES_PER_CM}
    return {"unit": own + ("/s" if unit.endswith("/s") else ""), "conversion": 1.0}


def _clock(session: Session, *, at_centre: bool = False) -> dict[str, float]:
    bin_size_s = session.bin_size_s
    first = float(session.continuous["time"].values[0]) + (bin_size_s / 2 if at_centre else 0.0)
    return {"starting_time": first, "rate": 1.0 / bin_size_s}


def _packed(values: np.ndarray) -> Any:
    from hdmf.backends.hdf5 import H5DataIO  # noqa: PLC0415

    rows = max(1, min(len(values), (1 << 20) // max(1, values.dtype.itemsize * values.shape[1])))
    return H5DataIO(
        values, compression="gzip", compression_opts=1, shuffle=True, chunks=(rows, values.shape[1])
    )
