"""A plain NWB file, and the changes that make it odd as labs and tools do."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np

from nwb_latents.pipeline.nwb.read import read_recording
from nwb_latents.pipeline.signals.trials import make_trials
from nwb_latents.pipeline.stores.settings import settings_from
from nwb_latents.schemas.recipe import IngestRecipe

if TYPE_CHECKING:
    from collections.abc import Callable

N_TRIALS, N_UNITS, RATE_HZ, LENGTH_S = 40, 6, 100.0, 130.0
BEHAVIOUR = "processing/behavior"
TRIALS = "intervals/trials"
SERIES = (f"{BEHAVIOUR}/hand_pos", f"{BEHAVIOUR}/hand_vel")
TEXT = h5py.string_dtype()


@dataclass
class Session:
    """A session of centre-out reaches with known onsets."""

    seed: int = 0
    time: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        self.time = np.arange(int(LENGTH_S * RATE_HZ)) / RATE_HZ
        self.go = 5 + 3.0 * np.arange(N_TRIALS) + rng.uniform(0, 0.3, N_TRIALS)
        self.angle = np.tile(np.arange(8), 5)[rng.permutation(N_TRIALS)] * np.pi / 4
        self.position = np.zeros((len(self.time), 2))
        for go, angle in zip(self.go, self.angle, strict=True):
            way = self._way(self.time - go - 0.25) - self._way(self.time - go - 1.25)
            self.position += 8 * way[:, None] * [np.cos(angle), np.sin(angle)]
        self.velocity = np.gradient(self.position, 1 / RATE_HZ, axis=0)
        preferred = np.linspace(0, 2 * np.pi, N_UNITS, endpoint=False)
        ahead = np.roll(self.velocity, -10, axis=0)
        rates = np.maximum(1.0, 15 + 0.6 * ahead @ np.stack([np.cos(preferred), np.sin(preferred)]))
        self.spikes = []
        for unit in range(N_UNITS):
            counts = rng.poisson(rates[:, unit] / RATE_HZ)
            spikes = np.sort(np.repeat(self.time, counts) + rng.uniform(0, 1 / RATE_HZ, counts.sum()))
            self.spikes.append(spikes[spikes < self.time[-1]])

    @staticmethod
    def _way(since: np.ndarray) -> np.ndarray:
        tau = np.clip(since / 0.45, 0, 1)
        return tau**3 * (10 - 15 * tau + 6 * tau**2)


SESSION = Session()


def write_plain(path: Path, *, shift_s: float = 0.0) -> Path:
    """Write the plain file."""
    s = SESSION
    with h5py.File(path, "w") as h5:
        h5.attrs.update({"nwb_version": "2.7.0", "neurodata_type": "NWBFile"})
        h5["session_description"] = "plain"
        h5["general/session_id"], h5["general/subject/subject_id"] = "1", "T"
        _units(h5, [spikes + shift_s for spikes in s.spikes])
        for name, kind, values, unit in (
            ("hand_pos", "SpatialSeries", s.position, "cm"),
            ("hand_vel", "TimeSeries", s.velocity, "cm/s"),
        ):
            group = h5.create_group(f"{BEHAVIOUR}/{name}")
            group.attrs["neurodata_type"] = kind
            group["data"] = values
            group["data"].attrs.update({"unit": unit, "conversion": 1.0, "offset": 0.0})
            group["timestamps"] = s.time + shift_s
        table = h5.create_group(TRIALS)
        columns = {
            "start_time": s.go - 0.6 + shift_s,
            "stop_time": s.go + 2.0 + shift_s,
            "go_cue_time": s.go + shift_s,
            "target_dir": s.angle,
        }
        for name, values in columns.items():
            table[name] = values
        table.create_dataset("result", data=["R"] * N_TRIALS, dtype=TEXT)
        table.attrs["colnames"] = np.array([*columns, "result"], dtype=object)
        table["id"] = np.arange(N_TRIALS)
    return path


def _units(h5: h5py.File, spikes: list[np.ndarray], *, at: str = "units") -> None:
    group = h5.create_group(at)
    group.attrs.update({"colnames": np.array(["spike_times"], dtype=object), "neurodata_type": "Units"})
    group["id"] = np.arange(len(spikes))
    group["spike_times"] = np.concatenate(spikes)
    group["spike_times_index"] = np.cumsum([len(each) for each in spikes])


def put(h5: h5py.File, path: str, values: object) -> None:
    """Replace a dataset, keeping its attributes."""
    attributes = dict(h5[path].attrs) if path in h5 else {}
    if path in h5:
        del h5[path]
    is_text = isinstance(values, list) and values and isinstance(values[0], str)
    made = h5.create_dataset(path, data=values, **({"dtype": TEXT} if is_text else {}))
    made.attrs.update(attributes)


def rename(old: str, new: str) -> Callable[[h5py.File], None]:
    """Return the change that gives a column of the trial table another name."""

    def change(h5: h5py.File) -> None:
        h5.move(f"{TRIALS}/{old}", f"{TRIALS}/{new}")
        names = [new if n == old else n for n in h5[TRIALS].attrs["colnames"]]
        h5[TRIALS].attrs["colnames"] = np.array(names, dtype=object)

    return change


def column(name: str, make: Callable[[np.ndarray], object]) -> Callable[[h5py.File], None]:
    """Return the change of a column of the trial table."""
    return lambda h5: put(h5, f"{TRIALS}/{name}", make(h5[f"{TRIALS}/{name}"][()]))


def of_series(make: Callable[[np.ndarray], object], part: str = "data") -> Callable[[h5py.File], None]:
    """Return the change of the samples, or another part, of both series."""

    def change(h5: h5py.File) -> None:
        for path in SERIES:
            put(h5, f"{path}/{part}", make(h5[f"{path}/{part}"][()]))

    return change


def attribute(name: str, value: object) -> Callable[[h5py.File], None]:
    """Return the change of an attribute of both series."""

    def change(h5: h5py.File) -> None:
        for path in SERIES:
            h5[f"{path}/data"].attrs[name] = value

    return change


def spikes(make: Callable[[list[np.ndarray]], list[np.ndarray]]) -> Callable[[h5py.File], None]:
    """Return the change of the spike times of all units."""

    def change(h5: h5py.File) -> None:
        del h5["units"]
        _units(h5, make([s.copy() for s in SESSION.spikes]))

    return change


def observed(rows: list[np.ndarray]) -> Callable[[h5py.File], None]:
    """Return the change that gives units observed intervals."""

    def change(h5: h5py.File) -> None:
        h5["units/obs_intervals"] = np.concatenate([np.reshape(row, (-1, 2)) for row in rows])
        h5["units/obs_intervals_index"] = np.cumsum([len(np.reshape(row, (-1, 2))) for row in rows])
        h5["units"].attrs["colnames"] = np.array(["spike_times", "obs_intervals"], dtype=object)

    return change


def only_edges(h5: h5py.File) -> None:
    for name in ("go_cue_time", "target_dir", "result"):
        del h5[f"{TRIALS}/{name}"]
    h5[TRIALS].attrs["colnames"] = np.array(["start_time", "stop_time"], dtype=object)


def no_kinematics_but(name: str, kind: str) -> Callable[[h5py.File], None]:
    def change(h5: h5py.File) -> None:
        h5.create_group(f"{BEHAVIOUR}/EyeTracking").attrs["neurodata_type"] = "EyeTracking"
        h5.move(SERIES[0], f"{BEHAVIOUR}/{name}")
        h5[f"{BEHAVIOUR}/{name}"].attrs["neurodata_type"] = kind
        del h5[SERIES[1]]

    return change


def x_and_y_apart(h5: h5py.File) -> None:
    for path in SERIES:
        for number, axis in enumerate("xy"):
            h5.copy(path, f"{path}_{axis}")
            put(h5, f"{path}_{axis}/data", h5[f"{path}/data"][:, number])
        del h5[path]


def one_axis_in_degrees(h5: h5py.File) -> None:
    for path, new, unit in zip(
        SERIES, ("ElbowAngle", "ElbowVelocity"), ("degrees", "degrees/s"), strict=True
    ):
        h5.move(path, f"{BEHAVIOUR}/{new}")
        put(h5, f"{BEHAVIOUR}/{new}/data", 5 * h5[f"{BEHAVIOUR}/{new}/data"][:, 0])
        h5[f"{BEHAVIOUR}/{new}/data"].attrs["unit"] = unit


def linked(target: str) -> Callable[[h5py.File], None]:
    def change(h5: h5py.File) -> None:
        del h5["units/spike_times"]
        h5["units/spike_times"] = h5py.SoftLink(target)

    return change


def outside(name: str, *, is_there: bool) -> Callable[[h5py.File], None]:
    """Put the series into another file, which may be gone."""

    def change(h5: h5py.File) -> None:
        other = Path(h5.filename).with_name(f"{name}.h5")
        if is_there:
            with h5py.File(other, "w") as target:
                for path in SERIES:
                    h5.copy(path, target, name=path.rsplit("/", 1)[-1])
        for path in SERIES:
            del h5[path]
            h5[path] = h5py.ExternalLink(other.name, "/" + path.rsplit("/", 1)[-1])

    return change


def invalid(start: float, stop: float) -> Callable[[h5py.File], None]:
    def change(h5: h5py.File) -> None:
        h5["intervals/invalid_times/id"] = [0]
        h5["intervals/invalid_times/start_time"] = [start]
        h5["intervals/invalid_times/stop_time"] = [stop]

    return change


def both(*changes: Callable[[h5py.File], None]) -> Callable[[h5py.File], None]:
    def change(h5: h5py.File) -> None:
        for each in changes:
            each(h5)

    return change


def changed(tmp_path: Path, change: Callable[[h5py.File], object]) -> Path:
    """Write the plain file with a change."""
    path = write_plain(tmp_path / "odd.nwb")
    with h5py.File(path, "r+") as h5:
        change(h5)
    return path


def read(path: Path, *words: str):
    """Return the recording and the trials of a file under settings."""
    recipe = settings_from(IngestRecipe, words=list(words)) if words else IngestRecipe()
    recording = read_recording(path, recipe)
    return recording, make_trials(recording, recipe)
