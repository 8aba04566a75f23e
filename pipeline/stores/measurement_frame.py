"""From the Arrow table of measurements to the rows that count, and to a pandas table."""

from __future__ import annotations

import difflib
import fnmatch
import json
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ValidationError

from nwb_latents.pipeline.stores.lenient import reason, say, say_unknown
from nwb_latents.pipeline.stores.measurement_table import FILE, LINE, OTHER, column_types, json_columns
from nwb_latents.schemas.base import NewerRecordError
from nwb_latents.schemas.measurement import IDENTITY, MEASUREMENT_VERSION, Measurement

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


def pushed_down(patterns: Mapping[str, Sequence[str]]) -> dict[str, Sequence[str]]:
    """Return those conditions that can be asked of the files themselves: names without wildcards."""
    return {
        name: wanted
        for name, wanted in patterns.items()
        if wanted and not any(set(one) & set("*?[") for one in wanted)
    }


def matching(table: pa.Table, patterns: Mapping[str, Sequence[str]]) -> pa.Table:
    """Return the rows whose text matches one of the shell patterns for each column; no pattern: any."""
    for name, wanted in patterns.items():
        if wanted:
            known = table[name].unique().to_pylist()
            fits = [
                text
                for text in known
                if text is not None and any(text == one or fnmatch.fnmatchcase(text, one) for one in wanted)
            ]
            table = table.filter(pc.is_in(table[name], pa.array(fits, pa.string())))
    return table


def in_order(table: pa.Table, *, latest: bool) -> pa.Table:
    """Return the rows in order of time; if `latest`, without those that were measured again later.

    Records of a version that is not known are held apart by what is not understood of them.
    """
    keys = table.select([*IDENTITY, OTHER, FILE, LINE, "time", "schema_version"]).to_pandas()
    for name in ("time", FILE):
        keys[name] = keys[name].cat.reorder_categories(sorted(keys[name].cat.categories))
    keys = keys.sort_values(["time", FILE, LINE], kind="stable")
    if latest:
        keys[OTHER] = keys[OTHER].where(keys["schema_version"] > MEASUREMENT_VERSION)
        keys = keys[~keys.duplicated([*IDENTITY, OTHER], keep="last")]
    return table.take(pa.array(keys.index.to_numpy()))


def say_misfits(table: pa.Table, folder: Path) -> None:
    """Say which lines have a value that is not of its kind, and thus no value there (`CatalogWarning`)."""
    beside = table.filter(pc.is_valid(table[OTHER])).select([OTHER, FILE, LINE, "schema_version"]).to_pylist()
    for row in beside:
        wrong = {name: value for name, value in json.loads(row[OTHER]).items() if name in column_types()}
        if wrong:
            found = ", ".join(f"{name} {str(value)[:40]!r}" for name, value in wrong.items())
            newer = (row["schema_version"] or 0) > MEASUREMENT_VERSION
            remedy = "A newer version wrote it: update the program" if newer else "Mend or measure it again"
            say(
                f"{folder / row[FILE]}: line {row[LINE] + 1}: {found}: not of the kind known here, and "
                f"counted as missing. {remedy}."
            )


def say_without_match(table: pd.DataFrame, wanted: Mapping[str, Sequence[str]]) -> None:
    """Say which shell pattern for which column fits no row of a table (`CatalogWarning`).

    Examples
    --------
    >>> import warnings
    >>> with warnings.catch_warnings(record=True) as said:
    ...     warnings.simplefilter("always")
    ...     say_without_match(pd.DataFrame({"name": ["co_bps", "fp_bps"]}), {"name": ["fp_bp"]})
    >>> str(said[0].message)
    "no measurement has the name 'fp_bp'; did you mean fp_bps?"
    """
    for column, patterns in wanted.items():
        known = [str(one) for one in table[column].dropna().unique()]
        for pattern in patterns:
            if any(fnmatch.fnmatchcase(one, pattern) for one in known):
                continue
            near = difflib.get_close_matches(pattern, known, n=1)
            hint = (
                f"did you mean {near[0]}?" if near else f"there are {', '.join(sorted(known)[:8]) or 'none'}."
            )
            say(f"no measurement has the {column} {pattern!r}; {hint}")


def as_frame(table: pa.Table, columns: Sequence[str], *, others: bool) -> pd.DataFrame:
    """Return columns as pandas has them; if `others`, with a column for each field that is not known."""
    frame = pd.DataFrame({name: _series(table[name], name) for name in columns})
    if not others:
        return frame
    said = [json.loads(text) if text else {} for text in table[OTHER].to_pylist()]
    for name in sorted(set().union(*said)):
        values = pd.Series([one.get(name) for one in said], dtype=object)
        # A value of a known field that is not of its kind stands where it would have stood.
        frame[name] = frame[name].astype(object).where(values.isna(), values) if name in frame else values
    return frame


def as_measurements(frame: pd.DataFrame) -> list[Measurement]:
    """Return the rows of a table with all its columns as records.

    What a newer version wrote into them beside what is known here is kept. A row that is no record, because a
    value is not of its kind, is left out. Both are said (`CatalogWarning`).

    Examples
    --------
    >>> import pandas as pd
    >>> row = {"name": "co_bps", "value": 0.1, "session": "a", "recipe_id": "r", "split": "test",
    ...        "n_trials": 9, "source": "reconstruction", "lag_ms": float("nan")}
    >>> as_measurements(pd.DataFrame([row]))[0].lag_ms is None
    True
    """
    found: list[Measurement] = []
    beside: dict[str, Measurement] = {}
    for row in frame.to_dict("records"):
        said = {"value": None} | {str(name): value for name, value in row.items() if not _is_missing(value)}
        where = f"{said.get('name')} of {said.get('session')}"
        try:
            one = Measurement.read(said)
        except (ValidationError, NewerRecordError) as error:
            say(
                f"the measurement {where}, written at {said.get('time') or 'a time it does not say'}, cannot "
                f"be used and was passed over: {reason(error)}. It stays in its file; measure it again, or "
                "mend the line."
            )
            continue
        found.append(one)
        if one.model_extra:
            beside.setdefault(where, one)
    say_unknown(beside, where="measurements")
    return found


def _series(column: pa.ChunkedArray, name: str) -> pd.Series:
    kind = column_types()[name]
    if name in json_columns():
        return _decoded(column, tuples=name == "fitted_sessions")
    if pa.types.is_list(kind):
        return pd.Series([None if one is None else tuple(one) for one in column.to_pylist()], dtype=object)
    if pa.types.is_dictionary(kind):
        return column.cast(pa.string()).to_pandas()
    found = column.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
    return found.astype("float64") if pa.types.is_floating(kind) else found


def _decoded(column: pa.ChunkedArray, *, tuples: bool) -> pd.Series:
    said = column.to_pylist()
    known = {text: json.loads(text) for text in set(said)}
    return pd.Series([tuple(known[text]) if tuples else dict(known[text]) for text in said], dtype=object)


def _is_missing(value: Any) -> bool:
    return not isinstance(value, dict | tuple | list) and bool(pd.isna(value))
