"""What it costs to plan thousands of sessions, to plan them again, and to enter them in the catalog.

``python benchmarks/plan.py`` times, for 5,000 sessions: the dry run of a folder of files and of a listing
with a full catalog, and the writes of the catalog of a run that makes 20 sessions a second. With
``--measure`` it prints peak memory and time of ingesting simulated sessions, each in a process of its own:
the constants of `pipeline.cluster.estimate`.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from nwb_latents.pipeline.cluster.estimate import estimate_session
from nwb_latents.pipeline.sources.asset import Asset
from nwb_latents.pipeline.sources.folder import FolderSource
from nwb_latents.pipeline.stages.catalog_batch import CatalogBatch
from nwb_latents.pipeline.stages.ingest import ingest
from nwb_latents.pipeline.stores.catalog import read_catalog
from nwb_latents.schemas.catalog import Catalog, SessionEntry
from nwb_latents.schemas.recipe import IngestRecipe

TARGET_S = 10.0
SHAPES = ((20, 50, False), (150, 300, True), (150, 300, False), (250, 900, True), (250, 900, False))


class Listing:
    """A source that lists."""

    def __init__(self, n: int) -> None:
        self._assets = [
            Asset(f"sub-{i % 9}/sub-{i % 9}_ses-{i:05d}.nwb", 10**8, f"sha256:{i}", "000999", "1")
            for i in range(n)
        ]

    def assets(self) -> list[Asset]:
        """List the files."""
        return self._assets


def entry(i: int) -> SessionEntry:
    return SessionEntry(
        session=f"sub-{i % 9}_ses-{i:05d}", subject=str(i % 9), task="CO", recipe_id=IngestRecipe().recipe_id,
        store=f"stores/20ms/sub-{i % 9}_ses-{i:05d}.zarr", store_key=f"{i:064d}", dandiset="000999@1",
        source=f"sub-{i % 9}/sub-{i % 9}_ses-{i:05d}.nwb", n_trials=200, n_units=100, n_bins=36,
        bin_size_s=0.02, created="2026-01-01T00:00:00+00:00",
    )  # fmt: skip


def show(what: str, seconds: float) -> None:
    print(f"{what:58}{seconds:7.2f} s   {'met' if seconds < TARGET_S else 'MISSED'} (< {TARGET_S:g} s)")


def timed_plan(catalog: Path, source: object) -> float:
    events: list[dict[str, object]] = []
    begin = time.perf_counter()
    ingest(catalog, source, dry_run=True, report=events.append)
    return time.perf_counter() - begin


def plan(n: int, folder: Path) -> None:
    for i in range(n):
        path = folder / "nwb" / f"sub-{i % 9}" / f"sub-{i % 9}_ses-{i:05d}.nwb"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    show(f"dry run, {n} files of a folder", timed_plan(folder / "none.yaml", FolderSource([folder / "nwb"])))
    show(f"dry run, {n} files of an archive", timed_plan(folder / "none.yaml", Listing(n)))


def catalog_writes(n: int, folder: Path) -> None:
    path = folder / "catalog.yaml"
    spent, pause = 0.0, 1 / 20
    clock = [0.0]
    original = time.monotonic
    # The clock of the batch runs as if each session took its time; only the writing is real.
    time.monotonic = lambda: original() + clock[0]
    try:
        with CatalogBatch(path, Catalog()) as batch:
            for i in range(n):
                clock[0] += pause
                begin = time.perf_counter()
                batch.add(entry(i))
                spent += time.perf_counter() - begin
    finally:
        time.monotonic = original
    print(f"catalog writes while {n} sessions are made in {n * pause:.0f} s: {spent:.1f} s")
    begin = time.perf_counter()
    read_catalog(path)
    print(f"reading a catalog of {n} sessions: {time.perf_counter() - begin:.2f} s")
    show(f"dry run, {n} files of an archive, all in the catalog", timed_plan(path, Listing(n)))


def measure() -> None:
    from nwb_latents.pipeline.sources.simulator import simulate_dandiset
    from nwb_latents.schemas.simulation import SimulateSettings

    for units, trials, waveforms in SHAPES:
        with tempfile.TemporaryDirectory() as place:
            settings = SimulateSettings(
                preset="classic",
                n_subjects=1,
                n_sessions=1,
                n_units=(units, units),
                n_trials=trials,
                waveforms=waveforms,
            )
            path = simulate_dandiset(Path(place), settings)[0]
            words = [sys.executable, __file__, "--one", str(path)]
            found = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
            estimate = estimate_session(path.stat().st_size)
        print(
            f"{units} units, {trials} trials, waveforms {waveforms}: {found['mb']:.0f} MB, "
            f"{found['seconds']:.1f} s (estimate {estimate.seconds:.1f}), "
            f"peak {found['peak_mb']:.0f} MB (estimate {estimate.memory_bytes / 1e6:.0f})"
        )


def one(path: Path) -> None:
    with tempfile.TemporaryDirectory() as place:
        begin = time.perf_counter()
        ingest(Path(place, "catalog.yaml"), FolderSource([path]))
        seconds = time.perf_counter() - begin
    print(json.dumps({"mb": path.stat().st_size / 1e6, "seconds": seconds, "peak_mb": peak_bytes() / 1e6}))


def peak_bytes() -> int:
    # On Linux getrusage tells the parent's peak where that was larger: the count survives fork and exec, and
    # the parent has simulated the session.
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = [text for text in status.read_text().splitlines() if text.startswith("VmHWM")]
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sessions", type=int, default=5000)
    parser.add_argument("--measure", action="store_true", help="memory and time of whole sessions")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        one(asked.one)
    elif asked.measure:
        measure()
    else:
        with tempfile.TemporaryDirectory() as place:
            plan(asked.sessions, Path(place))
            catalog_writes(asked.sessions, Path(place))


if __name__ == "__main__":
    main()
