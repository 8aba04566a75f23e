"""What a whole ingest and a whole training take more for their manifests and for being flushed to the disk.

``python benchmarks/safety.py`` ingests one simulated session and trains a small model on it, again and
again, in turn as they are and with both left out (no manifest, no ``fsync``), in one process, and prints the
times of the least disturbed repeats and their ratio.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from unittest.mock import patch

from nwb_latents.pipeline.sources.folder import FolderSource
from nwb_latents.pipeline.sources.simulator import simulate_dandiset
from nwb_latents.pipeline.stages.ingest import ingest
from nwb_latents.pipeline.stages.train import train
from nwb_latents.schemas.manifest import FileDigest, Manifest
from nwb_latents.schemas.simulation import SimulateSettings
from nwb_latents.schemas.training import TrainSettings

if TYPE_CHECKING:
    from collections.abc import Iterator

SESSION = SimulateSettings(n_subjects=1, n_sessions=1, n_units=(71, 71), n_trials=144)
STEPS = 200


@contextmanager
def left_out() -> Iterator[None]:
    """Leave manifests and flushes out."""
    rooms = ("nwb_latents.pipeline.stores.trials", "nwb_latents.pipeline.training.run_files")

    def nothing(*_: object, **__: object) -> Manifest:
        return Manifest(files={})

    def no_digest(_: object) -> FileDigest:
        return FileDigest(size=0, sha256="0" * 64)

    with patch.object(os, "fsync", lambda _: None), patch(f"{rooms[0]}.manifest_of", nothing), \
            patch("nwb_latents.pipeline.stores.hashed_folder._digest", no_digest), \
            patch(f"{rooms[1]}.manifest_of", nothing):  # fmt: skip
        yield


def once(source: Path, *, steps: int) -> tuple[float, float, float, float]:
    """Return the seconds of one ingest and one training, then those of the processor."""
    with tempfile.TemporaryDirectory() as place:
        catalog = Path(place, "catalog.yaml")
        begin, cpu = time.perf_counter(), time.process_time()
        ingest(catalog, FolderSource([source]))
        between, cpu_between = time.perf_counter(), time.process_time()
        train(
            catalog,
            TrainSettings.model_validate({"model": {"name": "ndt"}, "max_steps": steps, "device": "cpu"}),
        )
        cpu_end = time.process_time()
        return between - begin, time.perf_counter() - between, cpu_between - cpu, cpu_end - cpu_between


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--steps", type=int, default=STEPS)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        source = simulate_dandiset(Path(place), SESSION)[0]
        once(source, steps=2)
        kept, bare = [], []
        for _ in range(asked.repeats):
            kept.append(once(source, steps=asked.steps))
            with left_out():
                bare.append(once(source, steps=asked.steps))
    names = ("ingest", "training", "ingest, of the processor", "training, of the processor")
    for column, name in enumerate(names):
        least, without = (min(row[column] for row in rows) for rows in (kept, bare))
        print(
            f"{name}: {least:.3f} s, without manifests and flushes {without:.3f} s: "
            f"{least - without:+.3f} s, ratio {least / without:.3f}"
        )


if __name__ == "__main__":
    main()
