"""Trial stores on disk: zarr v3 directories with the groups ``trials`` and ``continuous``.

Arrays, names and units are those of `schemas.store`. Every large array is one shard of small chunks, so that
a session is a few dozen files whatever its length, and one trial can be read without the others.
"""

from __future__ import annotations

import json
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError

from pipeline.errors import DataError
from pipeline.stores.atomic import machine_error, whole_directory
from schemas.store import (
    CONTINUOUS_ARRAYS,
    STORE_SCHEMA_VERSION,
    TRIALS_ARRAYS,
    ArraySpec,
    StoreAttributes,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import xarray as xr

GROUPS: dict[str, dict[str, ArraySpec]] = {"trials": TRIALS_ARRAYS, "continuous": CONTINUOUS_ARRAYS}

_JSON_ATTRIBUTES = ("recipe", "provenance", "dropped")
_CHUNK_BYTES = 1 << 20


def to_dataset(group: str, arrays: Mapping[str, np.ndarray], attributes: StoreAttributes) -> xr.Dataset:
    """Build the dataset of one group, with units and descriptions in the attributes.

    Parameters
    ----------
    group
        ``trials`` or ``continuous``.
    arrays
        Array name → values; names and dimensions of `schemas.store`.
    attributes
        Attributes of the store.
    """
    import xarray as xr  # noqa: PLC0415

    specs = GROUPS[group]
    variables: dict[str, Any] = {}
    coordinates: dict[str, Any] = {}
    for name, spec in specs.items():
        described = (
            {"units": spec.units, "long_name": spec.description}
            if spec.units
            else {"long_name": spec.description}
        )
        target = variables if len(spec.dims) > 1 or name == "observed" else coordinates
        target[name] = (spec.dims, arrays[name], described)
    dump = attributes.model_dump(mode="json")
    flat = {key: json.dumps(value) if key in _JSON_ATTRIBUTES else value for key, value in dump.items()}
    return xr.Dataset(variables, coords=coordinates, attrs=flat)


def write_store(path: Path, trials: xr.Dataset, continuous: xr.Dataset) -> None:
    """Write a store whole or not at all, and check it before it gets its name.

    Parameters
    ----------
    path
        Final path of the store.
    trials, continuous
        Datasets made by `to_dataset`.

    Raises
    ------
    DataError
        If an array does not fit the schema.
    MachineError
        If the disk refuses; nothing is left behind.
    """
    for group, dataset in (("trials", trials), ("continuous", continuous)):
        check_group(dataset, group, where=str(path))
    with whole_directory(path) as temporary:
        with _quiet_zarr():
            for group, dataset in (("trials", trials), ("continuous", continuous)):
                dataset.to_zarr(
                    temporary,
                    group=group,
                    mode="w",
                    zarr_format=3,
                    consolidated=True,
                    encoding=_encoding(dataset),
                )
        for group in GROUPS:
            check_group(_open(temporary, group), group, where=str(path))


def read_attributes(path: Path) -> StoreAttributes | None:
    """Return a store's attributes, or None if there is no complete store of this schema at `path`."""
    try:
        raw = json.loads((path / "trials" / "zarr.json").read_text())["attributes"]
        for key in _JSON_ATTRIBUTES:
            raw[key] = json.loads(raw[key])
        return StoreAttributes.model_validate(raw)
    except (OSError, KeyError, TypeError, ValueError, ValidationError):
        return None


def read_trials(path: Path) -> xr.Dataset:
    """Open the aligned trials of a store; arrays are read when they are used.

    Raises
    ------
    DataError
        If there is no complete store at `path`.
    """
    return _checked(path, "trials")


def read_continuous(path: Path) -> xr.Dataset:
    """Open the continuous binned session of a store (see `read_trials`)."""
    return _checked(path, "continuous")


def check_group(dataset: xr.Dataset, group: str, *, where: str, values: bool = False) -> None:
    """Check a group's arrays against the schema.

    Parameters
    ----------
    dataset
        The group.
    group
        ``trials`` or ``continuous``.
    where
        Store named in the error.
    values
        Also read all values and look for NaN where none is allowed.

    Raises
    ------
    DataError
        With array, expected and found.
    """
    for name, spec in GROUPS[group].items():
        if name not in dataset.variables:
            raise DataError(f"{where}: {group} has no array {name!r}. Run ingest again with --force.")
        array = dataset[name]
        if tuple(array.dims) != spec.dims:
            raise DataError(
                f"{where}: {group}/{name}: expected dimensions {spec.dims}, found {tuple(array.dims)}."
            )
        if array.dtype.kind not in spec.kinds:
            raise DataError(
                f"{where}: {group}/{name}: expected dtype kind {spec.kinds}, found {array.dtype}."
            )
        if spec.units != array.attrs.get("units", ""):
            found = array.attrs.get("units", "none")
            raise DataError(f"{where}: {group}/{name}: expected units {spec.units!r}, found {found!r}.")
        if not values:
            continue
        try:
            content = array.values
        except (OSError, RuntimeError, ValueError) as error:
            raise DataError(
                f"{where}: {group}/{name} is damaged: {error}. Run ingest again with --force."
            ) from error
        if spec.kinds == "f" and not spec.nullable and np.isnan(content).any():
            raise DataError(
                f"{where}: {group}/{name} holds NaN, where none is allowed. Run ingest again with --force."
            )


def _checked(path: Path, group: str) -> xr.Dataset:
    if read_attributes(path) is None:
        raise DataError(
            f"{path}: no complete trial store of schema version {STORE_SCHEMA_VERSION} here. Run `pipeline "
            "run ingest` "
            "again; `pipeline catalog verify` lists every store that is missing."
        )
    dataset = _open(path, group)
    check_group(dataset, group, where=str(path))
    return dataset


def _open(path: Path, group: str) -> xr.Dataset:
    import xarray as xr  # noqa: PLC0415

    try:
        with _quiet_zarr():
            dataset = xr.open_zarr(path, group=group, consolidated=True, chunks=None)
    except OSError as error:
        raise machine_error(error, path, doing="read this store") from error
    # zarr delivers text as numpy's StringDType, which few functions take; text arrays are short.
    text = {
        name: dataset[name].astype(object) for name in dataset.variables if dataset[name].dtype.kind == "T"
    }
    with_text: xr.Dataset = dataset.assign_coords(text)
    return with_text


def _encoding(dataset: xr.Dataset) -> dict[str, dict[str, Any]]:
    from zarr.codecs import ZstdCodec  # noqa: PLC0415

    # Smoothed counts take few distinct values: plain zstd at its fastest level makes them smaller, and
    # writes and
    # reads them faster, than any shuffling codec (benchmarks/RESULTS.md).
    codec = ZstdCodec(level=1, checksum=True)
    out: dict[str, dict[str, Any]] = {}
    for name, array in dataset.variables.items():
        if array.dtype.kind in "OT" or array.ndim == 0:
            continue
        out[str(name)] = {"compressors": (codec,)}
        if array.ndim > 1:
            row_bytes = array.dtype.itemsize * int(np.prod(array.shape[1:]))
            rows = max(1, min(array.shape[0], _CHUNK_BYTES // max(1, row_bytes)))
            shard_rows = -(-array.shape[0] // rows) * rows
            out[str(name)] |= {"chunks": (rows, *array.shape[1:]), "shards": (shard_rows, *array.shape[1:])}
        else:
            out[str(name)]["chunks"] = array.shape
        if array.dtype.kind == "f":
            out[str(name)]["_FillValue"] = np.nan
    return out


@contextmanager
def _quiet_zarr() -> Iterator[None]:
    with warnings.catch_warnings():
        # Consolidated metadata is an extension of zarr v3 that every reader may ignore.
        warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
        yield
