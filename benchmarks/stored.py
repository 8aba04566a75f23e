"""Trainings on many sessions: resident memory, time to the first step and per step, trials kept or read.

``python benchmarks/stored.py`` simulates two sessions, ingests them, makes 44, 200 and 1,000 stores of them
by linking their files under other names, and takes ``--steps`` steps of MDSSM on 20 sessions × 16 trials,
each training in a process of its own. Trials are either all read first, or read when they are drawn, with
``--room-gb`` for those that are kept. Trainings that would take more than ``--most-gb`` are left out, and
named.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from plan import peak_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nwb_latents.models.batching.tensors import Batch
    from nwb_latents.pipeline.stores.session import Session
    from nwb_latents.pipeline.training.step import Training

SESSIONS = (44, 200, 1000)
COPIES = 7.0
"""As `nwb_latents.pipeline.stages.stage_memory.TRIALS_COPIES`."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--most-gb", type=float, default=4.0)
    parser.add_argument("--room-gb", type=float, default=0.2)
    parser.add_argument("--sessions", type=int, nargs="*", default=SESSIONS)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        stores, n, room = asked.one
        one(Path(stores), int(n), None if room == "none" else float(room) * 1e9, steps=asked.steps)
        return
    with tempfile.TemporaryDirectory() as place:
        stores, each = made_stores(Path(place), max(asked.sessions))
        print(f"trials of a session: {each / 1e6:.1f} MB")
        print("sessions   trials             peak MB   first step s   s per step")
        for n in asked.sessions:
            for room in ("none", "0", str(asked.room_gb)):
                how = "all in memory" if room == "none" else f"read, {room} GB kept"
                if room == "none" and COPIES * n * each > asked.most_gb * 1e9:
                    print(f"{n:8}   {how:18} left out: {COPIES * n * each / 1e9:.1f} GB")
                    continue
                command = [sys.executable, __file__, "--one", str(stores), str(n), room]
                told = subprocess.run(
                    [*command, "--steps", str(asked.steps)], check=True, capture_output=True, text=True
                ).stdout
                found = json.loads(told.splitlines()[-1])
                peak, first, step = found["peak"] / 1e6, found["first"], found["step"]
                print(f"{n:8}   {how:18} {peak:7.0f} {first:14.1f} {step:12.2f}", flush=True)


def made_stores(place: Path, n: int) -> tuple[Path, int]:
    """Return a folder of stores 0 … n − 1, and the bytes of the trials of one."""
    import nwb_latents as nl
    from nwb_latents.pipeline.stages.stage_memory import store_bytes
    from nwb_latents.pipeline.stores.location import StoreLocation

    nl.simulate(place / "nwb", n_subjects=1, n_sessions=2, n_units=(100, 100), n_trials=300)
    catalog = place / "catalog.yaml"
    nl.ingest(catalog, path=place / "nwb")
    made = [Path(one) for one in sorted(place.rglob("*.zarr"))]
    stores = place / "stores-of-many"
    for number in range(n):
        shutil.copytree(made[number % 2], stores / f"{number}.zarr", copy_function=os.link)
    return stores, store_bytes(StoreLocation.parse(str(made[0])))[0]


def one(stores: Path, n: int, room: float | None, *, steps: int) -> None:
    """Train once and say what it took."""
    from nwb_latents.pipeline.stores.location import StoreLocation
    from nwb_latents.pipeline.training import loop
    from nwb_latents.pipeline.training.stored_trials import StoredSessions
    from nwb_latents.pipeline.training.training_start import begin, training_session
    from nwb_latents.schemas.training import TrainSettings

    def opened(number: int, *, loaded: bool) -> Session:
        store = StoreLocation.parse(str(stores / f"{number}.zarr"))
        session = training_session(store, 0.0, loaded=loaded)
        name = session.attributes.model_copy(update={"session": f"sub-{number:04}_ses-1"})
        return replace(session, attributes=name)

    settings = TrainSettings.model_validate({
        "device": "cpu", "max_steps": 10**6, "validate_every": 10**6, "checkpoint_every": 10**6,
        "batch": {"trials_per_session": 16},
    })  # fmt: skip
    began = time.perf_counter()
    if room is None:
        sessions = [opened(number, loaded=True) for number in range(n)]
        model, feeds = begin(sessions, settings)
    else:
        openers = [partial(opened, number, loaded=False) for number in range(n)]
        stored = StoredSessions(openers, stay_open=True)
        model, feeds = begin(stored, settings, room=int(room))
    ends, plain = [], loop.take_step

    def timed(training: Training, batches: Sequence[Batch]) -> None:
        plain(training, batches)
        ends.append(time.perf_counter())
        if len(ends) > steps:
            raise _EnoughError

    loop.take_step = timed
    with tempfile.TemporaryDirectory() as folder, suppress(_EnoughError):
        loop.fit(model, feeds, settings, Path(folder))
    seconds = (ends[-1] - ends[0]) / steps
    print(json.dumps({"peak": peak_bytes(), "first": ends[0] - began, "step": seconds}))


class _EnoughError(Exception):
    """Enough steps were taken; what follows a training is not timed."""


if __name__ == "__main__":
    main()
