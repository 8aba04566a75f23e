"""Export for lfads-torch: what is encoded, and the possibly larger block that is reconstructed.

All datasets lie at the root of the file and every ``train_`` dataset has its ``valid_`` counterpart, as the
loader of lfads-torch (Sedler & Pandarinath 2023) expects. It reads test trials too where they are there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.stores.exporters.files import export_attributes, write_arrays
from nwb_latents.pipeline.stores.exporters.windows import (
    forward_bins,
    forward_counts,
    heldout_units,
    rows_of,
    with_split,
)

if TYPE_CHECKING:
    from pathlib import Path

    import xarray as xr
    from numpy.typing import NDArray

    from nwb_latents.pipeline.stores.exporters.files import Array
    from nwb_latents.schemas.export import LfadsExport
    from nwb_latents.schemas.store import StoreAttributes

PARTS = {"train": "train", "valid": "val", "test": "test"}
"""Prefix of lfads-torch → split of the store."""


def lfads_arrays(trials: xr.Dataset, continuous: xr.Dataset, settings: LfadsExport) -> dict[str, Array]:
    """Return the tensors of one session.

    Parameters
    ----------
    trials, continuous
        The groups of a store.
    settings
        Forward time, held-out units, external input, reference.

    Returns
    -------
    arrays
        For each part (``train``, ``valid``, and ``test`` where there are such trials): ``{part}_encod_data``,
        counts of the held-in units, shape ``(trial, time, unit)``; ``{part}_recon_data``, the same with the
        held-out units after the held-in ones and the forward bins after the window; ``{part}_ext_input`` and
        ``{part}_truth`` if asked for, over the bins of ``recon_data``. float32, finite. ``{part}_trial`` and
        ``{part}_start_bin`` lead back to the store, ``recon_unit`` to the NWB file. ``conversion_factor``
        divides ``truth`` into spikes per bin. Trials whose forward bins were not all recorded, or belong to a
        trial of another split, are left out, and counted in ``n_incomplete``.

    Raises
    ------
    DataError
        If no trial is left to train on or to validate with, or an external input or reference is not known
        everywhere.
    SettingsError
        If ``forward_ms`` does not fit the bins, or there is no such split.
    """
    trials = with_split(trials, settings.split)
    n_forward = forward_bins(trials, settings.forward_ms)
    is_out = heldout_units(trials, fraction=settings.heldout_fraction, seed=settings.seed)
    order = np.concatenate([np.flatnonzero(~is_out), np.flatnonzero(is_out)])
    n_in = int((~is_out).sum())
    arrays: dict[str, Array] = {}
    n_incomplete = 0
    for part, split in PARTS.items():
        if part == "test" and split not in trials["split"].values:
            continue
        rows = rows_of(trials, (split,), purpose=f"{part} tensors")
        after = forward_counts(trials, continuous, rows=rows, n_bins=n_forward)
        whole = np.isfinite(after).all(axis=(1, 2))
        n_incomplete += int((~whole).sum())
        rows, after = rows[whole], after[whole]
        _require_trials(trials, part, len(rows), settings=settings)
        recon = np.concatenate([trials["counts"].values[rows].astype(np.float32), after], axis=1)[:, :, order]
        arrays[f"{part}_encod_data"] = np.ascontiguousarray(recon[:, : trials.sizes["time"], :n_in])
        arrays[f"{part}_recon_data"] = recon
        arrays[f"{part}_trial"] = trials["trial"].values[rows].astype(np.int64)
        arrays[f"{part}_start_bin"] = trials["start_bin"].values[rows].astype(np.int64)
        bins = trials["start_bin"].values[rows].astype(np.int64)[:, None] + np.arange(recon.shape[1])
        if settings.ext_input == "velocity":
            arrays[f"{part}_ext_input"] = _finite(continuous, "velocity", bins)
        if settings.truth == "rates":
            arrays[f"{part}_truth"] = _finite(continuous, "rates", bins)[:, :, order]
    if settings.truth != "none":
        arrays["conversion_factor"] = np.array(1.0 / float(trials.attrs["bin_size_s"]))
    arrays["n_incomplete"] = np.array(n_incomplete)
    arrays["recon_unit"] = trials["unit"].values[order].astype(np.int64)
    arrays["time"] = _time(trials, n_forward)
    return arrays


def write_lfads(
    path: Path, arrays: dict[str, Array], settings: LfadsExport, *, attributes: StoreAttributes
) -> None:
    """Write the tensors of `lfads_arrays` to an HDF5 file, whole or not at all.

    Raises
    ------
    MachineError
        If the disk refuses; nothing is left behind.
    """
    write_arrays(path, arrays, attributes=export_attributes(settings, attributes))


def _require_trials(trials: xr.Dataset, part: str, n: int, *, settings: LfadsExport) -> None:
    if not n:
        raise DataError(
            f"{trials.attrs['session']}: no {part} trial has all of the {settings.forward_ms:g} ms after its "
            "window to itself. Use a smaller forward_ms, or ingest with a larger trials.guard_s."
        )


def _finite(continuous: xr.Dataset, name: str, bins: NDArray[np.int64]) -> NDArray[np.float32]:
    values: NDArray[np.float32] = continuous[name].values.astype(np.float32)[bins]
    bad = ~np.isfinite(values).all(axis=(1, 2))
    if bad.any():
        raise DataError(
            f"{continuous.attrs['session']}: the {name} of {int(bad.sum())} of {len(bins)} trials is not "
            f"known in every bin, and lfads-torch takes no NaN. Export without it (--set "
            f"{'ext_input' if name == 'velocity' else 'truth'}=none), or leave the session out."
        )
    return values


def _time(trials: xr.Dataset, n_forward: int) -> NDArray[np.float64]:
    bin_ns = round(float(trials.attrs["bin_size_s"]) * 1e9)
    first = round(float(trials["time"].values[0]) * 1e9)
    out: NDArray[np.float64] = (first + np.arange(trials.sizes["time"] + n_forward) * bin_ns) / 1e9
    return out
