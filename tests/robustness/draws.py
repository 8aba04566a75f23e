"""Draws among places to spoil: one of them, or another one that holds something else."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np


def any_of(paths: Sequence[Path], rng: np.random.Generator) -> Path:
    return paths[int(rng.integers(len(paths)))]


def two_unlike(paths: Sequence[Path], rng: np.random.Generator) -> tuple[Path, Path]:
    """Return two files, or folders, of unlike content: what changes places with its like spoils nothing.

    Examples
    --------
    >>> import numpy as np
    >>> place = getfixture("tmp_path")
    >>> for name, data in {"a": b"1", "b": b"1", "c": b"2"}.items():
    ...     _ = (place / name).write_bytes(data)
    >>> drawn = (two_unlike(sorted(place.iterdir()), np.random.default_rng(seed)) for seed in range(20))
    >>> sorted({"".join(sorted(path.name for path in pair)) for pair in drawn})
    ['ac', 'bc']
    """
    held = {path: _content(path) for path in paths}
    first = any_of([path for path in paths if any(held[path] != other for other in held.values())], rng)
    return first, any_of([path for path in paths if held[path] != held[first]], rng)


def _content(path: Path) -> dict[str, bytes]:
    if path.is_file():
        return {"": path.read_bytes()}
    return {p.relative_to(path).as_posix(): p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()}
