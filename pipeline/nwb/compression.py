"""Arrays compressed in a way this HDF5 cannot undo: they are not damaged, something is not installed."""

from __future__ import annotations

import importlib
from contextlib import suppress

import h5py

_NAMES = {
    307: "bzip2", 32000: "LZF", 32001: "Blosc", 32004: "LZ4", 32008: "bitshuffle", 32013: "ZFP",
    32015: "Zstandard", 32017: "SZ", 32023: "FCIDECOMP", 32026: "Blosc2",
}  # fmt: skip
"""Filters registered with The HDF Group, by their numbers."""


class UnknownCompressionError(OSError):
    """An array is compressed by a filter that is not installed."""


def filters_lacking(dataset: h5py.Dataset) -> list[str]:
    """Return the filters of an array that are not installed, in words; those of `hdf5plugin` are tried first.

    Parameters
    ----------
    dataset
        Of any storage.

    Returns
    -------
    lacking
        E.g. ``["Blosc (HDF5 filter 32001)"]``. Empty where every filter is there.
    """
    made = dataset.id.get_create_plist()
    codes = [int(made.get_filter(i)[0]) for i in range(made.get_nfilters())]
    if not all(map(_is_there, codes)):
        with suppress(ImportError):
            importlib.import_module("hdf5plugin")  # which tells HDF5 where its filters lie
    return [
        f"{_NAMES[code]} (HDF5 filter {code})" if code in _NAMES else f"HDF5 filter {code}"
        for code in codes
        if not _is_there(code)
    ]


def _is_there(code: int) -> bool:
    try:
        return bool(h5py.h5z.filter_avail(code))
    except (OSError, RuntimeError, ValueError):
        return False  # it looks into folders of plugins, which need not be there


def lacking_words(path: str, lacking: list[str]) -> str:
    """Say of an array by which filters it is compressed, and how they are installed.

    Examples
    --------
    >>> lacking_words("units/spike_times", ["Blosc (HDF5 filter 32001)"])
    '/units/spike_times is compressed with Blosc (HDF5 filter 32001), which is not installed here. Install it (pip install hdf5plugin), or write the file again compressed with gzip, which every HDF5 has.'
    """  # noqa: E501
    return (
        f"/{path} is compressed with {' and '.join(lacking)}, which is not installed here. Install it (pip "
        "install hdf5plugin), or write the file again compressed with gzip, which every HDF5 has."
    )
