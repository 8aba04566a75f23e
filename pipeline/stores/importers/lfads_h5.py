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
from nwb_latents.schemas.recipe import IngestRecipe
from nwb_latents.schemas.recipe_parts import CutEvent, SplitSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from nwb_latents.schemas.imports import LfadsH5Import

LAYOUT = "lfads-h5"
"""What a store says of the layout it was made from."""

ORDER_KEYS = ("trial", "inds")
"""Datasets that number the trials of both splits through, after the prefix of the split."""

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
        ``train``, ``val`` or ``test``. Shape ``(trial,)``.
    trial, unit
        Ids. Shapes ``(trial,)`` and ``(unit,)``, int64.
    velocity
        cm/s, NaN where the file has none. Shape ``(trial, time, axis)``, float32.
    external
        Known inputs, NaN in bins the file has none for. Shape ``(trial, time, input)``, float32; or None.
    true_rates
        Hz, NaN in bins the file has none for. Shape ``(trial, time, unit)``, float32; or None.
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


def read_lfads(path: Path, settings: LfadsH5Import) -> LfadsDataset:
    """Read and check a file.

    Parameters
    ----------
    path
        HDF5 file with the datasets ``train_encod_data``, ``train_recon_data``, ``valid_encod_data`` and
        ``valid_recon_data``, shape ``(trial, time, unit)``, at its root. Read as well where they are there:
        the same of ``test``, ``…_ext_input``, ``…_truth`` with ``conversion_factor``, ``…_inds`` or
        ``…_trial``, ``recon_unit``.
    settings
        What the file does not say.

    Raises
    ------
    DataError
        If the file cannot be read, a dataset is missing or has another shape than the others, or counts are
        not counts; with the dataset, what was expected and what was found.
    """
    arrays, attributes = _load(path, settings)
    parts = [part for part in PARTS if f"{part}_encod_data" in arrays]
    for part in ("train", "valid"):
        if part not in parts:
            raise _fault(
                path,
                f"{part}_encod_data",
                "a dataset (trial, time, unit)",
                f"none; there are {_names(arrays)}",
            )
    _check_shapes(path, arrays, parts)
    counts = _joined(arrays, parts, "recon_data")
    n_bins, n_units = arrays["train_encod_data"].shape[1:]
    for part in parts:
        _check_counts(path, arrays, part)
    shape = counts.shape[:2]
    bin_size_s = _bin_size(path, attributes, settings)
    first_bin, align_to = _window(path, arrays, attributes, bin_size_s=bin_size_s)
    trial, order, notes = _trial_order(path, arrays, parts)
    per_bin = _per_bin(path, arrays, parts, shape=shape)
    velocity = per_bin(settings.velocity_key, width=range(1, len(AXES) + 1))
    split_of = {**PARTS, "valid": settings.valid_split}
    split = np.concatenate([np.full(len(arrays[f"{p}_encod_data"]), split_of[p], object) for p in parts])
    kind = np.min_scalar_type(int(counts.max(initial=0)))
    return LfadsDataset(
        counts=counts[order].astype(kind),
        n_encoded_bins=n_bins,
        n_encoded_units=n_units,
        split=split[order],
        trial=trial[order],
        unit=_unit_ids(path, arrays, counts.shape[2]),
        velocity=np.full((*shape, 2), np.nan, np.float32) if velocity is None else velocity[order],
        external=_ordered(per_bin("ext_input", finite=True), order),
        true_rates=_ordered(_true_rates(path, arrays, per_bin, counts.shape[2], bin_size_s), order),
        bin_size_s=bin_size_s,
        first_bin=first_bin,
        align_to=align_to,
        subject=settings.subject or attributes.get("subject"),
        task=settings.task or attributes.get("task"),
        session=attributes.get("session"),
        notes=notes,
    )


def _load(path: Path, settings: LfadsH5Import) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Return the datasets at the root, and the attributes where this program wrote the file."""
    import h5py  # noqa: PLC0415

    try:
        with h5py.File(path, "r") as h5:
            arrays = {
                name: np.asarray(whole_array(item))
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


def _fault(path: Path, key: str, expected: str, found: str, remedy: str = "") -> DataError:
    return DataError(f"{path}: {key}: expected {expected}, found {found}.{f' {remedy}' if remedy else ''}")


def _names(arrays: Mapping[str, object], most: int = 12) -> str:
    names = sorted(arrays)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(names[:most]) + more) or "no datasets at all"


def _check_shapes(path: Path, arrays: Mapping[str, NDArray[Any]], parts: list[str]) -> None:
    for part in parts:
        for key in (f"{part}_encod_data", f"{part}_recon_data"):
            if key not in arrays:
                drop = "Leave the test trials out with --set test=false." if part == "test" else ""
                raise _fault(
                    path, key, "a dataset (trial, time, unit)", f"none; there are {_names(arrays)}", drop
                )
            if arrays[key].ndim != 3 or 0 in arrays[key].shape or arrays[key].dtype.kind not in "biuf":
                found = f"shape {arrays[key].shape} of {arrays[key].dtype}"
                raise _fault(path, key, "numbers of the shape (trial, time, unit), none of them 0", found)
            same = f"train_{key.removeprefix(f'{part}_')}"
            if arrays[key].shape[1:] != arrays[same].shape[1:]:
                expected = "{} bins and {} units as in {}".format(*arrays[same].shape[1:], same)
                raise _fault(path, key, expected, "{} bins and {} units".format(*arrays[key].shape[1:]))
        encoded, whole = (arrays[f"{part}_{key}"].shape for key in ("encod_data", "recon_data"))
        if encoded[0] != whole[0] or encoded[1] > whole[1] or encoded[2] > whole[2]:
            raise _fault(
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
                raise _fault(path, key, "spikes per bin", found, f"{remedy}{drop}".strip())
    encoded = arrays[f"{part}_encod_data"]
    other = encoded != arrays[f"{part}_recon_data"][:, : encoded.shape[1], : encoded.shape[2]]
    if other.any():
        units = np.flatnonzero(other.any(axis=(0, 1)))
        raise _fault(
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


def _trial_order(
    path: Path, arrays: Mapping[str, NDArray[Any]], parts: list[str]
) -> tuple[NDArray[np.int64], NDArray[np.int64], tuple[str, ...]]:
    """Return trial ids, and the order that makes them ascend; the order of the file where it has no ids."""
    n = sum(len(arrays[f"{part}_encod_data"]) for part in parts)
    for key in ORDER_KEYS:
        if not all(f"{part}_{key}" in arrays for part in parts):
            continue
        for part in parts:
            found, expected = arrays[f"{part}_{key}"], len(arrays[f"{part}_encod_data"])
            is_number = found.dtype.kind in "iuf"
            if not is_number or found.shape != (expected,) or (found != np.floor(found)).any():
                raise _fault(
                    path,
                    f"{part}_{key}",
                    f"{expected} whole numbers",
                    f"shape {found.shape} of {found.dtype}",
                )
        ids = _joined(arrays, parts, key).astype(np.int64)
        if len(np.unique(ids)) == n:
            return ids, np.argsort(ids), ()
        note = (
            f"{key} of the file is the same for several trials; trials are numbered as they lie in the file"
        )
        return np.arange(n), np.arange(n), (note,)
    return np.arange(n), np.arange(n), ()


def _unit_ids(path: Path, arrays: Mapping[str, NDArray[Any]], n_units: int) -> NDArray[np.int64]:
    if "recon_unit" not in arrays:
        return np.arange(n_units)
    found = arrays["recon_unit"]
    if found.shape != (n_units,) or found.dtype.kind not in "iu" or len(np.unique(found)) < n_units:
        raise _fault(
            path, "recon_unit", f"{n_units} different whole numbers", f"shape {found.shape} of {found.dtype}"
        )
    return found.astype(np.int64)


def _per_bin(
    path: Path, arrays: Mapping[str, NDArray[Any]], parts: list[str], *, shape: tuple[int, ...]
) -> Callable[..., NDArray[np.float32] | None]:
    """Return a reader of further datasets of the shape ``(trial, time, …)``, over forward bins or not."""
    n_encoded = arrays["train_encod_data"].shape[1]

    def read(
        key: str | None, *, finite: bool = False, width: range | None = None
    ) -> NDArray[np.float32] | None:
        present = [part for part in parts if f"{part}_{key}" in arrays]
        if key is None or (not present and width is None):
            return None
        out: list[NDArray[np.float32]] = []
        for part in parts:
            name, n_trials = f"{part}_{key}", len(arrays[f"{part}_encod_data"])
            expected = f"the shape ({n_trials}, {n_encoded} or {shape[1]}, …)"
            if name not in arrays:
                raise _fault(path, name, f"a dataset of {expected}", f"none; there are {_names(arrays)}")
            values = arrays[name]
            fits = (
                values.ndim == 3 and values.shape[0] == n_trials and values.shape[1] in (n_encoded, shape[1])
            )
            if not fits or values.dtype.kind not in "biuf" or (width and values.shape[2] not in width):
                more = f" with {width[0]} to {width[-1]} axes" if width else ""
                raise _fault(path, name, f"{expected}{more}", f"{values.shape} of {values.dtype}")
            if out and out[0].shape[2] != values.shape[2]:
                raise _fault(
                    path, name, f"{out[0].shape[2]} columns as in {parts[0]}_{key}", f"{values.shape[2]}"
                )
            if finite and not np.isfinite(values).all():
                raise _fault(
                    path, name, "finite numbers", f"{np.count_nonzero(~np.isfinite(values))} that are not"
                )
            whole = np.full((n_trials, shape[1], values.shape[2]), np.nan, np.float32)
            whole[:, : values.shape[1]] = values
            out.append(whole)
        return np.concatenate(out) if out[0].shape[2] else None

    return read


def _true_rates(
    path: Path,
    arrays: Mapping[str, NDArray[Any]],
    per_bin: Callable[..., NDArray[np.float32] | None],
    n_units: int,
    bin_size_s: float,
) -> NDArray[np.float32] | None:
    truth = per_bin("truth", finite=True)
    if truth is None:
        return None
    if truth.shape[2] != n_units:
        raise _fault(path, "train_truth", f"{n_units} units as in train_recon_data", str(truth.shape[2]))
    factor = arrays.get("conversion_factor", np.zeros(0))
    is_number = factor.size == 1 and factor.dtype.kind in "iuf"
    if not is_number or not 0 < float(factor.reshape(())) < np.inf:
        found = str(factor.tolist()) if factor.size else "none"
        raise _fault(path, "conversion_factor", "a positive number, what train_truth is divided by", found)
    scale = np.float32(1 / (float(factor.reshape(())) * bin_size_s))
    hertz: NDArray[np.float32] = truth * scale
    return hertz
