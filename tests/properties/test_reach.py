"""Every module is reached by a command, a public function or a registered part, or is listed and told why."""

from __future__ import annotations

import ast
import re
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType

import pytest

import nwb_latents

HOME = Path(nwb_latents.__file__).parent
DOCS = Path(__file__).parents[2] / "docs"
PARTS = ("layouts", "dandisets", "models", "metrics", "decoders", "exporters", "baselines")
NAMED = re.compile(r"(nwb_latents(?:\.\w+)+)(?::\w+)?")

LIBRARY = {
    "nwb_latents.models.parts.fixed_points": "fixed points of a trained model's dynamics",
    "nwb_latents.models.parts.traversal": "what each latent dimension of a trained model does",
    "nwb_latents.pipeline.evaluation.metrics.disentanglement": "codes against known factors of trials",
    "nwb_latents.pipeline.training.trial_codes": "codes of trials, and trials of codes",
}
"""Functions for a notebook, shown in the manual."""

TYPES = {"nwb_latents.pipeline.nwb.tree": "the protocol of an opened file, whatever its format"}
"""Modules that only say what others are like."""


def modules() -> dict[str, Path]:
    """Return the file of every module of the program."""
    found = {"nwb_latents": HOME / "__init__.py"}
    for room in ("pipeline", "models", "schemas"):
        top = (HOME / room).resolve()
        for path in top.rglob("*.py"):
            words = ["nwb_latents", room, *path.relative_to(top).with_suffix("").parts]
            found[".".join(words).removesuffix(".__init__")] = path
    return found


def reached_from(path: Path) -> set[str]:
    """Return what a file imports, in functions too, or names as text (``"package.module:Class"``)."""
    tree, found = ast.parse(path.read_text(encoding="utf-8")), set()
    for_types = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            named = NAMED.fullmatch(node.value)
            found |= {named[1]} if named else set()
    return found


def entrances() -> set[str]:
    """Return where a user comes in: the command, the public functions, the registered parts."""
    public = {getattr(nwb_latents, name) for name in nwb_latents.__all__ if name != "__version__"}
    homes = {each.__name__ if isinstance(each, ModuleType) else each.__module__ for each in public}
    parts = {
        point.value.partition(":")[0] for kind in PARTS for point in entry_points(group=f"nwb_latents.{kind}")
    }
    (command,) = entry_points(group="console_scripts", name="pipeline")
    return {"nwb_latents", command.module, *homes, *parts}


def test_no_module_is_reached_by_nobody_but_those_listed_here() -> None:
    there = modules()
    reached: set[str] = set()
    coming = entrances()
    while coming:
        reached |= coming
        coming = {name for each in coming & set(there) for name in reached_from(there[each])} - reached
    alone = {name for name, path in there.items() if path.name != "__init__.py"} - reached
    assert alone == LIBRARY.keys() | TYPES.keys()


@pytest.mark.skipif(not DOCS.is_dir(), reason="the manual is not part of the wheel")
@pytest.mark.parametrize("name", LIBRARY)
def test_what_only_a_notebook_reaches_is_shown_in_the_manual(name: str) -> None:
    pages = [*DOCS.glob("*.md"), *DOCS.glob("[!_]*/*.md")]
    assert any(name in page.read_text(encoding="utf-8") for page in pages)
