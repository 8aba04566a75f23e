"""Spoiled files of measurements: one line of JSON for each number."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from robustness import bits, edits
from robustness.verdict import Mutation, Verdict
from robustness.work import attempt_on_folder, weighted

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from robustness.base import Base
    from robustness.work import Spoil

COMMANDS = {
    "scores": 6,
    "leaderboard": 4,
    "list": 2,
    "evaluate": 2,
    "decode rates": 1,
    "verify": 1,
}
NAMES = ("measurement", ".jsonl", "line")
ODD_LINES = (
    "{",
    "[" * 5000,
    "null",
    "1e999",
    "{}",
    '{"schema_version": 1}',
    '{"schema_version": 99, "name": "x"}',
    '"text"',
    '{"name": "\\ud800"}',
    "NaN",
    "9" * 5000,
    "\x00\x00\x00",
    "{'name': 1}",
    '{"name": 1, "name": 2}',
    "[1, 2]",
)


def _file(folder: Path, rng: np.random.Generator) -> Path:
    found = sorted(folder.glob("catalog.measurements/*.jsonl"))
    return found[int(rng.integers(len(found)))]


def _by_bits(kind: str) -> Spoil:
    def spoil(folder: Path, rng: np.random.Generator) -> Mutation:
        path = _file(folder, rng)
        before = path.read_bytes().splitlines()
        text = bits.SPOILING[kind](path, rng)
        return Mutation(text, NAMES, harmless=_as_good(before, path.read_bytes().splitlines()))

    return spoil


def _as_good(before: list[bytes], after: list[bytes]) -> str:
    """Say why other lines are as good: each that differs is gone."""
    known = set(before)
    if any(line not in known and line.strip() for line in after):
        return ""
    return "lines stand for themselves: one that is gone is not missed"


def edited(folder: Path, rng: np.random.Generator) -> Mutation:
    path = _file(folder, rng)
    lines = path.read_text().splitlines()
    k = int(rng.integers(len(lines)))
    was = json.loads(lines[k])
    tree, text, names = edits.edited(was, rng)
    lines[k] = json.dumps(tree)
    path.write_text("\n".join(lines) + "\n")
    return Mutation(f"line {k + 1}: {text}", (*names, *NAMES), harmless=_without_checksum(tree))


def _without_checksum(tree: object) -> str:
    if isinstance(tree, dict) and "crc32" not in tree:
        return "a line without its checksum is what it says"
    return ""


def odd_line(folder: Path, rng: np.random.Generator) -> Mutation:
    path = _file(folder, rng)
    lines = path.read_text().splitlines()
    line = ODD_LINES[int(rng.integers(len(ODD_LINES)))]
    lines.insert(int(rng.integers(len(lines) + 1)), line)
    path.write_text("\n".join(lines) + "\n")
    return Mutation(f"a line {line[:40]!r}", NAMES)


def order(folder: Path, rng: np.random.Generator) -> Mutation:
    path = _file(folder, rng)
    lines = path.read_text().splitlines()
    kind = str(rng.choice(["backwards", "all twice", "CRLF", "no newline at the end", "empty lines"]))
    changed = {"backwards": lines[::-1], "all twice": [*lines, *lines]}.get(kind, lines)
    glue = {"CRLF": "\r\n", "empty lines": "\n\n"}.get(kind, "\n")
    path.write_bytes((glue.join(changed) + ("" if kind.startswith("no") else glue)).encode())
    return Mutation(kind, NAMES, harmless="the order of lines says nothing" if kind == "backwards" else "")


def file_gone(folder: Path, rng: np.random.Generator) -> Mutation:
    path = _file(folder, rng)
    kind = str(rng.choice(["gone", "a folder", "a link to itself", "twice"]))
    if kind == "twice":
        path.with_name(f"b{path.name}").write_bytes(path.read_bytes())
        return Mutation("the file is there twice", NAMES)
    path.unlink()
    if kind == "a folder":
        path.mkdir()
    elif kind == "a link to itself":
        path.symlink_to(path.name)
    harmless = "files stand for themselves: one that is gone is not missed" if kind == "gone" else ""
    return Mutation(f"the file is {kind}", NAMES, harmless=harmless)


MUTATORS: dict[str, Spoil] = {
    **{f"bits_{kind}": _by_bits(kind) for kind in bits.SPOILING},
    "edited": edited,
    "odd_line": odd_line,
    "order": order,
    "file_gone": file_gone,
}
DRAWN = (*MUTATORS, *(["edited"] * 6), *(["odd_line"] * 3))


def attempt(trial: str, mutator: str, rng: np.random.Generator, base: Base) -> Verdict:
    """Spoil measurements and run a command that shows them or adds to them."""
    return attempt_on_folder(trial, base, spoil=MUTATORS[mutator], command=weighted(COMMANDS, rng), rng=rng)
