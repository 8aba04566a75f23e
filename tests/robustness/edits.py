"""Edits of what JSON and YAML hold: one value or key somewhere in a tree."""

from __future__ import annotations

import copy
import datetime as dt
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

OTHERS: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2**31,
    2**63,
    10**30,
    0.5,
    -1e300,
    float("nan"),
    float("inf"),
    "",
    " ",
    "x",
    "nan",
    "1",
    "[/red]",
    "$x_{$",
    "µé中",
    "../../etc/passwd",
    "/dev/zero",
    "a\nb",
    "\x1b[31m",
    "a\x00b",
    [],
    [1],
    [[]],
    {},
    {"x": 1},
    "x" * 3000,
    "=1+1",
    dt.date(2020, 1, 1),
)
IN_JSON: tuple[Any, ...] = tuple(value for value in OTHERS if not isinstance(value, dt.date))


def places(tree: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all values in a tree, itself left out."""
    items = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [path for key, value in items for path in ((*at, key), *places(value, (*at, key)))]


def edited(
    tree: Any, rng: np.random.Generator, others: tuple[Any, ...] = IN_JSON
) -> tuple[Any, str, tuple[str, ...]]:
    """Return a tree with one value another, gone, or under another key; what was done; words of its path."""
    tree = copy.deepcopy(tree)
    found = places(tree)
    if not found:
        return others[int(rng.integers(len(others)))], "replaced as a whole", ()
    path = found[int(rng.integers(len(found)))]
    parent = tree
    for key in path[:-1]:
        parent = parent[key]
    key, where = path[-1], ".".join(str(part)[:40] for part in path)
    names = tuple(str(part) for part in path if isinstance(part, str))
    draw = rng.random()
    if draw < 0.15:
        del parent[key]
        return tree, f"{where} is gone", names
    if draw < 0.25 and isinstance(parent, dict):
        new = f"{key}{rng.choice(['_', 's', ' ', 'X'])}"
        parent[new] = parent.pop(key)
        return tree, f"{where} is called {new!r}", names
    if draw < 0.5:
        parent[key] = near(parent[key], rng)
        return tree, f"{where} is {str(parent[key])[:40]!r}", names
    parent[key] = others[int(rng.integers(len(others)))]
    return tree, f"{where} is {str(parent[key])[:40]!r}", names


def near(value: Any, rng: np.random.Generator) -> Any:
    """Return another value of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + int(rng.choice([-1, 1, 10]))
    if isinstance(value, float):
        return value * float(rng.choice([0.5, 2.0, -1.0])) or 1.0
    if isinstance(value, str) and value:
        k = int(rng.integers(len(value)))
        return value[:k] + ("a" if value[k] != "a" else "b") + value[k + 1 :]
    if isinstance(value, list):
        return value[:-1] if value and rng.random() < 0.5 else [*value, *value[-1:]]
    return {} if isinstance(value, dict) else 1
