"""Ingest of one session, side by side with what a user would write by hand, in one run.

``python benchmarks/ingest.py`` simulates a 000688-like session with waveforms and times, alternating:

* ``naive``: pynwb, `numpy.histogram` per trial and unit, `gaussian_filter1d` per trial; nothing is written;
* ``ours``: `read_recording`, `make_trials`, `write_store`, from the file to the store;
* ``floor``: h5py read of the arrays needed and zarr write of the same result.

Ratios of medians are printed; absolute times depend on the machine.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
from scipy.ndimage import gaussian_filter1d

from pipeline.nwb.read import read_recording
from pipeline.signals.trials import make_trials
from pipeline.sources.simulator import simulate_dandiset
from pipeline.stores.trials import to_dataset, write_store
from schemas.recipe import IngestRecipe
from schemas.simulation import SimulateSettings
from schemas.store import Provenance, StoreAttributes

RECIPE = IngestRecipe()


def naive(path: Path, onsets: np.ndarray) -> np.ndarray:
    from pynwb import NWBHDF5IO

    with NWBHDF5IO(str(path), "r") as io:
        units = io.read().units
        spikes = [np.asarray(units.get_unit_spike_times(i)) for i in range(len(units))]
    out = np.zeros((len(onsets), RECIPE.n_bins, len(spikes)))
    for k, onset in enumerate(onsets):
        edges = onset + RECIPE.window_s[0] + np.arange(RECIPE.n_bins + 1) * RECIPE.bin_size_s
        for i, times in enumerate(spikes):
            out[k, :, i] = np.histogram(times, edges)[0]
    return gaussian_filter1d(out / RECIPE.bin_size_s, RECIPE.smooth_sigma_s / RECIPE.bin_size_s, axis=1)


def ours(path: Path, store: Path):
    recording = read_recording(path, RECIPE)
    made = make_trials(recording, RECIPE)
    attributes = StoreAttributes(
        store_key="benchmark",
        session=recording.session,
        subject=recording.subject,
        task=recording.task,
        bin_size_s=RECIPE.bin_size_s,
        n_event_bins=-RECIPE.window_bins[0],
        recipe=RECIPE,
        provenance=Provenance(source=path.name, asset_digest="sha256:0", layout=recording.layout),
        dropped=made.dropped,
    )
    groups = (
        to_dataset("trials", made.trials, attributes),
        to_dataset("continuous", made.continuous, attributes),
    )
    write_store(store, *groups)
    return groups


def floor(path: Path, store: Path, groups) -> None:
    needed = ("units/spike_times", "units/spike_times_index", "processing/behavior/Position/cursor_pos/data")
    more = (
        "processing/behavior/Velocity/cursor_vel/data",
        "processing/behavior/Velocity/cursor_vel/timestamps",
    )
    with h5py.File(path, "r") as h5:
        for name in (*needed, *more):
            h5[name][()]
    write_store(store, *groups)


def seconds(work, *arguments) -> float:
    begin = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--units", type=int, default=150)
    parser.add_argument("--trials", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    settings = SimulateSettings(
        n_subjects=1, n_sessions=1, n_units=(asked.units, asked.units), n_trials=asked.trials
    )
    path = simulate_dandiset(folder, settings)[0]
    groups = ours(path, folder / "a.zarr")
    onsets = groups[0]["move_onset"].values
    taken: dict[str, list[float]] = {"naive": [], "ours": [], "floor": []}
    for _ in range(asked.repeats):
        taken["naive"].append(seconds(naive, path, onsets))
        taken["ours"].append(seconds(ours, path, folder / "a.zarr"))
        taken["floor"].append(seconds(floor, path, folder / "b.zarr", groups))
    middle = {name: statistics.median(values) for name, values in taken.items()}
    megabytes = path.stat().st_size / 1e6
    n_spikes = len(read_recording(path, RECIPE).spike_times)
    duration = float(groups[1]["time"][-1])
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}")
    print(
        f"{asked.units} units, {n_spikes} spikes, {duration:.0f} s, {len(onsets)} trials, {megabytes:.0f} MB"
    )
    for name, value in middle.items():
        print(f"{name:6} {value:7.3f} s  (min {min(taken[name]):.3f}, max {max(taken[name]):.3f})")
    print(
        f"naive / ours {middle['naive'] / middle['ours']:.1f}",
        f"ours / floor {middle['ours'] / middle['floor']:.2f}",
        sep="   ",
    )
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
