"""Arrays whose values lie in other files: where those are gone, HDF5 reads fill values without a word."""

from __future__ import annotations

import os
from pathlib import Path

import h5py
import numpy as np


def absent_part(dataset: h5py.Dataset) -> str | None:
    """Say which part of an array lies in another file that is not there, or not whole; None: none does.

    Parameters
    ----------
    dataset
        Virtual, stored in raw files, or, as most are, in the file itself.

    Returns
    -------
    said
        What follows the name of the array in a sentence.
    """
    try:
        folder = Path(os.fsdecode(dataset.file.filename)).absolute().parent
    except (OSError, TypeError, ValueError):
        folder = Path()  # a stream has no folder
    if dataset.is_virtual:
        return _absent_source(dataset, folder)
    if dataset.external:
        return _absent_raw(dataset)
    return None


def what_lies_at(h5: h5py.File, name: str) -> str:
    """Say what is at the other end of a link that cannot be followed, where it is no HDF5 file.

    Parameters
    ----------
    h5
        The file that holds the link.
    name
        The file it leads to, as the link says it.

    Returns
    -------
    said
        In brackets, after a space; empty where there is nothing, or an HDF5 file.
    """
    try:
        folder = Path(os.fsdecode(h5.filename)).absolute().parent
    except (OSError, TypeError, ValueError):
        return ""
    place = next((p for p in (folder / name, Path(name)) if p.exists()), None)
    if place is None:
        return ""
    if place.is_dir():
        return " (a folder, which a link out of an HDF5 file cannot lead to, be it Zarr)"
    if not h5py.is_hdf5(place):
        return " (no HDF5 file: a pointer to one, say, of Git LFS, or a partial copy)"
    return ""


def _absent_source(dataset: h5py.Dataset, folder: Path) -> str | None:
    absent = []
    for source in dataset.virtual_sources():
        name, inside = str(source.file_name), str(source.dset_name)
        if "%b" in name or "%b" in inside:
            continue  # numbered sources: as many as there are
        if name == ".":
            if not isinstance(dataset.file.get(inside), h5py.Dataset):
                absent.append(f"{inside} of this file")
            continue
        places = [folder / name, Path(name)]
        if prefix := os.environ.get("HDF5_VDS_PREFIX"):
            places.insert(0, Path(prefix.replace("${ORIGIN}", str(folder))) / name)
        found = next((place for place in places if place.is_file()), None)
        if found is None:
            absent.append(f"the file {name}")
        elif not _has(found, inside):
            absent.append(f"{inside} of the file {name}")
    if not absent:
        return None
    return f"is put together from other data, and {', '.join(absent[:4])} is not there"


def _has(path: Path, inside: str) -> bool:
    try:
        with h5py.File(path, "r", locking=False) as other:
            return isinstance(other.get(inside), h5py.Dataset)
    except OSError as error:
        # A file this process has open already with other locking is there.
        return "locking flag" in str(error)


def _absent_raw(dataset: h5py.Dataset) -> str | None:
    left = int(np.prod(dataset.shape)) * dataset.dtype.itemsize
    for name, start, size in dataset.external:
        path = Path(os.fsdecode(name))
        expected = left if size == h5py.h5f.UNLIMITED else min(int(size), left)
        if not path.is_file():
            return f"is stored in the file {path}, which is not there"
        there = max(0, path.stat().st_size - int(start))
        if there < expected:
            return f"is stored in the file {path}, which is {expected - there} bytes short"
        left -= expected
    return None
