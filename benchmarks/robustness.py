"""Spoiled files, settings and answers, and signals at any moment: what the program does with them.

``python benchmarks/robustness.py [--seed N] [--n N] [--kind KIND …] [--jobs N]`` draws inputs with the
mutators of `tests/robustness`, gives each to a real command, and prints a table: tried, and in how many there
was a traceback (or an error nobody foresaw), more than 60 s of the processor, more than 4 GB, a wrong exit
code, or another result without a word. Those that failed are written to ``--out`` with what makes them again;
``--only ID`` runs one by itself and keeps its folder; ``--go-on`` leaves out what a run cut short has tried,
and counts it.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
# Before the folder of this file, which is no package of the same name.
sys.path.insert(0, str(ROOT / "tests"))

from robustness import trials  # noqa: E402
from robustness.verdict import COLUMNS  # noqa: E402
from robustness.worker import Worker  # noqa: E402


def run_all(ids: list[str], base: Path, *, jobs: int, keep: bool, out: Path) -> list[dict[str, Any]]:
    """Run trials in several processes and return their verdicts."""
    waiting, found, lock = list(reversed(ids)), [], threading.Lock()
    begin = time.monotonic()

    def serve(number: int) -> None:
        with Worker(base, base / f"scratch-{number}", keep=keep) as worker:
            while True:
                with lock:
                    if not waiting:
                        return
                    trial = waiting.pop()
                verdict = worker.attempt(trial)
                with lock:
                    found.append(verdict)
                    with (out / "verdicts.jsonl").open("a") as file:
                        file.write(json.dumps(verdict) + "\n")
                    if verdict["faults"] or verdict["outcome"] == "not made":
                        print(json.dumps(verdict), file=sys.stderr)
                    if len(found) % 50 == 0:
                        print(f"{len(found)}/{len(ids)}, {time.monotonic() - begin:.0f} s", file=sys.stderr)
                if verdict["said"] == "the worker has ended":
                    return

    threads = [threading.Thread(target=serve, args=(number,)) for number in range(jobs)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def interleaved(kinds: list[list[str]]) -> list[str]:
    """Return the trials of all kinds, mixed in their shares: a run cut short has tried some of each."""
    placed = [((i + 0.5) / len(mine), trial) for mine in kinds for i, trial in enumerate(mine)]
    return [trial for _, trial in sorted(placed)]


def table(verdicts: list[dict[str, Any]]) -> str:
    """Return the table, by kind."""
    kinds = list(dict.fromkeys(v["trial"].split(".")[0] for v in verdicts))
    lines = [
        f"| input | tried | {' | '.join(COLUMNS)} | refused | said | as the whole one |",
        "|---" * (len(COLUMNS) + 5) + "|",
    ]
    for kind in [*sorted(kinds), "all"]:
        mine = [
            v for v in verdicts if kind in {"all", v["trial"].split(".")[0]} and v["outcome"] != "not made"
        ]
        faults = Counter(column for v in mine for column in v["faults"])
        ends = Counter(v["outcome"].partition(":")[0] for v in mine)
        cells = [kind, len(mine), *(faults[c] for c in COLUMNS), ends["refused"], ends["said"], ends["same"]]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def _tried(path: Path, ids: set[str]) -> dict[str, dict[str, Any]]:
    """Return the verdicts a run cut short has written, by trial; what it was about to is left out."""
    verdicts = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        with suppress(json.JSONDecodeError):
            verdict = json.loads(line)
            verdicts[verdict["trial"]] = verdict
    return {trial: v for trial, v in verdicts.items() if trial in ids and v["outcome"] != "not made"}


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--n", type=int, default=1000, help="inputs in all")
    parser.add_argument("--kind", action="append", help="repeatable; default: all kinds")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument(
        "--only", action="append", metavar="ID", help="run these alone and keep their folders"
    )
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()) / "robustness")
    parser.add_argument("--keep", action="store_true", help="keep all folders")
    parser.add_argument(
        "--go-on",
        action="store_true",
        help="count what --out holds of the same --seed and --n, and try the rest",
    )
    chosen = parser.parse_args()
    kinds = chosen.kind or list(trials.SHARES)
    shares = {kind: trials.SHARES[kind] for kind in kinds}
    ids = chosen.only or interleaved(
        [
            trials.drawn(kind, chosen.seed, round(chosen.n * share / sum(shares.values())))
            for kind, share in shares.items()
        ]
    )
    chosen.out.mkdir(parents=True, exist_ok=True)
    before = _tried(chosen.out / "verdicts.jsonl", set(ids)) if chosen.go_on else {}
    (chosen.out / "verdicts.jsonl").write_text("".join(f"{json.dumps(v)}\n" for v in before.values()))
    keep = chosen.keep or bool(chosen.only)
    ids = [trial for trial in ids if trial not in before]
    jobs = min(chosen.jobs, len(ids))
    verdicts = [*before.values(), *run_all(ids, chosen.out / "base", jobs=jobs, keep=keep, out=chosen.out)]
    print(table(verdicts))
    failed = [v for v in verdicts if v["faults"] or v["outcome"] == "not made"]
    (chosen.out / "failed.json").write_text(json.dumps(failed, indent=1, ensure_ascii=False))
    if chosen.only:
        print(json.dumps(verdicts, indent=1, ensure_ascii=False))
    print(f"{len(failed)} to look at: {chosen.out / 'failed.json'}; one again: --only ID")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
