"""Reading a recording where it lies, against downloading it, through an archive on the loopback interface.

``python benchmarks/stream.py`` simulates a session with waveforms (as 000688) and one with field potentials
(as 000070), serves them with a pause before each answer, and prints, for several block sizes, how many bytes
and requests the recording takes and how long it takes, and the same of the download. The loopback interface
costs nothing for each byte: the last column adds what the bytes take on a line of the given speed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from archive import LoopbackArchive
from archive.recordings import with_field_potentials, with_waveforms

from nwb_latents.pipeline.nwb.read import read_recording
from nwb_latents.pipeline.sources.dandi_archive import DandiSource
from nwb_latents.pipeline.sources.remote_file import RemoteFile
from nwb_latents.pipeline.sources.retry_policy import RetryPolicy
from nwb_latents.schemas.recipe import IngestRecipe

RECIPE = IngestRecipe()
DANDISET, VERSION = "000999", "0.240101.0000"


def streamed(source: DandiSource, asset, block_size: int) -> tuple[int, float]:
    begin = time.perf_counter()
    with RemoteFile(
        lambda: source.content_url(asset),
        size=asset.size,
        etag=None,
        policy=RetryPolicy(),
        name=Path(asset.path).name,
        block_size=block_size,
    ) as file:
        read_recording(file, RECIPE)
        return file.bytes_fetched, time.perf_counter() - begin


def downloaded(source: DandiSource, asset) -> tuple[int, float]:
    begin = time.perf_counter()
    read_recording(source.fetch(asset), RECIPE)
    return asset.size, time.perf_counter() - begin


def compare(path: Path, folder: Path, asked: argparse.Namespace) -> None:
    with LoopbackArchive({DANDISET: {VERSION: {path.name: path}}}) as archive:
        source = DandiSource(DANDISET, instance=archive.url, download_dir=folder)
        (asset,) = source.assets()
        archive.latency_s = asked.latency_ms / 1000
        for kib in (*asked.block_kib, None):
            n_before = len(archive.requests)
            n_bytes, seconds = (
                downloaded(source, asset) if kib is None else streamed(source, asset, kib << 10)
            )
            print(
                f"{'download' if kib is None else f'{kib} KiB':>9} {n_bytes / 1e6:8.2f} MB",
                f"{100 * n_bytes / asset.size:6.1f} % {len(archive.requests) - n_before:5d} requests",
                f"{seconds:7.2f} s {seconds + 8e-6 * n_bytes / asked.megabit_per_s:7.2f} s with the line",
            )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--units", type=int, default=60)
    parser.add_argument("--trials", type=int, default=150)
    parser.add_argument("--lfp-mb", type=int, default=400)
    parser.add_argument("--latency-ms", type=float, default=30)
    parser.add_argument("--megabit-per-s", type=float, default=200)
    parser.add_argument("--block-kib", type=int, nargs="+", default=[16, 32, 64, 128, 256])
    asked = parser.parse_args()
    os.environ["NO_PROXY"] = "127.0.0.1"
    folder = Path(tempfile.mkdtemp())
    size = {"n_units": asked.units, "n_trials": asked.trials}
    files = {
        "waveforms": with_waveforms(folder / "waveforms", **size),
        "field potentials": with_field_potentials(folder / "lfp", lfp_bytes=asked.lfp_mb * 1_000_000, **size),
    }
    for name, path in files.items():
        print(f"{name}: {path.stat().st_size / 1e6:.0f} MB, {asked.latency_ms:.0f} ms for each answer")
        compare(path, folder / name, asked)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
