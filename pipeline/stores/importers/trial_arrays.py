"""Datasets of lfads-torch that go along with the trials: trial ids, inputs, behaviour, rates.

Each has the shape ``(trial, time, …)``, over the bins that are encoded or over those after the window too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from nwb_latents.pipeline.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

ORDER_KEYS = ("trial", "inds")
"""Datasets that number the trials of all splits through, after the prefix of the split."""

OUTPUT_PARAMS = "output_params"
"""What posterior sampling in lfads-torch adds: expected spikes per bin, averaged over samples."""

PerBin = Callable[..., "NDArray[np.float32] | None"]


def fault(path: Path, key: str, expected: str, found: str, remedy: str = "") -> DataError:
    """Return the error of a dataset: what was expected and what was found."""
    return DataError(f"{path}: {key}: expected {expected}, found {found}.{f' {remedy}' if remedy else ''}")


def names_of(arrays: Mapping[str, object], most: int = 12) -> str:
    """Return the names of datasets, the first of them."""
    names = sorted(arrays)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(names[:most]) + more) or "no datasets at all"


def trial_order(
    path: Path, arrays: Mapping[str, NDArray[Any]], parts: list[str]
) -> tuple[NDArray[np.int64], NDArray[np.int64], tuple[str, ...]]:
    """Return trial ids, and the order that makes them ascend; the order of the file where it has no ids.

    Test trials without ids, where the others have some, are numbered after these.
    """
    sizes = {part: len(arrays[f"{part}_encod_data"]) for part in parts}
    n = sum(sizes.values())
    for key in ORDER_KEYS:
        named = [part for part in parts if f"{part}_{key}" in arrays]
        if set(parts) - set(named) - {"test"} or not named:
            continue
        given = [_ids(path, arrays, part, key) for part in named]
        notes: tuple[str, ...] = ()
        if "test" not in named and "test" in parts:
            after = max(int(ids.max(initial=-1)) for ids in given) + 1
            given.append(np.arange(after, after + sizes["test"]))
            notes = (f"test_{key} is not in the file; test trials are numbered from {after} on",)
        ids = np.concatenate(given)
        if len(np.unique(ids)) == n:
            return ids, np.argsort(ids), notes
        note = (
            f"{key} of the file is the same for several trials; trials are numbered as they lie in the file"
        )
        return np.arange(n), np.arange(n), (note,)
    return np.arange(n), np.arange(n), ()


def _ids(path: Path, arrays: Mapping[str, NDArray[Any]], part: str, key: str) -> NDArray[np.int64]:
    found, expected = arrays[f"{part}_{key}"], len(arrays[f"{part}_encod_data"])
    is_number = found.dtype.kind in "iuf"
    if not is_number or found.shape != (expected,) or (found != np.floor(found)).any():
        raise fault(
            path, f"{part}_{key}", f"{expected} whole numbers", f"shape {found.shape} of {found.dtype}"
        )
    return found.astype(np.int64)


def per_bin_reader(
    path: Path, arrays: Mapping[str, NDArray[Any]], parts: list[str], *, shape: tuple[int, ...]
) -> PerBin:
    """Return a reader of further datasets of the shape ``(trial, time, …)``, over forward bins or not.

    It is given the key after the prefix of the split and returns the trials of all splits, NaN in bins the
    file has none for; None where it has none at all. ``finite``: what is there has to be finite; ``width``:
    numbers of columns that are allowed, of a dataset there has to be; ``untested``: test trials may be
    without.
    """
    n_encoded = arrays["train_encod_data"].shape[1]

    def read(
        key: str | None, *, finite: bool = False, width: range | None = None, untested: bool = False
    ) -> NDArray[np.float32] | None:
        present = [part for part in parts if f"{part}_{key}" in arrays]
        if key is None or (not present and width is None):
            return None
        out: list[NDArray[np.float32]] = []
        for part in parts:
            name, n_trials = f"{part}_{key}", len(arrays[f"{part}_encod_data"])
            expected = f"the shape ({n_trials}, {n_encoded} or {shape[1]}, …)"
            if name not in arrays and untested and part == "test" and out:
                out.append(np.full((n_trials, *out[0].shape[1:]), np.nan, np.float32))
                continue
            if name not in arrays:
                drop = "Leave the test trials out with --set test=false." if part == "test" else ""
                raise fault(
                    path, name, f"a dataset of {expected}", f"none; there are {names_of(arrays)}", drop
                )
            values = arrays[name]
            fits = (
                values.ndim == 3 and values.shape[0] == n_trials and values.shape[1] in (n_encoded, shape[1])
            )
            if not fits or values.dtype.kind not in "biuf" or (width and values.shape[2] not in width):
                more = f" with {width[0]} to {width[-1]} axes" if width else ""
                raise fault(path, name, f"{expected}{more}", f"{values.shape} of {values.dtype}")
            if out and out[0].shape[2] != values.shape[2]:
                raise fault(
                    path, name, f"{out[0].shape[2]} columns as in {parts[0]}_{key}", f"{values.shape[2]}"
                )
            if finite and not np.isfinite(values).all():
                raise fault(
                    path, name, "finite numbers", f"{np.count_nonzero(~np.isfinite(values))} that are not"
                )
            whole = np.full((n_trials, shape[1], values.shape[2]), np.nan, np.float32)
            whole[:, : values.shape[1]] = values
            out.append(whole)
        return np.concatenate(out) if out[0].shape[2] else None

    return read


def true_rates(
    path: Path, arrays: Mapping[str, NDArray[Any]], per_bin: PerBin, n_units: int, bin_size_s: float
) -> NDArray[np.float32] | None:
    """Return the rates the spikes were drawn from, Hz; None where the file has none."""
    truth = per_bin("truth", finite=True, untested=True)
    if truth is None:
        return None
    if truth.shape[2] != n_units:
        raise fault(path, "train_truth", f"{n_units} units as in train_recon_data", str(truth.shape[2]))
    factor = arrays.get("conversion_factor", np.zeros(0))
    is_number = factor.size == 1 and factor.dtype.kind in "iuf"
    if not is_number or not 0 < float(factor.reshape(())) < np.inf:
        found = str(factor.tolist()) if factor.size else "none"
        raise fault(path, "conversion_factor", "a positive number, what train_truth is divided by", found)
    scale = np.float32(1 / (float(factor.reshape(())) * bin_size_s))
    hertz: NDArray[np.float32] = truth * scale
    return hertz


def model_rates(
    path: Path, arrays: Mapping[str, NDArray[Any]], parts: list[str], *, bin_size_s: float
) -> NDArray[np.float32] | None:
    """Return the rates a model of lfads-torch made of the trials, Hz; None where the file has none.

    Parameters
    ----------
    path, arrays, parts
        The file, its datasets and the splits it has.
    bin_size_s
        Width of a bin, s.

    Returns
    -------
    rates
        Trials of all splits, bins after the window and held-out units included.
        Shape ``(trial, time, unit)``, finite.

    Raises
    ------
    DataError
        If a split has none while another has, or they are no means: of another shape, or not finite.
    """
    keys = [f"{part}_{OUTPUT_PARAMS}" for part in parts]
    if not any(key in arrays for key in keys):
        return None
    out = []
    for part, key in zip(parts, keys, strict=True):
        expected = arrays[f"{part}_recon_data"].shape
        drop = "Leave the test trials out with --set test=false." if part == "test" else ""
        if key not in arrays:
            raise fault(
                path, key, f"the shape {expected}, as other splits have it", "none",
                drop or "Run posterior sampling on all splits, or delete the output_params of the others.",
            )  # fmt: skip
        values = arrays[key]
        if values.shape != expected or values.dtype.kind not in "iuf":
            raise fault(
                path,
                key,
                f"expected spikes per bin, of the shape {expected}",
                f"shape {values.shape} of {values.dtype}",
                "Write means (output_means=True, as run_posterior_sampling does) and not the parameters of a "
                "distribution.",
            )
        if not np.isfinite(values).all():
            n_bad = np.count_nonzero(~np.isfinite(values))
            raise fault(path, key, "finite numbers", f"{n_bad} that are not", drop)
        out.append(values.astype(np.float32) / np.float32(bin_size_s))
    return np.concatenate(out)
