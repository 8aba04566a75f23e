"""The measurements of a catalog: added by whoever measures, read as a table.

They lie in the folder ``NAME.measurements`` beside the catalog ``NAME.yaml``, as JSON lines that are only
ever added to (`measurement_lines`), with a copy that is quick to read (`measurement_index`). Of two records
of the same measurement (`Measurement.key`) the later counts; the earlier stays on the disk.
"""

from __future__ import annotations

import difflib
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from nwb_latents.pipeline.errors import MachineError, SettingsError
from nwb_latents.pipeline.stores.catalog import (
    is_of_first_version,
    numbers_inside,
    require_no_link,
    update_catalog,
)
from nwb_latents.pipeline.stores.current_keys import CurrentKeys, why_former
from nwb_latents.pipeline.stores.measurement_clock import time_of_now
from nwb_latents.pipeline.stores.measurement_lines import (
    append_lines,
    as_line,
    as_record,
    measurement_folder,
)
from nwb_latents.schemas.measurement import IDENTITY, Measurement

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    import pandas as pd
    import pyarrow as pa

    from nwb_latents.schemas.catalog import Catalog


def add_measurements(catalog_path: Path, measurements: Iterable[Measurement]) -> list[Measurement]:
    """Add measurements to a catalog. When this returns, they are on the disk.

    Any number of processes on any number of machines may add at the same time; what it costs does not depend
    on how many measurements there are.

    Parameters
    ----------
    catalog_path
        Catalog file; it is not read, and need not exist.
    measurements
        What was measured. Where `time` and `program` are empty, they are filled in; a clock that was set back
        does not have them count as older than what is there (`measurement_clock`).

    Returns
    -------
    added
        The measurements as they were written.

    Raises
    ------
    SettingsError
        If the catalog is a link to another.
    MachineError
        If the folder cannot be made or written to. Some of them may be there then; adding them again does no
        harm.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> found = Measurement(name="velocity_r2", value=0.8, unit="1", session="sub-A", recipe_id="20ms-0",
    ...                     split="test", n_trials=50, source="rates", decoder="ridge")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     added = add_measurements(Path(folder, "catalog.yaml"), [found])
    ...     read_measurements(Path(folder, "catalog.yaml"))["value"].tolist()
    [0.8]
    """
    require_no_link(catalog_path)
    folder = measurement_folder(catalog_path)
    now = {"time": time_of_now(folder), "program": _program()}
    added = [
        each.model_copy(update={name: said for name, said in now.items() if not getattr(each, name)})
        for each in measurements
    ]
    append_lines(folder, map(as_line, added))
    return added


def read_measurements(
    catalog_path: Path,
    *,
    names: Sequence[str] = (),
    sessions: Sequence[str] = (),
    runs: Sequence[str] = (),
    recipe_id: str = "",
    stages: Sequence[str] = (),
    splits: Sequence[str] = (),
    sources: Sequence[str] = (),
    columns: Sequence[str] = (),
    latest: bool = True,
) -> pd.DataFrame:
    """Read the measurements of a catalog.

    Parameters
    ----------
    catalog_path
        Catalog file; a catalog without measurements gives a table without rows.
    names, sessions, runs, stages, splits, sources
        Shell patterns (``"sub-C_*"``) for these fields; default: all.
    recipe_id
        Recipe of the stores, or its beginning.
    columns
        Fields wanted; default: all, and those that a newer version of the program added.
    latest
        Leave out what was measured again later; otherwise all that was ever measured is there.

    Returns
    -------
    table
        One row for each measurement, in order of time; one column for each field of `Measurement`. Numbers
        that are not there are NaN, whole numbers are of type ``Int64`` and missing ones ``<NA>``; text that
        is not there is missing too; `per_axis` and `fitted_sessions` are tuples, `decoder_settings` and
        `details` mappings.

    Raises
    ------
    KeyError
        If a column is no field.
    SettingsError
        If the catalog is a folder, or a link to another.
    MachineError
        If the files cannot be read.

    Examples
    --------
    >>> from pathlib import Path
    >>> len(read_measurements(Path("nowhere/catalog.yaml"), names=["velocity_r2"]))
    0
    """
    from nwb_latents.pipeline.stores.measurement_frame import (  # noqa: PLC0415
        as_frame,
        in_order,
        matching,
        pushed_down,
        say_misfits,
    )
    from nwb_latents.pipeline.stores.measurement_index import read_table  # noqa: PLC0415
    from nwb_latents.pipeline.stores.measurement_table import (  # noqa: PLC0415
        FILE,
        LINE,
        OTHER,
        column_types,
        join_tables,
    )

    known = Measurement.model_fields
    wanted = list(columns or known)
    unknown = [name for name in wanted if name not in known]
    if unknown:
        near = difflib.get_close_matches(unknown[0], known, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise KeyError(f"measurements have no field {unknown[0]!r}; {hint}they have {', '.join(known)}")
    if catalog_path.is_dir():
        raise SettingsError(
            f"{catalog_path}: is a folder; expected the catalog file, such as "
            f"{catalog_path / 'catalog.yaml'}."
        )
    require_no_link(catalog_path)
    patterns = {
        "name": names, "session": sessions, "run": runs, "stage": stages, "split": splits, "source": sources,
        "recipe_id": [f"{recipe_id}*"] if recipe_id else (),
    }  # fmt: skip
    needed = {*wanted, *IDENTITY, "time", "schema_version", OTHER, FILE, LINE}
    select = [name for name in column_types() if name in needed]
    inside = _numbers_of_first_version(catalog_path)
    table = read_table(measurement_folder(catalog_path), select, pushed_down(patterns))
    if inside is not None:
        table = join_tables([table, inside.select(select)])
    table = in_order(matching(table, patterns), latest=latest)
    say_misfits(table, measurement_folder(catalog_path))
    return as_frame(table, wanted, others=not columns)


def are_current(table: pd.DataFrame, catalog: Catalog) -> pd.Series:
    """Return whether measurements are of the stores and runs that a catalog has today.

    Parameters
    ----------
    table
        Of `read_measurements`, with the columns `session`, `recipe_id`, `store_key`, `run`, `run_key`.
    catalog
        The catalog.

    Returns
    -------
    current
        For each row: False where the store was made anew since with other numbers, the run trained anew, or
        one of them is not there any more; missing where the measurement does not say which they were (those
        of older versions). Nullable booleans.

    Examples
    --------
    >>> from pathlib import Path
    >>> from nwb_latents.schemas.catalog import Catalog
    >>> are_current(read_measurements(Path("nowhere/catalog.yaml")), Catalog()).tolist()
    []
    """
    import pandas as pd  # noqa: PLC0415

    why = why_stale(table, catalog)
    return (why == "").astype("boolean").mask(why.isna(), pd.NA).rename("is_current")


def why_stale(table: pd.DataFrame, catalog: Catalog) -> pd.Series:
    """Return what became of the stores and runs of measurements since, or of the way they are measured.

    Parameters
    ----------
    table, catalog
        As for `are_current`; with the columns `source` and `details`, forecasts of runs that were measured
        as is done no more are told too.

    Returns
    -------
    why
        For each row: empty where both are as they were and it would be measured in the same way today,
        missing where the measurement does not say which they were.

    Examples
    --------
    >>> from pathlib import Path
    >>> from nwb_latents.schemas.catalog import Catalog
    >>> why_stale(read_measurements(Path("nowhere/catalog.yaml")), Catalog()).tolist()
    []
    """
    import pandas as pd  # noqa: PLC0415

    keys = CurrentKeys(catalog)
    fields = ["session", "recipe_id", "store_key", "run", "run_key"]
    # Hundreds of thousands of rows are of few stores and runs.
    each = table[fields].astype(object).where(table[fields].notna(), None)
    distinct = each.drop_duplicates()
    why = distinct.assign(why_stale=[keys.why_stale(*row) for row in distinct.itertuples(index=False)])
    joined = each.merge(why, on=fields, how="left", sort=False)["why_stale"].to_numpy(dtype=object)
    if {"source", "details"} <= set(table.columns):
        of_runs = ((table["source"] == "forecast") & table["run"].notna()).to_numpy(dtype=bool)
        for row in of_runs.nonzero()[0]:
            former = why_former("forecast", "", table["details"].iloc[row])
            if former:
                joined[row] = f"{joined[row]} and {former}" if joined[row] else former
    return pd.Series(joined, index=table.index, dtype=object, name="why_stale")


def measurement_records(table: pd.DataFrame) -> list[Measurement]:
    """Return the rows of a table that `read_measurements` gave with all its columns as records.

    Examples
    --------
    >>> from pathlib import Path
    >>> measurement_records(read_measurements(Path("nowhere/catalog.yaml")))
    []
    """
    from nwb_latents.pipeline.stores.measurement_frame import as_measurements  # noqa: PLC0415

    return as_measurements(table)


def measurements_as_table(measurements: Sequence[Measurement]) -> pd.DataFrame:
    """Return records as the table that `read_measurements` gives of them, in their order.

    Examples
    --------
    >>> found = Measurement(name="velocity_r2", value=0.8, session="sub-A", recipe_id="20ms-0", split="test",
    ...                     n_trials=50, source="rates")
    >>> measurement_records(measurements_as_table([found])) == [found]
    True
    """
    from nwb_latents.pipeline.stores.measurement_frame import as_frame  # noqa: PLC0415
    from nwb_latents.pipeline.stores.measurement_table import make_table  # noqa: PLC0415

    records = [each.model_dump(mode="json") for each in measurements]
    table = make_table(records, file="", lines=range(len(records)))
    return as_frame(table, list(Measurement.model_fields), others=True)


def _numbers_of_first_version(catalog_path: Path) -> pa.Table | None:
    """Have the numbers of a catalog of version 1 among the measurements; return them if that cannot be."""
    from nwb_latents.pipeline.stores.measurement_table import make_table  # noqa: PLC0415

    if not is_of_first_version(catalog_path):
        return None
    name, found = numbers_inside(catalog_path)
    if not found:
        return None
    try:
        update_catalog(catalog_path, lambda catalog: catalog)
    except MachineError:
        # The folder may not be written to: the numbers are read where they are.
        if not (measurement_folder(catalog_path) / name).exists():
            return make_table([as_record(each) for each in found], file=name, lines=range(len(found)))
    return None


@cache
def _program() -> str:
    try:
        return version("nwb-latents")
    except PackageNotFoundError:
        return "unknown"
