"""Peak memory of ingest against what is estimated of it, for recordings of many shapes.

``python benchmarks/memory.py`` writes recordings (`recordings.py`) of 50 to 1,000 units, 10 minutes to 2
hours, ingests each in a process of its own with bins of 20 and of 5 ms, and prints the peak of the resident
memory, that per unit and bin, and the estimate (`pipeline.cluster.estimate`). Shapes that are estimated to
need more than ``--most-gb`` are left out, and named.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from plan import peak_bytes
from recordings import Shape, write_recording

from nwb_latents.pipeline.cluster.estimate import estimate_memory
from nwb_latents.pipeline.nwb.recording_size import stated_size
from nwb_latents.pipeline.sources.folder import FolderSource
from nwb_latents.pipeline.stages.ingest import ingest
from nwb_latents.schemas.recipe import IngestRecipe

UNITS = (50, 200, 1000)
MINUTES = (10, 60, 120)
RATES_HZ = (2.0, 10.0)
BINS_S = (0.02, 0.005)
DENSE_LIMIT = 20_000_000
"""Spikes; recordings of more are not written."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--most-gb", type=float, default=4.5)
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        one(Path(asked.one[0]), float(asked.one[1]))
        return
    print("units  minutes  Hz  bin ms   file MB   peak MB   estimate   bytes per unit and bin   seconds")
    for units in UNITS:
        for minutes in MINUTES:
            for rate_hz in RATES_HZ:
                shape = Shape(units, int(units * minutes * 60 * rate_hz), minutes * 60.0)
                if shape.n_spikes <= DENSE_LIMIT:
                    measure(shape, rate_hz, most_bytes=asked.most_gb * 1e9)


def measure(shape: Shape, rate_hz: float, *, most_bytes: float) -> None:
    with tempfile.TemporaryDirectory() as place:
        path = write_recording(Path(place, "sub-Bench_ses-1.nwb"), shape)
        for bin_s in BINS_S:
            cells = shape.n_units * shape.duration_s / bin_s
            name = f"{shape.n_units:5}  {shape.duration_s / 60:7.0f}  {rate_hz:2.0f}  {bin_s * 1e3:6.0f}"
            size = stated_size(path)
            estimate = 0 if size is None else estimate_memory(size, bin_size_s=bin_s)
            if estimate > most_bytes:
                print(f"{name}   left out: more than {most_bytes / 1e9:g} GB", flush=True)
                continue
            words = [sys.executable, __file__, "--one", str(path), str(bin_s)]
            found = json.loads(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
            per_cell = (found["peak"] - found["before"]) / cells
            print(
                f"{name}  {path.stat().st_size / 1e6:8.1f}  {found['peak'] / 1e6:8.0f}  "
                f"{estimate / 1e6:9.0f}  {per_cell:23.1f}  "
                f"{found['seconds']:8.1f}",
                flush=True,
            )


def one(path: Path, bin_s: float) -> None:
    recipe = IngestRecipe(bin_size_s=bin_s)
    before, begin = peak_bytes(), time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        ingest(Path(place, "catalog.yaml"), FolderSource([path]), recipe=recipe, force=True)
    seconds = time.perf_counter() - begin
    print(json.dumps({"before": before, "peak": peak_bytes(), "seconds": seconds}))


if __name__ == "__main__":
    main()
