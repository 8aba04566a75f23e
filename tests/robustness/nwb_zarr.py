"""Spoiled recordings of NWB-Zarr: metadata of format 2 and 3, consolidated or not, and chunks."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from robustness import bits, edits, forked, ingests
from robustness.draws import any_of, two_unlike
from robustness.nwb import names_of
from robustness.verdict import Mutation

if TYPE_CHECKING:
    from collections.abc import Callable

    from robustness.base import Base
    from robustness.verdict import Verdict

    Spoil = Callable[[Path, np.random.Generator], Mutation]

FORMATS = ("plain", "consolidated", "checked", "three")
"""Format 2; the same with consolidated metadata; with a checksum in each chunk; format 3 with one."""

METADATA = (".zattrs", ".zarray", ".zgroup", ".zmetadata", "zarr.json")
READ = ("units/spike", "units/obs", "units/elec", "intervals/trials", "processing")


def recordings(whole: str, folder: str) -> None:
    """Write the recording in each of the formats."""
    for name in FORMATS:
        _write(Path(whole), Path(folder) / f"{name}.nwb.zarr", name)


def _write(whole: Path, target: Path, name: str) -> None:
    import zarr
    from numcodecs import CRC32
    from zarr.codecs import Crc32cCodec, ZstdCodec

    if name in {"plain", "consolidated"}:
        shutil.copytree(whole, target)
        if name == "consolidated":
            found = {
                path.relative_to(target).as_posix(): json.loads(path.read_text())
                for kind in (".zattrs", ".zarray", ".zgroup")
                for path in sorted(target.rglob(kind))
            }
            text = json.dumps({"metadata": found, "zarr_consolidated_format": 1})
            (target / ".zmetadata").write_text(text)
        return
    source = zarr.open_group(str(whole), mode="r")
    made = zarr.open_group(str(target), mode="w", zarr_format=3 if name == "three" else 2)
    made.attrs.update(dict(source.attrs))
    for path, item in sorted(source.members(max_depth=None), key=lambda pair: pair[0]):
        if isinstance(item, zarr.Group):
            made.require_group(path).attrs.update(dict(item.attrs))
            continue
        is_text = item.dtype.kind not in "fiub"
        codecs: dict[str, Any] = {}
        if name == "three":
            codecs = {
                "compressors": (ZstdCodec(level=1, checksum=is_text), *([] if is_text else [Crc32cCodec()]))
            }
        elif not is_text:
            codecs = {"filters": [CRC32()]}
        array = made.create_array(
            path, shape=item.shape, chunks=item.chunks, dtype=str if is_text else item.dtype, **codecs
        )
        array[...] = item[...]
        array.attrs.update(dict(item.attrs))


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _arrays(root: Path) -> list[Path]:
    """Return the folders of arrays; those that ingest reads more often."""
    found = []
    for path in sorted({*root.rglob(".zarray"), *root.rglob("zarr.json")}):
        at = _relative(path.parent, root)
        if not _chunks(path.parent):
            continue
        if path.name == ".zarray" or json.loads(path.read_text()).get("node_type") == "array":
            found += [path.parent] * (6 if at.startswith(READ) else 1)
    return found


def _chunks(array: Path) -> list[Path]:
    return sorted(p for p in array.rglob("*") if p.is_file() and p.name not in METADATA)


def _metadata(root: Path, *, of_arrays: bool) -> list[Path]:
    if of_arrays:
        return [p for array in _arrays(root) for p in (array / ".zarray", array / "zarr.json") if p.is_file()]
    return sorted(p for name in METADATA for p in root.rglob(name))


def _mutation(text: str, path: Path, root: Path, **more: Any) -> Mutation:
    at = _relative(path, root)
    return Mutation(f"{at}: {text}", (*names_of(at), path.name), **more)


def _bits_of_chunk(kind: str) -> Spoil:
    def spoil(root: Path, rng: np.random.Generator) -> Mutation:
        array = any_of(_arrays(root), rng)
        path = any_of(_chunks(array), rng)
        before = path.read_bytes()
        values = _values(array)
        text = bits.SPOILING[kind](path, rng)
        # A checksum tells; without one, other numbers are other numbers (`_likely`). What a codec does not
        # look at, such as bytes after its own, changes nothing.
        is_read = _relative(array, root).startswith(READ)
        is_other = before != path.read_bytes() and _values(array) != values
        has_checksum = is_read and is_other and _has_checksum(array)
        return _mutation(text, path, root, refused=has_checksum and not _is_optional(array, root))

    return spoil


def _values(array: Path) -> bytes | None:
    """Return the values of an array as zarr reads them; None where it cannot."""
    import zarr

    try:
        return np.asarray(zarr.open_array(array, mode="r")[...]).tobytes()
    except Exception:
        return None


def _has_checksum(array: Path) -> bool:
    path = array / (".zarray" if (array / ".zarray").is_file() else "zarr.json")
    return "crc32" in path.read_text()


def _is_optional(array: Path, root: Path) -> bool:
    """Whether a recording may be ingested without the array, with a word on it."""
    return not _relative(array, root).startswith(("units/spike_times", "intervals/trials/st", "processing"))


def _bits_of_metadata(kind: str) -> Spoil:
    def spoil(root: Path, rng: np.random.Generator) -> Mutation:
        path = any_of(_metadata(root, of_arrays=bool(rng.random() < 0.6)), rng)
        return _mutation(bits.SPOILING[kind](path, rng), path, root)

    return spoil


def metadata(root: Path, rng: np.random.Generator) -> Mutation:
    """Edit one value of one file of metadata."""
    path = any_of(_metadata(root, of_arrays=bool(rng.random() < 0.5)), rng)
    tree, text, names = edits.edited(json.loads(path.read_text()), rng)
    path.write_text(json.dumps(tree))
    made = _mutation(text, path, root)
    return Mutation(made.text, (*made.names, *names[-2:]))


def array_metadata(root: Path, rng: np.random.Generator) -> Mutation:
    """Give an array another shape, dtype, fill, order or compressor than its chunks have."""
    array = any_of(_arrays(root), rng)
    path = array / (".zarray" if (array / ".zarray").is_file() else "zarr.json")
    tree = json.loads(path.read_text())
    shape = tree["shape"]
    is_two = "chunks" in tree
    half = [max(n // 2, 1) for n in shape]
    changes: dict[str, dict[str, Any]] = {
        "longer": {"shape": [shape[0] + 7, *shape[1:]]},
        "shorter": {"shape": [max(shape[0] - 3, 0), *shape[1:]]},
        "huge": {"shape": [10**13, *shape[1:]]},
        "one axis more": {"shape": [*shape, 2]},
        "no axis": {"shape": []},
        "negative": {"shape": [-1, *shape[1:]]},
        "fill": {"fill_value": 7},
        "fill that is no number": {"fill_value": "x"},
        "dtype": {"dtype": "<f4"} if is_two else {"data_type": "float32"},
        "dtype of another order": {"dtype": ">f8"} if is_two else {"data_type": "int16"},
        "dtype that is none": {"dtype": "<q9"} if is_two else {"data_type": "float17"},
        "no compressor": {"compressor": None} if is_two else {"codecs": [{"name": "bytes"}]},
        "a compressor nobody has": (
            {"compressor": {"id": "nonsense"}} if is_two else {"codecs": [{"name": "nonsense"}]}
        ),
        "chunks": (
            {"chunks": half}
            if is_two
            else {
                "chunk_grid": {
                    "name": "regular",
                    "configuration": {"chunk_shape": half},
                }
            }
        ),
        "chunks of nothing": {"chunks": [0 for _ in shape]} if is_two else {"chunk_grid": {}},
        "order": {"order": "F"},
        "format": {"zarr_format": 4},
    }
    kind = str(rng.choice(list(changes)))
    path.write_text(json.dumps(tree | changes[kind]))
    # Of lists the order of axes says nothing.
    why = "a list has no order of axes" if kind == "order" and (len(shape) < 2 or not is_two) else ""
    is_fill = kind == "fill"
    return _mutation(kind, path, root, harmless="no value is the fill" if is_fill else why)


def chunk_gone(root: Path, rng: np.random.Generator) -> Mutation:
    path = any_of(_chunks(any_of(_arrays(root), rng)), rng)
    path.unlink()
    return _mutation("gone", path, root)


def chunks_exchanged(root: Path, rng: np.random.Generator) -> Mutation:
    return _exchanged(*two_unlike([any_of(_chunks(array), rng) for array in _arrays(root)], rng), root)


def arrays_exchanged(root: Path, rng: np.random.Generator) -> Mutation:
    """Let two arrays of one group change places."""
    arrays = _arrays(root)
    fellows = {path: [each for each in arrays if each.parent == path.parent] for path in arrays}
    drawn = any_of([path for path in arrays if len(set(fellows[path])) > 1], rng)
    return _exchanged(*two_unlike(fellows[drawn], rng), root)


def _exchanged(one: Path, other: Path, root: Path) -> Mutation:
    one.rename(root / "tmp")
    other.rename(one)
    (root / "tmp").rename(other)
    made = _mutation(f"exchanged with {_relative(other, root)}", one, root)
    return Mutation(made.text, (*made.names, *names_of(_relative(other, root))))


def gone(root: Path, rng: np.random.Generator) -> Mutation:
    """Remove an array, a group, or one file of metadata."""
    folders = sorted({path.parent for path in _metadata(root, of_arrays=False)} - {root})
    if rng.random() < 0.5:
        path = any_of(folders, rng)
        shutil.rmtree(path)
    else:
        path = any_of(_metadata(root, of_arrays=False), rng)
        path.unlink()
    return _mutation("gone", path, root)


def consolidated(root: Path, rng: np.random.Generator) -> Mutation:
    """Let the consolidated metadata say other things than the files they are of."""
    path = root / ".zmetadata"
    if not path.is_file():
        return metadata(root, rng)
    tree = json.loads(path.read_text())
    name = str(rng.choice(sorted(tree["metadata"])))
    kind = str(rng.choice(["edited", "gone", "more", "of another"]))
    if kind == "edited":
        tree["metadata"][name], text, _ = edits.edited(tree["metadata"][name], rng)
        kind = f"edited, {text}"
    elif kind == "gone":
        del tree["metadata"][name]
    elif kind == "more":
        tree["metadata"][f"nowhere/{name}"] = tree["metadata"][name]
    else:
        tree["metadata"][name] = tree["metadata"][str(rng.choice(sorted(tree["metadata"])))]
    path.write_text(json.dumps(tree))
    # They are never read: what is read is what they were collected from.
    return Mutation(f".zmetadata: {name} {kind}", (".zmetadata", *names_of(name)))


def misplaced(root: Path, rng: np.random.Generator) -> Mutation:
    files = [any_of(_chunks(any_of(_arrays(root), rng)), rng), any_of(_metadata(root, of_arrays=False), rng)]
    path = any_of(files, rng)
    path.unlink()
    if rng.random() < 0.5:
        path.mkdir()
    else:
        path.symlink_to(path.name)
    return _mutation("a folder or a link to itself", path, root)


def stray(root: Path, rng: np.random.Generator) -> Mutation:
    """Put a file there that nobody asked for: nothing changes, and nothing need be said."""
    path = any_of(_arrays(root), rng) / str(
        rng.choice([".DS_Store", "99", "0.0.0", "a\n.txt", "[red]", "._0"])
    )
    path.write_bytes(b"stray")
    return _mutation("was not there", path, root)


MUTATORS: dict[str, Spoil] = {
    **{f"chunk_{kind}": _bits_of_chunk(kind) for kind in bits.SPOILING},
    **{f"metadata_{kind}": _bits_of_metadata(kind) for kind in bits.SPOILING},
    "metadata": metadata,
    "array_metadata": array_metadata,
    "chunk_gone": chunk_gone,
    "chunks_exchanged": chunks_exchanged,
    "arrays_exchanged": arrays_exchanged,
    "gone": gone,
    "consolidated": consolidated,
    "misplaced": misplaced,
    "stray": stray,
}
DRAWN = (*MUTATORS, *["metadata", "array_metadata", "chunk_flip", "chunk_cut"] * 2, "chunk_gone")


def attempt(trial: str, mutator: str, rng: np.random.Generator, base: Base) -> Verdict:
    """Spoil a recording, ingest it, and hold what comes of it against what came of the whole one."""
    kind = "consolidated" if mutator == "consolidated" else str(rng.choice(FORMATS))
    place = base.scratch / "zarr"
    base.known("zarr", lambda: _made(base, place))
    whole = base.known(
        f"zarr {kind}", lambda: ingests.of_whole(base, place / f"{kind}.nwb.zarr", name="a.nwb.zarr")
    )
    folder = base.empty(trial)
    path = folder / "a.nwb.zarr"
    shutil.copytree(place / f"{kind}.nwb.zarr", path)
    said = forked.call(_spoil, mutator, str(path), int(rng.integers(2**32)))
    harmless = said["harmless"] or _likely(place / f"{kind}.nwb.zarr", path)
    mutation = Mutation(
        f"{kind}: {said['text']}", tuple(said["names"]), harmless=harmless, refused=said["refused"]
    )
    is_program = bool(rng.random() < base.share_as_program)
    return ingests.of_spoiled(trial, base, path, mutation=mutation, whole=whole, as_program=is_program)


def _made(base: Base, place: Path) -> bool:
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    forked.call(recordings, str(base.folder / "nwb" / "zarr.nwb.zarr"), str(place))
    return True


def _spoil(mutator: str, path: str, seed: int) -> dict[str, Any]:
    return asdict(MUTATORS[mutator](Path(path), np.random.default_rng(seed)))


def _likely(whole: Path, path: Path) -> str:
    try:
        return str(forked.call(_other_data, str(whole), str(path)))
    except RuntimeError:
        return ""


def _other_data(whole: str, path: str) -> str:
    """Say why a hierarchy with other bytes holds data as good as before; nothing: it does not."""
    import zarr

    try:
        one, two = zarr.open_group(whole, mode="r"), zarr.open_group(path, mode="r")
        old, new = (dict(each.members(max_depth=None)) for each in (one, two))
        if old.keys() != new.keys() or dict(one.attrs) != dict(two.attrs):
            return ""
        for name, item in old.items():
            if dict(item.attrs) != dict(new[name].attrs):
                return ""
            is_read = name.startswith(READ) or not name.startswith(("acquisition", "stimulus", "scratch"))
            # Names of rows may be any.
            is_read = is_read and not (name.endswith("/id") and item.shape == new[name].shape)
            if isinstance(item, zarr.Array) and is_read and not bits.is_as_good(item[...], new[name][...]):
                return ""
    except Exception:
        return ""
    return "a chunk without a checksum: the numbers that changed are as likely as before"
