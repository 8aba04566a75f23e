"""Ingest, side by side with what a user would write by hand and with the least that can be done.

``python benchmarks/ingest.py`` writes recordings of known size (`recordings.py`) and prints ratios of
the least disturbed repeats; absolute times depend on the machine. All are timed in turn, so that a busy
machine disturbs all alike.

* ``naive``: pynwb and `units.to_dataframe()`, `numpy.histogram` per trial and unit, Gaussian and interpolated
  velocity per trial. Timed on a few trials and scaled to all, for it is linear in them.
* ``spike times only``: the same, reading of the units no more than the spike times.
* ``pynapple``: `load_file`, `count` and `smooth` over the session, velocity averaged per bin, cut at the
  trials. Its compiled functions are warm.
* ``ours``: `read_recording`, `make_trials`, `write_store`: from the file to the checked store.

Each in two ways: up to the arrays in memory, and with those arrays written, which for the first three is
xarray's `to_zarr` as it comes. Onsets are given to the first three; ours finds them, and measures the
session's quality.

* ``floor``: h5py read of the arrays needed and a plain zarr write of the same result, chunks and codec.
* the command with two processes (`--shard`, and `--cluster local:2`) against one on many sessions, and peak
  memory against the arrays read and stored.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import resource
import shutil
import statistics
import subprocess
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

from nwb_latents.pipeline.cluster.shard import Shard
from nwb_latents.pipeline.nwb.read import read_recording
from nwb_latents.pipeline.signals.trials import make_trials
from nwb_latents.pipeline.stores.catalog import read_catalog
from nwb_latents.pipeline.stores.trials import read_continuous, read_trials, to_dataset, write_store
from nwb_latents.schemas.recipe import IngestRecipe
from nwb_latents.schemas.store import Provenance, StoreAttributes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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
TARGETS = {
    "naive": 20.0,
    "spike times only": 20.0,
    "pynapple": 3.0,
    "floor": 2.0,
    "processes": 1.8,
    "memory": 4.0,
}
Groups = tuple[xr.Dataset, xr.Dataset]


@dataclass(frozen=True)
class Case:
    """One recording, its onsets and what ours makes of it."""

    path: Path
    onsets: np.ndarray
    groups: Groups


def naive(case: Case, n_trials: int, store: Path) -> dict[str, float]:
    """Return the seconds of each part; that of the trials is scaled from a few to all."""
    from pynwb import NWBHDF5IO

    clocks = [time.perf_counter()]
    with NWBHDF5IO(str(case.path), "r") as io:
        nwb = io.read()
        nwb.units.to_dataframe()
        clocks.append(time.perf_counter())
        spikes = [np.asarray(nwb.units.get_unit_spike_times(i)) for i in range(len(nwb.units))]
        series = nwb.processing["behavior"]["Velocity"]["cursor_vel"]
        clock, velocity = series.timestamps[:], series.data[:]
    clocks.append(time.perf_counter())
    rates = np.zeros((len(case.onsets), RECIPE.n_bins, len(spikes)))
    moved = np.zeros((len(case.onsets), RECIPE.n_bins, 2))
    for k, onset in enumerate(case.onsets[:n_trials]):
        edges = onset + RECIPE.window_s[0] + np.arange(RECIPE.n_bins + 1) * RECIPE.bin_size_s
        for i, times in enumerate(spikes):
            rates[k, :, i] = np.histogram(times, edges)[0]
        for axis in range(2):
            moved[k, :, axis] = np.interp((edges[1:] + edges[:-1]) / 2, clock, velocity[:, axis])
    rates[:n_trials] = gaussian_filter1d(
        rates[:n_trials] / RECIPE.bin_size_s, RECIPE.smooth_sigma_s / RECIPE.bin_size_s, axis=1
    )
    clocks.append(time.perf_counter())
    # Written as often as it takes to have content in all trials.
    content = np.arange(len(case.onsets)) % n_trials
    clocks.append(time.perf_counter())
    write_plainly(store, {"rates": rates[content], "velocity": moved[content]})
    clocks.append(time.perf_counter())
    frame, reading, trials, _, writing = np.diff(clocks).tolist()
    return {"frame": frame, "reading": reading, "trials": trials * len(rates) / n_trials, "writing": writing}


def pynapple(case: Case) -> dict[str, np.ndarray]:
    import pynapple as nap

    file = nap.load_file(str(case.path))
    counts = file["units"].count(RECIPE.bin_size_s)
    rates = counts.smooth(RECIPE.smooth_sigma_s) / RECIPE.bin_size_s
    velocity = file["cursor_vel"].bin_average(RECIPE.bin_size_s)
    windows = nap.IntervalSet(
        case.onsets + RECIPE.window_s[0], case.onsets + RECIPE.window_s[0] + RECIPE.n_bins * RECIPE.bin_size_s
    )
    cut = {
        "trial_rates": nap.build_tensor(rates, windows),
        "trial_velocity": nap.build_tensor(velocity, windows),
    }
    file.close()
    return {"counts": counts.values, "rates": rates.values, "velocity": velocity.values, **cut}


def write_plainly(store: Path, arrays: dict[str, np.ndarray]) -> None:
    variables = {
        name: ([f"{name}_{axis}" for axis in range(values.ndim)], values) for name, values in arrays.items()
    }
    xr.Dataset(variables).to_zarr(store, mode="w", consolidated=False)


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


def timed(work: Callable[..., object], *arguments: object) -> float:
    """Return seconds on the wall."""
    begin = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - begin


def compare(name: str, shape: Shape, folder: Path, *, repeats: int, n_trials: int) -> None:
    path = write_recording(folder / name / "sub-Bench_ses-CO-1.nwb", shape)
    groups = ours(path, folder / "a.zarr")
    case = Case(path, groups[0]["move_onset"].values, groups)
    pynapple(case)
    taken: dict[tuple[str, str], list[float]] = {}

    def record(who: str, upto: str, seconds: float) -> None:
        taken.setdefault((who, upto), []).append(seconds)

    for _ in range(repeats):
        parts = naive(case, n_trials, folder / "plain.zarr")
        for who, left_out in (("naive", ()), ("spike times only", ("frame",))):
            spent = {part: seconds for part, seconds in parts.items() if part not in left_out}
            record(who, "arrays", sum(spent.values()) - spent["writing"])
            record(who, "files", sum(spent.values()))
        begin = time.perf_counter()
        made = pynapple(case)
        record("pynapple", "arrays", time.perf_counter() - begin)
        write_plainly(folder / "plain.zarr", made)
        record("pynapple", "files", time.perf_counter() - begin)
        del made
        record("ours", "arrays", timed(no_write, path))
        record("ours", "files", timed(ours, path, folder / "a.zarr"))
        record("floor", "files", timed(floor, case, folder / "b.zarr"))
    print(
        f"\n{name}: {shape.n_units} units, {shape.n_spikes / 1e6:.1f} M spikes, {shape.duration_s:.0f} s, "
        f"{len(case.onsets)} trials, {path.stat().st_size / 1e6:.0f} MB, {repeats} repeats"
    )
    for (who, upto), values in taken.items():
        print(
            f"  {who + ', ' + upto:26}{min(values):9.3f} s   (median {statistics.median(values):.3f}, "
            f"max {max(values):.3f})"
        )
    least = {key: min(values) for key, values in taken.items()}
    for who in ("naive", "spike times only", "pynapple"):
        for upto in ("arrays", "files"):
            verdict(
                f"{who} / ours, {upto}", least[who, upto] / least["ours", upto], TARGETS[who], at_least=True
            )
    verdict(
        "ours / floor", least["ours", "files"] / least["floor", "files"], TARGETS["floor"], at_least=False
    )
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
    """Time the command itself: one process, two shards of the same sessions, and `--cluster local:2`."""
    shape = SHAPES["waveforms"]
    first = write_recording(folder / "sub-Bench_ses-CO-0.nwb", shape, session="CO-0")
    files = folder / "many"
    files.mkdir()
    for name in evenly_sharded(n_sessions):
        other = shutil.copy(first, files / f"sub-Bench_ses-{name}.nwb")
        with h5py.File(other, "r+") as h5:
            del h5["general/session_id"]
            h5["general/session_id"] = name
    taken: dict[str, list[float]] = {}
    for repeat in range(repeats):
        for how, commands in {
            "one process, one core": [(0, ())],
            "two shards, one core each": [(core, ("--shard", f"{core + 1}/2")) for core in range(2)],
            "local:2": [(None, ("--cluster", "local:2"))],
        }.items():
            catalog = folder / f"{len(how)}-{repeat}" / "catalog.yaml"
            taken.setdefault(how, []).append(timed(ingest_commands, catalog, files, commands))
            n_stores = len(read_catalog(catalog).sessions)
            if n_stores != n_sessions:
                raise RuntimeError(f"{how}: {n_stores} of {n_sessions} sessions are in the catalog")
            shutil.rmtree(catalog.parent)
    least = {how: min(values) for how, values in taken.items()}
    print(f"\n{n_sessions} sessions of {first.stat().st_size / 1e6:.0f} MB, start and end included")
    for how, seconds in least.items():
        print(f"  {how:26}{seconds:9.1f} s   (all: {', '.join(f'{value:.1f}' for value in taken[how])})")
    one, shards, workers = least.values()
    verdict("one process / two shards", one / shards, TARGETS["processes"], at_least=True)
    verdict("one process / local:2", one / workers, TARGETS["processes"], at_least=True)


def evenly_sharded(n_sessions: int) -> list[str]:
    """Return session ids of which half fall into each of two shards: a file's shard is that of its name."""
    halves: tuple[list[str], list[str]] = ([], [])
    for number in range(100 * n_sessions):
        name = f"CO-{number}"
        halves[Shard(1, 2).holds(f"sub-Bench_ses-{name}.nwb")].append(name)
    return [name for half in halves for name in half[: n_sessions // 2]]


def ingest_commands(
    catalog: Path, files: Path, commands: Sequence[tuple[int | None, tuple[str, ...]]]
) -> None:
    """Run ingest commands side by side, each on a core of its own where one is named, with one thread."""
    program = [
        str(Path(sys.executable).with_name("pipeline")),
        "run",
        "ingest",
        "--quiet",
        "--path",
        str(files),
    ]
    running = [
        subprocess.Popen(
            [
                *([] if core is None else ["taskset", "-c", str(core)]),
                *program,
                "--catalog",
                str(catalog),
                *words,
            ],
            env={**os.environ, **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")},
            stdout=subprocess.DEVNULL,
        )
        for core, words in commands
    ]
    codes = [process.wait() for process in running]
    if any(codes):
        raise RuntimeError(f"the commands ended with {codes}; what they said is above")


def verdict(what: str, value: float, target: float, *, at_least: bool) -> None:
    met = value >= target if at_least else value <= target
    sign = "≥" if at_least else "≤"
    print(f"  {what:34}{value:7.2f}   target {sign} {target:g}: {'met' if met else 'MISSED'}")


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
