"""The recording: an NWB file in which no two things are alike, so that none can be taken for another.

Positions are straight ramps and speeds are triangles, so that a value says at which time it was taken. They
are not of one movement: neither can stand in for the other.
Times are whole multiples of 0.1 ms (*ticks*), so that bins can be counted in integers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import h5py
import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

Seconds = TypeVar("Seconds", float, np.ndarray)

TICKS_PER_S = 10_000
TEXT = h5py.string_dtype()

IDS = [41, 7, 23, 12, 99, 5]
"""Ids of the units, in the order of the file."""

ELECTRODES = [[3], [5, 0], [1], [0], [4, 2], [2]]
"""Rows of each unit's electrodes: shuffled, and two units have two; the first one counts."""

PLACES = ["S1", "PMd", "SMA", "M1", "PMv", "area2"]
"""Place of each row of the electrode table."""

AREAS = ["M1", "area2", "PMd", "S1", "PMv", "SMA"]
"""What follows for the units, in the order of the file."""

HELDOUT = [False, False, True, False, True, False]
SLOW, RARE = 3, 4
"""Units that fire 5 times (below 0.1 Hz, so left out) and 9 times (above) in observed time."""

OBSERVED = [
    [(0.5, 20.51), (22.013, 61.0)],
    [(1.013, 40.0), (41.507, 60.777)],
    [(0.25, 60.9)],
    [(0.5, 20.51), (22.013, 61.0)],
    [(0.25, 60.9)],
    [(1.013, 40.0), (41.507, 60.777)],
]
"""Observed intervals of each unit: of three kinds."""

COMMON = [(1.013, 20.51), (22.013, 40.0), (41.507, 60.777)]
"""The time common to all of them, s."""

POSITION_START_S, POSITION_HZ, N_POSITION = 0.3, 100, 6000
REPEATED_AT = 2500
"""After this sample of the position another one has the same stamp, and a value that must not be used."""

VELOCITY_START_S, VELOCITY_HZ, N_VELOCITY = 0.5, 200, 12400
APEX_S, PERIOD_S = 3.0, 4.1
"""The speed is a triangle with a peak every `PERIOD_S`, on a ramp of 0.2 cm/s each second."""

HEADING = (0.6, -0.8)
TURNS_S = (30.31, 32.4)
"""When the position turns, on each axis."""

GO = [2.07, 2.9, *(round(2.07 + 4.1 * k, 4) for k in range(1, 15))]
ONSET = [2.32, 3.05, *(round(2.07 + 4.1 * k + 0.25 + 0.04 * k, 4) for k in range(1, 15))]
START = [round(go - 0.7 - 0.003 * k, 4) if k != 1 else 2.71 for k, go in enumerate(GO)]
STOP = [round(go + 2.2 + 0.007 * k, 4) if k > 1 else [2.7, 5.0][k] for k, go in enumerate(GO)]
TARGET_ON = [round(go - 0.1 - 0.005 * k, 4) for k, go in enumerate(GO)]
ONSET[3] = 10.42
"""On the edge of a bin of 20 ms; every other onset lies within its bin."""

DEGREES = [0, 90, 180, 270, 90, 0, 270, 180, 0, 90, 180, 270, 0, 90, 180, 270]
FAILED = 4
"""The trial that was not successful."""


def position_cm(seconds: Seconds) -> tuple[Seconds, Seconds]:
    """Return where the hand is: straight ramps that turn once, on each axis at another time."""
    return 35.0 - abs(seconds - TURNS_S[0]), 0.5 * abs(seconds - TURNS_S[1]) - 6.0


def speed_cm_s(seconds: Seconds) -> Seconds:
    """Return how fast it says it is: triangles on a ramp."""
    phase = (seconds - APEX_S) / PERIOD_S
    from_apex = abs(phase - np.round(phase)) * PERIOD_S
    return 4.0 + 0.2 * seconds + 20.0 * (1 - from_apex / (PERIOD_S / 2))


def spike_ticks() -> list[list[int]]:
    """Return the spikes of each unit, in ticks: no two steps alike, many on the edges of bins."""
    found = []
    for unit in range(len(IDS)):
        ticks, now, step = [], 2600 + 37 * unit, 0
        while now < 609_000:
            ticks.append(now)
            step += 1
            now += 130 + (step * (71 + 10 * unit)) % (830 - 60 * unit)
        found.append(ticks)
    # On the edges of bins of both widths, just before, and just within; and outside all that was observed.
    found[0] = sorted({*found[0], 100_000, 99_999, 103_000, 102_999, 150_001, 2_100, 608_990})
    found[SLOW] = [30_000, 110_000, 210_000, 300_000, 450_000, 520_000]
    found[RARE] = [31_000, 70_400, 120_000, 180_300, 215_000, 256_000, 310_700, 370_000, 430_200, 500_900]
    return found


def write_recording(path: Path) -> Path:
    """Write the file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as h5:
        h5.attrs.update({"nwb_version": "2.7.0", "neurodata_type": "NWBFile"})
        h5["session_description"] = "ruler"
        h5["identifier"] = "ruler-1"
        h5["session_start_time"] = "2014-02-03T04:05:06+00:00"
        h5["general/session_id"], h5["general/subject/subject_id"] = "1", "R"
        _write_units(h5)
        _write_series(h5)
        _write_trials(h5)
    return path


def _write_units(h5: h5py.File) -> None:
    units, spikes = h5.create_group("units"), spike_ticks()
    names = ["spike_times", "obs_intervals", "electrodes", "heldout"]
    units.attrs.update({"colnames": np.array(names, dtype=object), "neurodata_type": "Units"})
    units["id"] = IDS
    units["spike_times"] = np.concatenate(spikes) / TICKS_PER_S
    units["spike_times_index"] = np.cumsum([len(each) for each in spikes])
    units["obs_intervals"] = np.array([interval for each in OBSERVED for interval in each])
    units["obs_intervals_index"] = np.cumsum([len(each) for each in OBSERVED])
    units["electrodes"] = np.concatenate(ELECTRODES)
    units["electrodes_index"] = np.cumsum([len(each) for each in ELECTRODES])
    units["heldout"] = HELDOUT
    table = h5.create_group("general/extracellular_ephys/electrodes")
    table["id"] = np.arange(len(PLACES))
    table.create_dataset("group_name", data=[f"array {k}" for k in range(len(PLACES))], dtype=TEXT)
    table.create_dataset("location", data=PLACES, dtype=TEXT)


def _write_series(h5: h5py.File) -> None:
    time = [POSITION_START_S + k / POSITION_HZ for k in range(N_POSITION)]
    # Stored as mm from 3 cm on: metres are 0.001 times that, plus 0.03.
    places = [[(x - 3.0) * 10.0 for x in position_cm(t)] for t in time]
    time.insert(REPEATED_AT + 1, time[REPEATED_AT])
    places.insert(REPEATED_AT + 1, [150.0, -150.0])
    position = h5.create_group("processing/behavior/hand_pos")
    position.attrs["neurodata_type"] = "SpatialSeries"
    position["data"], position["timestamps"] = places, time
    position["data"].attrs.update({"unit": "meters", "conversion": 0.001, "offset": 0.03})

    speeds = [speed_cm_s(VELOCITY_START_S + k / VELOCITY_HZ) for k in range(N_VELOCITY)]
    velocity = h5.create_group("processing/behavior/hand_vel")
    velocity.attrs["neurodata_type"] = "TimeSeries"
    # Stored as half mm/s, off by 2 cm/s: cm/s are 0.05 times that, less 2.
    velocity["data"] = [[(s * part + 2.0) / 0.05 for part in HEADING] for s in speeds]
    velocity["data"].attrs.update({"unit": "cm/s", "conversion": 0.05, "offset": -2.0})
    velocity["starting_time"] = VELOCITY_START_S
    velocity["starting_time"].attrs.update({"rate": float(VELOCITY_HZ), "unit": "seconds"})


def _write_trials(h5: h5py.File) -> None:
    table = h5.create_group("intervals/trials")
    columns = {
        "start_time": START,
        "stop_time": STOP,
        "target_on_time": TARGET_ON,
        "go_cue_time": GO,
        "move_onset_time": ONSET,
        "target_dir": np.deg2rad(DEGREES),
    }
    table["id"] = np.arange(len(GO)) + 700
    for name, values in columns.items():
        table[name] = values
    results = ["F" if row == FAILED else "R" for row in range(len(GO))]
    table.create_dataset("result", data=results, dtype=TEXT)
    table.attrs["colnames"] = np.array([*columns, "result"], dtype=object)
