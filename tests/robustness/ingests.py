"""A spoiled recording is ingested, and what comes of it held against what came of the whole one."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from robustness import forked
from robustness.base import Base, store_digests, unlike
from robustness.verdict import Mutation, Verdict, judge, texts_of

if TYPE_CHECKING:
    from pathlib import Path


def of_whole(base: Base, path: Path, *, name: str) -> tuple[set[str], dict[str, str]]:
    """Return what is said of a whole recording that goes by a name, and digests of what is made of it."""
    folder = base.empty(f"whole-{path.name}")
    copy = shutil.copytree if path.is_dir() else shutil.copy
    copy(path, folder / name)
    ended = forked.run(_words(name), folder)
    if ended.code != 0:
        raise RuntimeError(f"{path.name}: {ended.err}")
    return texts_of(ended), forked.call(store_digests, str(folder))


def of_spoiled(
    trial: str, base: Base, path: Path, *, mutation: Mutation, whole: tuple[set[str], dict[str, str]],
    as_program: bool,
) -> Verdict:  # fmt: skip
    """Ingest a spoiled recording in its folder and judge what comes of it."""
    was_said, digests = whole
    words = _words(path.name)
    ended = forked.run(words, path.parent, as_program=as_program)
    found = forked.call(store_digests, str(path.parent)) if ended.code == 0 else {}
    return judge(
        Verdict(trial, command=" ".join(words)),
        ended,
        mutation,
        new=sorted(texts_of(ended) - was_said),
        difference=unlike(_without_session(digests), _without_session(found)),
    )


def _words(name: str) -> tuple[str, ...]:
    return "run", "ingest", "--path", name, "--json"


def _without_session(digests: dict[str, str]) -> dict[str, str]:
    """Return digests without the session's id, which a file may state otherwise."""
    return {name.partition("/")[2]: value for name, value in digests.items()}
