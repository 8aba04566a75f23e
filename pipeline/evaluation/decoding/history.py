"""Features of the Wiener decoder: the rates of a bin and of the bins before it.

Bins before the trial window are read from the whole session, where they were recorded. They are not read
where they lie within a trial of another split: what is fitted on training trials never sees a test trial.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nwb_latents.pipeline.errors import SettingsError

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import ArrayLike, NDArray

    FloatArray = NDArray[np.float64]
    BoolArray = NDArray[np.bool_]


def with_history(rates: ArrayLike, *, bins: int, before: ArrayLike | None = None) -> FloatArray:
    """Put the rates of the bins before beside those of each bin.

    Parameters
    ----------
    rates
        Shape ``(trial, time, unit)``, in any unit.
    bins
        Bins read, the bin itself included.
    before
        The ``bins - 1`` bins before the first, NaN where not known. Shape ``(trial, bins - 1, unit)``.
        Default: none is known.

    Returns
    -------
    features
        The earliest bin first, the bin itself last. Shape ``(trial, time, bins * unit)``, float64; NaN where
        a bin is not known.

    References
    ----------
    Wiener filter of motor cortex with several bins of history: Carmena et al. 2003, "Learning to control a
    brain-machine interface for reaching and grasping by primates", eq. 1.

    Examples
    --------
    >>> with_history([[[1.0], [2.0], [3.0]]], bins=2, before=[[[0.0]]]).tolist()
    [[[0.0, 1.0], [1.0, 2.0], [2.0, 3.0]]]
    >>> with_history([[[1.0], [2.0]]], bins=2).tolist()
    [[[nan, 1.0], [1.0, 2.0]]]
    """
    signal = np.asarray(rates, dtype=np.float64)
    n_trials, n_bins, n_units = signal.shape
    past = np.full((n_trials, bins - 1, n_units), np.nan) if before is None else np.asarray(before)
    whole = np.concatenate([past, signal], axis=1)
    windows = np.lib.stride_tricks.sliding_window_view(whole, bins, axis=1)
    features: FloatArray = windows.swapaxes(2, 3).reshape(n_trials, n_bins, bins * n_units)
    return features


def has_history(n_trials: int, n_bins: int, *, bins: int, before: ArrayLike | None = None) -> BoolArray:
    """Return whether all bins that `with_history` puts together are known.

    Parameters
    ----------
    n_trials, n_bins
        Trials and bins of the signal, whose own bins are known.
    bins, before
        As in `with_history`.

    Returns
    -------
    known
        Shape ``(n_trials, n_bins)``.

    Examples
    --------
    >>> has_history(1, 3, bins=2).tolist()
    [[False, True, True]]
    """
    past = np.full((n_trials, bins - 1), np.nan)
    if before is not None:
        past[np.isfinite(np.asarray(before)).all(axis=-1)] = 0.0
    of_bins = with_history(np.zeros((n_trials, n_bins, 1)), bins=bins, before=past[..., None])
    known: BoolArray = np.all(np.isfinite(of_bins), axis=-1)
    return known


def rates_before(trials: xr.Dataset, continuous: xr.Dataset, *, n_bins: int) -> FloatArray | None:
    """Read the smoothed rates of the bins before every trial.

    Parameters
    ----------
    trials
        Group ``trials`` of a store; only ``start_bin``, ``split`` and the length of ``time`` are used.
    continuous
        Group ``continuous`` of the same store.
    n_bins
        Bins before the first of each trial.

    Returns
    -------
    rates
        Hz; NaN for bins that lie outside the session, were not recorded, or belong to a trial of another
        split. Shape ``(trial, n_bins, unit)``. None if the group has no rates.

    Examples
    --------
    >>> import xarray as xr
    >>> session = xr.Dataset({"rates": (("time", "unit"), [[0.0], [1.0], [2.0], [3.0]]),
    ...                       "observed": ("time", [True] * 4)})
    >>> cut = xr.Dataset({"start_bin": ("trial", [0, 2]), "split": ("trial", ["train", "train"])},
    ...                  coords={"time": [0.0, 0.02]})
    >>> rates_before(cut, session, n_bins=1)[..., 0].tolist()
    [[nan], [1.0]]
    >>> rates_before(cut.assign(split=("trial", ["test", "train"])), session, n_bins=1)[..., 0].tolist()
    [[nan], [nan]]
    """
    if "rates" not in continuous:
        return None
    rates = np.asarray(continuous["rates"].values, dtype=np.float64)
    known = np.asarray(continuous["observed"].values, dtype=bool)
    start = np.asarray(trials["start_bin"].values, dtype=np.int64)
    split = np.asarray(trials["split"].values, dtype=object)
    length = trials.sizes["time"]
    bins = start[:, None] + np.arange(-n_bins, 0)
    inside = (bins >= 0) & (bins < len(known))
    bins = np.where(inside, bins, 0)
    usable = inside & known[bins]
    for name in set(split.tolist()):
        of_others = np.zeros(len(known), dtype=bool)
        covered = start[split != name, None] + np.arange(length)
        of_others[covered[(covered >= 0) & (covered < len(known))]] = True
        mine = split == name
        usable[mine] &= ~of_others[bins[mine]]
    return np.where(usable[..., None], rates[bins], np.nan)


def check_history(history_bins: int, n_bins: int, *, where: str) -> None:
    """Refuse a history longer than the signal.

    Raises
    ------
    SettingsError
        If no bin has that many bins of history.

    Examples
    --------
    >>> check_history(5, 36, where="sub-A")
    """
    if history_bins > n_bins:
        msg = (
            f"{where}: history_bins {history_bins} is more than the {n_bins} bins there are, so that no bin "
            f"has its whole history; use at most {n_bins}"
        )
        raise SettingsError(msg)
