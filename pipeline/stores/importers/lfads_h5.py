"""HDF5 datasets of lfads-torch, read and checked whole before anything is made of them.

A file holds, for ``train``, ``valid`` and perhaps ``test``, the counts that are encoded and the counts that
are reconstructed. The latter have the same units and bins first; units beyond those are held out, bins beyond
those are forward bins. There is no clock, no event and, unless a dataset is named, no behaviour in it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nwb_latents.pipeline.errors import DataError
from nwb_latents.pipeline.stores.exporters.lfads import PARTS
from nwb_latents.pipeline.stores.hdf5_arrays import whole_array
from nwb_latents.pipeline.stores.importers.encoded_only import filled
from nwb_latents.pipeline.stores.importers.trial_arrays import (
    fault,
    model_rates,
    names_of,
    per_bin_reader,
    trial_order,
    true_rates,
)
from nwb_latents.schemas.recipe import IngestRecipe
from nwb_latents.schemas.recipe_parts import CutEvent, SplitSettings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from nwb_latents.schemas.imports import LfadsH5Import

LAYOUT = "lfads-h5"
"""What a store says of the layout it was made from."""

AXES = ("x", "y", "z")
WIDEST_COUNT = 1 << 32


@dataclass(frozen=True)
class LfadsDataset:
    """Contents of a file, trials of all splits in one order.

    Attributes
    ----------
    counts
        Spikes per bin, forward bins and held-out units included. Shape ``(trial, time, unit)``, unsigned.
    n_encoded_bins, n_encoded_units
        How many of the bins and units, the first of them, are encoded.
    split
        ``train``, ``val`` or ``test``; ``none`` where held-out units are not known. Shape ``(trial,)``.
    trial, unit
        Ids. Shapes ``(trial,)`` and ``(unit,)``, int64.
    velocity
        cm/s, NaN where the file has none. Shape ``(trial, time, axis)``, float32.
    external
        Known inputs, NaN in bins the file has none for. Shape ``(trial, time, input)``, float32; or None.
    true_rates
        Hz, NaN in bins the file has none for. Shape ``(trial, time, unit)``, float32; or None.
    model_rates
        What a model of lfads-torch made of the trials, Hz. Shape ``(trial, time, unit)``, float32; or None.
    n_known_bins
        Bins of each trial that are known, from the first on. Shape ``(trial,)``, int64.
    is_known
        Whether the spikes of all units are known; those of held-out units may not be. Shape ``(trial,)``.
    bin_size_s
        Width of a bin.
    first_bin
        First bin of the window, counted from that of the event the trials are cut at.
    align_to
        That event; the start of the trial where the file names none.
    subject, task, session
        As stated in the file or the settings; None: not stated.
    notes
        What was odd, one sentence each.
    """

    counts: NDArray[np.unsignedinteger[Any]]
    n_encoded_bins: int
    n_encoded_units: int
    split: NDArray[np.object_]
    trial: NDArray[np.int64]
    unit: NDArray[np.int64]
    velocity: NDArray[np.float32]
    external: NDArray[np.float32] | None
    true_rates: NDArray[np.float32] | None
    model_rates: NDArray[np.float32] | None
    n_known_bins: NDArray[np.int64]
    is_known: NDArray[np.bool_]
    bin_size_s: float
    first_bin: int
    align_to: CutEvent
    subject: str | None
    task: str | None
    session: str | None
    notes: tuple[str, ...]

    def recipe(self, settings: LfadsH5Import) -> IngestRecipe:
        """Return the recipe the store is made by: nothing is dropped, the split is that of the file."""
        last = self.first_bin + self.n_encoded_bins
        return IngestRecipe(
            bin_size_s=self.bin_size_s,
            smooth_sigma_s=settings.smooth_sigma_ms / 1e3,
            min_rate_hz=0.0,
            align_to=self.align_to,
            window_s=(round(self.first_bin * self.bin_size_s, 9), round(last * self.bin_size_s, 9)),
            split=SplitSettings(name="file"),
            layout=LAYOUT,
        )


def read_lfads(path: Path, settings: LfadsH5Import, *, force: bool = False) -> LfadsDataset:
    """Read and check a file.

    Parameters
    ----------
    path
        HDF5 file with the datasets ``train_encod_data``, ``train_recon_data``, ``valid_encod_data`` and
        ``valid_recon_data``, shape ``(trial, time, unit)``, at its root. Read as well where they are there:
        the same of ``test``, whose ``recon_data`` may be missing, ``…_output_params``, ``…_ext_input``,
        ``…_truth`` with ``conversion_factor``, ``…_inds`` or ``…_trial``, ``recon_unit``.
    settings
        What the file does not say.
    force
        Read it though a dataset is larger than this machine can hold.

    Raises
    ------
    DataError
        If the file cannot be read, a dataset is missing or has another shape than the others, or counts are
        not counts; with the dataset, what was expected and what was found.
    """
    arrays, attributes = _load(path, settings, force=force)
    parts = [part for part in PARTS if f"{part}_encod_data" in arrays]
    for part in ("train", "valid"):
        if part not in parts:
            raise fault(
                path,
                f"{part}_encod_data",
                "a dataset (trial, time, unit)",
                f"none; there are {names_of(arrays)}",
            )
    _check_shapes(path, arrays, parts)
    arrays, unknown = filled(arrays)
    counts = _joined(arrays, parts, "recon_data")
    n_bins, n_units = arrays["train_encod_data"].shape[1:]
    for part in parts:
        _check_counts(path, arrays, part)
    shape = counts.shape[:2]
    bin_size_s = _bin_size(path, attributes, settings)
    first_bin, align_to = _window(path, arrays, attributes, bin_size_s=bin_size_s)
    trial, order, notes = trial_order(path, arrays, parts)
    per_bin = per_bin_reader(path, arrays, parts, shape=shape)
    velocity = per_bin(settings.velocity_key, width=range(1, len(AXES) + 1), untested=True)
    split_of = {**PARTS, "valid": settings.valid_split, "test": unknown.split}
    of_part = np.repeat(parts, [len(arrays[f"{p}_encod_data"]) for p in parts])
    is_unknown = (of_part == "test") & (unknown.n_trials > 0)
    made = model_rates(path, arrays, parts, bin_size_s=bin_size_s)
    kind = np.min_scalar_type(int(counts.max(initial=0)))
    return LfadsDataset(
        counts=counts[order].astype(kind),
        n_encoded_bins=n_bins,
        n_encoded_units=n_units,
        split=np.array([split_of[part] for part in of_part], object)[order],
        trial=trial[order],
        unit=_unit_ids(path, arrays, counts.shape[2]),
        velocity=np.full((*shape, 2), np.nan, np.float32) if velocity is None else velocity[order],
        external=_ordered(per_bin("ext_input", finite=True), order),
        true_rates=_ordered(true_rates(path, arrays, per_bin, counts.shape[2], bin_size_s), order),
        model_rates=_ordered(made, order),
        n_known_bins=np.where(is_unknown, n_bins, counts.shape[1])[order],
        is_known=~(is_unknown & (unknown.n_units > 0))[order],
        bin_size_s=bin_size_s,
        first_bin=first_bin,
        align_to=align_to,
        subject=settings.subject or attributes.get("subject"),
        task=settings.task or attributes.get("task"),
        session=attributes.get("session"),
        notes=(*notes, *unknown.notes),
    )


def _load(
    path: Path, settings: LfadsH5Import, *, force: bool
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Return the datasets at the root, and the attributes where this program wrote the file."""
    import h5py  # noqa: PLC0415

    try:
        with h5py.File(path, "r") as h5:
            arrays = {
                name: np.asarray(whole_array(item, force=force))
                for name, item in h5.items()
                if isinstance(item, h5py.Dataset) and (settings.test or not name.startswith("test_"))
            }
            attributes = dict(h5.attrs) if "export_key" in h5.attrs else {}
    except FileNotFoundError as error:
        raise DataError(f"{path}: there is no such file. Check the path.") from error
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"{path}: cannot be read as HDF5 ({error}). Give a dataset of lfads-torch, an .h5 file whose "
            "root holds train_encod_data."
        ) from error
    return arrays, attributes


def _check_shapes(path: Path, arrays: Mapping[str, NDArray[Any]], parts: list[str]) -> None:
    for part in parts:
        is_whole = part != "test" or "test_recon_data" in arrays
        for key in (f"{part}_encod_data", *([f"{part}_recon_data"] if is_whole else [])):
            if key not in arrays:
                drop = "Leave the test trials out with --set test=false." if part == "test" else ""
                raise fault(
                    path, key, "a dataset (trial, time, unit)", f"none; there are {names_of(arrays)}", drop
                )
            if arrays[key].ndim != 3 or 0 in arrays[key].shape or arrays[key].dtype.kind not in "biuf":
                found = f"shape {arrays[key].shape} of {arrays[key].dtype}"
                raise fault(path, key, "numbers of the shape (trial, time, unit), none of them 0", found)
            same = f"train_{key.removeprefix(f'{part}_')}"
            if arrays[key].shape[1:] != arrays[same].shape[1:]:
                expected = "{} bins and {} units as in {}".format(*arrays[same].shape[1:], same)
                raise fault(path, key, expected, "{} bins and {} units".format(*arrays[key].shape[1:]))
        if not is_whole:
            continue
        encoded, whole = (arrays[f"{part}_{key}"].shape for key in ("encod_data", "recon_data"))
        if encoded[0] != whole[0] or encoded[1] > whole[1] or encoded[2] > whole[2]:
            raise fault(
                path,
                f"{part}_recon_data",
                "{} trials of at least {} bins and {} units, those of {}_encod_data".format(*encoded, part),
                f"{whole[0]} trials of {whole[1]} bins and {whole[2]} units",
            )


def _check_counts(path: Path, arrays: Mapping[str, NDArray[Any]], part: str) -> None:
    """Refuse what is no count, and encoded data that are other data than the reconstructed ones."""
    for key in (f"{part}_encod_data", f"{part}_recon_data"):
        values = arrays[key]
        faults: tuple[tuple[NDArray[np.bool_], str, str], ...] = (
            (np.isnan(values) if values.dtype.kind == "f" else np.zeros((), bool), "NaN", _NO_NAN),
            (values < 0, "negative values", ""),
            (values >= WIDEST_COUNT, "infinite or huge values", ""),
            (values != np.floor(values), "values that are not whole numbers", _NO_FRACTIONS),
        )
        for bad, what, remedy in faults:
            n_bad = int(np.count_nonzero(bad))
            if n_bad:
                where = ", ".join(str(int(i)) for i in np.argwhere(bad)[0])
                drop = " Leave the test trials out with --set test=false." if part == "test" else ""
                found = f"{what} in {n_bad} of {values.size} samples, the first at [{where}]"
                raise fault(path, key, "spikes per bin", found, f"{remedy}{drop}".strip())
    encoded = arrays[f"{part}_encod_data"]
    other = encoded != arrays[f"{part}_recon_data"][:, : encoded.shape[1], : encoded.shape[2]]
    if other.any():
        units = np.flatnonzero(other.any(axis=(0, 1)))
        raise fault(
            path,
            f"{part}_recon_data",
            f"what {part}_encod_data holds in the first {encoded.shape[1]} bins and {encoded.shape[2]} units",
            f"others in {len(units)} units (columns {', '.join(map(str, units[:8]))})",
            "A trial store holds one kind of counts: write what is encoded into the first columns of what is "
            "reconstructed.",
        )


_NO_NAN = (
    "A trial store holds counts of whole trials: leave trials with missing samples out of the file, or write "
    "the whole ones and hide samples in training with masks.observed_share."
)
_NO_FRACTIONS = "Smoothed rates are not imported: write the counts they were made of, rates are made anew."


def _joined(arrays: Mapping[str, NDArray[Any]], parts: list[str], key: str) -> NDArray[Any]:
    joined: NDArray[Any] = np.concatenate([arrays[f"{part}_{key}"] for part in parts])
    return joined


def _ordered(values: NDArray[np.float32] | None, order: NDArray[np.int64]) -> NDArray[np.float32] | None:
    return None if values is None else values[order]


def _bin_size(path: Path, attributes: Mapping[str, Any], settings: LfadsH5Import) -> float:
    stated = attributes.get("bin_size_s")
    if stated is None and settings.bin_ms is None:
        raise DataError(
            f"{path}: does not say how wide its bins are, files of lfads-torch never do. Give it, e.g. "
            "--bin-ms 20."
        )
    if stated is None or settings.bin_ms is None:
        return float(stated) if stated is not None else round(float(settings.bin_ms or 0) / 1e3, 9)
    if round(float(stated) * 1e9) != round(settings.bin_ms * 1e6):
        raise DataError(
            f"{path}: states bins of {float(stated) * 1e3:g} ms, --bin-ms says {settings.bin_ms:g}. Leave "
            "--bin-ms out."
        )
    return float(stated)


def _window(
    path: Path, arrays: Mapping[str, NDArray[Any]], attributes: Mapping[str, Any], *, bin_size_s: float
) -> tuple[int, CutEvent]:
    """Return where the window begins and which event it is cut at, as an export of this program states it."""
    if not attributes:
        return 0, "trial_start"
    try:
        recipe = IngestRecipe.read(json.loads(attributes["recipe"]))
        return round(float(arrays["time"][0]) / bin_size_s), recipe.align_to
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise DataError(
            f"{path}: says it is an export of this program, but its recipe and time cannot be read "
            f"({error}). Export it again, or delete the attribute export_key to import it like any other."
        ) from error


def _unit_ids(path: Path, arrays: Mapping[str, NDArray[Any]], n_units: int) -> NDArray[np.int64]:
    if "recon_unit" not in arrays:
        return np.arange(n_units)
    found = arrays["recon_unit"]
    if found.shape != (n_units,) or found.dtype.kind not in "iu" or len(np.unique(found)) < n_units:
        raise fault(
            path, "recon_unit", f"{n_units} different whole numbers", f"shape {found.shape} of {found.dtype}"
        )
    return found.astype(np.int64)
