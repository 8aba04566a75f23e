"""Simulated recordings whose bytes are distributed as in the archive: most are none that ingest reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import h5py
import numpy as np
import zarr

from nwb_latents.pipeline.sources.simulator import simulate_dandiset
from nwb_latents.schemas.simulation import SimulateSettings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_LFP_CHUNK = (5000, 100)


def with_waveforms(folder: Path, *, n_units: int = 30, n_trials: int = 60) -> Path:
    """Write a session like those of 000688: 86 % of its bytes are waveforms, which hardly compress."""
    settings = SimulateSettings(
        preset="classic",
        n_subjects=1,
        n_sessions=1,
        n_units=(n_units, n_units),
        n_trials=n_trials,
        mean_rate_hz=30,
    )
    path = simulate_dandiset(folder, settings)[0]
    with h5py.File(path, "r+") as h5:
        samples, attributes = h5["units/waveforms"][()], dict(h5["units/waveforms"].attrs)
        del h5["units/waveforms"]
        stored = h5.create_dataset("units/waveforms", data=samples, chunks=(1 << 20, 1))
        stored.attrs.update(attributes)
    return path


def with_field_potentials(
    folder: Path, *, n_units: int = 20, n_trials: int = 40, lfp_bytes: int = 200_000_000
) -> Path:
    """Write a session like those of 000070: most of its bytes are field potentials, in chunks."""
    settings = SimulateSettings(
        preset="classic",
        layout="000070",
        n_subjects=1,
        n_sessions=1,
        n_units=(n_units, n_units),
        n_trials=n_trials,
        mean_rate_hz=8,
    )
    path = simulate_dandiset(folder, settings)[0]
    with h5py.File(path, "r+") as h5:
        group = h5.create_group("acquisition/LFP")
        group.attrs["neurodata_type"] = "ElectricalSeries"
        n_rows = lfp_bytes // (2 * _LFP_CHUNK[1])
        data = group.create_dataset("data", shape=(n_rows, _LFP_CHUNK[1]), dtype=np.int16, chunks=_LFP_CHUNK)
        # One value for each chunk is enough for all of it to be stored.
        for row in range(0, n_rows, _LFP_CHUNK[0]):
            data[row, 0] = row // _LFP_CHUNK[0]
    return path


def as_zarr(nwb: Path, folder: Path) -> Path:
    """Write what an HDF5 file holds as hdmf-zarr lays it out, without references between objects.

    hdmf-zarr itself does not run on zarr 3.
    """
    with h5py.File(nwb) as h5:
        root = zarr.open_group(str(folder), mode="w", zarr_format=2)
        root.attrs.update(_plain(h5.attrs))
        _copy(h5, root)
    return folder


def _copy(source: h5py.Group, target: zarr.Group) -> None:
    # Not source.items(): that holds the lock of h5py while zarr's thread may have to free an object of h5py.
    for name in list(source):
        item = source[name]
        if isinstance(item, h5py.Group):
            group = target.create_group(name)
            group.attrs.update(_plain(item.attrs))
            _copy(item, group)
        elif item.dtype.names is None and h5py.check_ref_dtype(item.dtype) is None:
            is_text = h5py.check_string_dtype(item.dtype) is not None
            values = np.asarray(item.asstr()[()] if is_text else item[()])
            is_scalar = values.shape == ()
            array = target.create_array(
                name,
                shape=values.shape or (1,),
                chunks=tuple(min(n, 20_000) or 1 for n in values.shape) or (1,),
                dtype=str if is_text else values.dtype,
                config={"write_empty_chunks": True},
            )
            array[...] = values.reshape(array.shape)
            array.attrs.update(_plain(item.attrs) | ({"zarr_dtype": "scalar"} if is_scalar else {}))


def _plain(attributes: Mapping[str, object]) -> dict[str, object]:
    found = {}
    for name, value in attributes.items():
        if isinstance(value, h5py.Reference | h5py.RegionReference):
            continue
        listed = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
        found[name] = listed.decode() if isinstance(listed, bytes) else listed
    return found
