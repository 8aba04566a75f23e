"""Spoiled catalogs: YAML that people edit."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import yaml

from robustness import bits, edits
from robustness.verdict import Mutation, Verdict
from robustness.work import attempt_on_folder, weighted

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from robustness.base import Base
    from robustness.work import Spoil

COMMANDS = {
    "list": 6,
    "verify": 4,
    "decode rates": 3,
    "decode": 2,
    "ingest": 3,
    "train anew": 2,
    "scores": 2,
    "leaderboard": 1,
    "export": 1,
    "evaluate": 1,
}
NAMES = (
    "catalog",
    "sessions",
    "runs",
    "sub-T_ses-1",
    "not in the catalog",
    "not entered",
    "session",
    "run r",
)
TEXTS = {
    "empty": "",
    "blank": "\n\n  \n",
    "null": "null\n",
    "a list": "- a\n- b\n",
    "a number": "1\n",
    "a tab": "\tsessions: {}\n",
    "a comment": "# nothing\n",
    "two documents": "sessions: {}\n---\nruns: {}\n",
    "deep": "a: " * 3000 + "1\n",
    "deep lists": "sessions: " + "[" * 3000 + "]" * 3000 + "\n",
    "NUL": "sessions: \x00\n",
    "lone surrogate": 'notes: "\\ud800"\n',
    "bomb": "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
    + "".join(
        f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    ),
    "own reference": "sessions: &s\n  a: *s\n",
    "no reference": "sessions: *nowhere\n",
    "a tag": "sessions: !!python/object:os.system {}\n",
    "a set": "sessions: !!set {a, b}\n",
    "binary": "sessions: !!binary aaaa\n",
    "merge": "x: &x {a: 1}\nsessions:\n  <<: *x\n",
    "odd keys": "? [1, 2]\n: 3\n2020-01-01: 4\n1: 5\n",
    "huge number": f"schema_version: {'9' * 5000}\n",
    "newer": "schema_version: 99\nsessions: {}\n",
    "older": "schema_version: 0\nsessions: {}\n",
    "version text": 'schema_version: "two"\nsessions: {}\n',
    "version date": "schema_version: 2020-01-01\nsessions: {}\n",
    "version NaN": "schema_version: .nan\nsessions: {}\n",
    "sessions twice": "sessions: {}\nsessions: {a: {session: a}}\n",
    "sessions a list": "schema_version: 2\nsessions: [a, b]\n",
    "sessions text": "schema_version: 2\nsessions: all\n",
    "runs a number": "schema_version: 2\nruns: 7\n",
    "no keys": "schema_version: 2\nsessions:\n  : {}\n",
    "unknown section": "schema_version: 2\nsesions: {}\n",
    "dandisets odd": "dandisets: {1: 2}\n",
    "pins odd": "dandisets: [a]\n",
}
_STILL_ALL = ("blank", "a comment")


def path_of(folder: Path) -> Path:
    return folder / "catalog.yaml"


def _by_bits(kind: str) -> Spoil:
    def spoil(folder: Path, rng: np.random.Generator) -> Mutation:
        before = path_of(folder).read_text()
        text = bits.SPOILING[kind](path_of(folder), rng)
        return Mutation(text, NAMES, harmless=_as_good(before, path_of(folder)))

    return spoil


def _as_good(before: str, path: Path) -> str:
    """Say why another catalog is as good as the one that was."""
    try:
        old, new = yaml.safe_load(before), yaml.safe_load(path.read_text())
    except Exception:
        return ""
    if not isinstance(new, dict):
        return ""
    if old == new:
        return "it says the same"
    fewer = all(
        isinstance(new.get(key), dict | None) and (new.get(key) or {}).items() <= old[key].items()
        for key in ("sessions", "runs")
        if key in old
    )
    return "a shorter catalog is a catalog: it says what is in it" if fewer and set(new) <= set(old) else ""


def edited(folder: Path, rng: np.random.Generator) -> Mutation:
    before = path_of(folder).read_text()
    tree, text, names = edits.edited(yaml.safe_load(before), rng, edits.OTHERS)
    path_of(folder).write_text(yaml.safe_dump(tree, allow_unicode=True))
    return Mutation(text, (*names, *NAMES), harmless=_as_good(before, path_of(folder)))


def replaced(folder: Path, rng: np.random.Generator) -> Mutation:
    kind = str(rng.choice(list(TEXTS)))
    path_of(folder).write_text(TEXTS[kind])
    return Mutation(kind, (*NAMES, "line", "schema_version"))


def appended(folder: Path, rng: np.random.Generator) -> Mutation:
    kind = str(rng.choice(list(TEXTS)))
    with path_of(folder).open("a") as file:
        file.write(TEXTS[kind])
    harmless = "nothing was added" if kind in {"empty", *_STILL_ALL} else ""
    if kind in {"deep", "bomb"}:
        harmless = "keys that are not known are kept for a later version"
    return Mutation(f"{kind} added", (*NAMES, "line", "key", "schema_version"), harmless=harmless)


def lines(folder: Path, rng: np.random.Generator) -> Mutation:
    """Spoil a line as an editor's slip does."""
    before = path_of(folder).read_text()
    rows = before.splitlines(keepends=True)
    k = int(rng.integers(len(rows)))
    changes = {
        "gone": [*rows[:k], *rows[k + 1 :]],
        "twice": [*rows[: k + 1], *rows[k:]],
        "indented": [*rows[:k], f" {rows[k]}", *rows[k + 1 :]],
        "not indented": [*rows[:k], rows[k].lstrip(), *rows[k + 1 :]],
        "swapped": [*rows[: max(k - 1, 0)], *rows[max(k - 1, 0) : k + 1][::-1], *rows[k + 1 :]],
        "half": [*rows[:k], rows[k][: len(rows[k]) // 2] + "\n", *rows[k + 1 :]],
        "CRLF": [row.replace("\n", "\r\n") for row in rows],
        "BOM": ["\ufeff", *rows],
        "colon gone": [*rows[:k], rows[k].replace(":", "", 1), *rows[k + 1 :]],
        "quote gone": [*rows[:k], rows[k].replace('"', "", 1), *rows[k + 1 :]],
        "commented": [*rows[:k], f"# {rows[k]}", *rows[k + 1 :]],
        "conflict": [
            *rows[:k],
            "<<<<<<< HEAD\n",
            rows[k],
            "=======\n",
            rows[k],
            ">>>>>>> b\n",
            *rows[k + 1 :],
        ],
    }
    kind = str(rng.choice(list(changes)))
    path_of(folder).write_bytes("".join(changes[kind]).encode())
    return Mutation(f"line {k + 1}: {kind}", (*NAMES, "line"), harmless=_as_good(before, path_of(folder)))


def encoded(folder: Path, rng: np.random.Generator) -> Mutation:
    kind = str(rng.choice(["utf-16", "utf-32", "latin-1 é", "utf-8-sig"]))
    text = path_of(folder).read_text()
    data = (text + "notes: é\n").encode("latin-1") if "é" in kind else text.encode(kind)
    path_of(folder).write_bytes(data)
    return Mutation(f"in {kind}", NAMES)


def misplaced(folder: Path, rng: np.random.Generator) -> Mutation:
    kind = str(rng.choice(["gone", "a folder", "a link to itself", "a link to nowhere"]))
    path = path_of(folder)
    path.unlink()
    if kind == "a folder":
        path.mkdir()
    elif kind.startswith("a link"):
        path.symlink_to(path.name if "itself" in kind else "nowhere.yaml")
    return Mutation(f"the catalog is {kind}", NAMES)


MUTATORS: dict[str, Spoil] = {
    **{f"bits_{kind}": _by_bits(kind) for kind in bits.SPOILING},
    "edited": edited,
    "replaced": replaced,
    "appended": appended,
    "lines": lines,
    "encoded": encoded,
    "misplaced": misplaced,
}
DRAWN = (*MUTATORS, *(["edited"] * 9), *(["replaced"] * 5), *(["appended"] * 3), *(["lines"] * 4))


def attempt(trial: str, mutator: str, rng: np.random.Generator, base: Base) -> Verdict:
    """Spoil a catalog and run a command that reads it."""
    return attempt_on_folder(
        trial, base, spoil=MUTATORS[mutator], command=weighted(COMMANDS, rng), rng=rng, rule=_rule
    )


def _rule(command: str, mutation: Mutation) -> Mutation:
    if mutation.harmless:
        return mutation
    if command != "verify" and mutation.text.split(" ")[0].endswith((".n_units", ".n_trials", ".n_bins")):
        return replace(
            mutation, harmless="sizes are shown as the catalog has them; verify holds them against the stores"
        )
    is_whole = mutation.text in TEXTS or mutation.text.endswith(" added")
    if command in {"list", "scores", "leaderboard"} and not is_whole:
        return replace(
            mutation, harmless="lists show what stands in the catalog; verify holds it against the stores"
        )
    return mutation
