"""An NWB file opened for reading: flat arrays by path, nothing converted, nothing guessed.

Units tables are read as flat ``spike_times`` plus index: building a data frame of a large session takes half
a minute and a gigabyte, the flat arrays a hundredth of a second.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np

from pipeline.errors import DataError, MachineError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


@dataclass(frozen=True)
class NwbFile:
    """An open NWB file.

    Attributes
    ----------
    name
        File name, for messages.
    h5
        The HDF5 file.
    """

    name: str
    h5: h5py.File

    def text(self, path: str) -> str | None:
        """Return a text dataset, or None where there is none."""
        found = self.h5.get(path)
        if not isinstance(found, h5py.Dataset):
            return None
        value = found[()]
        return value.decode() if isinstance(value, bytes) else str(value)

    def has(self, path: str) -> bool:
        """Whether there is something at `path`."""
        return path in self.h5

    def array(self, path: str) -> NDArray[Any]:
        """Return a dataset whole; text as str objects.

        Raises
        ------
        DataError
            If there is no dataset at `path`.
        """
        found = self.h5.get(path)
        if not isinstance(found, h5py.Dataset):
            raise DataError(f"{self.name}: has no dataset {path}. Check that the file is complete.")
        if h5py.check_string_dtype(found.dtype):
            return np.asarray(found.asstr()[()], dtype=object)
        return np.asarray(found[()])

    def ragged(self, path: str) -> list[NDArray[Any]]:
        """Return the rows of a ragged column (``path`` and ``path + "_index"``)."""
        values, index = self.array(path), self.array(f"{path}_index")
        return np.split(values, index[:-1].astype(np.int64)) if len(index) else []

    def columns(self, table: str) -> list[str]:
        """Return the column names of a table, in order; empty where there is no table."""
        found = self.h5.get(table)
        if not isinstance(found, h5py.Group):
            return []
        return [n.decode() if isinstance(n, bytes) else str(n) for n in found.attrs.get("colnames", [])]

    def attribute(self, path: str, name: str) -> Any:
        """Return an attribute, or None where there is none."""
        found = self.h5.get(path)
        return None if found is None else found.attrs.get(name)

    def objects(self, root: str) -> list[tuple[str, str]]:
        """Return path and neurodata type of every typed object below `root`."""
        out: list[tuple[str, str]] = []
        group = self.h5.get(root)
        if isinstance(group, h5py.Group):
            group.visititems(
                lambda name, item: (
                    out.append((f"{root}/{name}", str(item.attrs["neurodata_type"])))
                    if isinstance(item, h5py.Group) and "neurodata_type" in item.attrs
                    else None
                )
            )
        return out

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
        """Subject id."""
        return label(self.text("general/subject/subject_id") or _entity(self.name, "sub") or "unknown")


@contextmanager
def open_nwb(path: Path) -> Iterator[NwbFile]:
    """Open an NWB file for reading, without locks (read-only and network disks).

    Raises
    ------
    DataError
        If the file does not exist, is not HDF5, or is HDF5 but not NWB.
    MachineError
        If it may not be read.
    """
    try:
        h5 = _open_hdf5(path)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file. Check the path.") from error
    except PermissionError as error:
        raise MachineError(f"{path}: may not be read. Change its permissions.") from error
    except OSError as error:
        raise DataError(
            f"{path.name}: not an NWB file: expected HDF5, found something HDF5 cannot open ({error}). If "
            "it is a partial "
            "download, delete it and fetch it again."
        ) from error
    with h5:
        if "nwb_version" not in h5.attrs:
            raise DataError(
                f"{path.name}: not an NWB file: the HDF5 file has no attribute nwb_version. Convert the "
                "recording to NWB "
                "first (neuroconv), or leave the file out."
            )
        try:
            yield NwbFile(path.name, h5)
        except (OSError, RuntimeError) as error:
            raise DataError(f"{path.name}: damaged: {error}. Fetch the file again.") from error


def _open_hdf5(path: Path) -> h5py.File:
    try:
        return h5py.File(path, "r", locking=False)
    except OSError as error:
        # A file this process has open already, say in a notebook, must be opened with the same locking.
        if "locking flag" not in str(error):
            raise
        return h5py.File(path, "r")


def label(text: str) -> str:
    """Turn text into a label that is safe in ids, file names and shell patterns.

    Examples
    --------
    >>> label("CO_20131003/../x")
    'CO-20131003-x'
    """
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "-+") else "-" for c in text)
    return "-".join(part for part in kept.split("-") if part) or "unknown"


def session_id(file_name: str, *, subject: str | None, session: str | None) -> str:
    """Return the BIDS-like id of a session.

    Parameters
    ----------
    file_name
        Name of the NWB file; its ``sub-``, ``ses-`` and ``desc-`` entities fill in what the metadata lack.
    subject, session
        Metadata of the file.

    Examples
    --------
    >>> session_id("sub-C_ses-CO-20131003_behavior+ecephys.nwb", subject="C", session="CO-20131003")
    'sub-C_ses-CO-20131003'
    >>> session_id("sub-C_ses-CO-20160909_x.nwb", subject="C", session="sub-C_ses-CO-20160909")
    'sub-C_ses-CO-20160909'
    >>> session_id("monkey.nwb", subject=None, session=None)
    'sub-unknown_ses-monkey'
    """
    stem = PurePosixPath(file_name).stem
    sub = label(subject or _entity(file_name, "sub") or "unknown")
    # Some files (000688) repeat the whole id as their session id.
    given = _entity(session, "ses") or session if session else None
    ses = label(given or _entity(file_name, "ses") or stem)
    desc = _entity(file_name, "desc")
    return f"sub-{sub}_ses-{ses}" + (f"_desc-{label(desc)}" if desc else "")


def _entity(file_name: str, key: str) -> str | None:
    for part in PurePosixPath(file_name).stem.split("_"):
        if part.startswith(f"{key}-") and len(part) > len(key) + 1:
            return part[len(key) + 1 :]
    return None
