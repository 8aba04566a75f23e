"""Export for the Neural Latents Benchmark: held-in and held-out spikes, behaviour, forward bins, PSTHs.

Names and shapes are those of nlb_tools' tensors (Pei et al. 2021, "Neural Latents Benchmark '21"), so that
its evaluation runs on the file as it stands. Spikes are counts per bin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.stores.exporters import nlb_toolkit
from nwb_latents.pipeline.stores.exporters.hdf5 import Hdf5Exporter, write_arrays
from nwb_latents.pipeline.stores.nlb_settings import cuts_as_toolkit, differences_from_benchmark
from nwb_latents.schemas.export import EXPORT_VERSION, NlbExport
from nwb_latents.schemas.nlb import NLB_DATASETS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import xarray as xr
    from numpy.typing import NDArray

    from nwb_latents.pipeline.stores.exporters.hdf5 import Array
    from nwb_latents.pipeline.stores.session import Session
    from nwb_latents.schemas.nlb import NlbDataset

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
    toolkit = _of_toolkit(session, settings)
    session, rows = _dealt(session, settings, toolkit)
    is_out = session.trials["heldout"].values.astype(bool)
    if settings.phase != "challenge":
        is_out = session.heldout(fraction=settings.heldout_fraction, seed=settings.seed)
    units = {"heldin": np.flatnonzero(~is_out), "heldout": np.flatnonzero(is_out)}
    arrays = _spikes(session, settings, rows, units, toolkit)
    for part, mine in rows.items():
        arrays[f"{part}_trial"] = session.trials["trial"].values[mine].astype(np.int64)
        arrays[f"{part}_start_bin"] = session.trials["start_bin"].values[mine].astype(np.int64)
    for kind, columns in units.items():
        if f"train_spikes_{kind}" not in arrays and f"eval_spikes_{kind}" not in arrays:
            continue
        arrays[f"{kind}_unit"] = session.trials["unit"].values[columns].astype(np.int64)
    arrays["time"] = session.trials["time"].values.astype(np.float64)
    arrays |= _behaviour(session, settings, rows, toolkit)
    order = np.concatenate([units["heldin"], units["heldout"]])
    if settings.psth and settings.phase != "challenge":
        made = (
            session.condition_psths(rows, order=order, sigma_ms=settings.psth_sigma_ms)
            if toolkit is None
            else nlb_toolkit.psths(session, toolkit, rows, order=order)
        )
        if made is not None:
            arrays |= {"psth": made.psth, "psth_condition": np.array(made.names, dtype=object)}
            arrays |= {f"{part}_cond_idx": of_part for part, of_part in made.members.items()}
    return arrays


def _of_toolkit(session: Session, settings: NlbExport) -> NlbDataset | None:
    """Return the dataset whose tensors are those of the benchmark's toolkit, if they can be."""
    dataset = NLB_DATASETS.get(settings.key or "")
    return dataset if dataset is not None and cuts_as_toolkit(session.recipe, dataset) else None


def _dealt(
    session: Session, settings: NlbExport, toolkit: NlbDataset | None
) -> tuple[Session, dict[str, NDArray[np.int64]]]:
    """Return the session with the split that is meant, and the trials of each part."""
    if settings.phase == "challenge":
        session = session.with_split("file")
        rows = {"train": session.rows(("train", "val")), "eval": session.rows("test")}
        # The benchmark has the trials it scores on its server in a file of their own.
        return session, {part: mine for part, mine in rows.items() if len(mine)}
    names = {"test": (("train", "val"), ("test",)), "val": (("train",), ("val",))}[settings.phase]
    own = "split_file" in session.trials.coords and settings.split is None
    if toolkit is not None and settings.phase == "test" and own:
        session, names = session.with_split("file"), (("train",), ("val",))
    else:
        session = session.with_split(settings.split)
    return session, {
        part: session.rows(mine, purpose=f"{part} tensors")
        for part, mine in zip(("train", "eval"), names, strict=True)
    }


def _spikes(
    session: Session,
    settings: NlbExport,
    rows: Mapping[str, NDArray[np.int64]],
    units: Mapping[str, NDArray[np.int64]],
    toolkit: NlbDataset | None,
) -> dict[str, Array]:
    counts = session.trials["counts"].values
    n_forward = session.forward_bins(settings.forward_ms)
    is_challenge = settings.phase == "challenge"
    scored = None if toolkit is None or is_challenge else nlb_toolkit.is_scored(session, toolkit)
    arrays: dict[str, Array] = {}
    for part, mine in rows.items():
        is_blind = part == "eval" and is_challenge
        after = None
        if n_forward and not is_blind:
            after = (
                session.counts_after(mine, n_bins=n_forward)
                if toolkit is None
                else nlb_toolkit.forward_counts(session, mine, n_bins=n_forward)
            )
        for kind, columns in units.items():
            if is_blind and kind == "heldout":
                continue
            name = f"{part}_spikes_{kind}"
            arrays[name] = counts[mine][:, :, columns].astype(np.float32)
            if after is not None:
                arrays[f"{name}_forward"] = after[:, :, columns]
            if (part, kind) == ("eval", "heldout") and scored is not None and not scored[mine].all():
                arrays[f"{name}_whole"] = arrays[name]
                arrays[name] = np.where(scored[mine][..., None], arrays[name], np.nan).astype(np.float32)
    return arrays


def _behaviour(
    session: Session,
    settings: NlbExport,
    rows: Mapping[str, NDArray[np.int64]],
    toolkit: NlbDataset | None,
) -> dict[str, Array]:
    """Return the behaviour of each part, which trials each decoder is for, and how windows were moved."""
    if settings.phase == "challenge":
        rows = {part: mine for part, mine in rows.items() if part == "train"}
    if toolkit is None:
        velocity = session.velocity(settings.lag_ms).velocity
        arrays: dict[str, Array] = {
            f"{part}_behavior": velocity[mine].astype(np.float32) for part, mine in rows.items()
        }
        return arrays | _decoder_masks(session.trials, rows, key=settings.key)
    made = nlb_toolkit.behaviour(session, toolkit, rows, lag_ms=settings.lag_ms)
    arrays = {f"{part}_behavior": values for part, values in made.items()}
    if "jitter_bins" in session.trials:
        jitter = session.trials["jitter_bins"].values.astype(np.int64)
        arrays |= {f"{part}_jitter": jitter[mine] for part, mine in rows.items()}
    return arrays | nlb_toolkit.decoder_masks(session, toolkit, rows)


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
    if not all(f"{part}_spikes_{kind}" in arrays for part, kind in _LARGEST):
        return []
    train, scored = (np.shape(arrays[f"{part}_spikes_{kind}"]) for part, kind in _LARGEST)
    return differences_from_benchmark(
        settings.key,
        n_train=train[0],
        n_eval=scored[0],
        n_heldin=train[2],
        n_heldout=scored[2],
        n_bins=train[1],
        bin_size_s=bin_size_s,
        settings=settings,
    )


def _decoder_masks(
    trials: xr.Dataset, rows: Mapping[str, NDArray[np.int64]], *, key: str | None
) -> dict[str, Array]:
    """Which trials each decoder is for, by the beginnings of their conditions."""
    groups = NLB_DATASETS[key].decoder_groups if key in NLB_DATASETS else ()
    if not groups:
        return {}
    condition = trials["condition"].values.astype(str)
    mine = np.stack([np.char.startswith(condition, f"{group}-") for group in groups], axis=1)
    return {f"{part}_decode_mask": mine[kept] for part, kept in rows.items()}
