"""Ingest, side by side with what a user would write by hand and with the least that can be done.

``python benchmarks/ingest.py`` writes recordings of known size (`recordings.py`) and prints ratios of
the least disturbed repeats; absolute times depend on the machine. All are timed in turn, so that a busy
machine disturbs all alike; processor time beside the wall's tells how busy it was, and how many cores worked.

* ``naive``: pynwb, `numpy.histogram` per trial and unit, Gaussian and interpolated velocity per trial;
  onsets are given, nothing is written. Timed on a few trials and scaled to all, for it is linear in them.
* ``pynapple``: `load_file`, `count` and `smooth` over the session, velocity averaged per bin, cut at the
  trials; onsets are given, nothing is written. Its compiled functions are warm.
* ``ours``: `read_recording`, `make_trials`, `write_store`: from the file to the checked store, onsets
  included; ``no write`` is the part before `write_store`, which is what the first two do.
* ``data frame``: ``naive`` with its spikes read by pynwb's `units.to_dataframe()`, once: what waveforms cost.
* ``floor``: h5py read of the arrays needed and a plain zarr write of the same result, chunks and codec.
* two processes against one on many sessions, and peak memory against the arrays read and stored.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import platform
import resource
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import xarray as xr
import zarr
from recordings import SHAPES, Shape, write_recording
from scipy.ndimage import gaussian_filter1d

from pipeline.nwb.read import read_recording
from pipeline.signals.trials import make_trials
from pipeline.sources.folder import FolderSource
from pipeline.stages.ingest import ingest
from pipeline.stores.trials import read_continuous, read_trials, to_dataset, write_store
from schemas.recipe import IngestRecipe
from schemas.store import Provenance, StoreAttributes

if TYPE_CHECKING:
    from collections.abc import Callable

RECIPE = IngestRecipe()
VELOCITY = "processing/behavior/Velocity/cursor_vel"
NEEDED = (
    "units/spike_times",
    "units/spike_times_index",
    "processing/behavior/Position/cursor_pos/data",
    "processing/behavior/Position/cursor_pos/timestamps",
    f"{VELOCITY}/data",
    f"{VELOCITY}/timestamps",
)
TARGETS = {"naive": 20.0, "data frame": 20.0, "pynapple": 3.0, "floor": 2.0, "processes": 1.8, "memory": 4.0}
Groups = tuple[xr.Dataset, xr.Dataset]


@dataclass(frozen=True)
class Case:
    """One recording, its onsets and what ours makes of it."""

    path: Path
    onsets: np.ndarray
    groups: Groups


def naive(case: Case, n_trials: int) -> np.ndarray:
    from pynwb import NWBHDF5IO

    with NWBHDF5IO(str(case.path), "r") as io:
        nwb = io.read()
        spikes = [np.asarray(nwb.units.get_unit_spike_times(i)) for i in range(len(nwb.units))]
        series = nwb.processing["behavior"]["Velocity"]["cursor_vel"]
        clock, velocity = series.timestamps[:], series.data[:]
    begin = time.perf_counter()
    out = np.zeros((n_trials, RECIPE.n_bins, len(spikes)))
    for k, onset in enumerate(case.onsets[:n_trials]):
        edges = onset + RECIPE.window_s[0] + np.arange(RECIPE.n_bins + 1) * RECIPE.bin_size_s
        for i, times in enumerate(spikes):
            out[k, :, i] = np.histogram(times, edges)[0]
        for axis in velocity.T:
            np.interp((edges[1:] + edges[:-1]) / 2, clock, axis)
    gaussian_filter1d(out / RECIPE.bin_size_s, RECIPE.smooth_sigma_s / RECIPE.bin_size_s, axis=1)
    return time.perf_counter() - begin


def naive_seconds(case: Case, n_trials: int) -> tuple[float, float]:
    """Return seconds on the wall and of the processor, scaled from a few trials to all."""
    begin = time.perf_counter()
    per_trials = naive(case, n_trials)
    reading = time.perf_counter() - begin - per_trials
    whole = reading + per_trials * len(case.onsets) / n_trials
    return whole, whole


def pynapple(case: Case) -> np.ndarray:
    import pynapple as nap

    file = nap.load_file(str(case.path))
    rates = file["units"].count(RECIPE.bin_size_s).smooth(RECIPE.smooth_sigma_s) / RECIPE.bin_size_s
    velocity = file["cursor_vel"].bin_average(RECIPE.bin_size_s)
    windows = nap.IntervalSet(
        case.onsets + RECIPE.window_s[0], case.onsets + RECIPE.window_s[0] + RECIPE.n_bins * RECIPE.bin_size_s
    )
    cut = nap.build_tensor(rates, windows), nap.build_tensor(velocity, windows)
    file.close()
    return cut[0]


def data_frame(path: Path) -> None:
    from pynwb import NWBHDF5IO

    with NWBHDF5IO(str(path), "r") as io:
        io.read().units.to_dataframe()


def no_write(path: Path) -> None:
    make_trials(read_recording(path, RECIPE), RECIPE)


def ours(path: Path, store: Path) -> Groups:
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
    del recording
    groups = (
        to_dataset("trials", made.trials, attributes),
        to_dataset("continuous", made.continuous, attributes),
    )
    write_store(store, *groups)
    return groups


def read_needed(path: Path) -> int:
    with h5py.File(path, "r") as h5:
        return sum(h5[name][()].nbytes for name in NEEDED if name in h5)


def floor(case: Case, store: Path) -> None:
    read_needed(case.path)
    root = zarr.open_group(store, mode="w", zarr_format=3)
    codec = zarr.codecs.ZstdCodec(level=1, checksum=True)
    for name, dataset in zip(("trials", "continuous"), case.groups, strict=True):
        for key, variable in dataset.variables.items():
            values = variable.values
            if values.dtype.kind == "O":
                values = values.astype(np.dtypes.StringDType())
            layout: dict[str, Any] = {}
            if values.ndim > 1:
                rows = max(1, min(len(values), (1 << 20) // values[0].nbytes))
                layout["chunks"] = (rows, *values.shape[1:])
                layout["shards"] = (-(-len(values) // rows) * rows, *values.shape[1:])
            if values.dtype.kind not in "OT":
                layout["compressors"] = (codec,)
            root.create_array(f"{name}/{key}", shape=values.shape, dtype=values.dtype, **layout)[...] = values


def timed(work: Callable[..., object], *arguments: object) -> tuple[float, float]:
    """Return seconds on the wall and of the processor, all threads together."""
    begin = time.perf_counter(), time.process_time()
    work(*arguments)
    return time.perf_counter() - begin[0], time.process_time() - begin[1]


def compare(name: str, shape: Shape, folder: Path, *, repeats: int, n_trials: int) -> None:
    path = write_recording(folder / name / "sub-Bench_ses-CO-1.nwb", shape)
    groups = ours(path, folder / "a.zarr")
    case = Case(path, groups[0]["move_onset"].values, groups)
    pynapple(case)
    taken: dict[str, list[tuple[float, float]]] = {
        "naive": [],
        "pynapple": [],
        "floor": [],
        "no write": [],
        "ours": [],
    }
    for _ in range(repeats):
        taken["naive"].append(naive_seconds(case, n_trials))
        taken["pynapple"].append(timed(pynapple, case))
        taken["floor"].append(timed(floor, case, folder / "b.zarr"))
        taken["no write"].append(timed(no_write, path))
        taken["ours"].append(timed(ours, path, folder / "a.zarr"))
    if shape.waveforms:
        reading = timed(data_frame, path)
        taken["data frame"] = [(wall + reading[0], cpu + reading[1]) for wall, cpu in taken["naive"]]
    least = {who: min(values)[0] for who, values in taken.items()}
    print(
        f"\n{name}: {shape.n_units} units, {shape.n_spikes / 1e6:.1f} M spikes, {shape.duration_s:.0f} s, "
        f"{len(case.onsets)} trials, {path.stat().st_size / 1e6:.0f} MB, {repeats} repeats"
    )
    for who, values in taken.items():
        walls, processor = zip(*values, strict=True)
        print(
            f"  {who:11}{min(walls):9.3f} s   (median {statistics.median(walls):.3f}, max {max(walls):.3f}; "
            f"processor {min(processor):.3f})"
        )
    for who in ("naive", "data frame", "pynapple"):
        if who in least:
            verdict(f"{who} / ours", least[who] / least["ours"], TARGETS[who], at_least=True)
            verdict(f"{who} / no write", least[who] / least["no write"], TARGETS[who], at_least=True)
    verdict("ours / floor", least["ours"] / least["floor"], TARGETS["floor"], at_least=False)
    memory(path, folder / "c.zarr")


def memory(path: Path, store: Path) -> None:
    """Ingest in a fresh process: what its peak adds to its imports, over the arrays read and stored."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        peak = pool.apply(peak_bytes, (path, store))
    read = read_needed(path)
    stored = sum(v.nbytes for group in (read_trials(store), read_continuous(store)) for v in group.values())
    print(f"  peak {peak / 1e6:.0f} MB above the imports, {read / 1e6:.0f} read, {stored / 1e6:.0f} stored")
    verdict("peak / (read + stored)", peak / (read + stored), TARGETS["memory"], at_least=False)


def peak_bytes(path: Path, store: Path) -> int:
    warm = write_recording(store.with_name("warm.nwb"), SHAPES["small"])
    ours(warm, store)
    before = high_water()
    ours(path, store)
    return high_water() - before


def high_water() -> int:
    """Return the largest resident size of this process so far, bytes.

    On Linux `getrusage` tells the parent's where that was larger, for the count survives fork and exec.
    """
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = [text for text in status.read_text().splitlines() if text.startswith("VmHWM")]
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def two_processes(folder: Path, *, n_sessions: int, repeats: int) -> None:
    shape = Shape(246, 1_900_000, 1800.0)
    first = write_recording(folder / "many" / "sub-Bench_ses-CO-0.nwb", shape, session="CO-0")
    for number in range(1, n_sessions):
        other = shutil.copy(first, first.with_name(f"sub-Bench_ses-CO-{number}.nwb"))
        with h5py.File(other, "r+") as h5:
            h5["general/session_id"][()] = f"CO-{number}"
    taken: dict[str, list[float]] = {"serial": [], "local:2": []}
    for repeat in range(repeats):
        for cluster, values in taken.items():
            catalog = folder / f"{cluster.replace(':', '')}-{repeat}" / "catalog.yaml"
            source = FolderSource([first.parent])
            values.append(timed(lambda: ingest(catalog, source, RECIPE, cluster=cluster))[0])  # noqa: B023
            shutil.rmtree(catalog.parent)
    one, two = (min(values) for values in taken.values())
    print(
        f"\n{n_sessions} sessions: one process {one:.1f} s, two processes {two:.1f} s, start of both included"
    )
    verdict("one / two processes", one / two, TARGETS["processes"], at_least=True)


def verdict(what: str, value: float, target: float, *, at_least: bool) -> None:
    met = value >= target if at_least else value <= target
    sign = "≥" if at_least else "≤"
    print(f"  {what:24}{value:7.2f}   target {sign} {target:g}: {'met' if met else 'MISSED'}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shapes", default="waveforms,long", help="of waveforms, long, small")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--naive-trials", type=int, default=10, help="trials the naive way is timed on")
    parser.add_argument("--sessions", type=int, default=24, help="sessions for two processes; 0: none")
    asked = parser.parse_args()
    versions = {name: __import__(name).__version__ for name in ("numpy", "h5py", "zarr", "pynwb", "pynapple")}
    print(f"{platform.machine()}, Python {platform.python_version()}, {json.dumps(versions)}")
    folder = Path(tempfile.mkdtemp())
    try:
        for name in filter(None, asked.shapes.split(",")):
            compare(name, SHAPES[name], folder, repeats=asked.repeats, n_trials=asked.naive_trials)
        if asked.sessions:
            two_processes(folder, n_sessions=asked.sessions, repeats=max(1, asked.repeats // 2))
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
