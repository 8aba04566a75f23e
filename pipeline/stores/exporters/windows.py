"""Which units and which bins go into an export: held-in, held-out, and the time after the window."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import DataError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

    import xarray as xr
    from numpy.typing import NDArray


def whole_bins(milliseconds: float, *, bin_size_s: float, name: str) -> int:
    """Return a time as a number of bins.

    Raises
    ------
    SettingsError
        If it is not a whole number of bins; the message names the nearest that are.

    Examples
    --------
    >>> whole_bins(200.0, bin_size_s=0.02, name="forward_ms")
    10
    """
    bin_ns = round(bin_size_s * 1e9)
    bins, rest = divmod(round(milliseconds * 1e6), bin_ns)
    if rest:
        below, above = (number * bin_ns / 1e6 for number in (bins, bins + 1))
        raise SettingsError(
            f"{name} {milliseconds:g} is not a whole number of {bin_size_s * 1e3:g} ms bins; the nearest "
            f"that are: {below:g} and {above:g}"
        )
    return bins


def forward_bins(trials: xr.Dataset, forward_ms: float) -> int:
    """Return the number of bins after the window.

    Raises
    ------
    SettingsError
        If `forward_ms` is not a whole number of bins, or longer than the window: then the time after two
        windows could be the same, and trials of two splits would share it.
    """
    bins = whole_bins(forward_ms, bin_size_s=float(trials.attrs["bin_size_s"]), name="forward_ms")
    if bins > trials.sizes["time"]:
        longest = trials.sizes["time"] * float(trials.attrs["bin_size_s"]) * 1e3
        raise SettingsError(
            f"forward_ms {forward_ms:g} is longer than the trial window of {longest:g} ms. Use at most that, "
            "or ingest with a longer window_s."
        )
    return bins


def with_split(trials: xr.Dataset, name: str | None) -> xr.Dataset:
    """Return the trials with an extra split of the recipe in place of its own.

    Parameters
    ----------
    trials
        Group ``trials`` of a store.
    name
        Name of the extra split; None keeps the trials as they are.

    Raises
    ------
    SettingsError
        If the store has no split of that name; the message names those it has.
    """
    if name is None:
        return trials
    known = sorted(str(key).removeprefix("split_") for key in trials.coords if str(key).startswith("split_"))
    if name not in known:
        raise SettingsError(
            f"{trials.attrs['session']}: has no extra split {name!r}; it has: {', '.join(known) or 'none'}. "
            "Add it to extra_splits of the recipe and ingest again."
        )
    return trials.assign_coords(split=trials[f"split_{name}"])


def rows_of(trials: xr.Dataset, splits: Sequence[str], *, purpose: str) -> NDArray[np.int64]:
    """Return the rows of the trials in one of `splits`, ascending.

    Parameters
    ----------
    trials
        Group ``trials`` of a store.
    splits
        Names of splits.
    purpose
        What they are for, named in the error.

    Raises
    ------
    DataError
        If there is none.
    """
    rows = np.flatnonzero(np.isin(trials["split"].values.astype(str), list(splits)))
    if not len(rows):
        raise DataError(
            f"{trials.attrs['session']}: no trial is in the split {' or '.join(splits)}, none is left for "
            f"{purpose} ({trials.sizes['trial']} trials). Ingest it with other shares, e.g. --set "
            "split.train=0.6 --set split.val=0.2, or leave the session out."
        )
    return rows


def heldout_units(trials: xr.Dataset, *, fraction: float, seed: int) -> NDArray[np.bool_]:
    """Return which units are held out.

    Parameters
    ----------
    trials
        Group ``trials`` of a store.
    fraction
        Share to draw where the recording marks no unit as held out; at least one unit is always held in.
    seed
        Seed of that draw; the session id is mixed in.

    Returns
    -------
    heldout
        The recording's own choice, else the draw. Shape ``(unit,)``.
    """
    own = trials["heldout"].values.astype(bool)
    if own.any():
        return own
    n_units = len(own)
    n_out = min(round(fraction * n_units), n_units - 1)
    digest = hashlib.sha256(f"{seed}/{trials.attrs['session']}/heldout".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    heldout = np.zeros(n_units, dtype=bool)
    heldout[rng.permutation(n_units)[:n_out]] = True
    return heldout


def forward_counts(
    trials: xr.Dataset, continuous: xr.Dataset, *, rows: NDArray[np.int64], n_bins: int
) -> NDArray[np.float32]:
    """Return the spike counts of the bins that follow the windows.

    A bin that lies in the window of a trial outside `rows` belongs to that trial: it is NaN here, so that no
    spike is handed on in two splits.

    Parameters
    ----------
    trials, continuous
        The groups of a store.
    rows
        Trials wanted. Shape ``(n,)``.
    n_bins
        Number of bins after the window.

    Returns
    -------
    counts
        Spikes per bin, NaN where not recorded or taken. Shape ``(n, n_bins, unit)``, float32.

    Examples
    --------
    >>> import xarray as xr
    >>> cut = xr.Dataset({"start_bin": ("trial", [0, 3])}, coords={"time": [0.0, 0.02]})
    >>> whole = xr.Dataset({"counts": (("time", "unit"), [[0], [1], [2], [3], [4], [5]]),
    ...                     "observed": ("time", [True] * 6)})
    >>> forward_counts(cut, whole, rows=np.array([0]), n_bins=2)[0, :, 0].tolist()
    [2.0, nan]
    """
    counts, observed = continuous["counts"].values, continuous["observed"].values.astype(bool)
    length = trials.sizes["time"]
    start = trials["start_bin"].values.astype(np.int64)
    free = observed.copy()
    others = np.setdiff1d(np.arange(len(start)), rows)
    free[(start[others, None] + np.arange(length)).ravel()] = False
    bins = start[rows, None] + length + np.arange(n_bins)
    inside = bins < len(observed)
    bins = np.where(inside, bins, 0)
    usable = inside & free[bins]
    return np.where(usable[..., None], counts[bins], np.nan).astype(np.float32)
