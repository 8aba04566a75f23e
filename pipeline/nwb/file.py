"""An NWB file opened for reading: flat arrays by path, nothing converted, nothing guessed.

Units tables are read as flat ``spike_times`` plus index: building a data frame of a large session takes half
a minute and a gigabyte, the flat arrays a hundredth of a second.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import h5py
import numpy as np

from nwb_latents.pipeline.errors import DataError, MachineError, PipelineError
from nwb_latents.pipeline.nwb.compression import UnknownCompressionError
from nwb_latents.pipeline.nwb.file_kinds import why_no_file
from nwb_latents.pipeline.nwb.hdf5_tree import Hdf5Tree, Readable, decoded, open_hdf5, size_of_stream
from nwb_latents.pipeline.nwb.other_formats import head_of, is_pointer, older_version, what_it_is
from nwb_latents.pipeline.nwb.plain_words import value_words
from nwb_latents.pipeline.nwb.session_ids import label, session_id, subject_label
from nwb_latents.pipeline.nwb.zarr_consolidated import disagreements
from nwb_latents.pipeline.nwb.zarr_metadata import UNDESCRIBED, lost_description
from nwb_latents.pipeline.nwb.zarr_tree import ZarrTree, is_zarr
from nwb_latents.pipeline.scratch import IN_MEMORY, Scratch, pieces
from nwb_latents.schemas.columns import ColumnSettings
from nwb_latents.schemas.store import ReadChoice

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from nwb_latents.pipeline.nwb.tree import Tree

__all__ = ["NwbFile", "NwbSource", "label", "open_nwb", "session_id"]

NwbSource: TypeAlias = Path | Readable
"""An HDF5 file, an NWB-Zarr directory, or a binary object with ``read``, ``seek`` and ``tell``."""


_SMALL = 1 << 16
"""Bytes of an array that is kept."""


@dataclass(frozen=True)
class NwbFile:
    """An open NWB file.

    Attributes
    ----------
    name
        File name, for messages.
    tree
        Its arrays and attributes.
    said
        What was odd, in order.
    choices
        What was read from where, in order.
    wanted
        Columns of the trial table that a person named.
    keeps_failed
        Whether failed trials are kept, so that codes of unknown meaning do no harm.
    opened
        Paths of the arrays that were read.
    kept
        Small arrays that were read, by their paths: columns are looked at by many.
    trials_path
        Path of the trial table.
    scratch
        Where arrays are made that may be large.
    """

    name: str
    tree: Tree
    said: list[str] = field(default_factory=list)
    choices: list[ReadChoice] = field(default_factory=list)
    wanted: ColumnSettings = field(default_factory=ColumnSettings)
    keeps_failed: bool = False
    opened: set[str] = field(default_factory=set)
    kept: dict[str, NDArray[Any]] = field(default_factory=dict)
    trials_path: str = "intervals/trials"
    scratch: Scratch = IN_MEMORY

    def say(self, text: str) -> None:
        """Note, once, what is odd, ignored, guessed or repaired, for the screen and for the store."""
        if text not in self.said:
            self.said.append(text)

    def choose(self, what: str, value: str, why: str) -> None:
        """Note what a part of the recording was read from, and why that."""
        choice = ReadChoice(what=what, value=value, why=why)
        if choice not in self.choices:
            self.choices.append(choice)

    def withdraw(self, what: str) -> None:
        """Take back what was noted of a part: it turned out not to be read from there."""
        self.choices[:] = [choice for choice in self.choices if choice.what != what]

    def require_link(self, path: str) -> None:
        """Refuse a link on the way to `path` that leads nowhere.

        Raises
        ------
        DataError
            If there is one; the message says where it leads.
        """
        if not self.tree.has(path) and (broken := self.tree.broken_link(path)) is not None:
            raise DataError(
                f"{self.name}: {broken}, and there is nothing. Put the file it leads to beside this one, or "
                "write the file again with its data inside."
            )

    def text(self, path: str) -> str | None:
        """Return a text dataset, a number as text; None where there is none, or it is neither."""
        if self.tree.shape(path) is None:
            return None
        self._say_filled(path)
        value = self.tree.read(path)
        if not value.size:
            return ""
        first = value.ravel()[0]
        return str(first) if isinstance(first, str | int | float | np.number | np.bool_) else None

    def has(self, path: str) -> bool:
        """Whether there is something at `path`."""
        return self.tree.has(path)

    def shape(self, path: str) -> tuple[int, ...] | None:
        """Return the shape of a dataset without reading it; None where there is none."""
        return self.tree.shape(path)

    def array(self, path: str) -> NDArray[Any]:
        """Return a dataset whole, which the caller may write to; text as str objects.

        Raises
        ------
        DataError
            If there is no dataset at `path`, a part of it lies in another file that is not there, or it is
            damaged.
        """
        if path in self.kept:
            return self.kept[path].copy()
        if self.tree.shape(path) is None:
            raise DataError(f"{self.name}: has no dataset {path}. Check that the file is complete.")
        if (absent := self.tree.absent_part(path)) is not None:
            raise DataError(
                f"{self.name}: /{path} {absent}, so that its values cannot be known. Put what is missing "
                "where the file looks for it, or write the file again with its data inside."
            )
        self._say_filled(path)
        self.opened.add(path)
        try:
            values = self._read(path)
        except PermissionError:
            raise
        except UnknownCompressionError as error:
            raise DataError(f"{self.name}: {error}") from error
        except (OSError, RuntimeError) as error:
            _raise_cause(error)
            raise DataError(
                f"{self.name}: /{path} is damaged: {error}. Fetch the file again, or leave the session out."
            ) from error
        if values.nbytes <= _SMALL:
            self.kept[path] = values.copy()
        return values

    def _read(self, path: str) -> NDArray[Any]:
        shape = self.tree.shape(path) or ()
        n_bytes = 8 * math.prod(shape)
        is_large = self.scratch.is_large(n_bytes)
        dtype = self.tree.dtype(path) if is_large and shape else None
        if dtype is None:
            return self.tree.read(path)
        if n_bytes > self.scratch.disk_bytes():
            raise DataError(
                f"{self.name}: /{path} says that it holds {math.prod(shape):.3g} values, more than the whole "
                "disk would: its description is damaged. Fetch the file again, or leave the session out."
            )
        values = self.scratch.empty(shape, dtype)
        self.tree.read_into(path, values)
        return values

    def as_floats(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Return numbers as 64-bit floats: as given where they are, else a copy that may lie on the disk."""
        if values.dtype == np.float64 or not self.scratch.is_large(8 * values.size):
            return values.astype(np.float64, copy=False)
        floats = self.scratch.empty(values.shape, np.float64)
        for mine, part in zip(pieces(floats), pieces(values), strict=True):
            mine[...] = part
        return floats

    def _say_filled(self, path: str) -> None:
        if (filled := self.tree.filled_part(path)) is not None:
            self.say(f"/{path} {filled}; if they were not left out for that, fetch the file again")

    def ragged(self, path: str) -> list[NDArray[Any]]:
        """Return the rows of a ragged column (``path`` and ``path + "_index"``)."""
        values, index = self.array(path), self.array(f"{path}_index")
        return np.split(values, index[:-1].astype(np.int64)) if len(index) else []

    def columns(self, table: str) -> list[str]:
        """Return the column names of a table, in order; empty where there is no table."""
        names = self.tree.attribute(table, "colnames")
        return [] if names is None else [str(name) for name in decoded(np.atleast_1d(names)).ravel()]

    def attribute(self, path: str, name: str) -> Any:
        """Return an attribute, text as str; of an array of one, that one; None where there is none."""
        value = self.tree.attribute(path, name)
        if isinstance(value, np.ndarray | list | tuple):
            if np.size(value) != 1:
                return value
            value = np.asarray(value, dtype=object).ravel()[0]
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else value

    def number(self, path: str, name: str) -> float | None:
        """Return an attribute as a number; None where there is none, or it is none, and that is said."""
        value = self.attribute(path, name)
        if value is None:
            return None
        try:
            # Yes and no, and whatever else Python takes for a number, are none.
            if isinstance(value, bool | np.bool_) or np.asarray(value).dtype.kind == "b":
                raise TypeError
            return float(value)
        except (TypeError, ValueError):
            self.say(
                f"/{path}: its attribute {name} is {value_words(value)}, which is no number; it is not used"
            )
            return None

    def word(self, path: str, name: str) -> str:
        """Return an attribute as text; empty where there is none, or it is no word, and that is said.

        One word given several times, say for each column, is that word.
        """
        value = self.attribute(path, name)
        if value is None or isinstance(value, str):
            return value or ""
        if isinstance(value, np.ndarray | list | tuple) and np.size(value):
            words = {str(each) for each in decoded(np.asarray(value, dtype=object)).ravel()}
            if len(words) == 1 and not np.issubdtype(np.asarray(value).dtype, np.number):
                (word,) = words
                self.say(f"/{path}: its attribute {name} is given {np.size(value)} times, each {word!r}")
                return word
        self.say(f"/{path}: its attribute {name} is {value_words(value)}, which is no word; it is not used")
        return ""

    def objects(self, *roots: str) -> list[tuple[str, str]]:
        """Return path and neurodata type of every typed object below some roots, each object once."""
        kinds = ((path, self.attribute(path, "neurodata_type")) for path in self.tree.groups(*roots))
        return [(path, kind) for path, kind in kinds if isinstance(kind, str)]

    @property
    def session(self) -> str:
        """Session id from the file's metadata, falling back on its name."""
        return session_id(
            self.name,
            subject=self.text("general/subject/subject_id"),
            session=self.text("general/session_id"),
        )

    @property
    def subject(self) -> str:
        """Subject id, without the suffix that marks a benchmark's part of its sessions."""
        return subject_label(self.name, self.text("general/subject/subject_id"))

    @property
    def identifier(self) -> str:
        """NWB's ``identifier`` of the recording; empty where there is none."""
        return (self.text("identifier") or "").strip()

    @property
    def start(self) -> str:
        """When the recording began, ISO 8601 as the file states it; empty where it does not."""
        return (self.text("session_start_time") or "").strip()


@contextmanager
def open_nwb(
    source: NwbSource,
    *,
    name: str | None = None,
    wanted: ColumnSettings | None = None,
    scratch: Scratch = IN_MEMORY,
) -> Iterator[NwbFile]:
    """Open an NWB file for reading, without locks (read-only and network disks).

    Parameters
    ----------
    source
        HDF5 file, NWB-Zarr directory, or a binary object that can be read and sought, e.g. a stream.
    name
        Name of the file, for messages and for what its metadata lack; default: that of the path or object.
    wanted
        Columns of the trial table that a person named.
    scratch
        Where large arrays are read to.

    Raises
    ------
    DataError
        If the file does not exist, is neither HDF5 nor zarr, or is not NWB.
    MachineError
        If it may not be read.

    Examples
    --------
    >>> import io
    >>> with open_nwb(io.BytesIO(b"text"), name="x.nwb") as file:
    ...     pass
    Traceback (most recent call last):
        ...
    nwb_latents.pipeline.errors.DataError: x.nwb: not an NWB file: expected HDF5...
    """
    if isinstance(source, Path):
        shown = name or source.name
        if (why := why_no_file(source)) is not None:
            raise DataError(f"{source}: {why}")
        if is_zarr(source):
            yield from _open_zarr(source, shown, wanted or ColumnSettings(), scratch)
            return
        if source.is_dir():
            raise DataError(
                f"{source}: not an NWB file: a directory without zarr metadata. Name a file, or a directory "
                "that hdmf-zarr wrote."
                if (lost := lost_description(source)) is None
                else f"{source}: a directory without zarr metadata of its own: it {lost}. {UNDESCRIBED}"
            )
    else:
        shown = name or str(getattr(source, "name", "stream.nwb"))
    try:
        h5 = open_hdf5(source) if isinstance(source, Path) else h5py.File(source, "r")
    except FileNotFoundError as error:
        raise DataError(f"{source}: no such file. Check the path.") from error
    except PermissionError as error:
        raise MachineError(f"{source}: may not be read. Change its permissions.") from error
    except (OSError, RuntimeError) as error:
        _raise_cause(error)
        head = head_of(source)
        if is_pointer(head):
            where = source if isinstance(source, Path) else shown
            raise DataError(
                f"{where}: not the file itself but a pointer to it, as Git LFS and git-annex leave where a "
                "file was not fetched. Fetch it (git lfs pull, datalad get)."
            ) from error
        raise DataError(
            f"{shown}: not an NWB file: expected HDF5, {what_it_is(head, reason=str(error))}"
        ) from error
    with h5:
        size = source.stat().st_size if isinstance(source, Path) else size_of_stream(source)
        try:
            _require_nwb_2(h5, shown)
            yield NwbFile(shown, Hdf5Tree(h5, size), wanted=wanted or ColumnSettings(), scratch=scratch)
        except UnknownCompressionError as error:
            raise DataError(f"{shown}: {error}") from error
        except (OSError, RuntimeError, UnicodeDecodeError) as error:
            _raise_cause(error)
            raise DataError(f"{shown}: damaged: {error}. Fetch the file again.") from error


def _open_zarr(path: Path, name: str, wanted: ColumnSettings, scratch: Scratch) -> Iterator[NwbFile]:
    tree = ZarrTree(path)
    said = disagreements(path, name)
    if tree.attribute("", "nwb_version") is None:
        raise _not_nwb(name, "zarr directory")
    try:
        yield NwbFile(name, tree, said=said, wanted=wanted, scratch=scratch)
    except PermissionError as error:
        raise MachineError(f"{path}: may not be read. Change its permissions.") from error
    except (OSError, RuntimeError, ValueError) as error:
        raise DataError(f"{name}: damaged: {error}. Fetch the directory again.") from error


def _require_nwb_2(h5: h5py.File, name: str) -> None:
    try:
        version, is_nwb = older_version(h5), "nwb_version" in h5.attrs
    except KeyError as error:
        # The group of everything itself is damaged.
        raise DataError(f"{name}: damaged: {error.args[0]}. Fetch the file again.") from error
    if version is not None:
        raise DataError(
            f"{name}: a file of {version}; only NWB 2 is read. Convert it with pynwb or MatNWB, or fetch a "
            "version of the dandiset that was converted."
        )
    if not is_nwb:
        raise _not_nwb(name, "HDF5 file")


def _not_nwb(name: str, kind: str) -> DataError:
    return DataError(
        f"{name}: not an NWB file: the {kind} has no attribute nwb_version. Convert the recording to NWB "
        "first (neuroconv), or leave the file out."
    )


def _raise_cause(error: BaseException) -> None:
    """Raise what a stream said, where HDF5 wrapped it in an error of its own."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, PipelineError):
            raise seen
        seen = seen.__cause__ or seen.__context__
