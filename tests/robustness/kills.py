"""Signals at any moment of every stage; the same command again must then give what it gives undisturbed."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from robustness import forked
from robustness.base import NEVER_SAME, RUN, SESSION_ID, numbers_of, plain, unlike
from robustness.verdict import DONE, INTERRUPTED, SILENT, Verdict, plain_faults
from robustness.work import QUICK, h5_digests

if TYPE_CHECKING:
    import numpy as np

    from robustness.base import Base

STAGES: dict[str, tuple[str, ...]] = {
    "ingest": ("run", "ingest", "--path", "nwb2", "--json"),
    "train": ("run", "train", "--config", "tiny.yaml", "--run-name", "s", "--json"),
    "decode": ("run", "decode", "--run", RUN, "--session", SESSION_ID, *QUICK, "--json"),
    "evaluate": ("run", "evaluate", "--run", RUN, "--session", SESSION_ID, "--set", "seed=3", "--json"),
    "forecast": ("run", "forecast", "--run", RUN, "--session", SESSION_ID, "--json"),
    "align": (
        "run",
        "align",
        "--run",
        RUN,
        "--session",
        "sub-T_ses-2",
        "--trials",
        "4",
        "--config",
        "align.yaml",
        "--json",
    ),
    "export": ("export", "lfads", "--session", SESSION_ID, "--json"),
    "export_nwb": ("export", "nwb", "--session", SESSION_ID, "--json"),
}
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
DRAWN = tuple(STAGES)


def attempt(trial: str, mutator: str, rng: np.random.Generator, base: Base) -> Verdict:
    """End a stage at some moment, run it again, and compare."""
    words = STAGES[mutator]
    # What differs between two undisturbed runs, such as a time of day, is not held against a disturbed one.
    first, seconds, changes = base.known(f"kill {mutator} 1", lambda: _undisturbed(base, mutator, 1))
    second = base.known(f"kill {mutator} 2", lambda: _undisturbed(base, mutator, 2))[0]
    never = unlike(first, second)
    number = SIGNALS[int(rng.choice(3, p=[0.5, 0.25, 0.25]))]
    if rng.random() < 0.6:
        kill = forked.Kill(number, at_event=int(rng.integers(1, max(changes, 1) + 1)))
        moment = f"change {kill.at_event} of {changes}"
    else:
        kill = forked.Kill(number, after_s=float(rng.uniform(0.01, 1.1 * seconds)))
        moment = f"{kill.after_s:.2f} s of {seconds:.2f}"
    folder = prepared(base, trial)
    verdict = Verdict(trial, text=f"{signal.Signals(number).name} at {moment}", command=" ".join(words))
    ended = forked.run(words, folder, kill=kill)
    allowed = {DONE, -number} | ({INTERRUPTED} if number != signal.SIGKILL else set())
    verdict.code, verdict.seconds = ended.code, round(ended.wall_s, 2)
    if kill.after_s is not None and ended.wall_s < kill.after_s:
        # A busy machine takes longer at one time than at another.
        verdict.text += ", after its end: nothing was interrupted"
    verdict.faults |= plain_faults(ended, allowed)
    again = forked.run(words, folder)
    verdict.faults |= {k: f"again: {v}" for k, v in plain_faults(again, {DONE}).items()}
    verdict.said = ended.err[-200:] + again.err[-300:]
    if not verdict.faults:
        verify = forked.run(("catalog", "verify", "--json"), folder)
        verdict.faults |= {k: f"verify: {v}" for k, v in plain_faults(verify, {DONE}).items()}
        found = _outcome(folder)
        other = sorted(unlike(first, found) - never)
        if other:
            verdict.faults[SILENT] = f"other than undisturbed: {', '.join(other[:10])}"
    verdict.outcome = "fault" if verdict.faults else "same"
    return verdict


def prepared(base: Base, name: str) -> Path:
    """Return a folder in which every stage can run."""
    ready = base.scratch / "ready"
    if not ready.exists():
        made = base.copied("ready-")
        (made / "nwb2").mkdir()
        forked.call(_write_second, str(made / "nwb2" / "second.nwb"))
        (made / "align.yaml").write_text(
            yaml.safe_dump({"max_steps": 6, "validate_every": 3, "device": "cpu"})
        )
        ended = forked.run(("run", "ingest", "--path", "nwb2", "--json"), made)
        if ended.code != 0:
            raise RuntimeError(ended.err)
        (made / "nwb2" / "second.nwb").unlink()
        forked.call(_write_third, str(made / "nwb2" / "third.nwb"))
        made.rename(ready)
    target = base.scratch / name
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(ready, target, symlinks=True)
    return target


def _write_second(path: str) -> None:
    plain(Path(path), session="2")


def _write_third(path: str) -> None:
    plain(Path(path), session="3")


def _undisturbed(base: Base, stage: str, number: int) -> tuple[dict[str, str], float, int]:
    folder = prepared(base, f"whole-{stage}-{number}")
    ended = forked.run(STAGES[stage], folder, kill=forked.Kill(0, at_event=10**9))
    if ended.code != 0:
        raise RuntimeError(f"{stage}: {ended.err}")
    changes = int((folder.parent / f"{folder.name}.log" / "changes").read_text())
    return _outcome(folder), ended.wall_s, changes


def _outcome(folder: Path) -> dict[str, str]:
    """Return a digest of all that a stage leaves, and what the catalog says of it."""
    found: dict[str, str] = forked.call(_files, str(folder))
    for words in (("catalog", "list", "--json"), ("catalog", "scores", "--json")):
        ended = forked.run(words, folder)
        found |= {f"{words[1]}: {k}": v for k, v in numbers_of(ended.events).items()}
    return found


def _files(folder: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for path in sorted(Path(folder).rglob("*")):
        name = path.relative_to(folder).as_posix()
        if (
            not path.is_file()
            or name.endswith(".lock")
            or name.startswith(("nwb", "catalog.measurements/", ".cache", ".config"))
        ):
            continue
        if "tensorboard" in name or name in {"catalog.yaml", "tiny.yaml", "align.yaml"}:
            continue
        found[name] = hashlib.sha256(_content(path)).hexdigest()[:16]
    for place in ("exports", "results"):
        found |= {f"{place}/{k}": v for k, v in h5_digests(f"{folder}/{place}").items()}
    return found


def _content(path: Path) -> bytes:
    if path.suffix in {".json", ".jsonl"} and path.name != "manifest.json":
        lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
        return "\n".join(json.dumps(_timeless(json.loads(line)), sort_keys=True) for line in lines).encode()
    return path.read_bytes()


def _timeless(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {k: _timeless(v) for k, v in tree.items() if k not in NEVER_SAME}
    return [_timeless(each) for each in tree] if isinstance(tree, list) else tree
