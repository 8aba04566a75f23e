"""Faults a tired developer could make, put in one at a time, and whether the tests notice.

``python benchmarks/mutants.py [--room ROOM …] [--only TEXT] [--seed N] [--record FILE] [--check]`` copies
the project into a scratch folder, puts one fault of `benchmarks/faults` in, runs the test files that cover
the module (`faults.covering`), takes it out again, and prints a table of what was caught, by room, and
every fault that lives. ``--check`` only looks whether each fault still fits the code it is about.
``--seed`` draws the order within each room, so that a run that is stopped is a fair sample of all.
``--record`` keeps what became of each fault, one JSON line each; what it holds as caught is not tried
again, and counts; ``--again`` tries what it holds as not caught. ``--every 3 --from 1`` is one of three
parts that run side by side.

A fault is caught when a test fails that passes without it, which is tried. Tests that are not through in
`LIMIT_S` decide nothing.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import NoReturn

os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}

ROOT = Path(__file__).resolve().parents[1]
ROOMS = (
    "nwb", "signals", "stores", "training", "evaluation", "models", "sources", "schemas", "stages", "cli",
)  # fmt: skip
LIMIT_S = 300.0
CAUGHT, LIVES, UNDECIDED = "caught", "lives", "undecided"
LOADED = (
    "h5py", "hypothesis", "lightning_fabric", "numpy", "pandas", "pydantic", "pytest", "rich",
    "safetensors.torch", "scipy.interpolate", "scipy.ndimage", "scipy.optimize", "scipy.signal",
    "scipy.special", "torch", "typer", "xarray", "yaml", "zarr",
)  # fmt: skip
"""Packages that are loaded once for all runs."""

COPIED = (
    "src",
    "pipeline",
    "models",
    "schemas",
    "tests",
    "benchmarks",
    "pyproject.toml",
    "catalog.yaml",
    "docs",
    "README.md",
)


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes
    ----------
    path
        Module it is put into.
    old, new
        Text that stands there once, and what takes its place.
    why
        What goes wrong, in a line.
    also
        Test files that cover this in particular.
    """

    path: str
    old: str
    new: str
    why: str
    also: tuple[str, ...] = ()


def faults_of(room: str) -> list[Fault]:
    """Return the faults of a room."""
    return [Fault(*each) for each in importlib.import_module(f"faults.{room}").FAULTS]


def misfit(fault: Fault) -> str:
    """Say why a fault cannot be put in; nothing: it can."""
    path = ROOT / fault.path
    if not path.exists():
        return f"{fault.path} is not there"
    found = path.read_text(encoding="utf-8").count(fault.old)
    return "" if found == 1 else f"{fault.path} holds {fault.old!r} {found} times"


def tests_of(fault: Fault) -> list[str]:
    """Return what is run against a fault, in this order: what is named after the module tells soonest."""
    known = importlib.import_module("faults.covering").TESTS
    fitting = [begin for begin in known if fault.path.startswith(begin)]
    covering = known[max(fitting, key=len)] if fitting else ()
    module = f"src/nwb_latents/{fault.path}"
    path = Path(fault.path)
    names = (f"test_{path.stem}.py", f"test_{path.parent.name}_{path.stem}.py")
    named = [str(each.relative_to(ROOT)) for name in names for each in sorted((ROOT / "tests").rglob(name))]
    found = dict.fromkeys([module, *fault.also, *named, *covering])
    return [each for each in found if (ROOT / each).exists()]


def in_turn(tests: list[str]) -> list[list[str]]:
    """Return which tests share a process: the likeliest to tell, then all others; each ends at a failure.

    A folder of tests is none of the likeliest: all its files would be read first.
    """
    likeliest = [each for each in tests[:3] if each.endswith(".py")]
    return [each for each in (likeliest, [test for test in tests if test not in likeliest]) if each]


def scratch_copy(where: Path) -> Path:
    """Return a copy of the project that faults are put into."""
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, where / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy(source, where / name)
    return where


def became_of(
    fault: Fault, place: Path, *, number: int, limit_s: float, idle: list[str], trusted: set[str]
) -> tuple[str, float]:
    """Put a fault in, run the tests, take it out; return what became of it, and the time it took.

    A test that fails is run without the fault before it is believed: `trusted` are those that passed then,
    `idle` those that failed, or files that cannot be read without it either, and so notice nothing.
    """
    path = place / fault.path
    before = path.read_text(encoding="utf-8")
    broken = before.replace(fault.old, fault.new)
    begin = time.monotonic()
    try:
        for tests in in_turn(tests_of(fault)):
            while True:
                _write(path, broken, stamp=2 * number)
                left = max(limit_s - (time.monotonic() - begin), 0.0)
                words = [*tests, *(f"--{'deselect' if '::' in test else 'ignore'}={test}" for test in idle)]
                code, said = tested(words, place, limit_s=left, stops_at_first=True)
                if code in {None, 3, 4}:
                    what = "nothing" if code is None else "pytest itself failed"
                    return f"{UNDECIDED}: {what} in {limit_s:g} s", time.monotonic() - begin
                if code in {0, 5}:
                    break
                failed = next((found[1] for line in said.splitlines() if (found := _FAILED.match(line))), "")
                _write(path, before, stamp=2 * number + 1)
                if not failed or failed in trusted or passes(failed, place):
                    trusted.add(failed)
                    return f"{CAUGHT} by {failed or tests[0]}", time.monotonic() - begin
                idle.append(failed)
    finally:
        _write(path, before, stamp=2 * number + 1)
    return LIVES, time.monotonic() - begin


def _write(path: Path, text: str, *, stamp: int) -> None:
    """Write a module; compiled files go by size and whole seconds, and no two versions may share both."""
    path.write_text(text, encoding="utf-8")
    os.utime(path, (1_000_000_000 + stamp,) * 2)


_FAILED = re.compile(r"(?:FAILED|ERROR) (.*?)(?: - .*)?$")


def passes(test: str, place: Path) -> bool:
    """Return whether a test passes where no fault is."""
    return tested([test], place, limit_s=600.0, stops_at_first=True)[0] == 0


def tested(tests: list[str], place: Path, *, limit_s: float, stops_at_first: bool) -> tuple[int | None, str]:
    """Run tests in a process of their own; return pytest's exit code (None: none in time) and words.

    The process is a fork of this one, which has loaded the large packages, and nothing of the project.
    """
    if limit_s < 1:
        return None, ""
    spoken = place / ".said"
    process = os.fork()
    if not process:
        _run_pytest([*["-x"] * stops_at_first, *tests], place, spoken)
    until = time.monotonic() + limit_s
    while True:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status), spoken.read_text(encoding="utf-8", errors="replace")
        if time.monotonic() > until:
            os.killpg(process, signal.SIGKILL)
            os.waitpid(process, 0)
            return None, ""
        time.sleep(0.05)


def _run_pytest(words: list[str], place: Path, spoken: Path) -> NoReturn:
    """Be the process that runs tests."""
    import pytest

    code = 70
    try:
        os.setsid()
        os.chdir(place)
        file = os.open(spoken, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, 1)
        os.dup2(file, 2)
        os.environ["PYTHONPATH"] = str(place / "src")
        os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix = str(place / ".compiled")
        sys.path[:0] = [str(place / "src"), str(place)]
        code = int(pytest.main(["-q", "--no-header", "-p", "no:cacheprovider", *words]))
        sys.stdout.flush()
    finally:
        os._exit(code)


def asked_for() -> argparse.Namespace:
    """Return what the command line asks for."""
    words = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    words.add_argument("--room", action="append", choices=ROOMS, help="Only these rooms; repeatable.")
    words.add_argument("--only", default="", help="Only faults whose path or why holds this text.")
    words.add_argument("--check", action="store_true", help="Only look whether each fault can be put in.")
    words.add_argument("--take", type=int, help="The first so many of each room; default: all.")
    words.add_argument("--seed", type=int, help="Draw the order within each room; default: as listed.")
    words.add_argument("--every", type=int, default=1, help="Only each so-manieth fault.")
    words.add_argument("--from", dest="begin", type=int, default=0, help="The first of those.")
    words.add_argument("--record", type=Path, help="File that keeps what was tried; what it caught stays.")
    words.add_argument("--again", action="store_true", help="Only those of the record that were not caught.")
    words.add_argument("--limit", type=float, default=LIMIT_S, help="Time for one fault, s.")
    return words.parse_args()


def chosen_faults(asked: argparse.Namespace) -> list[tuple[str, Fault]]:
    """Return the faults that are asked for, one of each room in turn."""
    of_rooms = []
    for room in asked.room or ROOMS:
        found = [fault for fault in faults_of(room) if asked.only in f"{fault.path} {fault.why}"]
        if asked.seed is not None:
            random.Random(f"{asked.seed}/{room}").shuffle(found)
        of_rooms.append([(room, fault) for fault in found[: asked.take]])
    in_turn = [each for turn in zip_longest(*of_rooms) for each in turn if each is not None]
    if asked.again:
        tried = recorded(asked.record)
        in_turn = [
            (room, fault)
            for room, fault in in_turn
            if not tried.get((room, fault.path, fault.why), CAUGHT).startswith(CAUGHT)
        ]
    return in_turn[asked.begin :: asked.every]


def recorded(record: Path | None) -> dict[tuple[str, str, str], str]:
    """Return what became of faults in earlier runs, by room, module and words; the last counts."""
    if record is None or not record.exists():
        return {}
    lines = map(json.loads, record.read_text(encoding="utf-8").splitlines())
    return {(line["room"], line["path"], line["why"]): line["became"] for line in lines}


def main() -> int:
    """Put every fault in, and print what became of it."""
    asked = asked_for()
    chosen = chosen_faults(asked)
    unfit = [said for _, fault in chosen if (said := misfit(fault))]
    print("\n".join([*unfit, f"{len(chosen)} faults, {len(unfit)} of them do not fit the code"]), flush=True)
    if asked.check:
        return bool(unfit)
    before = recorded(asked.record)
    became = [
        (room, fault, what)
        for room, fault in chosen
        if (what := before.get((room, fault.path, fault.why), "")).startswith(CAUGHT)
    ]
    done = {fault for _, fault, _ in became}
    chosen = [(room, fault) for room, fault in chosen if fault not in done and not misfit(fault)]
    for name in LOADED:
        importlib.import_module(name)
    idle: list[str] = []
    trusted: set[str] = set()
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        place = scratch_copy(Path(folder))
        for number, (room, fault) in enumerate(chosen):
            what, seconds = became_of(
                fault, place, number=number, limit_s=asked.limit, idle=idle, trusted=trusted
            )
            became.append((room, fault, what))
            print(f"{room:<11} {seconds:5.0f} s  {fault.why}: {what}", flush=True)
            if asked.record:
                line = {"room": room, "path": fault.path, "why": fault.why, "became": what}
                with asked.record.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line, ensure_ascii=False) + "\n")
    is_caught = [what.startswith(CAUGHT) for *_, what in became]
    print("\n".join(["", *(f"{test} fails without a fault" for test in idle), *table(became, is_caught)]))
    return not all(is_caught)


def table(became: list[tuple[str, Fault, str]], is_caught: list[bool]) -> list[str]:
    """Return what was caught by room, and below it every fault that was not."""
    every = Counter(room for room, *_ in became)
    caught = Counter(room for (room, *_), yes in zip(became, is_caught, strict=True) if yes)
    return [
        "| room | faults | caught |",
        "|---|---|---|",
        *(f"| {room} | {n} | {caught[room]} |" for room, n in every.items()),
        f"| all | {len(became)} | {sum(is_caught)} ({sum(is_caught) / len(became):.0%}) |",
        "",
        *(
            f"{fault.path}: {fault.why} ({what})"
            for (_, fault, what), yes in zip(became, is_caught, strict=True)
            if not yes
        ),
    ]


if __name__ == "__main__":
    sys.exit(main())
