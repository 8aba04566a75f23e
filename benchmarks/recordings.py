"""Recordings for the benchmarks: NWB files in the 000688 layout, made of whole arrays in seconds.

Spikes are Poisson and say nothing about the reaches: what takes time in ingest is their number.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np
from hdmf.common import VectorData, VectorIndex
from pynwb import NWBHDF5IO, NWBFile, TimeSeries
from pynwb.behavior import BehavioralTimeSeries, Position, SpatialSeries
from pynwb.epoch import TimeIntervals
from pynwb.file import Subject
from pynwb.misc import Units
from scipy.integrate import cumulative_trapezoid

if TYPE_CHECKING:
    from pathlib import Path

TRIAL_S = 4.0
WAVEFORM_SAMPLES = 48


@dataclass(frozen=True)
class Shape:
    """Size of a recording."""

    n_units: int
    n_spikes: int
    duration_s: float
    waveforms: bool = False
    kinematics_rate_hz: float = 100.0


SHAPES = {
    "waveforms": Shape(246, 1_900_000, 1800.0, waveforms=True),
    "long": Shape(192, 60_000_000, 7200.0, kinematics_rate_hz=1000.0),
    "small": Shape(40, 200_000, 240.0),
}


def write_recording(path: Path, shape: Shape, *, session: str = "CO-1", seed: int = 0) -> Path:
    """Write one recording and return its path."""
    rng = np.random.default_rng(seed)
    nwb = NWBFile(
        session_description="Poisson spikes and minimum-jerk reaches",
        identifier=f"{session}-{seed}",
        session_start_time=datetime(2020, 1, 6, tzinfo=UTC),
        session_id=session,
    )
    nwb.subject = Subject(subject_id="Bench", species="Macaca mulatta", sex="U", age="P8Y")
    nwb.units = _units(shape, rng)
    _add_electrode(nwb)
    _add_reaches(nwb, shape, rng)
    path.parent.mkdir(parents=True, exist_ok=True)
    with NWBHDF5IO(str(path), "w") as io:
        io.write(nwb)
    return path


def _units(shape: Shape, rng: np.random.Generator) -> Units:
    share = rng.lognormal(sigma=0.8, size=shape.n_units)
    n_spikes = np.maximum(1, (shape.n_spikes * share / share.sum()).astype(np.int64))
    index = np.cumsum(n_spikes)
    times = np.empty(index[-1])
    for start, stop in zip(np.concatenate([[0], index[:-1]]), index, strict=True):
        # Order statistics of uniform times are normalised sums of exponentials: sorted without sorting.
        gaps = np.cumsum(rng.exponential(size=stop - start + 1))
        times[start:stop] = gaps[:-1] * (shape.duration_s / gaps[-1])
    spikes = VectorData(name="spike_times", description="spike times, s", data=times)
    columns = [spikes, VectorIndex(name="spike_times_index", target=spikes, data=index.astype(np.uint64))]
    if shape.waveforms:
        one = (np.sin(np.linspace(0, 6, WAVEFORM_SAMPLES)) * 100).astype(np.float32)
        values = VectorData(
            name="waveforms", description="of each spike, uV", data=np.tile(one[:, None], (len(times), 1))
        )
        per_spike = VectorIndex(
            name="waveforms_index",
            target=values,
            data=(np.arange(len(times), dtype=np.uint64) + 1) * WAVEFORM_SAMPLES,
        )
        columns += [
            values,
            per_spike,
            VectorIndex(name="waveforms_index_index", target=per_spike, data=index),
        ]
    return Units(
        name="units",
        description="Poisson units",
        id=np.arange(shape.n_units),
        columns=columns,
        colnames=["spike_times", "waveforms"] if shape.waveforms else ["spike_times"],
        waveform_rate=30_000.0,
    )


def _add_electrode(nwb: NWBFile) -> None:
    device = nwb.create_device("electrode_array_M1")
    group = nwb.create_electrode_group(
        "electrode_group_M1", description="array", location="M1", device=device
    )
    nwb.add_electrode(group=group, location="M1")


def _add_reaches(nwb: NWBFile, shape: Shape, rng: np.random.Generator) -> None:
    start = np.arange(1.0, shape.duration_s - 2 * TRIAL_S, TRIAL_S)
    go = start + 0.5
    onset = go + rng.uniform(0.2, 0.4, len(start))
    angle = rng.integers(0, 8, len(start)) * np.pi / 4
    angle[1::2] = (angle[: len(angle) // 2 * 2 : 2] + np.pi) % (2 * np.pi)  # out to a target, and back
    time = np.arange(0, shape.duration_s, 1 / shape.kinematics_rate_hz)
    speed, heading = np.zeros_like(time), np.zeros_like(time)
    for begin, direction in zip(onset, angle, strict=True):
        first, last = np.searchsorted(time, [begin, begin + 0.5])
        tau = (time[first:last] - begin) / 0.5
        speed[first:last] = 8 / 0.5 * 30 * tau**2 * (1 - tau) ** 2
        heading[first:last] = direction
    velocity = np.column_stack([speed * np.cos(heading), speed * np.sin(heading)])
    position = cumulative_trapezoid(velocity, time, axis=0, initial=0)
    behavior = nwb.create_processing_module("behavior", "cursor")
    place = SpatialSeries(
        name="cursor_pos", data=position, timestamps=time, unit="cm", reference_frame="screen"
    )
    speed_of = TimeSeries(name="cursor_vel", data=velocity, timestamps=time, unit="cm/s")
    behavior.add(Position(name="Position", spatial_series=place))
    behavior.add(BehavioralTimeSeries(name="Velocity", time_series=speed_of))
    columns = {
        "start_time": start,
        "stop_time": start + TRIAL_S - 0.5,
        "target_on_time": start + 0.1,
        "go_cue_time": go,
        "target_id": np.round(angle / (np.pi / 4)),
        "target_dir": angle,
        "result": np.full(len(start), "R", dtype=object),
    }
    nwb.trials = TimeIntervals(
        name="trials",
        description="reaches",
        columns=[VectorData(name=k, description=k.replace("_", " "), data=v) for k, v in columns.items()],
        colnames=list(columns),
    )
