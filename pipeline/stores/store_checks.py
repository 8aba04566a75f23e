"""One trial store of a catalog, looked at from its files to its values: all that is wrong with it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from nwb_latents.pipeline.errors import DataError, MachineError, PipelineError
from nwb_latents.pipeline.stores.group_checks import group_faults
from nwb_latents.pipeline.stores.location import COMPLETE_WHEN
from nwb_latents.pipeline.stores.manifest import MANIFEST, file_faults, read_manifest
from nwb_latents.pipeline.stores.trials import (
    GROUPS,
    attributes_of,
    open_group,
    read_attributes,
)
from nwb_latents.pipeline.stores.value_checks import StoredArrays, disagreements

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import xarray as xr

    from nwb_latents.pipeline.stores.location import StoreLocation
    from nwb_latents.schemas.catalog import SessionEntry
    from nwb_latents.schemas.manifest import Manifest
    from nwb_latents.schemas.store import StoreAttributes

Kind = Literal[
    "missing", "size", "content", "unlisted", "manifest", "schema", "values", "key", "catalog", "unreadable"
]


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with a store or a run.

    Attributes
    ----------
    kind
        What sort of thing.
    where
        File or array, within the store or run; empty: the whole.
    text
        Found against expected, a clause.
    """

    kind: Kind
    where: str
    text: str


def store_faults(
    where: StoreLocation, entry: SessionEntry, *, expected_key: Callable[[StoreAttributes], str], quick: bool
) -> Iterator[Fault]:
    """Yield everything that is wrong with a store.

    Parameters
    ----------
    where
        The store.
    entry
        What the catalog says of it.
    expected_key
        Key of a store cut from a recording, by what the store says of itself.
    quick
        Look at sizes and keys alone, and read no array.

    Raises
    ------
    MachineError
        If the object storage cannot be reached or refuses: nothing is known of the store then.
    """
    manifest, told = None, set()
    try:
        manifest = read_manifest(where, remedy="")
    except DataError as error:
        yield Fault("manifest", MANIFEST, _clause(error, where))
    if manifest is not None:
        for fault in _file_faults(where, manifest, quick=quick):
            told.add(fault.where)
            yield fault
    try:
        attributes = read_attributes(where)
    except DataError as error:
        yield Fault("schema", COMPLETE_WHEN, _clause(error, where))
        return
    if attributes is None and COMPLETE_WHEN in told:
        return
    if attributes is None:
        is_there = where.read(COMPLETE_WHEN) is not None
        text = f"{COMPLETE_WHEN} cannot be read" if is_there else "the store is not there"
        yield Fault("unreadable" if is_there else "missing", COMPLETE_WHEN, text)
        return
    yield from _key_faults(attributes, entry)
    if not quick:
        yield from _content_faults(where, attributes, entry, expected_key, manifest)


def _file_faults(where: StoreLocation, manifest: Manifest, *, quick: bool) -> Iterator[Fault]:
    for fault in file_faults(where, manifest, sizes_only=quick):
        yield Fault(fault.kind, fault.name, fault.text)
    for name in sorted(where.sizes().keys() - manifest.files.keys()):
        # What a file manager leaves lying about decides nothing; what zarr would read does.
        if name.endswith("zarr.json") or "/c/" in name:
            yield Fault("unlisted", name, f"{name} is not in the manifest: something else wrote it")


def _key_faults(attributes: StoreAttributes, entry: SessionEntry) -> Iterator[Fault]:
    pairs = {
        "store_key": (attributes.store_key, entry.store_key),
        "session": (attributes.session, entry.session),
        "recipe_id": (attributes.recipe.recipe_id, entry.recipe_id),
        "bin_size_s": (attributes.bin_size_s, entry.bin_size_s),
    }
    for name, (found, expected) in pairs.items():
        if found != expected:
            yield Fault("key", name, f"it is of {name} {_short(found)}, the catalog says {_short(expected)}")


def _content_faults(
    where: StoreLocation,
    attributes: StoreAttributes,
    entry: SessionEntry,
    expected_key: Callable[[StoreAttributes], str],
    manifest: Manifest | None,
) -> Iterator[Fault]:
    groups: dict[str, xr.Dataset] = {}
    found: list[Fault] = []
    for group in GROUPS:
        if group == "events" and where.lacks("events/zarr.json"):
            continue
        try:
            dataset = open_group(where, group, manifest=manifest)
            # What is wrong with the form is told in full; what comes of it is not.
            found += [Fault("schema", f.where, f.text) for f in group_faults(dataset, group, values=True)]
            found += _of_another_store(where, dataset, group, attributes)
            groups[group] = dataset
        except MachineError:
            if where.is_remote:
                raise
            found.append(Fault("unreadable", group, f"{group} cannot be read: the disk refuses"))
        except (PipelineError, OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
            found.append(Fault("unreadable", group, f"{group} cannot be read: {_clause(error, where)}"))
    yield from found
    if "trials" in groups:
        sizes = groups["trials"].sizes
        for name, said in (("trial", entry.n_trials), ("unit", entry.n_units), ("time", entry.n_bins)):
            if sizes.get(name) != said:
                yield Fault("key", name, f"it has {sizes.get(name)} of {name}, the catalog says {said}")
    # Stores of trials that were cut elsewhere have no events, and a key of their own.
    if "events" in groups and expected_key(attributes) != attributes.store_key:
        yield Fault(
            "key",
            "store_key",
            "its key is not that of the file, recipe and versions it says it was made of",
        )
    if not found and {"trials", "continuous"} <= groups.keys():
        arrays = {
            group: {str(name): dataset[name].values for name in dataset.variables}
            for group, dataset in groups.items()
        }
        stored = StoredArrays(
            arrays["trials"], arrays["continuous"], arrays.get("events"), attributes=attributes
        )
        for each in disagreements(stored):
            yield Fault("values", each.where, each.text)


def _of_another_store(
    where: StoreLocation, dataset: xr.Dataset, group: str, attributes: StoreAttributes
) -> list[Fault]:
    """Compare what a group says of the store, in its own file and in the copy zarr reads, with `trials`."""
    own = json.loads(where.read(f"{group}/zarr.json") or "{}").get("attributes", {})
    if all(attributes_of(said).written() == attributes.written() for said in (own, dataset.attrs)):
        return []
    return [Fault("key", group, f"{group} says other things of the store than trials: it is of another one")]


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:12]}…"


def _clause(error: Exception, where: StoreLocation) -> str:
    """Return what an error says, without the place it begins with."""
    text = str(error) if isinstance(error, PipelineError) else f"{type(error).__name__}: {error}"
    return text.strip().removeprefix(f"{where}: ").rstrip(". ")
