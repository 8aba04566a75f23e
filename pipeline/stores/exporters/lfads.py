"""Export for lfads-torch: what is encoded, and the possibly larger block that is reconstructed.

All datasets lie at the root of the file and every ``train_`` dataset has its ``valid_`` counterpart, as the
loader of lfads-torch (Sedler & Pandarinath 2023) expects. It reads test trials too where they are there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.stores.exporters.hdf5 import Hdf5Exporter, write_arrays
from nwb_latents.schemas.export import EXPORT_VERSION, LfadsExport

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from nwb_latents.pipeline.stores.exporters.hdf5 import Array
    from nwb_latents.pipeline.stores.session import Session

PARTS = {"train": "train", "valid": "val", "test": "test"}
"""Prefix of lfads-torch → split of the store."""


class LfadsExporter(Hdf5Exporter[LfadsExport]):
    """Tensors for lfads-torch, at the root of the file."""

    name = "lfads"
    suffix = ".h5"
    settings_type = LfadsExport
    summary = "Write HDF5 tensors for lfads-torch: what is encoded and what is reconstructed."
    version = EXPORT_VERSION

    def write(self, session: Session, path: Path, settings: LfadsExport) -> tuple[str, ...]:
        """Write the tensors of `lfads_arrays`."""
        arrays = lfads_arrays(session, settings)
        write_arrays(path, arrays, attributes=self.origin(session.attributes, settings))
        return ()


def lfads_arrays(session: Session, settings: LfadsExport) -> dict[str, Array]:
    """Return the tensors of one session.

    Parameters
    ----------
    session
        The session, its trials in memory.
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
    session = session.with_split(settings.split)
    trials = session.trials
    n_forward = session.forward_bins(settings.forward_ms)
    is_out = session.heldout(fraction=settings.heldout_fraction, seed=settings.seed)
    order = np.concatenate([np.flatnonzero(~is_out), np.flatnonzero(is_out)])
    n_in = int((~is_out).sum())
    arrays: dict[str, Array] = {}
    n_incomplete = 0
    for part, split in PARTS.items():
        if part == "test" and split not in trials["split"].values:
            continue
        rows = session.rows(split, purpose=f"{part} tensors")
        after = session.counts_after(rows, n_bins=n_forward)
        whole = np.isfinite(after).all(axis=(1, 2))
        n_incomplete += int((~whole).sum())
        rows, after = rows[whole], after[whole]
        _require_trials(session, part, len(rows), settings=settings)
        recon = np.concatenate([trials["counts"].values[rows].astype(np.float32), after], axis=1)[:, :, order]
        arrays[f"{part}_encod_data"] = np.ascontiguousarray(recon[:, : trials.sizes["time"], :n_in])
        arrays[f"{part}_recon_data"] = recon
        arrays[f"{part}_trial"] = trials["trial"].values[rows].astype(np.int64)
        arrays[f"{part}_start_bin"] = trials["start_bin"].values[rows].astype(np.int64)
        bins = trials["start_bin"].values[rows].astype(np.int64)[:, None] + np.arange(recon.shape[1])
        if settings.ext_input == "velocity":
            arrays[f"{part}_ext_input"] = _finite(session, "velocity", bins)
        if settings.truth == "rates":
            arrays[f"{part}_truth"] = _finite(session, "rates", bins)[:, :, order]
    if settings.truth != "none":
        arrays["conversion_factor"] = np.array(1.0 / session.bin_size_s)
    arrays["n_incomplete"] = np.array(n_incomplete)
    arrays["recon_unit"] = trials["unit"].values[order].astype(np.int64)
    arrays["time"] = _time(session, n_forward)
    return arrays


def _require_trials(session: Session, part: str, n: int, *, settings: LfadsExport) -> None:
    if not n:
        raise DataError(
            f"{session.name}: no {part} trial has all of the {settings.forward_ms:g} ms after its "
            "window to itself. Use a smaller forward_ms, or ingest with a larger trials.guard_s."
        )


def _finite(session: Session, name: str, bins: NDArray[np.int64]) -> NDArray[np.float32]:
    values: NDArray[np.float32] = session.continuous[name].values.astype(np.float32)[bins]
    bad = ~np.isfinite(values).all(axis=(1, 2))
    if bad.any():
        raise DataError(
            f"{session.name}: the {name} of {int(bad.sum())} of {len(bins)} trials is not "
            f"known in every bin, and lfads-torch takes no NaN. Export without it (--set "
            f"{'ext_input' if name == 'velocity' else 'truth'}=none), or leave the session out."
        )
    return values


def _time(session: Session, n_forward: int) -> NDArray[np.float64]:
    bin_ns = round(session.bin_size_s * 1e9)
    first = round(float(session.time_s[0]) * 1e9)
    out: NDArray[np.float64] = (first + np.arange(session.n_bins + n_forward) * bin_ns) / 1e9
    return out
