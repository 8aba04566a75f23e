"""What catalogs of many sessions, runs and measurements cost: to start a command, to add, read and compare.

``python benchmarks/catalog.py`` makes catalogs of 1, 1,000 and 10,000 sessions with 5 runs each and 50
measurements of every run, and times what users wait for, each in a process of its own: seconds on the clock
and, where the machine is busy with something else, seconds of the processor. ``--old "COMMAND"``
times the starts of another version of the program (``pipeline`` as one would type it) on catalogs that it can
read: the same sessions and runs, without numbers and with 12,000 scores.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nwb_latents.schemas.catalog import RunEntry, SessionEntry
    from nwb_latents.schemas.measurement import Measurement

# The program is imported in processes of its own: a process that is started inherits the peak memory of the
# one that starts it.

RECIPE = "20ms-a315a980"
RUNS, EACH = 5, 50
WRITERS = 16
METRICS = ("co_bps", "fp_bps", "nlb_velocity_r2", "psth_r2", "velocity_r2", "rate_r2", "state_r2")
OLD_SCORES = 12_000
PIPELINE = [sys.executable, "-m", "nwb_latents.pipeline.cli.main"]


def session(k: int) -> SessionEntry:
    from nwb_latents.schemas.catalog import SessionEntry

    name = f"sub-A_ses-{k:05d}"
    return SessionEntry(
        session=name, subject="A", task="CO", recipe_id=RECIPE, store=f"stores/{RECIPE}/{name}.zarr",
        store_key=f"{k:064x}", dandiset="000688@1", source=f"sub-A/{name}_behavior+ecephys.nwb", n_trials=200,
        n_units=90, n_bins=36, bin_size_s=0.02, created="2026-01-01T00:00:00+00:00",
    )  # fmt: skip


def run(k: int, seed: int) -> RunEntry:
    from nwb_latents.schemas.catalog import RunEntry

    metrics = {f"metric_{i}": 0.123456789 * i for i in range(15)}
    return RunEntry(
        run=f"lfads_{k}_{seed}", model="lfads", path=f"runs/lfads_{k}_{seed}",
        run_key=f"{k * RUNS + seed:064x}", recipe_id=RECIPE, sessions=(f"sub-A_ses-{k:05d}",), steps=2000,
        metrics=metrics, created="2026-01-01T00:00:00+00:00",
    )  # fmt: skip


def measured(k: int, seed: int) -> Iterator[Measurement]:
    """Yield the measurements of one run on one session: evaluations and steps of a forecast."""
    from nwb_latents.schemas.measurement import Measurement

    for number in range(EACH):
        is_step = number >= len(METRICS)
        name = "velocity_r2" if is_step else METRICS[number]
        value = (7919 * k + 104729 * seed + number) % 997 / 997
        of_forecast = {"seen_bins": 13, "bins": 20, "step": number} if is_step else {}
        yield Measurement(
            name=name, value=value, low=value - 0.1, high=value + 0.1, level=0.95, n_resamples=1000,
            unit="1", definition="r2_uniform", session=f"sub-A_ses-{k:05d}", recipe_id=RECIPE,
            store_key=f"{k:064x}", split="test", n_trials=54, n_samples=1944, n_units=90, n_heldout=22,
            source="forecast" if is_step else "reconstruction", run=f"lfads_{k}_{seed}",
            run_key=f"{k * RUNS + seed:064x}", model="lfads", label="lfads", group=f"group-{seed}", seed=0,
            stage="forecast" if is_step else "evaluate", decoder="ridge", decoder_settings={"alpha": 1.0},
            fitted_on="recorded rates", lag_ms=100.0, settings_digest="3dae2a80e71bd90f", program="0.1.0",
            time="2026-01-01T00:00:00.000+00:00", **of_forecast,
        )  # fmt: skip


def make(path: Path, n: int) -> None:
    """Write a catalog of n sessions with runs and measurements; of the latter, a file for each writer."""
    from nwb_latents.pipeline.stores.catalog import update_catalog
    from nwb_latents.pipeline.stores.measurement_lines import as_line, measurement_folder
    from nwb_latents.schemas.catalog import Catalog

    sessions = {f"{one.session}@{RECIPE}": one for one in map(session, range(n))}
    runs = {one.run: one for one in (run(k, seed) for k in range(n) for seed in range(RUNS))}
    update_catalog(path, lambda _: Catalog(sessions=sessions, runs=runs))
    measurement_folder(path).mkdir()
    for writer in range(min(WRITERS, n)):
        with (measurement_folder(path) / f"20260101T000000Z-a-{writer}-0.jsonl").open("wb") as file:
            for k in range(writer, n, WRITERS):
                file.writelines(as_line(one) for seed in range(RUNS) for one in measured(k, seed))


def timed(words: list[str]) -> tuple[float, float, float]:
    """Return the time a command takes and its CPU time, s, and its peak memory, MB."""
    begin = time.perf_counter()
    with Path(os.devnull).open("w") as nothing:
        process = subprocess.Popen(words, stdout=nothing, stderr=nothing)
        _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{shlex.join(words)}: ended with {os.waitstatus_to_exitcode(status)}")
    return time.perf_counter() - begin, used.ru_utime + used.ru_stime, used.ru_maxrss / 1e3


def least(words: list[str], repeats: int) -> tuple[float, float, float]:
    """Return the least of several: the machine may be busy with something else."""
    found = [timed(words) for _ in range(repeats)]
    wall, cpu, memory = (min(each) for each in zip(*found, strict=True))
    return wall, cpu, memory


def starts(paths: dict[int, Path], repeats: int) -> None:
    print("\n| command | sessions | s | CPU s | peak MB | allowed s |\n|---|---|---|---|---|---|")
    for command in (
        ["catalog", "list"],
        ["catalog", "list", "--json"],
        ["dandisets"],
        ["run", "decode", "--help"],
    ):
        first = 0.0
        for n, path in paths.items():
            words = [*PIPELINE, *command, *([] if "--help" in command else ["--catalog", str(path)])]
            wall, cpu, memory = least(words, repeats)
            first = first or wall
            allowed = f"{1.5 * first + 0.5:.2f}" if n == 1000 else ""
            print(f"| `{' '.join(command)}` | {n:,} | {wall:.2f} | {cpu:.2f} | {memory:.0f} | {allowed} |")


def python(code: str, *words: object) -> dict[str, Any]:
    """Return what a program in a process of its own prints as JSON."""
    command = [sys.executable, "-c", code, *map(str, words)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


ADD = """
import json, sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from catalog import measured, run, session
from nwb_latents.pipeline.stores.catalog import add_run, add_session
from nwb_latents.pipeline.stores.measurements import add_measurements
path, n, spent = Path(sys.argv[1]), int(sys.argv[2]), {}
def timed(what, call, times):
    call(0)
    taken = []
    for k in range(times):
        begin = time.perf_counter(), time.process_time()
        call(1 + k)
        taken.append((time.perf_counter() - begin[0], time.process_time() - begin[1]))
    spent[what] = sorted(taken)[times // 2]
one = next(measured(0, 0))
timed("measurement", lambda k: add_measurements(path, [one]), 50)
timed("session", lambda k: add_session(path, session(n + k)), 3)
timed("run", lambda k: add_run(path, run(n + k, 0)), 3)
print(json.dumps(spent))
"""
READ = """
import json, resource, sys, time, warnings
from pathlib import Path
import pandas, pyarrow.parquet
import nwb_latents as nl
from nwb_latents.pipeline.stages.leaderboard import leaderboard
from nwb_latents.pipeline.stores.catalog import read_catalog
from nwb_latents.pipeline.stores.measurements import read_measurements
path, name, spent = Path(sys.argv[1]), sys.argv[2], {}
calls = {
    "catalog": lambda: read_catalog(path),
    "first": lambda: read_measurements(path, columns=["value"]),
    "scores": lambda: nl.scores(path),
    "session": lambda: read_measurements(path, sessions=["sub-A_ses-00000"]),
    "board": lambda: leaderboard(path),
}
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
begin = time.perf_counter(), time.process_time()
found = calls[name]()
spent["s"], spent["cpu"] = time.perf_counter() - begin[0], time.process_time() - begin[1]
spent["mb"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e3
spent["n"] = len(found) if hasattr(found, "__len__") else 0
print(json.dumps(spent))
"""
READINGS = {
    "catalog": "read the catalog",
    "first": "first reading of all measurements, which writes the copy that is quick to read",
    "scores": "`nl.scores()`: all measurements, all fields",
    "session": "measurements of one session",
    "board": "leaderboard",
}


def adding(paths: dict[int, Path]) -> None:
    print("\n| adding one: ms, CPU ms | " + " | ".join(f"{n:,} sessions" for n in paths) + " |")
    print("|---" * (1 + len(paths)) + "|")
    here = str(Path(__file__).parent)
    found = [python(ADD, path, n, here) for n, path in paths.items()]
    for what in found[0]:
        print(
            f"| {what} | "
            + " | ".join(f"{1e3 * each[what][0]:.1f}, {1e3 * each[what][1]:.1f}" for each in found)
            + " |"
        )


def reading(paths: dict[int, Path]) -> None:
    print(
        "\n| reading: s, CPU s, MB above the imports | " + " | ".join(f"{n:,} sessions" for n in paths) + " |"
    )
    print("|---" * (1 + len(paths)) + "|")
    for name, what in READINGS.items():
        found = [python(READ, path, name) for path in paths.values()]
        print(f"| {what} | " + " | ".join(map(costs, found)) + " |")
    for path in paths.values():
        for copy in path.with_name("catalog.measurements").glob(".index-*.parquet"):
            copy.unlink()
    found = [python(READ, path, "board") for path in paths.values()]
    print("| leaderboard that reads for the first time | " + " | ".join(map(costs, found)) + " |")


def costs(found: dict[str, Any]) -> str:
    return f"{found['s']:.2f}, {found['cpu']:.2f}, {found['mb']:.0f}"


def old_version(command: list[str], folder: Path) -> None:
    """Time another version on catalogs that it can read."""
    import yaml

    print("\n| the version before | s | CPU s | peak MB |\n|---|---|---|---|")
    one = {
        "session": "sub-A_ses-00000", "recipe_id": RECIPE, "source": "rates", "lag_ms": 100.0, "value": 0.5,
        "definition": "r2_uniform", "split": "test", "n_trials": 5, "n_samples": 9, "alpha": 1.0,
    }  # fmt: skip
    for n, n_scores in ((1, 0), (1000, 0), (1, OLD_SCORES)):
        content = {
            "schema_version": 1,
            "sessions": {f"{session(k).session}@{RECIPE}": plain(session(k)) for k in range(n)},
            "runs": {run(k, s).run: plain(run(k, s)) for k in range(n) for s in range(RUNS)},
            "results": [{**one, "metric": f"m{k}"} for k in range(n_scores)],
        }
        path = folder / f"old-{n}-{n_scores}" / "catalog.yaml"
        path.parent.mkdir()
        path.write_text(yaml.dump(content, Dumper=yaml.CSafeDumper, sort_keys=False))
        wall, cpu, memory = least([*command, "catalog", "list", "--json", "--catalog", str(path)], 2)
        what = f"`catalog list --json`, {n:,} sessions × {RUNS} runs, {n_scores:,} scores"
        print(f"| {what} | {wall:.2f} | {cpu:.2f} | {memory:.0f} |")


def plain(entry: SessionEntry | RunEntry) -> dict[str, object]:
    return entry.model_dump(mode="json", exclude_defaults=True)


def writers(path: Path) -> None:
    """Say what 16 processes that add single measurements at once achieve."""
    code = ADD.partition("one = next")[0] + (
        "one = next(measured(0, int(sys.argv[4])))\nfor k in range(200): add_measurements(path, [one])\n"
        "print(json.dumps({}))\n"
    )
    here, begin = str(Path(__file__).parent), time.perf_counter()
    words = [[sys.executable, "-c", code, str(path), "0", here, str(k)] for k in range(WRITERS)]
    processes = [subprocess.Popen(each, stdout=subprocess.DEVNULL) for each in words]
    failed = sum(process.wait() != 0 for process in processes)
    seconds = time.perf_counter() - begin
    print(
        f"\n{WRITERS} processes that add 200 measurements each, one by one: {seconds:.1f} s, {failed} failed."
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sessions", type=int, nargs="+", default=[1, 1000, 10_000])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--make", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--old", help="command of another version, e.g. 'old-venv/bin/pipeline'")
    asked = parser.parse_args()
    if asked.make:
        make(Path(asked.make[0]), int(asked.make[1]))
        return
    with tempfile.TemporaryDirectory() as place:
        paths = {n: Path(place, str(n), "catalog.yaml") for n in asked.sessions}
        for n, path in paths.items():
            subprocess.run([sys.executable, __file__, "--make", str(path), str(n)], check=True)
        starts(paths, asked.repeats)
        reading(paths)
        adding(paths)
        writers(paths[asked.sessions[0]])
        if asked.old:
            old_version(shlex.split(asked.old), Path(place))


if __name__ == "__main__":
    main()
