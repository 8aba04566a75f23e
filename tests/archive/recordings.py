"""Simulated recordings whose bytes are distributed as in the archive: most are none that ingest reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

import h5py
import numpy as np

from pipeline.sources.simulator import simulate_dandiset
from schemas.simulation import SimulateSettings

if TYPE_CHECKING:
    from pathlib import Path

_LFP_CHUNK = (5000, 100)


def with_waveforms(folder: Path, *, n_units: int = 30, n_trials: int = 60) -> Path:
    """Write a session like those of 000688: 86 % of its bytes are waveforms, which hardly compress."""
    settings = SimulateSettings(
        n_subjects=1, n_sessions=1, n_units=(n_units, n_units), n_trials=n_trials, mean_rate_hz=30
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
