"""What is in an NWB file: its series, tables and invalid times, told without judging any of it.

Data are read as far as they are small, or needed by the reader anyway; of the rest shape, rate and unit are
told. Nothing here raises for what a file holds: what cannot be read is told as such.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nwb_latents.pipeline.errors import PipelineError
from nwb_latents.pipeline.nwb.observed_time import INVALID
from nwb_latents.pipeline.nwb.plain_words import is_reference, value_words
from nwb_latents.pipeline.nwb.tables import Table, is_missing
from nwb_latents.pipeline.nwb.trial_columns import value_counts
from nwb_latents.pipeline.signals.recording import GAP_FACTOR
from nwb_latents.schemas.inspection import ColumnFacts, SeriesFacts, TableFacts

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from nwb_latents.pipeline.nwb.file import NwbFile
    from nwb_latents.pipeline.nwb.tables import Column

ROOTS = ("acquisition", "processing", "intervals", "units", "analysis", "scratch", "stimulus/presentation")
ELECTRODES = "general/extracellular_ephys/electrodes"
FACTS = {
    "session_description": "description", "session_start_time": "start", "identifier": "identifier",
    "general/institution": "institution", "general/lab": "lab", "general/experimenter": "experimenter",
    "general/subject/species": "species",
}  # fmt: skip

FEW_VALUES = 12
"""A column of at most this many values is told with how often each occurs."""

MOST_EXAMPLES = 4


@dataclass(frozen=True)
class Contents:
    """What is in a file."""

    facts: dict[str, str]
    series: tuple[SeriesFacts, ...]
    tables: tuple[TableFacts, ...]
    invalid_times: tuple[tuple[float, float], ...]


def contents_of(file: NwbFile, *, needed: Collection[str], small_bytes: int) -> Contents:
    """Return what is in a file.

    Parameters
    ----------
    file
        The open file; what is said of it here is not kept.
    needed
        Paths of datasets that are read whatever their size.
    small_bytes
        Other datasets up to this size, as they are stored, are read too.
    """
    # What is odd in a table that no ingest reads is nobody's business.
    own = replace(file, said=[], choices=[])
    look = _Look(own, frozenset(needed), small_bytes)
    # An object that several places link to is told once.
    below = list(own.tree.groups(*ROOTS))
    groups = [
        group
        for root in ROOTS
        for group in (root, *(path for path in below if path.startswith(f"{root}/")))
        if own.has(group)
    ]
    if own.has(ELECTRODES):
        groups.append(ELECTRODES)
    tables = [
        group for group in groups if own.tree.attribute(group, "colnames") is not None or _is_table(group)
    ]
    inside = tuple(f"{table}/" for table in tables)
    series = [
        group
        for group in groups
        if own.shape(f"{group}/data") is not None and group not in tables and not group.startswith(inside)
    ]
    return Contents(
        facts={name: text for path, name in FACTS.items() if (text := _text(own, path))},
        series=tuple(look.series(path) for path in series),
        tables=tuple(look.table(path) for path in tables),
        invalid_times=_invalid(own),
    )


@dataclass(frozen=True)
class _Look:
    """How much of a file is looked at."""

    file: NwbFile
    needed: frozenset[str]
    small_bytes: int

    def reads(self, path: str) -> bool:
        return path in self.needed or self.file.tree.stored_bytes(path) <= self.small_bytes

    def series(self, path: str) -> SeriesFacts:
        file, data = self.file, f"{path}/data"
        found: dict[str, Any] = {
            "path": f"/{path}",
            "kind": _word(file.attribute(path, "neurodata_type")),
            "shape": file.shape(data) or (),
            "unit": _word(file.attribute(data, "unit")),
            "conversion": _number(file.attribute(data, "conversion")),
            "rate_hz": _number(file.attribute(f"{path}/starting_time", "rate")),
        }
        try:
            found |= self._times(path, found) | self._values(data)
        except Exception as error:
            found["problem"] = _problem(error)
        return SeriesFacts(**found)

    def _times(self, path: str, found: dict[str, Any]) -> dict[str, Any]:
        file, rate = self.file, found["rate_hz"]
        n_samples = max(found["shape"], default=0)
        stamps = f"{path}/timestamps"
        if file.has(stamps):
            if not self.reads(stamps):
                return {}
            times = file.array(stamps)
            if times.dtype.kind not in "fiu":
                return {"problem": f"{stamps} holds {times.dtype}, expected seconds"}
            return _clock(times.astype(np.float64).reshape(-1))
        if rate and file.has(f"{path}/starting_time"):
            start = float(file.array(f"{path}/starting_time").ravel()[0])
            return {"start_s": start, "stop_s": start + (n_samples - 1) / rate, "n_gaps": 0}
        return {}

    def _values(self, data: str) -> dict[str, Any]:
        if not self.reads(data):
            return {}
        values = self.file.array(data)
        if values.dtype.kind not in "iuf" or not values.size:
            return {}
        finite = values if values.dtype.kind != "f" else values[np.isfinite(values)]
        if not finite.size:
            return {"n_missing": int(values.size)}
        return {
            "low": float(finite.min()),
            "high": float(finite.max()),
            "n_missing": int(values.size - finite.size),
        }

    def table(self, path: str) -> TableFacts:
        table = Table(self.file, path)
        try:
            n_rows: int | None = table.n_rows
            problem = f"lists columns that are not there: {', '.join(table.absent)}" if table.absent else ""
        except Exception as error:
            n_rows, problem = None, _problem(error)
        columns = tuple(self.column(table, name) for name in table.names)
        return TableFacts(path=f"/{path}", n_rows=n_rows, columns=columns, problem=problem)

    def references(self, path: str) -> int | None:
        """Return how many references of an array lead to nothing; None where it holds something else."""
        if self.file.shape(path) is None:
            return None
        flat = self.file.array(path).ravel()
        if not len(flat) or not is_reference(flat[0]):
            return None
        return sum(not each for each in flat)

    def column(self, table: Table, name: str) -> ColumnFacts:
        path = f"{table.path}/{name}"
        is_ragged, shape = self.file.has(f"{path}_index"), self.file.shape(path) or ()
        if not self.reads(path):
            return ColumnFacts(name=name, kind="number", is_ragged=is_ragged, shape=shape)
        try:
            referred = self.references(path)
            column = table.column(name) if referred is None else None
        except Exception as error:
            return ColumnFacts(
                name=name, kind="other", is_ragged=is_ragged, shape=shape, problem=_problem(error)
            )
        if column is None:
            return ColumnFacts(
                name=name, kind="other", is_ragged=is_ragged, shape=shape, n_missing=referred,
                examples=("references to other objects",),
            )  # fmt: skip
        flat = column.values.ravel()
        missing = is_missing(flat)
        counts = _few_counts(column)
        return ColumnFacts(
            name=name,
            kind=column.kind,
            is_ragged=is_ragged,
            shape=shape,
            n_missing=int(missing.sum()),
            examples=() if counts else tuple(_shown(v) for v in flat[~missing][:MOST_EXAMPLES]),
            counts=counts,
        )


def _problem(error: Exception) -> str:
    """Return what cannot be read and why, of errors nobody foresaw with their kind."""
    return str(error) if isinstance(error, PipelineError | OSError) else f"{type(error).__name__}: {error}"


def _is_table(group: str) -> bool:
    return group.startswith("intervals/") and group.count("/") == 1


def _few_counts(column: Column) -> dict[str, int]:
    """Return how often each value occurs where rows have one of a few; else nothing."""
    values = column.one_each()
    if values is None or len(values) <= MOST_EXAMPLES:
        return {}
    kept = values[~is_missing(values)]
    if len(np.unique(kept.astype(str) if kept.dtype.kind == "O" else kept)) > FEW_VALUES:
        return {}
    return value_counts(column)


def _clock(time: NDArray[np.float64]) -> dict[str, Any]:
    known = time[np.isfinite(time)]
    if len(known) < 2:
        return {}
    steps = np.diff(known)
    usual = float(np.median(steps))
    gaps = steps[steps > GAP_FACTOR * usual] if usual > 0 else steps[:0]
    return {
        "start_s": float(known[0]),
        "stop_s": float(known[-1]),
        "rate_hz": 1 / usual if usual > 0 else None,
        "n_gaps": len(gaps),
        "longest_gap_s": float(gaps.max()) if len(gaps) else None,
    }


def _invalid(file: NwbFile) -> tuple[tuple[float, float], ...]:
    table = Table(file, INVALID)
    try:
        if not table.exists or not table.n_rows:
            return ()
        start, stop = (table.column(name).one_each() for name in ("start_time", "stop_time"))
        if start is None or stop is None:
            return ()
        return tuple((float(a), float(b)) for a, b in zip(start, stop, strict=True))
    except (PipelineError, OSError, RuntimeError, ValueError):
        return ()


def _text(file: NwbFile, path: str) -> str:
    shape = file.shape(path)
    if shape is None:
        return ""
    try:
        values = file.array(path).ravel()
    except (PipelineError, OSError, RuntimeError) as error:
        return f"cannot be read: {error}"[:200]
    return " ".join(", ".join(str(each) for each in values[:4]).split())[:200]


def _word(value: object) -> str:
    """Return an attribute as text, several values as they are."""
    return value if isinstance(value, str) else "" if value is None else value_words(value)


def _number(value: object) -> float | None:
    try:
        return None if value is None else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None


def _shown(value: object) -> str:
    return f"{value:g}" if isinstance(value, float | np.floating) else str(value)
