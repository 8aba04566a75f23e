"""Trials by their ids: ``KIND.MUTATOR.SEED``."""

from __future__ import annotations

import importlib
import shutil
import traceback
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from robustness.verdict import Verdict

if TYPE_CHECKING:
    from robustness.base import Base

SHARES = {
    "nwb": 30,
    "nwb_zarr": 10,
    "stores": 14,
    "objects": 5,
    "runs": 12,
    "catalogs": 12,
    "measured": 6,
    "typed": 14,
    "answers": 12,
    "kills": 10,
    "workers": 2,
}
"""Kind of input → share of all trials.

Each is a module with `DRAWN`, the names of its mutators as often as they are drawn, and `attempt`.
"""


def module_of(kind: str) -> Any:
    """Return the module of a kind of input."""
    return importlib.import_module(f"robustness.{kind}")


def drawn(kind: str, seed: int, count: int) -> list[str]:
    """Return the ids of some trials of a kind."""
    names = module_of(kind).DRAWN
    rng = np.random.default_rng([seed, zlib.crc32(kind.encode())])
    # Every mutator is tried before one is tried again.
    order = [name for _ in range(count // len(names) + 1) for name in rng.permutation(names)]
    return [f"{kind}.{name}.{int(rng.integers(1_000_000))}" for name in order[:count]]


def attempt(trial: str, base: Base, *, keep: bool = False) -> Verdict:
    """Make and run a trial."""
    kind, mutator, seed = trial.split(".")
    module = module_of(kind)
    rng = np.random.default_rng([int(seed), zlib.crc32(mutator.encode())])
    try:
        verdict: Verdict = module.attempt(trial, mutator, rng, base)
    except Exception:
        verdict = Verdict(trial, outcome="not made", said=traceback.format_exc()[-1500:])
    if not keep:
        for path in (base.scratch / trial, base.scratch / f"{trial}.log"):
            shutil.rmtree(path, ignore_errors=True)
    return verdict
