"""Workers of `--cluster local:2` that die while they ingest, as when the machine runs out of memory."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from robustness import forked
from robustness.base import plain, store_digests, unlike
from robustness.verdict import DONE, SILENT, SOME_FAILED, Verdict, plain_faults

if TYPE_CHECKING:
    import numpy as np

    from robustness.base import Base

WORDS = ("run", "ingest", "--path", "nwb", "--cluster", "local:2", "--json")
SESSIONS = ("1", "2", "3", "4")
CODES = frozenset({DONE, SOME_FAILED})
KILLS: dict[str, tuple[int, bool]] = {"one": (1, False), "all": (1, True), "again": (4, True)}
"""How often they are killed, and whether all there are or one of them."""

DRAWN = tuple(KILLS)


def attempt(trial: str, mutator: str, rng: np.random.Generator, base: Base) -> Verdict:
    """Kill workers at some moment of an ingest, run it again, and compare."""
    whole, seconds = base.known("workers", lambda: _undisturbed(base))
    folder = _prepared(base, trial)
    times, all_of_them = KILLS[mutator]
    after_s, seed = float(rng.uniform(0.0, 0.8 * seconds)), int(rng.integers(2**32))
    text = f"{mutator} killed {after_s:.1f} s after the first was there"
    verdict = Verdict(trial, text=text, command=" ".join(WORDS))
    ended = forked.run(
        WORDS,
        folder,
        as_program=True,
        beside=lambda pid: _kill(pid, after_s, times=times, all_of_them=all_of_them, seed=seed),
    )
    verdict.code, verdict.seconds = ended.code, round(ended.wall_s, 2)
    verdict.faults |= plain_faults(ended, CODES)
    failed = [e for e in ended.events if e.get("event") == "session" and e.get("status") == "failed"]
    verdict.said = " | ".join(str(e.get("reason")) for e in failed) + ended.err[-200:]
    if bool(failed) != (ended.code == SOME_FAILED) or not all(e.get("reason") for e in failed):
        verdict.faults[SILENT] = f"exit code {ended.code}, {len(failed)} sessions failed"
    again = forked.run(WORDS, folder, as_program=True)
    verdict.faults |= {k: f"again: {v}" for k, v in plain_faults(again, {DONE}).items()}
    if not verdict.faults:
        verify = forked.run(("catalog", "verify", "--json"), folder)
        verdict.faults |= {k: f"verify: {v}" for k, v in plain_faults(verify, {DONE}).items()}
        other = sorted(unlike(whole, forked.call(store_digests, str(folder))))
        if other:
            verdict.faults[SILENT] = f"other than undisturbed: {', '.join(other[:10])}"
    verdict.outcome = "fault" if verdict.faults else "same"
    return verdict


def _prepared(base: Base, name: str) -> Path:
    folder = base.empty(name)
    (folder / "nwb").mkdir()
    forked.call(_write, str(folder / "nwb"))
    return folder


def _write(folder: str) -> None:
    for session in SESSIONS:
        plain(Path(folder, f"{session}.nwb"), session=session)


def _undisturbed(base: Base) -> tuple[dict[str, str], float]:
    folder = _prepared(base, "whole-workers")
    ended = forked.run(WORDS, folder, as_program=True)
    if ended.code != 0:
        raise RuntimeError(ended.err)
    return forked.call(store_digests, str(folder)), ended.wall_s


def _kill(pid: int, after_s: float, *, times: int, all_of_them: bool, seed: int) -> None:
    """Kill workers of a command, once some are there."""
    chance = random.Random(seed)
    while not _workers(pid):
        time.sleep(0.05)
    time.sleep(after_s)
    for _ in range(times):
        found = _workers(pid)
        for worker in found if all_of_them else chance.sample(found, min(1, len(found))):
            with suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
        time.sleep(chance.uniform(0.2, 2.0))


def _workers(pid: int) -> list[int]:
    """Return the processes that a command has started with `multiprocessing`, by id."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                session = int((folder / "stat").read_text().rpartition(")")[2].split()[3])
                if session == pid and b"spawn_main" in (folder / "cmdline").read_bytes():
                    found.append(int(folder.name))
    return sorted(found)
