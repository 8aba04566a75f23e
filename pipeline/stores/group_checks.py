"""A group of a store held against the schema: arrays, dimensions, kinds, units, and what may be NaN."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.schemas.store import ArraySpec, specs_of, unit_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    import xarray as xr

INGEST_AGAIN = "Run ingest again with --force."


class ArrayFault(NamedTuple):
    """What is wrong with one array.

    Attributes
    ----------
    where
        ``group/array``, or the group.
    text
        Found against expected, a clause that begins with the place.
    """

    where: str
    text: str


def check_group(dataset: xr.Dataset, group: str, *, where: str, values: bool = False) -> None:
    """Check a group's arrays against the schema.

    Parameters
    ----------
    dataset
        The group.
    group
        ``trials``, ``continuous`` or ``events``.
    where
        Store named in the error.
    values
        Also read all values and look for those that are not allowed.

    Raises
    ------
    DataError
        With the first array that does not fit, expected and found.
    """
    for fault in group_faults(dataset, group, values=values):
        raise DataError(f"{where}: {fault.text}. {INGEST_AGAIN}")


def group_faults(dataset: xr.Dataset, group: str, *, values: bool = False) -> Iterator[ArrayFault]:
    """Yield everything in which a group does not fit the schema; parameters as of `check_group`."""
    for name, spec in specs_of(group, map(str, dataset.variables)).items():
        place = f"{group}/{name}"
        if name not in dataset.variables:
            yield ArrayFault(group, f"{group} has no array {name!r}")
            continue
        array = dataset[name]
        if tuple(array.dims) != spec.dims:
            yield ArrayFault(place, f"{place}: expected dimensions {spec.dims}, found {tuple(array.dims)}")
        if array.dtype.kind not in spec.kinds:
            yield ArrayFault(place, f"{place}: expected dtype kind {spec.kinds}, found {array.dtype}")
        expected = unit_in(spec.units, str(dataset.attrs.get("kinematics_unit", "cm")))
        found = array.attrs.get("units", "")
        if expected != found:
            yield ArrayFault(place, f"{place}: expected units {expected!r}, found {found or 'none'!r}")
        if values:
            yield from _value_faults(array, spec, place)


def _value_faults(array: xr.DataArray, spec: ArraySpec, place: str) -> Iterator[ArrayFault]:
    try:
        content = array.values
    except (OSError, RuntimeError, ValueError, DataError) as error:
        yield ArrayFault(place, f"{place} is damaged: {error}".rstrip("."))
        return
    if content.dtype.kind != "f":
        return
    if not spec.nullable and np.isnan(content).any():
        yield ArrayFault(
            place, f"{place} holds NaN, where none is allowed, {int(np.isnan(content).sum()):,} times"
        )
    if np.isinf(content).any():
        yield ArrayFault(place, f"{place} holds infinite values, {int(np.isinf(content).sum()):,} times")
