"""Spoiled recordings: HDF5 and Zarr, each ingested by itself."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from robustness import bits, forked, hdf5_values, ingests
from robustness.verdict import Mutation

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from robustness.base import Base
    from robustness.verdict import Verdict

    Spoil = Callable[[Path, np.random.Generator], Mutation]

FILES = ("plain", "plain", "plain", "000688", "000070", "nlb", "foreign")
TRIALS = "intervals/trials"
SPIKES = ("spike", "units")
SERIES = (
    "position",
    "velocity",
    "hand",
    "series",
    "behavior",
    "kinematic",
    "speed",
    "sample",
    "onset",
    "reach",
)
TRIAL = ("trial", "go_cue", "go cue", "onset", "reaction", "condition")
WORDS: dict[str, tuple[str, ...]] = {
    "units/": SPIKES,
    "intervals/trials": TRIAL,
    "intervals/invalid_times": ("invalid", "observed", "intervals"),
    "processing/": SERIES,
    "general/subject": ("subject", "session"),
    "general/session_id": ("session",),
    "identifier": ("identifier", "session", "recording"),
    "session_start_time": ("session_start_time", "start", "session"),
    "general/extracellular_ephys": ("electrode", "area", "location"),
    "analysis": ("analysis",),
}
"""Beginning of a path → words, one of which has to be in what is said of a change there."""


LABELS = frozenset({"target_id", "trial_type", "trial_version", "maze_condition", "novel_maze"})
OTHER_LENGTHS = frozenset({"doubled", "one_more", "one_less", "halved", "none_left"})


def names_of(path: str) -> tuple[str, ...]:
    """Return the words for a change at a path."""
    own = tuple(part for part in path.split("/") if part not in {"data", "processing", "general"})[-2:]
    return (*own, *(word for begin, words in WORDS.items() if path.startswith(begin) for word in words))


def _datasets(h5: h5py.File) -> list[str]:
    """Return the paths of datasets; those that ingest reads more often."""
    found: list[str] = []

    def visit(name: str, item: Any) -> None:
        if (
            isinstance(item, h5py.Dataset)
            and h5py.check_ref_dtype(item.dtype) is None
            and not name.startswith(("specifications", ".specloc"))
        ):
            is_read = name.startswith(("units/spike", "units/obs", "units/elec", TRIALS, "processing"))
            found.extend([name] * (4 if is_read else 1))

    h5.visititems(visit)
    return sorted(found)


def _groups(h5: h5py.File) -> list[str]:
    found: list[str] = []
    h5.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Group) else None)
    return sorted(name for name in found if not name.startswith("specifications"))


def _drawn(h5: h5py.File, rng: np.random.Generator, is_fit: Callable[[h5py.Dataset], bool]) -> str:
    return str(rng.choice([path for path in _datasets(h5) if is_fit(h5[path])]))


def _is_number(item: h5py.Dataset) -> bool:
    return item.dtype.kind in "fiu" and item.shape is not None


def _changed(kind: str, change: hdf5_values.Values, is_fit: Callable[[h5py.Dataset], bool]) -> Spoil:
    def spoil(path: Path, rng: np.random.Generator) -> Mutation:
        with h5py.File(path, "r+") as h5:
            at = _drawn(h5, rng, is_fit)
            before = np.asarray(h5[at][()])
            after = change(before, rng)
            hdf5_values.put(h5, at, after)
            why = harmless(kind, at) or _coarser(before, after) or _ends_sooner(kind, h5[at])
            return Mutation(f"{kind} of /{at}", names_of(at), harmless=why)

    return spoil


def harmless(kind: str, at: str) -> str:
    """Say why a change of values gives data as good as they were; nothing: it does not."""
    leaf = at.rsplit("/", 1)[-1]
    if at.startswith(("acquisition", "stimulus", "scratch")):
        return "it is not read"
    if leaf in LABELS and kind in {*hdf5_values.NUMBERS, *hdf5_values.ROWS} - OTHER_LENGTHS:
        return "labels of trials may be any"
    if kind == "moved_by_one" and leaf == "data":
        return "a delay of one sample is less than what filters make"
    if kind in {"late", "early"} and leaf == "data" and ("pos" in at.lower() or "Angle" in at):
        return "positions may be counted from anywhere"
    if kind == "last_for_first" and (leaf == "data" or leaf.startswith("target")):
        return "one sample or target of many, in the range of the others, is another one"
    if kind in {"nan_one", "nan_some"} and leaf.startswith("target"):
        return "a target that the file does not know is not known in the store"
    if leaf == "electrodes" and kind in {*hdf5_values.ROWS, "zeros"} - OTHER_LENGTHS:
        return "a unit may have been recorded by any of the electrodes"
    if leaf == "id" and kind not in OTHER_LENGTHS:
        return "names of rows may be any"
    return ""


def _ends_sooner(kind: str, item: h5py.Dataset) -> str:
    if kind == "one_less" and item.name.endswith("/data") and "starting_time" in item.parent:
        return "a series that has a rate ends where its samples end"
    return ""


def _coarser(before: np.ndarray, after: Any) -> str:
    """Say why numbers that were rounded are as good; nothing: they are others."""
    if not isinstance(after, np.ndarray) or after.shape != before.shape or after.dtype.kind not in "fi":
        return ""
    if before.dtype == after.dtype or before.dtype.kind not in "fi" or after.dtype.kind == "c":
        return ""
    with np.errstate(all="ignore"):
        is_near = np.allclose(before.astype(float), after.astype(float), rtol=1e-3, atol=1.0, equal_nan=True)
    return "rounded numbers are numbers" if is_near else ""


def drop(path: Path, rng: np.random.Generator) -> Mutation:
    with h5py.File(path, "r+") as h5:
        at = str(rng.choice([*_datasets(h5), *_groups(h5)]))
        del h5[at]
        return Mutation(f"/{at} is gone", names_of(at))


def rename(path: Path, rng: np.random.Generator) -> Mutation:
    with h5py.File(path, "r+") as h5:
        at = str(rng.choice([*_datasets(h5), *_groups(h5)]))
        new = at + str(rng.choice(["_", "2", "X", " ", "é", "[/red]"]))
        h5.move(at, new)
        return Mutation(f"/{at} is called {new!r}", names_of(at))


def exchange(path: Path, rng: np.random.Generator) -> Mutation:
    """Let two datasets of one group change places."""
    with h5py.File(path, "r+") as h5:
        datasets = _datasets(h5)
        fellows = {at: {p for p in datasets if _group(p) == _group(at)} - {at} for at in datasets}
        at = str(rng.choice([p for p in datasets if fellows[p]]))
        other = str(rng.choice(sorted(fellows[at])))
        h5.move(at, f"{_group(at)}/robust_tmp")
        h5.move(other, at)
        h5.move(f"{_group(at)}/robust_tmp", other)
        why = "a subject may have any name" if _group(at) == "general/subject" else ""
        if _group(at) == "general" and {"general/session_id", "general/identifier"} & {at, other}:
            why = "a session may have any name"
        if {at.rpartition("/")[2], other.rpartition("/")[2]} <= LABELS:
            why = "labels of trials may be any"
        text = f"/{at} and /{other} exchanged"
        return Mutation(text, (*names_of(at), *names_of(other)), harmless=why)


def _group(path: str) -> str:
    return path.rpartition("/")[0]


def link(path: Path, rng: np.random.Generator) -> Mutation:
    with h5py.File(path, "r+") as h5:
        at = str(rng.choice([*_datasets(h5), *_groups(h5)]))
        links = {
            "nowhere": h5py.SoftLink("/nowhere"),
            "itself": h5py.SoftLink(f"/{at}"),
            "no file": h5py.ExternalLink("gone.nwb", f"/{at}"),
            "its own file": h5py.ExternalLink(path.name, f"/{at}"),
            "its group": h5py.SoftLink(f"/{at.rpartition('/')[0]}"),
        }
        kind = str(rng.choice(list(links)))
        del h5[at]
        h5[at] = links[kind]
        return Mutation(f"/{at} is a link to {kind}", names_of(at))


def misplaced(path: Path, rng: np.random.Generator) -> Mutation:
    """Put a group where a dataset was, or the other way round."""
    with h5py.File(path, "r+") as h5:
        at = str(rng.choice([*_datasets(h5), *_groups(h5)]))
        was_group = isinstance(h5[at], h5py.Group)
        del h5[at]
        if was_group:
            h5[at] = np.arange(5)
        else:
            h5.create_group(at)
        return Mutation(f"/{at} is a {'dataset' if was_group else 'group'}", names_of(at))


def index(path: Path, rng: np.random.Generator) -> Mutation:
    with h5py.File(path, "r+") as h5:
        at = _drawn(h5, rng, lambda item: item.name.endswith("_index") and item.shape is not None)
        values = h5[at][()].astype(np.int64)
        k = int(rng.integers(len(values)))
        changes = {
            "all one more": values + 1,
            "all one less": values - 1,
            "one one more": values + (np.arange(len(values)) == k),
            "one one less": values - (np.arange(len(values)) == k),
            "descending": values[::-1],
            "beyond": np.where(np.arange(len(values)) == k, values[-1] + 1000, values),
            "negative": -values,
            "zeros": values * 0,
            "from zero": np.concatenate([[0], values[:-1]]),
            "huge": values + 2**40,
        }
        kind = str(rng.choice(list(changes)))
        hdf5_values.put(h5, at, changes[kind])
        return Mutation(f"/{at}: {kind}", names_of(at))


def attribute_gone(path: Path, rng: np.random.Generator) -> Mutation:
    with h5py.File(path, "r+") as h5:
        places = [p for p in ["/", *_datasets(h5), *_groups(h5)] if len(h5[p].attrs)]
        at = str(rng.choice(places))
        name = str(rng.choice(sorted(h5[at].attrs)))
        del h5[at].attrs[name]
        return Mutation(f"attribute {name} of {at} is gone", (name, *names_of(at)))


def attribute(path: Path, rng: np.random.Generator) -> Mutation:
    with h5py.File(path, "r+") as h5:
        places = [p for p in ["/", *_datasets(h5), *_groups(h5)] if len(h5[p].attrs)]
        at = str(rng.choice(places))
        name = str(rng.choice(sorted(h5[at].attrs)))
        value = hdf5_values.NONSENSE[int(rng.integers(len(hdf5_values.NONSENSE)))]
        hdf5_values.give(h5, at, name, value)
        is_number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 100
        why = "an offset may be any number" if name == "offset" and is_number else ""
        return Mutation(
            f"attribute {name} of {at} is {str(value)[:20]!r}", (name, *names_of(at)), harmless=why
        )


def no_rows(path: Path, rng: np.random.Generator) -> Mutation:
    """Leave a table without rows."""
    with h5py.File(path, "r+") as h5:
        at = str(
            rng.choice([p for p in (TRIALS, "units", "general/extracellular_ephys/electrodes") if p in h5])
        )
        for name in list(h5[at]):
            item = h5[f"{at}/{name}"]
            if isinstance(item, h5py.Dataset) and item.shape:
                keep = dict(item.attrs)
                kind, shape = item.dtype, (0, *item.shape[1:])
                del h5[f"{at}/{name}"]
                made = h5.create_dataset(f"{at}/{name}", shape, dtype=kind)
                made.attrs.update({k: v for k, v in keep.items() if k != "table"})
        return Mutation(f"/{at} has no rows", names_of(f"{at}/"))


def by_bits(kind: str) -> Spoil:
    def spoil(path: Path, rng: np.random.Generator) -> Mutation:
        return Mutation(bits.SPOILING[kind](path, rng))

    return spoil


MUTATORS: dict[str, Spoil] = {
    **{kind: _changed(kind, change, _is_number) for kind, change in hdf5_values.NUMBERS.items()},
    **{
        kind: _changed(kind, change, lambda item: bool(item.shape))
        for kind, change in hdf5_values.ROWS.items()
    },
    **{
        kind: _changed(kind, change, lambda item: bool(item.shape) and item.dtype.kind in "fiub")
        for kind, change in hdf5_values.SHAPES.items()
    },
    "drop": drop,
    "rename": rename,
    "exchange": exchange,
    "link": link,
    "misplaced": misplaced,
    "index": index,
    "attribute_gone": attribute_gone,
    "attribute": attribute,
    "no_rows": no_rows,
    **{f"bits_{kind}": by_bits(kind) for kind in bits.SPOILING},
}
_OFTEN = (
    "drop",
    "rename",
    "exchange",
    "link",
    "index",
    "attribute",
    "attribute_gone",
    "bits_flip",
    "bits_cut",
)
DRAWN = (*MUTATORS, *_OFTEN * 3)


def attempt(trial: str, mutator: str, rng: np.random.Generator, base: Base) -> Verdict:
    """Spoil a recording, ingest it, and hold what comes of it against what came of the whole one."""
    name = str(rng.choice(FILES))
    whole = base.known(
        f"nwb {name}",
        lambda: ingests.of_whole(base, base.folder / "nwb" / f"{name}.nwb", name=f"{name}.nwb"),
    )
    folder = base.empty(trial)
    path = folder / f"{name}.nwb"
    shutil.copy(base.folder / "nwb" / path.name, path)
    seed = int(rng.integers(2**32))
    said = forked.call(_spoil, mutator, str(path), seed)
    harmless = (
        said["harmless"] or _likely(base.folder / "nwb" / path.name, path)
        if mutator.startswith("bits")
        else ""
    )
    named = {"names": tuple(said["names"]), "text": f"{name}: {said['text']}"}
    mutation = Mutation(**{**said, **named, "harmless": harmless or said["harmless"]})
    is_program = bool(rng.random() < base.share_as_program)
    return ingests.of_spoiled(trial, base, path, mutation=mutation, whole=whole, as_program=is_program)


def _likely(whole: Path, path: Path) -> str:
    try:
        return str(forked.call(bits.other_data, str(whole), str(path)))
    except RuntimeError:
        # HDF5 itself may go on for ever in a file that was spoiled.
        return ""


def _spoil(mutator: str, path: str, seed: int) -> dict[str, Any]:
    from dataclasses import asdict
    from pathlib import Path

    return asdict(MUTATORS[mutator](Path(path), np.random.default_rng(seed)))
