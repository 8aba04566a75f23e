"""Export for the Neural Latents Benchmark: held-in and held-out spikes, behaviour, forward bins, PSTHs.

Names and shapes are those of nlb_tools' tensors (Pei et al. 2021, "Neural Latents Benchmark '21"), so that
its evaluation runs on the file as it stands. Spikes are counts per bin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.stores.exporters.hdf5 import Hdf5Exporter, write_arrays
from nwb_latents.pipeline.stores.nlb_settings import differences_from_benchmark
from nwb_latents.schemas.export import EXPORT_VERSION, NlbExport
from nwb_latents.schemas.nlb import NLB_DATASETS

if TYPE_CHECKING:
    from pathlib import Path

    import xarray as xr
    from numpy.typing import NDArray

    from nwb_latents.pipeline.stores.exporters.hdf5 import Array
    from nwb_latents.pipeline.stores.session import Session

NATIVE_BIN_MS = 5

_LARGEST = (("train", "heldin"), ("eval", "heldout"))


class NlbExporter(Hdf5Exporter[NlbExport]):
    """Tensors of the Neural Latents Benchmark, in the HDF5 group of the benchmark's name."""

    name = "nlb"
    suffix = ".h5"
    settings_type = NlbExport
    summary = (
        "Write HDF5 tensors of the Neural Latents Benchmark: held-in, held-out, forward, behaviour, PSTHs."
    )
    version = EXPORT_VERSION

    def write(self, session: Session, path: Path, settings: NlbExport) -> list[str]:
        """Write the tensors of `nlb_arrays`; the notes say where they are not as many as the benchmark's."""
        arrays = nlb_arrays(session, settings)
        group = nlb_group(session.name, bin_size_s=session.bin_size_s, key=settings.key)
        about = self.origin(session.attributes, settings)
        write_arrays(path, arrays, attributes=about, group=group)
        return differences(arrays, settings, bin_size_s=session.bin_size_s)


def nlb_group(session: str, *, bin_size_s: float, key: str | None = None) -> str:
    """Return the name of the HDF5 group: bins of other than 5 ms are named by their width.

    Examples
    --------
    >>> nlb_group("sub-C_ses-CO-20131003", bin_size_s=0.02, key="mc_maze")
    'mc_maze_20'
    >>> nlb_group("sub-C_ses-CO-20131003", bin_size_s=0.005)
    'sub-C_ses-CO-20131003'
    """
    width = bin_size_s * 1e3
    return (key or session) + ("" if round(width, 6) == NATIVE_BIN_MS else f"_{width:g}")


def nlb_arrays(session: Session, settings: NlbExport) -> dict[str, Array]:
    """Return the tensors of one session.

    Parameters
    ----------
    session
        The session, its trials in memory.
    settings
        Phase, forward time, lag, held-out units, PSTHs.

    Returns
    -------
    arrays
        ``{train,eval}_spikes_{heldin,heldout}`` of shape ``(trial, time, unit)``, the same with ``_forward``
        of shape ``(trial, forward bin, unit)``, ``{train,eval}_behavior``, ``psth`` of shape
        ``(condition, time, unit)`` with held-in units first, all float32; ``{train,eval}_cond_idx``, for each
        condition its rows in the train and eval tensors; ``{train,eval}_decode_mask`` of shape
        ``(trial, decoder)``, where the benchmark decodes groups of trials of `settings.key` each by itself.
        ``{train,eval}_trial`` and
        ``{train,eval}_start_bin`` lead back to the store, ``heldin_unit`` and ``heldout_unit`` to the NWB
        file.

    Raises
    ------
    DataError
        If no trial is left to train on or to evaluate.
    SettingsError
        If ``lag_ms`` or ``forward_ms`` does not fit the bins, or there is no such split.
    """
    behaviour = session.velocity(settings.lag_ms).velocity
    session = session.with_split(settings.split)
    trials = session.trials
    splits = (("train", "val"), ("test",)) if settings.phase == "test" else (("train",), ("val",))
    rows = {
        part: session.rows(names, purpose=f"{part} tensors")
        for part, names in zip(("train", "eval"), splits, strict=True)
    }
    is_out = session.heldout(fraction=settings.heldout_fraction, seed=settings.seed)
    units = {"heldin": np.flatnonzero(~is_out), "heldout": np.flatnonzero(is_out)}
    n_forward = session.forward_bins(settings.forward_ms)
    counts = trials["counts"].values
    arrays: dict[str, Array] = {}
    for part, mine in rows.items():
        after = session.counts_after(mine, n_bins=n_forward) if n_forward else None
        for kind, columns in units.items():
            arrays[f"{part}_spikes_{kind}"] = counts[mine][:, :, columns].astype(np.float32)
            if after is not None:
                arrays[f"{part}_spikes_{kind}_forward"] = after[:, :, columns]
        arrays[f"{part}_behavior"] = behaviour[mine].astype(np.float32)
        arrays[f"{part}_trial"] = trials["trial"].values[mine].astype(np.int64)
        arrays[f"{part}_start_bin"] = trials["start_bin"].values[mine].astype(np.int64)
    for kind, columns in units.items():
        arrays[f"{kind}_unit"] = trials["unit"].values[columns].astype(np.int64)
    arrays["time"] = trials["time"].values.astype(np.float64)
    arrays |= _decoder_masks(trials, rows, key=settings.key)
    if settings.psth:
        order = np.concatenate([units["heldin"], units["heldout"]])
        made = session.condition_psths(rows, order=order, sigma_ms=settings.psth_sigma_ms)
        if made is not None:
            arrays |= {"psth": made.psth, "psth_condition": np.array(made.names, dtype=object)}
            arrays |= {f"{part}_cond_idx": of_part for part, of_part in made.members.items()}
    return arrays


def differences(arrays: dict[str, Array], settings: NlbExport, *, bin_size_s: float) -> list[str]:
    """Say where tensors are not as many as the benchmark has under the key of the settings.

    Parameters
    ----------
    arrays
        Of `nlb_arrays`.
    settings
        Key.
    bin_size_s
        Width of a bin, s.

    Returns
    -------
    differences
        One sentence each, expected against observed; empty where the key is no dataset of the benchmark.
    """
    train, scored = (np.shape(arrays[f"{part}_spikes_{kind}"]) for part, kind in _LARGEST)
    return differences_from_benchmark(
        settings.key,
        n_train=train[0],
        n_eval=scored[0],
        n_heldin=train[2],
        n_heldout=scored[2],
        n_bins=train[1],
        bin_size_s=bin_size_s,
    )


def _decoder_masks(
    trials: xr.Dataset, rows: dict[str, NDArray[np.int64]], *, key: str | None
) -> dict[str, Array]:
    """Which trials each decoder is for, by the beginnings of their conditions."""
    groups = NLB_DATASETS[key].decoder_groups if key in NLB_DATASETS else ()
    if not groups:
        return {}
    condition = trials["condition"].values.astype(str)
    mine = np.stack([np.char.startswith(condition, f"{group}-") for group in groups], axis=1)
    return {f"{part}_decode_mask": mine[kept] for part, kept in rows.items()}
