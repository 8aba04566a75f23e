"""How good the file says its units are: said, and kept by where a person asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.nwb.tables import is_missing
from nwb_latents.pipeline.nwb.trial_columns import plain_name, shown_value, value_counts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nwb_latents.pipeline.nwb.file import NwbFile
    from nwb_latents.pipeline.nwb.tables import Column, Table
    from nwb_latents.pipeline.signals.recording import BoolArray
    from nwb_latents.schemas.recipe_parts import UnitSelection

NAMES = (
    "quality", "unitquality", "sortingquality", "clusterquality", "manualquality", "qualitylabel",
    "kslabel", "kilosortlabel", "phylabel", "clusterlabel", "unitlabel", "sortinglabel", "curationlabel",
    "curation", "label", "isgood", "isgoodunit", "goodunit", "good", "isnoise", "isartifact",
)  # fmt: skip
"""Plain names of columns by which sorters and people say how good a unit is, the likeliest first."""

NO_NEURON = frozenset(
    {"noise", "artifact", "artefact", "artifacts", "bad", "junk", "garbage", "reject", "rejected"}
)
"""Words for what is no neuron, in lower case."""

MOST_CLASSES = 12
"""A column of more values than this is a measure, not a label."""


def quality_columns(names: Iterable[str], rules: UnitSelection) -> list[str]:
    """Return which columns may say how good a unit is, the likeliest first.

    Parameters
    ----------
    names
        Columns of the units table.
    rules
        `quality_column`, if a person named one.

    Examples
    --------
    >>> from nwb_latents.schemas.recipe_parts import UnitSelection
    >>> quality_columns(["spike_times", "KSLabel", "quality", "depth"], UnitSelection())
    ['quality', 'KSLabel']
    """
    if rules.quality_column is not None:
        return [rules.quality_column]
    known = [name for name in names if plain_name(name) in NAMES]
    return sorted(known, key=lambda name: NAMES.index(plain_name(name)))


def good_units(file: NwbFile, table: Table, rules: UnitSelection) -> BoolArray:
    """Return which units a person asked for; what the file says of them is said in any case.

    Parameters
    ----------
    file
        The open file.
    table
        Its units table.
    rules
        `quality_column` and `quality_values`; without values all units are taken.

    Returns
    -------
    kept
        Shape ``(n_units,)``.

    Raises
    ------
    DataError
        If there is no such column, or its values are others; the message lists them.
    """
    column = _column(file, table, rules)
    everything = np.ones(table.n_rows, dtype=bool)
    if column is None:
        return everything
    counts = value_counts(column)
    listed = ", ".join(f"{value} ({n})" for value, n in counts.items())
    if not rules.quality_values:
        _say_unused(file, column, counts, listed)
        return everything
    unknown = [value for value in rules.quality_values if value not in counts]
    if unknown:
        raise DataError(
            f"{file.name}: units.quality_values holds {', '.join(unknown)}; /{column.path} holds {listed}. "
            "Name values that are there."
        )
    each = column.values
    shown = np.array([shown_value(value) for value in each], dtype=object)
    shown[is_missing(each)] = "missing"
    kept = np.isin(shown.astype(str), rules.quality_values)
    file.choose(
        "unit quality",
        f"/{column.path}",
        f"{', '.join(rules.quality_values)} of {listed}: {kept.sum()} units",
    )
    if not kept.all():
        file.say(
            f"{int((~kept).sum())} of {len(kept)} units were left out: /{column.path} is not "
            f"{' or '.join(rules.quality_values)}"
        )
    return kept


def _column(file: NwbFile, table: Table, rules: UnitSelection) -> Column | None:
    """Return the column a person named, or the first known one that holds labels."""
    named = rules.quality_column
    if named is not None:
        column = table.column(named)
        if not column.is_scalar:
            raise DataError(
                f"{file.name}: /{column.path} (units.quality_column) holds several values a unit; expected "
                "one each. Name another column."
            )
        return column
    for name in quality_columns(table.names, rules):
        column = table.column(name)
        if column.is_scalar and _labels(column):
            return column
    if rules.quality_values:
        raise DataError(
            f"{file.name}: units.quality_values is given, but no column of /{table.path} is known to say how "
            f"good a unit is ({', '.join(table.names)}). Name it with --set units.quality_column=NAME."
        )
    return None


def _labels(column: Column) -> bool:
    known = column.values[~is_missing(column.values)]
    is_whole = column.kind != "number" or bool((known == np.round(known)).all())
    return bool(len(known)) and is_whole and len(np.unique(known.astype(str))) <= MOST_CLASSES


def _say_unused(file: NwbFile, column: Column, counts: dict[str, int], listed: str) -> None:
    """Say that all units are used, as a warning where some are no neurons by their own word."""
    if len(counts) < 2:
        return
    is_of_bad = plain_name(column.name) in {"isnoise", "isartifact"}
    bad = [value for value in counts if value.lower() in ({"true", "1"} if is_of_bad else NO_NEURON)]
    good = [value for value in counts if value not in bad and value != "missing"]
    keep = f"--set 'units.quality_values=[{', '.join(good)}]'"
    file.choose("unit quality", "not used", f"/{column.path} holds {listed}; to keep some: {keep}")
    if bad:
        n = sum(counts[value] for value in bad)
        file.say(
            f"/{column.path} says that {n} of {sum(counts.values())} units are {' or '.join(bad)}; they are "
            f"used. To leave them out: {keep}"
        )
