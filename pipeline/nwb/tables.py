"""Tables of an NWB file: columns with their type, ragged ones by their index, every length checked.

What tools write differs from the format in small ways: vectors of shape ``(n, 1)``, columns that are not
listed, rows without ids. All of that is read and said. What cannot be meant (an index that does not end where
its data end, columns of different lengths) is refused, with the path of what is wrong.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.nwb.plain_words import array_words
from nwb_latents.pipeline.nwb.row_index import INDEX, row_ends

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nwb_latents.pipeline.nwb.file import NwbFile

    FloatArray = NDArray[np.float64]
    IntArray = NDArray[np.int64]
    BoolArray = NDArray[np.bool_]

Kind = Literal["number", "bool", "text"]

TRUE_WORDS = frozenset({"true", "t", "yes", "y", "1", "1.0"})
FALSE_WORDS = frozenset({"false", "f", "no", "n", "0", "0.0"})
MISSING_WORDS = frozenset({"", "nan", "none", "null", "na", "n/a"})


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes
    ----------
    path
        Where it lies in the file.
    kind
        ``number`` (values are float64, NaN where missing), ``bool``, or ``text`` (object, str).
    values
        One row each, further dimensions may follow; of a ragged column all rows in one.
    ends
        Of a ragged column, one past the last value of each row; else None. Shape ``(n_rows,)``.
    """

    path: str
    kind: Kind
    values: NDArray[Any]
    ends: IntArray | None = None

    @property
    def name(self) -> str:
        """Name of the column."""
        return self.path.rsplit("/", 1)[-1]

    @property
    def n_rows(self) -> int:
        """Number of rows of the table."""
        return len(self.values) if self.ends is None else len(self.ends)

    @property
    def is_scalar(self) -> bool:
        """Whether every row is one value."""
        return self.ends is None and self.values.ndim == 1

    @property
    def counts(self) -> IntArray:
        """Values of each row. Shape ``(n_rows,)``."""
        if self.ends is None:
            return np.full(len(self.values), int(np.prod(self.values.shape[1:])), dtype=np.int64)
        return np.diff(self.ends, prepend=0)

    def rows(self) -> list[NDArray[Any]]:
        """Return the values of each row."""
        if self.ends is None:
            return list(self.values)
        return np.split(self.values, self.ends[:-1]) if len(self.ends) else []

    def one_each(self) -> NDArray[Any] | None:
        """Return the value of each row, or None where a row has several.

        A row without any has NaN, or empty text.
        """
        if self.ends is None:
            return self.values if self.values.ndim == 1 else None
        counts = self.counts
        if (counts > 1).any() or self.values.ndim != 1:
            return None
        missing: Any = "" if self.kind == "text" else False if self.kind == "bool" else np.nan
        out = np.full(len(counts), missing, dtype=self.values.dtype)
        out[counts == 1] = self.values
        return out


class Table:
    """A table of an NWB file (``DynamicTable``), by the names of its columns.

    Parameters
    ----------
    file
        The open file.
    path
        Path of the table, e.g. ``intervals/trials``.
    """

    def __init__(self, file: NwbFile, path: str) -> None:
        self.file = file
        self.path = path

    @cached_property
    def exists(self) -> bool:
        """Whether there is a table at the path.

        Raises
        ------
        DataError
            If a link to it is broken.
        """
        self.file.require_link(self.path)
        if self.file.shape(self.path) is not None:
            raise DataError(
                f"{self.file.name}: /{self.path} is an array; expected a table, a group of columns. Write "
                "the file again with pynwb or MatNWB, or leave the session out."
            )
        return self.file.has(self.path)

    @cached_property
    def listed(self) -> tuple[str, ...]:
        """Names the table lists as its columns."""
        return tuple(dict.fromkeys(self.file.columns(self.path)))

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the columns that are there, those that are listed first."""
        stored = [name for name in self.file.tree.arrays(self.path) if name != "id"]
        indices = {name for name in stored if name.endswith(INDEX) and name[: -len(INDEX)] in stored}
        there = [name for name in stored if name not in indices]
        listed = [name for name in self.listed if name in there]
        return (*listed, *(name for name in there if name not in listed))

    @cached_property
    def unlisted(self) -> tuple[str, ...]:
        """Names of columns that are there, but not listed."""
        return tuple(name for name in self.names if name not in self.listed)

    @cached_property
    def absent(self) -> tuple[str, ...]:
        """Names that are listed, but not there."""
        return tuple(name for name in self.listed if name not in self.names and name != "id")

    def say_absent(self) -> None:
        """Say which columns the table lists and does not hold: they are missed by nobody else."""
        if self.absent:
            self.file.say(
                f"/{self.path} lists columns that are not there: {', '.join(self.absent)}; they are not used"
            )

    @cached_property
    def n_rows(self) -> int:
        """Number of rows: as many as ids, or where there are none, as values of the first plain column.

        Raises
        ------
        DataError
            If there are no ids and no column tells the number of rows.
        """
        if not self.exists:
            return 0
        shape = self.file.shape(f"{self.path}/id")
        if shape is not None:
            n_ids = int(np.prod(shape)) if shape else 1
            longest = max(
                (self.file.shape(f"{self.path}/{name}") or (0,) for name in self.names), default=(0,)
            )
            if n_ids == 0 and longest[0] > 0:
                raise DataError(
                    f"{self.file.name}: /{self.path}/id is empty, but the table has columns of "
                    f"up to {longest[0]} values. Write the ids, or leave them out: the rows are then counted "
                    "from the columns."
                )
            return n_ids
        for name in self.names:
            indexed = self.file.shape(f"{self.path}/{name}{INDEX}")
            found = indexed if indexed is not None else self.file.shape(f"{self.path}/{name}")
            if found:
                n = int(max(found)) if np.prod(found) == max(found) else int(found[0])
                self.file.say(f"/{self.path} has no ids; its {n} rows are counted from {name}")
                return n
        if not self.names:
            return 0
        raise DataError(
            f"{self.file.name}: /{self.path} has neither ids nor a column of one value a row. Mend the table."
        )

    def has(self, name: str) -> bool:
        """Whether there is a column of that name."""
        return name in self.names

    def column(self, name: str) -> Column:
        """Read a column.

        Parameters
        ----------
        name
            Name of a column of `names`.

        Returns
        -------
        column
            Squeezed to one value a row where it was stored as ``(n, 1)``, ``(1, n)`` or ``(n, 1, 1)``.

        Raises
        ------
        DataError
            If there is none, its link is broken, it has another number of rows than the table, its index is
            none, or its values are neither numbers nor text.
        """
        path = f"{self.path}/{name}"
        self.file.require_link(path)
        if not self.file.has(path):
            there = ", ".join(self.names) or "none"
            raise DataError(
                f"{self.file.name}: /{self.path} has no column {name!r}. Its columns are: {there}."
            )
        values, kind = typed(self.file, path)
        if name in self.unlisted:
            self.file.say(f"/{path} is there but not listed in colnames; it is read")
        index_path = f"{path}{INDEX}"
        self.file.require_link(index_path)
        if not self.file.has(index_path):
            return Column(path, kind, self._squeezed(values, path))
        ends, values = row_ends(self.file, path, n_rows=self.n_rows, values=values)
        return Column(path, kind, values, ends)

    def _squeezed(self, values: NDArray[Any], path: str) -> NDArray[Any]:
        n = self.n_rows
        if values.ndim == 0 and n == 1:
            return values.reshape(1)
        if values.ndim > 1 and values.size == n == max(values.shape):
            return values.reshape(n)
        if values.ndim == 0 or len(values) != n:
            raise DataError(
                f"{self.file.name}: /{path} has {values.shape[0] if values.ndim else 1} rows, its table {n} "
                f"(/{self.path}/id). A table has columns of one length: write the file again, or leave the "
                "session out."
            )
        return values


def typed(file: NwbFile, path: str) -> tuple[NDArray[Any], Kind]:
    """Read an array as numbers, truth values or text.

    Text that says true or false throughout becomes truth values: ``"False"`` is false.

    Parameters
    ----------
    file
        The open file.
    path
        Path of the array.

    Raises
    ------
    DataError
        If it holds anything else, such as references or records of several fields.
    """
    values = file.array(path)
    if values.dtype.kind == "b":
        return values, "bool"
    if values.dtype.kind in "iuf":
        return file.as_floats(values), "number"
    if values.dtype.kind == "O" and all(isinstance(v, str) for v in values.ravel()):
        words = {v.strip().lower() for v in values.ravel()}
        if words and words <= TRUE_WORDS | FALSE_WORDS and not words <= {"1", "0", "1.0", "0.0"}:
            truth = np.array([v.strip().lower() in TRUE_WORDS for v in values.ravel()], dtype=bool)
            return truth.reshape(values.shape), "bool"
        return values, "text"
    raise DataError(
        f"{file.name}: /{path} holds {array_words(values)}; expected numbers, truth values or text. "
        "Write the column again, or name another one."
    )


def is_missing(values: NDArray[Any]) -> BoolArray:
    """Return where a column has no value: NaN, or text such as ``nan`` and ``none``.

    Examples
    --------
    >>> is_missing(np.array(["R", "", "NaN"], dtype=object)).tolist()
    [False, True, True]
    """
    if values.dtype.kind == "O":
        missing = [str(v).strip().lower() in MISSING_WORDS for v in values.ravel()]
        return np.array(missing, dtype=bool).reshape(values.shape)
    if values.dtype.kind == "f":
        return np.asarray(np.isnan(values))
    return np.zeros(values.shape, dtype=bool)
