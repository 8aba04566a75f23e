"""Spoiled runs: weights, settings, records, log, manifest."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import yaml

from robustness import bits, edits
from robustness.base import RUN
from robustness.verdict import Mutation, Verdict
from robustness.work import attempt_on_folder, weighted

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from robustness.base import Base
    from robustness.work import Spoil

COMMANDS = {
    "verify": 10,
    "decode": 5,
    "forecast": 4,
    "evaluate": 4,
    "train": 4,
    "resume": 4,
    "embed": 1,
    "list": 1,
}
FILES = ("config.yaml", "run.json", "metrics.jsonl", "best.safetensors", "last.safetensors", "manifest.json")
NAMES = (*FILES, "run r", "runs/r", "metrics", "weights", "checkpoint", "log", "its files", "manifest")


def _by_bits(kind: str) -> Spoil:
    def spoil(folder: Path, rng: np.random.Generator) -> Mutation:
        path = folder / "runs" / RUN / str(rng.choice(FILES))
        return Mutation(f"{path.name}: {bits.SPOILING[kind](path, rng)}", NAMES)

    return spoil


def gone(folder: Path, rng: np.random.Generator) -> Mutation:
    path = folder / "runs" / RUN / str(rng.choice([*FILES, ""]))
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    return Mutation(f"{path.name} is gone", NAMES)


def misplaced(folder: Path, rng: np.random.Generator) -> Mutation:
    path = folder / "runs" / RUN / str(rng.choice(FILES))
    path.unlink()
    if rng.random() < 0.5:
        path.mkdir()
    else:
        path.symlink_to(path.name)
    return Mutation(f"{path.name} is a folder or a link to itself", NAMES)


def exchanged(folder: Path, rng: np.random.Generator) -> Mutation:
    run = folder / "runs" / RUN
    one, other = (run / str(name) for name in rng.choice(FILES, 2, replace=False))
    data = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(data)
    return Mutation(f"{one.name} and {other.name} exchanged", NAMES)


def record(folder: Path, rng: np.random.Generator) -> Mutation:
    """Edit one value of a file that people can read."""
    path = (
        folder / "runs" / RUN / str(rng.choice(["run.json", "config.yaml", "config.yaml", "manifest.json"]))
    )
    if path.suffix == ".yaml":
        tree, text, names = edits.edited(yaml.safe_load(path.read_text()), rng, edits.OTHERS)
        path.write_text(yaml.safe_dump(tree, allow_unicode=True))
    else:
        tree, text, names = edits.edited(json.loads(path.read_text()), rng)
        path.write_text(json.dumps(tree))
    return Mutation(f"{path.name}: {text}", (*names[-2:], *NAMES))


def log(folder: Path, rng: np.random.Generator) -> Mutation:
    """Spoil one line of the log of metrics."""
    path = folder / "runs" / RUN / "metrics.jsonl"
    lines = path.read_text().splitlines()
    k = int(rng.integers(len(lines)))
    tree, text, names = edits.edited(json.loads(lines[k]), rng)
    changes = {
        "edited": [*lines[:k], json.dumps(tree), *lines[k + 1 :]],
        "half a line": [*lines[:k], lines[k][: len(lines[k]) // 2], *lines[k + 1 :]],
        "twice": [*lines[: k + 1], lines[k], *lines[k + 1 :]],
        "backwards": lines[::-1],
        "deep": [*lines, "[" * 5000],
    }
    kind = str(rng.choice(list(changes)))
    path.write_text("\n".join(changes[kind]) + "\n")
    is_same = changes[kind] == lines
    return Mutation(
        f"metrics.jsonl: {'nothing' if is_same else kind} {text if kind == 'edited' else ''}",
        (*names, *NAMES),
    )


def weights(folder: Path, rng: np.random.Generator) -> Mutation:
    """Write other weights in a file that can be read."""
    import numpy as np
    from safetensors import safe_open
    from safetensors.numpy import save_file

    path = folder / "runs" / RUN / str(rng.choice(["best.safetensors", "last.safetensors"]))
    with safe_open(path, "np") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict
        metadata = file.metadata()
    numbers = sorted(name for name, value in tensors.items() if value.dtype.kind == "f" and value.size)
    name = numbers[int(rng.integers(len(numbers)))]
    was = tensors[name]
    changes = {
        "NaN": was * np.nan,
        "more": was + 1,
        "zeros": was * 0,
        "half": was.ravel()[: was.size // 2],
        "doubles": was.astype(np.float64),
        "halves": was.astype(np.float16),
        "turned": np.ascontiguousarray(was.T),
    }
    changes = {kind: new for kind, new in changes.items() if new.tobytes() != was.tobytes()}
    kind = str(rng.choice([*changes, "gone", "renamed", "no metadata", "other metadata"]))
    if kind in changes:
        tensors[name] = np.asarray(changes[kind])
    elif kind in {"gone", "renamed"}:
        del tensors[name]
        if kind == "renamed":
            tensors[f"{name}_"] = was
    elif kind == "no metadata" or not metadata:
        metadata = None
    else:
        key = str(rng.choice(sorted(metadata)))
        metadata[key] = edits.near(metadata[key], rng)
        name = f"{name} metadata {key}"
    save_file(tensors, path, metadata=metadata)
    return Mutation(f"{path.name}: {name} {kind}", (name, *NAMES))


MUTATORS: dict[str, Spoil] = {
    **{f"bits_{kind}": _by_bits(kind) for kind in bits.SPOILING},
    "gone": gone,
    "misplaced": misplaced,
    "exchanged": exchanged,
    "record": record,
    "log": log,
    "weights": weights,
}
DRAWN = (*MUTATORS, "record", "record", "record", "weights", "weights", "weights", "log", "bits_flip")


def attempt(trial: str, mutator: str, rng: np.random.Generator, base: Base) -> Verdict:
    """Spoil a run and run a command that meets it."""
    command = weighted(COMMANDS, rng)
    return attempt_on_folder(trial, base, spoil=MUTATORS[mutator], command=command, rng=rng, rule=_rule)


def _rule(command: str, mutation: Mutation) -> Mutation:
    # Runs of earlier versions have no manifest: that is said, and no fault.
    # A record that does not say its version is of the first.
    nothing = {"manifest.json is gone", "manifest.json: schema_version is gone"}
    is_nothing = "nothing" in mutation.text or mutation.text in nothing
    return replace(mutation, refused=command == "verify" and not is_nothing)
