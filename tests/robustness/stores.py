"""Spoiled stores: files, arrays, attributes, manifests."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

from robustness import bits, edits
from robustness.draws import any_of, two_unlike
from robustness.verdict import Mutation, Verdict
from robustness.work import attempt_on_folder, weighted

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from robustness.base import Base
    from robustness.work import Spoil

COMMANDS = {
    "verify": 10,
    "decode rates": 5,
    "decode": 2,
    "forecast": 2,
    "evaluate": 2,
    "train anew": 3,
    "export": 3,
    "recut": 3,
    "ingest": 2,
}
NAMES = ("manifest.json", "zarr.json", ".zarr", "store", "sub-T_ses-1")
AS_LONG = ", as long as before"


def store_of(folder: Path) -> Path:
    """Return the one store."""
    return next(path for path in folder.glob("stores/*/*.zarr") if not path.name.startswith("."))


def _arrays(store: Path) -> list[Path]:
    return sorted(path.parent for path in store.glob("*/*/zarr.json"))


def _files(store: Path, pattern: str = "*") -> list[Path]:
    return sorted(path for path in store.rglob(pattern) if path.is_file())


def _named(path: Path, store: Path) -> tuple[str, ...]:
    return (*NAMES, *path.relative_to(store).parts[1:2], path.name)


def _by_bits(kind: str) -> Spoil:
    def spoil(folder: Path, rng: np.random.Generator) -> Mutation:
        store = store_of(folder)
        chunks = [path for path in _files(store) if "c" in path.relative_to(store).parts]
        others = [path for path in _files(store) if path not in chunks]
        path = any_of(chunks if rng.random() < 0.6 else others, rng)
        length = path.stat().st_size
        text = bits.SPOILING[kind](path, rng)
        text += AS_LONG if path.stat().st_size == length else ""
        return Mutation(f"{path.relative_to(store)}: {text}", _named(path, store))

    return spoil


def file_gone(folder: Path, rng: np.random.Generator) -> Mutation:
    store = store_of(folder)
    path = any_of(_files(store), rng)
    path.unlink()
    return Mutation(f"{path.relative_to(store)} is gone", _named(path, store))


def array_gone(folder: Path, rng: np.random.Generator) -> Mutation:
    store = store_of(folder)
    path = any_of([*_arrays(store), *(p.parent for p in store.glob("*/zarr.json"))], rng)
    shutil.rmtree(path)
    return Mutation(f"{path.relative_to(store)} is gone", (path.name, *NAMES))


def chunks_exchanged(folder: Path, rng: np.random.Generator) -> Mutation:
    """Exchange the values of two arrays of one kind, or of any two."""
    store = store_of(folder)
    return _exchanged(*two_unlike(_held(store), rng), store, "values of ")


def _held(store: Path) -> list[Path]:
    return [array / "c" for array in _arrays(store) if (array / "c").exists()]


def arrays_exchanged(folder: Path, rng: np.random.Generator) -> Mutation:
    store = store_of(folder)
    return _exchanged(*two_unlike(_arrays(store), rng), store, "")


def _exchanged(one: Path, other: Path, store: Path, what: str) -> Mutation:
    one.rename(store / "tmp")
    other.rename(one)
    (store / "tmp").rename(other)
    arrays = [path.parent if what else path for path in (one, other)]
    text = " and ".join(str(array.relative_to(store)) for array in arrays)
    return Mutation(f"{what}{text} exchanged", (*(array.name for array in arrays), *NAMES))


def attributes(folder: Path, rng: np.random.Generator) -> Mutation:
    """Edit the attributes of an array, of a group or of the store."""
    store = store_of(folder)
    path = any_of(_files(store, "zarr.json"), rng) if rng.random() < 0.5 else store / "trials" / "zarr.json"
    tree, text, names = edits.edited(json.loads(path.read_text()), rng)
    path.write_text(json.dumps(tree))
    return Mutation(f"{path.relative_to(store)}: {text}", (*names[-2:], *_named(path, store)))


def manifest(folder: Path, rng: np.random.Generator) -> Mutation:
    store = store_of(folder)
    path = store / "manifest.json"
    tree, text, names = edits.edited(json.loads(path.read_text()), rng)
    path.write_text(json.dumps(tree))
    return Mutation(f"manifest.json: {text}", (*names, "manifest"))


def values(folder: Path, rng: np.random.Generator) -> Mutation:
    """Write other values, with the checksums of zarr as they should be."""
    store = store_of(folder)
    before = {path: path.stat().st_size for path in _files(store)}
    text, names = _rewritten(store, rng)
    as_long = {path: path.stat().st_size for path in _files(store)} == before
    return Mutation(text + AS_LONG * (as_long and not text.endswith("nothing")), names)


def values_and_manifest(folder: Path, rng: np.random.Generator) -> Mutation:
    """Write other values and a manifest that agrees with them: only what they say of each other tells."""
    store = store_of(folder)
    text, names = _rewritten(store, rng)
    path = store / "manifest.json"
    tree = json.loads(path.read_text())
    tree["files"] = {name: entry for name, entry in tree["files"].items() if (store / name).exists()}
    for name, entry in tree["files"].items():
        data = (store / name).read_bytes()
        entry["size"], entry["sha256"] = len(data), hashlib.sha256(data).hexdigest()
    path.write_text(json.dumps(tree))
    return Mutation(f"{text}, and the manifest with it", names)


def _rewritten(store: Path, rng: np.random.Generator) -> tuple[str, tuple[str, ...]]:
    import numpy as np
    import zarr

    at = any_of(_arrays(store), rng)
    array = zarr.open_array(str(at), mode="r+")
    was = np.asarray(array[...])
    changes = {"reversed": was[::-1], "rolled": np.roll(was, 1, axis=0)}
    if was.dtype.kind in "fiu":
        changes |= {"more": was + 1, "double": was * 2, "zeros": was * 0}
    if was.dtype.kind == "f":
        changes |= {"NaN": was * np.nan, "negative": -was, "inf": was + np.inf}
    if was.dtype.kind == "b":
        changes |= {"not": ~was}
    kind = str(rng.choice(sorted(changes)))
    array[...] = changes[kind]
    is_same = np.array_equal(was, changes[kind], equal_nan=was.dtype.kind == "f")
    return f"{at.relative_to(store)}: {'nothing' if is_same else kind}", (at.name, *NAMES)


def without_manifest(folder: Path, rng: np.random.Generator) -> Mutation:
    """Spoil a chunk of a store that has no manifest, as those of earlier versions: its checksum tells."""
    store = store_of(folder)
    (store / "manifest.json").unlink()
    chunks = [path for path in _files(store) if "c" in path.relative_to(store).parts]
    path = any_of(chunks, rng)
    kind = str(rng.choice(sorted(bits.SPOILING)))
    text = bits.SPOILING[kind](path, rng)
    return Mutation(f"without manifest.json, {path.relative_to(store)}: {text}", _named(path, store))


def stray(folder: Path, rng: np.random.Generator) -> Mutation:
    store = store_of(folder)
    path = any_of(_files(store), rng).with_name(
        str(rng.choice(["zarr.json.tmp", ".DS_Store", "99", "a\n.txt", "[red]"]))
    )
    path.write_bytes(b"stray")
    return Mutation(f"{path.relative_to(store)} was not there", _named(path, store))


def misplaced(folder: Path, rng: np.random.Generator) -> Mutation:
    store = store_of(folder)
    path = any_of(_files(store), rng)
    path.unlink()
    if rng.random() < 0.5:
        path.mkdir()
    else:
        path.symlink_to(path.name)
    return Mutation(f"{path.relative_to(store)} is a folder or a link to itself", _named(path, store))


MUTATORS: dict[str, Spoil] = {
    **{f"bits_{kind}": _by_bits(kind) for kind in bits.SPOILING},
    "file_gone": file_gone,
    "array_gone": array_gone,
    "chunks_exchanged": chunks_exchanged,
    "arrays_exchanged": arrays_exchanged,
    "attributes": attributes,
    "manifest": manifest,
    "values": values,
    "values_and_manifest": values_and_manifest,
    "without_manifest": without_manifest,
    "stray": stray,
    "misplaced": misplaced,
}
DRAWN = (
    *MUTATORS,
    "attributes",
    "attributes",
    "bits_flip",
    "bits_flip",
    "values",
    "chunks_exchanged",
    "manifest",
    "without_manifest",
    "without_manifest",
)


def attempt(trial: str, mutator: str, rng: np.random.Generator, base: Base) -> Verdict:
    """Spoil a store and run a command that meets it."""
    command = weighted(COMMANDS, rng)
    if mutator == "values_and_manifest":
        command = "verify"
    return attempt_on_folder(trial, base, spoil=MUTATORS[mutator], command=command, rng=rng, rule=rule)


def rule(command: str, mutation: Mutation) -> Mutation:
    """Return what was done as a command has to see it: `catalog verify` finds all that is no nothing."""
    # Stores of earlier versions have no manifest: that is said, and no fault.
    # What something else put beside them is told where zarr would read it.
    is_nothing = mutation.text.endswith(("nothing", "nothing, and the manifest with it", "was not there"))
    is_nothing = is_nothing or mutation.text == "manifest.json is gone"
    # What the file says of units and when its trials end stands nowhere else.
    alone = (
        "trials/area: ",
        "trials/heldout: ",
        "events/trial_stop: ",
        "events/trial_start: more",
        "events/is_reach: ",
    )
    is_nothing = is_nothing or (mutation.text.startswith(alone) and "manifest" in mutation.text)
    if command == "ingest" and mutation.text.endswith(AS_LONG):
        return replace(mutation, harmless="what has nothing to do looks at sizes, verify at contents")
    return replace(mutation, refused=command == "verify" and not is_nothing)
