"""Trial stores, on disk or on object storage: zarr v3, groups ``trials``, ``continuous`` and ``events``.

Arrays, names and units are those of `schemas.store`. Every large array is one shard of small chunks, so that
a session is a few dozen files whatever its length, and one trial can be read without the others.

A store is complete when ``trials/zarr.json`` is there. On a disk the whole directory gets its name at the
end. Object storage cannot rename: there, that object is written after all others and deleted before them.
Beside the groups lies the manifest, size and digest of every file (`pipeline.stores.manifest`).
"""

from __future__ import annotations

import json
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from nwb_latents.pipeline.errors import DataError, MachineError, NewerFileError
from nwb_latents.pipeline.stores.atomic import machine_error, whole_directory
from nwb_latents.pipeline.stores.group_checks import INGEST_AGAIN, check_group
from nwb_latents.pipeline.stores.lenient import record_of
from nwb_latents.pipeline.stores.location import COMPLETE_WHEN, StoreLocation
from nwb_latents.pipeline.stores.manifest import (
    MANIFEST,
    content_fault,
    file_faults,
    manifest_of,
    manifest_of_contents,
    read_manifest,
    write_manifest,
)
from nwb_latents.pipeline.stores.shards import ZSTD_LEVEL, chunk_rows
from nwb_latents.schemas.store import (
    GROUP_ARRAYS,
    STORE_SCHEMA_VERSION,
    ArraySpec,
    StoreAttributes,
    specs_of,
    unit_in,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    import xarray as xr

    from nwb_latents.pipeline.signals.rows import Rows
    from nwb_latents.pipeline.stores.shards import Shard
    from nwb_latents.schemas.manifest import Manifest

GROUPS: dict[str, dict[str, ArraySpec]] = GROUP_ARRAYS

_JSON_ATTRIBUTES = ("recipe", "provenance", "dropped", "quality")


def to_dataset(group: str, arrays: Mapping[str, Rows], attributes: StoreAttributes) -> xr.Dataset:
    """Build the dataset of one group, with units and descriptions in the attributes.

    Parameters
    ----------
    group
        ``trials``, ``continuous`` or ``events``.
    arrays
        Array name → values; names and dimensions of `schemas.store`. Of `Rows` that are no plain array the
        dataset has shape and type alone: their shards are given to `write_store`.
    attributes
        Attributes of the store.
    """
    import xarray as xr  # noqa: PLC0415

    specs = specs_of(group, arrays)
    variables: dict[str, Any] = {}
    coordinates: dict[str, Any] = {}
    for name, spec in specs.items():
        described = (
            {"units": unit_in(spec.units, attributes.kinematics_unit), "long_name": spec.description}
            if spec.units
            else {"long_name": spec.description}
        )
        is_variable = len(spec.dims) > 1 or name in {"observed", "outlier"} or group == "events"
        target = variables if is_variable else coordinates
        target[name] = (spec.dims, _lazily(arrays[name]), described)
    dump = attributes.written()
    flat = {key: json.dumps(value) if key in _JSON_ATTRIBUTES else value for key, value in dump.items()}
    return xr.Dataset(variables, coords=coordinates, attrs=flat)


def _lazily(values: Rows) -> Any:
    """Return what stands in a dataset for values: themselves, or an array that is never made."""
    if isinstance(values, np.ndarray):
        return values
    import dask.array  # noqa: PLC0415 - a second, which plain arrays do not need

    return dask.array.zeros(values.shape, dtype=values.dtype, chunks=-1)


def write_store(
    where: Path | StoreLocation | str,
    trials: xr.Dataset,
    continuous: xr.Dataset,
    events: xr.Dataset | None = None,
    *,
    confirm: Callable[[], None] | None = None,
    shards: Mapping[str, Shard] | None = None,
) -> None:
    """Write a store whole or not at all, and check it before it becomes visible.

    One writer at a time is the caller's business (`pipeline.stores.one_writer`). On object storage the store
    that was there is gone from the moment the writing begins.

    Parameters
    ----------
    where
        Where the store will lie.
    trials, continuous
        Datasets made by `to_dataset`.
    events
        The same; without it the store cannot be cut anew.
    confirm
        Called just before the store becomes visible; whatever it raises keeps the store invisible.
    shards
        Arrays that are written already, by their places in the store; on a disk, they are moved there.

    Raises
    ------
    DataError
        If an array does not fit the schema.
    MachineError
        If the disk or the storage refuses. A disk is left as it was; a storage holds no complete store.
    """
    location = StoreLocation.parse(where)
    groups = {"trials": trials, "continuous": continuous}
    if events is not None:
        groups["events"] = events
    for group, dataset in groups.items():
        check_group(dataset, group, where=str(location))
    shards = shards or {}
    if location.is_remote:
        _upload(location, groups, shards, confirm)
        return
    from nwb_latents.pipeline.stores.hashed_folder import hashed_folder  # noqa: PLC0415 - imports zarr

    with whole_directory(location.path) as temporary:
        with hashed_folder(temporary) as store:
            # The largest group first: what follows is written while its files are summed up.
            _write_groups(store, dict(reversed(groups.items())), where=str(location))
            written = store.digests()
        for name, shard in shards.items():
            place = temporary / name
            place.parent.mkdir(parents=True)
            shard.path.rename(place)
            written[name] = shard.digest
        write_manifest(temporary, manifest_of(temporary, known=written))
        if confirm is not None:
            confirm()


def read_attributes(where: Path | StoreLocation | str) -> StoreAttributes | None:
    """Return a store's attributes, or None if there is no complete store of this schema.

    Raises
    ------
    MachineError
        If the object storage cannot be reached or refuses: whether there is a store is not known then.
    NewerFileError
        If a newer version of the program wrote it, and this one does not understand it.
    """
    return _attributes_in(StoreLocation.parse(where).read(COMPLETE_WHEN), where)


def _attributes_in(content: bytes | None, where: Path | StoreLocation | str) -> StoreAttributes | None:
    if content is None:
        return None
    try:
        return attributes_of(json.loads(content)["attributes"])
    except NewerFileError as error:
        error.add_note(f"The store is {where}.")
        raise
    except (DataError, KeyError, TypeError, ValueError):
        return None


def attributes_of(written: Mapping[str, Any]) -> StoreAttributes:
    """Return the attributes of a store from those of one of its datasets, as `to_dataset` wrote them.

    Raises
    ------
    DataError
        If one is missing or does not fit.
    NewerFileError
        If it does not fit because a newer version of the program wrote it.
    """
    try:
        nested = {key: json.loads(written.get(key, "null")) for key in _JSON_ATTRIBUTES}
    except (TypeError, ValueError) as error:
        raise DataError(f"These are not the attributes of a trial store: {error}") from error
    where, remedy = f"the store of {written.get('session')}", "Ingest the session again with --force."
    return record_of(StoreAttributes, {**written, **nested}, where=where, remedy=remedy)


def trial_sizes(where: Path | StoreLocation | str) -> dict[str, int]:
    """Return trials, bins and units of a store from its metadata alone: xarray and zarr are not needed.

    Raises
    ------
    DataError
        If there is no complete store, or its metadata do not describe the counts.

    Returns
    -------
    sizes
        ``trial``, ``time`` and ``unit``.
    """
    location = StoreLocation.parse(where)
    written = location.read("trials/counts/zarr.json")
    try:
        described = json.loads(written or "null")
        sizes = dict(zip(described["dimension_names"], map(int, described["shape"]), strict=True))
        return {name: sizes[name] for name in ("trial", "time", "unit")}
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{location}: no complete trial store here, or its metadata are damaged ({error!r}). Run "
            "`pipeline run ingest` again with --force."
        ) from error


def read_trials(where: Path | StoreLocation | str) -> xr.Dataset:
    """Open the trials of a store; arrays are read when they are used.

    Raises
    ------
    DataError
        If there is no complete store.
    MachineError
        If the object storage cannot be reached or refuses.
    """
    return _checked(StoreLocation.parse(where), "trials")


def read_continuous(where: Path | StoreLocation | str) -> xr.Dataset:
    """Open the continuous binned session of a store (see `read_trials`)."""
    return _checked(StoreLocation.parse(where), "continuous")


def read_events(where: Path | StoreLocation | str) -> xr.Dataset | None:
    """Open the table of events of a store, or return None if it was written without one."""
    location = StoreLocation.parse(where)
    if location.lacks("events/zarr.json"):
        return None
    return _checked(location, "events")


def _checked(location: StoreLocation, group: str) -> xr.Dataset:
    manifest = read_manifest(location, remedy=INGEST_AGAIN)
    content = location.read(COMPLETE_WHEN)
    # zarr reads a copy of it, which stands with those of all groups at the top.
    if (
        content is not None
        and manifest is not None
        and (fault := content_fault(COMPLETE_WHEN, content, manifest))
    ):
        raise DataError(f"{location}: {fault}. {INGEST_AGAIN}")
    if _attributes_in(content, location) is None:
        if manifest is not None:
            for missing in file_faults(location, manifest, names=[COMPLETE_WHEN]):
                raise DataError(f"{location}: no complete trial store here: {missing.text}. {INGEST_AGAIN}")
        raise DataError(
            f"{location}: no complete trial store of schema version {STORE_SCHEMA_VERSION} here. Run "
            "`pipeline run ingest` again; `pipeline catalog verify` lists every store that is missing."
        )
    dataset = open_group(location, group, manifest=manifest)
    check_group(dataset, group, where=str(location))
    return dataset


def open_group(location: StoreLocation, group: str, *, manifest: Manifest | None) -> xr.Dataset:
    """Open a group of a store as it is; whether it fits the schema is not looked at.

    Parameters
    ----------
    location
        The store.
    group
        ``trials``, ``continuous`` or ``events``.
    manifest
        What its files have to be; None: that is not known, or not to keep it from being read.

    Raises
    ------
    DataError
        If a file is missing, not as long as it was written, or holds text that cannot be unpacked.
    MachineError
        If the disk or the storage refuses.
    """
    from nwb_latents.pipeline.stores.zarr_access import WholeFolder, WholeObjects  # noqa: PLC0415 - imports zarr

    if location.is_remote:
        return _open(WholeObjects(location.objects, manifest), group, where=location)
    try:
        return _open(WholeFolder(location.path, manifest), group, where=location)
    except OSError as error:
        raise machine_error(error, location.path, doing="read this store") from error


def _write_groups(target: Any, groups: Mapping[str, xr.Dataset], *, where: str) -> None:
    """Write the groups into a zarr store, and hold what can be read of it against the schema."""
    import xarray as xr  # noqa: PLC0415

    with _quiet_zarr():
        for group, dataset in groups.items():
            described: Any = dataset
            described.to_zarr(
                target,
                # Arrays that are in shards already are described alone.
                compute=not any(array.chunks for array in dataset.variables.values()),
                group=group,
                mode="w",
                zarr_format=3,
                consolidated=True,
                encoding=_encoding(dataset),
                # zarr takes a missing chunk for one of fill values; without any, a missing one is a fault.
                write_empty_chunks=True,
            )
        for group in groups:
            # Metadata is all that is asked for here: no index is built, and no text read.
            written = xr.open_zarr(
                target, group=group, consolidated=True, chunks=None, create_default_indexes=False
            )
            check_group(written, group, where=where)


def _upload(
    location: StoreLocation,
    groups: Mapping[str, xr.Dataset],
    shards: Mapping[str, Shard],
    confirm: Callable[[], None] | None,
) -> None:
    from zarr.storage import MemoryStore  # noqa: PLC0415

    # Compressed, a session is about a tenth of the arrays that are in memory anyhow.
    buffers: dict[str, Any] = {}
    _write_groups(MemoryStore(buffers), groups, where=str(location))
    contents = {name: buffer.to_bytes() for name, buffer in buffers.items()}
    digests = {name: shard.digest for name, shard in shards.items()}
    manifest = manifest_of_contents(contents, known=digests)
    last = {COMPLETE_WHEN: contents.pop(COMPLETE_WHEN)}
    folder = location.objects
    location.remove()
    # Metadata follow what they describe, so that no group that can be opened lacks values.
    metadata = {name: contents.pop(name) for name in list(contents) if name.endswith("zarr.json")}
    folder.write_all({name: shard.path for name, shard in shards.items()})
    folder.write_all(contents)
    folder.write_all(metadata)
    expected = {name: len(content) for name, content in (contents | metadata).items()}
    expected |= {name: digest.size for name, digest in digests.items()}
    if folder.sizes() != expected:
        raise MachineError(
            f"{location}: the storage holds other objects than were written, so the store was not made "
            "visible. Let one writer at a time write it, and run the same command again."
        )
    # What has a manifest is whole; what is visible has one.
    folder.write_all({MANIFEST: manifest.text().encode()})
    if confirm is not None:
        confirm()
    folder.write_all(last)


def _open(source: Any, group: str, *, where: StoreLocation) -> xr.Dataset:
    import xarray as xr  # noqa: PLC0415

    with _quiet_zarr():
        dataset = xr.open_zarr(source, group=group, consolidated=True, chunks=None)
    # zarr delivers text as numpy's StringDType, which few functions take; text arrays are short.
    text = {}
    for name in dataset.variables:
        if dataset[name].dtype.kind == "T":
            try:
                text[name] = dataset[name].astype(object)
            except (RuntimeError, ValueError) as error:
                raise DataError(f"{where}: {group}/{name} is damaged: {error}. {INGEST_AGAIN}") from error
    with_text: xr.Dataset = dataset.assign_coords(text)
    return with_text


def _encoding(dataset: xr.Dataset) -> dict[str, dict[str, Any]]:
    from zarr.codecs import ZstdCodec  # noqa: PLC0415

    # Smoothed counts take few distinct values: plain zstd at its fastest level makes them smaller, and
    # writes and
    # reads them faster, than any shuffling codec (benchmarks/RESULTS.md).
    codec = ZstdCodec(level=ZSTD_LEVEL, checksum=True)
    out: dict[str, dict[str, Any]] = {}
    for name, array in dataset.variables.items():
        if array.dtype.kind in "OT" or array.ndim == 0:
            continue
        out[str(name)] = {"compressors": (codec,)}
        if array.ndim > 1:
            rows = chunk_rows(array.shape, array.dtype)
            shard_rows = -(-array.shape[0] // rows) * rows
            out[str(name)] |= {"chunks": (rows, *array.shape[1:]), "shards": (shard_rows, *array.shape[1:])}
        else:
            out[str(name)]["chunks"] = (max(1, array.shape[0]),)
        if array.dtype.kind == "f":
            out[str(name)]["_FillValue"] = np.nan
    return out


@contextmanager
def _quiet_zarr() -> Iterator[None]:
    with warnings.catch_warnings():
        # Consolidated metadata is an extension of zarr v3 that every reader may ignore.
        warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
        yield
