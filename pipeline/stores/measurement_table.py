"""Measurements as an Arrow table: one row each, one column for each field of `Measurement`.

Text is kept once for all its rows (dictionary encoded), mappings and lists of text as JSON. Fields that this
version does not know, and values that do not fit theirs, are kept in the column ``other``, as JSON.
"""

from __future__ import annotations

import json
from functools import cache
from types import UnionType
from typing import TYPE_CHECKING, Any, get_args, get_origin

import pyarrow as pa

from nwb_latents.schemas.measurement import Measurement

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

OTHER, FILE, LINE = "other", "file", "line"
"""Columns beside the fields: what is not known, and where the record stands, which no other record shares."""

_MISFITS = (pa.ArrowException, TypeError, OverflowError)
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)

TEXT = pa.dictionary(pa.int32(), pa.string())


@cache
def column_types() -> dict[str, pa.DataType]:
    """Return the type of each column.

    Examples
    --------
    >>> {name: str(column_types()[name]) for name in ("value", "n_trials", "per_axis")}
    {'value': 'double', 'n_trials': 'int64', 'per_axis': 'list<element: double>'}
    """
    found = {name: _type(field.annotation) for name, field in Measurement.model_fields.items()}
    return {**found, OTHER: TEXT, FILE: TEXT, LINE: pa.int64()}


@cache
def json_columns() -> frozenset[str]:
    """Return the names of the columns that hold JSON: mappings and tuples of text.

    Examples
    --------
    >>> sorted(json_columns())
    ['decoder_settings', 'details', 'fitted_sessions']
    """
    fields = Measurement.model_fields.items()
    return frozenset(name for name, field in fields if _is_json(field.annotation))


@cache
def defaults() -> dict[str, Any]:
    """Return what a field has where a record leaves it out; the required ones have none."""
    fields = Measurement.model_fields.items()
    return {
        name: None if field.is_required() else field.get_default(call_default_factory=True)
        for name, field in fields
    }


def make_table(records: Sequence[Mapping[str, Any]], *, file: str, lines: Sequence[int]) -> pa.Table:
    """Turn records of one file into a table.

    Parameters
    ----------
    records
        JSON objects; any of them may have fields of a newer version.
    file
        Name of the file they stand in.
    lines
        Line of each.

    Returns
    -------
    table
        One row for each record, columns as `column_types` says.
    """
    present: set[str] = set().union(*records) if records else set()
    others: list[dict[str, Any]] = [{} for _ in records]
    columns: dict[str, pa.Array] = {}
    for name, default in defaults().items():
        if name not in present:
            columns[name] = _repeated(name, default, len(records))
        elif name in json_columns():
            said = [_json(record.get(name, default)) for record in records]
            columns[name] = pa.array(said, pa.string()).dictionary_encode()
        else:
            found = _fitting(name, [record.get(name) for record in records], others)
            columns[name] = _encoded(name, found if default is None else found.fill_null(default))
    for name in sorted(present - defaults().keys()):
        for record, other in zip(records, others, strict=True):
            if name in record:
                other[name] = record[name]
    columns[OTHER] = pa.array([_json(other) if other else None for other in others], pa.string()).cast(TEXT)
    columns[FILE] = _repeated(FILE, file, len(records))
    columns[LINE] = pa.array(lines, pa.int64())
    return pa.table(columns, schema=pa.schema(list(column_types().items())))


def join_tables(tables: Iterable[pa.Table]) -> pa.Table:
    """Put tables of the same columns below each other; text is kept once for all of them."""
    return pa.concat_tables(tables).unify_dictionaries().combine_chunks()


def empty_table() -> pa.Table:
    """Return a table without rows."""
    return make_table([], file="", lines=[])


def _fitting(name: str, values: list[Any], others: list[dict[str, Any]]) -> pa.Array:
    """Return the values of a column; one of another kind than expected is kept beside the others."""
    kind = _plain(name)
    try:
        return pa.array(values, kind)
    except _MISFITS:
        pass
    for place, value in enumerate(values):
        try:
            pa.array([value], kind)
        except _MISFITS:
            others[place][name], values[place] = value, None
    return pa.array(values, kind)


def _repeated(name: str, value: Any, n: int) -> pa.Array:
    said = _json(value) if name in json_columns() else value
    one = _encoded(name, pa.array([said], _plain(name)))
    return one.take(pa.array([0] * n, pa.int32()))


def _encoded(name: str, values: pa.Array) -> pa.Array:
    return values.dictionary_encode() if pa.types.is_dictionary(column_types()[name]) else values


def _plain(name: str) -> pa.DataType:
    kind = column_types()[name]
    return pa.string() if pa.types.is_dictionary(kind) else kind


def _type(annotation: Any) -> pa.DataType:
    kinds = _without_none(annotation)
    if _is_json(annotation):
        return TEXT
    if get_origin(kinds) is tuple:
        return pa.list_(pa.field("element", pa.float64()))
    simple: dict[Any, pa.DataType] = {str: TEXT, float: pa.float64(), int: pa.int64(), bool: pa.bool_()}
    return simple[kinds]


def _is_json(annotation: Any) -> bool:
    kind = _without_none(annotation)
    return get_origin(kind) is dict or (get_origin(kind) is tuple and get_args(kind)[0] is str)


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) is UnionType:
        return next(kind for kind in get_args(annotation) if kind is not type(None))
    return annotation


def _json(value: Any) -> str:
    return _ENCODER.encode(value)
