"""What the systems of papers show in their docstrings is so."""

from __future__ import annotations

import doctest
from importlib import import_module
from pathlib import Path

import pytest

from benchmarks.reproduce import systems

MODULES = sorted(path.stem for path in Path(systems.__path__[0]).glob("*.py"))


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_hold(name: str) -> None:
    module = import_module(f"benchmarks.reproduce.systems.{name}")
    failed, _ = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert failed == 0
