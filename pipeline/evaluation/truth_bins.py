"""The truth of a simulated session in the bins of a trial store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pipeline.errors import DataError

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import ArrayLike, NDArray

    from pipeline.sources.simulator.truth import Truth

    FloatArray = NDArray[np.float64]


def binned_truth(
    truth: Truth,
    values: ArrayLike,
    trials: xr.Dataset,
    continuous: xr.Dataset,
    *,
    first_bin: int = 0,
    n_bins: int,
) -> FloatArray:
    """Return means over the bins of trials of something that is known of all times.

    Parameters
    ----------
    truth
        Truth of the session.
    values
        One of its arrays over ``latent_time_s``, such as ``latents`` or ``rates_hz``. Each value holds until
        the next. Shape ``(n_times, k)``.
    trials, continuous
        The groups of the session's store.
    first_bin, n_bins
        Bins wanted, counted from the start of the window; they may lie beyond its end.

    Returns
    -------
    binned
        Shape ``(trial, n_bins, k)``, float64; the last known value beyond the end of the session.

    Raises
    ------
    DataError
        If the truth is of another session.
    """
    session, width = str(trials.attrs["session"]), float(trials.attrs["bin_size_s"])
    if truth.session != session:
        raise DataError(f"the truth of {truth.session} was given for {session}; name the right folder")
    time = np.asarray(truth.latent_time_s, dtype=np.float64)
    known = np.asarray(values, dtype=np.float64)
    bins = trials["start_bin"].values.astype(np.int64)[:, None] + first_bin + np.arange(n_bins)
    left: FloatArray = float(continuous["time"].values[0]) + width * bins

    after, before = (_integral(time, known, moment) for moment in (left + width, left))
    binned: FloatArray = (after - before) / width
    return binned


def _integral(time: FloatArray, values: FloatArray, until: FloatArray) -> FloatArray:
    """Integrate values that hold until the next from the first of `time` on. Shape ``(*until, k)``."""
    step = np.diff(time)
    total = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values[:-1] * step[:, None], axis=0)])
    row = np.clip(np.searchsorted(time, until, side="right") - 1, 0, len(time) - 1)
    integral: FloatArray = total[row] + values[row] * (until - time[row])[..., None]
    return integral


def unit_columns(truth: Truth, units: ArrayLike) -> NDArray[np.int64]:
    """Return the columns of the truth's rates that are of these units.

    Raises
    ------
    DataError
        If the truth does not have one of them.
    """
    ids = np.asarray(truth.unit_ids)
    order = np.argsort(ids)
    wanted = np.asarray(units)
    place = order[np.minimum(np.searchsorted(ids, wanted, sorter=order), len(ids) - 1)]
    if not np.array_equal(ids[place], wanted):
        absent = wanted[ids[place] != wanted]
        raise DataError(
            f"{truth.session}: the truth has no unit {absent[0]}; the store was made from another file"
        )
    return place.astype(np.int64)
