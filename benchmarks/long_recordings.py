"""Long recordings for the benchmarks: written in blocks, so that their length costs disk and no memory.

``python benchmarks/long_recordings.py`` writes a recording of each shape, ingests it in a process of its own,
and prints the peak of the resident memory, what was estimated, the seconds, and the size of the store.

The file is that of `recordings.py` for a minute of few spikes; what grows with time is written over it.
Spikes are Poisson and say nothing about the reaches.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import numpy as np
from plan import peak_bytes
from recordings import Shape, write_recording

from nwb_latents.pipeline.cluster.estimate import estimate_memory
from nwb_latents.pipeline.nwb.recording_size import stated_size
from nwb_latents.pipeline.sources.folder import FolderSource
from nwb_latents.pipeline.stages.ingest import ingest
from nwb_latents.schemas.recipe import IngestRecipe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

TRIAL_S, REACH_S, REACH_CM = 4.0, 0.5, 8.0
_BLOCK = 1 << 20
"""Spikes or samples written together."""


def write_long_recording(path: Path, shape: Shape, *, seed: int = 0) -> Path:
    """Write a recording of any length and return its path."""
    rng = np.random.default_rng(seed)
    write_recording(path, Shape(shape.n_units, shape.n_units, 60.0), session="CO-1", seed=seed)
    with h5py.File(path, "r+") as file:
        _write_spikes(file, shape, rng)
        onset, angle = _write_trials(file["intervals/trials"], shape, rng)
        _write_kinematics(file["processing/behavior"], shape, onset, angle)
    return path


def _write_spikes(file: h5py.File, shape: Shape, rng: np.random.Generator) -> None:
    units = file["units"]
    share = rng.lognormal(sigma=0.8, size=shape.n_units)
    sizes = np.maximum(1, (shape.n_spikes * share / share.sum()).astype(np.int64))
    index = np.cumsum(sizes)
    times = _replaced(units, "spike_times", (int(index[-1]),))
    at = 0
    for n in sizes.tolist():
        for part in _spike_train(n, shape.duration_s, rng):
            times[at : at + len(part)] = part
            at += len(part)
    ends = _replaced(units, "spike_times_index", index.shape, dtype=np.uint64)
    ends[:] = index
    ends.attrs["target"] = times.ref


def _spike_train(n: int, duration_s: float, rng: np.random.Generator) -> Iterator[NDArray[np.float64]]:
    """Yield ascending times, uniform in stretches of equal numbers of spikes."""
    n_parts = -(-n // _BLOCK)
    for part in range(n_parts):
        own = n * (part + 1) // n_parts - n * part // n_parts
        yield np.sort(rng.uniform(part * duration_s / n_parts, (part + 1) * duration_s / n_parts, own))


def _write_trials(
    trials: h5py.Group, shape: Shape, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Write reaches out to one of eight targets, and back; return their onsets and directions."""
    start = np.arange(1.0, shape.duration_s - 2 * TRIAL_S, TRIAL_S)
    start = start[: len(start) // 2 * 2]
    go = start + rng.uniform(0.4, 0.6, len(start))
    angle = rng.integers(0, 8, len(start)) * np.pi / 4
    angle[1::2] = (angle[::2] + np.pi) % (2 * np.pi)
    columns = {
        "id": np.arange(len(start)),
        "start_time": start,
        "stop_time": start + TRIAL_S - 0.5,
        "target_on_time": start + 0.1,
        "go_cue_time": go,
        "target_id": np.round(angle / (np.pi / 4)),
        "target_dir": angle,
        "result": np.full(len(start), "R", dtype=object),
    }
    for name, values in columns.items():
        _replaced(trials, name, values.shape)[:] = values
    return go + rng.uniform(0.2, 0.4, len(start)), angle


def _write_kinematics(
    behavior: h5py.Group, shape: Shape, onset: NDArray[np.float64], angle: NDArray[np.float64]
) -> None:
    n = int(shape.duration_s * shape.kinematics_rate_hz)
    places = {"position": behavior["Position/cursor_pos"], "velocity": behavior["Velocity/cursor_vel"]}
    data = {name: _replaced(place, "data", (n, 2)) for name, place in places.items()}
    clocks = [_replaced(place, "timestamps", (n,)) for place in places.values()]
    toward = np.column_stack([np.cos(angle), np.sin(angle)])
    for lo in range(0, n, _BLOCK):
        time_s = np.arange(lo, min(lo + _BLOCK, n)) / shape.kinematics_rate_hz
        reach = np.searchsorted(onset, time_s, side="right") - 1
        tau = np.clip((time_s - onset[np.maximum(reach, 0)]) / REACH_S, 0, 1)
        way = REACH_CM * (10 * tau**3 - 15 * tau**4 + 6 * tau**5)
        speed = REACH_CM / REACH_S * 30 * tau**2 * (1 - tau) ** 2
        # Of a way back, the first of the two reaches has been made.
        base = np.where((reach % 2 == 1)[:, None], -REACH_CM * toward[reach], 0.0)
        known = (reach >= 0)[:, None]
        rows = slice(lo, lo + len(time_s))
        data["position"][rows] = np.where(known, base + way[:, None] * toward[reach], 0.0)
        data["velocity"][rows] = np.where(known, speed[:, None] * toward[reach], 0.0)
        for clock in clocks:
            clock[rows] = time_s


def _replaced(
    group: h5py.Group, name: str, shape: tuple[int, ...], *, dtype: type[np.generic] | None = None
) -> h5py.Dataset:
    """Return an empty array of another shape in the place of one, with its attributes."""
    old = group[name]
    attributes, dtype = dict(old.attrs), dtype or old.dtype
    del group[name]
    new = group.create_dataset(name, shape=shape, dtype=dtype)
    for key, value in attributes.items():
        new.attrs[key] = value
    return new


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--units", type=int, nargs="+", default=[200, 1000])
    parser.add_argument("--spikes", type=float, help="all spikes; default: 3 per second and unit")
    parser.add_argument("--kinematics-hz", type=float, default=100.0)
    parser.add_argument("--bins-ms", type=float, nargs="+", default=[20.0, 5.0, 1.0])
    parser.add_argument("--place", type=Path, help="folder to work in; default: that of temporary files")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        one(Path(asked.one[0]), float(asked.one[1]), Path(asked.one[2]))
        return
    print("units  hours  spikes M  bin ms   peak MB   estimate   seconds  of the CPU   store MB", flush=True)
    for units in asked.units:
        n_spikes = int(asked.spikes or 3.0 * units * asked.hours * 3600)
        shape = Shape(units, n_spikes, asked.hours * 3600, kinematics_rate_hz=asked.kinematics_hz)
        with tempfile.TemporaryDirectory(dir=asked.place) as place:
            path = write_long_recording(Path(place, "sub-Bench_ses-1.nwb"), shape)
            size = stated_size(path)
            for bin_ms in asked.bins_ms:
                estimate = 0 if size is None else estimate_memory(size, bin_size_s=bin_ms / 1e3)
                name = f"{units:5}  {asked.hours:5g}  {n_spikes / 1e6:8.1f}  {bin_ms:6g}"
                with tempfile.TemporaryDirectory(dir=place) as stores:
                    words = [sys.executable, __file__, "--one", str(path), str(bin_ms / 1e3), stores]
                    run = subprocess.run(words, capture_output=True, text=True, check=False)
                if run.returncode:
                    last = (run.stderr.strip().splitlines() or [""])[-1]
                    print(f"{name}   failed ({run.returncode}): {last[:160]}", flush=True)
                    continue
                found = json.loads(run.stdout)
                print(
                    f"{name}  {found['peak'] / 1e6:8.0f}  {estimate / 1e6:9.0f}  {found['seconds']:8.1f}  "
                    f"{found['busy']:10.1f}  "
                    f"{found['stored'] / 1e6:9.0f}",
                    flush=True,
                )


def one(path: Path, bin_s: float, place: Path) -> None:
    recipe = IngestRecipe(bin_size_s=bin_s)
    begin, busy = time.perf_counter(), time.process_time()
    ingest(place / "catalog.yaml", FolderSource([path]), recipe=recipe, force=True)
    seconds, busy = time.perf_counter() - begin, time.process_time() - busy
    stored = sum(each.stat().st_size for each in place.rglob("*") if each.is_file())
    print(json.dumps({"peak": peak_bytes(), "seconds": seconds, "busy": busy, "stored": stored}))


if __name__ == "__main__":
    main()
