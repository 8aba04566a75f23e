"""What each stage costs for some sessions: in one process, and in two of this machine.

``python benchmarks/cluster_stages.py [--sessions 8] [--trials 160] [--out FOLDER]`` simulates sessions, and
does every stage twice from the same start, as ``--cluster serial`` and as ``--cluster local:2``: wall time,
processor time of all its processes, and the most memory they held together. Numbers are ratios of one run of
this program; with the machine they stand in RESULTS.md.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

PLACES = ("serial", "local:2")
LOOK_S = 0.1
TRAINING = (
    "--model mdssm --max-steps 200 --seeds 2 --set model.latent_dim=16 --set model.dynamics_width=64 "
    "--set batch.trials_per_session=16"
)
STAGES = {
    "ingest": "run ingest --path {nwb}",
    "train": f"run train {TRAINING}",
    "decode": "run decode",
    "forecast": "run forecast",
    "evaluate": "run evaluate",
    "export": "export nwb",
    "verify": "catalog verify",
}


def measured(words: list[str]) -> tuple[float, float, float]:
    """Return wall time and processor time, s, and the most memory, MB, of a command and its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "nwb_latents.pipeline.cli.main", *words], stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "1"}, text=True,
    )  # fmt: skip
    most = [0.0]
    watch = threading.Thread(target=_watch, args=(process.pid, most), daemon=True)
    watch.start()
    _, said = process.communicate()
    wall = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if process.returncode:
        raise SystemExit(f"pipeline {' '.join(words)} ended with {process.returncode}:\n{said[-2000:]}")
    watch.join()
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu, most[0]


def _watch(pid: int, most: list[float]) -> None:
    try:
        root = psutil.Process(pid)
        while root.is_running() and root.status() != psutil.STATUS_ZOMBIE:
            held = 0
            for each in (root, *root.children(recursive=True)):
                try:
                    held += each.memory_full_info().pss
                except psutil.Error:
                    continue
            most[0] = max(most[0], held / 1e6)
            time.sleep(LOOK_S)
    except psutil.Error:
        return


def main() -> None:
    """Run every stage in both ways and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sessions", type=int, default=8, help="Sessions, of two subjects.")
    parser.add_argument("--trials", type=int, default=160, help="Trials of each.")
    parser.add_argument("--out", type=Path, help="Folder to work in; default: one that is removed.")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.out) as folder:
        root = Path(folder)
        nwb = root / "nwb"
        size = f"n_subjects=2 n_sessions={asked.sessions // 2} n_trials={asked.trials} waveforms=false"
        words = [word for setting in size.split() for word in ("--set", setting)]
        measured(["simulate", str(nwb), *words])
        print(f"{asked.sessions} sessions of {asked.trials} trials")
        print(
            "| stage | processes | wall, s | processor, s | memory, MB | faster |\n|---|---|---|---|---|---|"
        )
        start = root / "start"
        start.mkdir()
        for stage, text in STAGES.items():
            alone = 0.0
            for place in PLACES:
                work = root / place.replace(":", "-")
                shutil.copytree(start, work)
                catalog = ["--catalog", str(work / "catalog.yaml"), "--cluster", place]
                wall, cpu, memory = measured([*text.format(nwb=nwb).split(), *catalog])
                alone = alone or wall
                print(
                    f"| {stage} | {place} | {wall:.1f} | {cpu:.1f} | {memory:.0f} | {alone / wall:.2f} |",
                    flush=True,
                )
                if place == PLACES[-1]:
                    shutil.rmtree(start)
                    work.rename(start)
                else:
                    shutil.rmtree(work)


if __name__ == "__main__":
    main()
